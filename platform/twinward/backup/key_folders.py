"""Key material beside a backup: key stores in one folder, the key files that open them in another, neither ever in it.

Both are laid out as a home is:

    keys/keystore, keys/master.key                      the hospital's own, where its key service is a local one
    peers/<name>/keys/keystore, …/master.key            the other members' of an embedded consortium
    <name>.db.key                                       what signs the blocks of an embedded chain (with the stores)

A hospital whose keys are in a token, in Vault or in AWS KMS has no store of its own here, and still the others.
"""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from twinward.backup.create import CHAIN_KEY, KEYS, require_folder
from twinward.backup.errors import InTheWay, KeysMissing
from twinward.core.config import Settings
from twinward.core.errors import BadInput
from twinward.core.private_files import UNFINISHED, write_private
from twinward.node.key_service import own_keys
from twinward_crypto.errors import ProviderLocked
from twinward_crypto.keys import KeyProvider
from twinward_crypto.providers.local import KEY_FILE, KEYSTORE

PEERS = "peers"
_LOCAL = "local"


def require_free(settings: Settings, stores: Path | None, key_files: Path | None) -> None:
    """Raise ``InTheWay`` for a folder that holds anything but what would be copied into it.

    A folder may be new, but not the one that it stands in: for that ``BadInput``, as for a backup's. Asked before a
    backup is made: nothing is left half done then. What an interrupted one copied already is no hindrance, as long as
    it is the same.
    """
    for folder, found in ((stores, _stores(settings)), (key_files, _key_files(settings))):
        if folder is not None and folder.exists() and (not folder.is_dir() or not _holds_only(folder, found)):
            raise InTheWay(f"{folder} is not empty", hint="give another folder")
        if folder is not None and not folder.exists():
            require_folder(folder.parent)


def export_stores(settings: Settings, to: Path) -> list[str]:
    """Copy the local key stores and an embedded chain's key, without what opens the stores. Returns their names."""
    return _copied(_stores(settings), to)


def export_key_files(settings: Settings, to: Path) -> list[str]:
    """Copy the key files that open the local key stores. Returns their names: none where passphrases or shares do."""
    return _copied(_key_files(settings), to)


def to_put_back(settings: Settings) -> list[str]:
    """Files outside the home that no backup holds and that this node's settings name, in words."""
    named = {"the passphrase": settings.passphrase_file, "the chain account's key": settings.chain_key_file}
    shown = [f"{what}: {path}" for what, path in named.items() if path is not None]
    if settings.policy is not None and not settings.policy.resolve().is_relative_to(settings.home.resolve()):
        shown.append(f"the access policy: {settings.policy}")
    if not is_local(settings):
        shown.append(f"the key service by its own means, and what its setting names: keys = {settings.keys_uri}")
    return shown


def is_local(settings: Settings) -> bool:
    """Whether the hospital's own keys lie in a folder."""
    return settings.keys_uri.startswith(_LOCAL)


@dataclass(frozen=True)
class KeysAtHand:
    """Where a restore finds keys. Which service to ask is never taken from a backup.

    Attributes:
        settings: of the home to be, its key service among them: as the operator names it, or as the home that is
            replaced does.
        stores: a folder laid out as above, or the home that is replaced.
        files: where key files are looked for, in this order.
        given: whether the hospital's own key store is in ``stores`` because the operator gave that folder.
    """

    settings: Settings
    stores: Path
    files: tuple[Path, ...]
    given: bool

    @classmethod
    def of(cls, home: Path, stores: Path | None, files: Path | None) -> KeysAtHand:
        """What a restore to ``home`` was given. Raises ``BadInput`` where two key services are named at once."""
        given = stores is not None and (stores / KEYS / KEYSTORE).is_file()
        named = Settings.load(home / "no-settings-here").keys  # what the environment says, whatever a home does
        if given and named:
            raise BadInput(
                f"TWINWARD_KEYS names {named}, and {stores} holds a key store of its own: which is meant?",
                hint="unset TWINWARD_KEYS, and the key store is put into the home; or give a folder without keys/",
            )
        settings = Settings.load(home)
        if given:
            settings = settings.model_copy(update={"keys": f"{_LOCAL}:{stores}/{KEYS}"})
        where = stores or home
        return cls(settings, where, tuple(one for one in (files, where) if one is not None), given)

    def own(self) -> KeyProvider:
        """The hospital's key service, opened.

        Raises:
            KeysMissing: a local key store, or what opens it, is not at hand.
            BadInput, KeyProviderError: the passphrase cannot be read; the service refused or failed.
        """
        if not is_local(self.settings):
            return own_keys(self.settings)
        store = Path(self.settings.keys_uri.partition(":")[2])
        if not (store / KEYSTORE).is_file():
            raise KeysMissing(
                "the keys are not in a backup, and none are at hand",
                hint="give --keys-from: the folder that `twinward node backup --keys-to` wrote; for a token, Vault or "
                "AWS KMS name the service by TWINWARD_KEYS",
            )
        try:
            return own_keys(self.settings, key_file=self._key_file(f"{KEYS}/{KEY_FILE}") if self.given else None)
        except ProviderLocked as error:
            raise KeysMissing(
                f"the key store does not open: {error}",
                hint=f"give --key-files-from, or put the key file back: {store / KEY_FILE}, mode 0600; for a "
                "passphrase, set TWINWARD_PASSPHRASE_FILE",
            ) from None

    def lay_into(self, home: Path) -> None:
        """Copy everything at hand into a home in the making; ``require_members`` says what it lacks then."""
        names = [KEYS] if is_local(self.settings) else []
        names += [one.relative_to(self.stores).as_posix() for one in sorted(self.stores.glob(f"{PEERS}/*/{KEYS}"))]
        for name in names:
            store = self.stores / name
            if store.is_dir():
                shutil.copytree(store, home / name, ignore=shutil.ignore_patterns("lock"), dirs_exist_ok=True)
            key_file = self._key_file(f"{name}/{KEY_FILE}")
            if key_file is not None and not (home / name / KEY_FILE).exists():
                shutil.copyfile(key_file, home / name / KEY_FILE)
                (home / name / KEY_FILE).chmod(0o600)
        for key in _chain_keys(self.stores):
            shutil.copy2(key, home / key.name)

    def settled(self, archived: Settings, home: Path) -> dict[str, str]:
        """What the restored home's settings are to say of its keys; empty for the default.

        A key store that was given goes into the home, used as it was before (``local`` or ``local-hybrid``). Else the
        service stays the one that was named, by the environment or by the home that is replaced.
        """
        keys = self.settings.keys
        if self.given:
            scheme = archived.keys.partition(":")[0]
            keys = f"{scheme}:{home / KEYS}" if scheme not in ("", _LOCAL) and scheme.startswith(_LOCAL) else ""
        passphrase = self.settings.passphrase_file
        return {"keys": keys} | ({} if passphrase is None else {"passphrase_file": str(passphrase.absolute())})

    def require_members(self, home: Path) -> None:
        """Raise ``KeysMissing`` naming every key store and key file of another member that a home lacks."""
        members = sorted(one.name for one in home.glob(f"{PEERS}/*"))
        lacks = [
            f"{PEERS}/{name}/{KEYS}/{file}"
            for name in members
            for file in (KEYSTORE, KEY_FILE)
            if not (home / PEERS / name / KEYS / file).is_file()
        ]
        if lacks:
            places = ", ".join(str(self.stores / one) for one in lacks)
            raise KeysMissing(
                f"keys of this embedded consortium's members are not at hand: {', '.join(lacks)}",
                hint=f"give --keys-from and --key-files-from as written with the backup, or put back: {places}",
            )

    def _key_file(self, name: str) -> Path | None:
        return next((one / name for one in self.files if (one / name).is_file()), None)


def _material(settings: Settings, name: str) -> dict[str, Path]:
    """Each local key store's file of that name, by its place in a home."""
    found: dict[str, Path] = {}
    if is_local(settings):
        found[f"{KEYS}/{name}"] = Path(settings.keys_uri.partition(":")[2]) / name
    for path in sorted(settings.home.glob(f"{PEERS}/*/{KEYS}/{name}")):
        found[path.relative_to(settings.home).as_posix()] = path
    return {place: path for place, path in found.items() if path.is_file()}


def _chain_keys(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{CHAIN_KEY}"))


def _stores(settings: Settings) -> dict[str, Path]:
    return _material(settings, KEYSTORE) | {one.name: one for one in _chain_keys(settings.home)}


def _key_files(settings: Settings) -> dict[str, Path]:
    return _material(settings, KEY_FILE)


def _holds_only(folder: Path, files: Mapping[str, Path]) -> bool:
    """Whether a folder holds copies of these files and nothing else; what was being written when it broke off is."""
    for path in folder.rglob("*"):
        source = files.get(path.relative_to(folder).as_posix())
        is_copy = source is not None and path.is_file() and filecmp.cmp(source, path, shallow=False)
        if not path.is_dir() and path.suffix != UNFINISHED and not is_copy:
            return False
    return True


def _copied(files: Mapping[str, Path], to: Path) -> list[str]:
    """Copy files into a folder that only its owner may enter. A store is replaced whole when it changes: never torn."""
    try:
        to.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in to.rglob(f".*{UNFINISHED}"):
            left.unlink()
        for name, path in files.items():
            target = to / name
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(target, path.read_bytes())
    except OSError as error:
        raise BadInput(f"{to} cannot be written: {error.strerror}", hint="give another folder") from None
    return list(files)
