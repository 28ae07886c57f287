"""Rules followed over a patient's measurements, one after the other: pure, and the same live and over history.

A measurement counts unless it is older than what is known of its signal: what comes late changes nothing, and of two
devices at one moment both count. Artefacts are passed over. A threshold rises once and is over once the value is back
beyond ``clear``; a score once it is below its sum; what is missing once it is measured again; a trend once the newest
value is less than ``clear`` away from the extreme of the last minutes, counted as the clock's whole ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from twinward.live.alerts.rules import Rule, Rules
from twinward.live.alerts.scores import Score, news2, qsofa

_MINUTE_MS = 60_000


class Measurement(NamedTuple):
    """One value of one signal."""

    time_ms: int
    signal: str
    value: float


class ModelScore(msgspec.Struct, frozen=True):
    """What a registered model said of a patient last.

    Attributes:
        end_ms: of the hour up to which it looked.
        score, threshold: it is up where the one is above the other; None where nothing could be said.
        of_conditions: both depend on the patient's disease group: they tell of it.
    """

    end_ms: int
    score: float | None
    threshold: float
    of_conditions: bool = False

    @property
    def is_up(self) -> bool:
        """Whether it is an anomaly."""
        return self.score is not None and self.score > self.threshold


class Minute(msgspec.Struct, frozen=True, array_like=True):
    """A signal's lowest and highest value of one minute, each with when it was measured."""

    low_ms: int
    low: float
    high_ms: int
    high: float

    @property
    def number(self) -> int:
        """Minutes since 1970."""
        return self.low_ms // _MINUTE_MS

    def with_(self, time_ms: int, value: float) -> Minute:
        """One more of this minute."""
        low = (time_ms, value) if value < self.low else (self.low_ms, self.low)
        high = (time_ms, value) if value > self.high else (self.high_ms, self.high)
        return Minute(*low, *high)


class MonitorState(msgspec.Struct):
    """What a monitor remembers of a patient.

    Attributes:
        newest: each signal's newest value.
        up: which rules are up, since when.
        scored: by study, what its model said last.
        minutes: of signals that trends are looked at of, the last minutes, the oldest first.
    """

    newest: dict[str, tuple[int, float]] = msgspec.field(default_factory=dict)
    up: dict[str, int] = msgspec.field(default_factory=dict)
    scored: dict[str, ModelScore] = msgspec.field(default_factory=dict)
    minutes: dict[str, list[Minute]] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """A rule that rose, or is over. ``because`` are the measurements it looked at; ``score`` where it is of one.

    Of a model: ``shares`` of the score by signal, and ``version``, the model's SHA-256.
    """

    rule: Rule
    time_ms: int
    rose: bool
    because: tuple[Measurement, ...]
    score: float | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    version: str = ""


class Monitor:
    """Follows rules over one patient.

    Args:
        rules: in force.
        state: changed as it goes.
    """

    def __init__(self, rules: Rules, state: MonitorState) -> None:
        self.state = state
        self._rules = rules.rules
        names = {one.name for one in rules.rules}
        for gone in state.up.keys() - names:  # a rule that is in force no more is up no more
            del state.up[gone]
        self._within: dict[str, int] = {}
        for one in rules.rules:
            if one.within_minutes is not None:
                self._within[one.signal] = max(one.within_minutes, self._within.get(one.signal, 0))
        for signal in state.minutes.keys() - self._within.keys():
            del state.minutes[signal]

    def follow(self, measurements: Iterable[Measurement]) -> Iterator[Change]:
        """Take measurements in, in order of time, and say what changes."""
        for one in sorted(measurements):
            known = self.state.newest.get(one.signal)
            if known is not None and one.time_ms < known[0]:
                continue
            self.state.newest[one.signal] = (one.time_ms, one.value)
            self._remember(one)
            if known is None or known[1] != one.value or one.time_ms - known[0] >= _MINUTE_MS:
                yield from self.look(one.time_ms, one.signal)  # the same again within a minute changes nothing

    def look(self, now_ms: int, signal: str = "") -> Iterator[Change]:
        """What changes at a moment: by one signal's new value, or by time alone."""
        for rule in self._rules:
            if signal and rule.signal not in ("", signal):
                continue
            because, score = self._because(rule, now_ms)
            holds = self._holds(rule, now_ms, score)
            if holds and rule.name not in self.state.up:
                self.state.up[rule.name] = now_ms
                yield Change(rule, now_ms, True, because, None if score is None else score.total)
            elif holds is False and rule.name in self.state.up:
                del self.state.up[rule.name]
                yield Change(rule, now_ms, False, because, None if score is None else score.total)

    def _holds(self, rule: Rule, now_ms: int, score: Score | None) -> bool | None:
        """Whether a rule is up; None between a threshold and where it is over, and where nothing is known."""
        if score is not None:
            return score.total >= (rule.at_least or 0)
        known = self.state.newest.get(rule.signal)
        if known is None:
            return None
        if rule.missing_minutes is not None:
            return now_ms - known[0] >= rule.missing_minutes * _MINUTE_MS
        if rule.moves_by is not None:
            extreme = self._extreme(rule, now_ms)
            moved = None if extreme is None else abs(extreme.value - known[1])
            return None if moved is None else _beyond(rule.moves_by, rule.clear, moved)
        return _crossed(rule, known[1])

    def _remember(self, one: Measurement) -> None:
        """Take a measurement into its minute, where a trend is looked at of its signal."""
        if one.signal not in self._within:
            return
        minutes, number = self.state.minutes.setdefault(one.signal, []), one.time_ms // _MINUTE_MS
        if minutes and minutes[-1].number == number:
            minutes[-1] = minutes[-1].with_(one.time_ms, one.value)
        else:
            minutes.append(Minute(one.time_ms, one.value, one.time_ms, one.value))
        oldest = number - self._within[one.signal]
        self.state.minutes[one.signal] = [each for each in minutes if each.number > oldest]

    def _extreme(self, rule: Rule, now_ms: int) -> Measurement | None:
        """The highest that a signal fell from, or the lowest that it rose from; None where it was not measured."""
        oldest = now_ms // _MINUTE_MS - (rule.within_minutes or 0)
        some = [one for one in self.state.minutes.get(rule.signal, ()) if one.number > oldest]
        if not some:
            return None
        if rule.falls_by is not None:
            highest = max(some, key=lambda one: one.high)
            return Measurement(highest.high_ms, rule.signal, highest.high)
        lowest = min(some, key=lambda one: one.low)
        return Measurement(lowest.low_ms, rule.signal, lowest.low)

    def _because(self, rule: Rule, now_ms: int) -> tuple[tuple[Measurement, ...], Score | None]:
        if not rule.score:
            known = self.state.newest.get(rule.signal)
            newest = () if known is None else (Measurement(known[0], rule.signal, known[1]),)
            extreme = None if rule.moves_by is None else self._extreme(rule, now_ms)
            return (newest if extreme is None else (extreme, *newest)), None
        oldest_ms = now_ms - rule.valid_minutes * _MINUTE_MS
        valid = {name: value for name, (time_ms, value) in self.state.newest.items() if time_ms >= oldest_ms}
        score = news2(valid, scale_2=rule.scale_2) if rule.score == "news2" else qsofa(valid)
        shown = [name for name in valid if name in score.parts or name in ("oxygen_flow", "fio2")]
        return tuple(Measurement(self.state.newest[name][0], name, valid[name]) for name in sorted(shown)), score


def _beyond(line: float, clear: float | None, moved: float) -> bool | None:
    """Whether a difference is there; None between its line and where it is over."""
    return True if moved >= line else False if moved < (line if clear is None else clear) else None


def _crossed(rule: Rule, value: float) -> bool | None:
    if rule.below is not None:
        clear = rule.below if rule.clear is None else rule.clear
        return True if value < rule.below else False if value >= clear else None
    if rule.above is not None:
        clear = rule.above if rule.clear is None else rule.clear
        return True if value > rule.above else False if value <= clear else None
    return None
