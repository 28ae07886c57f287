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

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from twinward.access.interfaces import AccessControl, AccessRequest, Principal
from twinward.core.clock import Clock, SystemClock
from twinward.core.errors import Unavailable
from twinward.core.vocabulary import Action, Purpose, TwinId
from twinward.features.schema import FeatureSchema
from twinward.protocol.messages import (
    BudgetReply,
    DistanceReply,
    GatedQuery,
    GateKeyReply,
    KeptAnswer,
    MatchReply,
    MatrixQuery,
    MatrixSearch,
    RecordsReply,
    RecordsRequest,
    ResultsReply,
    TokenReply,
    TokenRequest,
    VendorKeyQuery,
)
from twinward.protocol.proofs import AnswerSigner, Kind
from twinward.protocol.terms import Mode, Terms
from twinward.similarity.answers import Answers, Cabinet, Query, answered
from twinward.similarity.cohort import Cohort, CohortSecrets
from twinward.similarity.errors import BudgetExhausted, QueryMalformed, QueryRefused, SchemaMismatch, when
from twinward.similarity.explainer import Observation, observe
from twinward.similarity.interfaces import FeatureSource, QueryBudget, RecordSource, ReleasePolicy
from twinward.similarity.rate_limit import Pace, RateLimit
from twinward.similarity.release.history import HistoryStore, ReleaseHistory
from twinward.similarity.release.policy import MinimumCount
from twinward.similarity.release.records import RecordRelease
from twinward.similarity.release.service import ReleaseService
from twinward.similarity.scoring.engines import GatedEngine, VendorKeyEngine
from twinward.similarity.scoring.matrix import MatrixEngine, checked_search, search
from twinward.similarity.scoring.placement import Scoring
from twinward.similarity.service_policy import PublicTerms, ServicePolicy
from twinward_crypto.homomorphic.parameters import Plan, plan_gated
from twinward_crypto.homomorphic.plain_query import PlainQuery
from twinward_crypto.homomorphic.wire import Bundle

Engine = TypeVar("Engine")

log = structlog.get_logger("twinward.similarity")


class Similarity:
    """One epoch's cohort, answering.

    Args:
        cohort: whom it answers about.
        secrets: the epoch's secrets; the same ones the cohort was ordered by.
        offer: which modes, with which parameters.
        access: decides and logs every query and every release.
        budget: vendors' allowances, on the ledger.
        policy: what may leave; ``MinimumCount`` of the offer if none is given.
        records: who can open the records behind a handle; None where none are released.
        drawer: where it is kept what vendors were told; None keeps it in memory.
        book: that, opened already: for who takes a snapshot anew while answers are under way.
        erased: the twins of which something was erased since the snapshot, in any process.
        clock: the node's time, for rate limits.
        scoring: who scores; processes of this machine if nothing is said.
        signer: the hospital's key for answers; one that ends with this object if none is given.
        cabinet: where answers are kept, to be given again; None keeps them in memory.
    """

    def __init__(
        self,
        cohort: Cohort,
        secrets: CohortSecrets,
        *,
        offer: ServicePolicy,
        access: AccessControl,
        budget: QueryBudget,
        policy: ReleasePolicy | None = None,
        records: RecordSource | None = None,
        drawer: HistoryStore | None = None,
        book: ReleaseHistory | None = None,
        erased: Callable[[], frozenset[TwinId]] = frozenset,
        clock: Clock | None = None,
        scoring: Scoring | None = None,
        pace: Pace | None = None,
        signer: AnswerSigner | None = None,
        cabinet: Cabinet | None = None,
    ) -> None:
        if secrets.epoch != cohort.epoch:
            raise SchemaMismatch(cohort.epoch)
        self._secrets, self._offer = secrets, offer
        signer = signer or AnswerSigner.generate()
        self.answers = Answers(cohort.epoch, cohort.binding, signer, budget, cabinet)
        self._access, self._budget = access, self.answers  # charged through them: each query once
        self._records = records
        self._pace = pace or Pace()
        self._rate = RateLimit(clock or SystemClock(), offer.requests_per_minute)
        chosen = policy or MinimumCount(offer.minimum_count, secrets.handle)
        self._disclosure = ReleaseService(secrets, chosen, access, book or ReleaseHistory(cohort.epoch, drawer), erased)
        self._desk = PublicTerms(cohort.hospital, cohort.schema, offer, budget, signer)
        self._terms = self._desk.terms(cohort.epoch)
        self._scoring = scoring or Scoring()
        self._prepare(cohort)

    @classmethod
    def open(
        cls,
        source: FeatureSource,
        *,
        hospital: str,
        schema: FeatureSchema,
        epoch: int,
        offer: ServicePolicy,
        access: AccessControl,
        budget: QueryBudget,
        secrets: CohortSecrets | None = None,
        policy: ReleasePolicy | None = None,
        records: RecordSource | None = None,
        drawer: HistoryStore | None = None,
        book: ReleaseHistory | None = None,
        erased: Callable[[], frozenset[TwinId]] = frozenset,
        clock: Clock | None = None,
        scoring: Scoring | None = None,
        pace: Pace | None = None,
        signer: AnswerSigner | None = None,
        cabinet: Cabinet | None = None,
    ) -> Similarity:
        """Begin an epoch: take the snapshot, under fresh secrets unless earlier ones of this epoch are given."""
        chosen = secrets or new_secrets(epoch, schema, offer)
        if chosen.epoch != epoch:
            raise SchemaMismatch(epoch)
        cohort = Cohort.snapshot(source, hospital=hospital, schema=schema, secrets=chosen)
        return cls(
            cohort,
            chosen,
            offer=offer,
            access=access,
            budget=budget,
            policy=policy,
            records=records,
            drawer=drawer,
            book=book,
            erased=erased,
            clock=clock,
            scoring=scoring,
            pace=pace,
            signer=signer,
            cabinet=cabinet,
        )

    def drop(self, twins: frozenset[TwinId]) -> None:
        """Let rows leave the cohort, and every engine with it: all are made anew under the same secrets.

        Answers that are under way end on what they began with, and what they tell is decided anew.

        Raises:
            NoCohort: nobody is left.
            ScoringUnavailable: whoever scores does not answer.
        """
        self._prepare(self._cohort.without(twins))

    def _prepare(self, cohort: Cohort) -> None:
        by_mode = {terms.mode: terms for terms in self._terms.modes}
        self._cohort = cohort
        self._gated = GatedEngine.prepare(cohort, self._secrets, self._scoring) if Mode.GATED in by_mode else None
        vendor_key = by_mode.get(Mode.VENDOR_KEY)
        self._vendor_key = VendorKeyEngine.prepare(cohort, vendor_key, self._scoring) if vendor_key else None
        self._matrix = MatrixEngine.prepare(cohort, self._secrets) if Mode.MATRIX in by_mode else None

    def close(self) -> None:
        """Give back what scores: processes, memory."""
        if self._gated is not None:
            self._gated.close()

    @property
    def cohort(self) -> Cohort:
        """Whom it answers about."""
        return self._cohort

    @property
    def secrets(self) -> CohortSecrets:
        """The epoch's secrets, for the composition root to seal away."""
        return self._secrets

    def terms(self) -> Terms:
        """What may be asked. Public."""
        return self._terms

    def gate_key(self) -> GateKeyReply:
        """What gated queries are encrypted with. Public. Raises ``QueryRefused`` where the mode is not offered."""
        engine = self._offered(self._gated, Mode.GATED)
        key = GateKeyReply(epoch=self._cohort.epoch, bundle=engine.public_key())
        return self.answers.gate_key(key)

    @answered(Kind.GATED)
    def answer_gated(self, principal: Principal, query: GatedQuery) -> MatchReply:
        """The query is opened and checked at the gate, scored without a key, opened at the gate, released.

        Raises ``QueryMalformed`` for what no honest client encrypts: it costs a query, and looks at no row.
        """
        engine = self._offered(self._gated, Mode.GATED)
        self._admit(principal, Mode.GATED, query.epoch)
        self._require_enough(query.nearest)
        bundle = engine.parse(query.bundle)
        left = self._budget.spend(principal.id, self._cohort.epoch)
        with self._pace.keep():
            asked = self._opened(engine, bundle, principal)
            self._disclosure.compare(principal, engine.cohort)
            matches = engine.cohort.within(engine.distances(asked), query.threshold_squared, query.nearest)
            return self._disclosure.tell(principal, Mode.GATED, engine.cohort, matches, left)

    @answered(Kind.VENDOR_KEY)
    def answer_vendor_key(self, principal: Principal, query: VendorKeyQuery) -> DistanceReply:
        """Scored under the vendor's key; it decrypts blurred distances of the rows whose consent lets them out.

        At most as many queries an epoch as there are features (``ServicePolicy.vendor_key_bound``): it answers only
        while no more than that are left of the vendor's allowance. With one more, exact distances would locate every
        record.
        """
        engine = self._offered(self._vendor_key, Mode.VENDOR_KEY)
        self._admit(principal, Mode.VENDOR_KEY, query.epoch)
        bundle = engine.parse(query.bundle)
        self._below_trilateration(principal)
        if len(engine.cohort) < self._offer.minimum_count:
            raise QueryRefused(
                f"fewer than {self._offer.minimum_count} patients are in this cohort", hint=self._next_epoch()
            )
        left = self._budget.spend(principal.id, self._cohort.epoch)
        twins = engine.cohort.twins
        shown = self._disclosure.tell_each(principal, Mode.VENDOR_KEY, twins)
        hidden = np.array([twin not in shown for twin in twins])
        handles = {twin: self._secrets.handle(principal.id, twin) for twin in shown}
        data, order = engine.scores(bundle, hidden)
        return DistanceReply(
            epoch=self._cohort.epoch,
            bundle=data,
            handles=tuple(handles.get(twins[row], "") for row in order),
            withheld="some patients let no distance out" if hidden.any() else "",
            budget_left=left,
        )

    @answered(Kind.TOKEN)
    def issue_token(self, principal: Principal, request: TokenRequest) -> TokenReply:
        """Matrix mode, first half: the hospital turns a plaintext query into a token. Logged; costs no budget.

        It tells of no row, but whoever also holds the tree searches it with a token as often as it likes, and enough of
        them tell the tree's key. So there is none for a vendor that has no query left to spend one on.
        """
        engine = self._offered(self._matrix, Mode.MATRIX)
        self._admit(principal, Mode.MATRIX, request.epoch)
        left = self._budget.remaining(principal.id, self._cohort.epoch)
        if not left:
            resets_at_s = self._budget.resets_at_s(self._cohort.epoch)
            raise BudgetExhausted(principal.id, self._cohort.epoch, left, resets_at_s)
        token = engine.token(request.levels, request.threshold_squared)
        return TokenReply(epoch=self._cohort.epoch, token=token)

    def observe_matrix(self, levels: NDArray[np.int64], threshold_squared: int) -> Observation:
        """One search as the outsourced tree's holder sees it. For the hospital's own eyes: no route leads here."""
        engine = self._offered(self._matrix, Mode.MATRIX)
        token = engine.parse(engine.token(tuple(levels.tolist()), threshold_squared))
        return observe(engine.index, token, engine.cohort.levels, levels, threshold_squared)

    @answered(Kind.MATRIX)
    def answer_matrix(self, principal: Principal, query: MatrixQuery) -> MatchReply:
        """Matrix mode, second half: the outsourced tree is searched with a token, matches are released."""
        engine = self._offered(self._matrix, Mode.MATRIX)
        self._admit(principal, Mode.MATRIX, query.epoch)
        token = engine.parse(query.token)
        left = self._budget.spend(principal.id, self._cohort.epoch)
        self._disclosure.compare(principal, engine.cohort)
        return self._disclosure.tell(principal, Mode.MATRIX, engine.cohort, engine.cohort.at(engine.rows(token)), left)

    @answered(Kind.MATRIX)
    def search_matrix(self, principal: Principal, query: MatrixSearch) -> MatchReply:
        """Matrix mode in one go: the nearest k and weights, with tokens that the hospital makes as it needs them."""
        engine = self._offered(self._matrix, Mode.MATRIX)
        self._admit(principal, Mode.MATRIX, query.epoch)
        self._require_enough(query.nearest)
        max_weight = next(terms.max_weight for terms in self._terms.modes if terms.mode is Mode.MATRIX)
        checked = checked_search(engine.cohort, query, max_weight=max_weight)
        left = self._budget.spend(principal.id, self._cohort.epoch)
        self._disclosure.compare(principal, engine.cohort)
        return self._disclosure.tell(principal, Mode.MATRIX, engine.cohort, search(engine, checked), left)

    @answered(Kind.RECORDS)
    def release_records(self, principal: Principal, request: RecordsRequest) -> RecordsReply:
        """Records of released handles, as far as each patient's consent goes, sealed to the vendor's public key.

        One of the vendor's queries, whatever consent lets out of it.
        """
        self._admit_epoch(principal, request.epoch, ("records", str(len(request.handles))))
        if self._records is None:
            raise Unavailable("this hospital releases no records")
        release = RecordRelease(self._records, self._disclosure, self._budget, self._cohort.binding)
        return release.answer(principal, request)

    def budget(self, principal: Principal) -> BudgetReply:
        """What a vendor has left."""
        return self._desk.allowance(principal, self._cohort.epoch)

    def results(self, principal: Principal) -> ResultsReply:
        """What a vendor was released in this epoch, the latest ``KEPT_ANSWERS``, oldest first."""
        return ResultsReply(results=self.answers.told(principal.id))

    def result(self, principal: Principal, query_id: str) -> KeptAnswer:
        """The answer to one of a vendor's queries of this epoch, again. Raises ``NotFound``, ``Conflict``."""
        return self.answers.result(principal.id, query_id)

    def admit_again(self, principal: Principal, query: Query) -> None:
        """Decide on and log that an answer is given again; it costs nothing, but counts for the rate."""
        self._admit_epoch(principal, query.epoch, ("again", str(query.query_id)))

    def resolve(self, principal: Principal, handle: str) -> TwinId:
        """The twin behind a handle that was released to this vendor in this epoch. Raises ``NotFound`` otherwise."""
        return self._disclosure.resolve(principal.id, handle)

    def _opened(self, engine: GatedEngine, bundle: Bundle, principal: Principal) -> PlainQuery:
        try:
            return engine.open(bundle)
        except QueryMalformed:
            log.warning("a gated query that no honest client makes was refused", vendor=principal.id)
            raise

    def _admit(self, principal: Principal, mode: Mode, epoch: int) -> None:
        self._admit_epoch(principal, epoch, ("mode", mode.value))

    def _admit_epoch(self, principal: Principal, epoch: int, about: tuple[str, str]) -> None:
        if epoch != self._cohort.epoch:
            raise SchemaMismatch(self._cohort.epoch)
        detail = (about, ("epoch", str(epoch)))
        self._access.decide(AccessRequest(principal, Action.QUERY, Purpose.SIMILARITY, detail=detail))
        self._rate.admit(principal.id)

    def _require_enough(self, nearest: int | None) -> None:
        least = self._offer.minimum_count
        if nearest is not None and nearest < least:
            raise QueryRefused(
                f"nothing is told about fewer than {least} patients, in no epoch", hint=f"ask for the nearest {least}"
            )

    def _below_trilateration(self, principal: Principal) -> None:
        most = self._offer.vendor_key_bound(self._cohort.schema)
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
            offered = ", ".join(terms.mode for terms in self._terms.modes) or "none"
            raise QueryRefused(f"this hospital does not answer in {mode} mode", hint=f"it answers in: {offered}")
        return engine


def new_secrets(epoch: int, schema: FeatureSchema, offer: ServicePolicy) -> CohortSecrets:
    """Fresh secrets for an epoch under an offer."""
    return CohortSecrets.generate(epoch, schema, gated_plan_of(schema, offer))


def gated_plan_of(schema: FeatureSchema, offer: ServicePolicy) -> Plan:
    """The plan an offer's gate keys are made for (needed to restore sealed ones)."""
    return plan_gated(schema.dimension, schema.levels, offer.max_weight, weighted=offer.weighted)
