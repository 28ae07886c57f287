"""Rules as data: a file of them, checked whole before any runs.

version = "2026-01"

[[rule]]
name = "spo2-low"          # raised below 88, over again at 90: between the two it stays as it is
signal = "spo2"
below = 88
clear = 90
severity = "urgent"

[[rule]]
name = "news2-high"
score = "news2"            # or qsofa; raised at this sum or more, over again below 5
at_least = 7
clear = 5
severity = "emergency"

[[rule]]
name = "news2-medium"
score = "news2"
at_least = 5
unless = "news2-high"      # says nothing while that one is up, which stands before it
severity = "urgent"

[[rule]]
name = "heart-rate-missing"
signal = "heart_rate"
missing_minutes = 15       # once it was measured for as long without such a gap
severity = "notice"
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from twinward.core.errors import BadInput
from twinward.live.signals import BY_NAME

FILE_NAME: Final = "alert-rules.toml"
MOST_RULES: Final = 100
MAX_BYTES: Final = 64 * 1024
MOST_WITHIN_MINUTES: Final = 240
"""Over which a trend is looked at: a monitor remembers a signal's extremes of each of these minutes."""
MOST_OF_SCORE: Final = {"news2": 20, "qsofa": 3}
"""What a score comes to where everything is at its worst: beyond it a rule would never be raised."""
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,63}", re.ASCII)


class Severity(StrEnum):
    """How much it matters, the least first."""

    NOTICE = "notice"
    URGENT = "urgent"
    EMERGENCY = "emergency"


_Minutes = Annotated[int, msgspec.Meta(ge=1, le=10_080)]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule. Exactly one of ``below``, ``above``, ``falls_by``, ``rises_by``, ``at_least`` (of a score) and
    ``missing_minutes`` is given.

    Attributes:
        name: for ever: alerts name it.
        falls_by, rises_by: from the highest, or the lowest, of the last ``within_minutes``, to the newest.
        clear: where a threshold is over again, or below what such a difference or a score is; the threshold itself if
            not given.
        unless: the name of a rule before this one that matters no less: while that is up, this one says nothing, and is
            over.
        missing_minutes: not measured for so long, once it was measured for as long without such a gap: what is charted
            by the hour does not stay away between two hours.
        valid_minutes: how long a measurement counts towards a score.
        scale_2: NEWS2's second scale of oxygen saturation.
        escalate_minutes: after which an alert that nobody acknowledged is escalated.
    """

    name: str
    severity: Severity
    signal: str = ""
    below: float | None = None
    above: float | None = None
    falls_by: float | None = None
    rises_by: float | None = None
    within_minutes: Annotated[int, msgspec.Meta(ge=1, le=MOST_WITHIN_MINUTES)] | None = None
    clear: float | None = None
    unless: str = ""
    score: Literal["", "news2", "qsofa"] = ""
    at_least: int | None = None
    missing_minutes: _Minutes | None = None
    valid_minutes: _Minutes = 240
    scale_2: bool = False
    escalate_minutes: _Minutes = 15

    def says(self) -> str:
        """When it is raised, in words."""
        return f"{self._says_alone()}, unless {self.unless} is up" if self.unless else self._says_alone()

    def _says_alone(self) -> str:
        if self.score:
            return f"{self.score} of {self.at_least} or more"
        if self.missing_minutes is not None:
            return f"{self.signal} not measured for {self.missing_minutes} minutes"
        unit = BY_NAME[self.signal].unit
        if self.moves_by is not None:
            how = "falls" if self.falls_by is not None else "rises"
            return f"{self.signal} {how} by {self.moves_by:g} {unit} within {self.within_minutes} minutes"
        return f"{self.signal} {'below' if self.below is not None else 'above'} {self._threshold:g} {unit}"

    @property
    def moves_by(self) -> float | None:
        """By how much a signal moves where a trend is looked at; None for any other rule."""
        return self.falls_by if self.falls_by is not None else self.rises_by

    @property
    def _threshold(self) -> float:
        return (self.below if self.below is not None else self.above) or 0.0

    def require_sound(self) -> None:
        """Raise ``BadInput``: it could never mean anything."""
        kinds = (self.below, self.above, self.falls_by, self.rises_by, self.at_least, self.missing_minutes)
        if not _NAME.fullmatch(self.name):
            raise BadInput("a rule is called by 1 to 64 of a-z 0-9 - and begins with a letter")
        if sum(one is not None for one in kinds) != 1:
            raise BadInput(f"{self.name}: give one of below, above, falls_by, rises_by, at_least, missing_minutes")
        if (self.at_least is not None) != bool(self.score):
            raise BadInput(f"{self.name}: at_least is of a score, news2 or qsofa")
        if bool(self.score) == bool(self.signal):
            raise BadInput(f"{self.name}: give a signal, or a score")
        if self.signal and self.signal not in BY_NAME:
            raise BadInput(f"{self.name}: there is no such signal", hint=f"one of {', '.join(BY_NAME)}")
        numbers = (self.below, self.above, self.falls_by, self.rises_by, self.clear)
        if not all(math.isfinite(one) for one in numbers if one is not None):
            raise BadInput(f"{self.name}: a threshold is a number: nothing is beyond nan or inf")
        if (self.moves_by is None) != (self.within_minutes is None):
            raise BadInput(f"{self.name}: a trend has both, by how much and within_minutes; no other rule has")
        if self.moves_by is not None:
            if self.moves_by <= 0 or not 0 < (self.moves_by if self.clear is None else self.clear) <= self.moves_by:
                raise BadInput(f"{self.name}: falls_by and rises_by are above 0, and clear is no more than they are")
            return
        if self.at_least is not None:
            if not 1 <= self.at_least <= MOST_OF_SCORE[self.score]:
                raise BadInput(f"{self.name}: at_least of {self.score} is a sum of 1 to {MOST_OF_SCORE[self.score]}")
            if self.clear is not None and not 0 < self.clear <= self.at_least:
                raise BadInput(f"{self.name}: clear of a score is above 0 and no more than at_least")
            return
        threshold = self.below if self.below is not None else self.above
        if self.clear is not None and (
            threshold is None or (self.clear < threshold if self.below is not None else self.clear > threshold)
        ):
            raise BadInput(f"{self.name}: clear lies on the safe side of the threshold")


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"rules": "rule"}):
    """A file of rules; ``version`` is what alerts say they were raised by."""

    version: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    rules: Annotated[tuple[Rule, ...], msgspec.Meta(max_length=MOST_RULES)] = ()


def read_rules(content: bytes) -> Rules:
    """A file's rules. Raises ``BadInput``, which names the first that is wrong."""
    if len(content) > MAX_BYTES:
        raise BadInput(f"a file of rules has {MAX_BYTES} bytes at most")
    try:
        found = msgspec.convert(tomllib.loads(content.decode()), Rules)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInput(f"the rules are no TOML: {type(error).__name__}") from None
    except msgspec.ValidationError as error:
        raise BadInput(f"the rules: {error}", hint="platform/docs/live.md shows one") from None
    for one in found.rules:
        one.require_sound()
    names = [one.name for one in found.rules]
    if len(set(names)) != len(names):
        raise BadInput("two rules have one name")
    for place, one in enumerate(found.rules):
        if one.unless:
            _require_graver(one, found.rules[:place])
    return found


def _require_graver(rule: Rule, before: Sequence[Rule]) -> None:
    """Raise ``BadInput`` unless what keeps a rule silent stands before it, and is no lesser alert."""
    other = next((one for one in before if one.name == rule.unless), None)
    if other is None:
        raise BadInput(f"{rule.name}: unless names a rule that stands before it")
    order = list(Severity)
    if order.index(other.severity) < order.index(rule.severity):
        raise BadInput(f"{rule.name}: unless names a rule that matters less, which would keep a graver alert silent")


def shipped_rules() -> Rules:
    """Those that come with the node."""
    return read_rules((Path(__file__).parent / "rules.toml").read_bytes())


def rules_of(home: Path) -> Rules:
    """Those of a home, or else the shipped ones. Raises ``BadInput``: the home's are wrong, and none is in force."""
    try:
        content = (home / FILE_NAME).read_bytes()
    except FileNotFoundError:
        return shipped_rules()
    except OSError as error:
        raise BadInput(f"{FILE_NAME} cannot be read: {error.strerror}") from None
    return read_rules(content)
