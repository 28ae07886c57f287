"""An account as JSON for those who manage accounts: never a secret, nor what one was hashed to."""

from __future__ import annotations

from typing import Any

from twinward.access.account_record import DAY_MS, AccountRecord
from twinward.access.accounts import Accounts
from twinward.core.clock import iso


def account_json(accounts: Accounts, record: AccountRecord) -> dict[str, Any]:
    """One account: what it may be used for, its tokens, and on which days they were last used."""
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
        "unit": record.unit,
        "disabled": record.disabled,
        "password": password if record.password else None,
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
        "sessions_here": accounts.sessions_of(record.id),
    }
