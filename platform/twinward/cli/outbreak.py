"""``twinward outbreak``: daily sums judged, alerts signed and raised, and what a detector would be worth."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.context import AsOption, context_of, node_at
from twinward.cli.errors import errors_taught
from twinward.cli.input import read_input
from twinward.cli.output import HomeOption, JsonOption, OutputFile, counted, say, show_json, show_table, table
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Purpose

if TYPE_CHECKING:
    from twinward.outbreak.ears import Ears
    from twinward.outbreak.farrington import Farrington
    from twinward_contracts.bindings import OutbreakState, OutbreakStatement

_FARRINGTON = "farrington"
_EPOCH = date(1970, 1, 1)
_LINE = re.compile(r"(\d{4}-\d{2}-\d{2}),(-?\d{1,15})")

StatisticOption = Annotated[str, typer.Option(help="c1, c2 or c3 of EARS.")]
HospitalOption = Annotated[
    str, typer.Option(help="In which hospital's name; one in this home.", show_default="the home's own")
]
BaselineOption = Annotated[int, typer.Option(min=2, max=366, help="Days of the baseline.")]


def open_(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Make the contract on which a quorum of hospitals raises alerts; one of them does, once.

    Afterwards hand consortium.json to the other hospitals: it names the contract. Nobody owns it.

    Exit codes: 0 made, 3 no node in the home, 4 there is one, 7 the chain does not answer.

    Example: twinward outbreak open
    """
    with node_at(home, as_json=as_json) as node:
        made = node.consortium.open_outbreak()
        if as_json:
            show_json({"outbreak": made.address})
            return
        say(f"alerts of outbreaks are at {made.address}; hand consortium.json to the other hospitals")


def watch(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Sums of `twinward outbreak sum`, of periods that follow each other; or one series of daily sums, "
            'oldest first: lines of YYYY-MM-DD,COUNT ("-" reads stdin).'
        ),
    ],
    syndrome: Annotated[str, typer.Option(help="Which, e.g. influenza.")],
    account: AsOption,
    statistic: Annotated[str, typer.Option(help="c1, c2 or c3 of EARS; or farrington, of weeks over years.")] = "c2",
    limit: Annotated[
        float | None,
        typer.Option(min=0.001, help="What the statistic must exceed; published: 3, 3 and 2.", show_default="3; 1"),
    ] = None,
    baseline: BaselineOption = 7,
    years: Annotated[int, typer.Option(min=2, max=20, help="Of history, for farrington.")] = 5,
    noise: Annotated[
        float | None,
        typer.Option(min=0, help="The variance of the noise in each daily sum.", show_default="the sum file's, or 0"),
    ] = None,
    sign: Annotated[Path | None, typer.Option(help="Where the last day is unusual, write a signature here.")] = None,
    hospital: HospitalOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge the last of a series of daily sums, and sign an alert in this hospital's name where it is unusual.

    The sums are what the hospitals' differentially private counts add up to. Farrington judges the week that ends with
    the last day by the same weeks of earlier years. Nothing is raised by one hospital: hand
    the signature to whoever gathers a quorum's.

    Exit codes: 0 judged, 2 no such syndrome, or no series, 3 no such account, 4 no contract, 6 the account may not,
    7 the chain or the log does not answer.

    Examples: twinward outbreak watch week-48.sum.json week-49.sum.json --syndrome influenza --as olga
    · twinward outbreak watch sums.csv --syndrome influenza --noise 254 --sign northgate.json --as olga
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.node.study_approvals import abroad, member
        from twinward.outbreak.alerts import statement_of
        from twinward.outbreak.farrington import weeks_of

        out = None if sign is None else OutputFile(sign, as_json=as_json, option="--sign")
        last_day, counts, variance = _sums(files, syndrome, noise)
        counts = weeks_of(counts) if statistic == _FARRINGTON else counts
        said = statement_of(syndrome, _detector(statistic, limit, baseline, years, variance), counts, last_day)
        shown, sentence = _judged(syndrome, last_day, counts[-1], said)
        if out is None:
            show_json(shown) if as_json else say(sentence)
        elif said is None:
            out.report(shown, sentence)
        else:
            by = context_of(node, account, Purpose.OPERATIONS)
            with member(node, hospital or node.settings.tenant) as one:
                signed = one.node.outbreaks.sign(abroad(by, one, node), said)
            out.write(json.dumps(signed.shown()).encode())
            wrote = f"wrote {out}: this hospital's signature; `twinward outbreak raise` takes a quorum's"
            out.report(shown | {"file": str(out)}, sentence, wrote)


def _detector(statistic: str, limit: float | None, baseline: int, years: int, variance: float) -> Ears | Farrington:
    """What judges, where a daily sum has noise of this variance. Raises ``BadInput``."""
    from twinward.outbreak.ears import Ears
    from twinward.outbreak.farrington import Farrington

    if statistic == _FARRINGTON:
        return Farrington(years, noise_variance=7 * variance, limit=limit or 1)
    return Ears(_statistic(statistic), limit or 3, baseline, variance)


def _judged(syndrome: str, day: int, counted: int, said: OutbreakStatement | None) -> tuple[dict[str, Any], str]:
    """A day's sum as it was judged, for a machine and in a sentence."""
    shown: dict[str, Any] = {"syndrome": syndrome, "day": _day(day), "counted": counted, "unusual": said is not None}
    judged = "nothing unusual"
    if said is not None:
        shown |= {"expected": said.expected_milli / 1000, "threshold": said.threshold_milli / 1000}
        judged = f"above {shown['threshold']:.1f} where {shown['expected']:.1f} was expected"
    return shown, f"{syndrome} on {shown['day']}: {counted}, {judged}"


def raise_(
    signatures: Annotated[list[Path], typer.Argument(help="Hospitals' signatures on one statement.")],
    account: AsOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Raise an alert that a quorum of hospitals signed. Every hospital sees it as soon as the chain has it.

    Exit codes: 0 raised, 2 no signatures, or of several statements, 3 no such account, 4 too few, raised before, or no
    contract, 6 the account may not, 7 the chain or the log does not answer.

    Example: twinward outbreak raise st-anna.json northgate.json --as olga
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.outbreak.alerts import Endorsement

        found = [Endorsement.parse(read_input(one)) for one in signatures]
        made = node.outbreaks.raise_alert(context_of(node, account, Purpose.OPERATIONS), found)
        if as_json:
            show_json(_shown(made))
            return
        shown = _shown(made)
        say(f"alert {made.number} is raised: {shown['syndrome']} on {shown['day']}, {made.said.counted} cases")


def end(
    alert: Annotated[int, typer.Argument(min=1, help="Its number, as `twinward outbreak alerts` shows it.")],
    account: AsOption,
    signatures: Annotated[list[Path] | None, typer.Argument(help="Hospitals' signatures that it is over.")] = None,
    sign: Annotated[Path | None, typer.Option(help="Write this hospital's signature here.")] = None,
    hospital: HospitalOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that an alert is over: sign it in this hospital's name (--sign), or send what a quorum signed.

    Exit codes: 0 signed or ended, 2 no signatures, or of another alert, 3 no such account, 4 too few, no such alert, or
    it is over, 6 the account may not, 7 the chain or the log does not answer.

    Examples: twinward outbreak end 1 --sign own.json --as olga
    · twinward outbreak end 1 own.json other.json --as olga
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.node.study_approvals import abroad, member
        from twinward.outbreak.alerts import EndSignature

        by = context_of(node, account, Purpose.OPERATIONS)
        if (sign is None) is (not signatures):
            raise BadInput("give --sign, or the signatures of a quorum")
        if sign is not None:
            out = OutputFile(sign, as_json=as_json, option="--sign")
            with member(node, hospital or node.settings.tenant) as one:
                signed = one.node.outbreaks.sign_end(abroad(by, one, node), alert)
            out.write(json.dumps(signed.shown()).encode())
            out.report(
                {"alert": alert, "file": str(out)}, f"wrote {out}: this hospital's signature that {alert} is over"
            )
            return
        found = [EndSignature.parse(read_input(one)) for one in signatures or ()]
        made = node.outbreaks.end(by, alert, found)
        show_json(_shown(made)) if as_json else say(f"alert {alert} is over")


def alerts(
    every: Annotated[bool, typer.Option("--all", help="What is over, too.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Alerts that a quorum of hospitals raised, from the chain.

    Exit codes: 0, 3 no node in the home, 4 no contract, 7 the chain does not answer.

    Example: twinward outbreak alerts --json
    """
    with node_at(home, as_json=as_json) as node:
        found = [_shown(one) for one in node.outbreaks.alerts() if every or not one.ended_at_s]
        if as_json:
            show_json({"alerts": found})
            return
        made = table("alert", "syndrome", "day", "counted", "expected", "threshold", "stands")
        for one in found:
            numbers = (str(one["counted"]), f"{one['expected']:.1f}", f"{one['threshold']:.1f}")
            made.add_row(str(one["alert"]), one["syndrome"], one["day"], *numbers, "over" if one["ended"] else "lasts")
        show_table(made)
        say(counted(len(found), "alert", "alerts"))


def simulate(
    epsilon: Annotated[float, typer.Option(min=0.01, max=50, help="Of a period, for each patient.")] = 1.0,
    delta: Annotated[float, typer.Option(help="Of a period.")] = 1e-6,
    days: Annotated[int, typer.Option(min=1, max=366, help="How long a period is.")] = 7,
    levels: Annotated[int, typer.Option(min=1, max=9, help="Of the tree that are released; 1 is each day alone.")] = 1,
    statistic: StatisticOption = "c3",
    baseline: BaselineOption = 28,
    everyday: Annotated[float, typer.Option(min=1, max=1e6, help="Cases a day without an outbreak.")] = 60.0,
    years: Annotated[int, typer.Option(min=1, max=200, help="Quiet years, for limits and false alarms.")] = 5,
    outbreaks: Annotated[int, typer.Option(min=1, max=10_000, help="How many are simulated.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulation.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Simulate outbreaks (SEIR): how much later do private counts alarm than exact ones, at one false alarm a year?

    No node is needed, and none is touched. Exit codes: 0, 2 what cannot be simulated.

    Example: twinward outbreak simulate --epsilon 1 --days 7
    """
    with errors_taught(as_json=as_json):
        from twinward.outbreak.continual import Period
        from twinward.outbreak.evaluation import Trial, tried
        from twinward.outbreak.seir import Epidemic

        trial = Trial(Epidemic(everyday=everyday), _statistic(statistic), baseline, years=years, outbreaks=outbreaks)
        arms = {"exact": tried(trial, None, seed), "private": tried(trial, Period(days, levels, epsilon, delta), seed)}
        rows = {
            name: {
                "mean_days": arm.mean_days,
                "median_days": arm.median_days,
                "missed": arm.missed,
                "false_alarms_a_year": arm.false_alarms_a_year,
                "limit": arm.limit,
            }
            for name, arm in arms.items()
        }
        if as_json:
            show_json({"years": years, "outbreaks": outbreaks, **rows})
            return
        made = table("counts", "days until alarm", "median", "missed", "false alarms a year")
        for name, row in rows.items():
            numbers = (f"{row['mean_days']:.1f}", f"{row['median_days']:.1f}", str(row["missed"]))
            made.add_row(name, *numbers, f"{row['false_alarms_a_year']:.1f}")
        show_table(made)
        later = arms["private"].mean_days - arms["exact"].mean_days
        say(f"private counts alarm {later:.1f} days later on average")


def _statistic(text: str) -> Any:
    from twinward.outbreak.ears import Statistic

    try:
        return Statistic(text)
    except ValueError:
        raise BadInput(f"no statistic {text!r}", hint="c1, c2 or c3; farrington to watch weeks") from None


def _sums(files: list[Path], syndrome: str, noise: float | None) -> tuple[int, list[int], float]:
    """The last day since 1970, the daily sums, and the variance of their noise. Raises ``BadInput``."""
    read = [read_input(one) for one in files]
    if not read[0].lstrip().startswith(b"{"):
        if len(read) > 1:
            raise BadInput("one series of daily sums, or sums of periods", hint="`twinward outbreak sum` writes these")
        return *_series(read[0]), noise or 0.0
    from twinward.outbreak.shares import SummedDays, series_of

    if noise is not None:
        raise BadInput("the sum of a period says its noise itself", hint="leave --noise out")
    return series_of([SummedDays.parse(one) for one in read], syndrome)


def _series(raw: bytes) -> tuple[int, list[int]]:
    """The last day since 1970 and the counts. Raises ``BadInput`` unless days follow each other."""
    days, counts = [], []
    for number, line in enumerate(raw.decode("utf-8", "replace").split(), 1):
        found = _LINE.fullmatch(line)
        try:
            if found is None:
                raise ValueError
            days.append((date.fromisoformat(found[1]) - _EPOCH).days)
        except ValueError:
            raise BadInput(f"line {number} is no day and count", hint="e.g. 2026-01-31,57") from None
        counts.append(int(found[2]))
        if len(days) > 1 and days[-1] != days[-2] + 1:
            raise BadInput(f"line {number} is not the day after the line before", hint="one line for each day")
    if not days:
        raise BadInput("there are no daily sums", hint="lines of YYYY-MM-DD,COUNT")
    return days[-1], counts


def _day(day: int) -> str:
    return date.fromordinal(_EPOCH.toordinal() + day).isoformat()


def _shown(one: OutbreakState) -> dict[str, Any]:
    from twinward.outbreak.alerts import syndrome_word

    return {
        "alert": one.number,
        "syndrome": syndrome_word(one.said.syndrome),
        "day": _day(one.said.day),
        "counted": one.said.counted,
        "expected": one.said.expected_milli / 1000,
        "threshold": one.said.threshold_milli / 1000,
        "terms": one.said.terms.hex(),
        "raised": datetime.fromtimestamp(one.raised_at_s, UTC).isoformat(),
        "ended": datetime.fromtimestamp(one.ended_at_s, UTC).isoformat() if one.ended_at_s else "",
    }
