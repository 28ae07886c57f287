"""Disease groups: which of a study's patients share a head above the backbone that all patients share.

After Gupta et al. 2021 (cloudlet, hospital, disease group, consortium). A patient is in one group at most: the first
of the protocol's whose codes are on record for them, which depends on their own record alone. Who is in none has a
part in the backbone only. In a study over one's own file the column ``group`` says it instead.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from twinward.core.sentences import Sentence, sentence
from twinward.core.visible_text import visible_line
from twinward.features.codes import Code, Kind, fact_code

MOST_GROUPS: Final = 8
"""Of a protocol: so that a vector, and what is told of one study, stays small."""

BACKBONE_SHARE: Final = 0.8
"""α of ``detectors.grouped``: what of a patient's part in a study with groups is the backbone's, in squares. It has
1.12 times the noise that it would have alone; a head 2.24 times that, in far fewer numbers."""

NO_GROUP: Final = ""


class DiseaseGroup(BaseModel):
    """One group of a protocol.

    Attributes:
        name: what it is called, in files too.
        codes: ``system|code`` of Conditions that count, with ``*`` at the end for all below: of a patient who has one
            that stands now. None where a file names each patient's group.
        expected_patients: a public guess of how many of the study's patients are in it. The true number is private.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    codes: Annotated[tuple[Code, ...], Field(max_length=256)] = ()
    expected_patients: Annotated[int, Field(ge=1, le=10_000_000)]

    def holds(self, facts: Collection[str]) -> bool:
        """Whether one of these codes of a patient's Conditions (``features.codes.fact_code``) is of the group."""
        for code in self.codes:
            system, _, value = code.rpartition("|")
            wanted = fact_code(Kind.CONDITION, system, value.removesuffix("*"))
            if any(fact.startswith(wanted) if value.endswith("*") else fact == wanted for fact in facts):
                return True
        return False


def group_of(facts: Collection[str], groups: Sequence[DiseaseGroup]) -> str:
    """The name of the one group that a patient with these facts is in; ``NO_GROUP`` where there is none."""
    return next((group.name for group in groups if group.holds(facts)), NO_GROUP)


def fault_of_groups(groups: Sequence[DiseaseGroup], patients: int) -> Sentence | None:
    """What is wrong with the groups of a protocol of so many patients; None where nothing is."""
    names = [one.name for one in groups]
    if len(set(names)) != len(names):
        return sentence("name each group once")
    if sum(one.expected_patients for one in groups) > patients:
        return sentence(
            "a patient is in one group at most, so they expect {most} expected_patients together at most", most=patients
        )
    if any(visible_line(code) != code for one in groups for code in one.codes):
        return sentence("codes are of characters that can be seen")
    return None
