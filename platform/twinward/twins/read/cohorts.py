"""Bulk readers for cohorts and studies: each patient's read goes through its own permit.

They satisfy ``similarity.interfaces.FeatureSource`` and ``federation.interfaces.StaySource`` by shape, without
importing those domains: twins stand below them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from twinward.access.interfaces import AccessContext, AccessControl, AccessRequest, Permit, Principal
from twinward.core.errors import BadInput, NotFound
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.features.derivation import FeaturesUnreadable
from twinward.features.monitored_stays import SIGNALS, decode_stay
from twinward.twins.models import STAY_TYPE
from twinward.twins.references import DELETED
from twinward.twins.service import Twins
from twinward.vault.interfaces import Record, RecordVault

_BATCH = 256
"""Twins decided at once: one durable append of the log each, and permits are used before they expire."""


class CohortReader:
    """The feature vectors of every twin whose consent allows similarity search now."""

    def __init__(self, twins: Twins, access: AccessControl, principal: Principal) -> None:
        self._twins = twins
        self._access = access
        self._principal = principal

    def consenting(self) -> Sequence[tuple[TwinId, Sequence[int]]]:
        """Quantised vectors, in order of twin id; without twins whose vector is missing, outdated or too bare."""
        found: list[tuple[TwinId, Sequence[int]]] = []
        for twin, permit in _permits(
            self._access,
            AccessContext(self._principal, Purpose.SIMILARITY),
            self._twins.all(),
            Action.COHORT,
            Category.FEATURES,
        ):
            try:
                vectors = self._access.opened(permit, self._twins.feature_vector)
            except FeaturesUnreadable:
                continue
            for vector in vectors:
                if vector is not None and len(vector.readings) >= self._twins.schema.minimum_present:
                    found.append((twin, vector.levels))
        return found


class ExportReader:
    """A patient's records for an outside party: of the categories that consent lets out, decided and logged each time.

    Satisfies ``similarity.interfaces.RecordSource`` by shape, as do its records.
    """

    def __init__(self, vault: RecordVault, access: AccessControl) -> None:
        self._vault = vault
        self._access = access

    def export(
        self, principal: Principal, twin: TwinId, categories: frozenset[Category], detail: tuple[tuple[str, str], ...]
    ) -> list[Record]:
        """Open what may leave; nothing where nothing may, which is logged as a refusal."""
        asked = AccessRequest(principal, Action.EXPORT, Purpose.SIMILARITY, twin, categories, detail=detail)
        permits = self._access.decide_parts([asked])
        try:
            records = [
                record
                for permit in permits
                for some in self._access.opened(permit, self._vault.read_twin)
                for record in some
            ]
        except NotFound:
            return []  # erased between the decision and the opening
        return [record for record in records if record.content != DELETED]


class StayReader:
    """The first stay of every twin whose consent allows a study now, as one tensor.

    Args:
        twins, vault, access: the hospital's own.
        principal: the researcher who trains.
        hours: length of the tensor; a shorter stay is NaN to the end, a longer one is cut.
    """

    def __init__(
        self, twins: Twins, vault: RecordVault, access: AccessControl, principal: Principal, *, hours: int = 48
    ) -> None:
        if hours < 1:
            raise BadInput("a study looks at one hour at least")
        self._twins = twins
        self._vault = vault
        self._access = access
        self._principal = principal
        self._hours = hours
        self._read: list[AccessRequest] = []

    def stays(self, study: str) -> NDArray[np.float32]:
        """Float32 ``[patients, hours, signals]`` in clinical units, NaN where nothing was charted."""
        rows: list[NDArray[np.float32]] = []
        self._read = []
        detail = (("study", study),)
        for _, permit in _permits(
            self._access,
            AccessContext(self._principal, Purpose.RESEARCH),
            self._twins.all(),
            Action.TRAIN,
            Category.MONITORING,
            detail,
        ):
            look = partial(self._vault.read_twin, record_type=STAY_TYPE)
            for some in self._access.opened(permit, look):
                if some:
                    rows.append(self._fitted(decode_stay(some[0].content)))
                    self._read.append(permit.request)
        shape = (len(rows), self._hours, len(SIGNALS))
        return np.stack(rows) if rows else np.empty(shape, np.float32)

    def withdrawn(self) -> frozenset[int]:
        """Which rows of what ``stays`` gave last are of patients whose consent no longer allows the study.

        A dry run: nothing is read, so there is nothing to log.
        """
        return frozenset(row for row, request in enumerate(self._read) if not self._access.check(request).permitted)

    def _fitted(self, stay: NDArray[np.float32]) -> NDArray[np.float32]:
        row = np.full((self._hours, len(SIGNALS)), np.nan, np.float32)
        row[: len(stay)] = stay[: self._hours]
        return row


def _permits(
    access: AccessControl,
    context: AccessContext,
    twins: Sequence[TwinId],
    action: Action,
    category: Category,
    detail: tuple[tuple[str, str], ...] = (),
) -> Iterator[tuple[TwinId, Permit]]:
    """A permit for each twin that may be read so; the others are passed over (``AccessControl.decide_permitted``)."""
    for start in range(0, len(twins), _BATCH):
        requests = [
            context.request(action, twin, frozenset({category}), detail=detail)
            for twin in twins[start : start + _BATCH]
        ]
        for permit in access.decide_permitted(requests):
            if permit.request.twin is not None:
                yield permit.request.twin, permit
