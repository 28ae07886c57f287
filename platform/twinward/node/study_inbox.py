"""Invitations to studies that a hospital was sent, for its officers to read: files of its home, named by their SHA-256.

An invitation that lies here approves nothing. Only what parses, is signed by its coordinator and names this hospital
under its own key is taken in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from twinward.core.errors import BadInput, Conflict, NotFound, Unavailable
from twinward.core.private_files import write_private
from twinward.core.sentences import sentence
from twinward.federation.approval import digest_of
from twinward.federation.invitation import Invitation
from twinward.federation.signed_json import MAX_BYTES

FOLDER: Final = "invitations"
MOST: Final = 200
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Received:
    """An invitation as it was received: ``digest`` names these very bytes."""

    digest: str
    content: bytes
    invitation: Invitation


class StudyInbox:
    """The invitations of one hospital. Raises ``Unavailable`` where its home cannot be read or written.

    Args:
        home: the hospital's.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / FOLDER

    def keep(self, content: bytes) -> Received:
        """Take one in; again is no error.

        Raises:
            InvitationInvalid, StudyInvalid: it is none, or was altered.
            Conflict: there are too many.
        """
        invitation, digest = Invitation.parse(content), digest_of(content)
        path = self._path(digest)
        try:
            if not path.exists():
                if len(self._names()) >= MOST:
                    raise Conflict(
                        sentence("{most} invitations are kept already", most=MOST),
                        hint=sentence("take old files out of {folder}/", folder=self._folder.name),
                    )
                self._folder.mkdir(exist_ok=True, mode=0o700)
                write_private(path, content)
        except OSError as error:
            raise Unavailable(f"the invitation cannot be kept: {error.strerror}") from None
        return Received(digest, content, invitation)

    def read(self, digest: str) -> Received:
        """One by its digest. Raises ``NotFound``: there is none, or another stands under its name."""
        found = self._read(digest) if _DIGEST.fullmatch(digest) else None
        if found is None:
            raise NotFound("there is no such invitation here", hint="the list of studies has all that came")
        return found

    def all(self) -> list[Received]:
        """Every one, those of the newest files first."""
        found = (self._read(name) for name in self._names())
        return [one for one in found if one is not None]

    def _names(self) -> list[str]:
        try:
            paths = [(one.stat().st_mtime_ns, one.stem) for one in self._folder.glob("*.json")]
        except OSError as error:
            raise Unavailable(f"the invitations cannot be read: {error.strerror}") from None
        return [name for _, name in sorted(paths, reverse=True) if _DIGEST.fullmatch(name)]

    def _read(self, digest: str) -> Received | None:
        try:
            with self._path(digest).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"an invitation cannot be read: {error.strerror}") from None
        try:
            return Received(digest, content, Invitation.parse(content)) if digest_of(content) == digest else None
        except BadInput:
            return None

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.json"
