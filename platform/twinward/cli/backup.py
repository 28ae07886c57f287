"""``twinward node backup`` and ``restore``: one file out of a running node, and a node out of one file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.screen import (
    HomeOption,
    JsonOption,
    YesOption,
    confirm,
    err,
    errors_taught,
    progress,
    read_input,
    say,
    show_json,
)
from twinward.config import DEFAULT_HOME, FILE_NAME, Settings
from twinward.errors import BadInput, NotFound

if TYPE_CHECKING:
    from twinward.backup.making import Made
    from twinward.backup.restoring import Restored
    from twinward.backup.sqlite_source import Progress

MAX_CHECKPOINT_BYTES = 256 * 1024


def backup(
    to: Annotated[Path, typer.Argument(help="The file to be, e.g. st-anna.twbackup. It must not be there yet.")],
    keys_to: Annotated[
        Path | None,
        typer.Option("--keys-to", help="Also copy the local key stores into this empty folder, without key files."),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Back the whole node up into one signed file while it runs: one moment of all its databases.

    Keys are never in it. With --keys-to the local key stores (themselves encrypted) are copied apart; the key file or
    passphrase that opens them is yours to keep in a third place. Keep one copy of the key store, the newest: an old one
    and an old backup would bring back whom you have shredded. Exit codes: 0 made, 2 it cannot be written, 3 no node in
    the home, 4 the name is taken, 7 a database is too busy or does not answer.

    Example: twinward node backup /backups/st-anna-monday.twbackup --keys-to /safe/keys-monday
    """
    with errors_taught(as_json=as_json):
        from twinward.backup.making import export_keys, make_backup
        from twinward.clock import SystemClock
        from twinward.identity import Identity
        from twinward.node.errors import translated
        from twinward.node.members import own_keys
        from twinward_crypto.keys import TenantId

        settings = Settings.load(home)
        if not (settings.home / FILE_NAME).is_file():
            raise NotFound(f"there is no node in {settings.home}", hint="give --home, or set TWINWARD_HOME")
        with translated(), _bar() as shown:
            identity = Identity(own_keys(settings), TenantId(settings.tenant))
            made = make_backup(settings, identity, SystemClock(), to, shown)
        copied = export_keys(settings, keys_to) if keys_to is not None else []
        _show_made(made, copied, keys_to, as_json=as_json)


def restore(
    backup_file: Annotated[Path, typer.Argument(help="The backup.")],
    keys_from: Annotated[
        Path | None,
        typer.Option("--keys-from", help="A folder with keys/, as --keys-to wrote it, its key file back in place."),
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

    Over a node that is there (--replace) its keys and the witnesses' memory stay as they are, and nobody comes back
    who was shredded. Databases on a server must be empty: name them by TWINWARD_RECORDS, TWINWARD_KEYRING and
    TWINWARD_LOG. Exit codes: 0, 1 you said no, 2 keys missing or nobody to ask, 4 something is in the way or would be
    turned back, 7 something does not answer, 8 the backup was altered or cut off.

    Example: twinward node restore /backups/st-anna-monday.twbackup --keys-from /safe/keys-monday --home ./st-anna
    """
    with errors_taught(as_json=as_json):
        from twinward.backup.restoring import Wishes
        from twinward.backup.restoring import restore as bring_back
        from twinward.clock import SystemClock

        if dry_run and yes:
            raise BadInput("--dry-run and --yes contradict each other")
        if not backup_file.is_file():
            raise NotFound(f"there is no backup {backup_file}")
        where = home or Settings.load().home or DEFAULT_HOME
        notes = tuple(read_input(one, most=MAX_CHECKPOINT_BYTES) for one in checkpoint or [])
        wishes = Wishes(where, keys_from, replace, keep_keyring, notes, accept_rollback)
        if replace and not dry_run:
            confirm(f"Put the backup in place of the node in {where}? That one is set aside.", yes=yes)
        with _bar() as shown:
            result = bring_back(backup_file, wishes, SystemClock(), shown, dry_run=dry_run)
        _show_restored(result, as_json=as_json)


@contextmanager
def _bar() -> Iterator[Progress]:
    """A progress bar fed by the backup's own reports."""
    with progress() as bars:
        task = bars.add_task("reading", total=None)

        def shown(what: str, done: int, total: int) -> None:
            bars.update(task, description=what, completed=done, total=max(total, 1))

        yield shown


def _show_made(made: Made, copied: list[str], keys_to: Path | None, *, as_json: bool) -> None:
    manifest = made.manifest
    if as_json:
        shown: dict[str, Any] = {"backup": str(made.path), "bytes": made.size_bytes, "log_size": manifest.log_size}
        shown |= {"parts": len(manifest.parts), "left_out": manifest.left_out, "keks": manifest.keks}
        show_json(shown | {"checkpoint": manifest.checkpoint or None, "keys": copied})
        return
    say(f"{made.path}: {made.size_bytes} bytes, {len(manifest.parts)} parts, {manifest.log_size} events in the log")
    if keys_to is not None:
        say(f"key stores in {keys_to}, without the key file that opens them: keep that, or the passphrase, elsewhere")
    else:
        say("the keys are not in it: without them it is noise. --keys-to copies the key stores, to be kept elsewhere")
    saved = {name.removesuffix("/keystore") for name in copied}
    for name in (one for one in manifest.left_out if one not in saved):
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
    say("next: twinward audit verify --deep, then twinward node serve")
