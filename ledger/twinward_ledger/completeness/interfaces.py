"""What the completeness map asks of its storage: transactions over patients, pages, tags and the newest head."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from twinward_ledger.completeness.map import MapHead, Subject
from twinward_ledger.completeness.page import Page


@dataclass(frozen=True, slots=True)
class LoggedHead:
    """The newest head that went into the log, and its index there."""

    head: MapHead
    index: int


class MapView(Protocol):
    """One transaction on a map's storage."""

    def head(self) -> LoggedHead | None:
        """The newest head; None for a map that was never published."""
        ...

    def subjects(self, labels: Sequence[bytes]) -> dict[bytes, Subject]:
        """Those of the labels that are in the map."""
        ...

    def buckets(self, prefixes: Sequence[bytes]) -> dict[bytes, list[Subject]]:
        """The patients under each two-byte prefix, by ascending label."""
        ...

    def first_within(self, low: bytes, high: bytes) -> Subject | None:
        """The patient of the smallest label from ``low`` to ``high``."""
        ...

    def every(self) -> list[Subject]:
        """All patients, by ascending label."""
        ...

    def pages(self, numbers: Sequence[int]) -> dict[int, Page]:
        """Those of the pages that are kept."""
        ...

    def tags(self) -> Mapping[bytes, bytes]:
        """Every blind-index tag under which the log keeps a patient's rows, with the patient's label."""
        ...

    def put_subjects(self, subjects: Iterable[Subject]) -> None:
        """Keep patients."""
        ...

    def put_pages(self, pages: Mapping[int, Page]) -> None:
        """Keep pages."""
        ...

    def put_tags(self, tags: Mapping[bytes, bytes]) -> None:
        """Keep which label stands under which tag. A tag's label never changes."""
        ...

    def put_head(self, head: LoggedHead) -> None:
        """Keep the newest head."""
        ...


class MapStore(Protocol):
    """Durable storage of one log's map. Raises ``LogUnavailable`` for whatever goes wrong in a backend.

    All of it can be made again from the log: losing it costs the next publication a pass over the log, nothing more.
    """

    def transaction(self) -> AbstractContextManager[MapView]:
        """One transaction at a time, over all processes: kept whole at the end, or not at all if it raises."""
        ...

    def close(self) -> None:
        """Give back every file and connection."""
        ...
