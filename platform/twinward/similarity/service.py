"""Vendors' encrypted queries, answered: one story per mode.

Each goes the same way: is it about the running epoch; may this principal ask (logged before anything else happens);
is it asking too fast; does the frame parse; is there budget (spent on the ledger before anything is scored); score;
release policy. A query that is refused before the budget costs nothing. What leaves about a patient is an access of its
own: before a handle, a distance or a record goes out, ``export`` is decided for that patient and vendor, and logged.
"""

from __future__ import annotations

import base64
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from twinward.access.interfaces import AccessControl, AccessRequest, Principal
from twinward.client.messages import (
    BudgetReply,
    DistanceReply,
    GatedQuery,
    GateKeyReply,
    MatchReply,
    MatrixQuery,
    MatrixSearch,
    Mode,
    RecordsReply,
    RecordsRequest,
    ResultsReply,
    Terms,
    TokenReply,
    TokenRequest,
    VendorKeyQuery,
)
from twinward.clock import Clock, SystemClock
from twinward.errors import Unavailable
from twinward.feature_schema import FeatureSchema
from twinward.similarity.book import Book, Drawer
from twinward.similarity.cohort import Cohort
from twinward.similarity.cohort_secrets import CohortSecrets
from twinward.similarity.disclosing import Disclosure
from twinward.similarity.engines import GatedEngine, MatrixEngine, VendorKeyEngine
from twinward.similarity.errors import QueryRefused, SchemaMismatch, when
from twinward.similarity.explainer import Observation, observe
from twinward.similarity.front_desk import FrontDesk
from twinward.similarity.interfaces import FeatureSource, QueryBudget, RecordSource, ReleasePolicy
from twinward.similarity.matrix_search import checked_search, search
from twinward.similarity.offer import Offer
from twinward.similarity.rate import RateLimit
from twinward.similarity.records import release_records
from twinward.similarity.release import MinimumCount
from twinward.similarity.scoring import Scoring
from twinward.vocabulary import Action, Purpose, TwinId
from twinward_crypto.homomorphic.parameters import Plan, plan_gated

Engine = TypeVar("Engine")


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
        clock: the node's time, for rate limits.
        scoring: who scores; this process if nothing is said.
    """

    def __init__(
        self,
        cohort: Cohort,
        secrets: CohortSecrets,
        *,
        offer: Offer,
        access: AccessControl,
        budget: QueryBudget,
        policy: ReleasePolicy | None = None,
        records: RecordSource | None = None,
        drawer: Drawer | None = None,
        clock: Clock | None = None,
        scoring: Scoring | None = None,
    ) -> None:
        if secrets.epoch != cohort.epoch:
            raise SchemaMismatch(cohort.epoch)
        self._cohort, self._secrets, self._offer = cohort, secrets, offer
        self._access, self._budget = access, budget
        self._records = records
        self._rate = RateLimit(clock or SystemClock(), offer.requests_per_minute)
        chosen = policy or MinimumCount(offer.minimum_count, secrets.handle)
        self._disclosure = Disclosure(cohort, secrets, chosen, access, Book(cohort.epoch, drawer))
        self._desk = FrontDesk(cohort.hospital, cohort.schema, offer, budget)
        self._terms = self._desk.terms(cohort.epoch)
        by_mode = {terms.mode: terms for terms in self._terms.modes}
        how = scoring or Scoring()
        self._gated = GatedEngine.prepare(cohort, secrets, how) if Mode.GATED in by_mode else None
        vendor_key = by_mode.get(Mode.VENDOR_KEY)
        self._vendor_key = VendorKeyEngine.prepare(cohort, vendor_key, how) if vendor_key else None
        self._matrix = MatrixEngine.prepare(cohort, secrets) if Mode.MATRIX in by_mode else None

    @classmethod
    def open(
        cls,
        source: FeatureSource,
        *,
        hospital: str,
        schema: FeatureSchema,
        epoch: int,
        offer: Offer,
        access: AccessControl,
        budget: QueryBudget,
        secrets: CohortSecrets | None = None,
        policy: ReleasePolicy | None = None,
        records: RecordSource | None = None,
        drawer: Drawer | None = None,
        clock: Clock | None = None,
        scoring: Scoring | None = None,
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
            clock=clock,
            scoring=scoring,
        )

    def close(self) -> None:
        """Give back what scores: processes, memory."""
        for engine in (self._gated, self._vendor_key):
            if engine is not None:
                engine.scorer.close()

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
        return GateKeyReply(epoch=self._cohort.epoch, bundle=base64.b64encode(engine.public_key()))

    def answer_gated(self, principal: Principal, query: GatedQuery) -> MatchReply:
        """Index and query encrypted under the gate's key; scored without a key, opened at the gate, released."""
        engine = self._offered(self._gated, Mode.GATED)
        self._admit(principal, Mode.GATED, query.epoch)
        self._require_enough(query.nearest)
        bundle = engine.parse(query.bundle)
        left = self._budget.spend(principal.id, self._cohort.epoch)
        matches = self._cohort.within(engine.distances(bundle), query.threshold_squared, query.nearest)
        return self._disclosure.tell(principal, Mode.GATED, matches, left)

    def answer_vendor_key(self, principal: Principal, query: VendorKeyQuery) -> DistanceReply:
        """Scored under the vendor's key; it decrypts blurred distances of the rows whose consent lets them out.

        At most as many queries an epoch as there are features (``Offer.vendor_key_bound``): it answers only while no
        more than that are left of the vendor's allowance. With one more, exact distances would locate every record.
        """
        engine = self._offered(self._vendor_key, Mode.VENDOR_KEY)
        self._admit(principal, Mode.VENDOR_KEY, query.epoch)
        bundle = engine.parse(query.bundle)
        self._below_trilateration(principal)
        if len(self._cohort) < self._offer.minimum_count:
            raise QueryRefused(
                f"fewer than {self._offer.minimum_count} patients are in this cohort", hint=self._next_epoch()
            )
        left = self._budget.spend(principal.id, self._cohort.epoch)
        shown = self._disclosure.exported(principal, Mode.VENDOR_KEY, list(self._cohort.twins))
        hidden = np.array([twin not in shown for twin in self._cohort.twins])
        handles = {twin: self._secrets.handle(principal.id, twin) for twin in shown}
        data = engine.scores(bundle, hidden)
        return DistanceReply(
            epoch=self._cohort.epoch,
            bundle=base64.b64encode(data),
            handles=tuple(handles.get(twin, "") for twin in self._cohort.twins),
            withheld="some patients let no distance out" if hidden.any() else "",
            budget_left=left,
        )

    def issue_token(self, principal: Principal, request: TokenRequest) -> TokenReply:
        """Matrix mode, first half: the hospital turns a plaintext query into a token. Logged; costs no budget."""
        engine = self._offered(self._matrix, Mode.MATRIX)
        self._admit(principal, Mode.MATRIX, request.epoch)
        token = engine.token(request.levels, request.threshold_squared)
        return TokenReply(epoch=self._cohort.epoch, token=base64.b64encode(token))

    def observe_matrix(self, levels: NDArray[np.int64], threshold_squared: int) -> Observation:
        """One search as the outsourced tree's holder sees it. For the hospital's own eyes: no route leads here."""
        engine = self._offered(self._matrix, Mode.MATRIX)
        token = engine.parse(engine.token(tuple(levels.tolist()), threshold_squared))
        return observe(engine.index, token, self._cohort.levels, levels, threshold_squared)

    def answer_matrix(self, principal: Principal, query: MatrixQuery) -> MatchReply:
        """Matrix mode, second half: the outsourced tree is searched with a token, matches are released."""
        engine = self._offered(self._matrix, Mode.MATRIX)
        self._admit(principal, Mode.MATRIX, query.epoch)
        token = engine.parse(query.token)
        left = self._budget.spend(principal.id, self._cohort.epoch)
        return self._disclosure.tell(principal, Mode.MATRIX, self._cohort.at(engine.rows(token)), left)

    def search_matrix(self, principal: Principal, query: MatrixSearch) -> MatchReply:
        """Matrix mode in one go: the nearest k and weights, with tokens that the hospital makes as it needs them."""
        engine = self._offered(self._matrix, Mode.MATRIX)
        self._admit(principal, Mode.MATRIX, query.epoch)
        self._require_enough(query.nearest)
        max_weight = next(terms.max_weight for terms in self._terms.modes if terms.mode is Mode.MATRIX)
        checked = checked_search(self._cohort, query, max_weight=max_weight)
        left = self._budget.spend(principal.id, self._cohort.epoch)
        return self._disclosure.tell(principal, Mode.MATRIX, search(engine, self._cohort, checked), left)

    def release_records(self, principal: Principal, request: RecordsRequest) -> RecordsReply:
        """Records of released handles, as far as each patient's consent goes, sealed to the vendor's public key."""
        self._admit_epoch(principal, request.epoch, ("records", str(len(request.handles))))
        if self._records is None:
            raise Unavailable("this hospital releases no records")
        return release_records(self._records, self._disclosure, principal, request, self._cohort.binding)

    def budget(self, principal: Principal) -> BudgetReply:
        """What a vendor has left."""
        return self._desk.allowance(principal, self._cohort.epoch)

    def results(self, principal: Principal) -> ResultsReply:
        """What a vendor was released in this epoch, the latest ``KEPT_RESULTS``, oldest first."""
        return ResultsReply(results=self._disclosure.results(principal.id))

    def resolve(self, principal: Principal, handle: str) -> TwinId:
        """The twin behind a handle that was released to this vendor in this epoch. Raises ``NotFound`` otherwise."""
        return self._disclosure.resolve(principal.id, handle)

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


def new_secrets(epoch: int, schema: FeatureSchema, offer: Offer) -> CohortSecrets:
    """Fresh secrets for an epoch under an offer."""
    return CohortSecrets.generate(epoch, schema, gated_plan_of(schema, offer))


def gated_plan_of(schema: FeatureSchema, offer: Offer) -> Plan:
    """The plan an offer's gate keys are made for (needed to restore sealed ones)."""
    return plan_gated(schema.dimension, schema.levels, offer.max_weight, weighted=offer.weighted)
