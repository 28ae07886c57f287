"""``twinward device``: with whom a device is, from when, until when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.context import AsOption, TwinArgument, context_of, node_at, twin_of
from twinward.cli.output import HomeOption, JsonOption, say, show_json, show_table, table
from twinward.core.clock import instant_ms, iso
from twinward.core.vocabulary import Purpose

if TYPE_CHECKING:
    from twinward.live.assignments import Assignment

DeviceArgument = Annotated[str, typer.Argument(help="What the device is called: 1 to 64 of A-Z a-z 0-9 . _ : -")]


def assign(
    device: DeviceArgument,
    twin: TwinArgument,
    account: AsOption,
    since: Annotated[str, typer.Option("--from", help="RFC 3339, e.g. 2026-01-31T08:30:00Z.", show_default="now")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that a device is with a patient from now, or from a moment, on.

    A reading belongs to whom its device was with when it measured, however late it comes. Readings that came before and
    were with nobody wait in quarantine: `twinward live replay` places them.

    Exit codes: 0 assigned, 2 no such name or time, 3 no such twin or account, 4 it is with somebody, or readings from
    then on are placed already, 6 the account may not write to this twin.

    Example: twinward device assign monitor-7 0198a1b2-… --as ward-system
    """
    with node_at(home, as_json=as_json) as node:
        context = context_of(node, account, Purpose.RECORD_MANAGEMENT)
        made = node.live.assign(context, device, twin_of(node, twin), instant_ms(since) if since else None)
        _report(device, made, as_json=as_json)


def release(
    device: DeviceArgument,
    account: AsOption,
    until: Annotated[str, typer.Option("--until", help="RFC 3339.", show_default="now")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that a device is with its patient no longer, since now or a moment.

    Exit codes: 0 released, 2 no such name or time, 3 it is with nobody, 4 readings from then on are placed already, 6
    the account may not write to the twin.

    Example: twinward device release monitor-7 --as ward-system
    """
    with node_at(home, as_json=as_json) as node:
        context = context_of(node, account, Purpose.RECORD_MANAGEMENT)
        _report(device, node.live.release(context, device, instant_ms(until) if until else None), as_json=as_json)


def list_(account: AsOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List devices, and with whom they were and are: opaque twins, no patient's name. Logged.

    Exit codes: 0, 3 no such account, 6 the account may not write records.

    Example: twinward device list --as ward-system
    """
    with node_at(home, as_json=as_json) as node:
        devices = node.live.devices(context_of(node, account, Purpose.RECORD_MANAGEMENT))
        rows = [(one.device, assignment) for one in devices for assignment in one.line.assignments]
        if as_json:
            show_json({"assignments": [_shown(device, one) for device, one in rows]})
            return
        made = table("device", "twin", "from", "until", "by")
        for device, one in rows:
            made.add_row(device, one.twin, iso(one.from_ms), iso(one.until_ms) if one.until_ms else "now", one.by)
        show_table(made)


def _report(device: str, made: Assignment, *, as_json: bool) -> None:
    if as_json:
        show_json(_shown(device, made))
        return
    until = f" until {iso(made.until_ms)}" if made.until_ms else ""
    say(f"{device} is with {made.twin} from {iso(made.from_ms)}{until}")


def _shown(device: str, one: Assignment) -> dict[str, Any]:
    until = None if one.until_ms is None else iso(one.until_ms)
    return {"device": device, "twin": one.twin, "from": iso(one.from_ms), "until": until, "by": one.by}
