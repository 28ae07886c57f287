"""``twinward node doctor``: what is wrong with a node, and what to type."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from twinward.cli.context import node_at
from twinward.cli.output import HomeOption, JsonOption, out, progress, show_json

_SIGNS = {"ok": "[green]ok[/]  ", "note": "note", "warn": "[yellow]warn[/]", "bad": "[red]BAD[/] "}


def doctor(
    all_of_them: Annotated[bool, typer.Option("--all", help="Also what is in order.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Examine a node, served or not, and say what is wrong and what to type. Changes nothing.

    It does not hash the whole log again: `twinward audit verify --deep` does.

    Exit codes: 0 nothing is bad, 3 no node in the home, 7 something is bad; a home that cannot be opened says why.

    Example: twinward node doctor
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.overview.doctor import CHECKS, Severity, examined

        with progress() as bars:
            task = bars.add_task("examining", total=len(CHECKS), visible=not as_json)
            found = []
            for one in examined(node, lambda name: bars.update(task, description=f"examining {name}")):
                found.append(one)
                bars.advance(task)
        bad = sum(one.severity is Severity.BAD for one in found)
        if as_json:
            show_json({"bad": bad, "findings": [asdict(one) for one in found]})
        else:
            for one in found:
                if all_of_them or one.severity is not Severity.OK:
                    out.print(f"{_SIGNS[one.severity]}  {escape(one.check)}: {escape(one.say)}", soft_wrap=True)
                    if one.remedy:
                        out.print(f"        → {escape(one.remedy)}", soft_wrap=True)
            good = sum(one.severity is Severity.OK for one in found)
            out.print(f"{good} of {len(found)} checks found nothing to do", soft_wrap=True)
        raise typer.Exit(7 if bad else 0)
