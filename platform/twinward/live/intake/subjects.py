"""Whom a reading names: a patient's reference, or an identifier of theirs. Opens nothing."""

from __future__ import annotations

from collections.abc import Collection

from twinward.core.vocabulary import TwinId
from twinward.vault.interfaces import RecordVault


def twins_by_name(vault: RecordVault, names: Collection[str]) -> dict[str, TwinId]:
    """The twin of each name; a name of nobody, and an identifier that several twins have, is left out.

    Args:
        names: references such as ``Patient/123``; anything else is the key of an identifier.
    """
    references = [one for one in names if one.startswith("Patient/")]
    found = vault.twins_of(references) if references else {}
    for name in names:
        if name not in references:
            twins = {twin for twin, _ in vault.locate_all(name)}
            if len(twins) == 1:
                found[name] = twins.pop()
    return found
