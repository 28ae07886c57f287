"""The page of what vendors asked, what studies spent, and which models are registered: the read-model, as rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import Request

from twinward.console.tables import Column, Table
from twinward.console.viewer import decimal, gettext, message, minute
from twinward.node import Node
from twinward.node.registered_models import registered_models
from twinward.overview import external_use
from twinward.overview.external_use import MICROS, EpsilonAllowance, PrivacyBudget, VendorQueries
from twinward_contracts.bindings.model_registry import Model


def rows(node: Node, request: Request) -> dict[str, Any]:
    """Everything on the page, from the chain. Raises ``Conflict``, ``Unavailable``."""
    queries = external_use.query_budgets(node)
    cards = external_use.model_cards(node)
    return {
        "epoch": queries.epoch,
        "vendors": _VENDORS.arranged(request, queries.vendors),
        "counts": _COUNTS.arranged(request, external_use.epsilon_allowances(node)).shown(_count),
        "privacy": _PRIVACY.arranged(request, external_use.privacy_budgets(node)).shown(_privacy),
        "models": _MODELS.arranged(request, registered_models(node)).shown(lambda one: _model(one, cards)),
    }


_VENDORS: Final = Table[VendorQueries](
    "vendors",
    (
        Column(message("Vendor"), "vendor", lambda one: one.name),
        Column(message("Granted"), "granted", lambda one: one.granted, "num", falls=True),
        Column(message("Spent"), "spent", lambda one: one.spent, "num", falls=True),
        Column(message("Left"), "left", lambda one: one.left, "num", falls=True),
        Column(message("Used"), "used", lambda one: one.spent / one.granted if one.granted else None, falls=True),
    ),
    several=True,
)
_COUNTS: Final = Table[EpsilonAllowance](
    "counts",
    (
        Column(message("Who"), "who", lambda one: one.name),
        Column(message("Granted"), "granted", lambda one: one.granted_millis, "num", falls=True),
        Column(message("Spent"), "spent", lambda one: one.granted_millis - one.left_millis, "num", falls=True),
        Column(message("Left"), "left", lambda one: one.left_millis, "num", falls=True),
        Column(message("Used"), "used", lambda one: 1 - one.left_millis / one.granted_millis, falls=True),
    ),
    several=True,
)
_PRIVACY: Final = Table[PrivacyBudget](
    "privacy",
    (
        Column(message("Hospital"), "hospital", lambda one: one.hospital),
        Column(message("Cap"), "cap", lambda one: one.cap_micros, "num", falls=True),
        Column(message("Reserved"), "reserved", lambda one: one.reserved_micros, "num", falls=True),
        Column(message("Spent"), "spent", lambda one: one.spent_micros, "num", falls=True),
        Column(message("Used"), "used", lambda one: one.used_per_cent, falls=True),
    ),
    several=True,
)
_MODELS: Final = Table[Model](
    "models",
    (
        Column(message("No."), "number", lambda one: one.number, "num"),
        Column(
            message("Study")
        ),  # named by its card, which this node may lack: by number, a study's models stand together
        Column(message("Registered"), "registered", lambda one: one.registered_at_s, falls=True),
        Column("ε", "epsilon", lambda one: one.epsilon_micros, "num symbol", falls=True),
        Column("δ", "delta", lambda one: one.delta_e12, "num symbol", falls=True),
        Column(message("SHA-256 of the model")),
    ),
    several=True,
)


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


def _model(model: Model, cards: Mapping[bytes, dict[str, Any]]) -> dict[str, Any]:
    """A study is named, and its card told, where this node keeps the card that the chain knows by its hash."""
    card = cards.get(model.card_hash)
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
