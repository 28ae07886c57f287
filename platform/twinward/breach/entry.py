"""What an officer enters into a case: taken where it says something that can be meant, refused by name otherwise."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from twinward.access import justification
from twinward.breach.errors import BreachInvalid
from twinward.breach.models import Scope, ScopeKind
from twinward.core.errors import BadInput
from twinward.core.sentences import sentence
from twinward.core.vocabulary import Role, TwinId

MAX_TEXT_BYTES: Final = 30_000
"""Of a draft: one event of the log, which holds 64 KiB, has room for it whatever it is made of."""


@dataclass(frozen=True, slots=True)
class Known:
    """What cases are held against.

    Attributes:
        role_of: the role of an account; None where there is no such account.
        has_twin: whether a twin is or was known here.
        keks: versions of key-encryption keys that there are or were.
        twins_from: twins whose keys a KEK wraps, or may have wrapped.
        newest_erasure: another number whenever somebody was erased.
    """

    role_of: Callable[[str], Role | None]
    has_twin: Callable[[TwinId], bool]
    keks: Callable[[], Iterable[int]]
    twins_from: Callable[[int], list[TwinId]]
    newest_erasure: Callable[[], int]


def require_sound(scope: Scope, known: Known, now_ms: int) -> None:
    """Raise ``BreachInvalid`` where a scope names nothing that there is, or no time that can be meant."""
    if not 0 <= scope.from_ms <= now_ms or (scope.until_ms and scope.until_ms <= scope.from_ms):
        raise BreachInvalid("the time begins before now and ends after it begins")
    if scope.kind in (ScopeKind.ACCOUNT, ScopeKind.VENDOR):
        role = known.role_of(scope.account)
        if role is None:
            raise BreachInvalid("there is no such account", hint="`twinward account list` prints all")
        if scope.kind is ScopeKind.VENDOR and role is not Role.VENDOR:
            raise BreachInvalid(sentence("this account is a {role}'s, no vendor's", role=sentence(role.value)))
    if scope.kind is ScopeKind.PATIENT and (scope.twin is None or not known.has_twin(scope.twin)):
        raise BreachInvalid("there is no such twin", hint="`twinward twin list` prints the ids of all")
    if scope.kind is ScopeKind.TIME and not (scope.from_ms and scope.until_ms):
        raise BreachInvalid("a time has a beginning and an end")
    if scope.kind is ScopeKind.KEY and scope.kek not in set(known.keks()):
        raise BreachInvalid("there is no such key-encryption key", hint="`twinward keys status` prints them")


def written(text: str, what: str) -> str:
    """A sentence as it is logged. Raises ``BreachInvalid`` where it says nothing, or too much."""
    try:
        said = justification.bounded(text)
    except BadInput:
        raise BreachInvalid(
            sentence("{what} has {most} characters at most", what=what, most=justification.MAX_CHARS)
        ) from None
    if justification.fault(said) or any("\ud800" <= one <= "\udfff" for one in said):
        raise BreachInvalid(sentence("{what} is a sentence of a few words at least", what=what))
    return said


def body(text: str) -> str:
    """A draft as it is kept: its lines, each without what cannot be seen. Raises ``BreachInvalid``."""
    lines = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    said = "\n".join(justification.tidy(line) for line in lines).strip("\n") + "\n"
    if justification.fault(" ".join(said.split())):
        raise BreachInvalid("a draft says something")
    if any("\ud800" <= one <= "\udfff" for one in said):
        raise BreachInvalid("a draft is text in UTF-8")
    if len(said.encode()) > MAX_TEXT_BYTES:
        raise BreachInvalid(
            sentence("a draft has {most} bytes at most", most=MAX_TEXT_BYTES),
            hint="put the rest into an attachment",
        )
    return said
