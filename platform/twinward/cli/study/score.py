"""``twinward study score``: a registered model over this hospital's twins."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.context import AsOption, context_of, node_at
from twinward.cli.output import HomeOption, JsonOption, counted, say, show_json, show_table, table
from twinward.cli.study.models import StudyArgument
from twinward.core.vocabulary import Purpose

if TYPE_CHECKING:
    from twinward.node.study_score import Scored


def score(
    study: StudyArgument,
    account: AsOption,
    threshold: Annotated[
        float | None, typer.Option(help="A score above it is an anomaly.", show_default="of the model's card")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what is found; file nothing.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score this hospital's twins with a registered model, and file what departs as RiskAssessments.

    It is care: done for treatment, in a clinician's name, each read under a permit of its own in the log; twins whose
    patients' consent withholds it are passed over. The record names the signals that contribute and the model's hash,
    and reaches FHIR reads and event streams. Scoring again files nothing that stands already. The card's threshold
    comes from made-up or public stays: look with --dry-run before the first time.

    Exit codes: 0, 2 not a study's id, or no threshold, 3 no such model or account, 4 the ledger does not know it, or it
    was altered, 6 this account may not.

    Example: twinward study score sepsis-1 --as dr-lee --dry-run
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.node.registered_models import kept_model, registered_card, thresholds_of
        from twinward.node.study_score import score_twins

        context = context_of(node, account, Purpose.TREATMENT)
        card, entry = registered_card(node, study)
        model = kept_model(node, study, entry.model_hash)
        above = thresholds_of(card, model, threshold)
        scored = score_twins(node, context, model, entry.number, above, filing=not dry_run)
        found = sorted((one for one in scored if one.finding.is_anomaly), key=lambda one: -one.finding.score)
        if as_json:
            show_json(_json(study, entry.number, above, scored, found))
            return
        _show(above, scored, found, filed=not dry_run)


def _show(above: dict[str, float], scored: list[Scored], found: list[Scored], *, filed: bool) -> None:
    made = table("twin", *(["group"] if len(above) > 1 else []), "score", "contributing signals", "record")
    for one in found:
        named = ", ".join(f"{c.signal.title or c.signal.name} {c.share:.0%}" for c in one.finding.contributions)
        group = [one.group or "none"] if len(above) > 1 else []
        made.add_row(
            one.twin, *group, f"{one.finding.score:.3g}", named, one.change or ("withheld" if filed else "not filed")
        )
    show_table(made)
    limits = ", ".join(f"{limit:.4g}{f' ({name})' if name else ''}" for name, limit in above.items())
    say(f"{counted(len(scored), 'twin', 'twins')} scored, {len(found)} above the threshold {limits}")
    amended = sum(1 for one in scored if one.change == "updated" and not one.finding.is_anomaly)
    if amended:
        say(f"{counted(amended, 'earlier finding stands', 'earlier findings stand')} no more: amended")


def _json(
    study: str, number: int, above: dict[str, float], scored: list[Scored], found: list[Scored]
) -> dict[str, Any]:
    changes = Counter(one.change for one in scored if one.change)
    shown = [
        {
            "twin": one.twin,
            "group": one.group,
            "score": one.finding.score,
            "signals": [{"name": c.signal.name, "share": round(c.share, 3)} for c in one.finding.contributions],
            "record": one.change,
        }
        for one in found
    ]
    of_groups = {name: limit for name, limit in above.items() if name}
    return (
        ({"thresholds_of_groups": of_groups} if of_groups else {})
        | {"study": study, "model": number, "threshold": above[""], "scored": len(scored), "filed": dict(changes)}
        | {"anomalies": shown}
    )
