"""``twinward study models``, ``card``, ``report``: models on the ledger, and what is kept of them here."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.context import node_at
from twinward.cli.errors import errors_taught
from twinward.cli.input import read_input
from twinward.cli.output import HomeOption, JsonOption, OutputFile, say, show_json, show_table, table
from twinward.core.errors import BadInput, Conflict, NotFound

if TYPE_CHECKING:
    from twinward.federation.detectors.model_file import Model
    from twinward.node import Node
    from twinward_contracts.bindings.model_registry import Model as Entry


MICROS = 1_000_000
MAX_MODEL_BYTES = 16 << 20
_STUDY_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_NOT_OURS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a card raises that is a card in name only."""

StudyArgument = Annotated[str, typer.Argument(help="The study's id, as its protocol names it.")]


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
            privacy = f"{model.epsilon_micros / MICROS:.3f}", f"{model.delta_e12 / 1e12:.0e}"
            shown.add_row(str(model.number), when, *privacy, model.model_hash.hex())
        show_table(shown)
        if not found:
            say("no model is registered")


def card(
    study: StudyArgument,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a model card kept here, once it and its model are what the ledger registered.

    Exit codes: 0, 2 not a study's id, 3 no such card, 4 the ledger does not know this card, or it was altered.

    Example: twinward study card demo-0198c4a2-1f0e
    """
    with node_at(home, as_json=as_json) as node:
        content, model = registered_card(node, study)
        shown = json.loads(content)
        if as_json:
            show_json({"registered": _model_json(node, model), "card": shown})
            return
        say(json.dumps(shown, indent=2, ensure_ascii=False))
        say(f"this card is model {model.number} on the ledger")


def report(
    study: Annotated[str, typer.Argument(help="A study's id, or the file of a model kept elsewhere (.model).")],
    out: Annotated[Path, typer.Option(help='The page to write; "-" is standard output.')],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write one HTML page of a study: AUROC between floor and ceiling, ROC, calibration, subgroups, ε in words.

    Of a study whose model and card are kept here and are those that the ledger registered; or of a model's file of
    `study run --data`, which was registered nowhere: the page says so. It fetches nothing.

    Exit codes: 0, 2 not a study's id, 3 no such card or model, 4 the ledger does not know them, they were altered, or
    the file exists, 7 the chain does not answer.

    Examples: twinward study report sepsis-1 --out sepsis-1.html
    · twinward study report thyroid.model --out thyroid.html
    """
    if study.endswith(".model"):
        with errors_taught(as_json=as_json):
            _report_of_file(study, OutputFile(out, as_json=as_json))
        return
    with node_at(home, as_json=as_json) as node:
        file = OutputFile(out, as_json=as_json)
        content, model = registered_card(node, study)
        file.write(_page(node, study, content, model).encode())
        shown = {"study": study, "number": model.number, "file": str(file)}
        file.report(shown, f"wrote {file}: {study}, model {model.number} on the ledger")


def export(
    study: Annotated[str, typer.Argument(help="A study's id, or the file of a model kept elsewhere (.model).")],
    onnx: Annotated[Path, typer.Option(help='The ONNX file to write; "-" is standard output.')],
    group: Annotated[
        str, typer.Option("--disease-group", help="Of a model with heads: the head of this group; else of no group.")
    ] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a model as ONNX: from a stay's clinical values (NaN where missing) to its score, to run without Twinward.

    A study's model is held against the ledger first; a file's against the card beside it.

    Exit codes: 0, 2 no model, 3 no such card, model or file, 4 the ledger does not know them, they were altered, or
    the file exists, 7 the chain does not answer.

    Examples: twinward study export sepsis-1 --onnx sepsis-1.onnx
    · twinward study export ./thyroid.model --onnx thyroid.onnx
    """
    with errors_taught(as_json=as_json):
        from twinward.federation.evaluation.onnx_export import export_onnx

        out = OutputFile(onnx, as_json=as_json, option="--onnx")
        if study.endswith(".model"):
            from twinward.federation.api import load_model

            model = load_model(study).model
        else:
            with node_at(home, as_json=as_json) as node:
                _, entry = registered_card(node, study)
                model = registered_model(node, study, entry)
        out.write(export_onnx(model, group))
        digest = model.hash().hex()
        shown = {"study": model.study.study_id, "model_sha256": digest, "file": str(onnx)}
        out.report(shown, f"wrote {onnx}: {model.study.study_id}, model {digest}")


def _model_json(node: Node, model: Entry) -> dict[str, Any]:
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
        "epsilon": model.epsilon_micros / MICROS,
        "delta": model.delta_e12 / 1e12,
        "registered_at_s": model.registered_at_s,
    }


def registered_card(node: Node, study: str) -> tuple[bytes, Entry]:
    """A card kept here, and its entry on the ledger. Raises ``BadInput``, ``NotFound``, and as ``_entry_of``."""
    if not _STUDY_ID.fullmatch(study):
        raise BadInput("a study's id is lower-case letters, digits and dashes")
    folder = node.settings.home / "models"
    path = folder / f"{study}.card.json"
    if not path.is_file():
        raise NotFound(f"there is no card of {study} here", hint="`twinward study models` lists what is registered")
    content = read_input(path)
    return content, _entry_of(node, study, content, folder / f"{study}.model")


def _report_of_file(path: str, file: OutputFile) -> None:
    from twinward.federation.api import load_model
    from twinward.federation.evaluation.study_report import study_report

    kept = load_model(path)
    try:
        page = study_report(kept.model, kept.card, None)
    except _NOT_OURS:
        raise BadInput(f"the card beside {path} is not one that this release writes") from None
    file.write(page.encode())
    name = kept.model.study.study_id
    file.report({"study": name, "registered": False, "file": str(file)}, f"wrote {file}: {name}, registered nowhere")


def _page(node: Node, study: str, card: bytes, entry: Entry) -> str:
    from twinward.core.clock import iso
    from twinward.federation.evaluation.study_report import Registered, study_report

    model = registered_model(node, study, entry)
    shown = _model_json(node, entry)
    registered = Registered(
        number=entry.number,
        at=iso(entry.registered_at_s * 1000),
        reservation=shown["reservation"],
        paid_micros=shown["paid_micros"],
        epsilon=shown["epsilon"],
        delta=shown["delta"],
        model_hash=shown["model_sha256"],
        card_hash=shown["card_sha256"],
    )
    try:
        return study_report(model, json.loads(card), registered)
    except _NOT_OURS:
        raise BadInput(f"the card of {study} is not one that this release writes") from None


def registered_model(node: Node, study: str, entry: Entry) -> Model:
    """A model kept here, held against its entry on the ledger. Raises ``NotFound``, ``Conflict``, ``BadInput``."""
    from twinward.federation.detectors.model_file import read_model

    path = node.settings.home / "models" / f"{study}.model"
    if not path.is_file():
        raise NotFound(f"there is no model of {study} here", hint="its card alone: `twinward study card`")
    content = read_input(path, most=MAX_MODEL_BYTES)
    if not hmac.compare_digest(hashlib.sha256(content).digest(), entry.model_hash):
        raise Conflict(f"{path.name} is not the model that was registered", hint="do not use it")
    return read_model(content)


def _entry_of(node: Node, study: str, card: bytes, model_path: Path) -> Entry:
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


def _is_model(model: Entry, path: Path) -> bool:
    with path.open("rb") as file:
        return hmac.compare_digest(hashlib.file_digest(file, "sha256").digest(), model.model_hash)
