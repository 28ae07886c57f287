"""Whose privacy the studies of this domain spend, as the ledger names it, and what is reserved of it.

By itself, because a node needs these and nothing that studies compute with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

COHORT: Final = "monitored-stays"
"""Every monitored stay of a hospital."""


@dataclass(frozen=True, slots=True)
class ReservedPrivacy:
    """A reservation as it stands on the ledger.

    Attributes:
        number: the ledger's, from 1.
        study: the fingerprint of the protocol it pays for, 32 bytes.
        cohort: ``name_id`` of whose privacy is spent.
        hospitals: ``name_id`` of each hospital that is charged.
        micros: what each is charged, in millionths of 1/sigma^2.
        live: whether it is reserved and not settled yet.
        committed: whether it was settled as the price of a model, which may be registered under it.
        holder: the account that reserved it, which alone settles it.
    """

    number: int
    study: bytes
    cohort: bytes
    hospitals: frozenset[bytes]
    micros: int
    live: bool
    committed: bool = False
    holder: str = ""


@dataclass(frozen=True, slots=True)
class BudgetSignature:
    """What a hospital signed of its own budget: its witness's BLS key (48 bytes) and the signature (96)."""

    public_key: bytes
    signature: bytes
