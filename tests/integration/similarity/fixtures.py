"""A hospital small enough for tests: real policy, consents and log order; feature vectors from a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from twinward.access.consent import ConsentStore, Provision
from twinward.access.interfaces import NODE, AccessRequest, Principal
from twinward.access.permits import PermitAuthority
from twinward.access.policy import Policy
from twinward.access.service import Access
from twinward.api.http import problems
from twinward.audit.models import AccessEvent, LoggedEvent
from twinward.client.vendor import VendorClient
from twinward.core.clock import FixedClock
from twinward.core.errors import Unavailable
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward.features.schema import Feature, FeatureSchema
from twinward.protocol import messages
from twinward.protocol.proofs import AnswerSigner
from twinward.protocol.terms import Mode, Terms
from twinward.similarity.answered_once import AnsweredOnce
from twinward.similarity.answers import Answers
from twinward.similarity.cohort import Cohort, CohortSecrets
from twinward.similarity.errors import BudgetExhausted
from twinward.similarity.interfaces import QueryBudget, RecordSource
from twinward.similarity.models import Groups, Match, Release
from twinward.similarity.release.history import ReleaseHistory
from twinward.similarity.service import Similarity
from twinward.similarity.service_policy import PublicTerms, ServicePolicy

EPOCH = 20_454
HOSPITAL = "St. Anna Hospital"
VENDOR = Principal("acme", Role.VENDOR)
SYSTEM = NODE
YES = (Provision(effect="permit", purposes=(Purpose.SIMILARITY,), categories=(Category.FEATURES,)),)
ALL_MODES = (Mode.GATED, Mode.VENDOR_KEY, Mode.MATRIX)


def schema_of(ranges: Mapping[str, tuple[float, float]], *, levels: int = 128) -> FeatureSchema:
    """A schema with these features; each default is its range's middle."""
    return FeatureSchema(
        name="test",
        levels=levels,
        features=tuple(
            Feature(name=name, title=name, unit="1", low=low, high=high, default=(low + high) / 2)
            for name, (low, high) in ranges.items()
        ),
    )


class Trail:
    """The access log as a list; refuses when told that its disk is full."""

    def __init__(self) -> None:
        self.events: list[AccessEvent] = []
        self.full = False

    def record(self, events: Sequence[AccessEvent]) -> list[LoggedEvent]:
        if self.full:
            raise Unavailable("no space left")
        first = len(self.events)
        self.events += events
        return [LoggedEvent(first + i, bytes(32), event) for i, event in enumerate(events)]


class Keys:
    """A fixed key per twin."""

    def audit_key(self, twin: TwinId | None) -> bytes:
        return (twin or "tenant").encode().ljust(32, b"\0")[-32:]

    def tag(self, label: str, value: str) -> bytes:
        return f"{label}{value}".encode().ljust(16, b"\0")[:16]


class CountedBudget:
    """A budget in memory, with the contract's behaviour."""

    def __init__(self, allowance: int) -> None:
        self.left: dict[str, int] = {VENDOR.id: allowance}

    def spend(self, vendor: str, epoch: int, amount: int = 1) -> int:
        if amount > self.left.get(vendor, 0):
            raise BudgetExhausted(vendor, epoch, self.left.get(vendor, 0), self.resets_at_s(epoch))
        self.left[vendor] -= amount
        return self.left[vendor]

    def remaining(self, vendor: str, epoch: int) -> int:
        return self.left.get(vendor, 0)

    def resets_at_s(self, epoch: int) -> int:
        return (epoch + 1) * 86_400


class MemoryHistory:
    """Keeps what vendors were told, as a file would."""

    content: bytes | None = None

    def load(self) -> bytes | None:
        return self.content

    def save(self, content: bytes) -> None:
        self.content = content


class MemoryAnswers:
    """Implements ``AnswerStore``: keeps answers as long as the process lives."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, bytes]] = {}

    def load(self, vendor: str, query_id: str) -> bytes | None:
        return self._kept.get(vendor, {}).get(query_id)

    def save(self, vendor: str, query_id: str, content: bytes) -> None:
        self._kept.setdefault(vendor, {})[query_id] = content

    def query_ids(self, vendor: str) -> list[str]:
        return list(self._kept.get(vendor, {}))

    def drop(self, vendor: str, query_id: str) -> None:
        self._kept.get(vendor, {}).pop(query_id, None)


class AnswersAndTerms(Answers):
    """One epoch's answers, and what vendors may know without."""

    def __init__(self, similarity: Similarity, once: AnsweredOnce, public: PublicTerms) -> None:
        super().__init__(similarity, once)
        self._public = public

    def terms(self) -> Terms:
        return self._public.terms(self.similarity.cohort.epoch)

    def budget(self, principal: Principal) -> messages.BudgetReply:
        return self._public.allowance(principal, self.similarity.cohort.epoch)


class Unprotected:
    """A release policy that lets everything out: what attacks are measured against."""

    service: Similarity

    def candidates(self, matches: Sequence[Match], told: Groups) -> frozenset[TwinId]:
        return frozenset(match.twin for match in matches)

    def release(
        self, matches: Sequence[Match], *, vendor: str, epoch: int, releasable: frozenset[TwinId], told: Groups
    ) -> Release:
        handles = sorted(self.service.secrets.handle(vendor, twin) for twin in releasable)
        return Release(tuple(handles), len(handles))


class House:
    """One hospital with one patient per row of ``levels``; all consent unless a test says otherwise."""

    def __init__(
        self,
        folder: Path,
        schema: FeatureSchema,
        levels: NDArray[np.int64],
        *,
        modes: tuple[Mode, ...] = ALL_MODES,
        minimum_count: int = 3,
        noise_width: int = 1,
        allowance: int = 5,
        budget: QueryBudget | None = None,
        refusing: Sequence[int] = (),
        weighted: bool = True,
        protected: bool = True,
        records: RecordSource | None = None,
        facets: NDArray[np.int64] | None = None,
        **offer: Any,
    ) -> None:
        self.schema, self.levels = schema, levels
        self.facets = np.empty((len(levels), 0), dtype=np.int64) if facets is None else facets
        self.twins = [TwinId(f"0199e0c2-0000-7000-8000-{row:012x}") for row in range(len(levels))]
        clock = FixedClock()
        self.trail = Trail()
        consents = ConsentStore(folder / "consents.db", Keys(), clock)
        self.access = Access(Policy.load(), consents, self.trail, PermitAuthority(clock), clock)
        consents.put_many([(twin, YES) for row, twin in enumerate(self.twins) if row not in refusing])
        self.consents = consents
        self.budget = budget or CountedBudget(allowance)
        offer = {"requests_per_minute": 1_000_000} | offer
        self.offer = ServicePolicy(
            modes=modes, minimum_count=minimum_count, noise_width=noise_width, weighted=weighted, **offer
        )
        self.protected = protected
        self.drawer = MemoryHistory()
        self.records = records
        self.answers = self.open()

    @property
    def service(self) -> Similarity:
        """Who answers."""
        return self.answers.similarity

    def open(self, epoch: int = EPOCH, secrets: CohortSecrets | None = None) -> AnswersAndTerms:
        """An epoch's answers, under a key of their own."""
        policy = None if self.protected else Unprotected()
        signer = AnswerSigner.generate()
        chosen = secrets or CohortSecrets.generate(epoch, self.schema, self.offer.gated_plan(self.schema))
        cohort = Cohort.snapshot(self, hospital=HOSPITAL, schema=self.schema, epoch=epoch, secrets=chosen)
        once = AnsweredOnce(cohort.binding, signer, self.budget, MemoryAnswers())
        service = Similarity(
            cohort,
            chosen,
            service_policy=self.offer,
            access=self.access,
            budget=once,
            policy=policy,
            records=self.records,
            history=ReleaseHistory(epoch, self.drawer),
        )
        if policy is not None:
            policy.service = service
        return AnswersAndTerms(service, once, PublicTerms(HOSPITAL, self.schema, self.offer, self.budget, signer))

    def consenting(self) -> Sequence[tuple[TwinId, Sequence[int], Sequence[int], Sequence[int]]]:
        requests = [
            AccessRequest(SYSTEM, Action.COHORT, Purpose.SIMILARITY, twin, frozenset({Category.FEATURES}))
            for twin in self.twins
        ]
        permits = self.access.decide_many(requests)
        rows = zip(self.twins, self.levels.tolist(), self.facets.tolist(), permits, strict=True)
        return [(twin, vector, vector, facets) for twin, vector, facets, permit in rows if permit is not None]

    def handles_within(
        self,
        query: Sequence[int],
        threshold_squared: int,
        weights: Sequence[int] | None = None,
        *,
        nearest: int | None = None,
        vendor: str = VENDOR.id,
    ) -> tuple[str, ...]:
        """Brute force over the plaintext: the handles that should come back, sorted."""
        weighing = np.ones(len(query), dtype=np.int64) if weights is None else np.array(weights)
        distances = ((self.levels - np.array(query)) ** 2 * weighing).sum(axis=1)
        if nearest is not None:
            threshold_squared = min(threshold_squared, int(np.sort(distances)[nearest - 1]))
        twins = [self.twins[row] for row in np.flatnonzero(distances <= threshold_squared)]
        return tuple(sorted(self.service.secrets.handle(vendor, twin) for twin in twins))

    def vendor(self, principal: Principal = VENDOR) -> VendorClient:
        """A client of this hospital over HTTP, as the vendor."""
        return VendorClient("http://testserver", "token", http=TestClient(app_of(self.answers, principal)))


def app_of(answers: AnswersAndTerms, principal: Principal = VENDOR) -> FastAPI:
    """The routes that ``messages`` promises, for one vendor."""
    app = FastAPI()
    problems.install(app)

    @app.get(messages.PREFIX + "/schema")
    def schema() -> Terms:
        return answers.terms()

    @app.get(messages.PREFIX + "/gate-key")
    def gate_key() -> messages.GateKeyReply:
        return answers.gate_key()

    @app.get(messages.PREFIX + "/query-key")
    def query_key() -> messages.QueryKeyReply:
        return answers.query_key()

    @app.post(messages.PREFIX + "/gated")
    def gated(query: messages.GatedQuery) -> messages.MatchReply:
        return answers.answer_gated(principal, query)

    @app.post(messages.PREFIX + "/vendor-key")
    def vendor_key(query: messages.VendorKeyQuery) -> messages.DistanceReply:
        return answers.answer_vendor_key(principal, query)

    @app.post(messages.PREFIX + "/matrix/token")
    def token(request: messages.TokenRequest) -> messages.TokenReply:
        return answers.issue_token(principal, request)

    @app.post(messages.PREFIX + "/matrix")
    def matrix(query: messages.MatrixQuery) -> messages.MatchReply:
        return answers.answer_matrix(principal, query)

    @app.post(messages.PREFIX + "/matrix/search")
    def search(query: messages.MatrixSearch) -> messages.MatchReply:
        return answers.search_matrix(principal, query)

    @app.post(messages.PREFIX + "/records")
    def records(request: messages.RecordsRequest) -> messages.RecordsReply:
        return answers.release_records(principal, request)

    @app.get(messages.PREFIX + "/budget")
    def budget() -> messages.BudgetReply:
        return answers.budget(principal)

    @app.get(messages.PREFIX + "/results")
    def results() -> messages.ResultsReply:
        return answers.results(principal)

    @app.get(messages.PREFIX + "/results/{query_id}")
    def result(query_id: str) -> messages.KeptAnswer:
        return answers.result(principal, query_id)

    return app
