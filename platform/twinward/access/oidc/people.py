"""Whose account a person of the provider's is: by issuer and subject, which somebody linked; never by an e-mail.

Where groups have roles, the role of a linked member of staff follows the groups at each sign-in; who is in none of them
is not let in. Somebody unknown is refused, or has an account made that waits for an officer, or one that is admitted.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from typing import Literal

from twinward.access.account_events import Via
from twinward.access.account_store import AccountRecord, IdentityRecord
from twinward.access.accounts import Accounts
from twinward.access.errors import LastOfficer, SignInRefused
from twinward.access.interfaces import NODE, AccessContext, Principal
from twinward.access.oidc.relying_party import Proven
from twinward.core.errors import Conflict
from twinward.core.vocabulary import Purpose, Role
from twinward_crypto.kdf import length_prefixed

STAFF = frozenset({Role.OFFICER, Role.CLINICIAN, Role.RESEARCHER, Role.OPERATOR})
"""Roles that groups may stand for: a patient's account is an officer's word, systems sign."""
Unknown = Literal["refuse", "wait", "admit"]


class ProvidersPeople:
    """Accounts of the provider's people.

    Args:
        accounts: the node's.
        roles: which role a group has, the first that fits; empty where groups say nothing here.
        unknown: what becomes of somebody whom nobody linked.
    """

    def __init__(self, accounts: Accounts, roles: Mapping[str, Role], unknown: Unknown = "refuse") -> None:
        self._accounts = accounts
        self._roles = dict(roles)
        self._unknown = unknown

    def account_of(self, proven: Proven, via: Via) -> AccountRecord:
        """The account, with the role that it has by now. Nobody is signed in by it yet.

        Raises:
            SignInRefused: it is nobody's, may not be used, or no group has a role here. Logged, with the reason.
            Unavailable: a change could not be logged.
        """
        identity = IdentityRecord(issuer=proven.issuer, subject=proven.subject)
        record = self.linked(identity) or self._made(proven, identity, via)
        if record.disabled:
            raise self._refused(record, "the account is disabled, or waits for an officer", via)
        if not self._roles or record.role not in STAFF:
            return record
        role = self._role_of(proven)
        if role is None:
            raise self._refused(record, "in no group of the hospital's sign-in that has a role here", via)
        return record if role is record.role else self._moved(record, role, identity, via)

    def linked(self, identity: IdentityRecord) -> AccountRecord | None:
        """Whose account a person of the provider has; None for nobody's."""
        return next((one for one in self._accounts.records() if identity in one.identities), None)

    def _role_of(self, proven: Proven) -> Role | None:
        return next((role for group, role in self._roles.items() if group in proven.groups), None)

    def _made(self, proven: Proven, identity: IdentityRecord, via: Via) -> AccountRecord:
        role = self._role_of(proven)
        if self._unknown == "refuse" or role is None:
            why = "linked to no account" if self._unknown == "refuse" else "unknown, and in no group that has a role"
            raise self._refused(None, f"somebody of the hospital's sign-in: {why}", via)
        waits = self._unknown == "wait"
        name = account_id_of(identity)
        by = AccessContext(NODE, Purpose.COMPLIANCE, detail=tuple(via))
        try:
            return self._accounts.add_linked(Principal(name, role, proven.name), identity, waits=waits, by=by)
        except Conflict:  # another process made it just now, or somebody unlinked it
            record = self.linked(identity)
            if record is None:
                raise self._refused(self._accounts.find(name), "the link was taken away", via) from None
            return record

    def _moved(self, record: AccountRecord, role: Role, identity: IdentityRecord, via: Via) -> AccountRecord:
        def others(found: AccountRecord, rest: Iterator[AccountRecord]) -> None:
            now_ms = self._accounts.now_ms()
            if found.role is Role.OFFICER and not any(one.role is Role.OFFICER and one.usable(now_ms) for one in rest):
                raise LastOfficer("the last officer would be none", hint="add another one first")

        by = AccessContext(NODE, Purpose.COMPLIANCE, detail=tuple(via))

        def moved(one: AccountRecord) -> AccountRecord:
            if identity not in one.identities:
                raise self._refused(one, "the link was taken away", via)
            if role is not Role.OFFICER:
                return one.ended(role=role)
            # Officers set passwords and make tokens of other people, and no officer holds another one's.
            tokens = tuple(each.model_copy(update={"revoked": True}) for each in one.tokens)
            only: dict[str, object] = {"password": "", "must_change": False, "passkeys": (), "identities": (identity,)}
            return one.ended(role=role, tokens=tokens, **only)

        said = f"role {record.role.value} becomes {role.value}, by groups of the hospital's sign-in"
        if role is Role.OFFICER:
            said += ", which is the only way in from here on"
        try:
            return self._accounts.change(record.id, moved, said, by, others)
        except LastOfficer:
            raise self._refused(record, "by their groups the last officer would be none", via) from None

    def _refused(self, record: AccountRecord | None, why: str, via: Via) -> SignInRefused:
        self._accounts.events.refused(record, why, via)
        return SignInRefused()


def account_id_of(identity: IdentityRecord) -> str:
    """What an account is called that is made for somebody unknown: nothing that the provider could choose."""
    what = length_prefixed(b"twinward/oidc-account/1", identity.issuer.encode(), identity.subject.encode())
    return "sso-" + base64.b32encode(hashlib.sha256(what).digest())[:20].decode().lower()
