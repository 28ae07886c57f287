"""The history of releases: what vendors were told, in one sealed file of the home that the log vouches for."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from twinward.audit.interfaces import HeadTrail
from twinward.audit.models import Head
from twinward.core.errors import StoreAltered, Unavailable
from twinward.core.private_files import write_private
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import OpenError

RELEASES_FILE = "releases.sealed"
ASIDE_FILE = "refused-releases.sealed"
RELEASES = "releases"
"""The history's name in the log."""
_RELEASES_AAD = b"twinward/releases/1"
_NUMBERED_AAD = b"twinward/releases/2"
_NUMBER_BYTES = 8


class SealedHistory:
    """Implements ``similarity.release.history.HistoryStore``: what vendors were told, sealed in one file of the home.

    Each content is numbered, and the access log records its number and SHA-256 (``StoreHeads``) before an answer
    leaves: a file that is older than the log, another one, or gone, is noticed when it is opened next. A crash between
    the two leaves the file ahead by one content that nobody was told, which counts.

    Args:
        home: the node's; the file is ``releases.sealed`` in it.
        key: seals it.
        heads: the log's record.
    """

    def __init__(self, home: Path, key: Callable[[], bytes], heads: HeadTrail) -> None:
        self._path, self._key, self._heads = home / RELEASES_FILE, key, heads
        self._number = 0

    def load(self) -> bytes | None:
        """What was kept last.

        Raises:
            StoreAltered: it does not open, is older than the log says, another one, or gone: vendors are told nothing.
            Unavailable: the log does not answer.
        """
        recorded = self._heads.newest(RELEASES)
        if not self._path.exists():
            if recorded is not None:
                raise _turned_back(f"it is gone, and the log recorded {recorded.changes} contents of it")
            return None
        sealed = self._path.read_bytes()
        content, self._number = self._opened(sealed)
        if recorded is None:
            return content
        if self._number < recorded.changes:
            raise _turned_back(f"it holds content {self._number} and the log recorded {recorded.changes}")
        if self._number == recorded.changes and not hmac.compare_digest(hashlib.sha256(sealed).digest(), recorded.mac):
            raise _turned_back(f"content {self._number} is another one than the log recorded")
        return content

    def _opened(self, sealed: bytes) -> tuple[bytes, int]:
        """The content and its number; 0 for a file from before contents were numbered."""
        try:
            numbered = open_sealed(self._key(), sealed, _NUMBERED_AAD)
            return numbered[_NUMBER_BYTES:], int.from_bytes(numbered[:_NUMBER_BYTES], "big")
        except OpenError:
            return self._opened_unnumbered(sealed), 0

    def _opened_unnumbered(self, sealed: bytes) -> bytes:
        try:
            return open_sealed(self._key(), sealed, _RELEASES_AAD)
        except OpenError as error:
            raise _refused("does not open: it was altered or is another node's") from error

    def save(self, content: bytes) -> None:
        """Replace it, durably, and let the log record it. Raises ``Unavailable``: then nothing is told."""
        number = self._number + 1
        sealed = seal(self._key(), number.to_bytes(_NUMBER_BYTES, "big") + content, _NUMBERED_AAD)
        try:
            write_private(self._path, sealed)
        except OSError as error:
            raise Unavailable(f"{self._path.name} cannot be written: {error.strerror}; nothing was told") from error
        self._number = number
        self._heads.record(RELEASES, Head(number, hashlib.sha256(sealed).digest()))

    def begin_anew(self, content: bytes) -> None:
        """Go on from another content where the one that is there is refused; that one is kept aside, for who asks.

        It is numbered after every content that the log recorded, so none of those is ever taken again. Raises as
        ``save``.
        """
        recorded = self._heads.newest(RELEASES)
        self._number = recorded.changes if recorded is not None else 0
        with suppress(FileNotFoundError):
            self._path.replace(self._path.with_name(ASIDE_FILE))
        self.save(content)


def _turned_back(what: str) -> StoreAltered:
    return _refused(f"was turned back: {what}")


def _refused(what: str) -> StoreAltered:
    hint = (
        "put the newest one back (docs/operations.md, The release history); where it is lost, "
        "`twinward similarity rebuild-history` begins anew. Until then vendors are answered nothing"
    )
    return StoreAltered(f"what vendors were told ({RELEASES_FILE}) {what}", hint=hint)
