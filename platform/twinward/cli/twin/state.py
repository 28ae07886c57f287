"""``twinward twin state``, ``at-time``, ``history``, ``set-target``, ``export``: a twin now and then, and its aims."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.context import AsOption, TwinArgument, context_of, node_at, twin_of
from twinward.cli.input import read_input
from twinward.cli.output import HomeOption, JsonOption, err, say, show_json, show_table, table
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Purpose

if TYPE_CHECKING:
    from twinward.access.interfaces import AccessContext
    from twinward.node import Node
    from twinward.twins.state.states import JsonObject, TwinState

PurposeOption = Annotated[Purpose, typer.Option(help="Why, as an HL7 v3 ActReason code.")]
JustificationOption = Annotated[str, typer.Option(help="Why an emergency (ETREAT) is one.")]
FeatureArgument = Annotated[str, typer.Argument(help="A feature, as `twinward twin state` names it.")]


def state(
    twin: TwinArgument,
    account: AsOption,
    at_revision: Annotated[int | None, typer.Option(min=1, help="As it was at this revision.")] = None,
    purpose: PurposeOption = Purpose.TREATMENT,
    justification: JustificationOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """A twin's features: what was measured and when, and what care aims at. The access is logged first.

    Exit codes: 0, 3 no such twin, account or revision, 6 policy or consent says no (also logged).

    Example: twinward twin state 0198… --as dr-lee --at-revision 3
    """
    with node_at(home, as_json=as_json) as node:
        context = context_of(node, account, purpose, justification)
        _show(node, context, twin, revision=at_revision, as_json=as_json)


def at_time(
    twin: TwinArgument,
    when: Annotated[str, typer.Argument(help="An RFC 3339 instant, e.g. 2026-01-31T08:30:00Z.")],
    account: AsOption,
    purpose: PurposeOption = Purpose.TREATMENT,
    justification: JustificationOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """A twin's features as they were known at a time. The access is logged first.

    Exit codes: 0, 2 no time, 3 no such twin or account, or nothing was known yet, 6 policy or consent says no.

    Example: twinward twin at-time 0198… 2026-01-31T08:30:00Z --as dr-lee
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.core.clock import instant_ms

        context = context_of(node, account, purpose, justification)
        _show(node, context, twin, at_ms=instant_ms(when), as_json=as_json)


def history(
    twin: TwinArgument,
    account: AsOption,
    purpose: PurposeOption = Purpose.TREATMENT,
    justification: JustificationOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every revision of a twin: when, and whether measurements or a care target changed. No content is opened.

    Exit codes: 0, 3 no such twin or account, 6 policy or consent says no (also logged).

    Example: twinward twin history 0198… --as dr-lee
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.core.clock import iso

        context = context_of(node, account, purpose, justification)
        found = node.twins.states.history(context, twin_of(node, twin))
        if as_json:
            rows = [{"revision": one.number, "target": one.part or None, "at": iso(one.at_ms)} for one in found]
            show_json({"twin": twin, "revisions": rows})
            return
        shown = table("revision", "at", "what changed")
        for one in found:
            what = f"the care target of {one.part}" if one.part else "what was measured"
            shown.add_row(str(one.number), iso(one.at_ms), what)
        show_table(shown)


def set_target(
    twin: TwinArgument,
    feature: FeatureArgument,
    account: AsOption,
    value: Annotated[float | None, typer.Option(help="The value care aims at, in the feature's unit.")] = None,
    low: Annotated[float | None, typer.Option(help="The lower end of a range.")] = None,
    high: Annotated[float | None, typer.Option(help="The upper end of a range.")] = None,
    note: Annotated[str, typer.Option(help="A few words with it.")] = "",
    file: Annotated[Path | None, typer.Option("--from", help="The whole target as JSON; '-' reads it.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="There is no target any more; its history stays.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set what care aims at for one feature: sealed, versioned, and told to whoever follows the twin.

    Exit codes: 0, 2 no such feature or target, 3 no such twin or account, 4 somebody else changed it meanwhile, 6
    policy or consent says no (also logged).

    Example: twinward twin set-target 0198… hba1c_percent --as dr-lee --low 6 --high 7
    """
    with node_at(home, as_json=as_json) as node:
        wanted = _target(value, low, high, note, file, remove=remove)
        context, kept = context_of(node, account, Purpose.TREATMENT), twin_of(node, twin)
        if feature not in node.twins.states.units:
            raise BadInput(f"{feature!r} is no feature", hint=f"one of {', '.join(node.twins.states.units)}")
        before: list[JsonObject | None] = []

        def change(present: JsonObject | None) -> JsonObject | None:
            before.append(present)
            return present if dry_run else wanted

        after = node.twins.targets.change(context, kept, {feature: change})
        shown: dict[str, Any] = {"twin": twin, "feature": feature, "before": before[0], "after": wanted}
        if as_json:
            show_json(shown | {"revision": after.revision, "done": not dry_run})
            return
        say(f"{feature}: {json.dumps(before[0])} -> {json.dumps(wanted)}")
        say("nothing was changed" if dry_run else f"the twin is at revision {after.revision}")


def _show(
    node: Node,
    context: AccessContext,
    twin: str,
    *,
    revision: int | None = None,
    at_ms: int | None = None,
    as_json: bool,
) -> None:
    from twinward.api.twins.shape import whole

    states = node.twins.states
    outline = states.outline(twin_of(node, twin), revision=revision, at_ms=at_ms)
    found = states.read(context, outline)
    if as_json:
        show_json(whole(found, states.schema, {}))
        return
    _print_state(found, states.units.get)


def _print_state(found: TwinState, unit_of: Callable[[str], str | None]) -> None:
    from twinward.core.clock import iso

    rows = table("feature", "value", "unit", "measured", "care aims at")
    for name, one in found.features.items():
        measured = one.properties or {}
        aim = "" if one.desired is None else json.dumps(one.desired, ensure_ascii=False)
        value = f"{measured['value']:g}" if measured else ""
        rows.add_row(name, value, unit_of(name) or "", measured.get("measuredAt") or "", aim)
    show_table(rows)
    when = iso(found.outline.modified_ms) if found.outline.modified_ms else "never changed"
    err.print(f"revision {found.outline.revision}, {when}", markup=False)
    if found.withheld:
        err.print(f"withheld: {', '.join(sorted(found.withheld))}", markup=False)


def _target(
    value: float | None, low: float | None, high: float | None, note: str, file: Path | None, *, remove: bool
) -> JsonObject | None:
    """The target that the options describe; None to remove it. Raises ``BadInput``."""
    from twinward.core.small_json import decode

    ends = {name: end for name, end in (("low", low), ("high", high)) if end is not None}
    given = [value is not None, bool(ends), file is not None, remove]
    if sum(given) != 1:
        raise BadInput("give --value, or --low and --high, or --from, or --remove")
    if low is not None and high is not None and low > high:
        raise BadInput("--low is above --high")
    if remove:
        return None
    if file is not None:
        target = decode(read_input(file, most=64 * 1024))
        if not isinstance(target, dict):
            raise BadInput("a care target is a JSON object")
        return target
    return {"value": ends or value} | ({"note": note} if note else {})
