"""The page of what vendors asked, what studies spent, and which models are registered: the read-model, as rows."""

from __future__ import annotations

from typing import Any

from twinward.core.clock import iso
from twinward.node import Node
from twinward.overview import external_use
from twinward.overview.external_use import MICROS, EpsilonAllowance, PrivacyBudget
from twinward_contracts.bindings.model_registry import Model


def rows(node: Node) -> dict[str, Any]:
    """Everything on the page, from the chain. Raises ``Conflict``, ``Unavailable``."""
    queries = external_use.query_budgets(node)
    studies = external_use.studies_by_card(node)
    return {
        "epoch": queries.epoch,
        "vendors": queries.vendors,
        "counts": [_count(one) for one in external_use.epsilon_allowances(node)],
        "privacy": [_privacy(one) for one in external_use.privacy_budgets(node)],
        "models": [_model(one, studies) for one in external_use.registered_models(node)],
    }


def _count(one: EpsilonAllowance) -> dict[str, Any]:
    spent = one.granted_millis - one.left_millis
    return {
        "name": one.name,
        "granted": f"{one.granted_millis / 1000:g}",
        "spent": f"{spent / 1000:g}",
        "left": f"{one.left_millis / 1000:g}",
        "share": round(100 * spent / one.granted_millis),
    }


def _privacy(one: PrivacyBudget) -> dict[str, Any]:
    return {
        "name": one.hospital,
        "cap": f"{one.cap_micros / MICROS:.3f}",
        "spent": f"{one.spent_micros / MICROS:.3f}",
        "reserved": f"{one.reserved_micros / MICROS:.3f}",
        "share": one.used_per_cent,
    }


def _model(model: Model, studies: dict[bytes, str]) -> dict[str, Any]:
    """A study is named where this node keeps the model's card."""
    return {
        "number": model.number,
        "study": studies.get(model.card_hash) or f"{model.study_id.hex()[:16]}…",
        "at": iso(model.registered_at_s * 1000)[:16].replace("T", " "),
        "epsilon": f"{model.epsilon_micros / MICROS:.3f}",
        "delta": f"{model.delta_e12 / 1e12:.0e}",
        "hash": model.model_hash.hex(),
    }
