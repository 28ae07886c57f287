"""The gate's look at a vendor's query, in a process of its own: the only place where its numbers meet the gate's key.

What comes back is read like a stranger's: whole numbers within the plan, or nothing. From them the node encrypts anew,
so no number of the vendor's gets any further.
"""

from __future__ import annotations

import struct

from twinward.similarity.errors import ScoringUnavailable
from twinward.similarity.scoring.child import PATIENCE_S, Child
from twinward_crypto.errors import MalformedBundle, ParameterError
from twinward_crypto.homomorphic.gated import GateKey
from twinward_crypto.homomorphic.parameters import Plan
from twinward_crypto.homomorphic.plain_query import PlainQuery
from twinward_crypto.homomorphic.wire import Bundle


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
