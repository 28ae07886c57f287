"""``twinward live score``, ``models``: registered models over live twins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from twinward.cli.context import AsOption, context_of, node_at
from twinward.cli.output import HomeOption, JsonOption, counted, say, show_json, show_table, table
from twinward.cli.study.models import StudyArgument
from twinward.core.clock import iso
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Purpose

if TYPE_CHECKING:
    from twinward.access.interfaces import AccessContext
    from twinward.live.alerts.rules import Severity
    from twinward.live.scoring.service import LiveScoring
    from twinward.node import Node


def score(
    study: StudyArgument,
    account: AsOption,
    threshold: Annotated[
        float | None, typer.Option(help="A score above it is an anomaly.", show_default="of the model's card")
    ] = None,
    severity: Annotated[str, typer.Option(help="Of its alerts: notice, urgent or emergency.")] = "urgent",
    stop: Annotated[bool, typer.Option("--stop", help="Have it score no more; its alerts are over.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a registered model score live twins in your name, hour by hour, and raise alerts with what contributes.

    The hour that is over by ten minutes is scored at once, and each further one by the served node: once for each
    patient, in treatment, by a permit of its own in the log. Whom consent withholds is passed over.

    Exit codes: 0, 2 not a study's id, no threshold, or a model of what is not measured live, 3 no such model or
    account, 4 the ledger does not know it, or it was altered, 6 this account may not.

    Example: twinward live score sepsis-1 --as dr-lee --severity notice
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.node.live_scoring import live_scoring

        context, scoring = context_of(node, account, Purpose.TREATMENT), live_scoring(node)
        if stop:
            scoring.end(context, study)
            show_json({"study": study, "scores": False}) if as_json else say(f"{study} scores no live twin any more")
            return
        begun = _begun(node, scoring, context, study, threshold, _severity(severity))
        report = scoring.run()
        if as_json:
            show_json(
                {"study": study, "model": begun, "scored": report.scored, "raised": report.raised}
                | {"withheld": report.withheld}
            )
            return
        say(f"{study} scores live twins in the name of {account}, hour by hour, while the node is served")
        patients = counted(report.scored, "patient", "patients")
        say(f"now: {patients} scored, {counted(report.raised, 'alert', 'alerts')} raised, {report.withheld} withheld")


def models(account: AsOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the models that score live twins, in whose name, and what keeps one from it.

    Exit codes: 0, 3 no such account, 6 this account may read no patient.

    Example: twinward live models --as dr-lee
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.node.live_scoring import live_scoring

        found = live_scoring(node).all(context_of(node, account, Purpose.TREATMENT))
        if as_json:
            show_json(
                {
                    "models": [
                        {
                            "study": one.study,
                            "model": one.model,
                            "account": one.account,
                            "severity": one.severity,
                            "thresholds": one.thresholds,
                            "since": iso(one.since_ms),
                            "problem": problem,
                        }
                        for one, problem in found
                    ]
                }
            )
            return
        made = table("study", "in the name of", "severity", "threshold", "since", "problem")
        for one, problem in found:
            made.add_row(
                one.study, one.account, one.severity, f"{one.thresholds['']:.4g}", iso(one.since_ms), problem or "none"
            )
        show_table(made)


def _begun(
    node: Node,
    scoring: LiveScoring,
    context: AccessContext,
    study: str,
    threshold: float | None,
    severity: Severity,
) -> str:
    from twinward.node.registered_models import kept_model, registered_card, thresholds_of

    card, entry = registered_card(node, study)
    above = thresholds_of(card, kept_model(node, study, entry.model_hash), threshold)
    return scoring.begin(context, study, entry.model_hash.hex(), above, severity).model


def _severity(word: str) -> Severity:
    from twinward.live.alerts.rules import Severity

    try:
        return Severity(word)
    except ValueError:
        raise BadInput("a severity is notice, urgent or emergency") from None
