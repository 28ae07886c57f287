"""``twinward what-if``: a ward's future under other numbers, simulated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twinward.cli.errors import errors_taught
from twinward.cli.output import HomeOption, JsonOption, OutputFile, progress, say, show_json, show_table, table

if TYPE_CHECKING:
    from twinward.things.what_if.baseline import Changes
    from twinward.things.what_if.outlook import Estimate, Outlook

_AS_IT_IS = "as it is"


def what_if(
    ward: Annotated[str, typer.Argument(help="A ward or a hospital of this node.", show_default="an example")] = "",
    account: Annotated[str, typer.Option("--as", help="The account that asks; wanted with a ward.")] = "",
    example: Annotated[str, typer.Option(help="icu, emergency or vaccination: without a node.")] = "",
    beds: Annotated[int | None, typer.Option(min=1, help="Beds, bays or chairs.", show_default=_AS_IT_IS)] = None,
    arrivals: Annotated[str, typer.Option(help="E.g. 3/day or 0.5/h.", show_default="as lately")] = "",
    stay: Annotated[str, typer.Option(help="The mean: e.g. 3.5d, 4h, 90min.", show_default="as lately")] = "",
    spread: Annotated[
        float | None, typer.Option(help="Of stays: standard deviation over mean.", show_default="as lately")
    ] = None,
    staff: Annotated[int | None, typer.Option(min=1, help="People who look after them.", show_default="enough")] = None,
    per_staff: Annotated[float | None, typer.Option(help="Patients each looks after.", show_default="1")] = None,
    waiting: Annotated[str, typer.Option(help="How many may wait, or all; 0: refused.", show_default=_AS_IT_IS)] = "",
    days: Annotated[float | None, typer.Option(help="How far ahead.", show_default="28, or the example's")] = None,
    runs: Annotated[int, typer.Option(help="Futures to simulate.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same answer.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Also draw it, as SVG, into this file.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask what comes of other numbers: who waits, who is refused, how full it is, with 95 % intervals.

    Begins with who is in the ward now. Beds, arrivals and stays are the ward's own of the last four weeks, where they
    are not said.

    Exit codes: 0, 2 a question that cannot be, 3 no such ward or account, 6 the account may not file records.

    Example: twinward what-if icu --beds 12 --arrivals 3/day --stay 3.5d --as ward-system --out icu.svg
    """
    with errors_taught(as_json=as_json):
        from twinward.things.what_if.baseline import Changes
        from twinward.things.what_if.scenario import hours, per_hour

        changes = Changes(
            beds,
            per_hour(arrivals) if arrivals else None,
            hours(stay) if stay else None,
            spread,
            staff,
            per_staff,
            _waiting(waiting),
            None,
            days,
        )
        target = None if out is None else OutputFile(out, as_json=as_json)
        with progress() as bars:
            task = bars.add_task("futures", total=runs)
            outlook = _asked(
                ward, account, example, changes, runs, seed, home, lambda done: bars.update(task, completed=done)
            )
        _report(outlook, as_json=as_json)
        if target is not None:
            from twinward.things.what_if.picture import picture

            target.write(picture(outlook).encode())


def _asked(
    ward: str,
    account: str,
    example: str,
    changes: Changes,
    runs: int,
    seed: int,
    home: Path | None,
    told: Callable[[int], None],
) -> Outlook:
    from twinward.core.errors import BadInput
    from twinward.things.what_if.baseline import changed
    from twinward.things.what_if.outlook import look_ahead
    from twinward.things.what_if.scenario import EXAMPLES

    if bool(ward) is bool(example):
        raise BadInput("name a ward of this node, or --example", hint=f"one of {', '.join(EXAMPLES)}")
    if example:
        if example not in EXAMPLES:
            raise BadInput("there is no such example", hint=f"one of {', '.join(EXAMPLES)}")
        return look_ahead(changed(EXAMPLES[example], changes), runs, seed, told)
    if not account:
        raise BadInput("a ward is asked about in somebody's name", hint="--as ACCOUNT")
    from twinward.cli.thing import node_and_context

    with node_and_context(home, account, as_json=False) as (node, context):
        return node.things.what_if(context, ward, changes, runs, seed, told)


def _waiting(text: str) -> int | None:
    from twinward.core.errors import BadInput
    from twinward.things.what_if.baseline import ALL_WAIT

    if text in ("", "all"):
        return ALL_WAIT if text else None
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise BadInput("as many may wait as a number says, or all", hint="--waiting 5, --waiting all")
    return int(text)


def _report(outlook: Outlook, *, as_json: bool) -> None:
    if as_json:
        from twinward.things.what_if.answers import answer

        show_json(answer(outlook))
        return
    scenario = outlook.scenario
    say(f"{scenario.name}: {outlook.runs:,} futures of {scenario.days:g} days, {len(scenario.present_h)} there now")
    made = table("what", "mean", "95 % interval", "95 of 100 futures")
    made.add_row("patients who come", *_cells(outlook.arrived, "{:.1f}"))
    made.add_row("refused", *_cells(outlook.refused, "{:.2%}"))
    for one in outlook.stages:
        made.add_row(f"{one.name}: wait, min", *_cells(one.wait_h, "{:.1f}", 60))
        made.add_row(f"{one.name}: wait of the 95th, min", *_cells(one.long_wait_h, "{:.1f}", 60))
        if one.urgent_wait_h is not None:
            made.add_row(f"{one.name}: wait of the urgent, min", *_cells(one.urgent_wait_h, "{:.1f}", 60))
        made.add_row(f"{one.name}: of {one.servers} in use", *_cells(one.busy, "{:.1f}"))
    show_table(made)
    theory = outlook.theory
    if theory is not None and theory.refused is not None:
        say(f"in the long run {theory.refused:.2%} are refused (Erlang B)")
    elif theory is not None and theory.waited is not None and theory.wait_h is None:
        say("in the long run everybody waits, ever longer: more come than are treated")
    elif theory is not None and theory.waited is not None and theory.wait_h is not None:
        say(f"in the long run {theory.waited:.2%} wait, {theory.wait_h * 60:.1f} min on average (Erlang C)")


def _cells(one: Estimate, form: str, times: float = 1.0) -> tuple[str, str, str]:
    mean, low, high, least, most = (
        form.format(value * times) for value in (one.mean, one.low, one.high, one.least, one.most)
    )
    return mean, f"{low} to {high}", f"{least} to {most}"
