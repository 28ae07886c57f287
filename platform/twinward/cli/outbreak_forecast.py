"""``twinward outbreak forecast``: what daily sums let expect of the days that follow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twinward.cli.context import context_of, node_at
from twinward.cli.errors import errors_taught
from twinward.cli.input import read_input
from twinward.cli.output import HomeOption, JsonOption, say, show_json, show_table, table
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Purpose

if TYPE_CHECKING:
    from twinward.outbreak.forecast_report import SyndromeForecast


def forecast(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Sums of `twinward outbreak sum`; or one series of daily sums, oldest first: lines of "
            'YYYY-MM-DD,COUNT, a day that is missing left out ("-" reads stdin).',
            show_default="what was added up in the home",
        ),
    ] = None,
    syndrome: Annotated[str, typer.Option(help="Which, e.g. influenza.", show_default="all that were counted")] = "",
    days: Annotated[int, typer.Option(min=1, max=14, help="How many days ahead.")] = 14,
    noise: Annotated[
        float | None,
        typer.Option(min=0, help="The variance of the noise in each daily sum.", show_default="the sum file's, or 0"),
    ] = None,
    account: Annotated[
        str, typer.Option("--as", help="The account in whose name what is in the home is looked at.")
    ] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forecast each syndrome's cases, with intervals, from daily sums that were released.

    The sums are paid for: a forecast of them costs no privacy. Said beside it is what such forecasts of the last weeks
    were worth. With files no node is needed, and none is touched; without, sums are taken that were added up in the
    home, and the log says who asked.

    Exit codes: 0, 2 no sums, or no such syndrome, 3 no such account, 4 there is nothing to forecast: why is said,
    6 the account may not, 7 the store or the log does not answer.

    Examples: twinward outbreak forecast week-48.sum.json week-49.sum.json --syndrome influenza
    · twinward outbreak forecast --days 7 --as olga
    """
    if files:
        with errors_taught(as_json=as_json):
            _tell(_of_files(files, syndrome, days, noise), as_json=as_json)
        return
    with node_at(home, as_json=as_json) as node:
        from twinward.overview.outbreaks import asked_forecasts

        if noise is not None:
            raise BadInput("what was added up says its noise itself", hint="leave --noise out")
        if not account:
            raise BadInput("give files of sums, or --as", hint="with --as sums are taken that were added up here")
        _tell(asked_forecasts(node, context_of(node, account, Purpose.OPERATIONS), days, syndrome), as_json=as_json)


def _of_files(files: Sequence[Path], syndrome: str, days: int, noise: float | None) -> list[SyndromeForecast]:
    from twinward.outbreak.daily_series import series_of_lines
    from twinward.outbreak.forecast_report import report_on, reports_on
    from twinward.outbreak.shares import SummedDays

    read = [read_input(one) for one in files]
    if read[0].lstrip().startswith(b"{"):
        if noise is not None:
            raise BadInput("the sum of a period says its noise itself", hint="leave --noise out")
        return reports_on([SummedDays.parse(one) for one in read], days, syndrome)
    if len(read) > 1:
        raise BadInput("one series of daily sums, or sums of periods", hint="`twinward outbreak sum` writes these")
    return [report_on(syndrome, series_of_lines(read[0], noise or 0.0), days)]


def _tell(found: Sequence[SyndromeForecast], *, as_json: bool) -> None:
    """Raises ``NothingToForecast`` where no syndrome has a forecast, after what is known is said."""
    from twinward.outbreak.errors import NothingToForecast

    if not found:
        raise NothingToForecast("no sums were added up here", hint="`twinward outbreak sum` adds up, and keeps them")
    if all(one.nothing for one in found):
        raise NothingToForecast("; ".join(_named(one) for one in found), hint=found[0].hint)
    if as_json:
        show_json({"forecasts": [one.shown() for one in found]})
        return
    for one in found:
        if one.nothing:
            say(_named(one))
            continue
        made = table("day", "expected", "one half", "95 %", "95 % of the sum, with noise")
        for day in one.days:
            ranges = (f"{low} to {high}" for low, high in (day.half, day.most, day.released))
            made.add_row(str(day.day), str(day.expected), *ranges)
        say(f"{one.syndrome or 'cases'} after {one.series.last_day}, of {one.series.known} days that are known")
        show_table(made)
        for remark in one.remarks():
            say(f"- {remark}")


def _named(one: SyndromeForecast) -> str:
    return f"{one.syndrome}: {one.nothing}" if one.syndrome else one.nothing
