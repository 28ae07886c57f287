"""A node's accounts: what they are wired to."""

from __future__ import annotations

from twinward.access.accounts import Accounts, PasswordRules
from twinward.audit.interfaces import AuditTrail, EventKeys, HeadTrail
from twinward.core.clock import Clock
from twinward.core.config import Settings

FILE = "accounts.db"


def accounts_of(settings: Settings, clock: Clock, trail: AuditTrail, keys: EventKeys, heads: HeadTrail) -> Accounts:
    """The accounts in a home: vouched for by its tenant's key, their events and how far they have come in its log."""
    rules = PasswordRules(settings.password_days, (settings.hospital, settings.tenant))
    # A home that noted its log's key was made by a release that vouches for accounts from the first: none came before.
    adopts = not settings.log_key
    return Accounts(settings.home / FILE, clock, trail=trail, keys=keys, heads=heads, rules=rules, adopts=adopts)
