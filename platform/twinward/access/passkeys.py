"""Passkeys (WebAuthn level 3): a key that a device keeps for this node's address, opened by its owner's finger or PIN.

For which address is a setting, never what a request says: a page elsewhere that passes answers on has another origin,
and its answer is refused here. The user is verified by the device each time, so that a passkey is two factors.

Order of checks of an answer: its size and form; the challenge is ours, for this form, and fresh; the account and its
key are known; signature, origin, address, presence, verification and counter (``webauthn``); the account may be used;
the challenge was not answered before; the role. All failures but the last are one ``SignInRefused``; the log is told
which it was.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from twinward.access.account_events import Via
from twinward.access.account_store import AccountRecord, PasskeyRecord
from twinward.access.accounts import Accounts
from twinward.access.challenges import LIFETIME_MS, Challenges
from twinward.access.errors import SignInRefused, WrongRole
from twinward.access.interfaces import AccessContext
from twinward.audit.interfaces import EventKeys
from twinward.core.errors import BadInput, Conflict, NotFound
from twinward.core.sentences import sentence
from twinward.core.small_json import decode
from twinward.core.visible_text import visible_line
from twinward.core.vocabulary import Role

PASSKEY: Final = "passkey"
MOST_PASSKEYS: Final = 20
NAME_CHARS: Final = 60
MAX_ANSWER_CHARS: Final = 16_384
_USER_LABEL: Final = "passkey-user"


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """For whom devices keep passkeys: ``id`` is a host, or a domain above it; ``origins`` are where the console is."""

    id: str
    origins: tuple[str, ...]
    name: str = "Twinward"


class Passkeys:
    """Making them, signing in by them, taking them away.

    Args:
        accounts: whose they are.
        challenges: what devices sign.
        keys: the tenant's: devices are told a blind tag of the account, which names nobody.
        party: for whom they are.
    """

    def __init__(self, accounts: Accounts, challenges: Challenges, keys: EventKeys, party: RelyingParty) -> None:
        self._accounts = accounts
        self._challenges = challenges
        self._keys = keys
        self.party = party

    def creation_options(self, account: str, bound: str) -> str:
        """What a browser is told to make one with, as JSON. ``bound``: the token of the form that sends it back."""
        from webauthn import generate_registration_options, options_to_json
        from webauthn.helpers.structs import (
            AuthenticatorSelectionCriteria,
            ResidentKeyRequirement,
            UserVerificationRequirement,
        )

        record = self._accounts.record(account)
        chosen = AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        )
        return options_to_json(
            generate_registration_options(
                rp_id=self.party.id,
                rp_name=self.party.name,
                user_id=self._tag(account),
                user_name=account,
                user_display_name=record.name or account,
                challenge=self._challenges.new(bound),
                timeout=LIFETIME_MS,
                authenticator_selection=chosen,
                exclude_credentials=_descriptors(record.passkeys),
            )
        )

    def request_options(self, bound: str, account: str = "") -> str:
        """What a browser is told to sign in with, as JSON: by any passkey, or by those of one account."""
        from webauthn import generate_authentication_options, options_to_json
        from webauthn.helpers.structs import UserVerificationRequirement

        allowed = _descriptors(self._accounts.record(account).passkeys) if account else []
        return options_to_json(
            generate_authentication_options(
                rp_id=self.party.id,
                challenge=self._challenges.new(bound),
                timeout=LIFETIME_MS,
                allow_credentials=allowed,
                user_verification=UserVerificationRequirement.REQUIRED,
            )
        )

    def add(self, account: str, name: str, answer: str, bound: str, by: AccessContext) -> AccountRecord:
        """Keep a passkey that a device has made.

        Raises:
            BadInput: the answer is not to this form, or not what a device says.
            Conflict: it is there already, or there are too many.
            Unavailable: the change could not be logged.
        """
        from webauthn import verify_registration_response
        from webauthn.helpers.exceptions import WebAuthnException

        said, challenge = self._read(answer, bound)
        try:
            made = verify_registration_response(
                credential=said,
                expected_challenge=challenge,
                expected_rp_id=self.party.id,
                expected_origin=list(self.party.origins),
                require_user_verification=True,
            )
        except (WebAuthnException, ValueError, LookupError, TypeError, AttributeError) as error:
            raise BadInput("the device's answer is not right", hint="try again on this page") from error
        if not self._challenges.spend(challenge):
            raise BadInput("this form was sent already", hint="open the page again")
        kept = PasskeyRecord(
            id=_text(made.credential_id),
            public_key=_text(made.credential_public_key),
            sign_count=made.sign_count,
            name=visible_line(name.strip())[:NAME_CHARS] or "passkey",
            made_at_ms=self._accounts.now_ms(),
        )

        def added(record: AccountRecord) -> AccountRecord:
            if len(record.passkeys) >= MOST_PASSKEYS:
                raise Conflict(
                    sentence(
                        "{account} has {most} passkeys, the most an account has", account=record.id, most=MOST_PASSKEYS
                    ),
                    hint="remove one",
                )
            if any(one.id == kept.id for one in record.passkeys):
                raise Conflict("this passkey is there already")
            return record.model_copy(update={"passkeys": (*record.passkeys, kept)})

        return self._accounts.change(account, added, "passkey added", by)

    def remove(self, account: str, passkey: str, by: AccessContext) -> AccountRecord:
        """Take one away, by its id; whoever is signed in is so no longer. Raises ``NotFound``."""

        def removed(record: AccountRecord) -> AccountRecord:
            left = tuple(one for one in record.passkeys if one.id != passkey)
            if len(left) == len(record.passkeys):
                raise NotFound(
                    sentence("{account} has no such passkey", account=record.id),
                    hint="`twinward account show` prints an account's",
                )
            return record.ended(passkeys=left)

        return self._accounts.change(account, removed, "passkey removed", by)

    def signed_in(
        self,
        answer: str,
        bound: str,
        said: str,
        *,
        account: str = "",
        via: Via = (),
        roles: Collection[Role] = frozenset(Role),
    ) -> AccountRecord:
        """Whose passkey has answered; the sign-in is in the log, and the passkey's counter is kept.

        Args:
            answer: as the browser sent it.
            bound: the token of the form that it came by.
            said: what the log says of it.
            account: whose it must be; empty for anybody's.
            via: facts for the event.
            roles: who may sign in here.

        Raises:
            SignInRefused: it is not right; without saying why.
            WrongRole: it is, but the account's is none of the roles.
            Unavailable: the log cannot be written, so nobody signs in.
        """
        from webauthn import verify_authentication_response
        from webauthn.helpers.exceptions import WebAuthnException

        record: AccountRecord | None = None
        try:
            spoken, challenge = self._read(answer, bound)
            record, kept = self._whose(spoken)
            if account and record.id != account:
                raise BadInput("another account's")
            count = verify_authentication_response(
                credential=spoken,
                expected_challenge=challenge,
                expected_rp_id=self.party.id,
                expected_origin=list(self.party.origins),
                credential_public_key=_bytes(kept.public_key),
                credential_current_sign_count=kept.sign_count,
                require_user_verification=True,
            ).new_sign_count
            if record.disabled:
                raise BadInput("the account is disabled")
            if not self._challenges.spend(challenge):
                raise BadInput("an answer that was given already")
        except (BadInput, WebAuthnException, ValueError, LookupError, TypeError, AttributeError) as error:
            why = str(error) if isinstance(error, BadInput) else type(error).__name__
            self._accounts.events.refused(record, f"passkey: {why}", via)
            raise SignInRefused from None
        if not self._accounts.lent.roles_of(record) & frozenset(roles):
            self._accounts.events.refused(record, "another role's account", via)
            raise WrongRole
        return self._accounts.signed_in_by(record.id, lambda now: _counted(now, kept.id, count), said, via)

    def _read(self, answer: str, bound: str) -> tuple[dict[str, Any], bytes]:
        """A browser's answer, and the challenge it says it signed, which is ours. Raises ``BadInput``."""
        if len(answer) > MAX_ANSWER_CHARS:
            raise BadInput("the answer is too long")
        spoken = decode(answer.encode("utf-8", "surrogatepass"))
        response = spoken.get("response") if isinstance(spoken, dict) else None
        client = response.get("clientDataJSON") if isinstance(response, dict) else None
        if not isinstance(client, str):
            raise BadInput("the answer is not a device's")
        try:
            told = json.loads(_bytes(client))
            challenge = _bytes(told["challenge"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise BadInput("the answer is not a device's") from None
        if not self._challenges.is_good(challenge, bound):
            raise BadInput("this form is too old, or not yours", hint="open the page again")
        return spoken, challenge

    def _whose(self, spoken: dict[str, Any]) -> tuple[AccountRecord, PasskeyRecord]:
        handle = _bytes(str(spoken["response"].get("userHandle") or ""))
        for record in self._accounts.records():
            if hmac.compare_digest(self._tag(record.id), handle):
                for one in record.passkeys:
                    if one.id == spoken.get("id"):
                        return record, one
        raise BadInput("unknown")

    def _tag(self, account: str) -> bytes:
        return self._keys.tag(_USER_LABEL, account)


def _counted(record: AccountRecord, passkey: str, count: int) -> AccountRecord:
    """The account with one passkey's counter moved on. Raises ``SignInRefused``: it is gone, or was copied."""
    kept = []
    found = False
    for one in record.passkeys:
        if one.id == passkey:
            if (count or one.sign_count) and count <= one.sign_count:
                raise SignInRefused  # another process has seen this answer, or a later one
            found = True
            kept.append(one.model_copy(update={"sign_count": count}))
        else:
            kept.append(one)
    if record.disabled or not found:
        raise SignInRefused
    return record.model_copy(update={"passkeys": tuple(kept)})


def _descriptors(passkeys: Sequence[PasskeyRecord]) -> list[Any]:
    from webauthn.helpers.structs import PublicKeyCredentialDescriptor

    return [PublicKeyCredentialDescriptor(id=_bytes(one.id)) for one in passkeys]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    """Raises ``ValueError``."""
    return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
