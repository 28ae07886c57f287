"""Bringing a node back from a backup, beside what is there or in place of it.

Order of checks: the manifest's signature, under keys that the operator has at hand (never such as the archive names);
then that the archive holds the signed parts and no others; then each part's hash; then, in a folder of its own, that
the databases are sound, that the keys fit, that the log is what its checkpoints say and not older than what anybody
has witnessed. Only then the folder takes the home's name. Whatever fails before leaves everything as it was.

The restored home's settings name the databases it was restored into, and no key service but its own. Unless it took
another's place, it is marked, and does not work until somebody says so (``twinward.node.restored_home``).

What remembers on behalf of others is never turned back: a witness's memory, the embedded chain and the other
hospitals' parts stay as they are in the home. Nor does a backup bring back whom the node has shredded since: its
keyring is then refused, and the present one can be kept.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from twinward.backup import archive, file_sources, manifest
from twinward.backup.create import ELSEWHERE
from twinward.backup.errors import BackupDamaged, InTheWay, KeysMissing, RolledBack
from twinward.backup.file_sources import Progress
from twinward.backup.key_folders import KeysAtHand
from twinward.backup.manifest import Manifest, Part
from twinward.backup.outside_state import require_none_revived, witnessed
from twinward.backup.staging import fill_servers, lay_out, put_elsewhere, settle, unpack
from twinward.consortium.identity import Identity
from twinward.core.clock import Clock
from twinward.core.config import FILE_NAME, JOURNAL_FILE, Settings, origin_of
from twinward.core.errors import BadInput
from twinward.node import Node, open_node
from twinward.node.errors import translated
from twinward.node.home import require_not_served
from twinward.node.restored_home import DATABASES, RestoredHome
from twinward_crypto.keys import TenantId


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a backup is to be restored.

    Attributes:
        home: where the node is to live.
        keys_from: a folder with key stores, as ``key_folders`` writes it or as a home has it.
        key_files_from: a folder with the key files that open them, where they are not in ``keys_from``.
        replace: take the place of the node that is there.
        keep_keyring: keep the keyring that is there, for a backup older than a retired KEK.
        checkpoints: signed checkpoints of the log, from witnesses or auditors, that it must not fall behind.
        accept_rollback: restore a log that others have seen longer: to read records, never to go on logging.
    """

    home: Path
    keys_from: Path | None = None
    key_files_from: Path | None = None
    replace: bool = False
    keep_keyring: bool = False
    checkpoints: tuple[bytes, ...] = field(default=(), repr=False)
    accept_rollback: bool = False


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did, or would do."""

    manifest: Manifest
    home: Path
    done: bool
    replaced: Path | None = None
    witnessed: int = 0
    """The longest log that anybody has seen; beyond ``manifest.log_size`` it was turned back."""
    records: int = 0
    shredded: int = 0


def restore(path: Path, wishes: Wishes, clock: Clock, progress: Progress, *, dry_run: bool = False) -> Restored:
    """Restore a backup, or find out whether it could be.

    Args:
        path: the backup.
        wishes: where and how.
        clock: the node's time.
        progress: told what is read.
        dry_run: check everything that can be checked without a change outside the home: databases elsewhere are not.

    Raises:
        BackupDamaged: it is not what this node once signed, or not sound.
        KeysMissing: the keys it needs are not at hand.
        RolledBack: its log is older than what others have witnessed.
        InTheWay: the home or a server's database is not empty, or the node is running.
        BadInput, Unavailable: it cannot be read; something does not answer.
    """
    home = wishes.home.absolute()
    present = _present(home, wishes)
    staging = home.with_name(f"{home.name}.restoring")
    if staging.exists():
        raise InTheWay(f"{staging} is left from a restore that was broken off", hint="delete it, then try again")
    keys = KeysAtHand.of(home, wishes.keys_from, wishes.key_files_from)
    placed: list[Path] = []
    try:
        found, settings, tables = _staged(path, staging, home, wishes, keys, progress, present=present)
        if dry_run and (tables or any(part.name.startswith(f"{ELSEWHERE}/") for part in found.parts)):
            return Restored(found, home, done=False)
        settle(staging, _databases(settings))
        put_elsewhere(staging, found, settings, placed)
        fill_servers(settings, tables)
        if present:
            require_none_revived(Settings.load(home), settings)
        result = _look_over(staging, found, wishes, clock, home / JOURNAL_FILE if present else None)
        if dry_run:
            return result
        settle(staging, keys.settled(settings, home))
        if not present:
            _mark(staging, path, found, settings, clock)
        replaced = _take_place(staging, home, present)
        placed.clear()  # from here on they are the node's
        return Restored(found, home, True, replaced, result.witnessed, result.records, result.shredded)
    except OSError as error:
        raise BadInput(f"the backup cannot be restored: {error.strerror or type(error).__name__}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        _withdraw(placed)


def _present(home: Path, wishes: Wishes) -> bool:
    """Whether a node is there, which may be replaced and is not running."""
    if not home.exists() or not any(home.iterdir()):
        return False
    if not (home / FILE_NAME).is_file():
        raise InTheWay(f"{home} is not empty and holds no node", hint="give another --home")
    if not wishes.replace:
        raise InTheWay(f"there is a node in {home}", hint="give another --home, or --replace if it is to go")
    require_not_served(home)
    busy = [one.name for one in sorted(home.glob("*.db")) if file_sources.is_in_use(one)]
    if busy:
        raise InTheWay(f"the node in {home} is running: {busy[0]} is in use", hint="stop it, then try again")
    return True


def _staged(
    path: Path, staging: Path, home: Path, wishes: Wishes, keys: KeysAtHand, progress: Progress, *, present: bool
) -> tuple[Manifest, Settings, dict[str, list[tuple[Part, Path]]]]:
    """A whole home in the staging folder, with its settings, and the tables that are for servers."""
    with archive.reading(path) as reader:
        found = _verified(reader.note, keys, wishes)
        reader.require_whole(found)
        tables = unpack(reader, found, staging, progress)
    settings = lay_out(staging, home, found, keys, keep_keyring=wishes.keep_keyring, present=present)
    return found, settings, tables


def _verified(note: bytes, keys: KeysAtHand, wishes: Wishes) -> Manifest:
    """The manifest, verified under keys at hand. Which key service to ask is never taken from the archive."""
    tenant = manifest.claimed_tenant(note)
    with translated():
        identity = Identity(keys.own(), TenantId(tenant))
        if not identity.provider.versions(identity.tenant):
            raise KeysMissing(
                f"the key service {identity.provider.uri} holds no key of {tenant}",
                hint="restore it by its own means first, or name the right one by TWINWARD_KEYS",
            )
        verified = manifest.verify(note, identity.backup_signer(origin_of(tenant)).key)
        held = set(identity.provider.versions(identity.tenant))
    gone = sorted(set(verified.keks) - held)
    if gone and max(gone) > max(held):
        raise KeysMissing(
            f"the backup's keyring needs KEK {max(gone)}, and this copy of the key service ends with KEK {max(held)}: "
            "it is older than the backup",
            hint="restore a newer copy of the key service (--keys-from the newest), or an older backup",
        )
    if gone and not wishes.keep_keyring:
        raise KeysMissing(
            f"the backup's keyring needs KEK {gone[-1]}, which was destroyed: nothing under it would open",
            hint="restore over the node with --replace --keep-keyring, or take a backup made after the last "
            "`keys rotate --retire`",
        )
    return verified


def _look_over(staging: Path, found: Manifest, wishes: Wishes, clock: Clock, waiting: Path | None) -> Restored:
    """Open the restored node where it lies, and hold it against everything that is known of it."""
    with open_node(staging, clock=clock) as node:
        # The databases must agree with the signed manifest too: a server could have been filled by somebody else.
        size = node.log.store.size()
        if size != found.log_size:
            raise BackupDamaged(f"the log has {size} entries, the manifest says {found.log_size}")
        node.audit.verify()
        node.verify_stores()
        seen = witnessed(node, staging, wishes.checkpoints)
        if seen > size and not wishes.accept_rollback:
            raise RolledBack(
                f"this backup's access log has {size} events, and {seen} were witnessed: "
                f"{seen - size} events would be gone",
                hint="take a newer backup; with --accept-rollback the records can be read, but witnesses will not "
                "co-sign a log that forgot, so the hospital must then explain the gap and begin a new log",
            )
        if waiting is not None and waiting.is_file():
            _bring_in(node, waiting, staging / "replaced.journal")
        shredded = len(node.keyring.census().shredded)
        return Restored(found, wishes.home, False, None, seen, node.store.count(), shredded)


def _databases(settings: Settings) -> dict[str, str]:
    """Which databases a home is restored into, wherever they were named: its settings say so from then on."""
    return {name: getattr(settings, name) for name in DATABASES}


def _mark(staging: Path, path: Path, found: Manifest, settings: Settings, clock: Clock) -> None:
    """Let a home that replaces none say that it was restored: the node may work elsewhere."""
    now_ms, databases = clock.now_ms(), _databases(settings)
    RestoredHome(found.tenant, path.name, found.made_at_ms, now_ms, found.log_size, databases).write(staging)


def _bring_in(node: Node, waiting: Path, copy: Path) -> None:
    """Log, in the restored home, the emergencies that wait in the one it replaces: often why somebody restores."""
    shutil.copyfile(waiting, copy)
    node.audit.bring_in_copy(copy)
    for one in copy.parent.glob(f"{copy.name}*"):  # an altered one stays where it was: in the home that is set aside
        one.unlink()


def _withdraw(placed: list[Path]) -> None:
    """Delete databases that were placed outside the home for a restore that did not come about."""
    for one in (left for target in placed for left in target.parent.glob(f"{target.name}*")):
        one.unlink()


def _take_place(staging: Path, home: Path, present: bool) -> Path | None:
    """Give the restored home its name; what was there gets another, and is never deleted here."""
    for leftover in (staging / "pg", staging / ELSEWHERE):
        shutil.rmtree(leftover, ignore_errors=True)
    aside = None
    if present:
        aside = next(
            one for number in range(1, 1000) if not (one := home.with_name(f"{home.name}.before-{number}")).exists()
        )
        home.rename(aside)
    elif home.exists():
        home.rmdir()  # it is empty
    try:
        staging.rename(home)
    except OSError:
        if aside is not None:
            aside.rename(home)
        raise
    return aside
