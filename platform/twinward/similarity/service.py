"""Vendors' encrypted queries, answered: one story per mode.

Each goes the same way: is it about the running epoch; may this principal ask (logged before anything else happens);
is it asking too fast; does the frame parse; is there budget (spent on the ledger before anything is opened or scored);
gated: the gate opens the query and checks it; score; release policy. A query that is refused before the budget costs
nothing; one that the gate had to open to refuse costs like any other, for each refusal tells a bit about the gate's
key. Status, sentences and sizes depend on the query, on the allowance and on who is told, never on other rows. What
leaves about a patient is an access of its own, decided for that patient and vendor, and logged: ``match`` before a
handle or a distance goes out, ``export`` before a record does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from twinward.access.interfaces import AccessControl, AccessRequest, Principal
from twinward.core.clock import Clock, SystemClock
from twinward.core.errors import Unavailable
from twinward.core.vocabulary import Action, Purpose, TwinId
from twinward.features.facets import require_known
from twinward.protocol.criteria import Criteria
from twinward.protocol.criteria_costs import costs_of
from twinward.protocol.feasibility import FeasibilityQuestion
from twinward.protocol.fields import values_of
from twinward.protocol.messages import GatedQuery, MatrixQuery, MatrixSearch, VendorKeyQuery
from twinward.protocol.terms import Mode
from twinward.similarity.cohort import Cohort, CohortSecrets
from twinward.similarity.entry_filter import open_rows_where, rows_where
from twinward.similarity.errors import BudgetExhausted, QueryMalformed, QueryRefused, SchemaMismatch, when
from twinward.similarity.explainer import Observation, observe
from twinward.similarity.feasibility.service import Counted, Feasibility
from twinward.similarity.interfaces import QueryBudget, RecordSource, ReleasePolicy
from twinward.similarity.models import Asked, Distances, ReleasedRecords, Told
from twinward.similarity.rate_limit import Pace, RateLimit
from twinward.similarity.release.history import ReleaseHistory
from twinward.similarity.release.policy import MinimumCount
from twinward.similarity.release.records import RecordRelease
from twinward.similarity.release.service import ReleaseService
from twinward.similarity.scoring.engines import GatedEngine, VendorKeyEngine
from twinward.similarity.scoring.matrix import MatrixEngine, MatrixQuestion, checked_search, search
from twinward.similarity.scoring.placement import Scoring
from twinward.similarity.service_policy import ServicePolicy
from twinward_crypto.homomorphic.gated import NO_DISTANCE
from twinward_crypto.homomorphic.plain_query import PlainQuery
from twinward_crypto.homomorphic.wire import Bundle

Engine = TypeVar("Engine")
DAY_S = 86_400

log = structlog.get_logger("twinward.similarity")


class Similarity:
    """One epoch's cohort, answering.

    Args:
        cohort: whom it answers about.
        secrets: the epoch's secrets; the same ones the cohort was ordered by.
        service_policy: which modes, with which parameters.
        access: decides and logs every query and every release.
        budget: vendors' allowances, on the ledger.
        policy: what may leave; ``MinimumCount`` of the service policy if none is given.
        records: who can open the records behind a handle; None where none are released.
        history: what vendors were told; None keeps it in memory.
        erased: the twins of which something was erased since the snapshot, in any process.
        clock: the node's time, for rate limits.
        scoring: who scores; processes of this machine if nothing is said.
        feasibility: what counts under hidden criteria; None where nothing is counted.
        pad: as of ``ReleaseService``.
    """

    def __init__(
        self,
        cohort: Cohort,
        secrets: CohortSecrets,
        *,
        service_policy: ServicePolicy,
        access: AccessControl,
        budget: QueryBudget,
        policy: ReleasePolicy | None = None,
        records: RecordSource | None = None,
        history: ReleaseHistory | None = None,
        erased: Callable[[], frozenset[TwinId]] = frozenset,
        clock: Clock | None = None,
        scoring: Scoring | None = None,
        pace: Pace | None = None,
        feasibility: Feasibility | None = None,
        pad: Callable[[int], None] = lambda _: None,
    ) -> None:
        if secrets.epoch != cohort.epoch:
            raise SchemaMismatch(cohort.epoch)
        self._secrets, self._service_policy = secrets, service_policy
        self._access, self._budget = access, budget
        self._records = records
        self._feasibility, self._erased = feasibility, erased
        self._pace = pace or Pace()
        self._clock = clock or SystemClock()
        self._rate = RateLimit(self._clock, service_policy.requests_per_minute)
        chosen = policy or MinimumCount(service_policy.minimum_count, secrets.handle)
        self._release = ReleaseService(secrets, chosen, access, history or ReleaseHistory(cohort.epoch), erased, pad)
        self._modes = {terms.mode: terms for terms in service_policy.terms(cohort.schema)}
        self._scoring = scoring or Scoring()
        self._prepare(cohort)

    def drop(self, twins: frozenset[TwinId]) -> None:
        """Let rows leave the cohort, and every engine with it: all are made anew under the same secrets.

        Answers that are under way end on what they began with, and what they tell is decided anew.

        Raises:
            NoCohort: nobody is left.
            ScoringUnavailable: whoever scores does not answer.
        """
        self._prepare(self._cohort.without(twins))

    def _prepare(self, cohort: Cohort) -> None:
        self._cohort = cohort
        self._gated = GatedEngine.prepare(cohort, self._secrets, self._scoring) if Mode.GATED in self._modes else None
        vendor_key = self._modes.get(Mode.VENDOR_KEY)
        self._vendor_key = VendorKeyEngine.prepare(cohort, vendor_key, self._scoring) if vendor_key else None
        self._matrix = MatrixEngine.prepare(cohort, self._secrets) if Mode.MATRIX in self._modes else None

    def close(self) -> None:
        """Give back what scores: processes, memory."""
        if self._gated is not None:
            self._gated.close()
        if self._feasibility is not None:
            self._feasibility.close()

    @property
    def cohort(self) -> Cohort:
        """Whom it answers about."""
        return self._cohort

    @property
    def secrets(self) -> CohortSecrets:
        """The epoch's secrets, for the composition root to seal away."""
        return self._secrets

    def gate_key(self) -> bytes:
        """What gated queries are encrypted with. Public. Raises ``QueryRefused`` where the mode is not offered."""
        return self._offered(self._gated, Mode.GATED).public_key()

    def query_key(self) -> bytes:
        """What gated queries are sealed to. Public. Raises ``QueryRefused`` where the mode is not offered."""
        return self._offered(self._gated, Mode.GATED).query_key.public

    def gated(self, principal: Principal, query: GatedQuery) -> Told:
        """The query is opened and checked at the gate, scored without a key, opened at the gate, released.

        Raises ``QueryMalformed`` for what no honest client encrypts: it costs a query, and looks at no row.
        """
        engine = self._offered(self._gated, Mode.GATED)
        where = values_of(query.where)
        self._admit(principal, Mode.GATED, query.epoch, where)
        self._require_enough(query.nearest)
        rows = self._rows(engine.cohort, where)
        parsed = engine.parse(query)
        left = self._budget.spend(principal.id, self._cohort.epoch)
        with self._pace.keep():
            asked = self._opened(engine, parsed, principal)
            self._release.compare(principal, engine.cohort)
            distances = np.where(rows, engine.distances(asked), NO_DISTANCE)
            matches = engine.cohort.within(distances, query.threshold_squared, query.nearest)
            return self._release.tell(principal, Asked(Mode.GATED, query.tell), engine.cohort, matches, left)

    def vendor_key(self, principal: Principal, query: VendorKeyQuery) -> Distances:
        """Scored under the vendor's key; it decrypts blurred distances of the rows whose consent lets them out.

        At most as many queries an epoch as there are features (``ServicePolicy.vendor_key_bound``): it answers only
        while no more than that are left of the vendor's allowance. With one more, exact distances would locate every
        record.
        """
        engine = self._offered(self._vendor_key, Mode.VENDOR_KEY)
        where = values_of(query.where)
        self._admit(principal, Mode.VENDOR_KEY, query.epoch, where)
        rows = self._rows(engine.cohort, where)
        bundle = engine.parse(query.bundle)
        self._below_trilateration(principal)
        if len(engine.cohort) < self._service_policy.minimum_count:
            raise QueryRefused(
                f"fewer than {self._service_policy.minimum_count} patients are in this cohort", hint=self._next_epoch()
            )
        left = self._budget.spend(principal.id, self._cohort.epoch)
        twins = engine.cohort.twins
        asked = [twins[row] for row in np.flatnonzero(rows)]
        shown = self._release.tell_each(principal, Mode.VENDOR_KEY, asked)
        hidden = np.array([twin not in shown for twin in twins])
        handles = {twin: self._secrets.handle(principal.id, twin) for twin in shown}
        data, order = engine.scores(bundle, rows, hidden)
        return Distances(
            bundle=data,
            handles=tuple(handles.get(twins[row], "") for row in order),
            withheld="some patients let no distance out" if (hidden & rows).any() else "",
            left=left,
        )

    def token(self, principal: Principal, epoch: int, levels: tuple[int, ...], threshold_squared: int) -> bytes:
        """Matrix mode, first half: the hospital turns a plaintext query into a token. Logged; costs no budget.

        It tells of no row, but whoever also holds the tree searches it with a token as often as it likes, and enough of
        them tell the tree's key. So there is none for a vendor that has no query left to spend one on.
        """
        engine = self._offered(self._matrix, Mode.MATRIX)
        self._admit(principal, Mode.MATRIX, epoch)
        left = self._budget.remaining(principal.id, self._cohort.epoch)
        if not left:
            resets_at_s = self._budget.resets_at_s(self._cohort.epoch)
            raise BudgetExhausted(principal.id, self._cohort.epoch, left, resets_at_s)
        return engine.token(levels, threshold_squared)

    def observe_matrix(self, levels: NDArray[np.int64], threshold_squared: int) -> Observation:
        """One search as the outsourced tree's holder sees it. For the hospital's own eyes: no route leads here."""
        engine = self._offered(self._matrix, Mode.MATRIX)
        token = engine.parse(engine.token(tuple(levels.tolist()), threshold_squared))
        return observe(engine.index, token, engine.cohort.levels, levels, threshold_squared)

    def matrix(self, principal: Principal, query: MatrixQuery) -> Told:
        """Matrix mode, second half: the outsourced tree is searched with a token, matches are released."""
        engine = self._offered(self._matrix, Mode.MATRIX)
        where = values_of(query.where)
        self._admit(principal, Mode.MATRIX, query.epoch, where)
        rows = self._rows(engine.cohort, where)
        parsed = engine.parse(query.token)
        left = self._budget.spend(principal.id, self._cohort.epoch)
        self._release.compare(principal, engine.cohort)
        matches = engine.cohort.at(row for row in engine.rows(parsed) if rows[row])
        return self._release.tell(principal, Asked(Mode.MATRIX, query.tell), engine.cohort, matches, left)

    def matrix_search(self, principal: Principal, query: MatrixSearch) -> Told:
        """Matrix mode in one go: the nearest k and weights, with tokens that the hospital makes as it needs them."""
        engine = self._offered(self._matrix, Mode.MATRIX)
        asked = MatrixQuestion(query.levels, query.threshold_squared, query.weights, query.nearest)
        where = values_of(query.where)
        self._admit(principal, Mode.MATRIX, query.epoch, where)
        self._require_enough(query.nearest)
        rows = self._rows(engine.cohort, where)
        checked = checked_search(engine.cohort, asked, max_weight=self._modes[Mode.MATRIX].max_weight)
        left = self._budget.spend(principal.id, self._cohort.epoch)
        self._release.compare(principal, engine.cohort)
        matches = search(engine, checked, rows)
        return self._release.tell(principal, Asked(Mode.MATRIX, query.tell), engine.cohort, matches, left)

    @property
    def feasibility(self) -> Feasibility:
        """What counts under hidden criteria. Raises ``QueryRefused`` where nothing is counted."""
        if self._feasibility is None:
            raise QueryRefused("this hospital counts for no vendor", hint="`schema` says what it answers")
        return self._feasibility

    def count(self, principal: Principal, question: FeasibilityQuestion) -> Counted:
        """How many meet hidden criteria, noisily, of the cohort as it stands; under a filter, of those it means."""
        feasibility, where = self.feasibility, values_of(question.where)
        self._admit_epoch(principal, question.epoch, ("mode", "feasibility"), where)

        def counted() -> NDArray[np.int64]:
            self._release.compare(principal, self._cohort)
            cohort = self._cohort.without(self._erased())
            return cohort.eligibility[rows_where(cohort, where)]

        return feasibility.count(principal, question, counted, self._pace)

    def eligible(self, criteria: Criteria) -> tuple[tuple[TwinId, ...], frozenset[TwinId]]:
        """The cohort as it stands, and who of it meets criteria in the clear. For the hospital: no route leads here.

        Raises:
            BadInput: criteria in words that this hospital does not count by.
            NoCohort: nobody is left.
        """
        cohort = self._cohort.without(self._erased())
        costs = costs_of(criteria, cohort.schema, cohort.schema.codes)
        total = sum(np.array(some)[cohort.eligibility[:, place]] for place, some in enumerate(costs.table))
        rows = np.flatnonzero(total < costs.threshold)
        return cohort.twins, frozenset(cohort.twins[row] for row in rows)

    def records(
        self, principal: Principal, epoch: int, handles: Sequence[str], categories: Sequence[str], recipient: bytes
    ) -> ReleasedRecords:
        """Records of released handles, as far as each patient's consent goes, sealed to the vendor's public key.

        One of the vendor's queries, whatever consent lets out of it.
        """
        self._admit_epoch(principal, epoch, ("records", str(len(handles))))
        if self._records is None:
            raise Unavailable("this hospital releases no records")
        until_s = self._clock.now_ms() // 1000 + self._service_policy.record_days * DAY_S
        release = RecordRelease(self._records, self._release, self._budget, self._cohort.binding, until_s)
        return release.answer(principal, epoch, handles, categories, recipient)

    def admit_again(self, principal: Principal, epoch: int, query_id: str) -> None:
        """Decide on and log that an answer is given again; it costs nothing, but counts for the rate."""
        self._admit_epoch(principal, epoch, ("again", query_id))

    def resolve(self, principal: Principal, handle: str) -> TwinId:
        """The twin behind a handle that was released to this vendor in this epoch. Raises ``NotFound`` otherwise."""
        return self._release.resolve(principal.id, handle)

    def _opened(self, engine: GatedEngine, query: GatedQuery | Bundle, principal: Principal) -> PlainQuery:
        try:
            return engine.open(query)
        except QueryMalformed:
            log.warning("a gated query that no honest client makes was refused", vendor=principal.id)
            raise

    def _admit(self, principal: Principal, mode: Mode, epoch: int, where: Mapping[str, str] | None = None) -> None:
        self._admit_epoch(principal, epoch, ("mode", mode.value), where)

    def _admit_epoch(
        self, principal: Principal, epoch: int, about: tuple[str, str], where: Mapping[str, str] | None = None
    ) -> None:
        if epoch != self._cohort.epoch:
            raise SchemaMismatch(self._cohort.epoch)
        require_known(self._cohort.schema.facets, where or {})  # before it is logged: words of the hospital's own
        detail = (about, ("epoch", str(epoch)), *((f"where {name}", value) for name, value in (where or {}).items()))
        self._access.decide(AccessRequest(principal, Action.QUERY, Purpose.SIMILARITY, detail=detail))
        self._rate.admit(principal.id)

    def _rows(self, cohort: Cohort, where: Mapping[str, str]) -> NDArray[np.bool_]:
        """Which rows a filter means. Raises ``QueryRefused`` where they might be told apart."""
        return open_rows_where(
            cohort, where, max(self._service_policy.facet_minimum, self._service_policy.minimum_count)
        )

    def _require_enough(self, nearest: int | None) -> None:
        least = self._service_policy.minimum_count
        if nearest is not None and nearest < least:
            raise QueryRefused(
                f"nothing is told about fewer than {least} patients, in no epoch", hint=f"ask for the nearest {least}"
            )

    def _below_trilateration(self, principal: Principal) -> None:
        most = self._service_policy.vendor_key_bound(self._cohort.schema)
        if self._budget.remaining(principal.id, self._cohort.epoch) > most:
            raise QueryRefused(
                f"vendor-key mode answers at most {most} queries an epoch, and more are left to you: with one distance "
                "more than there are features, records could be located",
                hint=f"ask the hospital to set the allowance to {most} or less, or use gated mode",
            )

    def _next_epoch(self) -> str:
        return f"this may change {when(self._budget.resets_at_s(self._cohort.epoch))}"

    def _offered(self, engine: Engine | None, mode: Mode) -> Engine:
        if engine is None:
            offered = ", ".join(self._modes) or "none"
            raise QueryRefused(f"this hospital does not answer in {mode} mode", hint=f"it answers in: {offered}")
        return engine
