"""``twinward exchange offer``, ``request``, ``promise``, ``ship`` and the other steps, each in a hospital's name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.context import AsOption, context_of, node_at
from twinward.cli.input import read_input
from twinward.cli.output import HomeOption, JsonOption, OutputFile, say, show_json
from twinward.core.clock import instant_ms, iso
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Purpose

if TYPE_CHECKING:
    from twinward.access.interfaces import AccessContext
    from twinward.exchange.models import ListingView, TransferView
    from twinward.exchange.service import Details, Exchange
    from twinward_contracts.bindings import ListingKind

ResourceArgument = Annotated[str, typer.Argument(help="The resource's code, e.g. ventilator; 1 to 31 of a-z 0-9 -")]
QuantityArgument = Annotated[int, typer.Argument(min=1, help="How many.")]
UntilOption = Annotated[str, typer.Option(help="Until when it stands, RFC 3339; a request is to be met by then.")]
DetailsOption = Annotated[
    str, typer.Option(help="For whom it concerns. It stays in this hospital's log; the chain gets a salted hash.")
]
IdOption = Annotated[
    str, typer.Option("--id", help="Done once under one id, however often it is sent.", show_default="a new one")
]
HospitalOption = Annotated[
    str, typer.Option(help="In which hospital's name; one whose keys are in this home.", show_default="the home's own")
]
TransferArgument = Annotated[int, typer.Argument(min=1, help="Its number, as `twinward exchange list` prints it.")]
ArrivedOption = Annotated[int, typer.Option(min=0, help="How many arrived; 0 for none.")]


def open_(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Make the contract that the consortium's hospitals exchange resources on; one of them does, once.

    Afterwards hand consortium.json to the other hospitals: it names the contract. Nobody owns it.

    Exit codes: 0 made, 3 no node in the home, 4 there is one, 7 the chain does not answer.

    Example: twinward exchange open
    """
    with node_at(home, as_json=as_json) as node:
        made = node.consortium.open_exchange()
        if as_json:
            show_json({"exchange": made.address})
            return
        say(f"the exchange is at {made.address}; hand consortium.json to the other hospitals")


def offer(
    resource: ResourceArgument,
    quantity: QuantityArgument,
    until: UntilOption,
    account: AsOption,
    details: DetailsOption = "",
    id_: IdOption = "",
    hospital: HospitalOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Offer a resource to the consortium's other hospitals, signed by this one.

    Every hospital, and whoever reads the chain, sees code, quantity and deadline. Say nothing of a patient.

    Exit codes: 0 offered, 2 no such code or time, 3 no such account, 4 no exchange, or refused, 6 the account may not,
    7 the chain or the log does not answer.

    Example: twinward exchange offer ventilator 5 --until 2026-02-07T00:00:00Z --as olga
    """
    terms = (resource, quantity, until, details, id_)
    with _exchange(hospital, account, home, as_json) as (desk, by):
        from twinward_contracts.bindings import ListingKind

        _listed(desk, by, ListingKind.OFFER, terms, as_json=as_json)


def request(
    resource: ResourceArgument,
    quantity: QuantityArgument,
    until: UntilOption,
    account: AsOption,
    details: DetailsOption = "",
    id_: IdOption = "",
    hospital: HospitalOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Request a resource of the consortium's other hospitals, signed by this one; it is to arrive by the deadline.

    Exit codes: as `twinward exchange offer`.

    Example: twinward exchange request ventilator 3 --until 2026-02-03T12:00:00Z --as olga
    """
    terms = (resource, quantity, until, details, id_)
    with _exchange(hospital, account, home, as_json) as (desk, by):
        from twinward_contracts.bindings import ListingKind

        _listed(desk, by, ListingKind.REQUEST, terms, as_json=as_json)


def withdraw(
    listing: Annotated[int, typer.Argument(min=1, help="The listing's number.")],
    account: AsOption,
    hospital: HospitalOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """End an offer or a request of this hospital before its time. What was promised stays promised.

    Exit codes: 0 withdrawn, 3 no such listing or account, 4 refused, 6 the account may not, 7 no answer.

    Example: twinward exchange withdraw 4 --as olga
    """
    with _exchange(hospital, account, home, as_json) as (desk, by):
        _show_listing(desk.withdraw(by, listing), as_json=as_json)


def promise(
    offered: Annotated[int, typer.Option("--offer", min=1, help="This hospital's offer.")],
    requested: Annotated[int, typer.Option("--request", min=1, help="The other hospital's request.")],
    quantity: Annotated[int, typer.Option(min=1, help="How many.")],
    ship_by: Annotated[str, typer.Option(help="By when it leaves, RFC 3339.")],
    receive_by: Annotated[str, typer.Option(help="By when it arrives, RFC 3339.")],
    account: AsOption,
    details: DetailsOption = "",
    id_: IdOption = "",
    hospital: HospitalOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Promise a part of this hospital's offer to another hospital's request. A promise not kept in time is counted.

    Exit codes: 0 promised, 2 no such time, 3 no such listing or account, 4 refused: not left, ended, another resource;
    6 the account may not, 7 the chain or the log does not answer.

    Example: twinward exchange promise --offer 1 --request 2 --quantity 2 --ship-by 2026-02-01T12:00:00Z
    --receive-by 2026-02-02T12:00:00Z --as olga
    """
    with _exchange(hospital, account, home, as_json) as (desk, by):
        from twinward.exchange.service import Details

        told, times = Details.of(details), (instant_ms(ship_by) // 1000, instant_ms(receive_by) // 1000)
        made = desk.promise(by, offered, requested, quantity, *times, told, request=id_)
        _show_transfer(made, as_json=as_json)
        _say_salt(told, made.details, as_json=as_json)


def ship(
    transfer: TransferArgument,
    account: AsOption,
    hospital: HospitalOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that what this hospital promised is on its way, by its deadline.

    Exit codes: 0 noted, 3 no such transfer or account, 4 refused: too late, another's step; 6 may not, 7 no answer.

    Example: twinward exchange ship 1 --as olga
    """
    with _exchange(hospital, account, home, as_json) as (desk, by):
        _show_transfer(desk.ship(by, transfer), as_json=as_json)


def receive(
    transfer: TransferArgument,
    arrived: ArrivedOption,
    account: AsOption,
    hospital: HospitalOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how much arrived of what was promised to this hospital. Late is recorded as late.

    Exit codes: 0 noted, 3 no such transfer or account, 4 refused: not shipped, another's step; 6 may not, 7 no answer.

    Example: twinward exchange receive 1 --arrived 2 --as olga
    """
    with _exchange(hospital, account, home, as_json) as (desk, by):
        _show_transfer(desk.receive(by, transfer, arrived), as_json=as_json)


def dispute(
    transfer: TransferArgument,
    why: Annotated[str, typer.Option(help="What is wrong. It stays in this hospital's log; the chain gets a hash.")],
    account: AsOption,
    hospital: HospitalOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Dispute what was shipped, or received within a fortnight. Either of the two hospitals may.

    It is settled by both signatures (`twinward exchange settle`), or by a quorum of the consortium.

    Exit codes: 0 disputed, 2 no reason, 3 no such transfer or account, 4 refused, 6 may not, 7 no answer.

    Example: twinward exchange dispute 1 --why "two of three arrived broken" --as olga
    """
    with _exchange(hospital, account, home, as_json) as (desk, by):
        from twinward.exchange.service import Details

        evidence = Details.of(why)
        _show_transfer(desk.dispute(by, transfer, evidence), as_json=as_json)
        _say_salt(evidence, evidence.hash(), as_json=as_json)


def settle(
    transfer: TransferArgument,
    arrived: Annotated[int, typer.Option(min=0, help="How many arrived, both agree.")],
    account: AsOption,
    out: Annotated[Path | None, typer.Option(help="Write this hospital's half here, for the other.")] = None,
    half: Annotated[Path | None, typer.Option("--with", help="The other hospital's half: settles it.")] = None,
    hospital: HospitalOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Settle a dispute: one hospital writes its half with --out, the other settles it with --with.

    Each says itself which transfer, and how many arrived: a half that says something else is refused.

    Exit codes: 0 signed or settled, 2 neither a half to write nor one to settle with, 3 no such transfer or account,
    4 refused, 6 may not, 7 no answer.

    Examples: twinward exchange settle 1 --arrived 2 --out half.json --as olga
    · twinward exchange settle 1 --arrived 2 --with half.json --as otto
    """
    with _exchange(hospital, account, home, as_json) as (desk, by):
        from twinward.exchange.models import Signed

        if half is not None and out is None:
            try:
                found = json.loads(read_input(half))
            except (ValueError, RecursionError):
                found = None
            _show_transfer(desk.settle(by, transfer, arrived, Signed.parse(found)), as_json=as_json)
        elif half is None and out is not None:
            file = OutputFile(out, as_json=as_json)
            signed = desk.sign_settlement(by, transfer, arrived)
            file.write(json.dumps(signed.shown()).encode())
            file.report({"file": str(file), **signed.shown()}, f"wrote {file}: hand it to the other hospital")
        else:
            hint = "--out FILE at one hospital, then --with FILE at the other"
            raise BadInput("give a half to write, or one to settle with", hint=hint)


def cancel(
    transfer: TransferArgument,
    account: AsOption,
    hospital: HospitalOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Undo a promise before it is shipped. A giver that does breaks its word, and it is counted.

    Exit codes: 0 cancelled, 3 no such transfer or account, 4 refused, 6 may not, 7 no answer.

    Example: twinward exchange cancel 1 --as olga
    """
    with _exchange(hospital, account, home, as_json) as (desk, by):
        _show_transfer(desk.cancel(by, transfer), as_json=as_json)


def lapse(
    transfer: TransferArgument,
    account: AsOption,
    hospital: HospitalOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Undo a promise of anybody's that was not shipped in time: both listings get back what it had taken.

    Exit codes: 0 undone, 3 no such transfer or account, 4 not due, 6 may not, 7 no answer.

    Example: twinward exchange lapse 1 --as olga
    """
    with _exchange(hospital, account, home, as_json) as (desk, by):
        _show_transfer(desk.lapse(by, transfer), as_json=as_json)


def decide(
    transfer: TransferArgument,
    arrived: Annotated[int, typer.Option(min=0, help="How much arrived.")],
    account: AsOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have the consortium settle a dispute that the two hospitals do not: at once where a quorum's keys are here.

    Else it is proposed for all to see, and `twinward consortium enact` makes it once it is due.

    Exit codes: 0 decided or proposed, 3 no such transfer or account, 4 refused, 6 may not, 7 no answer.

    Example: twinward exchange decide 1 --arrived 2 --as olga
    """
    with node_at(home, as_json=as_json) as node:
        call = node.exchange.deciding(context_of(node, account, Purpose.OPERATIONS), transfer, arrived)
        change = node.consortium.change(call)
        if change is None:
            _show_transfer(node.exchange.transfer(transfer), as_json=as_json)
        elif as_json:
            show_json({"transfer": transfer, "proposed": change.number})
        else:
            say(f"proposed as change {change.number}; `twinward consortium show` says from when it can be enacted")


@contextmanager
def _exchange(
    hospital: str, account: str, home: Path | None, as_json: bool
) -> Iterator[tuple[Exchange, AccessContext]]:
    """A hospital's part in the exchange, and in whose name it is used."""
    with node_at(home, as_json=as_json) as node:
        from twinward.node.study_approvals import abroad, member

        by = context_of(node, account, Purpose.OPERATIONS)
        with member(node, hospital or node.settings.tenant) as one:
            yield one.node.exchange, abroad(by, one, node)


def _listed(
    desk: Exchange, by: AccessContext, kind: ListingKind, terms: tuple[str, int, str, str, str], *, as_json: bool
) -> None:
    from twinward.exchange.service import Details

    resource, quantity, until, details, id_ = terms
    told = Details.of(details)
    made = desk.enter(by, kind, resource, quantity, instant_ms(until) // 1000, told, request=id_)
    _show_listing(made, as_json=as_json)
    _say_salt(told, made.details, as_json=as_json)


def _show_listing(one: ListingView, *, as_json: bool) -> None:
    if as_json:
        show_json(one.shown())
        return
    until = iso(one.until_s * 1000)[:16].replace("T", " ")
    say(f"{one.kind} {one.number}: {one.left} of {one.quantity} {one.resource} left, {one.hospital}, until {until} UTC")


def _show_transfer(one: TransferView, *, as_json: bool) -> None:
    if as_json:
        show_json(one.shown())
        return
    say(f"transfer {one.number}: {one.quantity} {one.resource}, {one.giver} to {one.receiver}, {_standing(one)}")


def _standing(one: Any) -> str:
    return f"{one.state} ({one.late})" if one.late else str(one.state)


def _say_salt(told: Details, kept: bytes, *, as_json: bool) -> None:
    """The salt by which the text can be checked; not that of a step which was sent before under the same id."""
    if as_json or not told.text:
        return
    if told.hash() == kept:
        say(f"for whom it concerns: the text, and the salt {told.salt.hex()}")
    else:
        say("it was sent before: the text and the salt of then, which this hospital's log has, are what counts")
