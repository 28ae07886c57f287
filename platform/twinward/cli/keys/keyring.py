"""``twinward keys``: the keyring's state, rotation, erasing a person, officers' shares of the local master key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from twinward.cli.context import node_at
from twinward.cli.input import confirm
from twinward.cli.keys.shred import BACK_UP, DryRunOption, wrapping_anew
from twinward.cli.output import HomeOption, JsonOption, YesOption, counted, say, show_json

if TYPE_CHECKING:
    from twinward.vault.keys.rotation import RotationPlan


def status(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Which key-encryption keys there are, and how many twins' keys each of them wraps. Opens nothing.

    Exit codes: 0, 3 no node in the home, 7 the key service does not answer.

    Example: twinward keys status
    """
    with node_at(home, as_json=as_json) as node:
        census, unfinished = node.keyring.census(), len(node.keyring.unfinished())
        provider = node.identity.provider.uri.partition(":")[0]
        if as_json:
            wrapped = {str(version): census.wrapped.get(version, 0) for version in census.keks}
            shown = {"provider": provider, "keks": wrapped, "shredded": len(census.shredded)}
            show_json(shown | {"unfinished_erasures": unfinished})
            return
        say(f"key service: {provider}")
        for version in census.keks:
            newest = " (newest)" if version == census.keks[-1] else ""
            wraps = counted(census.wrapped.get(version, 0), "twin's key", "twins' keys")
            say(f"KEK {version}{newest}: wraps {wraps}")
        say(f"{counted(len(census.shredded), 'twin was', 'twins were')} shredded")
        if unfinished:
            undone = counted(unfinished, "erasure is", "erasures are")
            say(f"{undone} unfinished: old backups still open what was erased until `twinward keys finish`")


def rotate(
    retire: Annotated[
        bool, typer.Option("--retire", help="Afterwards destroy the old KEKs: older backups then open nothing.")
    ] = False,
    renew: Annotated[
        bool, typer.Option("--renew", help="Make the keys anew that wrap twins' keys, too: a node's memory was read.")
    ] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Wrap all that wraps twins' keys under a fresh KEK. No record is touched; interrupted, it goes on the next time.

    Exit codes: 0, 1 you said no, 2 --retire with nobody to ask and no --yes, 7 the key service does not answer.

    Example: twinward keys rotate --retire --yes
    """
    with node_at(home, as_json=as_json) as node:
        if dry_run:
            plan = node.keyring.rotation_plan()
            _show_rotation_plan(plan, retire=retire, as_json=as_json)
            return
        if retire:
            confirm("Destroy the old KEKs? Backups of the keyring made before now will open nothing.", yes=yes)
        with wrapping_anew() as shown:
            version = node.keyring.rotate(shown, renew=renew)
        retired = node.keyring.retire() if retire else []
        if as_json:
            show_json({"kek": version, "retired": retired})
            return
        say(f"every twin's key is wrapped under KEK {version}")
        if retired:
            say(f"destroyed: {_keks(retired)}; {BACK_UP}")
        elif not retire:
            say("the old KEKs are still there; --retire destroys them")


def retire(
    dry_run: DryRunOption = False, yes: YesOption = False, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Destroy every KEK that wraps no key any more, save the newest. Interrupted, it goes on the next time.

    Exit codes: 0, 1 you said no, 2 nobody to ask and no --yes, 7 the key service does not answer.

    Example: twinward keys retire --dry-run
    """
    with node_at(home, as_json=as_json) as node:
        if dry_run:
            idle = node.keyring.idle_keks()
            if as_json:
                show_json({"retired": idle, "done": False})
            else:
                say(f"would be destroyed: {_keks(idle)}; nothing was done")
            return
        confirm("Destroy the old KEKs? Backups of the keyring made under them will open nothing.", yes=yes)
        retired = node.keyring.retire()
        show_json({"retired": retired}) if as_json else say(f"destroyed: {_keks(retired)}")


def _show_rotation_plan(plan: RotationPlan, *, retire: bool, as_json: bool) -> None:
    retiring = list(plan.retiring) if retire else []
    if as_json:
        show_json({"kek": plan.kek, "new": plan.new, "keys": plan.keys, "retired": retiring, "done": False})
        return
    keys = counted(plan.keys, "twin's key", "twins' keys")
    say(f"{keys} would be wrapped under {'a new ' if plan.new else ''}KEK {plan.kek}")
    if retire:
        say(f"would be destroyed: {_keks(retiring)}")
    say("nothing was done")


def _keks(versions: Sequence[int]) -> str:
    return ", ".join(f"KEK {one}" for one in versions) or "nothing"
