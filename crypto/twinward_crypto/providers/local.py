"""The embedded key service: KEKs in one sealed file beside a key file, or under a passphrase.

    local:/var/lib/twinward/keys      a folder with ``keystore`` and, without a passphrase, ``master.key``
    local-hybrid:…                    the same folder; keys are wrapped with X25519 + ML-KEM-768 (``_hybrid_wrap``)

The master key can be split among officers, k of n of whom open the store: ``split_master_key``, and, once they hold
their shares, ``discard_key_file`` ("sealed"). ``shares=`` opens a sealed store; ``restore_key_file`` unseals it until
the file is discarded again, for instance as soon as the node has started. New shares do not outdate old ones.

It protects stolen databases and backups that do not include this folder. Whoever reads the folder (or, with a
passphrase, the process's memory) has the keys: a real deployment takes an HSM or a cloud KMS instead. Destroying a KEK
destroys it here; an old copy of this folder still holds it, so do not back the folder up together with the data.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from twinward_crypto.errors import KeyNotFound, KeyProviderError, MalformedKey, ProviderLocked
from twinward_crypto.kdf import KEY_BYTES, RandomBytes
from twinward_crypto.keys import KekId
from twinward_crypto.providers._keystore_file import (
    BY_KEY_FILE,
    BY_PASSPHRASE,
    SALT_BYTES,
    Argon2Cost,
    Header,
    decode,
    encode,
    read_bounded,
    write_atomically,
)
from twinward_crypto.providers._software_keys import SoftwareKeys
from twinward_crypto.secret_sharing import Share, join_shares, split_secret

KEYSTORE = "keystore"
KEY_FILE = "master.key"
LOCK = "lock"
_Stamp = tuple[int, int, int]


class LocalKeyProvider(SoftwareKeys):
    """A ``KeyProvider`` on a local folder. Several processes may share it: changes take a file lock, uses notice them.

    Attributes:
        uri: ``local:`` or ``local-hybrid:``, and the folder's path.
    """

    def __init__(
        self,
        folder: Path,
        *,
        passphrase: str | None = None,
        key_file: Path | None = None,
        shares: Sequence[Share] = (),
        cost: Argon2Cost | None = None,
        hybrid: bool = False,
        make: bool = True,
        random: RandomBytes = os.urandom,
    ) -> None:
        """Open the folder's key store; make one where there is none, if that is wished.

        Args:
            folder: where the key store is.
            passphrase: unlocks through Argon2id; without it a key file does.
            key_file: 64 hexadecimal digits, mode 0600; ``folder/master.key`` unless given. Made with the key store.
            shares: of the master key, at least as many as the split asked for; open an existing store without either.
            cost: Argon2id's price for a new key store.
            hybrid: whether keys are wrapped with X25519 + ML-KEM-768; keys of either form are unwrapped.
            make: whether a key store is made where there is none. Where it should be there, a folder that was not
                mounted must not become an empty key store: then nothing is written, not even the folder.
            random: source of keys and salts.

        Raises:
            KeyNotFound: there is no key store, and none is to be made.
            ProviderLocked: wrong passphrase, missing, readable-by-others or wrong key file, too few or wrong shares,
                altered key store.
            KeyProviderError: the folder cannot be read or written.
        """
        super().__init__(random, hybrid=hybrid)
        self._closed = False
        self._folder = folder
        self._key_file = key_file or folder / KEY_FILE
        self._thread_lock = threading.RLock()
        self._stamp: _Stamp | None = None
        with _translated(folder):
            if make and not shares and not (folder / KEYSTORE).exists():
                self._make(passphrase, cost)
            else:
                self._open(passphrase, shares)

    @property
    def uri(self) -> str:
        """``local:`` or ``local-hybrid:``, and the folder's path."""
        return f"{'local-hybrid' if self._hybrid else 'local'}:{self._folder}"

    def __repr__(self) -> str:
        return f"LocalKeyProvider({self.uri!r})"

    def create(self, key: KekId) -> None:
        """Make a KEK durably."""
        with self._changing():
            super().create(key)

    def destroy(self, key: KekId) -> None:
        """Destroy a KEK durably."""
        with self._changing():
            super().destroy(key)

    def split_master_key(self, *, shares: int, threshold: int) -> tuple[Share, ...]:
        """Shares of the master key, any ``threshold`` of which open this store. Changes nothing.

        Raises:
            ParameterError: 2 ≤ threshold ≤ shares ≤ 32 does not hold.
        """
        return split_secret(self._master, shares=shares, threshold=threshold, random=self._random)

    def discard_key_file(self, shares: Sequence[Share]) -> None:
        """Seal the store: remove the key file, once ``shares`` have shown that they open the store without it.

        What was on a disk can outlive its removal there (snapshots, flash cells): keep key files on encrypted disks.

        Raises:
            ProviderLocked: the shares do not open this store, or a passphrase does.
        """
        self._require_shares(shares)
        with _translated(self._folder):
            self._key_file.unlink(missing_ok=True)

    def restore_key_file(self, shares: Sequence[Share]) -> None:
        """Unseal the store: write the key file again.

        Raises:
            ProviderLocked: the shares do not open this store, or a passphrase does.
        """
        self._require_shares(shares)
        with _translated(self._folder):
            _write_key_file(self._key_file, self._master)

    def close(self) -> None:
        """Forget the keys and the master key. Python cannot zero their memory; it only becomes free for reuse."""
        super().close()
        self._master, self._stamp, self._closed = b"", None, True

    def _make(self, passphrase: str | None, cost: Argon2Cost | None) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._exclusive():
            if (self._folder / KEYSTORE).exists():  # another process was faster
                self._open(passphrase, ())
                return
            self._header = self._new_header(passphrase, cost)
            self._master = self._new_master(passphrase)
            self._save()

    def _open(self, passphrase: str | None, shares: Sequence[Share]) -> None:
        """Without the lock: the file is replaced whole whenever it changes, and reading asks for no leave to write."""
        try:
            self._header = Header.decode(read_bounded(self._folder / KEYSTORE))
        except FileNotFoundError:
            raise KeyNotFound(
                f"there is no key store in {self._folder}",
                hint=f"mount or name the folder that holds the file {KEYSTORE}, or put that back from where it is kept",
            ) from None
        self._master = _joined(shares) if shares else self._unlock(passphrase)
        self._load()

    def _require_shares(self, shares: Sequence[Share]) -> None:
        if self._header.unlocking != BY_KEY_FILE:
            raise ProviderLocked("this key store is unlocked by a passphrase: it has no key file")
        if not hmac.compare_digest(_joined(shares), self._master):
            raise ProviderLocked("these shares do not open this key store")

    def _load(self) -> None:
        with self._thread_lock, _translated(self._folder):
            if self._closed:
                raise KeyProviderError("the key store was closed; open the provider again")
            stamp = _stamp(self._folder / KEYSTORE)
            if stamp != self._stamp:
                data = read_bounded(self._folder / KEYSTORE)
                if Header.decode(data) != self._header:
                    raise ProviderLocked("the key store was replaced by another one; restart with its passphrase")
                self._tenants = decode(data, self._master)
                self._stamp = stamp

    def _save(self) -> None:
        write_atomically(self._folder / KEYSTORE, encode(self._header, self._master, self._tenants))
        self._stamp = _stamp(self._folder / KEYSTORE)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One change at a time, across threads and processes; a change that failed half-way is forgotten."""
        with self._thread_lock, _translated(self._folder), self._exclusive():
            try:
                yield
            except BaseException:
                self._stamp = None  # whatever was changed in memory is read anew
                raise

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        handle = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _new_header(self, passphrase: str | None, cost: Argon2Cost | None) -> Header:
        salt = self._random(SALT_BYTES)
        if passphrase is None:
            return Header(BY_KEY_FILE, None, salt)
        if not passphrase:
            raise ProviderLocked("an empty passphrase protects nothing; leave it out to use a key file")
        return Header(BY_PASSPHRASE, cost or Argon2Cost(), salt)

    def _new_master(self, passphrase: str | None) -> bytes:
        if passphrase is not None:
            return self._header.stretch(passphrase)
        if not self._key_file.exists():
            _write_key_file(self._key_file, self._random(KEY_BYTES))
        return _read_key_file(self._key_file)

    def _unlock(self, passphrase: str | None) -> bytes:
        if self._header.unlocking == BY_KEY_FILE:
            if passphrase is not None:
                raise ProviderLocked(
                    "this key store is unlocked by a key file, not by a passphrase",
                    hint="unset TWINWARD_PASSPHRASE_FILE",
                )
            return _read_key_file(self._key_file)
        if passphrase is None:
            raise ProviderLocked(
                "this key store is unlocked by a passphrase; none was given",
                hint="name the file that holds it by TWINWARD_PASSPHRASE_FILE",
            )
        return self._header.stretch(passphrase)


def _joined(shares: Sequence[Share]) -> bytes:
    try:
        return join_shares(shares)
    except MalformedKey as error:
        raise ProviderLocked(str(error)) from None


def _write_key_file(path: Path, key: bytes) -> None:
    write_atomically(path, key.hex().encode() + b"\n")


def _read_key_file(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise ProviderLocked(
            f"the key file {path} is missing; restore it or open with shares, or nothing opens",
            hint="a sealed node: `twinward keys unseal` with enough shares; else put the file back, mode 0600",
        ) from None
    if stat.S_IMODE(mode) & 0o077:
        raise ProviderLocked(f"the key file {path} can be read by others; run: chmod 600 {path}")
    try:
        key = bytes.fromhex(read_bounded(path).decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ProviderLocked(f"the key file {path} does not hold 64 hexadecimal digits")
    return key


def _stamp(path: Path) -> _Stamp:
    """Changes with every replacement of the file: an atomic rename brings a new inode."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise KeyProviderError(f"the key store in {folder} cannot be used: {error.strerror}") from error
