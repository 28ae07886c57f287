"""Whose signature an answer must carry: a hospital's key for answers, given beforehand or remembered from first sight.

The file of known hospitals is a JSON object, address to key (hex). It is the vendor's to edit: a hospital whose key
changed is refused until its line is. Hospitals on this machine are not remembered: others use their ports again.
"""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from urllib.parse import urlsplit

from twinward.client.errors import HospitalKeyChanged
from twinward.core.errors import BadInput
from twinward.core.outbound import is_loopback, normalised
from twinward.core.private_files import write_private

MAX_FILE_BYTES = 1 << 20
_KEY = re.compile(r"[0-9a-f]{64}")
_writing = threading.Lock()


class KeyTrust:
    """Which key is believed for one hospital.

    Args:
        url: the hospital's address.
        key: its key as hex, told on another way; None believes the first that is seen.
        known: the file of known hospitals; None remembers in memory, as long as this object lives.

    Raises:
        BadInput: ``key`` is none.
    """

    def __init__(self, url: str, key: str | None = None, known: Path | None = None) -> None:
        if key is not None and _KEY.fullmatch(key.strip().lower()) is None:
            raise BadInput(
                "a hospital's key is 64 hexadecimal digits", hint="`twinward similarity key` prints it there"
            )
        self._url = url
        self._key = None if key is None else key.strip().lower()
        self._known = known
        self._where = "the key that you gave" if key is not None else str(known or "what this client remembers")
        self.first_seen = False
        """Whether nothing but first sight speaks for the key."""

    @property
    def believed(self) -> str:
        """The key that is believed, empty while none is."""
        return self._key or ""

    def require(self, shown: str) -> str:
        """The key to check with, if it is the one a hospital shows. Nothing is remembered yet: see ``remember``.

        Raises:
            HospitalKeyChanged: another one is known.
            BadInput: the file of known hospitals is none.
        """
        known = self._key or self._remembered()
        if known is not None and known != shown:
            raise HospitalKeyChanged(self._url, known=known, shown=shown, where=self._where)
        self.first_seen = self.first_seen or known is None
        return shown

    def remember(self, key: str) -> None:
        """Believe a key from now on, once it has signed something. Raises ``BadInput``: the file cannot be written."""
        known_already = self._key is not None
        self._key = key
        if known_already or self._known is None or is_loopback(urlsplit(self._url).hostname or ""):
            return
        with _writing:
            hospitals = _read(self._known)
            if hospitals.get(normalised(self._url)) == key:
                return
            hospitals[normalised(self._url)] = key
            try:
                self._known.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_private(self._known, json.dumps(hospitals, indent=1, sort_keys=True).encode())
            except OSError as error:
                raise BadInput(
                    f"{self._known} cannot be written: {error.strerror}", hint="give --known-hospitals another place"
                ) from None

    def _remembered(self) -> str | None:
        if self._known is None or is_loopback(urlsplit(self._url).hostname or ""):
            return None
        return _read(self._known).get(normalised(self._url))


def _read(file: Path) -> dict[str, str]:
    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}") from None
    try:
        found = json.loads(raw)
        if isinstance(found, dict) and len(raw) <= MAX_FILE_BYTES and all(map(_KEY.fullmatch, found.values())):
            return found
    except (ValueError, TypeError, RecursionError):
        pass
    raise BadInput(f"{file} is no file of known hospitals", hint="put it right, or away: keys are then seen anew")
