"""Where the node's own log lines go: standard error, one line each, no ids, no texts of exceptions."""

from __future__ import annotations

import logging
import sys
from typing import Literal

from twinward.core.visible_text import visible_event


def configure_logs(level: int = logging.WARNING, form: Literal["logfmt", "json"] = "logfmt") -> None:
    """Set level and form for this process. Without the node's packages there is nothing that logs."""
    try:
        import structlog
    except ModuleNotFoundError:
        return
    # A defect is logged by its type (api/http/problems.py); uvicorn would add the traceback, whose text may hold data.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            visible_event,
            structlog.processors.JSONRenderer(sort_keys=True)
            if form == "json"
            else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
