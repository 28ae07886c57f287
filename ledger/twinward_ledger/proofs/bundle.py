"""A proof bundle: everything an auditor needs to check one event, in one text file (``.tlog-proof``).

The file is a C2SP tlog-proof (c2sp.org/tlog-proof@v1): index, audit path, signed and cosigned checkpoint. Its
``extra`` line, which that format leaves to applications, holds RFC 8785 JSON: the leaf, the anchor if there is one,
if the event is disclosed, its *opening*, and the log's *seal* over the whole file. Nothing in ``extra`` is trusted:
the leaf is hashed into the tree, the anchor is signed, the opening is held against the leaf's commitment.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from twinward_crypto.canonical import canonicalize
from twinward_crypto.errors import CanonicalizationError
from twinward_ledger.errors import InvalidProof, MalformedCheckpoint
from twinward_ledger.formats.anchor_record import AnchorRecord
from twinward_ledger.formats.note import Note, decode_base64

HEADER = "c2sp.org/tlog-proof@v1"
MAX_BUNDLE_BYTES = 4 << 20
MAX_PATH_NODES = 63
VERSION = 2

_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Opening:
    """What discloses one event, and only that one: the commitment's key and salt (32 bytes each) and the event."""

    key: bytes = field(repr=False)
    salt: bytes = field(repr=False)
    event: bytes = field(repr=False)

    def to_json(self) -> dict[str, str]:
        """As a JSON object, each part in base64."""
        return {"key": _base64(self.key), "salt": _base64(self.salt), "event": _base64(self.event)}

    @classmethod
    def from_json(cls, value: Any) -> Opening:
        """Read ``to_json`` back. Raises ``KeyError``, ``TypeError`` or ``MalformedCheckpoint`` for anything else."""
        return cls(*(decode_base64(value[part]) for part in ("key", "salt", "event")))


@dataclass(frozen=True, slots=True)
class ProofBundle:
    """One event's proof. ``note`` is the whole signed checkpoint whose tree the path leads into."""

    index: int
    leaf: bytes
    path: tuple[bytes, ...]
    note: bytes
    anchor: AnchorRecord | None = None
    opening: Opening | None = None
    seal: bytes | None = None

    def sealed(self, seal: Callable[[bytes], bytes]) -> ProofBundle:
        """The same bundle with the log's signature over all of it (``Log.seal``)."""
        return replace(self, seal=seal(self.unsealed()))

    def unsealed(self) -> bytes:
        """What the seal signs: the file with a null seal."""
        return replace(self, seal=None).encode()

    def encode(self) -> bytes:
        """The bundle as a file."""
        lines = [
            HEADER,
            f"extra {_base64(canonicalize(self._extra()))}",
            f"index {self.index}",
            *map(_base64, self.path),
            "",
        ]
        return "".join(line + "\n" for line in lines).encode() + self.note

    @classmethod
    def parse(cls, data: bytes) -> ProofBundle:
        """Read a bundle strictly. Raises ``InvalidProof``; nothing is verified yet."""
        if len(data) > MAX_BUNDLE_BYTES:
            raise InvalidProof(f"a proof bundle is at most {MAX_BUNDLE_BYTES} bytes")
        head, separator, note = data.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
            Note.parse(note)
            if not separator or len(lines) < 3 or lines[0] != HEADER or not lines[1].startswith("extra "):
                raise InvalidProof("not a tlog-proof with a leaf")
            index = _INDEX.fullmatch(lines[2])
            if not index or len(lines) > 3 + MAX_PATH_NODES:
                raise InvalidProof("a proof bundle without an index, or with too long a path")
            path = tuple(decode_base64(line) for line in lines[3:])
            return cls._from_extra(int(index[1]), path, note, decode_base64(lines[1].removeprefix("extra ")))
        except (UnicodeDecodeError, MalformedCheckpoint) as error:
            raise InvalidProof(f"malformed proof bundle: {error}") from error

    def _extra(self) -> dict[str, Any]:
        opening = self.opening
        return {
            "version": VERSION,
            "leaf": _base64(self.leaf),
            "anchor": self.anchor.to_json() if self.anchor else None,
            "opening": opening.to_json() if opening else None,
            "seal": _base64(self.seal) if self.seal is not None else None,
        }

    @classmethod
    def _from_extra(cls, index: int, path: tuple[bytes, ...], note: bytes, extra: bytes) -> ProofBundle:
        try:
            value = json.loads(extra)
            opening, seal = value["opening"], value["seal"]
            bundle = cls(
                index,
                decode_base64(value["leaf"]),
                path,
                note,
                AnchorRecord.from_json(value["anchor"]) if value["anchor"] is not None else None,
                Opening.from_json(opening) if opening is not None else None,
                decode_base64(seal) if seal is not None else None,
            )
            canonical = canonicalize(bundle._extra())
        except (ValueError, KeyError, TypeError, RecursionError, CanonicalizationError) as error:
            raise InvalidProof("malformed extra data in a proof bundle") from error
        if canonical != extra:
            raise InvalidProof("extra data of another version, or not canonical")
        return bundle


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
