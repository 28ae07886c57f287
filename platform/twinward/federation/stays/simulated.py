"""SYNTHETIC intensive-care stays: plausible physiology and charting, no patient behind any of them.

Used where no real stays are at hand. Five latent courses per patient (haemodynamic, respiratory, renal, septic,
neurological), each an AR(1) walk around a recovering, stable or worsening trend, drive all signals together; then
come textbook couplings (mean pressure from systolic and diastolic, bicarbonate from pH and PaCO2 by Henderson and
Hasselbalch, saturation from PaO2 by Severinghaus' curve, J Appl Physiol 46:599, 1979), a circadian swing, and a
chart: monitor rows hourly, blood gases in bursts for those with an arterial line, laboratory panels about twice a day.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from twinward.core.errors import BadInput
from twinward.features.icu_signals import SIGNALS
from twinward.features.monitored_stays import MAX_HOURS, Stays, column
from twinward.features.signal_schema import ICU, SignalSchema

_COURSES: Final = 5
_MAX_COUNT: Final = 1_000_000

_BASE: Final = {
    # name: (population mean, spread between patients, hourly jitter, lowest, highest), clinical units
    "HR": (84, 11, 4, 30, 200),
    "SysABP": (122, 13, 7, 50, 240),
    "DiasABP": (61, 8, 4, 25, 140),
    "RespRate": (18, 2.6, 1.8, 6, 50),
    "Temp": (36.9, 0.3, 0.2, 33, 41.5),
    "FiO2": (0.42, 0.07, 0.02, 0.21, 1.0),
    "GCS": (13.5, 1.4, 0.4, 3, 15),
    "Urine": (105, 30, 35, 0, 800),
    "pH": (7.40, 0.02, 0.012, 6.9, 7.7),
    "PaO2": (125, 22, 14, 35, 450),
    "PaCO2": (39.5, 3.5, 1.8, 15, 100),
    "Lactate": (1.5, 0.35, 0.15, 0.3, 20),
    "BUN": (20, 8, 0.8, 2, 150),
    "Creatinine": (1.05, 0.3, 0.05, 0.2, 12),
    "Glucose": (132, 20, 14, 40, 500),
    "K": (4.15, 0.3, 0.12, 2.2, 7.5),
    "Na": (139, 3, 0.8, 115, 165),
    "WBC": (10.5, 2.8, 0.7, 0.5, 60),
    "Platelets": (205, 65, 8, 8, 900),
    "HCT": (32, 3.6, 0.7, 15, 58),
    "Mg": (2.0, 0.22, 0.06, 0.8, 4.5),
}

_RESPONSE: Final = {
    # name: what one unit of (haemodynamic, respiratory, renal, septic, neurological) illness adds
    "HR": (9, 3, 0, 8, -1),
    "SysABP": (-15, 0, 3, -6, 5),
    "DiasABP": (-8, 0, 2, -5, 2),
    "RespRate": (1.2, 3.2, 0.5, 1.6, -0.8),
    "Temp": (-0.1, 0, 0, 0.65, 0.1),
    "FiO2": (0.03, 0.13, 0, 0.02, 0.02),
    "GCS": (-0.7, -0.6, -0.4, -0.5, -2.8),
    "Urine": (-24, 0, -32, -8, 6),
    "pH": (-0.028, -0.02, -0.026, -0.012, 0),
    "PaO2": (-4, -26, 0, -4, 0),
    "PaCO2": (-1.5, 5.5, -1.6, -1.6, 1),
    "Lactate": (1.15, 0.2, 0.2, 0.75, 0),
    "BUN": (3, 0, 14, 2, 0),
    "Creatinine": (0.16, 0, 0.9, 0.1, 0),
    "Glucose": (10, 3, 4, 20, 4),
    "K": (0.1, 0, 0.4, 0, 0),
    "Na": (0, 0, -1.6, 0.6, 2),
    "WBC": (0.7, 0.4, 0, 4.2, 0.3),
    "Platelets": (-14, 0, -8, -30, 0),
    "HCT": (-1.5, 0, -1.2, -0.6, 0),
    "Mg": (0, 0, 0.12, 0, 0),
}

_LABS: Final = ("BUN", "Creatinine", "Glucose", "HCO3", "K", "Na", "WBC", "Platelets", "HCT", "Mg")
_GASES: Final = ("pH", "PaO2", "PaCO2", "SaO2")


def simulate_stays(count: int, seed: int, *, hours: int = 48, severity: float = 0.4) -> Stays:
    """SYNTHETIC stays ``[count, hours, signals]``; the same arguments give the same stays.

    Args:
        count: patients.
        seed: of the generator; nothing secret comes from it.
        hours: length of every stay.
        severity: mean illness, 0 (well) to 1 (gravely ill): how one hospital's case mix differs from another's.

    Raises:
        BadInput: a count, a length or a severity out of range.
    """
    if not 1 <= count <= _MAX_COUNT or not 1 <= hours <= MAX_HOURS or not 0 <= severity <= 1:
        raise BadInput(
            "simulated stays want a positive count, 1 to 1024 hours and a severity from 0 to 1",
            hint="for example simulate_stays(800, seed=1)",
        )
    random = np.random.default_rng(seed)
    illness = _illness(random, count, hours, severity)
    values = _signals(random, illness)
    charted = _chart(random, illness)
    return np.where(charted, values, np.nan).astype(np.float32)


def simulate_signals(signals: SignalSchema, count: int, seed: int) -> Stays:
    """SYNTHETIC stays of any schema ``[count, steps, signals]``; of the ICU's, those of ``simulate_stays``.

    Each patient has a level in each signal, and moves around it together with the others (AR(1) in three courses); a
    tenth is missing. Plausible in range only: physiology is known of the ICU's signals alone.
    """
    if signals == ICU:
        return simulate_stays(count, seed)
    if signals.has_outcome:
        return _with_outcome(signals, count, seed)
    random = np.random.default_rng(seed)
    steps, width = signals.steps, len(signals.signal)
    middle = np.array([one.middle for one in signals.signal])
    half = np.array([one.half_range for one in signals.signal])
    loadings = random.normal(0, 0.5, (3, width))
    level = random.standard_normal((count, 1, 3)) @ loadings + random.normal(0, 0.3, (count, 1, width))
    courses = _ar1(random, (count, steps, 3), 0.9, 0.3) @ loadings + random.normal(0, 0.1, (count, steps, width))
    values = middle + half * (0.6 * level + 0.6 * courses)
    values[random.random(values.shape) < 0.1] = np.nan
    return values.astype(np.float32)


_RISK: Final = {"GCS": -0.8, "Lactate": 0.5, "BUN": 0.5, "RespRate": 0.5, "SysABP": -0.4, "Urine": -0.6, "FiO2": 0.6}
"""What half a reference range more of an ICU signal at the end of a stay adds to the log odds of dying."""


def _with_outcome(signals: SignalSchema, count: int, seed: int) -> Stays:
    """Stays and an outcome drawn from how they end; in other signals than the ICU's, the first three tell."""
    inputs = signals.signal[:-1]
    plain = ICU if inputs == ICU.signal else signals.model_copy(update={"signal": inputs})
    stays = simulate_signals(plain, count, seed)
    middle = np.array([one.middle for one in inputs])
    half = np.array([one.half_range for one in inputs])
    end = stays[:, -max(1, signals.steps // 4) :]
    charted = ~np.isnan(end)
    level = np.where(charted, (end - middle) / half, 0).sum(1) / np.maximum(charted.sum(1), 1)
    first = 1.5 * (np.arange(len(inputs)) < 3)
    odds = np.clip(level, -3, 3) @ (np.array([_RISK.get(one.name, 0.0) for one in inputs]) if plain == ICU else first)
    chance = 1 / (1 + np.exp(-(odds - np.median(odds) - 1.2)))
    died = (np.random.default_rng(seed + 1).random(count) < chance).astype(np.float32)
    return np.concatenate([stays, np.broadcast_to(died[:, None, None], (count, stays.shape[1], 1))], axis=2)


def _illness(random: np.random.Generator, count: int, hours: int, severity: float) -> NDArray[np.float64]:
    """Latent courses ``[count, hours, 5]``; most patients are ill in one or two ways."""
    burden = random.gamma(1.2, severity, (count, 1, 1))
    ways = random.dirichlet(np.full(_COURSES, 0.5), count)[:, None, :] * 2.2
    trend = random.choice([-0.9, 0.0, 0.8], (count, 1, 1), p=[0.5, 0.3, 0.2]) * random.random((count, 1, 1))
    along = np.linspace(0, 1, hours)[None, :, None]
    return np.clip(burden * ways * (1 + trend * along) + _ar1(random, (count, hours, _COURSES), 0.93, 0.16), -0.5, 4)


def _signals(random: np.random.Generator, illness: NDArray[np.float64]) -> NDArray[np.float64]:
    count, hours, _ = illness.shape
    values = np.empty((count, hours, len(SIGNALS)))
    clock = 2 * np.pi * (np.arange(hours)[None, :] + random.integers(0, 24, (count, 1))) / 24
    swing = {"HR": 4.0, "SysABP": 4.0, "DiasABP": 2.5, "Temp": 0.22, "Urine": 10.0}
    tone = _ar1(random, (count, hours), 0.8, 0.6)  # sympathetic tone: pulse and pressures move together
    toned = {"HR": 2.5, "SysABP": 7.0, "DiasABP": 4.0}
    for name, (mean, between, jitter, _, _) in _BASE.items():
        own = mean + between * random.standard_normal((count, 1))
        noise = jitter * _ar1(random, (count, hours), 0.6, 0.8)
        course = illness @ np.array(_RESPONSE[name])
        values[:, :, column(name)] = (
            own + course + noise + swing.get(name, 0) * np.sin(clock) + toned.get(name, 0) * tone
        )
    for name, (_, _, _, low, high) in _BASE.items():
        values[:, :, column(name)] = np.clip(values[:, :, column(name)], low, high)
    _couple(random, values)
    values[:, :, column("GCS")] = np.round(values[:, :, column("GCS")])
    return values


def _couple(random: np.random.Generator, values: NDArray[np.float64]) -> None:
    """The signals that physiology derives from others."""
    at = {signal.name: values[:, :, index] for index, signal in enumerate(SIGNALS)}  # views, written through
    at["DiasABP"][:] = np.minimum(at["DiasABP"], at["SysABP"] - 12)
    at["MAP"][:] = at["DiasABP"] + (at["SysABP"] - at["DiasABP"]) / 3 + random.normal(0, 1.5, at["MAP"].shape)
    at["HCO3"][:] = np.clip(0.0307 * at["PaCO2"] * 10 ** (at["pH"] - 6.1), 5, 50)
    oxygen = at["PaO2"]
    at["SaO2"][:] = np.clip(
        100 / (23_400 / (oxygen**3 + 150 * oxygen) + 1) + random.normal(0, 0.5, oxygen.shape), 50, 100
    )


def _chart(random: np.random.Generator, illness: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which cells a nurse or a laboratory would have filled. The sicker are charted more."""
    count, hours, _ = illness.shape
    charted = np.zeros((count, hours, len(SIGNALS)), np.bool_)
    sick = np.clip(illness.mean((1, 2)), 0, 1.5)[:, None]
    line = random.random((count, 1)) < 0.75

    def often(share: float | NDArray[np.float64]) -> NDArray[np.bool_]:
        return random.random((count, hours)) < share

    monitored = often(0.92)
    for name in ("HR", "SysABP", "DiasABP", "MAP"):
        charted[:, :, column(name)] = monitored & often(0.97)
    charted[:, :, column("RespRate")] = monitored & often(0.85) & (random.random((count, 1)) < 0.6)
    charted[:, :, column("Temp")] = often(0.35)
    charted[:, :, column("GCS")] = often(0.3)
    charted[:, :, column("Urine")] = often(0.66)
    gases = line & often(0.1 + 0.05 * sick)
    for name in _GASES:
        charted[:, :, column(name)] = gases
    charted[:, :, column("SaO2")] &= often(0.5)
    charted[:, :, column("FiO2")] = gases | (line & often(0.08))
    charted[:, :, column("Lactate")] = gases & often(0.4)
    panel, admission = often(0.05), np.zeros((count, hours), np.bool_)
    admission[np.arange(count), random.integers(0, min(4, hours), count)] = True
    for name in _LABS:
        charted[:, :, column(name)] = admission | (panel & often(0.96))
    return charted


def _ar1(random: np.random.Generator, shape: tuple[int, ...], keep: float, spread: float) -> NDArray[np.float64]:
    """Stationary AR(1) along axis 1 with standard deviation ``spread / sqrt(1 - keep²)``."""
    steps = random.standard_normal(shape) * spread
    steps[:, 0] /= np.sqrt(1 - keep**2)
    for hour in range(1, shape[1]):
        steps[:, hour] += keep * steps[:, hour - 1]
    return steps
