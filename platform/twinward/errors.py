"""The root of the platform's errors, and what a face needs to show one.

Every domain has its own ``errors.py`` whose classes descend from ``TwinwardError``. A face (CLI, API, console)
never inspects messages: it prints ``str(error)`` and ``error.hint`` and uses the two codes below.

TwinwardError (exit 1, HTTP 500)
├── BadInput (exit 2, HTTP 400)          the caller sent something malformed
├── NotFound (exit 3, HTTP 404)
├── Conflict (exit 4, HTTP 409)          a version or a state stands in the way
├── NotAuthenticated (exit 5, HTTP 401)
├── Refused (exit 6, HTTP 403)           policy, consent, budget or release policy says no
└── Unavailable (exit 7, HTTP 503)       a store, chain, key service or peer does not answer; nothing was done
"""

from __future__ import annotations


class TwinwardError(Exception):
    """Root of the platform's errors. ``hint`` says what to do next."""

    exit_code = 1
    http_status = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class BadInput(TwinwardError):
    """The caller sent something malformed."""

    exit_code = 2
    http_status = 400


class NotFound(TwinwardError):
    """There is no such thing, or the caller may not know that there is."""

    exit_code = 3
    http_status = 404


class Conflict(TwinwardError):
    """The present version or state stands in the way."""

    exit_code = 4
    http_status = 409


class NotAuthenticated(TwinwardError):
    """No principal, or one that could not be proven."""

    exit_code = 5
    http_status = 401


class Refused(TwinwardError):
    """Policy, consent, a budget or the release policy says no."""

    exit_code = 6
    http_status = 403


class Unavailable(TwinwardError):
    """Something this needs does not answer. Nothing was done."""

    exit_code = 7
    http_status = 503
