"""Accounts, sessions and lent roles as those see them who manage them: never a secret, nor what one was hashed to."""

from __future__ import annotations

from typing import Any

from twinward.access.account_store import DAY_MS, AccountRecord, DelegationRecord
from twinward.access.accounts import Accounts
from twinward.access.second_factors import MOST_WRONG
from twinward.access.sessions import Session
from twinward.core.clock import iso


def account_json(accounts: Accounts, record: AccountRecord) -> dict[str, Any]:
    """One account for those who manage accounts: what it is good for, its tokens, on which days they were last used.

    Never a secret, nor what one was hashed to.
    """
    used = accounts.used()
    now_ms = accounts.now_ms()

    def day(token: int) -> str | None:
        found = used.get((record.id, token))
        return None if found is None else iso(found * DAY_MS)[:10]

    expires_at_ms = accounts.password_expires_at_ms(record)
    password = {
        "since": iso(record.password_at_ms),
        "expires": None if expires_at_ms is None else iso(expires_at_ms),
        "must_change": record.must_change,
        "last_used": day(0),
    }
    return {
        "account": record.id,
        "role": record.role.value,
        "name": record.name,
        "unit": record.principal().units_said,
        "twin": record.twin,
        "disabled": record.disabled,
        "enabled_by_one": record.first_yes,
        "password": password if record.password else None,
        "second_factor": bool(record.totp),
        "codes_held": bool(record.totp) and record.wrong_codes >= MOST_WRONG,
        "recovery_codes_left": len(record.recovery),
        "passkeys": [{"id": one.id, "name": one.name, "made": iso(one.made_at_ms)} for one in record.passkeys],
        "client_keys": client_keys_json(record),
        "certificate_bound": record.certificate_bound,
        "certificates": [
            {"thumbprint": one.thumbprint, "subject": one.subject, "expires": iso(one.expires_at_ms)}
            for one in record.certificates
        ],
        "identities": [one.model_dump() for one in record.identities],
        "links_by_one": [{"subject": who.subject, "by": by} for who, by in record.proposed_links],
        "delegations": [delegation_json(one, now_ms) for one in record.delegations],
        "tokens": [
            {
                "number": one.number,
                "made": iso(one.made_at_ms),
                "expires": None if one.expires_at_ms is None else iso(one.expires_at_ms),
                "state": one.fault(now_ms) or "good",
                "last_used": day(one.number),
            }
            for one in record.tokens
        ],
    }


def client_keys_json(record: AccountRecord) -> list[dict[str, str]]:
    """An account's client keys: which there are."""
    return [{"kid": one.kid, "alg": one.alg, "made": iso(one.made_at_ms)} for one in record.client_keys]


def delegation_json(one: DelegationRecord, now_ms: int) -> dict[str, Any]:
    """A delegation for those whom it concerns."""
    return {
        "number": one.number,
        "by": one.by,
        "role": one.role.value,
        "units": list(one.units),
        "from": iso(one.from_ms),
        "until": iso(one.until_ms),
        "reason": one.reason,
        "state": one.fault(now_ms) or "in force",
    }


def session_json(session: Session) -> dict[str, Any]:
    """One session for those who manage accounts. Its id is not kept, so it is not here."""
    return {
        "session": session.name,
        "begun": iso(session.begun_ms),
        "used": iso(session.used_ms),
        "ends": iso(session.expires_at_ms),
        "by": session.by,
        "from": session.origin,
        "must_change": session.must_change,
    }
