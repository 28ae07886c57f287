"""Bulk readers for cohorts and studies: each patient's read goes through its own permit.

They satisfy ``similarity.interfaces.FeatureSource`` and, but for groups, ``federation.interfaces.StaySource`` by shape,
without importing those domains: twins stand below them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from twinward.access.interfaces import NODE, AccessContext, AccessControl, AccessRequest, Permit, Principal
from twinward.core.errors import NotFound
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.features.codes import Recorded
from twinward.features.derivation import FeaturesUnreadable, Measurement
from twinward.features.monitored_stays import Stay, decode_stay
from twinward.features.signal_schema import ICU, SignalSchema
from twinward.features.stay_building import build_stay
from twinward.twins.models import CONDITION_TYPE, MEASURING_TYPE, STAY_TYPE
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
        self.decided = 0
        """How many twins the last reading logged an access to."""

    def consenting(self) -> Sequence[tuple[TwinId, Sequence[int], Sequence[int], Sequence[int]]]:
        """Quantised vectors, levels for criteria (``FeatureVector.eligibility``) and of facets, in order of twin id.

        Without twins whose vector is missing, outdated or too bare.
        """
        found: list[tuple[TwinId, Sequence[int], Sequence[int], Sequence[int]]] = []
        self.decided = 0
        for twin, permit in _permits(
            self._access,
            AccessContext(self._principal, Purpose.SIMILARITY),
            self._twins.all(),
            Action.COHORT,
            Category.FEATURES,
            counted=self._count,
        ):
            try:
                vectors = self._access.opened(permit, self._twins.feature_vector)
            except FeaturesUnreadable:
                continue
            for vector in vectors:
                if vector is not None and len(vector.readings) >= self._twins.schema.minimum_present:
                    found.append((twin, vector.levels, vector.eligibility(self._twins.schema), vector.facets))
        return found

    def _count(self, decided: int) -> None:
        self.decided += decided


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


Measure: TypeAlias = Callable[[Record], Iterable[Measurement]]
"""What the content of an Observation says was measured; nothing where it is none. It knows FHIR, this room does not."""


class StayReader:
    """One stay of every twin that may be read now, as one tensor: for a study by default, whose researcher trains.

    In the signals of the ICU, and where a monitored stay is kept, that is the first of them; otherwise it is built of
    the twin's vital signs and laboratory results (``features.stay_building``). A twin is one row, whatever it keeps.

    Args:
        twins, vault, access: the hospital's own.
        principal: who asks.
        measure: reads an Observation; without it only monitored stays are read.
        action, purpose: what is done, and why; by default a twin is trained on for research.
        detail: what every event of it says besides.
    """

    def __init__(
        self,
        twins: Twins,
        vault: RecordVault,
        access: AccessControl,
        principal: Principal,
        *,
        measure: Measure | None = None,
        action: Action = Action.TRAIN,
        purpose: Purpose = Purpose.RESEARCH,
        detail: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self._twins = twins
        self._vault = vault
        self._access = access
        self._context = AccessContext(principal, purpose, detail=detail)
        self._action = action
        self._measure = measure
        self._read: dict[TwinId, list[AccessRequest]] = {}
        self.study = ""
        """What stays were read for last."""
        self.decided = 0
        """How many accesses the last reading logged."""

    def stays(self, study: str, signals: SignalSchema = ICU) -> NDArray[np.float32]:
        """Float32 ``[patients, steps, signals]`` in the schema's units, NaN where nothing was charted.

        A shorter monitored stay is NaN to the end, a longer one is cut.
        """
        found = self.read(study, signals)
        shape = (len(found), signals.steps, len(signals.signal))
        return np.stack(list(found.values())) if found else np.empty(shape, np.float32)

    def read(self, study: str, signals: SignalSchema = ICU) -> dict[TwinId, Stay]:
        """The same by twin, in the order of the tensor's rows."""
        found: dict[TwinId, tuple[Stay, list[AccessRequest]]] = {}
        self.decided = 0
        if signals == ICU:
            for permit, records in self._opened(self._twins.all(), Category.MONITORING, STAY_TYPE, study):
                if records and permit.request.twin is not None:
                    found[permit.request.twin] = (_fitted(decode_stay(records[0].content), signals), [permit.request])
        if self._measure is not None and signals.reads_fhir:
            others = [twin for twin in self._twins.all() if twin not in found]
            for twin, (measured, requests) in self._measured(others, study, self._measure).items():
                stay = build_stay(signals, measured)
                if stay is not None:
                    found[twin] = (stay, requests)
        self._read, self.study = {twin: requests for twin, (_, requests) in found.items()}, study
        return {twin: stay for twin, (stay, _) in found.items()}

    def conditions(self, measure: Measure) -> list[frozenset[str]]:
        """What stands on record now for each row of what ``stays`` gave last (``features.codes.fact_code``).

        Nothing where consent withholds conditions. Who withdraws them later, withdraws (``withdrawn``).
        """
        found: dict[TwinId, frozenset[str]] = {}
        self.decided = 0
        for permit, records in self._opened(list(self._read), Category.CONDITIONS, CONDITION_TYPE, self.study):
            if permit.request.twin is not None:
                facts = (fact for record in records for fact in measure(record))
                found[permit.request.twin] = frozenset(one.code for one in facts if one.value == Recorded.CURRENT)
                self._read[permit.request.twin].append(permit.request)
        return [found.get(twin, frozenset()) for twin in self._read]

    def withdrawn(self) -> frozenset[int]:
        """Which rows of what ``stays`` gave last are of patients whose consent no longer allows the study.

        A dry run: nothing is read, so there is nothing to log.
        """
        return frozenset(row for row, requests in enumerate(self._read.values()) if not self._access.may(*requests))

    def _opened(
        self, twins: Sequence[TwinId], category: Category, record_type: str, study: str
    ) -> Iterator[tuple[Permit, list[Record]]]:
        """The newest records of a type, of each of these twins that may be read so."""
        look = partial(self._vault.read_twin, record_type=record_type)
        detail = (("study", study),)
        for _, permit in _permits(
            self._access, self._context, twins, self._action, category, detail, counted=self._count
        ):
            for records in self._access.opened(permit, look):
                yield permit, [record for record in records if record.content != DELETED]

    def _count(self, decided: int) -> None:
        self.decided += decided

    def _measured(
        self, twins: Sequence[TwinId], study: str, measure: Measure
    ) -> dict[TwinId, tuple[list[Measurement], list[AccessRequest]]]:
        """What was measured on each twin, in the categories that may be read."""
        found: dict[TwinId, tuple[list[Measurement], list[AccessRequest]]] = {}
        for category in (Category.VITALS, Category.LABS):
            for permit, records in self._opened(twins, category, MEASURING_TYPE, study):
                if permit.request.twin is not None:
                    measured, requests = found.setdefault(permit.request.twin, ([], []))
                    measured += [one for record in records for one in measure(record)]
                    requests.append(permit.request)
        return found


class ConditionReader:
    """The Conditions of every twin that may be counted for public health now, each read through its own permit.

    Args:
        twins, vault, access: the hospital's own.
        detail: what every event of it says besides.
    """

    def __init__(
        self, twins: Twins, vault: RecordVault, access: AccessControl, detail: tuple[tuple[str, str], ...]
    ) -> None:
        self._twins = twins
        self._vault = vault
        self._access = access
        self._detail = detail
        self.decided = 0
        """How many accesses the last reading logged."""

    def conditions(self) -> Iterator[tuple[TwinId, list[bytes]]]:
        """Each twin and the contents of its Conditions as they stand."""
        self.decided = 0
        context = AccessContext(NODE, Purpose.PUBLIC_HEALTH)
        look = partial(self._vault.read_twin, record_type=CONDITION_TYPE)
        twins = self._twins.all()
        for twin, permit in _permits(
            self._access, context, twins, Action.COUNT, Category.CONDITIONS, self._detail, counted=self._count
        ):
            for records in self._access.opened(permit, look):
                yield twin, [record.content for record in records if record.content != DELETED]

    def _count(self, decided: int) -> None:
        self.decided += decided


def _fitted(stay: Stay, signals: SignalSchema) -> Stay:
    row = np.full((signals.steps, len(signals.signal)), np.nan, np.float32)
    row[: len(stay)] = stay[: signals.steps]
    return row


def _permits(
    access: AccessControl,
    context: AccessContext,
    twins: Sequence[TwinId],
    action: Action,
    category: Category,
    detail: tuple[tuple[str, str], ...] = (),
    *,
    counted: Callable[[int], None],
) -> Iterator[tuple[TwinId, Permit]]:
    """A permit for each twin that may be read so; the others are passed over (``AccessControl.decide_permitted``).

    ``counted`` is told how many were logged before any is used: a reading that fails half-way has logged them, too.
    """
    for start in range(0, len(twins), _BATCH):
        requests = [
            context.request(action, twin, frozenset({category}), detail=detail)
            for twin in twins[start : start + _BATCH]
        ]
        permits = access.decide_permitted(requests)
        counted(len(permits))
        for permit in permits:
            if permit.request.twin is not None:
                yield permit.request.twin, permit
