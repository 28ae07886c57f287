"""What a process that counts runs. It holds no row and no key: a query comes in, and which entries make each slot."""

from __future__ import annotations

import hashlib

import numpy as np

from twinward_crypto.errors import MalformedBundle
from twinward_crypto.feasibility.answer import Layout, Tables
from twinward_crypto.feasibility.kernel_answer import KernelTables, tables_for
from twinward_crypto.feasibility.query import FeasibilityQuery


class CountingWorker:
    """Implements ``scoring.child.Worker``. The tables of the latest query are kept for its next slots."""

    def __init__(self) -> None:
        self._about = b""
        self._tables: Tables | KernelTables | None = None

    def answer(self, *question: object) -> bytes:
        """``(query, binding, layout)`` is checked; with indices, ``int32`` little-endian, its slots are made.

        Raises:
            MalformedBundle: no query about these features, or with something else than elements of the group.
        """
        data, binding, layout, *indices = question
        if not (isinstance(data, bytes) and isinstance(binding, bytes) and isinstance(layout, Layout)):
            raise MalformedBundle("a query is expected")
        query = FeasibilityQuery.decode(data, levels=layout.levels, binding=binding)
        if not indices:
            query.require_elements()
            return b""
        (wanted,) = indices
        if not isinstance(wanted, bytes):
            raise MalformedBundle("indices are expected")
        rows = np.frombuffer(wanted, "<i4").reshape(-1, layout.tables)
        return self._ready(data, query, layout).slots(rows)

    def _ready(self, data: bytes, query: FeasibilityQuery, layout: Layout) -> Tables | KernelTables:
        about = hashlib.sha256(data + repr(layout).encode()).digest()
        if self._tables is None or self._about != about:
            self._tables, self._about = tables_for(query, layout), about
        return self._tables
