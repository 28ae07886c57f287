"""The desk where accounts are managed: leave is asked first, then the change is logged and made.

An account does it, if policy lets it (data officers, by the policy that ships); or, without one, whoever can run
commands on the node's machine, who can read every file of the node anyway. The log says which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from twinward.access.account_events import Via
from twinward.access.account_store import (
    MOST_TOKENS,
    AccountRecord,
    ClientKeyRecord,
    IdentityRecord,
)
from twinward.access.accounts import CLIENT_ROLES, Accounts, require_client_role
from twinward.access.errors import AnotherOfficers, LastOfficer
from twinward.access.interfaces import NODE, UNITS_JOINED, AccessContext, AccessControl, AccessRequest, Principal
from twinward.access.second_officer import let_in, linked, unlinked
from twinward.access.sessions import Session
from twinward.access.sign_ins import SignIns
from twinward.core.errors import BadInput, Conflict, NotFound
from twinward.core.sentences import sentence
from twinward.core.vocabulary import Action, Role, TwinId

MOST_UNITS = 20
"""Of one account."""
ONCE_AGREED = "once another officer agrees"


class AccountDesk:
    """Verbs on accounts, in somebody's name.

    Each raises ``AccessDenied`` where policy says no (the refusal is logged), ``NotFound`` where there is no such
    account, and ``Unavailable`` where the change could not be logged: then nothing was changed.
    """

    def __init__(
        self,
        accounts: Accounts,
        access: AccessControl,
        sign_ins: Callable[[], SignIns],
        is_patient: Callable[[TwinId], bool],
        *,
        two_let_in: bool = False,
    ) -> None:
        self.accounts = accounts
        self._two_let_in = two_let_in
        self._is_patient = is_patient
        self._access = access
        self._sign_ins = sign_ins

    def all(self, by: AccessContext) -> list[AccountRecord]:
        """Every account. Looking is an event of its own."""
        self._look(by, (("list", "accounts"),))
        return self.accounts.records()

    def one(self, account: str, by: AccessContext) -> AccountRecord:
        """One account. Looking is an event of its own."""
        self._look(by, (("account", account),))
        return self.accounts.record(account)

    def disable(self, account: str, by: AccessContext, *, last_officer: bool = False) -> AccountRecord:
        """Let nobody sign in with it, and end at once whoever has. Raises ``LastOfficer`` unless told to."""

        self.require_leave(account, by)
        check = None if last_officer else self._require_other_officer
        return self.accounts.change(account, _disabled, "disabled", by, check)

    def enable(self, account: str, by: AccessContext) -> AccountRecord:
        """Let it be used again. What was revoked stays revoked, and what was ended stays ended.

        An account that waits since the hospital's sign-in made it takes two officers, where the settings say so: the
        first is noted, and it stays disabled; their yes is none any more once they are no officer, or somebody disables
        it. Raises ``Conflict`` where one is to be both.
        """
        officers: set[str] = set()

        def look(_: AccountRecord, others: Iterator[AccountRecord]) -> None:
            for one in others:
                officers.update(_officers(one))

        def said(record: AccountRecord) -> str:
            return "enabled" if not record.disabled else f"to be enabled, {ONCE_AGREED}"

        officer = self._one_of_two(by)
        self.require_leave(account, by)
        return self.accounts.change(account, lambda one: let_in(one, officer, officers), said, by, look)

    def end_sessions(self, account: str, by: AccessContext) -> AccountRecord:
        """End every session, stream and export; its password and tokens stay good."""
        return self._change(account, lambda one: one.ended(), "sessions ended", by)

    def sessions(self, account: str, by: AccessContext) -> list[Session]:
        """An account's sessions, the newest first. Looking is an event of its own."""
        self._look(by, (("account", account[:64]), ("list", "sessions")))
        return self._sign_ins().sessions(account)

    def sign_out(self, account: str, session: str, by: AccessContext) -> None:
        """End one session, by what it is called in the list. Raises ``NotFound``."""
        self.require_leave(account, by)
        self._sign_ins().end_session(account, session, by)

    def new_token(self, account: str, by: AccessContext, *, expires_in_days: int | None = None) -> tuple[int, str]:
        """Another bearer token beside those there are: its number, and itself, shown this once."""
        expires_at_ms = self.accounts.in_days(expires_in_days)
        self._require_no_other_officers(account, by, "new-token")
        made: list[str] = []

        def with_token(record: AccountRecord) -> AccountRecord:
            if len(record.tokens) >= MOST_TOKENS:
                raise Conflict(
                    sentence(
                        "{account} had {most} tokens, the most an account has", account=record.id, most=MOST_TOKENS
                    ),
                    hint="make a new one",
                )
            token, kept = self.accounts.new_token(record.id, len(record.tokens) + 1, expires_at_ms)
            made.append(token)
            return record.model_copy(update={"tokens": (*record.tokens, kept)})

        record = self._change(account, with_token, "new token", by)
        return record.tokens[-1].number, made[-1]

    def revoke_token(self, account: str, number: int, by: AccessContext) -> AccountRecord:
        """Make a token worthless, and end whatever runs by it. Raises ``NotFound``."""

        def revoked(record: AccountRecord) -> AccountRecord:
            if number not in {one.number for one in record.tokens}:
                raise NotFound(
                    sentence("{account} has no token {number}", account=record.id, number=number),
                    hint="`twinward account show` prints its tokens",
                )
            kept = (one.model_copy(update={"revoked": True}) if one.number == number else one for one in record.tokens)
            return record.model_copy(update={"tokens": tuple(kept)})

        return self._change(account, revoked, f"token {number} revoked", by)

    def add_client_keys(self, account: str, keys: tuple[ClientKeyRecord, ...], by: AccessContext) -> AccountRecord:
        """Let a system or vendor sign by these keys too. Raises ``BadInput``: a name twice, too many, another role."""
        from twinward.access.client_keys import require_distinct

        def with_keys(record: AccountRecord) -> AccountRecord:
            require_client_role(record.role)
            every = (*record.client_keys, *keys)
            require_distinct(every)
            return record.model_copy(update={"client_keys": every})

        names = ", ".join(f"{one.kid} ({one.alg})" for one in keys)
        return self._change(account, with_keys, f"new client keys {names}", by)

    def remove_client_key(self, account: str, kid: str, by: AccessContext) -> AccountRecord:
        """Take a key away, and end at once every token, session and stream of the account. Raises ``NotFound``."""

        def without(record: AccountRecord) -> AccountRecord:
            kept = tuple(one for one in record.client_keys if one.kid != kid)
            if len(kept) == len(record.client_keys):
                raise NotFound(
                    sentence("{account} has no such client key", account=record.id),
                    hint="`twinward account client-keys ID` prints them",
                )
            return record.ended(client_keys=kept)

        return self._change(account, without, f"client key {kid[:128]} removed", by)

    def link(self, account: str, identity: IdentityRecord, by: AccessContext) -> AccountRecord:
        """Let a person of the hospital's OpenID provider sign in with an account. Raises ``Conflict``: linked already.

        Whoever it is signs in as the account: no officer links another officer's. Where two officers let somebody in,
        they link somebody to another account than their own: the first is noted, and nobody gets in by it.
        """
        self._require_no_other_officers(account, by, "link")
        if not (identity.subject.isascii() and identity.subject.isprintable() and 0 < len(identity.subject) <= 255):
            raise BadInput("a subject is what the provider calls a person: 1 to 255 ASCII characters")
        officers: set[str] = set()

        def free(record: AccountRecord, others: Iterator[AccountRecord]) -> None:
            for one in (record, *others):
                if identity in one.identities:
                    hint = "unlink it first, if that was wrong"
                    raise Conflict("this person is linked to an account already", hint=hint)
                officers.update(_officers(one))

        def changed(record: AccountRecord) -> AccountRecord:
            require_person(record.role)
            return linked(record, identity, officer, officers)

        def said(record: AccountRecord) -> str:
            whom = "a person of the hospital's sign-in"
            return f"linked to {whom}" if identity in record.identities else f"to be linked to {whom}, {ONCE_AGREED}"

        officer = "" if by.principal.id == account else self._one_of_two(by)
        self.require_leave(account, by)
        return self.accounts.change(account, changed, said, by, free)

    def unlink(self, account: str, subject: str, by: AccessContext) -> AccountRecord:
        """Let a person of the provider not sign in with it any more; every session ends. Raises ``NotFound``."""
        said = "unlinked from a person of the hospital's sign-in"
        return self._change(account, lambda one: unlinked(one, subject), said, by)

    def set_units(self, account: str, units: tuple[str, ...], by: AccessContext) -> AccountRecord:
        """Say to which units somebody belongs, wards say; whoever is signed in is so no longer. Raises ``BadInput``."""
        bad = [one for one in units if not one or one != one.strip() or len(one) > 64 or not one.isprintable()]
        if bad or len(units) > MOST_UNITS or any(UNITS_JOINED.strip() in one for one in units):
            raise BadInput(
                sentence("units are at most {most} names of 1 to 64 characters", most=MOST_UNITS),
                hint='such as "ward 3"',
            )
        first, *rest = dict.fromkeys(units) or ("",)
        said = f"units {UNITS_JOINED.join((first, *rest))}" if first else "no unit"
        return self._change(account, lambda one: one.ended(unit=first, more_units=tuple(rest)), said, by)

    def reset_password(self, account: str, password: str, by: AccessContext) -> AccountRecord:
        """Set a password that somebody else chose: good for signing in once, to choose another."""

        def reset(record: AccountRecord) -> AccountRecord:
            return record.ended(**kept, must_change=True)

        # Before the password is looked at, which takes a while.
        self._require_no_other_officers(account, by, "reset-password")
        kept = self.accounts.with_password(account, password)
        return self._change(account, reset, "password reset", by)

    def expire_password(self, account: str, by: AccessContext) -> AccountRecord:
        """Have a new password chosen at the next sign-in; whoever is signed in is so no longer."""

        def expired(record: AccountRecord) -> AccountRecord:
            if not record.password:
                raise BadInput(sentence("{account} has no password", account=record.id), hint="revoke its tokens")
            return record.ended(must_change=True)

        return self._change(account, expired, "password expired", by)

    def add_patient(self, account: str, name: str, password: str, twin: TwinId, by: AccessContext) -> None:
        """Add a patient's account that is tied to a record. Raises as ``tie``, and as ``Accounts.add_person``."""
        self._require_tie(account, twin, by)
        self.accounts.add_person(Principal(account, Role.PATIENT, name, own_twin=twin), password, by=by)

    def tie(self, account: str, twin: TwinId, by: AccessContext) -> AccountRecord:
        """Tie a patient's account to the patient's record: an officer has seen who that is.

        Raises:
            BadInput: nobody is named who vouches for it, or the account is no patient's.
            NotFound: there is no such account or patient.
            Conflict: it is tied already.
        """
        self._require_tie(account, twin, by)

        def tied(record: AccountRecord) -> AccountRecord:
            if record.role is not Role.PATIENT:
                raise BadInput(
                    sentence("{account} is a {role}'s account", account=record.id, role=sentence(record.role.value)),
                    hint="add one for the patient",
                )
            if record.twin is not None:
                raise Conflict(
                    sentence("{account} is tied to a record already", account=record.id),
                    hint="untie it first, if that was wrong",
                )
            return record.ended(twin=twin)

        return self.accounts.change(account, tied, "tied to this patient", by, twin=twin)

    def untie(self, account: str, by: AccessContext) -> AccountRecord:
        """Tie a patient's account to nobody: it sees nothing from here on, in every process. Raises ``Conflict``."""
        self.require_leave(account, by)
        twin = self.accounts.record(account).twin

        def untied(record: AccountRecord) -> AccountRecord:
            if record.twin is None or record.twin != twin:
                raise Conflict(
                    sentence("{account} is tied to no record", account=record.id),
                    hint="`twinward account show` says to which",
                )
            return record.ended(twin=None)

        return self.accounts.change(account, untied, "untied from this patient", by, twin=twin)

    def _require_tie(self, account: str, twin: TwinId, by: AccessContext) -> None:
        """Leave first, so that nobody without it learns which twins there are."""
        if by.principal == NODE:
            raise BadInput("a record is tied to an account by an officer, who has seen whose it is", hint="say --as")
        self.require_leave(account, by)
        if not self._is_patient(twin):
            raise NotFound("there is no such patient's record", hint="`twinward twin list` prints the ids of all")

    def _look(self, by: AccessContext, what: Via) -> None:
        if by.principal != NODE:
            self._access.decide(self._request(by, (*what, *by.detail)))

    def _request(self, by: AccessContext, detail: Via) -> AccessRequest:
        return replace(by.request(Action.ACCOUNT), detail=tuple(detail))

    def _change(
        self,
        account: str,
        changed: Callable[[AccountRecord], AccountRecord],
        said: str | Callable[[AccountRecord], str],
        by: AccessContext,
    ) -> AccountRecord:
        self.require_leave(account, by)
        return self.accounts.change(account, changed, said, by)

    def require_leave(self, account: str, by: AccessContext) -> None:
        """Raise ``AccessDenied``, logged, where policy does not let somebody change accounts."""
        request = self._request(by, (("account", account[:64]), *by.detail))
        if by.principal != NODE:
            self._access.require(request)  # what is permitted is logged as the change it is

    def _one_of_two(self, by: AccessContext) -> str:
        """The officer who needs another one's yes; empty where one is enough."""
        return by.principal.id if self._two_let_in and by.principal != NODE else ""

    def _require_no_other_officers(self, account: str, by: AccessContext, verb: str) -> None:
        """Raise ``AnotherOfficers`` where an officer could sign in as another one, and approve in that one's name."""
        self.require_leave(account, by)
        if by.principal == NODE or by.principal.id == account:
            return
        if self.accounts.record(account).role is Role.OFFICER:
            raise AnotherOfficers(account, verb)

    def _require_other_officer(self, record: AccountRecord, others: Iterator[AccountRecord]) -> None:
        if record.role is not Role.OFFICER or record.disabled:
            return
        now_ms = self.accounts.now_ms()
        if not any(one.role is Role.OFFICER and one.usable(now_ms) for one in others):
            raise LastOfficer(
                sentence("{account} is the last officer who can sign in", account=record.id),
                hint="add another one first, or say --last-officer",
            )


def _officers(record: AccountRecord) -> set[str]:
    return {record.id} if record.role is Role.OFFICER and not record.disabled else set()


def _disabled(record: AccountRecord) -> AccountRecord:
    return record.ended(disabled=True, first_yes="", proposed_links=())


def require_person(role: Role) -> None:
    """Raise ``BadInput`` for accounts of systems and vendors, which sign."""
    if role in CLIENT_ROLES or role is Role.PEER_HOSPITAL:
        raise BadInput(
            sentence("a {role} signs in otherwise", role=sentence(role.value)),
            hint="people are linked to a person's account",
        )
