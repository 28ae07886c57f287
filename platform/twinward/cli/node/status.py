"""``twinward node status``: how a node is, by itself and on the chain."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from twinward.cli.access import emergency_lines
from twinward.cli.context import node_at
from twinward.cli.errors import errors_taught
from twinward.cli.output import HomeOption, JsonOption, say, show_json
from twinward.core import collector
from twinward.core.clock import SystemClock, iso
from twinward.core.config import Settings
from twinward.core.errors import Conflict, TwinwardError, Unavailable
from twinward.overview.status_note import Basis, NotedStatus, note_status, noted_status

if TYPE_CHECKING:
    from twinward.node import Node
    from twinward.overview.doctor import Finding

_WHEN = {"note": "to know", "warn": "soon", "bad": "now"}
_TOLD_BELOW = frozenset({"chain", "emergencies", "breaches"})
"""Checks that this command shows in lines of their own: what the contracts say, and what waits for officers."""


def status(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """A node in one screen: whether it is in order and what to do, its log, witnesses and twins, who may ask.

    First what `twinward node doctor` finds (but for its slow checks) and what waits for an officer. Last who can change
    the consortium, and each change that is proposed: a quorum of hospitals can stop it meanwhile.

    Where nothing in the home changed since it was last asked, it says again what it said then ("as of"), for ten
    minutes at most; `twinward node doctor` looks anew each time.

    What the node knows by itself is shown as well where the consortium's contracts cannot be read; then the error comes
    last (--json: the member "error"). Exit codes: 0, 3 no node in the home, 4 the contracts are an earlier release's
    (`twinward consortium renew`), 7 the chain does not answer, 8 the log is not what was signed.

    Example: twinward node status --json
    """
    with errors_taught(as_json=as_json):
        found, problem = _found(home, as_json=as_json)
        if as_json:
            show_json(found.shown)
            if problem is not None:
                raise typer.Exit(problem.exit_code)
            return
        _print_own(found.shown, found.emergencies)
        if problem is not None:
            raise problem
        _print_agreed(found.shown)


def _found(home: Path | None, *, as_json: bool) -> tuple[NotedStatus, TwinwardError | None]:
    """How things stand, as of the last time it was asked if nothing changed since, and why the contracts cannot be read
    where they cannot."""
    settings, clock = Settings.load(home), SystemClock()
    noted = noted_status(settings, clock.now_ms())
    if noted is not None:
        return noted, None
    before, at_ms = Basis.of(settings), clock.now_ms()
    # A sixth of this command would go into looking through what it imports.
    with collector.at_rest(), node_at(home, as_json=as_json) as node:
        shown, problem = _status(node)
        found = NotedStatus(at_ms, {"as_of": iso(at_ms)} | shown, emergency_lines(node.emergencies.counts()))
    if problem is None:
        note_status(settings, found, before)
    return found, problem


def _print_own(shown: dict[str, Any], emergencies: list[str]) -> None:
    """What the node knows by itself."""
    log = shown["log"]
    say(f"{shown['hospital']} ({shown['tenant']}): {shown['verdict']} (as of {shown['as_of'][:16]})")
    for one in shown["findings"]:
        remedy = f" → {one['remedy']}" if one["remedy"] else ""
        say(f"{_WHEN[one['severity']]:<9} {one['check']}: {one['say']}{remedy}")
    for one in shown["work"]:
        say(f"{'waits':<9} {one['say']}")
    say(f"twins     {shown['twins']}, {shown['shredded']} shredded")
    say(f"log       {log['size']:,} events, {log['signed']:,} signed")
    if log["key_since"]:
        say(f"log key   {log['key']} from size {log['key_since']} on")
    say(f"cosigned  by {log['cosigned']} of {log['witnesses']} witnesses, {log['quorum']} needed")
    anchored = "nothing yet" if log["anchored_block"] is None else f"block {log['anchored_block']}"
    say(f"anchored  {log['anchored']:,} events, {anchored}")
    if log["waits"]:
        say(f"waiting   {log['pending']:,} events, since {log['waits']['since'][:16]}: {log['waits']['why']}")
    if log["journal"]["waiting"]:
        say(f"journal   {log['journal']['waiting']} events of emergencies wait for the log")
    for name in log["journal"]["evidence"]:
        say(f"journal   altered: examine {name}, then take it away")
    if log["journal"]["lost"]:
        lost = log["journal"]["lost"]
        say(f"journal   {lost} events of emergencies were cut off it: ask who could write that file")
    for line in emergencies:
        say(f"emergency {line}")
    for witness in shown["witnesses"]:
        say(f"witness   {witness['say']}")


def _print_agreed(shown: dict[str, Any]) -> None:
    """What the contracts say."""
    say(f"consortium {shown['consortium']['say']}")
    for proposal in shown["consortium"]["proposals"]:
        say(f"proposed  {proposal['say']}")
    say(f"epoch     {shown['epoch']}")
    for vendor in shown["vendors"]:
        say(f"vendor    {vendor['id']}: {vendor['queries_left']} queries left in this epoch")
    for one in shown["counts"]:
        left = f"epsilon {one['epsilon_left']:g} of {one['epsilon_granted']:g} left in this epoch"
        say(f"counts    {one['id'] or 'all vendors'}: {left}")


def _status(node: Node) -> tuple[dict[str, Any], TwinwardError | None]:
    """How things stand, and why the contracts cannot be read where they cannot. The contracts are asked once."""
    from twinward.overview.agreed_note import agreed_again
    from twinward.overview.doctor import chain_answers, failed
    from twinward.overview.status import own_status

    own = own_status(node).shown()
    try:
        agreed = agreed_again(node)
        return own | _condition(node, chain_answers(agreed)) | agreed.shown(node.clock.now_ms()), None
    except (Conflict, Unavailable) as error:
        told = {"kind": type(error).__name__, "message": str(error), "hint": error.hint}
        unread = {"consortium": None, "epoch": None, "vendors": None, "counts": None, "error": told}
        return own | _condition(node, failed("chain", error)) | unread, error


def _condition(node: Node, chain: Finding) -> dict[str, Any]:
    """Whether it is in order, what is to be done, and what waits for officers; ``chain`` is what that check found."""
    from twinward.overview.condition import to_do, verdict
    from twinward.overview.doctor import SLOW, examined
    from twinward.overview.work import work_waiting

    findings = [*examined(node, without=SLOW | {chain.check}), chain]
    work = [one for one in work_waiting(node) if one.count and one.kind != "emergencies"]  # they have their own lines
    return {
        "verdict": verdict(findings),
        "findings": [asdict(one) for one in to_do(findings) if one.check not in _TOLD_BELOW],
        "work": [asdict(one) for one in work],
    }
