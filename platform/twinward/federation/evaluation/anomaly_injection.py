"""Labelled tampering with charted stays, in clinical units: what a detector is measured on.

Four kinds, in the hours after a random start: a *shift* of three vitals (a miscalibrated or falsified sensor), a
*freeze* at a fixed value (a stuck or replayed sensor), *noise* (a loose lead, a corrupted feed), and a *swap*: the
rest of the stay is another patient's (mixed-up charts). Only charted cells change, so missingness gives nothing away.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twinward.core.errors import BadInput
from twinward.features.monitored_stays import Stay, Stays
from twinward.features.signal_schema import ICU, SignalSchema

_VITALS: Final = 10
"""The first columns: of the ICU's signals, bedside monitor and nurse's chart."""

_SPAN: Final = 1 / 3
"""Share of the stay that a shift, a freeze or noise lasts."""


class Anomaly(StrEnum):
    """What was done to a stay."""

    NONE = "none"
    SHIFT = "shift"
    FREEZE = "freeze"
    NOISE = "noise"
    SWAP = "swap"
    LABELLED = "labelled"
    """Whoever gave the stays says that they are anomalies."""


KINDS: Final = (Anomaly.SHIFT, Anomaly.FREEZE, Anomaly.NOISE, Anomaly.SWAP)


@dataclass(frozen=True)
class LabelledStays:
    """Stays of which some were tampered with.

    Attributes:
        stays: ``[patients, hours, signals]``.
        kinds: what was done to each, in order.
        signals: what the stays are made of.
        groups: the subgroup of each, where there are such.
    """

    stays: Stays
    kinds: tuple[Anomaly, ...]
    signals: SignalSchema = ICU
    groups: tuple[str, ...] | None = None

    @property
    def labels(self) -> NDArray[np.bool_]:
        """Which were tampered with, ``[patients]``."""
        return np.array([kind is not Anomaly.NONE for kind in self.kinds])


def inject_anomalies(stays: Stays, seed: int, *, share: float = 0.2, signals: SignalSchema = ICU) -> LabelledStays:
    """A copy of ``stays`` of which about ``share`` is tampered with; the same seed does the same.

    Raises:
        BadInput: fewer than two stays (a swap needs a donor), or a share outside (0, 1).

    Stays that come with an outcome are labelled by it, and nothing is done to them.
    """
    if signals.has_outcome:
        return labelled_by_outcome(stays, signals)
    if len(stays) < 2 or not 0 < share < 1:
        raise BadInput("tampering wants at least two stays and a share between 0 and 1")
    random = np.random.default_rng(seed)
    altered = stays.copy()
    kinds = [Anomaly.NONE] * len(stays)
    for patient in np.flatnonzero(random.random(len(stays)) < share):
        kind = KINDS[random.integers(len(KINDS))]
        if kind is Anomaly.SWAP:
            donor = (patient + random.integers(1, len(stays))) % len(stays)
            half = stays.shape[1] // 2
            if half:
                altered[patient, half:] = stays[donor, half:]
            else:  # a table's row: half of the columns are another patient's
                altered[patient, :, stays.shape[2] // 2 :] = stays[donor, :, stays.shape[2] // 2 :]
        else:
            _tamper(random, altered[patient], kind, signals)
        kinds[patient] = kind
    return LabelledStays(stays=altered, kinds=tuple(kinds), signals=signals)


def labelled_by_outcome(stays: Stays, signals: SignalSchema) -> LabelledStays:
    """Stays whose outcome is known, labelled by it; what is scored does not see it."""
    outcome = np.nan_to_num(stays[:, -1, -1], nan=-1.0)
    known = np.isin(outcome, (0.0, 1.0))
    seen = stays[known].copy()
    seen[:, :, -1] = np.nan
    kinds = tuple(Anomaly.LABELLED if one else Anomaly.NONE for one in outcome[known] == 1)
    return LabelledStays(stays=seen, kinds=kinds, signals=signals)


def _tamper(random: np.random.Generator, stay: Stay, kind: Anomaly, signals: SignalSchema) -> None:
    """Alter three of the first signals of one stay in place, over one span."""
    hours = stay.shape[0]
    span = max(1, round(hours * _SPAN))
    start = int(random.integers(0, hours - span + 1))
    columns = min(_VITALS, len(signals.signal))
    for index in random.choice(columns, min(3, columns), replace=False):
        signal = signals.signal[index]
        cells = stay[start : start + span, index]
        charted = ~np.isnan(cells)
        if kind is Anomaly.SHIFT:
            cells[charted] += random.choice([-1, 1]) * random.uniform(1.6, 3.2) * signal.half_range
        elif kind is Anomaly.FREEZE:
            cells[charted] = signal.middle + random.uniform(-1, 1) * signal.half_range
        else:
            cells[charted] = signal.middle + random.uniform(-4, 4, int(charted.sum())) * signal.half_range
