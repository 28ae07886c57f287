"""Signing in, and staying so: from a password and a code to a session, and from a session's id to who that is now.

A sign-in is in the log before there is a session. Each look at a session holds it against the account as it is at that
moment, so that disabling, a new password and "sign out everywhere" bite at once in every process.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final

import msgspec

from twinward.access.account_events import Via
from twinward.access.account_store import AccountRecord
from twinward.access.accounts import Accounts
from twinward.access.errors import SecondFactorNeeded, SignInEnded, SignInRefused, WrongRole
from twinward.access.interfaces import NODE, AccessContext, Principal, Standing
from twinward.access.passkeys import PASSKEY, Passkeys
from twinward.access.second_factors import SecondFactors
from twinward.access.sessions import BY_PASSWORD, BY_PROVIDER, BY_PROVIDER_STRONG, Session, Sessions
from twinward.access.sign_in_store import Kind, SignInStore
from twinward.core.errors import NotFound
from twinward.core.sentences import sentence
from twinward.core.vocabulary import Purpose, Role

SECOND_STEP_MS: Final = 5 * 60_000
"""How long a right password waits for its code."""


class _Step(msgspec.Struct, frozen=True):
    """What was right before a code: whose, by which generation of the account, and what it was."""

    account: str
    generation: int
    by: str = BY_PASSWORD


class SignIns:
    """Verbs of whoever signs in, and of whoever ends that.

    Args:
        accounts: who there is.
        sessions: where they are signed in.
        store: where a right password waits for its code.
        factors: the second factors.
        passkeys: what signs in without a password.
        needed_by: roles that may do nothing before they have set one up.
    """

    def __init__(
        self,
        accounts: Accounts,
        sessions: Sessions,
        store: SignInStore,
        factors: SecondFactors,
        passkeys: Passkeys,
        needed_by: Collection[Role] = (),
    ) -> None:
        self.accounts = accounts
        self.factors = factors
        self.passkeys = passkeys
        self._sessions = sessions
        self._store = store
        self._needed_by = frozenset(needed_by)

    @property
    def lifetime_ms(self) -> int:
        """How long a session lasts at most."""
        return self._sessions.lifetime_ms

    # ---- Signing in ------------------------------------------------------------------------------------------------

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
            SecondFactorNeeded: right, and ``by_code`` goes on.
            WrongRole: right, but not one of the roles.
            Unavailable: the log cannot be written, so nobody signs in.
        """
        record = self.accounts.by_password(account_id, password, via=via, roles=roles)
        if record.totp:
            raise self._code_needed(record, BY_PASSWORD)
        return self._signed_in(record, BY_PASSWORD, via, origin, ends)

    def by_provider(
        self,
        record: AccountRecord,
        *,
        strong: bool,
        via: Via = (),
        roles: Collection[Role] = frozenset(Role),
        origin: str = "",
        instead_of: str = "",
    ) -> str:
        """A session id for whom the hospital's provider vouches, as ``by_password``. ``strong``: by two factors.

        ``instead_of``: the session, by its name, that is confirmed by this and ends. Who has an app here is asked for
        its code where the provider asked for one factor alone.

        Raises:
            SecondFactorNeeded, WrongRole, Unavailable: as ``by_password``.
        """
        if not self.accounts.lent.roles_of(record) & frozenset(roles):
            self.accounts.events.refused(record, "another role's account", via)
            raise WrongRole
        if record.totp and not strong:
            raise self._code_needed(record, BY_PROVIDER)
        session_id = self._signed_in(record, BY_PROVIDER_STRONG if strong else BY_PROVIDER, via, origin, "")
        if instead_of:
            self._sessions.end_named(record.id, instead_of)
        return session_id

    def waits(self, waiting: str) -> str:
        """Whose code is waited for. Raises ``SignInRefused``: nobody's, or no longer."""
        return self._step(waiting)[0].id

    def by_code(self, waiting: str, code: str, *, via: Via = (), origin: str = "", ends: str = "") -> str:
        """Go on from a right password by a code: a session id, as ``by_password``.

        Raises:
            SignInRefused: nothing waits any more, the code is wrong, or it was used.
            Unavailable: the log cannot be written.
        """
        record, by = self._step(waiting)
        kind = self.factors.check(record.id, code, via=via)
        if self._store.take(Kind.SECOND_STEP, waiting) is None:
            raise SignInRefused
        return self._signed_in(record, f"{by} and {kind}", via, origin, ends)

    def by_passkey(
        self, answer: str, bound: str, *, via: Via = (), roles: Collection[Role] = frozenset(Role), **more: str
    ) -> tuple[str, str]:
        """Sign in by a passkey: whose it is, and a session id, as ``by_password``. ``more``: ``origin``, ``ends``.

        Raises:
            SignInRefused: the answer is not right, in whatever way.
            WrongRole: right, but not one of the roles.
        """
        record = self.passkeys.signed_in(answer, bound, f"signed in by {PASSKEY}", via=via, roles=roles)
        self.sign_out(more.get("ends", ""), via=via)
        return record.id, self._begin(record, PASSKEY, more.get("origin", ""))

    def confirm_by_passkey(self, session_id: str, answer: str, *, via: Via = ()) -> str:
        """As ``confirm``, by a passkey of the session's account; bound to the session's form token."""
        session = self.session(session_id)
        said, account = f"confirmed by {PASSKEY}", session.principal.id
        self.passkeys.signed_in(answer, session.csrf, said, account=account, via=via)
        return self._sessions.renew(session_id, PASSKEY)

    def confirm(self, session_id: str, password: str, code: str, *, via: Via = ()) -> str:
        """Prove anew who one is, within a session: another id for it, which is fresh.

        Raises:
            SignInRefused: the session has ended, or the password or the code is not right.
        """
        session = self.session(session_id)
        record = self.accounts.by_password(session.principal.id, password, via=via, roles=frozenset(Role))
        by = BY_PASSWORD
        if record.passkeys and not record.totp:
            self.accounts.events.refused(record, "beside a passkey a password confirms nothing", via)
            raise SignInRefused
        if record.totp:
            by = f"{BY_PASSWORD} and {self.factors.check(record.id, code, via=via)}"
        self.accounts.events.signed_in(record.principal(), via, f"confirmed by {by}")
        return self._sessions.renew(session_id, by)

    # ---- Staying so ------------------------------------------------------------------------------------------------

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
        alone = not record.totp and signed.by not in (PASSKEY, BY_PROVIDER_STRONG)
        must_enrol = alone and not self._needed_by.isdisjoint(self.accounts.lent.roles_of(record))
        roles = self.accounts.lent.roles_of(record)
        shown = self._sessions.shown(kept, signed, record.principal(), must_enrol=must_enrol, roles=roles)
        if alone and record.passkeys:  # beside a passkey a password signs in, and confirms nothing
            return replace(shown, fresh=False)
        return shown

    def sign_out(self, session_id: str, *, via: Via = ()) -> None:
        """End a session. One that is unknown, or an empty id, is none."""
        signed = self._sessions.end(session_id) if session_id else None
        record = None if signed is None else self.accounts.find(signed.account)
        if record is not None:
            self.accounts.events.signed_out(record.principal(), via)

    def change_password(self, session: Session, present: str, new: str, *, via: Via = (), origin: str = "") -> str:
        """Let somebody change their own password; every session ends, and the id of one that goes on is returned.

        A password is no code: what goes on is no fresher than ``session``, and ends when that would have.

        Raises:
            SignInRefused: the present password is not right.
            BadInput: the new one is the same, or weak.
        """
        record = self.accounts.change_password(session.principal, present, new, via=via)
        return self._begin(record, session.by, origin, after=session)

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
                sentence("{account} has no session {name}", account=record.id, name=name[:16]),
                hint="`twinward account sessions` prints an account's",
            )
        self.accounts.events.changed(record, f"session {name} signed out", by)
        self._sessions.end_named(record.id, name)

    def end_every(self, record: AccountRecord, said: str, via: Via = ()) -> None:
        """End an account's sessions, and sign-ins that wait for a code, also where it cannot be logged.

        Raises:
            Unavailable: it was not logged.
        """
        for kind in (Kind.SESSION, Kind.SECOND_STEP):
            self._store.delete(self._store.of(kind, record.id))
        self.accounts.events.changed(record, said, AccessContext(NODE, Purpose.COMPLIANCE, detail=tuple(via)))

    # ---- Inside ----------------------------------------------------------------------------------------------------

    def _code_needed(self, record: AccountRecord, by: str) -> SecondFactorNeeded:
        step = msgspec.json.encode(_Step(record.id, record.generation, by))
        until_ms = self.accounts.now_ms() + SECOND_STEP_MS
        return SecondFactorNeeded(self._store.put(Kind.SECOND_STEP, record.id, step, until_ms))

    def _step(self, waiting: str) -> tuple[AccountRecord, str]:
        """The account that waits for a code, as it is now, and what was right. Raises ``SignInRefused``."""
        kept = self._store.find(Kind.SECOND_STEP, waiting)
        if kept is None:
            raise SignInRefused
        step = msgspec.json.decode(kept.value, type=_Step)
        record = self.accounts.find(step.account)
        if record is None or record.fault(Standing(step.generation), self.accounts.now_ms()):
            raise SignInRefused
        return record, step.by

    def _signed_in(self, record: AccountRecord, by: str, via: Via, origin: str, ends: str) -> str:
        said = "the password was right" if by == BY_PASSWORD else f"signed in by {by}"
        self.accounts.events.signed_in(record.principal(), via, said)
        self.accounts.note_use(record.id, 0)
        self.sign_out(ends, via=via)
        return self._begin(record, by, origin)

    def _begin(
        self, record: AccountRecord, by: str = BY_PASSWORD, origin: str = "", *, after: Session | None = None
    ) -> str:
        must_change = self.accounts.must_change_password(record)
        return self._sessions.begin(
            record.id, record.generation, by=by, origin=origin, must_change=must_change, after=after
        )


def own(principal: Principal, via: Via) -> AccessContext:
    """Somebody at their own account."""
    return AccessContext(principal, Purpose.COMPLIANCE, detail=tuple(via))
