"""Federation: anomaly detectors trained across hospitals under patient-level differential privacy.

From Python, what a researcher uses stands here (of ``twinward.federation.api``), and is loaded when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twinward.federation.api import (
        DataInvalid,
        KeptModel,
        Model,
        PatientData,
        SignalSchema,
        StudyProtocol,
        TrainedStudy,
        data_of,
        evaluate,
        export_onnx,
        load_model,
        load_study,
        new_study,
        read_data,
        run_simulation,
        save_model,
        save_study,
        score,
        synthetic_data,
        table_schema,
    )

__all__ = [
    "DataInvalid",
    "KeptModel",
    "Model",
    "PatientData",
    "SignalSchema",
    "StudyProtocol",
    "TrainedStudy",
    "data_of",
    "evaluate",
    "export_onnx",
    "load_model",
    "load_study",
    "new_study",
    "read_data",
    "run_simulation",
    "save_model",
    "save_study",
    "score",
    "synthetic_data",
    "table_schema",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from twinward.federation import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return __all__
