"""``twinward node backup`` and ``restore``: one file out of a running node, and a node out of one file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.context import node_at
from twinward.cli.errors import errors_taught
from twinward.cli.input import confirm, read_input, require_file
from twinward.cli.output import HomeOption, JsonOption, YesOption, err, progress, say, show_json
from twinward.core.config import DEFAULT_HOME, FILE_NAME, Settings
from twinward.core.errors import BadInput, Conflict, NotFound

if TYPE_CHECKING:
    from twinward.backup.create import Made
    from twinward.backup.file_sources import Progress
    from twinward.backup.restore import Restored

MAX_CHECKPOINT_BYTES = 256 * 1024


def backup(
    to: Annotated[Path, typer.Argument(help="The file to be, e.g. st-anna.twbackup. It must not be there yet.")],
    keys_to: Annotated[
        Path | None,
        typer.Option("--keys-to", help="Also copy the local key stores into this empty folder, without key files."),
    ] = None,
    key_files_to: Annotated[
        Path | None,
        typer.Option("--key-files-to", help="Also copy the key files that open those stores, into another folder."),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Back the whole node up into one signed file while it runs: one moment of all its databases.

    Keys are never in it. With --keys-to the local key stores (themselves encrypted) and an embedded chain's key are
    copied apart, with --key-files-to the key files that open them: keep those in a third place. A token, Vault or AWS
    KMS is backed up by its own means. Keep one copy of the key store, the newest: an old one and an old backup would
    bring back whom you have shredded. Interrupted at any point, even killed, the same command begins anew: the file has
    its name only once all is there. Folders above what is written must be there: none is made, lest a disk that is not
    mounted leave it all on this one. Exit codes: 0 made, 2 no such folder or it cannot be written, 3 no node in the
    home, 4 a name is taken (then nothing was made), 7 a database is too busy or does not answer.

    Example: twinward node backup /backups/monday.twbackup --keys-to /safe/keys --key-files-to /vault/key-files
    """
    with errors_taught(as_json=as_json):
        from twinward.backup import key_folders
        from twinward.backup.create import make_backup
        from twinward.core.clock import SystemClock
        from twinward.node.errors import translated
        from twinward.node.member_keys import identity_of

        if str(to) == "-":
            raise BadInput("a backup is a file, whole or not there", hint="give a name")
        settings = Settings.load(home)
        if not (settings.home / FILE_NAME).is_file():
            raise NotFound(f"there is no node in {settings.home}", hint="give --home, or set TWINWARD_HOME")
        if keys_to is not None and keys_to == key_files_to:
            raise BadInput("key stores and the key files that open them do not belong into one folder")
        key_folders.require_free(settings, keys_to, key_files_to)
        saved = _Saved(besides=key_folders.to_put_back(settings))

        def copy_keys() -> None:
            if keys_to is not None:
                saved.stores = key_folders.export_stores(settings, keys_to)
            if key_files_to is not None:
                saved.files = key_folders.export_key_files(settings, key_files_to)

        with translated(), _bar() as shown:
            identity = identity_of(settings, settings.tenant)
            made = make_backup(settings, identity, SystemClock(), to, shown, beside=copy_keys)
        _show_made(made, saved, as_json=as_json)


def restore(
    backup_file: Annotated[Path, typer.Argument(help="The backup.")],
    keys_from: Annotated[
        Path | None,
        typer.Option("--keys-from", help="A folder with key stores, as --keys-to wrote it."),
    ] = None,
    key_files_from: Annotated[
        Path | None,
        typer.Option("--key-files-from", help="A folder with their key files, as --key-files-to wrote it."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of the node in the home; it is set aside, not deleted.")
    ] = False,
    keep_keyring: Annotated[
        bool, typer.Option("--keep-keyring", help="Keep the present keyring: for a backup older than a retired KEK.")
    ] = False,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option("--checkpoint", help="A signed checkpoint that a witness or an auditor kept; may be repeated."),
    ] = None,
    accept_rollback: Annotated[
        bool, typer.Option("--accept-rollback", help="Restore although others have seen a longer access log.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")] = False,
    yes: YesOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a node back from a backup, checked against its signature, its keys, its log and what others witnessed.

    In another home it is a copy to look at until `twinward node activate`: its settings name the databases it was
    restored into, and nothing run on it reaches those of the node that works.

    The hospital's own keys are in --keys-from, or in the key service that TWINWARD_KEYS names; the restored home notes
    where. Over a node that is there (--replace) its keys and the witnesses' memory stay as they are, and nobody comes
    back who was shredded. Databases on a server must be empty: name them by TWINWARD_RECORDS, TWINWARD_KEYRING and
    TWINWARD_LOG. Exit codes: 0, 1 you said no, 2 keys missing or nobody to ask, 4 something is in the way or would be
    turned back, 7 something does not answer, 8 the backup was altered or cut off.

    Example: twinward node restore /backups/monday.twbackup --keys-from /safe/keys --key-files-from /vault/key-files
    """
    with errors_taught(as_json=as_json):
        from twinward.backup.restore import Wishes
        from twinward.backup.restore import restore as bring_back
        from twinward.core.clock import SystemClock

        if dry_run and yes:
            raise BadInput("--dry-run and --yes contradict each other")
        require_file(backup_file, "a backup")
        where = home or Settings.load().home or DEFAULT_HOME
        notes = tuple(read_input(one, most=MAX_CHECKPOINT_BYTES) for one in checkpoint or [])
        wishes = Wishes(where, keys_from, key_files_from, replace, keep_keyring, notes, accept_rollback)
        if replace and not dry_run:
            confirm(f"Put the backup in place of the node in {where}? That one is set aside.", yes=yes)
        with _bar() as shown:
            result = bring_back(backup_file, wishes, SystemClock(), shown, dry_run=dry_run)
        _show_restored(result, as_json=as_json)


def activate(yes: YesOption = False, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Put a restored home to work: from then on it is the hospital's node, and only one may be.

    Until then it is a copy to look at: its log is not signed, nothing is sent to the chain, it is not served, and no
    key is made or destroyed. See that the node it was a copy of is gone: two that sign one log contradict each other,
    and witnesses refuse both. The log says when it was put to work. Exit codes: 0, 1 you said no, 2 nobody to ask,
    3 no node in the home, 4 it was not restored, or works already, 7 the log cannot be written.

    Example: twinward node activate --home ./my-node
    """
    with node_at(home, as_json=as_json) as node:
        restored, where = node.restored, node.settings.home
        if restored is None:
            raise Conflict(f"the node in {where} is at work")
        confirm(f"Put {where} to work as {restored.tenant}? No other copy of this node may be.", yes=yes)
        node.heads.say("node", f"put to work; {restored.sentence()}")
        restored.put_to_work(where)
        if as_json:
            show_json({"home": str(where), "tenant": restored.tenant, "made_at_ms": restored.made_at_ms})
        else:
            say(f"{where} is {restored.tenant}'s node from now on; next: twinward node serve")


@contextmanager
def _bar() -> Iterator[Progress]:
    """A progress bar fed by the backup's own reports."""
    with progress() as bars:
        task = bars.add_task("reading", total=None)

        def shown(what: str, done: int, total: int) -> None:
            bars.update(task, description=what, completed=done, total=max(total, 1))

        yield shown


@dataclass
class _Saved:
    """What was copied beside a backup, and what its owner has to keep besides."""

    besides: list[str]
    stores: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


def _show_made(made: Made, saved: _Saved, *, as_json: bool) -> None:
    manifest = made.manifest
    if as_json:
        shown: dict[str, Any] = {"backup": str(made.path), "bytes": made.size_bytes, "log_size": manifest.log_size}
        shown |= {"parts": len(manifest.parts), "left_out": manifest.left_out, "keks": manifest.keks}
        shown |= {"checkpoint": manifest.checkpoint or None, "keys": saved.stores, "key_files": saved.files}
        show_json(shown | {"to_put_back": saved.besides})
        return
    say(f"{made.path}: {made.size_bytes} bytes, {len(manifest.parts)} parts, {manifest.log_size} events in the log")
    for what, names in (("key stores", saved.stores), ("key files", saved.files)):
        if names:
            say(f"{what} copied: {', '.join(names)}")
    if not saved.stores:
        say("the keys are not in it: without them it is noise. --keys-to and --key-files-to copy those that lie here")
    elif not saved.files:
        say("what opens the key stores is not with them: keep key files (--key-files-to), passphrase or shares apart")
    for one in saved.besides:
        say(f"to restore, have at hand: {one}")
    copied = {name.removesuffix("/keystore") for name in saved.stores}
    for name in (one for one in manifest.left_out if one not in copied):
        err.print(f"left out: {name}", markup=False, soft_wrap=True)


def _show_restored(result: Restored, *, as_json: bool) -> None:
    manifest = result.manifest
    if as_json:
        shown: dict[str, Any] = {"home": str(result.home), "done": result.done, "log_size": manifest.log_size}
        shown |= {"witnessed": result.witnessed, "record_versions": result.records}
        shown |= {"shredded": result.shredded, "made_by": manifest.made_by}
        show_json(shown | {"set_aside": None if result.replaced is None else str(result.replaced)})
        return
    if not result.done:
        say(f"this backup of {manifest.tenant} could be restored to {result.home}; nothing was changed")
        return
    say(f"{manifest.tenant} is restored in {result.home}: {manifest.log_size} events, each checked against the log")
    if result.replaced is not None:
        say(f"what was there is in {result.replaced}: delete it once you are sure, it holds keys")
    if result.witnessed > manifest.log_size:
        err.print("[yellow]note[/]: witnesses have seen a longer log; they will not co-sign this one", soft_wrap=True)
    if result.replaced is not None:
        say("next: twinward audit verify --deep, then twinward node serve")
        return
    say("it is a copy to look at, not at work: next, twinward audit verify --deep")
    say("if it is to take the node's place: twinward node activate, then twinward node serve")
