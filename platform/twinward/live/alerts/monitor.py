"""Rules followed over a patient's measurements, one after the other: pure, and the same live and over history.

A measurement counts unless it is older than what is known of its signal: what comes late changes nothing, and of two
devices at one moment both count. Artefacts are passed over. A threshold rises once and is over once the value is back
beyond ``clear``; a score once it is below ``clear``; what is missing once it is measured again; a trend once the newest
value is less than ``clear`` away from the extreme of the last minutes, counted as the clock's whole ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from twinward.live.alerts.rules import Rule, Rules
from twinward.live.alerts.scores import Score, news2, news2_total, qsofa

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
        runs: by rule of what stays away, since when its signal was measured without such a gap.
    """

    newest: dict[str, tuple[int, float]] = msgspec.field(default_factory=dict)
    up: dict[str, int] = msgspec.field(default_factory=dict)
    scored: dict[str, ModelScore] = msgspec.field(default_factory=dict)
    minutes: dict[str, list[Minute]] = msgspec.field(default_factory=dict)
    runs: dict[str, int] = msgspec.field(default_factory=dict)


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
        self._scores = [one for one in rules.rules if one.score]
        self._of_signal: dict[str, list[Rule]] = {}
        for one in rules.rules:
            if one.signal:
                self._of_signal.setdefault(one.signal, []).append(one)
        names = {one.name for one in rules.rules}
        for of_rules in (state.up, state.runs):  # a rule that is in force no more is up no more
            for gone in of_rules.keys() - names:
                del of_rules[gone]
        self._within: dict[str, int] = {}
        for one in rules.rules:
            if one.within_minutes is not None:
                self._within[one.signal] = max(one.within_minutes, self._within.get(one.signal, 0))
        for signal in state.minutes.keys() - self._within.keys():
            del state.minutes[signal]

    def follow(self, measurements: Iterable[Measurement]) -> Iterator[Change]:
        """Take measurements in, in order of time, and say what changes.

        Scores are looked at once a moment's measurements are all taken: half a moment is no state the patient was in.
        """
        moment_ms, met = 0, set[str]()
        for one in sorted(measurements):
            if met and (one.time_ms != moment_ms or one.signal in met):  # of two devices at one moment both count
                yield from self._look(self._scores, moment_ms)
                met.clear()
            moment_ms = one.time_ms
            if self._took(one):
                met.add(one.signal)
                yield from self._look(self._of_signal.get(one.signal, ()), moment_ms)
        if met:
            yield from self._look(self._scores, moment_ms)

    def look(self, now_ms: int) -> Iterator[Change]:
        """What changes by time alone."""
        yield from self._look(self._rules, now_ms)

    def _took(self, one: Measurement) -> bool:
        """Take one in, unless it is late; whether it may change anything: the same again within a minute does not."""
        known = self.state.newest.get(one.signal)
        if known is not None and one.time_ms < known[0]:
            return False
        self._run_on(one, None if known is None else known[0])
        self.state.newest[one.signal] = (one.time_ms, one.value)
        self._remember(one)
        return known is None or known[1] != one.value or one.time_ms - known[0] >= _MINUTE_MS

    def _look(self, rules: Iterable[Rule], now_ms: int) -> Iterator[Change]:
        totals: dict[tuple[str, bool, int], int] = {}
        for rule in rules:
            holds = self._holds(rule, now_ms, totals)
            was = rule.name in self.state.up
            if holds is None or holds == was:
                continue
            if holds:
                self.state.up[rule.name] = now_ms
            else:
                del self.state.up[rule.name]
            because, score = self._because(rule, now_ms)
            yield Change(rule, now_ms, holds, because, None if score is None else score.total)

    def _holds(self, rule: Rule, now_ms: int, totals: dict[tuple[str, bool, int], int]) -> bool | None:
        """Whether a rule is up; None between a threshold and where it is over, and where nothing is known.

        ``totals`` are of this moment: rules of one score share its sum.
        """
        if rule.unless in self.state.up:
            return False
        if rule.score:
            key = (rule.score, rule.scale_2, rule.valid_minutes)
            if key not in totals:
                values = self._valid(rule, now_ms)
                totals[key] = (
                    news2_total(values, scale_2=rule.scale_2) if rule.score == "news2" else qsofa(values).total
                )
            return _beyond(rule.at_least or 0, rule.clear, totals[key])
        known = self.state.newest.get(rule.signal)
        if known is None:
            return None
        if rule.missing_minutes is not None:
            gap_ms = rule.missing_minutes * _MINUTE_MS
            is_steady = known[0] - self.state.runs.get(rule.name, known[0]) >= gap_ms or rule.name in self.state.up
            return is_steady and now_ms - known[0] >= gap_ms
        if rule.moves_by is not None:
            extreme = self._extreme(rule, now_ms)
            moved = None if extreme is None else abs(extreme.value - known[1])
            return None if moved is None else _beyond(rule.moves_by, rule.clear, moved)
        return _crossed(rule, known[1])

    def _run_on(self, one: Measurement, before_ms: int | None) -> None:
        """Since when a signal is measured without a gap: begun anew behind each."""
        for rule in self._of_signal.get(one.signal, ()):
            if rule.missing_minutes is not None:
                is_gap = before_ms is None or one.time_ms - before_ms >= rule.missing_minutes * _MINUTE_MS
                if is_gap or rule.name not in self.state.runs:
                    self.state.runs[rule.name] = one.time_ms

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

    def _valid(self, rule: Rule, now_ms: int) -> dict[str, float]:
        oldest_ms = now_ms - rule.valid_minutes * _MINUTE_MS
        return {name: value for name, (time_ms, value) in self.state.newest.items() if time_ms >= oldest_ms}

    def _because(self, rule: Rule, now_ms: int) -> tuple[tuple[Measurement, ...], Score | None]:
        if not rule.score:
            known = self.state.newest.get(rule.signal)
            newest = () if known is None else (Measurement(known[0], rule.signal, known[1]),)
            extreme = None if rule.moves_by is None else self._extreme(rule, now_ms)
            return (newest if extreme is None else (extreme, *newest)), None
        valid = self._valid(rule, now_ms)
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
