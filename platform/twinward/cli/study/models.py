"""``twinward study models``, ``card``, ``report``: models on the ledger, and what is kept of them here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.context import node_at
from twinward.cli.errors import errors_taught
from twinward.cli.output import HomeOption, JsonOption, OutputFile, say, show_json, show_table, table
from twinward.core.errors import BadInput

if TYPE_CHECKING:
    from twinward.node import Node
    from twinward_contracts.bindings.model_registry import Model as Entry


MICROS = 1_000_000
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
        from twinward.node.registered_models import registered_models

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
        from twinward.node.registered_models import registered_card

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
        from twinward.node.registered_models import registered_card

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
                from twinward.node.registered_models import kept_model, registered_card

                _, entry = registered_card(node, study)
                model = kept_model(node, study, entry.model_hash)
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
    from twinward.node.registered_models import kept_model

    model = kept_model(node, study, entry.model_hash)
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
