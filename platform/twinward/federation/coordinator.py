"""A study, run from its coordinator: reserve, train, keep the model; only then measure it, write its card, register.

The coordinator never sees a hospital's own update: only masked vectors, and their sum, which carries the noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from twinward.core.clock import Clock
from twinward.core.errors import BadInput, Conflict, Refused, Unavailable
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.detector import Detector, Parameters, normalise
from twinward.federation.detectors.model_file import Model
from twinward.federation.errors import PoisonSuspected
from twinward.federation.evaluation.benchmark import (
    PRIVATE,
    UNTRAINED,
    WITHOUT_PRIVACY,
    Benchmark,
    Comparison,
    measure_detector,
    measure_isolation_forest,
    train_without_privacy,
)
from twinward.federation.evaluation.model_card import ModelCard, write_card
from twinward.federation.interfaces import ModelRegistry, PrivacyBudget
from twinward.federation.privacy.accountant import PrivacyPlan, plan_for
from twinward.federation.rounds import Rounds
from twinward.federation.site import Site
from twinward.federation.study import StudyProtocol
from twinward.federation.study_journal import StudyJournal
from twinward.federation.suspicion.verdict import reviewed_model
from twinward_ledger.storage import Database


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands.

    Attributes:
        stage: ``joining``, ``training``, ``comparing`` or ``registering``.
        done, total: steps of this stage.
        epsilon: privacy spent so far by the sums released.
    """

    stage: str
    done: int
    total: int
    epsilon: float


@dataclass(frozen=True)
class Trained:
    """A model that was trained, kept and paid for, and not measured yet.

    Attributes:
        model: protocol and parameters; ``model.to_bytes()`` is the model file.
        plan: the privacy charged.
        reservation: the budget reservation that paid for it.
    """

    model: Model
    plan: PrivacyPlan
    reservation: int


@dataclass(frozen=True)
class TrainedStudy:
    """What a study leaves behind.

    Attributes:
        model: protocol and parameters; ``model.to_bytes()`` is the model file.
        card: the model card whose hash is on the ledger.
        plan: the privacy charged.
        comparison: AUROCs.
        model_number: the model's number on the ledger.
        reservation: the budget reservation that paid for it.
    """

    model: Model
    card: ModelCard
    plan: PrivacyPlan
    comparison: Comparison
    model_number: int
    reservation: int


class Coordinator:
    """Runs studies over sites that it can reach. Holds no patient data.

    Args:
        sites: the hospitals, each named as in the protocols.
        budget: where privacy is reserved and spent.
        registry: where models are registered.
        clock: for the model card.
        journals: where studies are kept that go on after an interruption (``StudyJournal``).
        account: in whose name they run.
        keep: keeps a model durably, as soon as it is trained and before anything else is done with it. Whatever fails
            later, what was paid for is there.
        keep_card: keeps a card before it is registered, and gives the one that stands: an earlier one, where
            registering it failed.
        progress: told of every step, on the calling thread.
    """

    def __init__(
        self,
        sites: Sequence[Site],
        budget: PrivacyBudget,
        registry: ModelRegistry,
        clock: Clock,
        *,
        journals: Path | Database = Path(":memory:"),
        account: str = "",
        keep: Callable[[Model], None] | None = None,
        keep_card: Callable[[ModelCard], ModelCard] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._sites = list(sites)
        self._budget = budget
        self._registry = registry
        self._clock = clock
        self._journals = journals
        self._account = account
        self._keep = keep or (lambda _: None)
        self._keep_card = keep_card or (lambda card: card)
        self._progress = progress or (lambda _: None)

    def run(self, study: StudyProtocol, benchmark: Benchmark) -> TrainedStudy:
        """Train under the protocol's privacy, measure, and register what came of it.

        Raises:
            BadInput: the benchmark cannot measure a model of this protocol. Nothing was reserved, nothing computed.

        And as ``train``.
        """
        self._require_sites(study)
        benchmark.require_measurable(study.bins, study.signals)
        return self.finish(self.train(study), benchmark)

    def finish(self, trained: Trained, benchmark: Benchmark) -> TrainedStudy:
        """Measure and register a model that is kept and paid for. Raises as these do; finish it again then."""
        return self.register(trained, self.measure(trained, benchmark), benchmark)

    def settle(self, trained: Trained) -> None:
        """Commit what pays for a model that was kept. Raises ``Conflict``, ``Unavailable``."""
        self._budget.commit(trained.reservation)

    def train(self, study: StudyProtocol) -> Trained:
        """Reserve, train, keep the model, commit.

        A study that was begun goes on where it was, under the reservation that it has: nothing more is charged. What
        ends it for good, a hospital that refuses or lies, burns that; what only interrupts it leaves it.

        Raises:
            BudgetExhausted: a hospital's budget does not pay for this; nothing was computed.
            PoisonSuspected: a study's groups make a hospital suspect: it goes on once an officer looked at it.
            Quarantined: it cannot go on without hospitals that an officer quarantined.
            SumImplausible, ContributionRefused: some hospital does not keep to the protocol; no model is made.
            RoundRefused, KeyRefused, NotPaid: a hospital would not take part.
            RoundAborted: more hospitals are lost than the protocol lets be.
            Unavailable: the ledger or the journal does not answer.
        """
        self._require_sites(study)
        plan = plan_for(study)
        journal = StudyJournal(self._journals, study.fingerprint())
        reservation = self._reservation(study, plan, journal)
        try:
            model = Model(study, self._train(study, plan, build_detector(study), journal))
            self._keep(model)
        except PoisonSuspected:
            raise  # it is paid for, and waits for an officer
        except (BadInput, Conflict, Refused) as error:
            self._burn(reservation, error)
            raise
        trained = Trained(model, plan, reservation)
        self.settle(trained)
        return trained

    def measure(self, trained: Trained, benchmark: Benchmark) -> Comparison:
        """The trained detector, the untrained one and, on open stays, those that privacy is given up for.

        It costs no privacy: a benchmark's stays are public or synthetic. If it fails, measure again.

        Raises:
            BadInput: the benchmark cannot measure this model.
        """
        study, test, bins = trained.model.study, benchmark.test, trained.model.study.bins
        detector = trained.model.detector()
        private = measure_detector(PRIVATE, detector, trained.model.parameters, test, bins)
        untrained = measure_detector(UNTRAINED, detector, detector.untrained(), test, bins)
        if benchmark.open_stays is None:
            return Comparison(private, untrained)
        blocks = normalise(benchmark.open_stays, bins, study.signals)

        def after_round(done: int, total: int) -> None:
            self._progress(Progress("comparing", done, total, trained.plan.epsilon))

        plain = build_detector(study, in_the_open=True)
        groups = benchmark.open_groups
        openly = train_without_privacy(plain, blocks, study.rounds, groups=groups, after_round=after_round)
        return Comparison(
            private,
            untrained,
            measure_detector(WITHOUT_PRIVACY, plain, openly, test, bins),
            measure_isolation_forest(blocks, test, bins),
        )

    def register(self, trained: Trained, comparison: Comparison, benchmark: Benchmark) -> TrainedStudy:
        """Write the card and register model and card under the reservation that paid.

        Raises:
            Conflict: the ledger refuses, such as a reservation that was registered before.
            Unavailable: the ledger does not answer.
        """
        model, plan = trained.model, trained.plan
        journal = StudyJournal(self._journals, model.study.fingerprint())
        reviews = journal.reviews()
        card = self._keep_card(write_card(model, plan, comparison, benchmark, self._clock.now_ms(), reviews))
        number = self._registry.register(
            trained.reservation, model.hash(), card.hash(), plan.epsilon_micros, plan.delta_e12
        )
        journal.forget()
        self._progress(Progress("registering", 1, 1, plan.epsilon))
        return TrainedStudy(model, card, plan, comparison, number, trained.reservation)

    def _train(self, study: StudyProtocol, plan: PrivacyPlan, detector: Detector, journal: StudyJournal) -> Parameters:
        """All rounds; what is learnt from their sums."""

        def joined(hospitals: int) -> None:
            self._progress(Progress("joining", hospitals, len(self._sites), 0.0))

        def learnt(number: int, sums: int) -> None:
            self._progress(Progress("training", number, study.rounds, plan.epsilon_after(sums)))

        rounds = Rounds(study, plan, self._sites, journal, detector.dimension)
        found = rounds.run(detector.learner(), joined, learnt)
        return reviewed_model(study, plan, detector, journal, found) if study.group_size else found

    def _reservation(self, study: StudyProtocol, plan: PrivacyPlan, journal: StudyJournal) -> int:
        """What pays for a study: of before, where it was begun."""
        begun = journal.begun()
        if begun is not None:
            return begun.reservation
        number = self._budget.reserve(study.fingerprint(), study.hospitals, plan.inverse_variance_micros)
        journal.begin(number, self._account)
        return number

    def _burn(self, reservation: int, cause: BaseException) -> None:
        """Settle a failed run. A reservation that cannot be settled now stays reserved, which charges the same."""
        try:
            self._budget.burn(reservation)
        except (Unavailable, Conflict, Refused) as error:
            cause.add_note(f"reservation {reservation} could not be settled and stays reserved: {error}")

    def _require_sites(self, study: StudyProtocol) -> None:
        names = [site.name for site in self._sites]
        if sorted(names) != sorted(study.hospitals):
            raise BadInput(
                f"study {study.study_id} is of {', '.join(study.hospitals)}; the sites here are {', '.join(names)}",
                hint="connect exactly the protocol's hospitals",
            )
