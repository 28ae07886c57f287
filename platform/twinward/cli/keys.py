"""``twinward keys``: the keyring's state, rotation, erasing a person, officers' shares of the local master key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from twinward.cli.opening import AsOption, TwinArgument, node_at, request_of, twin_of
from twinward.cli.screen import HomeOption, JsonOption, YesOption, confirm, errors_taught, progress, say, show_json
from twinward.cli.shares import local_store, read_shares
from twinward.errors import BadInput
from twinward.vocabulary import Action, Purpose

app = typer.Typer(help="The keyring: state, rotation, erasing a person, officers' shares.", no_args_is_help=True)

SharesOption = Annotated[
    Path | None,
    typer.Option("--shares-from", help="A file with the shares, one a line; - for standard input. Else you are asked."),
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
        census = node.keyring.census()
        provider = node.identity.provider.uri.partition(":")[0]
        if as_json:
            wrapped = {str(version): census.wrapped.get(version, 0) for version in census.keks}
            show_json({"provider": provider, "keks": wrapped, "shredded": len(census.shredded)})
            return
        say(f"key service: {provider}")
        for version in census.keks:
            newest = " (newest)" if version == census.keks[-1] else ""
            say(f"KEK {version}{newest}: wraps {census.wrapped.get(version, 0)} twins' keys")
        say(f"{len(census.shredded)} twins were shredded")


@app.command()
def rotate(
    retire: Annotated[
        bool, typer.Option("--retire", help="Afterwards destroy the old KEKs: older backups then open nothing.")
    ] = False,
    yes: YesOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Wrap every twin's key anew under a fresh KEK. No record is touched; interrupted, it goes on the next time.

    Exit codes: 0, 1 you said no, 2 --retire with nobody to ask and no --yes, 7 the key service does not answer.

    Example: twinward keys rotate --retire --yes
    """
    with node_at(home, as_json=as_json) as node:
        if retire:
            confirm("Destroy the old KEKs? Backups of the keyring made before now will open nothing.", yes=yes)
        with progress() as bars:
            task = bars.add_task("wrapping anew", total=None)
            version = node.keyring.rotate(lambda done, total: bars.update(task, completed=done, total=max(total, 1)))
        retired = node.keyring.retire() if retire else []
        if as_json:
            show_json({"kek": version, "retired": retired})
            return
        say(f"every twin's key is wrapped under KEK {version}")
        if retired:
            say(f"destroyed: {', '.join(f'KEK {one}' for one in retired)}")
        elif not retire:
            say("the old KEKs are still there; --retire destroys them")


@app.command()
def shred(
    twin: TwinArgument,
    account: AsOption,
    purpose: Annotated[Purpose, typer.Option(help="PATRQT (the patient's request) or HCOMPL (compliance).")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what policy thinks of it.")] = False,
    yes: YesOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase a person: destroy their twin's key, so that no record and no event of theirs ever opens again.

    The decision is logged first. Backups hold the wrapped key until `keys rotate --retire` has followed. Exit codes:
    0, 1 you said no, 2 nobody to ask and no --yes, 3 no such twin or account, 6 policy says no.

    Example: twinward keys shred 0198… --as olga --purpose PATRQT --yes
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.vault.erasure import erase

        if dry_run and yes:
            raise BadInput("--dry-run and --yes contradict each other")
        principal = node.accounts.named(account)
        request = request_of(principal, Action.SHRED, purpose, twin_of(node, twin))
        if dry_run:
            decision = node.access.check(request)
            _show_dry_run(twin, permitted=decision.permitted, reason=decision.reason, as_json=as_json)
            raise typer.Exit(0 if decision.permitted else 6)
        if node.access.check(request).permitted:  # a refusal is not asked about: it is logged and raised below
            confirm(f"Erase twin {twin} for ever?", yes=yes)
        receipt = erase(node.access, node.keyring, node.consents, request)
        still = "`twinward keys rotate --retire` makes it so for backups of the keyring as well"
        if as_json:
            shown: dict[str, Any] = {"twin": twin, "decided_at_index": receipt.decided_at_index}
            show_json(shown | {"done_at_index": receipt.done_at_index, "still_needed": still})
            return
        say(f"twin {twin} is shredded: nothing of it opens any more")
        say(f"receipt: events {receipt.decided_at_index} and {receipt.done_at_index} of the access log")
        say(f"still needed: {still}; a running `twinward node serve` forgets its cached key within a minute")


def _show_dry_run(twin: str, *, permitted: bool, reason: str, as_json: bool) -> None:
    if as_json:
        show_json({"twin": twin, "permitted": permitted, "reason": reason, "done": False})
    else:
        say(f"{'would be permitted' if permitted else 'would be refused'}: {reason}; nothing was done or logged")


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
        say(f"any {threshold} of these open this node's keys; they are not shown again")


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
