"""Errors of the vendor SDK. What the vendor itself got wrong is a ``BadInput``.

TwinwardError
├── BadInput
│   └── OutOfRange             a value beyond its feature's range: in the wrong unit, most likely; nothing was sent
└── ClientError
    ├── HospitalRefused        the hospital said no; ``status`` and its own words are in the message
    ├── HospitalUnreachable    no answer, or no connection that can be trusted; the hint says how to go on
    ├── AnswerMalformed        an answer that does not parse or does not fit the question
    │   └── AnswerForged       not signed by the hospital's key, about another question or epoch, or altered
    │       └── HospitalKeyChanged  the hospital shows another key than it did
    └── VersionUnknown         hospital and client speak no common version; the message says who is behind
"""

from __future__ import annotations

from twinward.core.errors import BadInput, TwinwardError


class OutOfRange(BadInput):
    """A value that its feature's range does not hold. It would count as the range's end, and the query be paid for."""


class ClientError(TwinwardError):
    """Root of what can go wrong between a vendor and a hospital.

    ``query_id``: of the query that was on its way, by which its answer can be fetched; empty if none was.
    """

    query_id = ""


class HospitalRefused(ClientError):
    """The hospital refused a request. ``retry_after_s``: seconds after which it wants to be asked again, if it says."""

    exit_code = 6
    http_status = 403

    def __init__(self, message: str, *, status: int, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after_s = retry_after_s
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


class AnswerForged(AnswerMalformed):
    """An answer that the hospital's key did not sign, or that is an answer to something else."""


class RecordsExpired(ClientError):
    """Released records past their end: nothing was opened."""

    exit_code = 6
    http_status = 410


class HospitalKeyChanged(AnswerForged):
    """The hospital shows another key for answers than the one that is known. Nothing was asked of it."""

    exit_code = 6

    def __init__(self, hospital: str, *, known: str, shown: str, where: str) -> None:
        super().__init__(
            f"{hospital} shows the key {shown} for its answers, and {known} is known: somebody may stand in between",
            hint=f"ask the hospital on another way (`twinward similarity key` prints it there); then change {where}",
        )
        self.known, self.shown = known, shown


class VersionUnknown(ClientError):
    """Hospital and client speak no common version of the protocol."""

    exit_code = 6
    http_status = 501
