"""The root of the platform's errors, and what a face needs to show one.

Every domain has its own ``errors.py`` whose classes descend from ``TwinwardError``. A face (CLI, API, console)
never inspects messages: it prints ``str(error)`` and ``error.hint`` and uses the two codes below.

TwinwardError (exit 1, HTTP 500)
├── BadInput (exit 2, HTTP 400)          the caller sent something malformed
│   ├── NotAcceptable (HTTP 406)         it can be answered, but in no form that the caller takes
│   └── UnsupportedMedia (HTTP 415)      a body of a kind that is not taken here
├── NotFound (exit 3, HTTP 404)
├── Conflict (exit 4, HTTP 409)          a version or a state stands in the way
│   └── NotAtWork                        a restored home was asked for what only the working node may do
├── NotAuthenticated (exit 5, HTTP 401)
├── Refused (exit 6, HTTP 403)           policy, consent, budget or release policy says no
└── Unavailable (exit 7, HTTP 503)       a store, chain, key service or peer does not answer; nothing was done
    ├── Busy                             as many are served as can be
    └── StoreAltered (exit 8)            a store holds what this node did not write, or older than the log recorded

Over a network a face tells ``error.outside()`` instead: what does not answer, at which address and for which account,
is the operator's to know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, TypeVar

from twinward.core.sentences import sentence


class TwinwardError(Exception):
    """Root of the platform's errors. ``hint`` says what to do next."""

    exit_code = 1
    http_status = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def outside(self) -> tuple[str, str]:
        """Message and hint for whoever asks over a network: ``Sentence``s still, where they were made of values."""
        return self.args[0], self.hint


T = TypeVar("T")


def outcome_of(done: Callable[[], T]) -> T | TwinwardError:
    """What something gives, or the error of ours that it raises: for one of several that are done together."""
    try:
        return done()
    except TwinwardError as error:
        return error


@contextmanager
def told(outcomes: MutableMapping[int, Any], number: int) -> Iterator[None]:
    """What goes wrong with one of several is told to who asked for it, not to the others: it is put in its place."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is
        outcomes[number] = error


class BadInput(TwinwardError):
    """The caller sent something malformed."""

    exit_code = 2
    http_status = 400


class NotAcceptable(BadInput):
    """It can be answered, but in no form that the caller takes (RFC 9110, section 15.5.7). Nothing was done."""

    http_status = 406


class UnsupportedMedia(BadInput):
    """A body of a kind that is not taken here (RFC 9110, section 15.5.16). Nothing was done.

    ``taken``: the media types that are, or none where it is not for its type.
    """

    http_status = 415

    def __init__(self, message: str, *, hint: str = "", taken: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.taken = taken


class NotFound(TwinwardError):
    """There is no such thing, or the caller may not know that there is."""

    exit_code = 3
    http_status = 404


class Conflict(TwinwardError):
    """The present version or state stands in the way."""

    exit_code = 4
    http_status = 409


class NotAtWork(Conflict):
    """A restored home was asked for what only the hospital's one working node may do. Nothing was done."""

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(
            sentence("this home was restored and is not at work: {what}", what=what),
            hint=hint
            or "a drill needs nothing of the kind; if it is to take the node's place, `twinward node activate`",
        )


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
    own_words = False
    """Whether ``outside`` tells the message: only where no address, account or file can stand in it."""

    def outside(self) -> tuple[str, str]:
        """The message, or that something does not answer."""
        if self.own_words:
            return super().outside()
        return sentence("something this node needs does not answer; nothing was done"), sentence("try again later")


def store_unavailable(message: str, hint: str) -> Unavailable:
    """The error of a store whose database cannot be used, as ``Schema`` makes it."""
    return Unavailable(message, hint=hint)


class Busy(Unavailable):
    """As many are served as can be."""

    own_words = True


class StoreAltered(Unavailable):
    """A store holds what this node did not write, or less than the log recorded. Nothing is permitted by it."""

    exit_code = 8
    own_words = True
