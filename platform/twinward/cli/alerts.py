"""``twinward alerts``: what the rules raised, what became of it, and rules tried on history."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from twinward.cli.context import AsOption, TwinArgument, context_of, node_at, twin_of
from twinward.cli.input import read_input
from twinward.cli.output import HomeOption, JsonOption, counted, say, show_json, show_table, table, tell
from twinward.core.clock import instant_ms, iso
from twinward.core.errors import NotFound
from twinward.core.vocabulary import Purpose

if TYPE_CHECKING:
    from twinward.live.alerts.models import Alert

AlertArgument = Annotated[str, typer.Argument(help="Its id, as `twinward alerts list` prints it.")]
DAY_MS = 86_400_000


def list_(
    account: AsOption,
    twin: Annotated[str, typer.Option("--twin", help="Of this patient only.", show_default="all")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List alerts that somebody has to look at, the gravest first. For each patient an access, decided and logged.

    Exit codes: 0, 3 no such account or twin, 6 the account may not read these patients.

    Example: twinward alerts list --as dr-lee
    """
    with node_at(home, as_json=as_json) as node:
        context = context_of(node, account, Purpose.TREATMENT)
        found, damaged = node.live.alerts.looked_at(context, twin_of(node, twin) if twin else None)
        if as_json:
            show_json({"alerts": [shown(one) for one in found], "damaged": damaged})
            return
        made = table("alert", "severity", "rule", "twin", "raised", "times", "stands")
        for one in found:
            rule = f"{one.rule}: {one.about}" if one.about else one.rule
            made.add_row(one.id, one.severity, rule, one.twin, iso(one.raised_ms), str(one.times), standing(one))
        show_table(made)
        say(counted(len(found), "alert waits", "alerts wait"))
        for name in damaged:
            tell(f"the alert {name} does not open in its place: somebody altered it; restore live.db from a backup")


def acknowledge(alert: AlertArgument, account: AsOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Say that an alert was seen: it is escalated no more, and goes once its rule is over.

    Exit codes: 0 noted, 3 no such alert or account, 4 somebody has before, 6 the account may not write to the patient.

    Example: twinward alerts acknowledge 0198a1b2-… --as dr-lee
    """
    with node_at(home, as_json=as_json) as node:
        _report(node.live.alerts.acknowledge(context_of(node, account, Purpose.TREATMENT), alert), as_json=as_json)


def silence(
    alert: AlertArgument,
    account: AsOption,
    reason: Annotated[str, typer.Option(help="Why, in a sentence.")],
    minutes: Annotated[int, typer.Option(min=1, max=480, help="For how long.")] = 30,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have an alert escalated to nobody for a while.

    Exit codes: 0 noted, 2 a reason that says nothing, 3 no such alert or account, 4 a time that cannot be, 6 the
    account may not write to the patient.

    Example: twinward alerts silence 0198a1b2-… --as dr-lee --reason "the probe is being changed" --minutes 10
    """
    with node_at(home, as_json=as_json) as node:
        context = context_of(node, account, Purpose.TREATMENT)
        _report(node.live.alerts.silence(context, alert, minutes, reason), as_json=as_json)


def rules(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show the rules in force: the home's `alert-rules.toml`, or else those that come with the node.

    Exit codes: 0, 2 the home's rules are wrong: until they are mended readings are refused, 3 no node in the home.

    Example: twinward alerts rules
    """
    with node_at(home, as_json=as_json) as node:
        found = node.live.watch.rules
        if as_json:
            show_json({"version": found.version, "rules": [one.name for one in found.rules]})
            return
        made = table("rule", "raised", "severity", "escalated after")
        for one in found.rules:
            made.add_row(one.name, one.says(), one.severity, f"{one.escalate_minutes} min")
        show_table(made)
        say(f"version {found.version}")


def back_test(
    twin: TwinArgument,
    account: AsOption,
    file: Annotated[Path | None, typer.Option("--rules", help="Rules to try.", show_default="those in force")] = None,
    since: Annotated[str, typer.Option("--from", help="RFC 3339.", show_default="a day before --to")] = "",
    until: Annotated[str, typer.Option("--to", help="RFC 3339.", show_default="now")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try rules on a patient's history: what they would have raised, and when. Nothing is raised.

    Exit codes: 0, 2 rules or a time that cannot be, 3 no such twin or account, 6 policy or consent says no.

    Example: twinward alerts back-test 0198a1b2-… --as dr-lee --rules ./alert-rules.toml
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.live.alerts.rules import read_rules

        tried = node.live.watch.rules if file is None else read_rules(read_input(file))
        to_ms = instant_ms(until) if until else node.clock.now_ms() + 1
        from_ms = instant_ms(since) if since else max(0, to_ms - DAY_MS)
        context = context_of(node, account, Purpose.TREATMENT)
        changes = node.live.alerts.back_test(context, twin_of(node, twin), tried, from_ms, to_ms)
        if as_json:
            show_json({"changes": [[iso(one.time_ms), one.rule.name, one.rose] for one in changes]})
            return
        made = table("time", "rule", "", "because")
        for one in changes:
            because = ", ".join(f"{part.signal} {part.value:g}" for part in one.because)
            made.add_row(iso(one.time_ms), one.rule.name, "raised" if one.rose else "over", because)
        show_table(made)
        say(counted(sum(one.rose for one in changes), "alert", "alerts") + f" by rules {tried.version}")


def webhook(
    secret: Annotated[bool, typer.Option("--secret", help="Print what the receiver checks signatures with.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Have dead letters sent again.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show who is told of alerts (`live_alert_url` in twinward.toml), and what could not be delivered.

    Exit codes: 0, 3 no node in the home, or nobody is told of alerts.

    Example: twinward alerts webhook --retry
    """
    with node_at(home, as_json=as_json) as node:
        live = node.live
        receiver = live.webhook
        if receiver is None:
            raise NotFound(
                "nobody is told of alerts", hint="set live_alert_url in twinward.toml and start the node again"
            )
        revived = live.delivery.revive() if retry else 0
        (waiting, dead), letters, aside = live.delivery.counts(), live.delivery.dead(), live.delivery.set_aside()
        if as_json:
            show_json(
                {
                    "url": receiver.url,
                    "waiting": waiting,
                    "dead": [{"id": one.id} | msgspec.to_builtins(one.notice) for one in letters],
                    "revived": revived,
                    "altered": aside,
                }
                | ({"secret": receiver.secret} if secret else {})
            )
            return
        made = table("notice", "kind", "alert", "since", "tries", "problem")
        for one in letters:
            notice = one.notice
            made.add_row(one.id, notice.kind, notice.alert, iso(notice.at_ms), str(notice.tries), notice.problem)
        if letters:
            show_table(made)
        say(f"{receiver.url}: {counted(waiting, 'notice waits', 'notices wait')}, {dead} undeliverable")
        if aside:
            tell(f"{counted(aside, 'notice was', 'notices were')} altered by somebody and not sent: look at the alerts")
        if retry:
            say(f"{counted(revived, 'notice is', 'notices are')} sent again by the served node")
        if secret:
            say(receiver.secret)


def standing(one: Alert) -> str:
    """How an alert stands, in a few words."""
    words = []
    if one.acknowledged_by:
        words.append(f"seen by {one.acknowledged_by}")
    elif one.escalated_ms is not None:
        words.append("escalated")
    return ", ".join([*words, *(["over"] if one.over_ms is not None else [])]) or "raised"


def shown(one: Alert) -> dict[str, Any]:
    """An alert as JSON."""
    return {
        "id": one.id,
        "twin": one.twin,
        "rule": one.rule,
        "rules": one.version,
        "severity": one.severity,
        "raised": iso(one.raised_ms),
        "times": one.times,
        "score": one.score,
        "about": one.about,
        "because": [
            {"time": iso(part.time_ms), "signal": part.signal, "value": part.value}
            | ({"share": one.shares[part.signal]} if part.signal in one.shares else {})
            for part in one.because
        ],
        "stands": standing(one),
    }


def _report(one: Alert, *, as_json: bool) -> None:
    if as_json:
        show_json(shown(one))
    else:
        say(f"{one.rule}: {standing(one)}")
