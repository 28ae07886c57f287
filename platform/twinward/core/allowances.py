"""Under which names the ledger keeps allowances that are no vendor's number of queries."""

from __future__ import annotations


def hospital_epsilon(tenant: str) -> str:
    """What all vendors' counts together may spend of epsilon at a hospital, in thousandths an epoch."""
    return f"feasibility:{tenant}"


def vendor_epsilon(tenant: str, vendor: str) -> str:
    """What one vendor's counts may spend of epsilon at a hospital, in thousandths an epoch."""
    return f"feasibility:{tenant}:{vendor}"
