"""One epoch's answers to vendors, each sealed in a file of its own, under a folder that ends with the epoch.

File ``answers/<epoch>/<order>-<vendor>-<query id>.sealed``: TE1 under the node's sealing key, associated data
``"twinward/answer/1" 0x00 ‖ epoch (8 bytes) ‖ the file's name``. The order is ten digits; the vendor's part is BLAKE2b
keyed with the sealing key, so that names tell a storage operator no vendor. Whoever deletes a file makes the vendor pay
again and changes nothing else: what vendors were told of whom is kept elsewhere.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from twinward.core.errors import Unavailable
from twinward.core.private_files import write_private
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import OpenError

FOLDER = "answers"
SUFFIX = ".sealed"
_AAD = b"twinward/answer/1\x00"


class SealedAnswers:
    """Implements ``similarity.interfaces.AnswerStore``; answers of other epochs are removed.

    Args:
        home: the node's.
        epoch: which one.
        key: gives the node's sealing key.

    Raises:
        Unavailable: the folder cannot be read or made.
    """

    def __init__(self, home: Path, epoch: int, key: Callable[[], bytes]) -> None:
        self._epoch, self._key = epoch, key
        self._folder = home / FOLDER / str(epoch)
        self._lock = threading.Lock()
        self._names: dict[tuple[str, str], str] = {}
        self._next = 0
        try:
            for other in (home / FOLDER).glob("*"):
                if other.name != str(epoch) and not other.is_symlink():
                    shutil.rmtree(other, ignore_errors=True)
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in sorted(path.name for path in self._folder.glob(f"*{SUFFIX}")):
                order, vendor, query_id = name.removesuffix(SUFFIX).split("-")
                self._names[vendor, query_id] = name
                self._next = max(self._next, int(order) + 1)
        except OSError as error:
            raise _unwritable(self._folder, error) from error
        except ValueError as error:
            raise Unavailable(f"{self._folder} holds a file that is no answer", hint="put it elsewhere") from error

    def load(self, vendor: str, query_id: str) -> bytes | None:
        """As ``AnswerStore.load``."""
        name = self._names.get((self._tag(vendor), query_id))
        if name is None:
            return None
        try:
            return open_sealed(self._key(), (self._folder / name).read_bytes(), self._aad(name))
        except FileNotFoundError:
            return None
        except (OSError, OpenError) as error:
            raise Unavailable(
                "a kept answer does not open: it was altered; nothing is told", hint=f"remove it: {FOLDER}/{name}"
            ) from error

    def save(self, vendor: str, query_id: str, content: bytes) -> None:
        """As ``AnswerStore.save``."""
        key = (self._tag(vendor), query_id)
        with self._lock:
            name = self._names.get(key)
            if name is None:
                name = f"{self._next:010}-{key[0]}-{query_id}{SUFFIX}"
                self._next += 1
        try:
            write_private(self._folder / name, seal(self._key(), content, self._aad(name)))
        except OSError as error:
            raise _unwritable(self._folder, error) from error
        with self._lock:
            self._names[key] = name

    def query_ids(self, vendor: str) -> list[str]:
        """As ``AnswerStore.query_ids``."""
        tag = self._tag(vendor)
        with self._lock:
            found = [(name, query_id) for (whose, query_id), name in self._names.items() if whose == tag]
        return [query_id for _, query_id in sorted(found)]

    def drop(self, vendor: str, query_id: str) -> None:
        """As ``AnswerStore.drop``."""
        with self._lock:
            name = self._names.pop((self._tag(vendor), query_id), None)
        if name is not None:
            (self._folder / name).unlink(missing_ok=True)

    def _tag(self, vendor: str) -> str:
        return hashlib.blake2b(vendor.encode(), key=self._key(), digest_size=16, person=b"twinward answers").hexdigest()

    def _aad(self, name: str) -> bytes:
        return _AAD + self._epoch.to_bytes(8, "big") + name.encode()


def _unwritable(folder: Path, error: OSError) -> Unavailable:
    return Unavailable(f"{folder.name}: answers cannot be kept: {error.strerror}; nothing is told")
