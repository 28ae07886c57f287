"""Content codings: bodies that come in packed, and answers that leave so. gzip (RFC 1952) and zstd (RFC 8878).

What comes in is unpacked up to the route's bound and not a byte beyond it, however little was sent. Of zstd the window
is that of RFC 9659: a sender cannot have the node keep more memory than 8 MiB for looking back.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import zstandard

from twinward.core.errors import BadInput

GZIP, ZSTD, IDENTITY = "gzip", "zstd", "identity"
CODINGS = (ZSTD, GZIP)
"""The one that is rather used first."""

ALIASES = {"x-gzip": GZIP, "": IDENTITY}
"""Other names of them in headers."""

_WINDOW_BYTES = 8 * 1024 * 1024
_GZIP_LEVEL, _ZSTD_LEVEL = 1, 3
"""What costs the least of one core for most of the gain; see docs/http.md for what was measured."""

_SLICE = 64 * 1024
_MOST_MEMBERS = 1024
"""Of gzip members or zstd frames in one body: each costs a new inflater, and an empty one has 20 bytes or fewer."""


class Packer(Protocol):
    """Packs what is written to it."""

    def pack(self, piece: bytes, *, last: bool) -> bytes:
        """A piece, packed such that whoever has it can read all of it, and after the last the end."""
        ...


class TooMuch(Exception):
    """More than the bound, once it is unpacked."""


def unpacked(coding: str, packed: bytes, most_bytes: int) -> bytes:
    """What a body holds. Takes time: not for the event loop.

    Raises:
        TooMuch: more than ``most_bytes``.
        BadInput: it is not what it is said to be, or cut.
    """
    if not packed:
        return b""
    try:
        if coding == GZIP:
            return _inflated(packed, most_bytes)
        _require_little(packed, most_bytes)
        return _decompressed(packed)
    except (zlib.error, zstandard.ZstdError):
        raise BadInput(f"the body is said to be {coding} and is not", hint="or send it unpacked") from None


def _inflated(packed: bytes, most_bytes: int) -> bytes:
    found, inflater, members = bytearray(), zlib.decompressobj(wbits=31), 1
    for at in range(0, len(packed), _SLICE):
        piece = packed[at : at + _SLICE]
        while piece:
            if inflater.eof:
                inflater, members = zlib.decompressobj(wbits=31), members + 1  # RFC 1952 section 2.2
                _require_few(members)
            found += inflater.decompress(piece, most_bytes - len(found) + 1)
            if len(found) > most_bytes:
                raise TooMuch
            piece = inflater.unconsumed_tail or inflater.unused_data
    _require_whole(inflater.eof)
    return bytes(found)


def _require_little(packed: bytes, most_bytes: int) -> None:
    """Only counts: of the two readers the library has, this is bounded, and the other one notices what was cut."""
    total = 0
    with _decompressor().stream_reader(packed, read_across_frames=True) as stream:
        while piece := stream.read(_SLICE):
            total += len(piece)
            if total > most_bytes:
                raise TooMuch


def _decompressed(packed: bytes) -> bytes:
    found, frames = bytearray(), 1
    reader = _decompressor().decompressobj()
    for at in range(0, len(packed), _SLICE):
        piece = packed[at : at + _SLICE]
        while piece:
            if reader.eof:
                reader, frames = _decompressor().decompressobj(), frames + 1
                _require_few(frames)
            found += reader.decompress(piece)
            piece = reader.unused_data
    _require_whole(reader.eof)
    return bytes(found)


def _decompressor() -> zstandard.ZstdDecompressor:
    return zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)


def _require_few(members: int) -> None:
    if members > _MOST_MEMBERS:
        raise BadInput(f"the body has more than {_MOST_MEMBERS} packed parts", hint="pack it as one")


def _require_whole(ended: bool) -> None:
    if not ended:
        raise BadInput("the body ends before its packing does", hint="send it again, whole")


def packer(coding: str) -> Packer:
    """One for an answer in this coding."""
    return _PACKERS[coding]()


class _Gzip:
    def __init__(self) -> None:
        self._deflater = zlib.compressobj(_GZIP_LEVEL, wbits=31)

    def pack(self, piece: bytes, *, last: bool) -> bytes:
        return self._deflater.compress(piece) + self._deflater.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)


class _Zstd:
    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj()

    def pack(self, piece: bytes, *, last: bool) -> bytes:
        how = zstandard.COMPRESSOBJ_FLUSH_FINISH if last else zstandard.COMPRESSOBJ_FLUSH_BLOCK
        return self._compressor.compress(piece) + self._compressor.flush(how)


_PACKERS: dict[str, Callable[[], Packer]] = {GZIP: _Gzip, ZSTD: _Zstd}
