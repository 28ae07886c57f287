"""Registered models at work on live twins: once an hour each patient, in the name of the clinician who asked for it.

    1. due       patients of whom anything was measured in the hour that is over by ten minutes, and who were not scored
    2. permit    to read them, in the clinician's name, for treatment: in the log before anything is opened
    3. score     a stay that ends with the hour, made of what the permits cover, by the model the ledger knows: of what
                 was measured live, and in steps without of what records say (laboratories file Observations)
    4. commit    the score, and the alert where it rose or is over, sealed under the twin's key: one transaction

The score says up to which hour it looked, in the transaction that stores the alert: whatever the process dies of, and
whichever of the node's processes is quicker, an hour of a patient raises one alert by a model at most. Hours in which
no node was served are not made up for: only the newest that is over is scored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

import structlog

from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessContext, Permit, Principal
from twinward.core.clock import iso
from twinward.core.errors import BadInput, NotFound, Refused, TwinwardError
from twinward.core.vocabulary import Action, Purpose, TwinId
from twinward.features.derivation import Measurement
from twinward.features.stay_building import build_stay
from twinward.live.alerts.monitor import Change, ModelScore, MonitorState
from twinward.live.alerts.monitor import Measurement as Evidence
from twinward.live.alerts.rules import Rule, Severity
from twinward.live.alerts.watch import Watch
from twinward.live.parts import LiveParts
from twinward.live.scoring.models import (
    PREFIX,
    Charted,
    Judgement,
    ScoredReport,
    Scorer,
    ScorerOf,
    Scoring,
    require_live,
)
from twinward.live.scoring.stay import begin_of, build_live_stay, measuring, newest_charted, with_charted
from twinward.live.signals import LIVE_CATEGORIES
from twinward.live.storage.closing import GRACE_MS
from twinward.live.storage.columns import Columns
from twinward.live.storage.reader import SeriesReader
from twinward.live.storage.series import WINDOW_MS
from twinward.vault.errors import RecordDamaged

LEAST_SHARE: Final = 0.05
"""Signals that contribute less are not named."""
MOST_MODELS: Final = 16
_AT_ONCE: Final = 64
"""Patients decided at once: permits are used before they expire."""

log = structlog.get_logger("twinward.live.scoring")


class LiveScoring:
    """Scores live twins.

    Args:
        parts: what live twins stand on.
        reader, watch: of the same.
        scorer_of: opens a model.
        caller_of: an account that may be used, by its name; raises ``TwinwardError`` for any other.
        charted: what records say.
    """

    def __init__(
        self,
        parts: LiveParts,
        reader: SeriesReader,
        watch: Watch,
        scorer_of: ScorerOf,
        caller_of: Callable[[str], Principal],
        charted: Charted = lambda _permit, _begin_ms, _end_ms: (),
    ) -> None:
        self._parts = parts
        self._reader = reader
        self._watch = watch
        self._scorer_of = scorer_of
        self._caller_of = caller_of
        self._charted = charted
        self._open: dict[str, tuple[Scoring, Scorer]] = {}

    def begin(
        self, context: AccessContext, study: str, model: str, thresholds: Mapping[str, float], severity: Severity
    ) -> Scoring:
        """Have a model score live twins in the caller's name from now on. Logged.

        Raises:
            AccessDenied: the caller may read no patient.
            BadInput: its stays are not made of what is measured live; or there are too many models.
            TwinwardError: the model does not open.
        """
        self._parts.access.require(context.request(Action.READ))
        if not all(map(math.isfinite, thresholds.values())):  # JSON has no such number: no row would open again
            raise BadInput("a threshold is a finite number")
        now_ms = self._parts.clock.now_ms()
        made = Scoring(study, model, context.principal.id, dict(thresholds), severity, 60, now_ms)
        require_live(self._scorer_of(made).schema)
        detail = (("live", "scoring-begun"), ("study", study), ("model", model))
        self._parts.access.decide(context.request(Action.READ, detail=detail))
        with self._parts.database.writing() as tables:
            if len({study, *(one.study for one in tables.scorings.all())}) > MOST_MODELS:
                raise BadInput(f"{MOST_MODELS} models score live twins at most", hint="end one: --stop")
            tables.scorings.put(made)
        return made

    def end(self, context: AccessContext, study: str) -> None:
        """Have a model score no more: its alerts are over. Logged. Raises ``AccessDenied``, ``NotFound``."""
        self._parts.access.decide(context.request(Action.READ, detail=(("live", "scoring-ended"), ("study", study))))
        with self._parts.database.writing() as tables:
            one = next((one for one in tables.scorings.all() if one.study == study), None)
            if one is None:
                raise NotFound(
                    "this study's model scores no live twin", hint="`twinward live models` lists those that do"
                )
            tables.scorings.remove(study)
        for twin in self._followed():
            self._settle(twin, one, None, Judgement(None, 0.0, {}), self._parts.clock.now_ms())

    def all(self, context: AccessContext) -> list[tuple[Scoring, str]]:
        """Every model that scores live twins, and why it cannot, empty where it can. Raises ``AccessDenied``."""
        self._parts.access.require(context.request(Action.READ))
        with self._parts.database.reading() as tables:
            found = tables.scorings.all()
        return [(one, self._problem(one)) for one in found]

    def run(self) -> ScoredReport:
        """Score what is due. A model that cannot be used, and a patient whose rows were altered, hold up no other.

        Raises ``Unavailable``: the database or the log does not answer.
        """
        with self._parts.database.reading() as tables:
            scorings = tables.scorings.all()
        self._open = {study: kept for study, kept in self._open.items() if kept[0] in scorings}
        end_ms = (self._parts.clock.now_ms() - GRACE_MS) // WINDOW_MS * WINDOW_MS
        report = ScoredReport()
        for one in scorings:
            try:
                context, scorer = self._opened(one)
            except TwinwardError as error:
                log.warning("live_scoring_stands_still", study=one.study, kind=type(error).__name__)
                report = _and(report, ScoredReport(problems=(one.study,)))
                continue
            report = _and(report, self._run(one, context, scorer, end_ms))
        return report

    def _opened(self, one: Scoring) -> tuple[AccessContext, Scorer]:
        context = AccessContext(self._caller_of(one.account), Purpose.TREATMENT)
        if one.study not in self._open:
            self._open[one.study] = one, self._scorer_of(one)
        return context, self._open[one.study][1]

    def _problem(self, one: Scoring) -> str:
        try:
            self._caller_of(one.account)
            self._scorer_of(one)
        except TwinwardError as error:
            return str(error)
        return ""

    def _run(self, one: Scoring, context: AccessContext, scorer: Scorer, end_ms: int) -> ScoredReport:
        due = [twin for twin in self._followed() if self._is_due(twin, one, end_ms)]
        scored = raised = 0
        seen: set[TwinId] = set()
        for twin, permits in self._permits(context, one, end_ms, due):
            seen.add(twin)
            found = self._judged(one, context, scorer, twin, permits, end_ms)
            scored += found.score is not None
            raised += self._settle(twin, one, scorer, found, end_ms)
        withheld = set(due) - seen
        for twin in withheld:
            self._end_for(twin, one, scorer, end_ms)
        return ScoredReport(scored, raised, len(withheld))

    def _end_for(self, twin: TwinId, one: Scoring, scorer: Scorer | None, end_ms: int) -> None:
        """Have an alert of a model be over that may look at the patient no more: it says what nobody can look after."""
        try:
            with self._parts.database.reading() as tables:
                last = tables.alerts.monitor(self._parts.keyring.keys(twin)).scored.get(one.study)
        except (NotFound, RecordDamaged):
            return
        if last is not None and last.is_up:
            self._settle(twin, one, scorer, Judgement(None, one.thresholds[""], {}), end_ms)

    def _judged(
        self,
        one: Scoring,
        context: AccessContext,
        scorer: Scorer,
        twin: TwinId,
        permits: Sequence[Permit],
        end_ms: int,
    ) -> Judgement:
        """What a model says of a patient. That nothing can be said is settled too, or it is read anew each minute."""
        with suppress(Refused, NotFound):  # withdrawn or erased since it was decided
            try:
                begin_ms = begin_of(scorer.schema, end_ms)
                charted = self._read_charted(permits, begin_ms, end_ms)
                live = build_live_stay(scorer.schema, self._read(permits, begin_ms, end_ms), end_ms)
                stay = with_charted(live, build_stay(scorer.schema, charted, end_ms))
                found = None if stay is None else scorer.judge(context, twin, stay)
                if found is not None and found.score is not None and math.isfinite(found.score):
                    return found._replace(charted=newest_charted(scorer.schema, charted))
            except (RecordDamaged, BadInput):  # what was altered, or a model that no number comes of
                log.warning("live_scoring_passed_over", study=one.study)
        return Judgement(None, one.thresholds[""], {})

    def _followed(self) -> list[TwinId]:
        with self._parts.database.reading() as tables:
            return tables.alerts.monitored()

    def _is_due(self, twin: TwinId, one: Scoring, end_ms: int) -> bool:
        """Whether a patient is to be scored: opened to look, and handed to nobody."""
        try:
            keys = self._parts.keyring.keys(twin)
            with self._parts.database.reading() as tables:
                state = tables.alerts.monitor(keys)
        except (NotFound, RecordDamaged):
            return False
        last = state.scored.get(one.study)
        newest_ms = max((time_ms for time_ms, _ in state.newest.values()), default=0)
        if last is not None and last.end_ms >= end_ms:
            return False
        return newest_ms >= end_ms - WINDOW_MS or (last is not None and last.is_up)

    def _permits(
        self, context: AccessContext, one: Scoring, end_ms: int, due: Sequence[TwinId]
    ) -> Iterator[tuple[TwinId, list[Permit]]]:
        """Leave to read as much of each as may be; who may not be read at all is passed over, and nothing was tried."""
        detail = (("live", "scored"), ("study", one.study), ("model", one.model), ("until", iso(end_ms)))
        for start in range(0, len(due), _AT_ONCE):
            asked = [
                part
                for twin in due[start : start + _AT_ONCE]
                for part in self._parts.access.permitted(
                    context.request(Action.READ, twin, LIVE_CATEGORIES, detail=detail)
                )
            ]
            given: dict[TwinId, list[Permit]] = {}
            for permit in self._parts.access.decide_many(asked):
                if permit is not None and permit.request.twin is not None:
                    given.setdefault(permit.request.twin, []).append(permit)
            yield from given.items()

    def _read(self, permits: Sequence[Permit], begin_ms: int, end_ms: int) -> Mapping[str, Sequence[Columns]]:
        runs: dict[str, list[Columns]] = {}
        for permit in permits:
            for some in self._parts.access.opened(permit, lambda held: self._reader.read_every(held, begin_ms, end_ms)):
                for name, columns in some.items():
                    runs.setdefault(name, []).extend(columns)
        return runs

    def _read_charted(self, permits: Sequence[Permit], begin_ms: int, end_ms: int) -> list[Measurement]:
        opened = (
            self._parts.access.opened(permit, lambda held: self._charted(held, begin_ms, end_ms)) for permit in permits
        )
        every = (one for parts in opened for some in parts for one in some)
        return [one for one in every if begin_ms <= one.at_ms < end_ms]

    def _settle(self, twin: TwinId, one: Scoring, scorer: Scorer | None, found: Judgement, end_ms: int) -> bool:
        """Store a score and what follows from it, unless another process did. Whether an alert rose by it.

        Without a scorer the model scores no more: what it said is forgotten.
        """
        try:
            keys = self._parts.keyring.keys(twin)
            with self._parts.database.writing() as tables:
                state = tables.alerts.monitor(keys)
                before = state.scored.get(one.study)
                if (scorer is None and before is None) or (before is not None and before.end_ms >= end_ms):
                    return False
                was_up = before is not None and before.is_up
                said = ModelScore(end_ms, found.score, found.threshold, one.of_conditions)
                state.scored[one.study] = said
                if scorer is None:
                    del state.scored[one.study]
                if said.is_up != was_up:
                    self._watch.note(tables, keys, [_change(one, scorer, found, state, end_ms, rose=said.is_up)])
                tables.alerts.put_monitor(keys, state)
        except (NotFound, RecordDamaged, AccessDenied):
            return False
        return said.is_up and not was_up


def _change(
    one: Scoring, scorer: Scorer | None, found: Judgement, state: MonitorState, end_ms: int, *, rose: bool
) -> Change:
    """What an alert is made of: the newest of each signal that contributes, measured live or charted. It is shown to
    who may not see conditions, so it says no score that is of them."""
    rule = Rule(PREFIX + one.study, one.severity, escalate_minutes=one.escalate_minutes)
    newest = {name: max(at) for name in {*state.newest, *found.charted} if (at := _known(name, state, found))}
    shares: dict[str, float] = {}
    for column in scorer.schema.signal if scorer else ():
        share = found.shares.get(column.name, 0.0)
        names = [signal.name for signal in measuring(column) if signal.name in newest]
        if share >= LEAST_SHARE and names:
            shares[names[0]] = round(share, 3)
    most = sorted(shares, key=lambda name: -shares[name])
    because = tuple(Evidence(newest[name][0], name, newest[name][1]) for name in most)
    score = None if found.score is None or one.of_conditions else round(found.score, 4)
    return Change(rule, end_ms, rose, because, score, shares, one.model)


def _known(name: str, state: MonitorState, found: Judgement) -> list[tuple[int, float]]:
    return [said[name] for said in (state.newest, found.charted) if name in said]


def _and(one: ScoredReport, other: ScoredReport) -> ScoredReport:
    return ScoredReport(
        one.scored + other.scored,
        one.raised + other.raised,
        one.withheld + other.withheld,
        one.problems + other.problems,
    )
