"""``twinward consortium``: who can change a consortium, what is proposed, and proposing, enacting, cancelling."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.context import node_at
from twinward.cli.input import confirm, read_input
from twinward.cli.output import HomeOption, JsonOption, YesOption, counted, say, show_json
from twinward.core.errors import BadInput, NotFound

if TYPE_CHECKING:
    from twinward.node import Node
    from twinward_contracts.bindings import Call, Change


NumberArgument = Annotated[int, typer.Argument(min=1, help="The change's number, as `twinward consortium show` says.")]


def show(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Who can change the consortium, and each change that is proposed and not yet enacted.

    Exit codes: 0, 3 no node in the home, 4 the contracts are an earlier release's, 7 the chain does not answer.

    Example: twinward consortium show --json
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.consortium.standing import standing_of

        standing = standing_of(node.consortium, node.known_names())
        now_ms = node.clock.now_ms()
        if as_json:
            show_json(standing.shown(now_ms))
            return
        say(f"owner     {standing.owner} (this node is {node.consortium.chain.sender})")
        say(f"rule      {standing.sentence}")
        say(f"epoch     {standing.epoch}")
        for one in standing.proposals:
            say(f"proposed  {one.sentence(now_ms)}")
        if not standing.proposals:
            say("nothing is proposed")


def card(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Print this hospital's card: what the others register when it joins their consortium. It is JSON, and public.

    Hand it over with the chain account that `twinward consortium show` names. They type `consortium propose --register`
    and `--admit`, and give you consortium.json.

    Exit codes: 0, 3 no node in the home.

    Example: twinward consortium card > northgate.card.json
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.consortium.membership import WitnessCard

        show_json(WitnessCard.of(node.settings.tenant, node.identity.witness_keys()).model_dump())


def propose(
    quorum: Annotated[int | None, typer.Option(min=1, help="How many witnesses must sign.")] = None,
    retire: Annotated[str | None, typer.Option(help="The hospital whose witness leaves.")] = None,
    register: Annotated[Path | None, typer.Option(help="The card of a witness that joins.")] = None,
    grant: Annotated[str | None, typer.Option(help="VENDOR=QUERIES: what a vendor may ask an epoch.")] = None,
    cap: Annotated[
        str | None, typer.Option(help="HOSPITAL=MILLIONTHS: what studies may learn of it, in 1/σ²; by its own key.")
    ] = None,
    admit: Annotated[str | None, typer.Option(help="A hospital's chain account that may write.")] = None,
    expel: Annotated[str | None, typer.Option(help="A chain account that may write no more.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change the consortium: at once where the keys of a quorum are on this machine, else by a proposal.

    Every node shows a proposal in `node status`, for days, before anybody can enact it; a quorum can cancel it
    meanwhile. Give exactly one of the options.

    Exit codes: 0 made or proposed, 2 not one change, 3 no such hospital, 4 the contract refuses or the hospital's key
    is not here, 7 the chain does not answer.

    Example: twinward consortium propose --quorum 3
    """
    given = {"quorum": quorum, "retire": retire, "register": register, "grant": grant, "cap": cap}
    chosen = {name: value for name, value in (given | {"admit": admit, "expel": expel}).items() if value is not None}
    with node_at(home, as_json=as_json) as node:
        if len(chosen) != 1:
            raise BadInput("give exactly one change", hint="e.g. twinward consortium propose --quorum 3")
        ((name, value),) = chosen.items()
        changes = (
            _cap(node, str(value)) if name == "cap" else [node.consortium.change(c) for c in _calls(node, name, value)]
        )
        proposed = [one for one in changes if one is not None]
        if as_json:
            show_json({"made": not proposed, "proposed": [one.number for one in proposed]})
            return
        if not proposed:
            say("a quorum's keys are here: it agreed, and the change is made")
        for one in proposed:
            say(f"proposed as change {one.number}; `twinward consortium show` says from when it can be enacted")


def enact(number: NumberArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Make a proposed change that is due. Any hospital's node may.

    Exit codes: 0 made, 4 it is not due yet, expired, cancelled, made before or refused, 7 the chain does not answer.

    Example: twinward consortium enact 3
    """
    with node_at(home, as_json=as_json) as node:
        node.consortium.enact(number)
        _done({"enacted": number}, f"change {number} is made", as_json=as_json)


def cancel(number: NumberArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Take a proposal back: as its owner, or by the quorum whose keys are on this machine.

    Exit codes: 0 cancelled, 4 nothing is proposed under this number, or you may not, 7 the chain does not answer.

    Example: twinward consortium cancel 3
    """
    with node_at(home, as_json=as_json) as node:
        node.consortium.cancel(number)
        _done({"cancelled": number}, f"change {number} is cancelled", as_json=as_json)


def renew(
    witness_card: Annotated[
        list[Path] | None, typer.Option(help="A witness that is asked over HTTP, as `witness card` prints it.")
    ] = None,
    yes: YesOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Found new contracts where a home's are an earlier release's, which their owner alone could change.

    Vendors' budgets and what they spent, this consortium's privacy budgets and the models are taken over; the log is
    held against its old anchor first and anchored anew. An exchange and a contract for outbreaks begin anew, empty:
    what was promised in the old ones stays there. The old addresses are kept beside the new. Stop the server before;
    afterwards hand consortium.json to the other members, and the new anchor to each witness.

    Exit codes: 0 founded, 1 you said no, 2 nobody to ask and no --yes, or witnesses that are no quorum, 4 nothing to
    renew, the node is being served, or emergencies wait for their review there, 7 the chain does not answer or the log
    does not hold what was anchored.

    Example: twinward consortium renew --yes
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.consortium.membership import WitnessCard
        from twinward.node.renewal import renew as found_anew

        cards = [WitnessCard.parse(read_input(card)) for card in witness_card or ()]
        confirm("Found new contracts and use them instead of the old ones?", yes=yes)
        done = found_anew(node, cards)
        shown = {"anchor": done.anchor, "kept": str(done.kept), "vendors": done.vendors}
        if as_json:
            show_json(shown | {"hospitals": done.hospitals, "models": done.models})
            return
        say(f"new contracts are founded; the old addresses are kept in {done.kept}")
        vendors = counted(done.vendors, "vendor", "vendors")
        hospitals, models = counted(done.hospitals, "hospital", "hospitals"), counted(done.models, "model", "models")
        say(f"taken over: {vendors}, privacy budgets of {hospitals}, {models}")
        if cards:
            say(f'  twinward witness add-log "{node.log.key}" --anchor "{done.anchor}"    (at each witness)')
        say("  twinward audit checkpoint    (anchors the log in the new contract)")


def _calls(node: Node, name: str, value: Any) -> list[Call]:
    """The calls of one change."""
    from twinward_crypto import bls

    consortium = node.consortium
    if name == "quorum":
        return [consortium.witness_set.setting_quorum(value)]
    if name == "retire":
        return [consortium.witness_set.retiring(_place_of(node, value))]
    if name == "register":
        from twinward.consortium.membership import WitnessCard

        founder = WitnessCard.parse(read_input(value)).founder()
        key = bls.public_key_to_eip2537(founder.public_key)
        return [consortium.witness_set.registering(founder.name, key, bls.signature_to_eip2537(founder.possession))]
    if name == "grant":
        vendor, queries = _pair(value)
        return [consortium.budgets.granting(vendor, queries)]
    return consortium.membership(value, admit=name == "admit")


def _cap(node: Node, value: str) -> list[Change | None]:
    from twinward.federation.models import COHORT

    hospital, micros = _pair(value)
    return [node.consortium.cap_privacy(hospital, COHORT, micros)]


def _place_of(node: Node, hospital: str) -> int:
    from twinward.node import translated
    from twinward_contracts.names import name_id

    with translated():
        for one in node.consortium.witness_set.witnesses():
            if one.active and one.name_id == name_id(hospital):
                return one.index
    raise NotFound(f"no witness of {hospital} counts", hint="give the short name of its witness's card")


def _pair(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not name or not number.isascii() or not number.isdigit() or int(number) >= 2**64:
        raise BadInput(f"{text!r} is not NAME=NUMBER", hint="e.g. --grant acme=100")
    return name, int(number)


def _done(shown: dict[str, Any], words: str, *, as_json: bool) -> None:
    if as_json:
        show_json(shown)
    else:
        say(words)
