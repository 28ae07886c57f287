"""One patient's accesses, with the proof that none was left out: what a hospital hands to a patient or an auditor.

One RFC 8785 JSON document (``.accesses.json``); its members are in ``SPEC.md``. It holds every row of the patient's
sub-log up to a head of the completeness map, each with its leaf, its path in the log and, unless it was erased, its
opening; the head with its own path; the label key; the map's path; the checkpoint with its cosignatures; the anchor.
"""

from __future__ import annotations

import json
from binascii import b2a_base64
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from twinward_crypto.canonical import canonicalize
from twinward_crypto.errors import CanonicalizationError
from twinward_ledger.completeness.map import LABEL_BITS, MapProof, Neighbour, PathNode
from twinward_ledger.errors import InvalidProof, MalformedCheckpoint
from twinward_ledger.formats.anchor_record import AnchorRecord
from twinward_ledger.formats.note import decode_base64
from twinward_ledger.proofs.bundle import MAX_PATH_NODES, Opening

FORMAT = "twinward/accesses/1"
MAX_REPORT_BYTES = 256 << 20
MAX_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class LoggedLeaf:
    """A leaf, its place in the log and its path in the checkpoint's tree."""

    index: int
    leaf: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One access. Without an opening the event was erased; that it happened, and when, still stands."""

    place: LoggedLeaf
    opening: Opening | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class AccessReport:
    """The document.

    Attributes:
        origin: the log.
        subject: whose accesses these are: the twin's id.
        label_key: the log's label key; with it the reader works out where the subject stands in the map.
        head: the map's root as it was logged, and its leaf's place in the log.
        head_place: where in the log that is.
        proof: the patient's entry in the map, or that there is none.
        rows: every access, in the order of the log.
        note: the signed and cosigned checkpoint that all paths lead to.
        anchor: its anchor on the chain, if it has one.
        seal: the log's signature over the document.
    """

    origin: str
    subject: str
    label_key: bytes = field(repr=False)
    head: bytes
    head_place: LoggedLeaf
    proof: MapProof
    rows: tuple[ReportRow, ...]
    note: bytes
    anchor: AnchorRecord | None = None
    seal: bytes | None = None
    _halves: tuple[bytes, bytes] | None = field(default=None, init=False, repr=False, compare=False)
    """What stands before and after the seal, written once. A changed copy (``replace``) begins without."""

    def sealed(self, seal: Callable[[bytes], bytes]) -> AccessReport:
        """The same report with the log's signature over all of it (``Log.seal``)."""
        sealed = replace(self, seal=seal(self.unsealed()))
        object.__setattr__(sealed, "_halves", self._written())  # the seal is in neither
        return sealed

    def unsealed(self) -> bytes:
        """What the seal signs: the document with a null seal."""
        return b"null".join(self._written())

    def encode(self) -> bytes:
        """The document's bytes."""
        return (b"null" if self.seal is None else canonicalize(_base64(self.seal))).join(self._written())

    def _written(self) -> tuple[bytes, bytes]:
        """The RFC 8785 bytes before and after the seal's value. Rows are written by hand: base64 and digits only."""
        halves = self._halves
        if halves is None:
            head = canonicalize(self._head_json()).removesuffix(b"}")
            rows = ",".join(map(_row_text, self.rows)).encode()
            before = b'%b,"rows":[%b],"seal":' % (head, rows)
            after = b"," + canonicalize({"subject": self.subject}).removeprefix(b"{")
            halves = (before, after)
            object.__setattr__(self, "_halves", halves)
        return halves

    @classmethod
    def parse(cls, data: bytes) -> AccessReport:
        """Read a report strictly. Raises ``InvalidProof``; nothing is verified yet."""
        if len(data) > MAX_REPORT_BYTES:
            raise InvalidProof(f"an access report is at most {MAX_REPORT_BYTES} bytes")
        try:
            report = cls._from_json(json.loads(data))
            same = report.encode() == data
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
            CanonicalizationError,
            MalformedCheckpoint,
        ) as error:
            raise InvalidProof("not an access report") from error
        if not same:
            raise InvalidProof("an access report of another version, or not canonical")
        return report

    def _head_json(self) -> dict[str, Any]:
        """The members whose names come before "rows"; after it come "seal" and "subject"."""
        proof, near = self.proof, self.proof.neighbour
        return {
            "format": FORMAT,
            "origin": self.origin,
            "label_key": _base64(self.label_key),
            "head": _base64(self.head),
            "head_place": _place_json(self.head_place),
            "map": {
                "count": str(proof.count),
                "root": _base64(proof.root),
                "path": [{"hash": _base64(hash_), "sum": str(total)} for hash_, total in proof.path],
                "neighbour": None
                if near is None
                else {"label": _base64(near.label), "root": _base64(near.root), "count": str(near.count)},
            },
            "checkpoint": self.note.decode(),
            "anchor": self.anchor.to_json() if self.anchor else None,
        }

    @classmethod
    def _from_json(cls, value: Any) -> AccessReport:
        rows, anchor, seal = value["rows"], value["anchor"], value["seal"]
        if not isinstance(value["origin"], str) or not isinstance(value["subject"], str) or not isinstance(rows, list):
            raise TypeError
        if len(rows) > MAX_ROWS:
            raise InvalidProof(f"an access report has at most {MAX_ROWS} rows")
        return cls(
            origin=value["origin"],
            subject=value["subject"],
            label_key=decode_base64(value["label_key"]),
            head=decode_base64(value["head"]),
            head_place=_place_from(value["head_place"]),
            proof=_map_proof_from(value["map"]),
            rows=tuple(
                ReportRow(_place_from(row), Opening.from_json(row["opening"]) if row["opening"] is not None else None)
                for row in rows
            ),
            note=value["checkpoint"].encode(),
            anchor=AnchorRecord.from_json(anchor) if anchor is not None else None,
            seal=decode_base64(seal) if seal is not None else None,
        )


def _place_json(place: LoggedLeaf) -> dict[str, Any]:
    return {
        "index": str(place.index),
        "leaf": _base64(place.leaf),
        "path": [_base64(node) for node in place.path],
    }


def _row_text(row: ReportRow) -> str:
    """A row as canonical JSON."""
    place, opening = row.place, row.opening
    opened = "null"
    if opening is not None:
        event, key, salt = _base64(opening.event), _base64(opening.key), _base64(opening.salt)
        opened = f'{{"event":"{event}","key":"{key}","salt":"{salt}"}}'
    path = '","'.join(map(_node_text, place.path))
    listed = f'["{path}"]' if place.path else "[]"
    return f'{{"index":"{place.index}","leaf":"{_base64(place.leaf)}","opening":{opened},"path":{listed}}}'


def _place_from(value: Any) -> LoggedLeaf:
    path = value["path"]
    if len(path) > MAX_PATH_NODES:
        raise InvalidProof("an access report with too long a path")
    return LoggedLeaf(_number(value["index"]), decode_base64(value["leaf"]), tuple(map(decode_base64, path)))


def _map_proof_from(value: Any) -> MapProof:
    near = value["neighbour"]
    if len(value["path"]) > LABEL_BITS:
        raise InvalidProof("an access report with too long a path")
    path: tuple[PathNode, ...] = tuple((decode_base64(one["hash"]), _number(one["sum"])) for one in value["path"])
    neighbour = (
        None
        if near is None
        else Neighbour(decode_base64(near["label"]), decode_base64(near["root"]), _number(near["count"]))
    )
    return MapProof(_number(value["count"]), decode_base64(value["root"]), path, neighbour)


def _number(text: Any) -> int:
    if not isinstance(text, str) or not 0 < len(text) <= 19 or not text.isascii() or not text.isdigit():
        raise ValueError("not a decimal number")
    return int(text)


def _base64(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode()


_node_text = lru_cache(maxsize=1 << 12)(_base64)
"""Of nodes, which many paths share."""
