"""The page of what vendors asked, what studies spent, and which models are registered: the read-model, as rows."""

from __future__ import annotations

from typing import Any, Final

from twinward.console.viewer import decimal, gettext, message, minute
from twinward.node import Node
from twinward.node.registered_models import registered_models
from twinward.overview import external_use
from twinward.overview.external_use import MICROS, EpsilonAllowance, PrivacyBudget
from twinward_contracts.bindings.model_registry import Model


def rows(node: Node) -> dict[str, Any]:
    """Everything on the page, from the chain. Raises ``Conflict``, ``Unavailable``."""
    queries = external_use.query_budgets(node)
    cards = external_use.model_cards(node)
    return {
        "epoch": queries.epoch,
        "vendors": queries.vendors,
        "counts": [_count(one) for one in external_use.epsilon_allowances(node)],
        "privacy": [_privacy(one) for one in external_use.privacy_budgets(node)],
        "models": [_model(one, cards.get(one.card_hash)) for one in registered_models(node)],
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
        "cap": decimal(one.cap_micros / MICROS, 3),
        "spent": decimal(one.spent_micros / MICROS, 3),
        "reserved": decimal(one.reserved_micros / MICROS, 3),
        "share": one.used_per_cent,
    }


def _model(model: Model, card: dict[str, Any] | None) -> dict[str, Any]:
    """A study is named, and its card told, where this node keeps the card that the chain knows by its hash."""
    return {
        "number": model.number,
        "study": str(card["study"]) if card else f"{model.study_id.hex()[:16]}…",
        "card": _card(card) if card else [],
        "at": minute(model.registered_at_s * 1000),
        "epsilon": decimal(model.epsilon_micros / MICROS, 3),
        "delta": f"{model.delta_e12 / 1e12:.0e}",
        "hash": model.model_hash.hex(),
    }


_TOLD: Final = (
    (message("Detector"), ("detector",)),
    (message("Hospitals"), ("hospitals",)),
    (message("Trained"), ("trained_at",)),
    (message("What is protected"), ("privacy", "unit")),
    (message("Noise"), ("privacy", "mechanism")),
    (message("Rounds"), ("privacy", "rounds")),
    (message("Measured on"), ("evaluation", "benchmark")),
    (message("Stays in the test"), ("evaluation", "test_stays")),
    (message("Learns from"), ("inputs",)),
    (message("Limits"), ("limits",)),
)


def _card(card: dict[str, Any]) -> list[tuple[str, str]]:
    """What a card says first, in an officer's words; what it lacks is left out."""
    found = []
    for name, path in _TOLD:
        value: Any = card
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, list):
            value = "; ".join(str(one) for one in value)
        if isinstance(value, str | int | float):
            found.append((gettext(name), str(value)))
    return found
