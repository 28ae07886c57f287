"""What live twins stand on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from twinward.access.interfaces import AccessControl, PermitVerifier
from twinward.core.clock import Clock
from twinward.core.vocabulary import TwinId
from twinward.live.alerts.webhook import Webhook
from twinward.live.storage.database import LiveDatabase
from twinward.vault.keys.keyring import Keyring

Subjects = Callable[[Collection[str]], Mapping[str, TwinId]]


@dataclass(frozen=True, slots=True)
class LiveParts:
    """A hospital's parts that live twins use.

    Attributes:
        database: where everything is kept.
        keyring: the twins' keys.
        access, verifier: what decides, and what knows its permits.
        subjects: the twins of patients' references.
        clock: the node's.
        webhook: who is told of alerts; None where nobody is.
    """

    database: LiveDatabase
    keyring: Keyring
    access: AccessControl
    verifier: PermitVerifier
    subjects: Subjects
    clock: Clock
    webhook: Webhook | None = None
