"""Who plays in the demo: accounts, with secrets that are drawn anew in every run and shown once."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from twinward.access.interfaces import Principal
from twinward.core.vocabulary import Role
from twinward.node import Node

OFFICER = Principal("officer", Role.OFFICER, "Olga Officer", "data office")
CLINICIAN = Principal("dr-lee", Role.CLINICIAN, "Dr. Lee", "cardiology")
VENDOR = Principal("acme", Role.VENDOR, "Acme Diagnostics")
RESEARCHER = Principal("marie", Role.RESEARCHER, "Marie Research", "consortium study office")


@dataclass(frozen=True, slots=True)
class DemoAccounts:
    """The secrets of the demo's accounts."""

    officer_password: str = field(repr=False)
    clinician_token: str = field(repr=False)
    vendor_token: str = field(repr=False)


def open_accounts(node: Node) -> DemoAccounts:
    """Give everybody an account."""
    password = "-".join(secrets.token_hex(2) for _ in range(4))
    node.accounts.add_person(OFFICER, password)
    node.accounts.add_person(RESEARCHER, secrets.token_urlsafe(24))  # kept by nobody: studies are run on this machine
    return DemoAccounts(
        officer_password=password,
        clinician_token=node.accounts.add_system(CLINICIAN),
        vendor_token=node.accounts.add_system(VENDOR),
    )
