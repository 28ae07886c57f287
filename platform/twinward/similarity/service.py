"""Vendors' encrypted queries, answered: one story per mode.

Each goes the same way: is it about the running epoch; may this principal ask (logged before anything else happens);
does the frame parse; is there budget (spent on the ledger before anything is scored); score; release policy. A query
that is refused before the budget costs nothing. What leaves about a patient is an access of its own: before a handle
or a distance goes out, ``export`` is decided for that patient and vendor, and logged.
"""

from __future__ import annotations

import base64
import threading
from collections import defaultdict
from typing import TypeVar

import numpy as np

from twinward.access.interfaces import AccessControl, AccessRequest, Principal
from twinward.client.messages import (
    BudgetReply,
    DistanceReply,
    GatedQuery,
    GateKeyReply,
    MatchReply,
    MatrixQuery,
    Mode,
    ResultsReply,
    Terms,
    TokenReply,
    TokenRequest,
    VendorKeyQuery,
)
from twinward.errors import NotFound
from twinward.feature_schema import FeatureSchema
from twinward.similarity.cohort import Cohort
from twinward.similarity.cohort_secrets import CohortSecrets
from twinward.similarity.engines import GatedEngine, MatrixEngine, VendorKeyEngine
from twinward.similarity.errors import QueryRefused, SchemaMismatch
from twinward.similarity.interfaces import FeatureSource, Match, QueryBudget, ReleasePolicy
from twinward.similarity.offer import Offer
from twinward.similarity.release import MinimumCount
from twinward.vocabulary import Action, Category, Purpose, TwinId
from twinward_crypto.homomorphic.parameters import Plan, plan_gated

Engine = TypeVar("Engine")

KEPT_RESULTS = 100
"""Results kept for a vendor to look at again, in memory, until the epoch ends."""


class Similarity:
    """One epoch's cohort, answering.

    Args:
        cohort: whom it answers about.
        secrets: the epoch's secrets; the same ones the cohort was ordered by.
        offer: which modes, with which parameters.
        access: decides and logs every query and every release.
        budget: vendors' allowances, on the ledger.
        policy: what may leave; ``MinimumCount`` of the offer if none is given.
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
    ) -> None:
        if secrets.epoch != cohort.epoch:
            raise SchemaMismatch(cohort.epoch)
        self._cohort, self._secrets, self._offer = cohort, secrets, offer
        self._access, self._budget = access, budget
        self._policy = policy or MinimumCount(offer.minimum_count, secrets.handle)
        self._terms = Terms(
            hospital=cohort.hospital,
            epoch=cohort.epoch,
            feature_schema=cohort.schema,
            modes=offer.terms(cohort.schema),
            minimum_count=offer.minimum_count,
        )
        by_mode = {terms.mode: terms for terms in self._terms.modes}
        self._gated = GatedEngine.prepare(cohort, secrets) if Mode.GATED in by_mode else None
        vendor_key = by_mode.get(Mode.VENDOR_KEY)
        self._vendor_key = VendorKeyEngine.prepare(cohort, vendor_key) if vendor_key else None
        self._matrix = MatrixEngine.prepare(cohort, secrets) if Mode.MATRIX in by_mode else None
        self._lock = threading.Lock()
        self._results: dict[str, list[MatchReply]] = defaultdict(list)
        self._released: dict[str, dict[str, TwinId]] = defaultdict(dict)

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
    ) -> Similarity:
        """Begin an epoch: take the snapshot, under fresh secrets unless earlier ones of this epoch are given."""
        chosen = secrets or new_secrets(epoch, schema, offer)
        if chosen.epoch != epoch:
            raise SchemaMismatch(epoch)
        cohort = Cohort.snapshot(source, hospital=hospital, schema=schema, secrets=chosen)
        return cls(cohort, chosen, offer=offer, access=access, budget=budget)

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
        bundle = engine.parse(query.bundle)
        left = self._budget.spend(principal.id, self._cohort.epoch)
        matches = self._cohort.within(engine.distances(bundle), query.threshold_squared)
        return self._release(principal, Mode.GATED, matches, left)

    def answer_vendor_key(self, principal: Principal, query: VendorKeyQuery) -> DistanceReply:
        """Scored under the vendor's key; it decrypts blurred distances of the rows whose consent lets them out.

        At most as many queries an epoch as there are features: it answers only while no more than that are left of
        the vendor's allowance. Where one more were possible, exact distances would locate every record.
        """
        engine = self._offered(self._vendor_key, Mode.VENDOR_KEY)
        self._admit(principal, Mode.VENDOR_KEY, query.epoch)
        bundle = engine.parse(query.bundle)
        self._below_trilateration(principal)
        everyone = [Match(twin, None) for twin in self._cohort.twins]
        if len(everyone) < self._offer.minimum_count:
            raise QueryRefused(f"fewer than {self._offer.minimum_count} patients are in this cohort")
        left = self._budget.spend(principal.id, self._cohort.epoch)
        shown = self._exported(principal, Mode.VENDOR_KEY, everyone)
        hidden = np.array([twin not in shown for twin in self._cohort.twins])
        handles = {twin: self._secrets.handle(principal.id, twin) for twin in shown}
        data = engine.scores(bundle, hidden)
        self._remember(principal, handles)
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

    def answer_matrix(self, principal: Principal, query: MatrixQuery) -> MatchReply:
        """Matrix mode, second half: the outsourced tree is searched with a token, matches are released."""
        engine = self._offered(self._matrix, Mode.MATRIX)
        self._admit(principal, Mode.MATRIX, query.epoch)
        token = engine.parse(query.token)
        left = self._budget.spend(principal.id, self._cohort.epoch)
        return self._release(principal, Mode.MATRIX, self._cohort.at(engine.rows(token)), left)

    def budget(self, principal: Principal) -> BudgetReply:
        """What a vendor has left."""
        epoch = self._cohort.epoch
        return BudgetReply(epoch=epoch, remaining=self._budget.remaining(principal.id, epoch))

    def results(self, principal: Principal) -> ResultsReply:
        """What a vendor was released in this epoch, the latest ``KEPT_RESULTS``, oldest first."""
        with self._lock:
            return ResultsReply(results=tuple(self._results.get(principal.id, ())))

    def resolve(self, principal: Principal, handle: str) -> TwinId:
        """The twin behind a handle that was released to this vendor in this epoch. Raises ``NotFound`` otherwise."""
        with self._lock:
            twin = self._released.get(principal.id, {}).get(handle)
        if twin is None:
            raise NotFound("no such handle was released to you in this epoch", hint="handles change with every epoch")
        return twin

    def _admit(self, principal: Principal, mode: Mode, epoch: int) -> None:
        if epoch != self._cohort.epoch:
            raise SchemaMismatch(self._cohort.epoch)
        detail = (("mode", mode.value), ("epoch", str(epoch)))
        self._access.decide(AccessRequest(principal, Action.QUERY, Purpose.SIMILARITY, detail=detail))

    def _below_trilateration(self, principal: Principal) -> None:
        d = self._cohort.schema.dimension
        if self._budget.remaining(principal.id, self._cohort.epoch) > d:
            raise QueryRefused(
                f"vendor-key mode answers at most {d} queries an epoch, and more are left to you",
                hint=f"ask the hospital to set the allowance to {d} or less, or use gated mode",
            )

    def _release(self, principal: Principal, mode: Mode, matches: list[Match], left: int) -> MatchReply:
        vendor, epoch = principal.id, self._cohort.epoch
        everyone = frozenset(match.twin for match in matches)
        release = self._policy.release(matches, vendor=vendor, epoch=epoch, releasable=everyone)
        if release.handles:  # only then is anybody's consent asked, and the release logged
            shown = self._exported(principal, mode, matches)
            release = self._policy.release(matches, vendor=vendor, epoch=epoch, releasable=shown)
            handles = {twin: self._secrets.handle(vendor, twin) for twin in shown}
            self._remember(principal, {twin: h for twin, h in handles.items() if h in release.handles})
        reply = MatchReply(
            mode=mode,
            epoch=epoch,
            handles=release.handles,
            count=release.count,
            withheld=release.withheld,
            budget_left=left,
        )
        with self._lock:
            self._results[vendor] = [*self._results[vendor], reply][-KEPT_RESULTS:]
        return reply

    def _exported(self, principal: Principal, mode: Mode, matches: list[Match]) -> frozenset[TwinId]:
        """Whose consent lets something out to this vendor right now; each decision is in the log."""
        detail = (("mode", mode.value), ("epoch", str(self._cohort.epoch)))
        requests = [
            AccessRequest(
                principal,
                Action.EXPORT,
                Purpose.SIMILARITY,
                match.twin,
                frozenset({Category.FEATURES}),
                detail=detail,
            )
            for match in matches
        ]
        permits = self._access.decide_many(requests)
        return frozenset(m.twin for m, permit in zip(matches, permits, strict=True) if permit is not None)

    def _remember(self, principal: Principal, handles: dict[TwinId, str]) -> None:
        with self._lock:
            self._released[principal.id].update({handle: twin for twin, handle in handles.items()})

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
