"""``twinward keys``: the keyring's state, rotation, erasing a person, officers' shares of the local master key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twinward.cli.opening import node_at
from twinward.cli.screen import HomeOption, JsonOption, YesOption, confirm, counted, errors_taught, say, show_json
from twinward.cli.shares import SHOWN_ONCE, local_store, read_shares
from twinward.cli.shredding import BACK_UP, DryRunOption, add_shredding, wrapping_anew
from twinward.core.errors import BadInput

if TYPE_CHECKING:
    from twinward.vault.keys.rotation import RotationPlan

app = typer.Typer(help="The keyring: state, rotation, erasing a person, officers' shares.", no_args_is_help=True)

SharesOption = Annotated[
    Path | None,
    typer.Option(
        "--shares-from",
        help="A file with what `keys split` printed; - for standard input. Else you are asked.",
    ),
]


@app.callback()
def _keys() -> None:
    """The keyring: state, rotation, erasing a person, officers' shares."""


@app.command()
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


@app.command()
def rotate(
    retire: Annotated[
        bool, typer.Option("--retire", help="Afterwards destroy the old KEKs: older backups then open nothing.")
    ] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Wrap every twin's key anew under a fresh KEK. No record is touched; interrupted, it goes on the next time.

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
            version = node.keyring.rotate(shown)
        retired = node.keyring.retire() if retire else []
        if as_json:
            show_json({"kek": version, "retired": retired})
            return
        say(f"every twin's key is wrapped under KEK {version}")
        if retired:
            say(f"destroyed: {_keks(retired)}; {BACK_UP}")
        elif not retire:
            say("the old KEKs are still there; --retire destroys them")


@app.command()
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


@app.command()
def split(
    shares: Annotated[int, typer.Option("--shares", help="How many there are, at most 32.")] = 5,
    threshold: Annotated[int, typer.Option("--threshold", help="How many of them open the key store.")] = 3,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Split the local key store's master key into shares, and print them once. Changes nothing by itself.

    Give each to one officer, then `twinward keys seal`. Shares of earlier splits stay valid. Exit codes: 0, 2 a
    threshold that protects nothing or a key service that has no shares, 3 no key store, 7 it does not open.

    Example: twinward keys split --shares 5 --threshold 3
    """
    with errors_taught(as_json=as_json):
        if not 2 <= threshold <= shares <= 32:
            raise BadInput("2 ≤ threshold ≤ shares ≤ 32 must hold: with a threshold of 1, each share is the key")
        made = local_store(home).split_master_key(shares=shares, threshold=threshold)
        if as_json:
            show_json({"threshold": threshold, "shares": [share.encode() for share in made]})
            return
        for share in made:
            say(f"share {share.index}: {share.encode()}")
        say(SHOWN_ONCE.format(threshold))


@app.command()
def seal(
    shares_from: SharesOption = None, yes: YesOption = False, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Remove the key file, once enough shares have shown that they open the key store. A running node keeps running.

    Afterwards no command opens this node until `twinward keys unseal`. Exit codes: 0, 1 you said no, 2 no shares or
    nobody to ask, 3 no key store, 7 it does not open or the shares are not its own.

    Example: twinward keys seal --shares-from - --yes < shares.txt
    """
    with errors_taught(as_json=as_json):
        given = read_shares(shares_from)
        store = local_store(home, given)
        confirm("Remove the key file? Only enough shares then open this node.", yes=yes)
        store.discard_key_file(given)
        show_json({"sealed": True}) if as_json else say("sealed: the key file is gone")


@app.command()
def unseal(shares_from: SharesOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Write the key file again from enough shares, so that the node can start. `twinward keys seal` removes it again.

    Exit codes: 0, 2 no shares or nobody to ask, 3 no key store, 7 the shares do not open it.

    Example: twinward keys unseal
    """
    with errors_taught(as_json=as_json):
        given = read_shares(shares_from)
        local_store(home, given).restore_key_file(given)
        show_json({"sealed": False}) if as_json else say(
            "unsealed: the key file is back; seal again once the node runs"
        )


add_shredding(app)


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
