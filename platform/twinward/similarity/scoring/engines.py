"""One engine per mode: a cohort made ready to be asked, and the asking. No policy here, no budget, no log.

An engine and its cohort are one: when a row leaves, both are made anew, and whoever is still answering by the old one
keeps it until the answer is done. Then nobody refers to it any more and what scored is given back, by itself.
"""

from __future__ import annotations

import secrets
import struct
import weakref
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import structlog
from numpy.typing import NDArray

from twinward.protocol.messages import GatedQuery
from twinward.protocol.sealed_query import open_query
from twinward.protocol.terms import ModeTerms
from twinward.similarity.cohort import Cohort, CohortSecrets
from twinward.similarity.errors import QueryMalformed, ScoringUnavailable
from twinward.similarity.scoring.child import PATIENCE_S, Child
from twinward.similarity.scoring.placement import Scoring
from twinward.similarity.scoring.shards import Blinding, Scorer
from twinward_crypto.disclosure import RecipientKey
from twinward_crypto.errors import CryptoError, MalformedBundle, OpenError, ParameterError
from twinward_crypto.homomorphic import wire
from twinward_crypto.homomorphic.gated import NO_DISTANCE, GateKey
from twinward_crypto.homomorphic.parameters import Plan
from twinward_crypto.homomorphic.plain_query import PlainQuery, refusal
from twinward_crypto.homomorphic.wire import Bundle

Bools = NDArray[np.bool_]

log = structlog.get_logger("twinward.similarity")


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class GatedEngine:
    """Who holds the encrypted index (all that scoring needs), and the gate that checks queries and opens scores.

    Attributes:
        cohort: whom it scores.
        scorer: scores without a key.
        gate: encrypts checked queries and opens scores.
        opener: opens homomorphic queries, in a process of its own.
        query_key: opens sealed ones.
    """

    cohort: Cohort
    scorer: Scorer
    gate: GateKey = field(repr=False)
    opener: GateProcess = field(repr=False)
    query_key: RecipientKey = field(repr=False)

    def __post_init__(self) -> None:
        weakref.finalize(self, _end, self.scorer, self.opener)

    @property
    def binding(self) -> bytes:
        """What every bundle about this cohort carries."""
        return self.cohort.binding

    @classmethod
    def prepare(cls, cohort: Cohort, secrets_: CohortSecrets, scoring: Scoring) -> GatedEngine:
        """Encrypt the cohort under the epoch's gate key."""
        gate = secrets_.gate_key
        scorer = scoring.gated(gate, cohort.levels, binding=cohort.binding)
        return cls(cohort, scorer, gate, GateProcess(gate), secrets_.query_key)

    def close(self) -> None:
        """End the processes."""
        _end(self.scorer, self.opener)

    def public_key(self) -> bytes:
        """The ``GATE_PUBLIC_KEY`` bundle vendors encrypt with."""
        return self.gate.public_bundle(binding=self.binding).encode()

    def parse(self, query: GatedQuery) -> GatedQuery | wire.Bundle:
        """A sealed query as it is, of a homomorphic one the frame. Raises ``QueryMalformed``."""
        if query.bundle is None:
            return query
        return _frame(query.bundle, wire.Kind.GATED_QUERY, self.gate.plan, self.binding)

    def open(self, query: GatedQuery | wire.Bundle) -> PlainQuery:
        """The gate opens and checks a query. Raises ``QueryMalformed``, alike for all that no honest client sends."""
        try:
            return self._unsealed(query) if isinstance(query, GatedQuery) else self.opener.open_query(query)
        except MalformedBundle as error:
            raise QueryMalformed(str(error), hint="make the query with the twinward client: it was charged") from error

    def _unsealed(self, query: GatedQuery) -> PlainQuery:
        plan = self.gate.plan
        try:
            opened = open_query(self.query_key.private, query, plan.dimension, binding=self.binding)
            levels, weights = opened
            if weights is not None and not plan.weighted:
                raise refusal()
            return PlainQuery.of(plan, levels, weights)
        except (OpenError, ParameterError, ValueError):
            raise refusal() from None

    def distances(self, query: PlainQuery) -> NDArray[np.int64]:
        """Score a checked query without a key, then open at the gate; ``NO_DISTANCE`` where a score is none.

        What goes wrong from here on is the hospital's own fault, whatever the vendor sent: it is logged, without a
        number or a row. Raises ``ScoringUnavailable``.
        """
        try:
            sealed = self.gate.encrypt_query(query, binding=self.binding)
            distances = self.gate.open_distances(self.scorer.score(sealed))
        except MalformedBundle as error:
            raise ScoringUnavailable("the hospital's own index could not be scored") from error
        if (distances == NO_DISTANCE).any():
            log.error("scores that are no distances count as no match: the encrypted index is damaged")
        return distances


@dataclass(frozen=True, slots=True, eq=False)
class VendorKeyEngine:
    """Who holds the plaintext cohort and packs it for each query under a vendor's key.

    Rows come in an order of the operating system's random source, drawn anew for each query: the answer's places are
    in the vendor's hands, and one order for all would tell vendors which of their handles are the same patient.
    """

    cohort: Cohort
    plan: Plan
    scoring: Scoring

    @property
    def binding(self) -> bytes:
        """What every bundle about this cohort carries."""
        return self.cohort.binding

    @classmethod
    def prepare(cls, cohort: Cohort, terms: ModeTerms, scoring: Scoring) -> VendorKeyEngine:
        """Plan for a cohort."""
        return cls(cohort, terms.plan(cohort.schema), scoring)

    def parse(self, data: bytes) -> wire.Bundle:
        """A query's frame. Raises ``QueryMalformed``."""
        return _frame(data, wire.Kind.QUERY, self.plan, self.binding)

    def scores(self, query: wire.Bundle, rows: Bools, hidden: Bools) -> tuple[bytes, list[int]]:
        """Encrypted distances of ``rows``, each with fresh noise; ``hidden`` ones get a random value instead.

        Returns:
            The answer, and which row of the cohort stands at each of its places.
        """
        order = np.flatnonzero(rows).tolist()
        secrets.SystemRandom().shuffle(order)
        noise = np.array([secrets.randbelow(self.plan.noise_width) for _ in order], dtype=np.int64)
        try:
            with closing(self.scoring.vendor_key(self.plan, self.cohort.levels[order], binding=self.binding)) as scorer:
                return scorer.score(query, Blinding(noise, hidden[order])).encode(), order
        except MalformedBundle as error:
            raise QueryMalformed(str(error)) from error


def _end(*held: Scorer | GateProcess) -> None:
    for one in held:
        one.close()


def _frame(data: bytes, kind: wire.Kind, plan: Plan, binding: bytes) -> wire.Bundle:
    try:
        return wire.decode(data, kind=kind, plan=plan, binding=binding)
    except CryptoError as error:
        raise QueryMalformed(str(error)) from error


class GateProcess:
    """Opens queries under a gate's key.

    Args:
        gate: whose key; the process is given it through a pipe.
        patience_s: how long one query may take.
    """

    def __init__(self, gate: GateKey, *, patience_s: float = PATIENCE_S) -> None:
        self._plan = gate.plan
        self._child = Child(GateWorker, gate.plan, gate.dangerously_export_secret(), patience_s=patience_s)

    @property
    def pid(self) -> int | None:
        """The process; None where none runs."""
        return self._child.pid

    def open_query(self, query: Bundle) -> PlainQuery:
        """As ``GateKey.open_query``.

        Raises:
            MalformedBundle: what no honest client encrypts.
            QueryMalformed: it crashed the process, or takes too long.
            ScoringUnavailable: the process keeps dying, or answers something else.
        """
        answer = self._child.ask(query)
        d = self._plan.dimension
        try:
            numbers = struct.unpack(f"<{d * (2 if query.weighted else 1)}H", answer)
            return PlainQuery.of(self._plan, numbers[:d], numbers[d:] if query.weighted else None)
        except (struct.error, ParameterError) as error:
            raise ScoringUnavailable("the gate's process answered something else") from error

    def close(self) -> None:
        """End the process."""
        self._child.close()


class GateWorker:
    """What the process runs. Implements ``child.Worker``."""

    def __init__(self, plan: Plan, secret: bytes) -> None:
        self._gate = GateKey.restore(plan, secret)

    def answer(self, *question: object) -> bytes:
        """The levels of a query, then its weights where it has some, two little-endian bytes each."""
        (query,) = question
        if not isinstance(query, Bundle):
            raise MalformedBundle("a query is expected")
        opened = self._gate.open_query(query)
        numbers = opened.levels + (opened.weights or ())
        return struct.pack(f"<{len(numbers)}H", *numbers)
