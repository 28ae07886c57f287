"""Who may sign in: people with a password, systems and vendors with bearer tokens; and who still is who they were.

Tokens are 256 random bits, so a plain SHA-256 of one is safe to store; passwords are stretched (``passwords``). A
wrong name costs as much time as a wrong secret. Whatever takes leave away (disabling, revoking, a new password, ending
sessions) bites at the next decision in every process, for sessions, streams and exports that run: each principal
carries by what it signed in (``Standing``), and ``require_standing`` holds that against the account as it is now.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from twinward.access import passwords
from twinward.access.account_events import AT_THE_MACHINE, AccountEvents, Via
from twinward.access.account_store import (
    DAY_MS,
    AccountRecord,
    AccountStore,
    Check,
    ClientKeyRecord,
    IdentityRecord,
    TokenRecord,
    digest_of,
)
from twinward.access.errors import AccountDisabled, SignInEnded, SignInRefused, TokenRefused, WrongRole
from twinward.access.interfaces import AccessContext, Principal
from twinward.access.lent_roles import LentRoles
from twinward.audit.interfaces import AuditTrail, EventKeys, HeadTrail
from twinward.audit.models import Head
from twinward.core.clock import Clock
from twinward.core.errors import BadInput, NotFound, Unavailable
from twinward.core.network_settings import INSIDE
from twinward.core.sentences import sentence
from twinward.core.vocabulary import Purpose, Role, TwinId
from twinward_ledger.storage import Database

PASSWORD_MIN_LENGTH = passwords.MIN_LENGTH
TOKEN_PREFIX = "twk"  # noqa: S105 - the public marker secret scanners look for, not a secret
CLIENT_ROLES = frozenset({Role.SYSTEM, Role.VENDOR})
_ACCOUNT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:@-]{0,63}")
_GENERIC_WORDS = ("twinward", "administrator", "hospital")


@dataclass(frozen=True, slots=True)
class PasswordRules:
    """What a hospital asks of passwords beyond what every one must be. ``days`` 0: they do not expire."""

    days: int = 0
    about: tuple[str, ...] = ()
    """Words everybody knows, such as the hospital's name: they are no secret in a password."""


class NobodysKeys:
    """Keys of accounts that belong to no node: what they vouch for is nobody's secret."""

    def audit_key(self, twin: TwinId | None) -> bytes:  # noqa: ARG002 - of the protocol
        """No secret."""
        return bytes(32)

    def tag(self, label: str, value: str) -> bytes:
        """No secret."""
        return hashlib.sha256(f"{label} {value}".encode()).digest()[:16]


class Accounts:
    """The node's own accounts, on SQLite.

    Args:
        place: a file of their own, or a database that is already open.
        clock: the node's time.
        trail: where sign-ins and changes are logged before they take effect; None only where there is no log.
        keys: whose tenant key vouches for the rows, and where the log says how far they have come; both None only
            where there is no node.
        heads: see ``keys``.
        rules: of passwords.
        adopts: whether rows that nothing vouches for may be an earlier release's.
    """

    def __init__(
        self,
        place: Path | Database,
        clock: Clock,
        *,
        trail: AuditTrail | None = None,
        keys: EventKeys | None = None,
        heads: HeadTrail | None = None,
        rules: PasswordRules | None = None,
        adopts: bool = True,
    ) -> None:
        self._clock = clock
        self._rules = rules or PasswordRules()
        self._noted: set[tuple[str, int, int]] = set()
        self._decoy = passwords.decoy()
        self._store = AccountStore(place, keys or NobodysKeys(), heads, adopts=adopts)
        self.events = AccountEvents(trail, clock)
        self.lent = LentRoles(self._store.find, clock)
        if self._store.taken_over:
            with suppress(Unavailable):  # whoever asks for an account is told why
                self.events.taken_over(self._store.all())

    # ---- Signing in ------------------------------------------------------------------------------------------------

    def by_password(self, account_id: str, password: str, *, via: Via = (), roles: Collection[Role]) -> AccountRecord:
        """Whose password this is. Nobody is signed in by it yet, and what succeeds is not logged yet.

        Raises:
            SignInRefused: a wrong name or password, or a disabled account; without saying which.
            WrongRole: right, but not one of the roles.
        """
        record = self._store.find(account_id)
        right = passwords.matches(password, record.password if record is not None and record.password else self._decoy)
        if record is None or not right or record.disabled or not record.password:
            disabled = right and record is not None and record.disabled
            self.events.refused(record, "the account is disabled" if disabled else "wrong name or password", via)
            raise SignInRefused
        if not self.lent.roles_of(record) & frozenset(roles):
            self.events.refused(record, "another role's account", via)
            raise WrongRole
        return record

    def by_token(self, token: str) -> Principal:
        """The principal a bearer token belongs to.

        Raises:
            SignInRefused: it is nobody's.
            TokenRefused: it was good once. To be logged by ``token_refused``, and answered as any other.
        """
        prefix, _, rest = token.partition("_")
        account_id, _, secret = rest.partition("_")
        record = self._store.find(account_id)
        digest, found = digest_of(secret).hex(), None
        for one in record.tokens if record is not None else ():
            if hmac.compare_digest(one.sha256, digest):
                found = one
        if record is None or found is None or prefix != TOKEN_PREFIX:
            raise SignInRefused
        fault = "of a disabled account" if record.disabled else found.fault(self._clock.now_ms())
        if fault:
            raise TokenRefused(record.id, found.number, fault)
        self.note_use(record.id, found.number)
        return record.principal(found.number)

    def braked(self, account_id: str, *, via: Via = ()) -> None:
        """Log that an attempt was not even looked at: too many had been made."""
        self.events.refused(self._store.find(account_id), "too many attempts: the brake holds", via)

    def token_refused(self, refusal: TokenRefused, via: Via) -> None:
        """Log that somebody came with a token that is good no longer."""
        record = self._store.find(refusal.account)
        which = f"token {refusal.number}" if refusal.number else "access token"
        self.events.refused(record, f"{which} {refusal.fault}", via)

    def require_standing(self, principal: Principal) -> None:
        """Raise ``SignInEnded`` unless what somebody signed in by is still good. One read, whoever changed it."""
        if principal.standing is None:
            return
        record = self._store.find(principal.id)
        lent = principal.standing.delegation
        if record is None or (record.role is not principal.role and not lent):
            raise SignInRefused
        if fault := record.fault(principal.standing, self._clock.now_ms()):
            raise SignInEnded(fault)
        if lent and principal.role not in {one.role for one in self.lent.to(record) if one.number == lent}:
            raise SignInEnded("the role is lent no longer")

    # ---- Looking ---------------------------------------------------------------------------------------------------

    def named(self, account_id: str) -> Principal:
        """The principal of an account, whoever asks, here on the node: for its own command line.

        Raises:
            NotFound: there is no such account.
            AccountDisabled: it may not be used.
        """
        record = self.record(account_id)
        if record.disabled:
            said = sentence("the account {account} is disabled", account=account_id)
            raise AccountDisabled(said, hint="`twinward account enable` undoes it")
        return replace(record.principal(), network=INSIDE)

    def record(self, account_id: str) -> AccountRecord:
        """An account as it is kept. Raises ``NotFound``."""
        record = self._store.find(account_id)
        if record is None:
            raise NotFound(
                sentence("there is no account {account!r}", account=account_id),
                hint="`twinward node add-person` and `add-system` make accounts",
            )
        return record

    def records(self) -> list[AccountRecord]:
        """Every account, by id."""
        return self._store.all()

    def verify(self, recorded: Head | None = None) -> int:
        """Hold what is kept against its chain and the log; how many changes there were. Raises ``StoreAltered``."""
        return self._store.verify(recorded)

    def role_of(self, account_id: str) -> Role | None:
        """The role of an account; None where there is none."""
        record = self._store.find(account_id)
        return None if record is None else record.role

    def of_role(self, role: Role) -> list[Principal]:
        """Every account of a role, by id."""
        return [one.principal() for one in self._store.all() if one.role is role]

    def used(self) -> dict[tuple[str, int], int]:
        """When each token (0: the password) was last used: its day, counted from the epoch. Never finer."""
        return self._store.used()

    def password_expires_at_ms(self, record: AccountRecord) -> int | None:
        """When an account's password has to be changed; None for never."""
        return record.password_expires_at_ms(self._rules.days)

    def must_change_password(self, record: AccountRecord) -> bool:
        """Whether another password has to be chosen before anything else."""
        expires_at_ms = self.password_expires_at_ms(record)
        return record.must_change or (expires_at_ms is not None and self._clock.now_ms() >= expires_at_ms)

    def find(self, account_id: str) -> AccountRecord | None:
        """An account as it is kept; None where there is none."""
        return self._store.find(account_id)

    def now_ms(self) -> int:
        """The node's time."""
        return self._clock.now_ms()

    def in_days(self, days: int | None) -> int | None:
        """The moment in so many days; None for never."""
        return None if days is None else self._clock.now_ms() + days * DAY_MS

    def visit(self, account_id: str, size: int) -> tuple[int, int]:
        """Note that an officer has seen the log up to ``size``; return (size, at_ms) of the visit before."""
        return self._store.visit(account_id, size, self._clock.now_ms())

    # ---- Changing: each an event in the log before it takes effect ---------------------------------------------------

    def add_person(self, principal: Principal, password: str, *, by: AccessContext = AT_THE_MACHINE) -> None:
        """Add somebody who signs in with a password. Raises ``Conflict`` if the id is taken, ``BadInput`` if weak."""
        record = self._new(principal)
        self._require_strong(password, record)
        said = "added, with a password" if record.twin is None else "added, with a password, tied to this patient"
        self._add(record.model_copy(update=self._kept(password)), said, by)

    def add_system(
        self,
        principal: Principal,
        *,
        expires_at_ms: int | None = None,
        by: AccessContext = AT_THE_MACHINE,
    ) -> str:
        """Add a system or vendor; return its bearer token, which is shown this once and kept only as a hash."""
        token, kept = self.new_token(principal.id, 1, expires_at_ms)
        self._add(self._new(principal).model_copy(update={"tokens": (kept,)}), "added, with token 1", by)
        return token

    def add_client(
        self, principal: Principal, keys: tuple[ClientKeyRecord, ...], *, by: AccessContext = AT_THE_MACHINE
    ) -> AccountRecord:
        """Add a system or vendor that signs what it gets tokens by. Raises ``Conflict`` if the id is taken."""
        require_client_role(principal.role)
        record = self._new(principal).model_copy(update={"client_keys": keys})
        self._add(record, f"added, with {_named(keys)}", by)
        return record

    def add_linked(
        self, principal: Principal, identity: IdentityRecord, *, waits: bool, by: AccessContext = AT_THE_MACHINE
    ) -> AccountRecord:
        """Add somebody of an OpenID provider; ``waits``: disabled until an officer enables it. Raises ``Conflict``."""
        record = self._new(principal).model_copy(update={"identities": (identity,), "disabled": waits, "waits": waits})
        self._add(record, "added, by the hospital's sign-in" + (", disabled until enabled" if waits else ""), by)
        return record

    def change(
        self,
        account_id: str,
        changed: Callable[[AccountRecord], AccountRecord],
        said: str | Callable[[AccountRecord], str],
        by: AccessContext,
        check: Check | None = None,
        *,
        twin: TwinId | None = None,
    ) -> AccountRecord:
        """Change an account, as it is at that moment, once an event says so. Raises ``NotFound``, ``Unavailable``.

        ``said``: what the event says, or what finds it for the changed account; nothing to say is no event. ``check``
        sees it and all other accounts before that, and raises where it must not be. ``twin``: whose record the change
        is about, too.
        """

        def about(record: AccountRecord) -> TwinId | None:
            others = record.role is Role.PATIENT and by.principal.id != record.id
            return twin or (record.twin if others else None)  # patients are told who changed their way in

        def announce(record: AccountRecord) -> None:
            if words := said if isinstance(said, str) else said(record):
                self.events.changed(record, words, by, about(record))

        return self._store.change(account_id, changed, announce, check)

    def noted(self, account_id: str, changed: Callable[[AccountRecord], AccountRecord]) -> AccountRecord:
        """Count something in an account, of which another event tells. Raises ``NotFound``."""
        return self._store.change(account_id, changed, lambda _: None)

    def signed_in_by(
        self, account_id: str, changed: Callable[[AccountRecord], AccountRecord], said: str, via: Via
    ) -> AccountRecord:
        """Sign somebody in by what changes with its use, a counter say: one event, and the change with it.

        Raises ``Unavailable`` where it cannot be logged, and whatever ``changed`` raises.
        """
        return self._store.change(
            account_id, changed, lambda record: self.events.signed_in(record.principal(), via, said), None
        )

    def with_password(self, account_id: str, password: str) -> dict[str, object]:
        """What is kept of a new password of an account. Raises ``BadInput`` if it is weak."""
        self._require_strong(password, self.record(account_id))
        return self._kept(password)

    def new_token(self, account_id: str, number: int, expires_at_ms: int | None) -> tuple[str, TokenRecord]:
        """A token, and what is kept of it."""
        now_ms = self._clock.now_ms()
        if expires_at_ms is not None and expires_at_ms <= now_ms:
            raise BadInput("a token that has expired already is of no use", hint="give a later time")
        secret = secrets.token_urlsafe(32)
        kept = TokenRecord(
            number=number, sha256=digest_of(secret).hex(), made_at_ms=now_ms, expires_at_ms=expires_at_ms
        )
        return f"{TOKEN_PREFIX}_{account_id}_{secret}", kept

    def change_password(self, principal: Principal, present: str, new: str, *, via: Via = ()) -> AccountRecord:
        """Let somebody change their own password; every session ends.

        Raises:
            SignInRefused: the present password is not right.
            BadInput: the new one is the same, or weak.
        """
        record = self.record(principal.id)
        if not record.password or not passwords.matches(present, record.password):
            self.events.refused(record, "wrong present password while changing it", via)
            raise SignInRefused
        if passwords.normalised(present) == passwords.normalised(new):
            raise BadInput("this is the password there is already", hint="choose another one")
        kept = self.with_password(record.id, new)
        said, by = "password changed", AccessContext(principal, Purpose.COMPLIANCE, detail=tuple(via))
        return self.change(record.id, lambda one: one.ended(**kept, must_change=False), said, by)

    def note_use(self, account_id: str, token: int) -> None:
        """Note that a token (0: the password) was used, to the day; decides nothing."""
        use = (account_id, token, self._clock.now_ms() // DAY_MS)
        if use not in self._noted and self._store.note_use(*use):
            self._noted = {one for one in self._noted if one[2] == use[2]} | {use}

    def close(self) -> None:
        """Write down what is still to be said, and give back the file."""
        self.events.close()
        self._store.close()

    # ---- Inside ----------------------------------------------------------------------------------------------------

    def _new(self, principal: Principal) -> AccountRecord:
        if principal.role is Role.NODE:
            raise BadInput("no account can act as the node itself", hint="a ward system has the role system")
        if not _ACCOUNT_ID.fullmatch(principal.id):
            raise BadInput("an account id is 1 to 64 letters, digits, '.', ':', '@' or '-'")
        return AccountRecord(
            id=principal.id, role=principal.role, name=principal.name, unit=principal.unit, twin=principal.own_twin
        )

    def _kept(self, password: str) -> dict[str, object]:
        return {"password": passwords.stretch(password), "password_at_ms": self._clock.now_ms(), "wrong_codes": 0}

    def _require_strong(self, password: str, record: AccountRecord) -> None:
        about = (record.id, record.name, record.unit, record.role.value, *self._rules.about, *_GENERIC_WORDS)
        passwords.require_strong(password, about)

    def _add(self, record: AccountRecord, said: str, by: AccessContext) -> None:
        self._store.add(record, lambda: self.events.changed(record, said, by, record.twin))


def require_client_role(role: Role) -> None:
    """Raise ``BadInput`` for accounts that do not sign assertions."""
    if role not in CLIENT_ROLES:
        raise BadInput(
            sentence("a {role} signs in otherwise", role=sentence(role.value)),
            hint=sentence("client keys are for {roles}", roles=" and ".join(sorted(CLIENT_ROLES))),
        )


def _named(keys: tuple[ClientKeyRecord, ...]) -> str:
    return ", ".join(f"client key {one.kid} ({one.alg})" for one in keys)
