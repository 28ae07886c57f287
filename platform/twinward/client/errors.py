"""Errors of the vendor SDK. What the vendor itself got wrong is a ``BadInput``.

TwinwardError
└── ClientError
    ├── HospitalRefused        the hospital said no; ``status`` and its own words are in the message
    ├── HospitalUnreachable    no answer; nothing is known to have been spent
    └── AnswerMalformed        an answer that does not parse or does not fit the question
"""

from __future__ import annotations

from twinward.errors import TwinwardError


class ClientError(TwinwardError):
    """Root of what can go wrong between a vendor and a hospital."""


class HospitalRefused(ClientError):
    """The hospital refused a request."""

    exit_code = 6
    http_status = 403

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        if status == 401:
            self.exit_code = 5


class HospitalUnreachable(ClientError):
    """The hospital did not answer."""

    exit_code = 7
    http_status = 503


class AnswerMalformed(ClientError):
    """The hospital's answer does not parse, or answers something else."""

    exit_code = 7
    http_status = 502
