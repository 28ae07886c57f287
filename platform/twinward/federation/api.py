"""Studies from Python, as ``twinward.federation`` gives them: load, simulate, evaluate, keep.

>>> from twinward import federation
>>> study = federation.new_study("try-1", epsilon=1.0)
>>> data = federation.read_data("stays.npz", study)             # doctest: +SKIP
>>> done = federation.run_simulation(study, data)               # doctest: +SKIP
>>> federation.save_model(done, "models")                       # doctest: +SKIP
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from twinward.core.clock import Clock, SystemClock
from twinward.core.errors import Conflict, NotFound
from twinward.features.monitored_stays import Stays
from twinward.features.signal_schema import SignalSchema as SignalSchema
from twinward.features.signal_schema import table_schema as table_schema
from twinward.federation.coordinator import Progress
from twinward.federation.coordinator import TrainedStudy as TrainedStudy
from twinward.federation.detectors.detector import normalise
from twinward.federation.detectors.grouped import scores_of
from twinward.federation.detectors.model_file import Model as Model
from twinward.federation.detectors.model_file import read_model
from twinward.federation.disease_groups import NO_GROUP
from twinward.federation.errors import DataInvalid as DataInvalid
from twinward.federation.errors import ModelFileInvalid
from twinward.federation.evaluation.benchmark import (
    PRIVATE,
    Benchmark,
    Measured,
    Origin,
    measure_detector,
    synthetic_benchmark,
)
from twinward.federation.simulation import OWN_DATA, deal_out, labelled, prepare, simulate
from twinward.federation.stays import data_files
from twinward.federation.stays.patient_data import PatientData as PatientData
from twinward.federation.stays.patient_data import data_of as data_of
from twinward.federation.stays.simulated import simulate_signals
from twinward.federation.stays.sources import HeldStays
from twinward.federation.study import DetectorKind
from twinward.federation.study import StudyProtocol as StudyProtocol
from twinward.federation.study_file import new_protocol, protocol_toml, read_study

HOSPITALS: Final = ("hospital-a", "hospital-b", "hospital-c")
"""Who takes part in a simulation unless it is said."""

_MAX_MODEL_BYTES: Final = 16 << 20


@dataclass(frozen=True)
class KeptModel:
    """A model and its card, as files keep them."""

    model: Model
    card: Mapping[str, Any]


def new_study(
    study_id: str,
    *,
    hospitals: Sequence[str] = HOSPITALS,
    detector: str = "dp-var",
    epsilon: float = 1.0,
    signals: str | SignalSchema = "icu",
    **changes: Any,
) -> StudyProtocol:
    """A protocol with the detector's defaults; ``changes`` are fields of ``StudyProtocol``. Raises ``StudyInvalid``."""
    return new_protocol(study_id, tuple(hospitals), DetectorKind(detector), epsilon, signals=signals, **changes)


def load_study(path: str | Path) -> StudyProtocol:
    """A protocol from its ``.toml`` or ``.json``. Raises ``BadInput``, which says what is wrong."""
    return read_study(Path(path))


def save_study(study: StudyProtocol, path: str | Path) -> Path:
    """Write a protocol in which each field says what it is. Raises ``Conflict``: the file exists."""
    return _write(Path(path), protocol_toml(study).encode())


def read_data(path: str | Path, study: StudyProtocol) -> PatientData:
    """Your own ``.npz`` or ``.csv`` in a study's signals (``stays.data_files``). Raises ``DataInvalid``."""
    return data_files.read_data(Path(path), study.signals)


def synthetic_data(study: StudyProtocol, patients: int, seed: int = 0) -> PatientData:
    """SYNTHETIC patients in a study's signals, nobody's."""
    return PatientData(study.signals, simulate_signals(study.signals, patients, seed))


def run_simulation(
    study: StudyProtocol,
    data: PatientData | Mapping[str, Stays],
    *,
    test: PatientData | None = None,
    seed: int = 0,
    clock: Clock | None = None,
    progress: Callable[[Progress], None] | None = None,
    on_flower: bool = False,
) -> TrainedStudy:
    """Train over simulated hospitals in this process, with the protocol's real noise and masks.

    Args:
        study: what is run.
        data: your own patients, dealt out to the hospitals, of whom a quarter is kept back to measure on; or each
            hospital's stays by its name, which are all trained on.
        test: patients to measure on instead; without labels, some of them are tampered with.
        seed: of who is dealt out where and what is kept back. Noise comes from the system.
        clock: for the card's date.
        progress: told of every step.
        on_flower: on Flower's simulation engine instead, side by side on all cores (``make simulation``).

    Raises:
        DataInvalid: too few patients, or none to measure on.
        BadInput: stays that are not the study's signals.
    """
    engine = _on_flower() if on_flower else simulate
    if isinstance(data, PatientData):
        held, benchmark = prepare(data, seed, test=test)
        return engine(study, deal_out(study, held, seed), benchmark, clock or SystemClock(), progress=progress)
    benchmark = synthetic_benchmark(signals=study.signals)
    if test is not None:
        benchmark = Benchmark(OWN_DATA, Origin.OWN, labelled(test, seed))
    return engine(
        study,
        {name: HeldStays(one) for name, one in data.items()},
        benchmark,
        clock or SystemClock(),
        progress=progress,
    )


def with_hospitals(study: StudyProtocol, count: int) -> StudyProtocol:
    """The same study over so many simulated hospitals. Raises ``StudyInvalid``: too few or too many, or too little
    signal is left to tell.
    """
    names = [f"hospital-{number:02d}" for number in range(1, count + 1)]
    return StudyProtocol.parse({**study.model_dump(mode="json"), "hospitals": names})


def _on_flower() -> Callable[..., TrainedStudy]:
    from twinward.federation.flower.ray_engine import simulate_on_ray  # flwr and ray are loaded by whoever asks

    return simulate_on_ray


def score(model: Model, stays: NDArray[Any] | PatientData) -> NDArray[np.float64]:
    """How strange each stay is to a model, ``[patients]``; of patients with groups, to the heads of these.

    Raises:
        BadInput: not the stays of its signals.
    """
    own = stays if isinstance(stays, PatientData) else None
    held, groups = (np.asarray(stays, np.float32), None) if own is None else (own.stays, own.groups)
    study = model.study
    return scores_of(model.detector(), model.parameters, normalise(held, study.bins, study.signals), groups)


def evaluate(model: Model, data: PatientData, *, seed: int = 0) -> Measured:
    """AUROC of a model on your own patients: by their labels, or with a fifth of them tampered with.

    Raises:
        BadInput: the labels are all alike, or other signals.
    """
    return measure_detector(PRIVATE, model.detector(), model.parameters, labelled(data, seed), model.study.bins)


def save_model(done: TrainedStudy, folder: str | Path) -> Path:
    """Write ``STUDY.model`` and ``STUDY.card.json``; the model's path. Raises ``Conflict``: one exists."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{done.model.study.study_id}.model"
    card = card_beside(path)
    if card.exists():
        raise Conflict(f"{card} exists", hint="give the study a new study_id, or another folder")
    _write(path, done.model.to_bytes())
    _write(card, done.card.content)
    return path


def load_model(path: str | Path) -> KeptModel:
    """A model and the card beside it, held against each other.

    Raises:
        NotFound: one of them is not there.
        ModelFileInvalid: no model, or the card is of another.
    """
    path = Path(path)
    for one in (path, card_beside(path)):
        if not one.is_file():
            raise NotFound(
                f"there is no file {one}", hint="a model is kept as NAME.model with NAME.card.json beside it"
            )
        if one.stat().st_size > _MAX_MODEL_BYTES:
            raise ModelFileInvalid(f"{one} is larger than any model")
    model = read_model(path.read_bytes())
    try:
        card = json.loads(card_beside(path).read_bytes())
        matches = card["model_sha256"] == model.hash().hex()
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ModelFileInvalid(f"{card_beside(path)} is no model card") from None
    if not matches:
        raise ModelFileInvalid(f"{card_beside(path)} is the card of another model")
    return KeptModel(model, card)


def export_onnx(model: Model, path: str | Path, *, group: str = NO_GROUP) -> Path:
    """Write a model, or its head of a disease group, as ONNX (``evaluation.onnx_export``).

    Raises:
        Conflict: the file exists.
        BadInput: no such group.
    """
    from twinward.federation.evaluation import onnx_export  # onnx is imported by whoever exports

    return _write(Path(path), onnx_export.export_onnx(model, group))


def card_beside(path: Path) -> Path:
    """Where the card of a model's file is."""
    return path.with_name(path.name.removesuffix(".model") + ".card.json")


def _write(path: Path, content: bytes) -> Path:
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise Conflict(f"{path} exists", hint="nothing was overwritten") from None
    return path
