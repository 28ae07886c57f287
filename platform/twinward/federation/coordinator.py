"""A study, run from its coordinator: reserve, train, keep the model; only then measure it, write its card, register.

The coordinator never sees a hospital's own update: only masked vectors, and their sum, which carries the noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from twinward.core.clock import Clock
from twinward.core.errors import BadInput, Conflict, Unavailable
from twinward.federation.aggregation.contribution import masked_vector
from twinward.federation.aggregation.plausibility import require_plausible
from twinward.federation.aggregation.secure_aggregation import SignedRoundKey, open_sum
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.detector import Detector, Parameters, normalise
from twinward.federation.detectors.model_file import Model
from twinward.federation.errors import RoundAborted
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
from twinward.federation.privacy.dp_sum import decode
from twinward.federation.site import Site
from twinward.federation.study import StudyProtocol

Answer = TypeVar("Answer")


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
        keep: keeps a model durably, as soon as it is trained and before anything else is done with it. Whatever fails
            later, what was paid for is there.
        progress: told of every step, on the calling thread.
    """

    def __init__(
        self,
        sites: Sequence[Site],
        budget: PrivacyBudget,
        registry: ModelRegistry,
        clock: Clock,
        *,
        keep: Callable[[Model], None] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._sites = list(sites)
        self._budget = budget
        self._registry = registry
        self._clock = clock
        self._keep = keep or (lambda _: None)
        self._progress = progress or (lambda _: None)

    def run(self, study: StudyProtocol, benchmark: Benchmark) -> TrainedStudy:
        """Train under the protocol's privacy, measure, and register what came of it.

        Raises:
            BadInput: the benchmark cannot measure a model of this protocol. Nothing was reserved, nothing computed.

        And as ``train``.
        """
        self._require_sites(study)
        benchmark.require_measurable(study.bins, study.signals)
        trained = self.train(study)
        return self.register(trained, self.measure(trained, benchmark), benchmark)

    def train(self, study: StudyProtocol) -> Trained:
        """Reserve, train, keep the model, commit.

        Raises:
            BudgetExhausted: a hospital's budget does not pay for this; nothing was computed.
            SumImplausible: some hospital does not keep to the protocol; burned, and no model is made.
            RoundAborted: a hospital dropped out. The reservation is burned: sums may have been released.
            RoundRefused, KeyRefused, NotPaid, StaysUnreadable: a hospital would not take part; burned likewise.
            Unavailable: the ledger does not answer.
        """
        self._require_sites(study)
        plan = plan_for(study)
        detector = build_detector(study)
        reservation = self._budget.reserve(study.fingerprint(), study.hospitals, plan.inverse_variance_micros)
        try:
            model = Model(study, self._train(study, plan, detector))
            self._keep(model)
        except BaseException as error:
            self._burn(reservation, error)
            raise
        self._budget.commit(reservation)
        return Trained(model, plan, reservation)

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
        openly = train_without_privacy(plain, blocks, study.rounds, after_round=after_round)
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
        card = write_card(model, plan, comparison, benchmark, self._clock.now_ms())
        number = self._registry.register(
            trained.reservation, model.hash(), card.hash(), plan.epsilon_micros, plan.delta_e12
        )
        self._progress(Progress("registering", 1, 1, plan.epsilon))
        return TrainedStudy(model, card, plan, comparison, number, trained.reservation)

    def _train(self, study: StudyProtocol, plan: PrivacyPlan, detector: Detector) -> Parameters:
        """All rounds; what is learnt from their sums."""
        learner = detector.learner()
        with ThreadPoolExecutor(len(self._sites), thread_name_prefix="site") as pool:
            keys = _of_each(pool, self._sites, lambda site: site.join(study))
            self._progress(Progress("joining", len(self._sites), len(self._sites), 0.0))
            for round_number in range(1, study.rounds + 1):
                total, keys = self._round(pool, study, plan, round_number, learner.parameters, detector.dimension, keys)
                learner.learn(total)
                spent = plan.epsilon_after(round_number)
                self._progress(Progress("training", round_number, study.rounds, spent))
        return learner.parameters

    def _round(
        self,
        pool: ThreadPoolExecutor,
        study: StudyProtocol,
        plan: PrivacyPlan,
        number: int,
        parameters: Parameters,
        dimension: int,
        keys: Mapping[str, SignedRoundKey | None],
    ) -> tuple[Parameters, Mapping[str, SignedRoundKey | None]]:
        """One secure sum in one exchange: keys and model to all, masked vectors and the next keys from all."""
        missing = [name for name, key in keys.items() if key is None]
        if missing:
            raise RoundAborted(f"{', '.join(missing)} gave no key for round {number}: it answered this study before")
        known = [key for key in keys.values() if key is not None]
        sent = _of_each(pool, self._sites, lambda site: site.contribute(number, number, parameters, known))
        masked = {name: masked_vector(name, one, dimension) for name, one in sent.items()}
        total = open_sum(masked, study.hospitals)
        require_plausible(study, plan, total)
        return decode(total, study.clip), {name: one.next_key for name, one in sent.items()}

    def _burn(self, reservation: int, cause: BaseException) -> None:
        """Settle a failed run. A reservation that cannot be settled now stays reserved, which charges the same."""
        try:
            self._budget.burn(reservation)
        except (Unavailable, Conflict) as error:
            cause.add_note(f"reservation {reservation} could not be settled and stays reserved: {error}")

    def _require_sites(self, study: StudyProtocol) -> None:
        names = [site.name for site in self._sites]
        if sorted(names) != sorted(study.hospitals):
            raise BadInput(
                f"study {study.study_id} is of {', '.join(study.hospitals)}; the sites here are {', '.join(names)}",
                hint="connect exactly the protocol's hospitals",
            )


def _of_each(pool: ThreadPoolExecutor, sites: Sequence[Site], ask: Callable[[Site], Answer]) -> Mapping[str, Answer]:
    """Ask all sites at once; wait for all, then raise the first error there was."""
    futures = {site.name: pool.submit(ask, site) for site in sites}
    return {name: future.result() for name, future in futures.items()}
