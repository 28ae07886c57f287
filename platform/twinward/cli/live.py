"""``twinward live``: sources, what could not be placed, windows that are over."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.context import AsOption, TwinArgument, context_of, node_at, twin_of
from twinward.cli.input import read_input
from twinward.cli.output import HomeOption, JsonOption, counted, say, show_json, show_table, table, tell
from twinward.core.clock import instant_ms, iso
from twinward.core.vocabulary import Purpose

if TYPE_CHECKING:
    from twinward.access.interfaces import AccessContext
    from twinward.live.service import Live
    from twinward.live.storage.quarantine import Held

DAY_MS = 86_400_000
SHOWN = 1_000
"""Of a quarantine."""
SourceOption = Annotated[str, typer.Option("--source", help="Of this source only.", show_default="all")]


def take(
    file: Annotated[Path, typer.Argument(help="NDJSON, one reading a line; - is standard input.")],
    account: AsOption,
    source: Annotated[str, typer.Option("--source", help="Whose numbers they are.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take readings in from a file, as `POST /api/1/readings` does: sent again, each is stored once.

    Exit codes: 0 taken in, 1 some lines were not stored, 2 a batch or a name that cannot be, 3 no such file or account,
    6 the account may not write records, 7 nothing of a batch was taken: do it again.

    Example: twinward live take ./monitor-7.ndjson --source icu-gateway --as icu-gateway
    """
    from twinward.live.intake.lines import batches

    with node_at(home, as_json=as_json) as node:
        context = context_of(node, account, Purpose.RECORD_MANAGEMENT)
        outcomes: Counter[str] = Counter()
        for batch in batches(read_input(file)):
            for answer in node.live.intake.take(context, source, batch):
                outcomes[answer.outcome.value] += 1
                if answer.reason is not None and not as_json:
                    tell(f"number {answer.seq}: {answer.outcome}, {answer.reason}: {answer.detail}")
        if as_json:
            show_json(dict(outcomes))
        else:
            say(", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())) or "an empty file")
        raise typer.Exit(1 if outcomes["quarantined"] or outcomes["refused"] else 0)


def series(
    twin: TwinArgument,
    signal: Annotated[str, typer.Argument(help="Which, e.g. heart_rate.")],
    account: AsOption,
    since: Annotated[str, typer.Option("--from", help="RFC 3339.", show_default="a day before --to")] = "",
    until: Annotated[str, typer.Option("--to", help="RFC 3339.", show_default="now")] = "",
    step_s: Annotated[int, typer.Option("--step", min=0, help="Seconds; the mean of each step. 0: as it is.")] = 0,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a signal of a twin over a span. An access like any other: decided, and logged.

    Exit codes: 0, 2 a span that cannot be, 3 no such twin, signal or account, 6 policy or consent says no.

    Example: twinward live series 0198a1b2-… heart_rate --as dr-lee --step 60
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.live.timeseries import Span

        context = context_of(node, account, Purpose.TREATMENT)
        to_ms = instant_ms(until) if until else node.clock.now_ms() + 1
        from_ms = instant_ms(since) if since else max(0, to_ms - DAY_MS)
        points = node.live.series(context, twin_of(node, twin), signal, Span(from_ms, to_ms, step_s * 1000))
        if as_json:
            show_json({"signal": signal, "points": [[iso(one.time_ms), one.value, one.quality] for one in points]})
            return
        made = table("time", "value", "quality")
        for one in points:
            made.add_row(iso(one.time_ms), str(one.value), one.quality.value)
        show_table(made)


def sources(account: AsOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List sources: what each sent, when it was heard last, what it skipped, how its clock stands.

    `lag` is the least delay from measured to received lately: a clock that is ahead shows as a negative one.

    Exit codes: 0, 3 no such account, 6 the account may not write records.

    Example: twinward live sources --as ward-system
    """
    with node_at(home, as_json=as_json) as node:
        found = node.live.sources(context_of(node, account, Purpose.RECORD_MANAGEMENT))
        if as_json:
            show_json(
                {
                    "sources": [
                        {
                            "account": one.account,
                            "source": one.name,
                            "stored": one.stored,
                            "quarantined": one.quarantined,
                            "duplicates": one.duplicates,
                            "heard": iso(one.heard_ms),
                            "missing": one.settled().missing,
                            "lag_ms": one.lag_ms,
                        }
                        for one in found
                    ]
                }
            )
            return
        made = table("source", "account", "stored", "quarantined", "again", "skipped", "lag", "heard")
        for one in found:
            lag = "" if one.lag_ms is None else f"{one.lag_ms / 1000:.1f} s"
            numbers = (one.stored, one.quarantined, one.duplicates, one.settled().missing)
            made.add_row(one.name, one.account, *map(str, numbers), lag, iso(one.heard_ms))
        show_table(made)


def quarantine(
    account: AsOption,
    source: SourceOption = "",
    drop: Annotated[bool, typer.Option("--drop", help="Delete those shown: they will never be placed.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what could not be placed, and why: up to 1,000, the oldest first. No value and no patient is shown.

    Exit codes: 0, 3 no such account, 6 the account may not write records.

    Example: twinward live quarantine --as ward-system --source icu-gateway
    """
    with node_at(home, as_json=as_json) as node:
        context = context_of(node, account, Purpose.RECORD_MANAGEMENT)
        found = _held(node.live, context, source)
        dropped = node.live.drop(context, found) if drop and found else 0
        if as_json:
            show_json({"quarantine": [_shown(one) for one in found], "dropped": dropped})
            return
        made = table("source", "number", "since", "reason", "detail")
        for one in found:
            made.add_row(one.source, str(one.seq), iso(one.at_ms), one.reason.value, one.detail)
        show_table(made)
        say(counted(len(found), "reading waits", "readings wait") if not drop else f"{dropped} deleted")


def replay(account: AsOption, source: SourceOption = "", home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Place what can be placed by now of what is in quarantine: the rest stays, with its reason.

    Exit codes: 0, 3 no such account, 6 the account may not write records.

    Example: twinward live replay --as ward-system
    """
    with node_at(home, as_json=as_json) as node:
        context = context_of(node, account, Purpose.RECORD_MANAGEMENT)
        outcomes: Counter[str] = Counter()
        after = ""
        while found := node.live.quarantine(context, after=after):
            after = found[-1].id
            wanted = [one for one in found if not source or one.source == source]
            outcomes.update(one.outcome.value for one in node.live.replay(context, wanted))
        if as_json:
            show_json(dict(outcomes))
            return
        say(", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())) or "nothing waits")


def close(
    now: Annotated[bool, typer.Option("--now", help="Also what is not over yet.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close hours that are over: their readings packed, and told to the log device by device. A served node does so.

    Exit codes: 0, 3 no node in the home, 7 the log or a database does not answer; doing it again goes on.

    Example: twinward live close
    """
    with node_at(home, as_json=as_json) as node:
        report = node.live.closing.run(now=now)
        if as_json:
            show_json({"windows": report.windows, "samples": report.samples, "rows": report.rows_after})
            return
        windows = counted(report.windows, "window was", "windows were")
        say(f"{windows} closed: {report.samples} samples in {report.rows_after} rows, before {report.rows_before}")


def _held(live: Live, context: AccessContext, source: str) -> list[Held]:
    """As many as are shown, however many of other sources lie before them."""
    found: list[Held] = []
    after = ""
    while len(found) < SHOWN and (some := live.quarantine(context, after=after)):
        after = some[-1].id
        found += [one for one in some if not source or one.source == source]
    return found[:SHOWN]


def _shown(one: Held) -> dict[str, Any]:
    return {
        "source": one.source,
        "account": one.account,
        "seq": one.seq,
        "since": iso(one.at_ms),
        "reason": one.reason.value,
        "detail": one.detail,
    }
