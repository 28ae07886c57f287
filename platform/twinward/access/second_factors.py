"""The second factor beside a password: codes of an app, and recovery codes for whoever lost it.

The app's secret is sealed under a key of the tenant's (TE1; associated data ``"twinward/totp/1" 0x00 ‖ account``) and
kept in the account's record, which is held against the log. A code is used once, in whatever process: its step is
noted before anybody is signed in by it (RFC 6238 section 5.2). A recovery code has 80 random bits, so that its SHA-256
is safe to keep; it is taken out of the record by its use.
"""

from __future__ import annotations

import base64
import secrets
from typing import Final

from twinward.access import totp
from twinward.access.account_events import Via
from twinward.access.account_store import AccountRecord, digest_of
from twinward.access.accounts import Accounts
from twinward.access.errors import SignInRefused
from twinward.access.interfaces import NODE, AccessContext
from twinward.access.sign_in_store import Kind, SignInStore
from twinward.audit.interfaces import EventKeys
from twinward.core.errors import BadInput, StoreAltered
from twinward.core.sentences import sentence
from twinward.core.vocabulary import Purpose
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import OpenError
from twinward_crypto.kdf import derive, length_prefixed

RECOVERY_CODES: Final = 10
MOST_WRONG: Final = 10
"""Wrong codes in a row, each after a right password, until codes are held. A recovery code, a passkey, another password
or a new app is the way out."""
ENROLMENT_MS: Final = 15 * 60_000
"""How long a secret waits for its first code."""
CODE: Final = "code"
RECOVERY_CODE: Final = "recovery code"
_RECOVERY_BYTES: Final = 10
_KEY_LABEL: Final = b"twinward/totp/1"
_AAD: Final = b"twinward/totp/1\x00"


class SecondFactors:
    """Setting them up, checking them, taking them away.

    Args:
        accounts: whose they are.
        store: where secrets wait for their first code, and where used codes are noted.
        keys: the tenant's, to seal under.
        hospital: as apps show it.
    """

    def __init__(self, accounts: Accounts, store: SignInStore, keys: EventKeys, hospital: str = "") -> None:
        self._accounts = accounts
        self._store = store
        self._keys = keys
        self._hospital = hospital

    def begin(self, account: str) -> tuple[str, str, str]:
        """A new secret for an app, which counts once ``finish`` has seen a code of it.

        Returns:
            what ``finish`` is told; the secret as it is typed; the URI that the picture holds.
        """
        record = self._accounts.record(account)
        secret = totp.new_secret()
        until_ms = self._accounts.now_ms() + ENROLMENT_MS
        waiting = self._store.put(Kind.ENROLMENT, record.id, secret, until_ms)
        return waiting, totp.written(secret), totp.uri(secret, record.id, self._hospital)

    def again(self, account: str, waiting: str) -> tuple[str, str]:
        """The secret and URI of an enrolment that waits, to show them again. Raises ``BadInput``."""
        secret = self._waiting(account, waiting)
        return totp.written(secret), totp.uri(secret, account, self._hospital)

    def finish(self, account: str, waiting: str, code: str, by: AccessContext) -> tuple[str, ...]:
        """Keep a secret that ``begin`` made, in place of the one before, once its app shows the right code.

        Returns:
            the recovery codes, which are told this once.

        Raises:
            BadInput: nothing waits, or the code is not the app's.
            Unavailable: the change could not be logged.
        """
        secret = self._waiting(account, waiting)
        step = totp.matching_step(secret, code, self._accounts.now_ms())
        if step is None:
            raise BadInput("this is not the code that the app shows now", hint="look at the app, and at its clock")
        self._note(account, secret, step)
        codes = _new_codes()
        kept = {"totp": self._sealed(account, secret), "recovery": _digests(codes), "wrong_codes": 0}
        self._accounts.change(account, lambda one: one.model_copy(update=kept), "second factor set up", by)
        found = self._store.find(Kind.ENROLMENT, waiting)
        if found is not None:
            self._store.delete([found])
        return codes

    def new_codes(self, account: str, by: AccessContext) -> tuple[str, ...]:
        """Other recovery codes; those before are worthless. Raises ``BadInput`` where there is no second factor."""
        codes = _new_codes()

        def changed(record: AccountRecord) -> AccountRecord:
            if not record.totp:
                raise BadInput(sentence("{account} has no second factor", account=record.id), hint="set one up first")
            return record.model_copy(update={"recovery": _digests(codes)})

        self._accounts.change(account, changed, "new recovery codes", by)
        return codes

    def remove(self, account: str, by: AccessContext) -> AccountRecord:
        """Have a password be enough again; whoever is signed in is so no longer. Raises ``BadInput``: there is none."""

        def changed(record: AccountRecord) -> AccountRecord:
            if not record.totp:
                raise BadInput(sentence("{account} has no second factor", account=record.id))
            return record.ended(totp="", recovery=(), wrong_codes=0)

        return self._accounts.change(account, changed, "second factor removed", by)

    def check(self, account: str, code: str, *, via: Via = ()) -> str:
        """Which kind of code this is: ``CODE`` or ``RECOVERY_CODE``, used by now. Raises ``SignInRefused``, logged."""
        record = self._accounts.find(account)
        if record is not None and record.totp and not record.disabled:
            if self._used(record, code, via):
                return RECOVERY_CODE
            if record.wrong_codes >= MOST_WRONG:
                self._accounts.events.refused(record, "codes are held after too many wrong ones", via)
                raise SignInRefused
            secret = self._opened(record)
            step = totp.matching_step(secret, code, self._accounts.now_ms())
            if step is not None:
                if self._note(record.id, secret, step):
                    if record.wrong_codes:
                        self._accounts.noted(record.id, lambda one: one.model_copy(update={"wrong_codes": 0}))
                    return CODE
                self._accounts.events.refused(record, "a code that was used already", via)
                raise SignInRefused
            self._count_wrong(record, via)
        self._accounts.events.refused(record, "a wrong code", via)
        raise SignInRefused

    def _used(self, record: AccountRecord, code: str, via: Via) -> bool:
        """Take a recovery code out of the account, if it is one of its."""
        digest = digest_of(_plain(code)).hex()
        if digest not in record.recovery:
            return False

        def taken(now: AccountRecord) -> AccountRecord:
            if digest not in now.recovery:  # another process was faster
                raise SignInRefused
            left = tuple(one for one in now.recovery if one != digest)
            return now.model_copy(update={"recovery": left, "wrong_codes": 0})

        by = AccessContext(record.principal(), Purpose.COMPLIANCE, detail=tuple(via))
        self._accounts.change(record.id, taken, f"recovery code used, {len(record.recovery) - 1} left", by)
        return True

    def _count_wrong(self, record: AccountRecord, via: Via) -> None:
        """One more in a row; at ``MOST_WRONG`` the log says that codes are held, as somebody knows the password."""

        def counted(now: AccountRecord) -> AccountRecord:
            return now.model_copy(update={"wrong_codes": now.wrong_codes + 1})

        def said(now: AccountRecord) -> str:  # of several at once one is the last that counts
            held = f"codes held after {MOST_WRONG} wrong ones in a row: somebody knows the password"
            return held if now.wrong_codes == MOST_WRONG else ""

        by = AccessContext(NODE, Purpose.COMPLIANCE, detail=tuple(via))
        self._accounts.change(record.id, counted, said, by)

    def _note(self, account: str, secret: bytes, step: int) -> bool:
        """Whether the step was not used before."""
        until_ms = (step + totp.DRIFT_STEPS + 2) * totp.STEP_MS
        what = length_prefixed(b"totp", account.encode(), secret, step.to_bytes(8, "big"))
        return self._store.use_once(what, until_ms)

    def _waiting(self, account: str, waiting: str) -> bytes:
        kept = self._store.find(Kind.ENROLMENT, waiting)
        if kept is None or kept.owner != self._store.owner(account):
            raise BadInput("this took too long, or was finished already", hint="begin again")
        return kept.value

    def _key(self) -> bytes:
        return derive(self._keys.audit_key(None), _KEY_LABEL, b"")

    def _sealed(self, account: str, secret: bytes) -> str:
        return base64.b64encode(seal(self._key(), secret, _aad(account))).decode()

    def _opened(self, record: AccountRecord) -> bytes:
        try:
            return open_sealed(self._key(), base64.b64decode(record.totp), _aad(record.id))
        except (OpenError, ValueError):
            raise StoreAltered(
                sentence("the second factor of {account} does not open", account=record.id),
                hint="`twinward account unenrol` takes it away",
            ) from None


def _aad(account: str) -> bytes:
    return _AAD + length_prefixed(account.encode())


def _new_codes() -> tuple[str, ...]:
    made = []
    for _ in range(RECOVERY_CODES):
        text = base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower()
        made.append("-".join(text[start : start + 4] for start in range(0, len(text), 4)))
    return tuple(made)


def _digests(codes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(digest_of(_plain(one)).hex() for one in codes)


def _plain(code: str) -> str:
    """A recovery code without what people type between its letters."""
    return "".join(one for one in code.lower() if one.isalnum())
