"""What similarity asks of other domains, and what it may be given: a release policy, stores, a budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twinward.access.interfaces import Principal
from twinward.core.vocabulary import Category, TwinId
from twinward.similarity.models import Groups, Match, Release


class ReleasePolicy(Protocol):
    """Decides what of a result may leave. Pure: same input, same output."""

    def candidates(self, matches: Sequence[Match], told: Groups) -> frozenset[TwinId]:
        """Whose consent is to be asked before anything is released; nobody where nothing will be."""
        ...

    def release(
        self, matches: Sequence[Match], *, vendor: str, epoch: int, releasable: frozenset[TwinId], told: Groups
    ) -> Release:
        """Turn matches into what the vendor gets. ``releasable`` are the twins whose consent lets a handle out now."""
        ...


class OpenedRecord(Protocol):
    """One record on its way to being sealed for somebody else. The vault's ``Record`` is one."""

    @property
    def record_type(self) -> str:
        """What it is, e.g. ``Observation``."""
        ...

    @property
    def category(self) -> Category:
        """What it is about."""
        ...

    @property
    def content(self) -> bytes:
        """The record as it was imported."""
        ...


class RecordSource(Protocol):
    """Who can open a patient's records for an outside party: decided per patient, logged, by consent."""

    def export(
        self, principal: Principal, twin: TwinId, categories: frozenset[Category], detail: tuple[tuple[str, str], ...]
    ) -> Sequence[OpenedRecord]:
        """The records of those categories that may leave; none where nothing may. Each try is in the log."""
        ...


class QueryBudget(Protocol):
    """A vendor's query allowance per epoch, kept on the ledger so that no node can forget a spend."""

    def spend(self, vendor: str, epoch: int, amount: int = 1) -> int:
        """Spend before scoring; return what is left. Raises ``BudgetExhausted`` (a ``Refused``), spending nothing."""
        ...

    def remaining(self, vendor: str, epoch: int) -> int:
        """What is left."""
        ...

    def resets_at_s(self, epoch: int) -> int | None:
        """When an epoch ends and allowances are renewed, in seconds since 1970; None where that is not known."""
        ...


class FeatureSource(Protocol):
    """Where a cohort's vectors come from: each read goes through its own permit."""

    def consenting(self) -> Sequence[tuple[TwinId, Sequence[int], Sequence[int], Sequence[int]]]:
        """Of every twin whose consent allows similarity search now: quantised vector, levels for criteria, of facets.

        Those for criteria are as the vector's, but ``schema.levels`` where nothing was measured, and then a
        ``Recorded`` for each entry of the schema's code list. Those of facets are places among the facet's values.
        """
        ...


class AnswerStore(Protocol):
    """Where one epoch's answers are kept: sealed, durable on return, readable by this node only."""

    def load(self, vendor: str, query_id: str) -> bytes | None:
        """What was kept last, None for nothing. Raises ``Unavailable`` if it was altered."""
        ...

    def save(self, vendor: str, query_id: str, content: bytes) -> None:
        """Keep or replace one. Raises ``Unavailable`` if it cannot: then nothing is answered."""
        ...

    def query_ids(self, vendor: str) -> list[str]:
        """A vendor's, oldest first."""
        ...

    def drop(self, vendor: str, query_id: str) -> None:
        """Forget one."""
        ...
