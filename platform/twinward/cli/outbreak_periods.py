"""``twinward outbreak invite``, ``approve``, ``reserve``, ``release``, ``sum``: daily counts, agreed and released."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twinward.cli.account import PasswordFileOption
from twinward.cli.context import AsOption, context_of, node_at
from twinward.cli.input import confirm, read_input
from twinward.cli.outbreak import HospitalOption
from twinward.cli.output import (
    HomeOption,
    JsonOption,
    OutputFile,
    YesOption,
    counted,
    say,
    show_json,
    show_table,
    table,
)
from twinward.cli.study.invitations import CodeFileOption, prove_officer
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Purpose

if TYPE_CHECKING:
    from twinward.access.interfaces import AccessContext
    from twinward.node import Node
    from twinward.outbreak.agreement import PeriodTerms
    from twinward.outbreak.releases import Releases

OutOption = Annotated[Path, typer.Option(help='The file to write; "-" is standard output.')]
AgreedArgument = Annotated[Path, typer.Argument(help="The agreed period, as `twinward outbreak reserve` wrote it.")]


def invite(
    name: Annotated[str, typer.Argument(help="Of the period, e.g. week-49.")],
    account: AsOption,
    out: OutOption,
    first: Annotated[str, typer.Option("--from", help="Its first day, YYYY-MM-DD.")],
    syndrome: Annotated[list[str], typer.Option(help="What is counted, e.g. influenza; once for each.")],
    hospital: Annotated[list[str], typer.Option(help="Who releases, this hospital among them; once for each.")],
    days: Annotated[int, typer.Option(min=1, max=366, help="How long it is; a patient counts once in it.")] = 7,
    levels: Annotated[int, typer.Option(min=1, max=9, help="Of the tree that are released; 1 is each day alone.")] = 1,
    epsilon: Annotated[float, typer.Option(min=0.01, max=10, help="For each patient, of all that is released.")] = 1.0,
    delta: Annotated[float, typer.Option(help="The same.")] = 1e-6,
    honest: Annotated[
        int, typer.Option(min=0, max=64, help="Hospitals whose noise is counted on.", show_default="all but one")
    ] = 0,
    key: Annotated[
        list[Path] | None, typer.Option(help="A hospital's study key, as its `twinward study keygen` wrote it.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Invite other hospitals to a period of daily counts, which this hospital will have reserved on the ledger.

    Three hospitals at least. Keys of hospitals in this home are known. Each hospital's officer approves it with
    `twinward outbreak approve`, which nothing is released without.

    Exit codes: 0, 2 no period, or a hospital's key is missing, 3 no such account, 4 the file exists, 6 no officer's
    account, 7 the log or the chain does not answer.

    Example: twinward outbreak invite week-49 --from 2026-11-30 --syndrome influenza --hospital st-anna
    --hospital northgate --hospital lakeside --key northgate.study-key.json --key lakeside.study-key.json
    --out week-49.json --as olga
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.federation.invitation import StudyKey
        from twinward.node.outbreak_releases import roster_of
        from twinward.outbreak.agreement import PeriodTerms
        from twinward.outbreak.continual import Period

        written = OutputFile(out, as_json=as_json)
        promised = Period(days, levels, epsilon, delta, len(syndrome))
        terms = PeriodTerms.promising(promised, name, hospital, syndrome, _date(first), honest or len(hospital) - 1)
        roster = roster_of(node, terms, [StudyKey.parse(read_input(one)) for one in key or ()])
        with _part(node, "", account, Purpose.COMPLIANCE) as (releases, by):
            content = releases.invite(by, terms, roster)
        written.write(content)
        shown = {"period": name, "file": str(written), "fingerprint": terms.fingerprint().hex(), "cost": terms.cost}
        written.report(
            shown,
            f"wrote {written}: {name}, {_days(terms)}",
            f"next, at each of {', '.join(terms.hospitals)}: twinward outbreak approve {written} --out FILE --as X",
        )


def approve(
    file: Annotated[Path, typer.Argument(help="The file that `twinward outbreak invite` wrote.")],
    account: AsOption,
    out: Annotated[Path | None, typer.Option(help="The approval to hand to the hospital that invited.")] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take the approval back; it holds at once.")] = False,
    hospital: HospitalOption = "",
    password_file: PasswordFileOption = None,
    code_file: CodeFileOption = None,
    yes: YesOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve a period of daily counts as this hospital's officer, and sign what it costs.

    Says what leaves and what it costs, and asks for the officer's password, and for a code where they have an
    authenticator app. It is an event in the log. Given again, the approval is the same.

    Exit codes: 0, 1 you said no, 2 no invitation, or not to this hospital, 3 no such account, 4 the file exists, or it
    was paid for before this home knew of it, 5 a wrong password or code, 6 no officer's account, not enough budget, or
    nothing to withdraw, 7 the log or the chain does not answer.

    Example: twinward outbreak approve week-49.json --out northgate.approval.json --as olga
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.outbreak.agreement import PeriodInvitation

        if withdraw is (out is not None):
            raise BadInput("give --out, or --withdraw")
        content = read_input(file)
        terms = (PeriodInvitation.parse_kept if withdraw else PeriodInvitation.parse)(content).terms
        name = hospital or node.settings.tenant
        written = None if out is None else OutputFile(out, as_json=as_json)
        with _part(node, name, account, Purpose.COMPLIANCE) as (releases, by):
            left = releases.budget_left()
            if not as_json and (written is None or not written.is_printed):
                for line in _words(terms, left):
                    say(line)
            prove_officer(node, account, password_file, code_file)
            confirm(f"{'Take back the approval of' if withdraw else 'Approve'} {terms.name} for {name}?", yes=yes)
            if written is None:
                releases.withdraw(by, content)
                shown = {"period": terms.name, "withdrawn": name}
                show_json(shown) if as_json else say(f"withdrawn: {terms.name} for {name}, by {account}")
                return
            approval = releases.approve(by, content)
        written.write(approval)
        written.report(
            {"period": terms.name, "approved": name, "file": str(written), "cost": terms.cost, "left": left},
            f"approved: {terms.name} for {name}, by {account}",
            f"wrote {written}: hand it to the hospital that invited",
        )


def reserve(
    file: Annotated[Path, typer.Argument(help="The invitation.")],
    approvals: Annotated[list[Path], typer.Argument(help="Every hospital's approval.")],
    account: AsOption,
    out: OutOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reserve what a period costs each hospital on the ledger, and write the agreed period for all of them.

    All are charged or none. What was reserved stays charged, whether or not anything is released.

    Exit codes: 0, 2 an approval is missing or of another period, 3 no such account, 4 the file exists, or the ledger
    refuses, 6 a budget does not reach, or a hospital signed something else, 7 the chain or the log does not answer.

    Example: twinward outbreak reserve week-49.json st-anna.approval.json northgate.approval.json
    lakeside.approval.json --out week-49.agreed.json --as olga
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.outbreak.agreement import AgreedPeriod

        written = OutputFile(out, as_json=as_json)
        agreed = AgreedPeriod.join(read_input(file), [read_input(one) for one in approvals])
        with _part(node, "", account, Purpose.OPERATIONS) as (releases, by):
            number = releases.reserve(by, agreed)
        written.write(agreed.content)
        terms = agreed.terms
        written.report(
            {"period": terms.name, "file": str(written), "reservation": number, "cost": terms.cost},
            f"reservation {number}: {terms.cost} millionths of 1/σ² of each of {', '.join(terms.hospitals)}",
            f"wrote {written}: hand it to all of them; `twinward outbreak release` counts under it",
        )


def release(
    file: AgreedArgument,
    account: AsOption,
    out: OutOption,
    day: Annotated[str, typer.Option(help="Up to which day, YYYY-MM-DD.", show_default="the newest that is over")] = "",
    hospital: HospitalOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count a period's cases in this hospital's vault, once, and write its share: with noise, and masked.

    Conditions of patients who consent to be counted, each once a syndrome, on the first day. Given again, the share is
    the same, byte for byte: noise is drawn once. A Condition that is entered for a day which was released counts in no
    day. Only the shares of all hospitals together mean anything: `twinward outbreak sum`.

    Exit codes: 0, 2 no agreed period, or no day of it, 3 no such account, 4 the day is not over, the file exists, or
    this home lacks what it released, 6 not approved, not paid for, or the account may not, 7 the chain, the log or its
    witnesses do not answer.

    Example: twinward outbreak release week-49.agreed.json --out northgate.share.json --as olga
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.outbreak.agreement import AgreedPeriod
        from twinward.outbreak.shares import Share

        written = OutputFile(out, as_json=as_json)
        agreed = AgreedPeriod.parse(read_input(file))
        terms = agreed.terms
        with _part(node, hospital, account, Purpose.OPERATIONS) as (releases, by):
            content = releases.release(by, agreed, terms.day_of(_date(day)) if day else None)
        written.write(content)
        days = len(Share.parse(content, agreed).days)
        until = terms.date_of(days)
        written.report(
            {"period": terms.name, "file": str(written), "days": days, "until": str(until)},
            f"wrote {written}: {counted(days, 'day', 'days')} of {terms.name}, up to {until}",
            "hand it to the hospitals that add up; by itself it says nothing",
        )


def sum_(
    file: AgreedArgument,
    shares: Annotated[list[Path], typer.Argument(help="Every hospital's share.")],
    account: AsOption,
    out: OutOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add up every hospital's share of a period: daily sums with noise, which `twinward outbreak watch` judges.

    Of the days that all shares have. Without one of them nothing is opened.

    Exit codes: 0, 2 a share is none, was altered, or is of another period, 3 no such account, 4 the file exists, 6 no
    counts come to such a sum, or the account may not, 7 a hospital's share is missing.

    Example: twinward outbreak sum week-49.agreed.json st-anna.share.json northgate.share.json lakeside.share.json
    --out week-49.sum.json --as olga
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.outbreak.agreement import AgreedPeriod
        from twinward.outbreak.shares import Share

        written = OutputFile(out, as_json=as_json)
        agreed = AgreedPeriod.parse(read_input(file))
        found = [Share.parse(read_input(one), agreed) for one in shares]
        with _part(node, "", account, Purpose.OPERATIONS) as (releases, by):
            summed = releases.add_up(by, agreed, found)
        written.write(summed.content())
        daily = {name: summed.daily(name) for name in summed.terms.syndromes}
        written.report(
            {"period": agreed.terms.name, "file": str(written), "days": summed.days, "noise": agreed.terms.noise}
            | {"daily": daily},
            f"wrote {written}: {counted(summed.days, 'day', 'days')} of {agreed.terms.name}, noise of variance "
            f"{agreed.terms.noise} in each sum",
        )


def periods(account: AsOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Periods of daily counts that the hospitals of this home approved: what was released, and what it costs.

    Exit codes: 0, 3 no such account, 7 the chain or the key service does not answer.

    Example: twinward outbreak periods --as olga
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.node.study_approvals import names_here

        found = []
        for name in names_here(node):
            with _part(node, name, account, Purpose.OPERATIONS) as (releases, _):
                found += [{"hospital": name} | one.shown() for one in releases.periods()]
        if as_json:
            show_json({"periods": found})
            return
        made = table("period", "hospital", "counts", "first day", "last day", "ε", "released", "stands")
        for one in found:
            days = (one["first_day"], one["last_day"], f"{one['epsilon']:g}", f"{one['released']}/{one['days']}")
            stands = "withdrawn" if not one["approved"] else "paid for" if one["reservation"] else "not paid for"
            if one["approved"] and not one["counted_here"]:
                stands = "code lists of another release"
            made.add_row(one["name"], one["hospital"], ", ".join(one["syndromes"]), *days, stands)
        show_table(made)
        say(counted(len(found), "period", "periods"))


@contextmanager
def _part(node: Node, hospital: str, account: str, purpose: Purpose) -> Iterator[tuple[Releases, AccessContext]]:
    from twinward.node.outbreak_releases import releases_of

    by = context_of(node, account, purpose)
    with releases_of(node, hospital or node.settings.tenant, by) as found:
        yield found


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{text!r} is no day", hint="YYYY-MM-DD") from None


def _days(terms: PeriodTerms) -> str:
    return f"{terms.first_day} to {terms.last_day}, ε {terms.epsilon:g}"


def _words(terms: PeriodTerms, left: int) -> list[str]:
    """What approving means."""
    return [
        f"{terms.name}: daily counts of {', '.join(terms.syndromes)}, {_days(terms)}, δ {terms.delta:g}",
        f"of {', '.join(terms.hospitals)}; {terms.honest} of them are counted on not to subtract their noise",
        "counted are patients who consent to that, each once a syndrome; each day's count leaves with noise, masked",
        "a patient of several of these hospitals is promised that by each by itself, not by all together",
        f"it costs {terms.cost} millionths of 1/σ² of this hospital's privacy budget; {left} are left",
    ]
