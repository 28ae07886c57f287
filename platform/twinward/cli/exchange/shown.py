"""``twinward exchange list``, ``suggest`` and ``surge``: what stands, what would help, what lending is worth."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.context import node_at
from twinward.cli.errors import errors_taught
from twinward.cli.input import read_input
from twinward.cli.output import HomeOption, JsonOption, counted, say, show_json, show_table, table
from twinward.core.clock import iso
from twinward.core.errors import BadInput

if TYPE_CHECKING:
    from twinward.exchange.suggestion import Minutes
    from twinward.exchange.surge import Surge, Ward

WAY_OPTION_HELP = "TOML: minutes.GIVER.RECEIVER = 35, e.g. [minutes.northgate]; 60 where it says nothing."


def list_(
    every: Annotated[bool, typer.Option("--all", help="What is over, too.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every hospital's offers and requests that stand, and transfers that are not done, from the chain.

    Exit codes: 0, 3 no node in the home, 4 the consortium has no exchange, 7 the chain does not answer.

    Example: twinward exchange list --json
    """
    with node_at(home, as_json=as_json) as node:
        listings = [one for one in node.exchange.listings() if every or one.stands]
        transfers = [one for one in node.exchange.transfers() if every or one.state in _OPEN]
        if as_json:
            shown = [one.shown() for one in listings]
            show_json({"listings": shown, "transfers": [one.shown() for one in transfers]})
            return
        made = table("listing", "kind", "hospital", "resource", "left", "of", "until (UTC)")
        for one in listings:
            until = _time(one.until_s)
            made.add_row(str(one.number), one.kind, one.hospital, one.resource, str(one.left), str(one.quantity), until)
        show_table(made)
        moved = table("transfer", "from", "to", "resource", "units", "ships by", "arrives by", "stands")
        for two in transfers:
            stands = f"{two.state}, {two.late}" if two.late else two.state
            times = (_time(two.ship_by_s), _time(two.receive_by_s))
            moved.add_row(str(two.number), two.giver, two.receiver, two.resource, str(two.quantity), *times, stands)
        show_table(moved)
        say(f"{counted(len(listings), 'listing', 'listings')}, {counted(len(transfers), 'transfer', 'transfers')}")


def suggest(
    way: Annotated[Path | None, typer.Option(help=WAY_OPTION_HELP)] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which offers should go to which requests: most units first, then those needed soonest, then the shortest way.

    It promises nothing: a hospital takes it up with `twinward exchange promise`, or not.

    Exit codes: 0, 2 the file of ways is wrong, 3 no node in the home, 4 no exchange, 7 the chain does not answer.

    Example: twinward exchange suggest --way ways.toml
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.exchange.suggestion import suggest as best

        found = best(node.exchange.listings(), _minutes(way))
        if as_json:
            show_json({"suggestions": [asdict(one) for one in found]})
            return
        made = table("offer", "request", "from", "to", "resource", "units", "minutes")
        for one in found:
            ends = (str(one.offer), str(one.request), one.giver, one.receiver)
            made.add_row(*ends, one.resource, str(one.quantity), f"{one.minutes:g}")
        show_table(made)
        if not found:
            say("nothing that is offered meets a request")


def surge(
    ward: Annotated[list[str], typer.Option(help="HOSPITAL=UNITS:ARRIVALS_A_DAY; once for each.")],
    at: Annotated[str, typer.Option(help="HOSPITAL=FACTOR:FROM_DAY:DAYS, e.g. north=4:10:21.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it is simulated.")] = 90,
    stay: Annotated[float, typer.Option(min=1, max=3650, help="How long a patient needs a unit, on average.")] = 8.0,
    transit: Annotated[int, typer.Option(min=0, max=30, help="How many days a unit is on its way.")] = 1,
    runs: Annotated[int, typer.Option(min=1, max=1000, help="How many runs, each with patients of its own.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="The first run's.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Simulate a surge at one hospital: days that patients wait for a unit, with and without lending.

    The same patients come in both; no node is needed, and none is touched.

    Exit codes: 0, 2 what cannot be simulated.

    Example: twinward exchange surge --ward north=20:2 --ward lake=20:2 --ward mercy=30:2.5 --at north=3:10:21
    """
    with errors_taught(as_json=as_json):
        from twinward.exchange.surge import Plan, simulate

        plan = Plan(tuple(_ward(one) for one in ward), _surge(at), days, stay, transit)
        alone = [simulate(plan, seed + run, lending=False) for run in range(runs)]
        lent = [simulate(plan, seed + run, lending=True) for run in range(runs)]
        rows: list[dict[str, Any]] = [
            {
                "hospital": one.hospital,
                "waited_alone": sum(run.waited[one.hospital] for run in alone) / runs,
                "waited_lending": sum(run.waited[one.hospital] for run in lent) / runs,
            }
            for one in plan.wards
        ]
        sent = sum(run.sent for run in lent) / runs
        if as_json:
            show_json({"runs": runs, "days": days, "hospitals": rows, "units_sent": sent})
            return
        made = table("hospital", "days waited alone", "days waited lending")
        for row in rows:
            made.add_row(str(row["hospital"]), f"{row['waited_alone']:.1f}", f"{row['waited_lending']:.1f}")
        show_table(made)
        say(f"mean of {counted(runs, 'run', 'runs')} of {days} days; {sent:.1f} units were sent")


_OPEN = frozenset({"promised", "shipped", "disputed"})


def _time(at_s: int) -> str:
    return iso(at_s * 1000)[:16].replace("T", " ")


def _minutes(file: Path | None) -> Minutes:
    from twinward.exchange.suggestion import SAME_FOR_ALL

    ways: dict[tuple[str, str], float] = {}
    if file is not None:
        try:
            said = tomllib.loads(read_input(file).decode())["minutes"]
            ways = {(a, b): float(minutes) for a, others in said.items() for b, minutes in others.items()}
        except (ValueError, KeyError, AttributeError, TypeError):
            raise BadInput(f"{file} does not say how long ways are", hint="[minutes.northgate] lakeside = 35") from None
        if not all(0 <= one < 1e6 for one in ways.values()):
            raise BadInput(f"{file} has a way that is negative or endless", hint="minutes, 0 to 1000000")
    return lambda giver, receiver: ways.get((giver, receiver), ways.get((receiver, giver), SAME_FOR_ALL))


def _ward(text: str) -> Ward:
    from twinward.exchange.surge import Ward

    name, (units, arrivals) = _numbers(text, 2, "--ward north=20:2")
    return Ward(name, int(units), arrivals)


def _surge(text: str) -> Surge:
    from twinward.exchange.surge import Surge

    name, (factor, day, days) = _numbers(text, 3, "--at north=4:10:21")
    return Surge(name, factor, int(day), int(days))


def _numbers(text: str, count: int, example: str) -> tuple[str, list[float]]:
    name, _, rest = text.partition("=")
    try:
        numbers = [float(one) for one in rest.split(":")]
    except ValueError:
        numbers = []
    if not name or len(numbers) != count or not all(0 <= one < 1e6 for one in numbers):
        raise BadInput(f"{text!r} is not NAME=NUMBERS", hint=f"e.g. {example}")
    return name, numbers
