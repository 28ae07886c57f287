"""Browsers' sign-ins, kept in this process and nowhere else: a restart ends them."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass

from twinward.access.account_store import digest_of
from twinward.access.errors import SignInRefused
from twinward.access.interfaces import Principal
from twinward.core.clock import Clock

SESSION_LIFETIME_MS = 8 * 3600 * 1000
MOST_SESSIONS = 10_000


@dataclass(frozen=True, slots=True)
class Session:
    """A browser's sign-in: who, and the token that every form must carry back (CSRF).

    ``must_change``: nothing may be done with it but to choose a new password.
    """

    principal: Principal
    csrf: str
    expires_at_ms: int
    must_change: bool


class Sessions:
    """Sessions by the digest of the id that a cookie carries: an id is kept nowhere."""

    def __init__(self, clock: Clock, *, most: int = MOST_SESSIONS) -> None:
        self._clock = clock
        self._most = most
        self._lock = threading.Lock()
        self._sessions: dict[bytes, Session] = {}

    def begin(self, principal: Principal, *, must_change: bool) -> str:
        """A new session's id. The oldest one ends where there are too many."""
        now_ms = self._clock.now_ms()
        session_id = secrets.token_urlsafe(32)
        session = Session(principal, secrets.token_urlsafe(16), now_ms + SESSION_LIFETIME_MS, must_change)
        with self._lock:
            self._sessions = {key: one for key, one in self._sessions.items() if now_ms < one.expires_at_ms}
            while len(self._sessions) >= self._most:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[digest_of(session_id)] = session
        return session_id

    def find(self, session_id: str) -> Session:
        """The session of an id. Raises ``SignInRefused`` if it is unknown or expired."""
        session = self._sessions.get(digest_of(session_id))
        if session is None:
            raise SignInRefused
        if self._clock.now_ms() >= session.expires_at_ms:
            self.end(session_id)
            raise SignInRefused
        return session

    def end(self, session_id: str) -> Session | None:
        """End one; None where there was none."""
        with self._lock:
            return self._sessions.pop(digest_of(session_id), None)

    def number_of(self, account_id: str) -> int:
        """How many an account has here."""
        with self._lock:
            return sum(one.principal.id == account_id for one in self._sessions.values())
