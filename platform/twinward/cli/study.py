"""``twinward study``: registered models, what a protocol would cost, model cards held against the ledger."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.context import node_at
from twinward.cli.errors import errors_taught
from twinward.cli.input import read_input
from twinward.cli.output import HomeOption, JsonOption, say, show_json, show_table, table
from twinward.core.config import FILE_NAME, Settings
from twinward.core.errors import BadInput, Conflict, NotFound

if TYPE_CHECKING:
    from twinward.federation.privacy.accountant import PrivacyPlan
    from twinward.federation.study import StudyProtocol
    from twinward.node import Node
    from twinward_contracts.bindings.model_registry import Model


_STUDY_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_MICROS = 1_000_000


def models(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Every model on the ledger and the privacy it cost, newest first.

    Exit codes: 0, 3 no node in the home, 7 the chain does not answer.

    Example: twinward study models --json
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.core.clock import iso
        from twinward.overview.external_use import registered_models

        found = registered_models(node)
        if as_json:
            show_json({"models": [_model_json(node, model) for model in found]})
            return
        shown = table("#", "registered (UTC)", "epsilon", "delta", "model SHA-256")
        for model in found:
            when = iso(model.registered_at_s * 1000)[:16].replace("T", " ")
            privacy = f"{model.epsilon_micros / _MICROS:.3f}", f"{model.delta_e12 / 1e12:.0e}"
            shown.add_row(str(model.number), when, *privacy, model.model_hash.hex())
        show_table(shown)
        if not found:
            say("no model is registered")


def check(
    file: Annotated[Path, typer.Argument(help="A protocol: .toml or .json, the fields of StudyProtocol.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Can a study run as written, what would it cost every patient, and do the hospitals' budgets reach?

    Nothing is reserved. Without a node the budgets are left out. Exit codes: 0 it could run, 2 not a protocol, 6 a
    hospital's budget does not reach, 7 the chain does not answer.

    Example: twinward study check study.toml

    Example file: study_id = "sepsis-1"; hospitals = ["st-anna", "northgate", "lakeside"];
    detector = "lstm-autoencoder"; epsilon = 3.0; clip = 0.3; rounds = 40 (each on a line of its own)
    """
    with errors_taught(as_json=as_json):
        from twinward.federation.privacy.accountant import plan_for
        from twinward.federation.study import StudyProtocol

        study = StudyProtocol.parse(_fields(file))
        plan = plan_for(study)
        budgets: list[_Budget] | None = None
        if home is not None or (Settings.load().home / FILE_NAME).is_file():
            with node_at(home, as_json=as_json) as node:
                budgets = _budgets(node, study, plan)
        _show_check(study, plan, budgets, as_json=as_json)
        if budgets is not None and not all(one.reaches for one in budgets):
            raise typer.Exit(6)


def card(
    study: Annotated[str, typer.Argument(help="The study's id, as its protocol names it.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a model card kept here, once it and its model are what the ledger registered.

    Exit codes: 0, 2 not a study's id, 3 no such card, 4 the ledger does not know this card, or it was altered.

    Example: twinward study card demo-0198c4a2-1f0e
    """
    with node_at(home, as_json=as_json) as node:
        if not _STUDY_ID.fullmatch(study):
            raise BadInput("a study's id is lower-case letters, digits and dashes")
        folder = node.settings.home / "models"
        path = folder / f"{study}.card.json"
        if not path.is_file():
            raise NotFound(f"there is no card of {study} here", hint="`twinward study models` lists what is registered")
        content = read_input(path)
        model = _entry_of(node, study, content, folder / f"{study}.model")
        shown = json.loads(content)
        if as_json:
            show_json({"registered": _model_json(node, model), "card": shown})
            return
        say(json.dumps(shown, indent=2, ensure_ascii=False))
        say(f"this card is model {model.number} on the ledger")


@dataclass(frozen=True, slots=True)
class _Budget:
    """One hospital's privacy budget, in millionths of 1/σ²."""

    hospital: str
    left: int
    cost: int

    @property
    def reaches(self) -> bool:
        return self.left >= self.cost


def _model_json(node: Node, model: Model) -> dict[str, Any]:
    """One entry, and what the hospitals were charged for it: 0 for one taken over from an earlier contract."""
    reservation = node.consortium.models.reservation_of(model.number)
    paid = node.consortium.budgets.reservation(reservation).micros if reservation else 0
    return {
        "number": model.number,
        "reservation": reservation,
        "paid_micros": paid,
        "study_id_hash": model.study_id.hex(),
        "model_sha256": model.model_hash.hex(),
        "card_sha256": model.card_hash.hex(),
        "epsilon": model.epsilon_micros / _MICROS,
        "delta": model.delta_e12 / 1e12,
        "registered_at_s": model.registered_at_s,
    }


def _fields(path: Path) -> dict[str, Any]:
    raw = read_input(path)
    try:
        if path.suffix == ".toml":
            return tomllib.loads(raw.decode())
        found = json.loads(raw)
    except (ValueError, RecursionError):
        kind = "TOML" if path.suffix == ".toml" else "JSON"
        raise BadInput(f"{path} is not {kind}", hint="a protocol is a .toml or .json file") from None
    if not isinstance(found, dict):
        raise BadInput(f"{path} is not a JSON object")
    return found


def _budgets(node: Node, study: StudyProtocol, plan: PrivacyPlan) -> list[_Budget]:
    from twinward.overview.external_use import privacy_left

    left = privacy_left(node, study.hospitals)
    return [_Budget(name, left[name], plan.inverse_variance_micros) for name in study.hospitals]


def _show_check(study: StudyProtocol, plan: PrivacyPlan, budgets: list[_Budget] | None, *, as_json: bool) -> None:
    if as_json:
        shown = {"study": study.study_id, "fingerprint": study.fingerprint().hex(), "epsilon": plan.epsilon}
        rest = {"delta": plan.delta, "noise_multiplier": plan.noise_multiplier, "rounds": plan.rounds}
        cost = {"cost_micros": plan.inverse_variance_micros}
        found = (
            None
            if budgets is None
            else [{"hospital": one.hospital, "left_micros": one.left, "reaches": one.reaches} for one in budgets]
        )
        show_json(shown | rest | cost | {"budgets": found})
        return
    say(f"{study.study_id}: {study.detector.value} at {', '.join(study.hospitals)}")
    say(f"fingerprint {study.fingerprint().hex()}")
    say(f"ε = {plan.epsilon:.4f} at δ = {plan.delta:g} for one patient's whole stay")
    say(f"noise multiplier σ = {plan.noise_multiplier:.3f}, {plan.rounds} rounds, clip {study.clip:g}")
    say(f"cost: {plan.inverse_variance_micros / _MICROS:.6f} of each hospital's budget, in 1/σ²")
    if budgets is None:
        say("no node here: the hospitals' budgets were not looked at")
        return
    for one in budgets:
        after = f"{(one.left - one.cost) / _MICROS:.6f} after it" if one.reaches else "not enough"
        say(f"  {one.hospital}: {one.left / _MICROS:.6f} left, {after}")


def _entry_of(node: Node, study: str, card: bytes, model_path: Path) -> Model:
    """The ledger's entry of a card kept here. Raises ``Conflict`` unless card and model are what was registered."""
    from twinward.overview.external_use import registered_models
    from twinward_contracts.names import name_id

    digest = hashlib.sha256(card).digest()
    named = {name_id(study), _protocol_of(card)}  # before reservations were, the ledger had the study's name
    for model in registered_models(node):
        if model.study_id in named and hmac.compare_digest(model.card_hash, digest):
            if model_path.is_file() and not _is_model(model, model_path):
                raise Conflict(f"{model_path.name} is not the model that was registered", hint="do not use it")
            return model
    raise Conflict("the ledger does not know this card: it was altered, or never registered", hint="do not rely on it")


def _protocol_of(card: bytes) -> bytes:
    """The fingerprint of the protocol that a card names, empty where it names none."""
    try:
        return bytes.fromhex(json.loads(card)["protocol_sha256"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return b""


def _is_model(model: Model, path: Path) -> bool:
    with path.open("rb") as file:
        return hmac.compare_digest(hashlib.file_digest(file, "sha256").digest(), model.model_hash)
