"""Signing in, and staying so: from a password to a session, and from a session's id to who that is now.

A sign-in is in the log before there is a session. Each look at a session holds it against the account as it is at that
moment, so that disabling, a new password and "sign out everywhere" bite at once in every process.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from twinward.access.account_events import Via
from twinward.access.account_store import AccountRecord
from twinward.access.accounts import Accounts
from twinward.access.errors import SignInEnded
from twinward.access.interfaces import AccessContext, Principal, Standing
from twinward.access.sessions import Session, Sessions
from twinward.core.errors import NotFound
from twinward.core.vocabulary import Purpose, Role


class SignIns:
    """Verbs of whoever signs in, and of whoever ends that. ``origin``: from where, in words for the account's owner."""

    def __init__(self, accounts: Accounts, sessions: Sessions) -> None:
        self.accounts = accounts
        self._sessions = sessions

    @property
    def lifetime_ms(self) -> int:
        """How long a session lasts at most."""
        return self._sessions.lifetime_ms

    def by_password(
        self,
        account_id: str,
        password: str,
        *,
        via: Via = (),
        roles: Collection[Role] = frozenset(Role),
        origin: str = "",
        ends: str = "",
    ) -> str:
        """Check a password; return a session id for a cookie, once the sign-in is in the log.

        Args:
            account_id, password: as they were typed.
            via: facts for the event: by what way, from which address.
            roles: who may sign in here.
            origin: from where, in words for the account's owner.
            ends: a session that the same browser has, and that ends.

        Raises:
            SignInRefused: a wrong name or password, or a disabled account; without saying which.
            WrongRole: right, but not one of the roles.
            Unavailable: the log cannot be written, so nobody signs in.
        """
        record = self.accounts.by_password(account_id, password, via=via, roles=roles)
        self.accounts.events.signed_in(record.principal(), via)
        self.accounts.note_use(record.id, 0)
        self.sign_out(ends, via=via)
        return self._begin(record, origin)

    def session(self, session_id: str) -> Session:
        """The session an id stands for.

        Raises:
            SignInRefused: it is unknown, or has ended by itself.
            SignInEnded: its account was disabled, or signed out everywhere.
        """
        kept, signed = self._sessions.find(session_id)
        record = self.accounts.find(signed.account)
        fault = "gone" if record is None else record.fault(Standing(signed.generation), self.accounts.now_ms())
        if record is None or fault:
            self._sessions.end(session_id)
            raise SignInEnded(fault)
        return self._sessions.shown(kept, signed, record.principal())

    def sign_out(self, session_id: str, *, via: Via = ()) -> None:
        """End a session. One that is unknown, or an empty id, is none."""
        signed = self._sessions.end(session_id) if session_id else None
        record = None if signed is None else self.accounts.find(signed.account)
        if record is not None:
            self.accounts.events.signed_out(record.principal(), via)

    def change_password(self, session: Session, present: str, new: str, *, via: Via = (), origin: str = "") -> str:
        """Let somebody change their own password; every session ends, and a new one's id is returned.

        Raises:
            SignInRefused: the present password is not right.
            BadInput: the new one is the same, or weak.
        """
        return self._begin(self.accounts.change_password(session.principal, present, new, via=via), origin)

    def sessions(self, account_id: str) -> list[Session]:
        """An account's sessions, the newest first. Raises ``NotFound``: there is no such account."""
        record = self.accounts.record(account_id)
        if record.disabled:
            return []
        return [
            self._sessions.shown(kept, signed, record.principal())
            for kept, signed in self._sessions.of(record.id, record.generation)
        ]

    def end_session(self, account_id: str, name: str, by: AccessContext) -> None:
        """End one of an account's sessions, by what it is called, once the log says so.

        Raises:
            NotFound: there is no such account or session.
            Unavailable: the log cannot be written.
        """
        record = self.accounts.record(account_id)
        if name not in {one.name for one in self.sessions(account_id)}:
            raise NotFound(
                f"{record.id} has no session {name[:16]}", hint="`twinward account sessions` prints an account's"
            )
        self.accounts.events.changed(record, f"session {name} signed out", by)
        self._sessions.end_named(record.id, name)

    def _begin(self, record: AccountRecord, origin: str) -> str:
        return self._sessions.begin(
            record.id, record.generation, origin=origin, must_change=self.accounts.must_change_password(record)
        )


def own(principal: Principal, via: Via) -> AccessContext:
    """Somebody at their own account."""
    return replace(AccessContext(principal, Purpose.COMPLIANCE), detail=tuple(via))
