"""``twinward breach``: the cases of breaches of personal data, from opening one to closing it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twinward.breach.models import Audience, Outcome, ScopeKind
from twinward.cli.context import AsOption, audit_permit, node_at
from twinward.cli.input import read_input
from twinward.cli.output import HomeOption, JsonOption, OutputFile, counted, progress, say, show_json
from twinward.core.clock import instant_ms, iso
from twinward.core.errors import BadInput
from twinward.core.vocabulary import TwinId

if TYPE_CHECKING:
    from twinward.breach.affected import Affected
    from twinward.breach.models import BreachCase
    from twinward.node import Node

BreachArgument = Annotated[str, typer.Argument(help="Its name, as `twinward breach list` prints it.")]
SHOWN_SUBJECTS = 20


def list_(account: AsOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the cases, newest first: their state, and by when the authority is to be told.

    Exit codes: 0, 3 no such account, 6 the account is no officer's (also logged).

    Example: twinward breach list --as olga
    """
    with node_at(home, as_json=as_json) as node:
        now_ms = node.clock.now_ms()
        cases = node.breaches.all(audit_permit(node, account, "breaches"))
        if as_json:
            show_json({"breaches": [one.as_json(now_ms) for one in cases]})
            return
        for one in cases:
            say(f"{one.name}  {one.state(now_ms)}  {one.title}")
            say(f"    {one.scope.sentence()}; {_clock(one, now_ms)}")
        say(counted(len(cases), "case", "cases"))


def open_(
    title: Annotated[str, typer.Argument(help="What happened, in a sentence. Name no patient.")],
    account: AsOption,
    kind: Annotated[ScopeKind, typer.Option("--of", help="What the case is about.")],
    subject: Annotated[
        str, typer.Option("--subject", help="The account, the vendor, the twin's id or the KEK's number.")
    ] = "",
    since: Annotated[str, typer.Option("--from", help="Accesses from then on, e.g. 2026-01-31T08:00:00Z.")] = "",
    until: Annotated[str, typer.Option("--until", help="Accesses before then.")] = "",
    aware: Annotated[str, typer.Option("--aware", help="When the hospital became aware.", show_default="now")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open the case of a breach. The 72 hours of GDPR's article 33 run from when the hospital became aware.

    Exit codes: 0 opened, 2 it names nothing that there is, 3 no such account, 6 no officer's account.

    Example: twinward breach open "a colleague looked at neighbours" --as olga --of account --subject dr-lee
    Example: twinward breach open "KEK 1 was on a stolen laptop" --as olga --of key --subject 1
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.breach.models import Scope

        is_key, is_twin = kind is ScopeKind.KEY, kind is ScopeKind.PATIENT
        if is_key and not (subject.isascii() and subject.isdigit() and len(subject) < 9):
            raise BadInput("a key is named by its number", hint="`twinward keys status` prints them")
        scope = Scope(
            kind,
            account="" if is_key or is_twin else subject,
            twin=TwinId(subject) if is_twin else None,
            kek=int(subject) if is_key else 0,
            from_ms=instant_ms(since) if since else 0,
            until_ms=instant_ms(until) if until else 0,
        )
        permit = audit_permit(node, account, "breach")
        case = node.breaches.open(permit, scope, title, instant_ms(aware) if aware else None)
        _show(node, case, as_json=as_json)


def assess(name: BreachArgument, account: AsOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Count who is affected in the log as it is now. May be done again; each count says how far it read.

    Exit codes: 0, 3 no such case or account, 4 it is closed, 6 no officer's account.

    Example: twinward breach assess 5dde4d311462ec01 --as olga
    """
    with node_at(home, as_json=as_json) as node:
        permit = audit_permit(node, account, "breach")
        with progress() as bars:
            task = bars.add_task("looking through the log", total=None)
            found = node.breaches.assess(permit, name, lambda done, of: bars.update(task, completed=done, total=of))
        if as_json:
            show_json(affected_json(found))
            return
        say(_found(found))
        for one in found.subjects[:SHOWN_SUBJECTS]:
            what = ", ".join(sorted(one.categories)) or "everything that is kept"
            say(f"  {one.twin}: {counted(len(one.indices), 'access', 'accesses')} ({what})")
        if len(found.subjects) > SHOWN_SUBJECTS:
            say(f"  and {len(found.subjects) - SHOWN_SUBJECTS} more: `twinward breach export {name} --format csv`")


def show(name: BreachArgument, account: AsOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show a case: its clocks, what was counted, each step as it stands in the log.

    Exit codes: 0, 3 no such case or account, 6 no officer's account.

    Example: twinward breach show 5dde4d311462ec01 --as olga
    """
    with node_at(home, as_json=as_json) as node:
        _show(node, node.breaches.case(audit_permit(node, account, "breach"), name), as_json=as_json)


def draft(
    name: BreachArgument,
    account: AsOption,
    audience: Annotated[Audience, typer.Option("--for", help="The authority or the patients.")],
    text: Annotated[
        Path | None, typer.Option("--text", help="The new version; '-' reads it.", show_default="the first draft")
    ] = None,
    target: Annotated[Path, typer.Option("--out", help="Where to write the newest version; '-' prints it.")] = Path(
        "-"
    ),
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep a new version of a notification, then print the newest. Without --text the first draft is made, once.

    What only a person can say stands in [square brackets]. Every version is an event of the log.

    Exit codes: 0, 2 it says nothing, 3 no such case, 4 it is closed or nothing changed, 6 no officer's account.

    Example: twinward breach draft 5dde4d311462ec01 --as olga --for authority --out letter.txt
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.breach.drafts import places

        permit = audit_permit(node, account, "breach")
        case = node.breaches.case(permit, name)
        if text is not None:
            case = node.breaches.draft(permit, name, audience, read_input(text).decode("utf-8", "replace"))
        elif not case.drafts_for(audience):
            case = node.breaches.draft(permit, name, audience)
        newest = case.drafts_for(audience)[-1]
        if as_json:
            left = places(newest.text)
            show_json({"breach": name, "version": newest.version, "text": newest.text, "to_fill_in": left})
            return
        to = OutputFile(target, as_json=False)
        to.write(newest.text.encode())
        to.report({}, f"version {newest.version} in {to}; {len(places(newest.text))} places to fill in")


def note(
    name: BreachArgument,
    said: Annotated[str, typer.Argument(help="A sentence.")],
    account: AsOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a sentence into a case's timeline.

    Exit codes: 0, 2 it says nothing, 3 no such case, 4 it is closed, 6 no officer's account.

    Example: twinward breach note 5dde4d311462ec01 "the account was disabled at once" --as olga
    """
    with node_at(home, as_json=as_json) as node:
        _show(node, node.breaches.note(audit_permit(node, account, "breach"), name, said), as_json=as_json)


def notify(
    name: BreachArgument,
    account: AsOption,
    audience: Annotated[Audience, typer.Option("--whom", help="Who was notified.")],
    reference: Annotated[str, typer.Option(help="How, and under which number.")],
    at: Annotated[str, typer.Option("--at", help="When.", show_default="now")] = "",
    late: Annotated[str, typer.Option("--late", help="Why it was later than 72 hours after.")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Note that somebody was notified, by the newest draft. Nothing is sent from here.

    Exit codes: 0, 2 it says nothing, 3 no such case, 4 no draft, places to fill in, late without a reason or closed,
    6 no officer's account.

    Example: twinward breach notify 5dde4d311462ec01 --as olga --whom authority --reference "portal, case 2026-117"
    """
    with node_at(home, as_json=as_json) as node:
        permit = audit_permit(node, account, "breach")
        at_ms = instant_ms(at) if at else None
        case = node.breaches.notify(permit, name, audience, reference, at_ms=at_ms, late=late)
        _show(node, case, as_json=as_json)


def close(
    name: BreachArgument,
    account: AsOption,
    outcome: Annotated[Outcome, typer.Option(help="With what.")],
    reason: Annotated[str, typer.Option(help="Why, in a sentence; kept for the authority (article 33(5)).")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close a case for good.

    Exit codes: 0, 2 it says nothing, 3 no such case, 4 it is closed, or lacks what the outcome stands on, 6 no officer.

    Example: twinward breach close 5dde4d311462ec01 --as olga --outcome notified --reason "told, account disabled"
    """
    with node_at(home, as_json=as_json) as node:
        permit = audit_permit(node, account, "breach")
        _show(node, node.breaches.close(permit, name, outcome, reason), as_json=as_json)


def export(
    name: BreachArgument,
    account: AsOption,
    form: Annotated[str, typer.Option("--format", help="pdf, csv, or proofs: a ZIP for `twinward-verify`.")],
    target: Annotated[Path, typer.Option("--out", help="Where to write it; must not exist. '-' prints it.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a case as a report, a table of who is affected, or the proofs of what was counted.

    Exit codes: 0, 2 no such form, 3 no such case or no checkpoint covers it, 4 the file exists or nobody was counted,
    6 no officer's account.

    Example: twinward breach export 5dde4d311462ec01 --as olga --format pdf --out breach.pdf
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.breach.files import BreachFormat
        from twinward.overview.breaches import file_of

        if form not in list(BreachFormat):
            raise BadInput("a case is written as pdf, csv or proofs")
        to = OutputFile(target, as_json=as_json)
        permit = audit_permit(node, account, f"breach export {form}")
        case = node.breaches.case(permit, name)
        with progress() as bars:
            task = bars.add_task("reading accesses", total=None)

            def told(step: str, done: int, of: int) -> None:
                said = "proving accesses" if step == "proven" else "reading accesses"
                bars.update(task, description=said, completed=done, total=of)

            made = file_of(node, permit, case, BreachFormat(form), told)
        to.write(made)
        to.report({"breach": name, "file": str(to), "format": form, "bytes": len(made)}, f"written to {to}")


def affected_json(found: Affected) -> dict[str, object]:
    """Who is affected, for a machine."""
    return {
        "log_size": found.size,
        "accesses": found.accesses,
        "refused": found.refused,
        "erased": found.erased,
        "about_no_patient": found.others,
        "categories": dict(found.categories),
        "subjects": [
            {
                "twin": one.twin,
                "known_by": one.known_by,
                "accesses": len(one.indices),
                "categories": sorted(one.categories),
                "actions": sorted(one.actions),
                "altered": one.altered,
                "indices": one.indices,
            }
            for one in found.subjects
        ],
    }


def _found(found: Affected) -> str:
    patients = counted(len(found.subjects), "patient is", "patients are")
    accesses = counted(found.accesses, "access", "accesses")
    return f"{patients} affected, in {accesses}, among the first {found.size} entries of the log"


def _clock(case: BreachCase, now_ms: int) -> str:
    if case.state(now_ms) not in ("open", "overdue"):
        return f"aware since {iso(case.aware_ms)[:16]}"
    hours = abs(case.left_ms(now_ms)) // 3_600_000
    return f"the authority is to be told by {iso(case.due_ms)[:16]}, {hours} hours " + (
        "from now" if case.left_ms(now_ms) >= 0 else "AGO"
    )


def _show(node: Node, case: BreachCase, *, as_json: bool) -> None:
    now_ms = node.clock.now_ms()
    if as_json:
        show_json(case.as_json(now_ms))
        return
    say(f"{case.name}  {case.state(now_ms)}  {case.title}")
    say(f"    {case.scope.sentence()}")
    say(f"    {_clock(case, now_ms)}")
    for one in case.steps:
        say(f"    {one.index:>6}  {iso(one.at_ms)[:16]}  {one.by}  {one.kind}: {one.say}")
