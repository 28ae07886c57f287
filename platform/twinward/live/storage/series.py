"""Series as they are kept: rows of one twin, category and window, sealed under the category's own key.

A row holds runs: samples of one signal by one device through one source. What a batch brought goes into one row for
each twin, category and window; when the window is over its rows are made into one row for each signal.

    envelope  = TE1 under the twin's category key, padded (Padmé)
    inside    = 1 u8 ‖ zstd(MessagePack [[signal, device, account, source, run], …])
    AAD       = "twinward/live-series/1" 0x00 ‖ twin ‖ category ‖ window u64 ‖ row id ‖ signal tag, each part after
                its length

The signal's tag is a keyed hash under the category's key: storage learns neither the signal nor that two patients have
the same. Shredding a twin or a category shreds its series with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import zstandard
from sqlalchemy import Connection, delete, func, insert, select

from twinward.core.ids import first_uuid7, uuid7
from twinward.core.vocabulary import Category, TwinId
from twinward.live.models import Placed, Sample
from twinward.live.storage import columns
from twinward.live.storage.columns import Columns
from twinward.live.storage.tables import SeriesRow
from twinward.vault.errors import RecordDamaged
from twinward.vault.keys.twin_keys import TwinKeys
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import OpenError
from twinward_crypto.kdf import derive, length_prefixed
from twinward_crypto.padding import pad, unpad
from twinward_ledger.storage import table_of

WINDOW_MS: Final = 3_600_000
"""An hour: what is sealed together, and told together in the log."""
MAX_INSIDE_BYTES: Final = 64 * 1024 * 1024
_AAD: Final = b"twinward/live-series/1\x00"
_TAG: Final = b"twinward/live-signal/1"
_LAYOUT: Final = b"\x01"
_SEVERAL: Final = b""
_AT_ONCE: Final = 500
_LEVEL_FRESH, _LEVEL_CLOSED = 1, 15
_rows = table_of(SeriesRow)


class Run(msgspec.Struct, frozen=True, array_like=True):
    """Samples of one signal by one device (or about a subject: no device) through one source."""

    signal: str
    device: str
    account: str
    source: str
    content: bytes

    def columns(self) -> Columns:
        """Opened. Raises ``RecordDamaged``."""
        try:
            return columns.decode(self.content)
        except (ValueError, IndexError):
            raise RecordDamaged("a series opened, but its inside is not of a known layout") from None


@dataclass(frozen=True, slots=True)
class Sealed:
    """A row as it is stored."""

    id: str
    twin: TwinId
    window_ms: int
    category_tag: bytes
    signal_tag: bytes
    sealed: bytes

    @property
    def is_fresh(self) -> bool:
        """Whether it is still as a batch brought it."""
        return self.signal_tag == _SEVERAL


_DECODER: Final = msgspec.msgpack.Decoder(list[Run])


def window_of(time_ms: int) -> int:
    """When the window of a moment begins."""
    return time_ms - time_ms % WINDOW_MS


def runs_of(placed: Sequence[Placed], account: str, source: str) -> dict[tuple[TwinId, Category, int], list[Run]]:
    """What a batch brought, as runs by twin, category and window."""
    samples: dict[tuple[TwinId, Category, int], dict[tuple[str, str], list[Sample]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for one in placed:
        key = (one.signal.name, one.reading.device)
        for sample in one.samples():
            samples[one.twin, one.signal.category, window_of(sample.time_ms)][key].append(sample)
    return {
        place: [
            Run(signal, device, account, source, columns.encode(some)) for (signal, device), some in by_signal.items()
        ]
        for place, by_signal in samples.items()
    }


class SeriesSealer:
    """Seals and opens rows under a twin's keys. It asks for no permit: whoever calls it has one."""

    def seal_fresh(self, keys: TwinKeys, category: Category, window_ms: int, runs: list[Run], at_ms: int) -> Sealed:
        """What a batch brought of one category and window."""
        return self._seal(keys, category, window_ms, _SEVERAL, runs, at_ms, _LEVEL_FRESH)

    def seal_closed(
        self, keys: TwinKeys, category: Category, window_ms: int, signal: str, runs: list[Run], at_ms: int
    ) -> Sealed:
        """One signal of a window that is over."""
        return self._seal(
            keys, category, window_ms, self.signal_tag(keys, category, signal), runs, at_ms, _LEVEL_CLOSED
        )

    def open(self, keys: TwinKeys, row: Sealed) -> list[Run]:
        """A row's runs. Raises ``RecordDamaged``, ``CategoryShredded``."""
        category = keys.category_of(row.category_tag)
        aad = _aad(row.twin, category, row.window_ms, row.id, row.signal_tag)
        try:
            inside = unpad(open_sealed(keys.category_key(category), row.sealed, aad))
            if inside[:1] != _LAYOUT:
                raise RecordDamaged("a series opened, but its inside is not of a known layout")
            return _DECODER.decode(zstandard.decompress(inside[1:], max_output_size=MAX_INSIDE_BYTES))
        except (OpenError, zstandard.ZstdError, msgspec.MsgspecError):
            raise RecordDamaged("a series does not open in its place") from None

    def signal_tag(self, keys: TwinKeys, category: Category, signal: str) -> bytes:
        """The 16-byte blind tag of a signal, this twin's own."""
        return derive(keys.category_key(category), _TAG, signal.encode())[:16]

    def _seal(
        self,
        keys: TwinKeys,
        category: Category,
        window_ms: int,
        signal_tag: bytes,
        runs: list[Run],
        at_ms: int,
        level: int,
    ) -> Sealed:
        name = uuid7(at_ms)
        inside = _LAYOUT + zstandard.compress(msgspec.msgpack.encode(runs), level)
        aad = _aad(keys.twin, category, window_ms, name, signal_tag)
        sealed = seal(keys.category_key(category), pad(inside), aad, generation=keys.generation)
        return Sealed(name, keys.twin, window_ms, keys.category_tag(category), signal_tag, sealed)


class SeriesRows:
    """The table, within one transaction. It opens nothing."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, rows: Sequence[Sealed]) -> None:
        """Store rows."""
        if rows:
            self._connection.execute(
                insert(_rows),
                [{name: getattr(row, name) for name in SeriesRow.model_fields} for row in rows],
            )

    def of(
        self,
        twin: TwinId,
        category_tag: bytes,
        signal_tag: bytes | None,
        *,
        first_ms: int,
        last_ms: int,
        newest_first: bool = False,
    ) -> Iterator[Sealed]:
        """Rows in which a signal (None: any of the category) may be, of the windows that hold these moments."""
        wanted = select(_rows).where(
            _rows.c.twin == twin,
            _rows.c.category_tag == category_tag,
            _rows.c.window_ms >= window_of(first_ms),
            _rows.c.window_ms <= last_ms,
        )
        if signal_tag is not None:
            wanted = wanted.where(_rows.c.signal_tag.in_([signal_tag, _SEVERAL]))
        order = (_rows.c.window_ms.desc(), _rows.c.id.desc()) if newest_first else (_rows.c.window_ms, _rows.c.id)
        for row in self._connection.execute(wanted.order_by(*order)):
            yield _sealed(row)

    def ids_of(self, twin: TwinId, category_tag: bytes, signal_tag: bytes, first_ms: int) -> list[str]:
        """Ids of rows in which a signal may be, of the windows from a moment's on, in the order of ``of``."""
        wanted = select(_rows.c.id).where(
            _rows.c.twin == twin,
            _rows.c.category_tag == category_tag,
            _rows.c.window_ms >= window_of(first_ms),
            _rows.c.signal_tag.in_([signal_tag, _SEVERAL]),
        )
        return list(self._connection.execute(wanted.order_by(_rows.c.window_ms, _rows.c.id)).scalars())

    def by_ids(self, ids: Sequence[str]) -> Iterator[Sealed]:
        """These rows, oldest windows first."""
        for first in range(0, len(ids), _AT_ONCE):
            wanted = select(_rows).where(_rows.c.id.in_(list(ids[first : first + _AT_ONCE])))
            for row in self._connection.execute(wanted.order_by(_rows.c.window_ms, _rows.c.id)):
                yield _sealed(row)

    def open_windows(self, before_ms: int, most: int) -> list[tuple[TwinId, int]]:
        """Twins and windows, begun before a moment, in which rows stand as batches brought them; the oldest first."""
        wanted = (
            select(_rows.c.twin, _rows.c.window_ms)
            .where(_rows.c.signal_tag == _SEVERAL, _rows.c.window_ms < before_ms)
            .distinct()
            .order_by(_rows.c.window_ms, _rows.c.twin)
            .limit(most)
        )
        return [(TwinId(row.twin), int(row.window_ms)) for row in self._connection.execute(wanted)]

    def next_window(self, twin: TwinId, category_tag: bytes, after_ms: int, since_ms: int) -> int | None:
        """The first window that begins behind a moment and has a row that was stored at another or later."""
        wanted = select(func.min(_rows.c.window_ms)).where(
            _rows.c.twin == twin,
            _rows.c.category_tag == category_tag,
            _rows.c.window_ms > after_ms,
            _rows.c.id >= first_uuid7(since_ms),  # ids begin with when they were stored
        )
        found = self._connection.execute(wanted).scalar()
        return None if found is None else int(found)

    def of_window(self, twin: TwinId, window_ms: int) -> list[Sealed]:
        """Every row of a twin's window."""
        wanted = select(_rows).where(_rows.c.twin == twin, _rows.c.window_ms == window_ms).order_by(_rows.c.id)
        return [_sealed(row) for row in self._connection.execute(wanted)]

    def stored_mark(self, twin: TwinId) -> str:
        """What tells that something was stored of a twin: its newest id, as far as clocks say, and how many rows."""
        counted = select(func.max(_rows.c.id), func.count()).where(_rows.c.twin == twin)
        newest, count = self._connection.execute(counted).one()
        return f"{newest or ''}/{count}"  # ids of one millisecond come in any order

    def has_any(self) -> bool:
        """Whether there is a row."""
        return self._connection.execute(select(_rows.c.id).limit(1)).first() is not None

    def twins(self) -> list[TwinId]:
        """Every twin that has a row."""
        return [TwinId(one) for one in self._connection.execute(select(_rows.c.twin).distinct()).scalars()]

    def remove(self, ids: Sequence[str]) -> int:
        """Delete rows: how many there were."""
        return self._connection.execute(delete(_rows).where(_rows.c.id.in_(ids))).rowcount

    def remove_of(self, twin: TwinId, category_tags: Collection[bytes] | None = None) -> int:
        """Delete a twin's rows: all, or those whose category has none of these tags any more. How many there were."""
        gone = delete(_rows).where(_rows.c.twin == twin)
        if category_tags is not None:
            gone = gone.where(_rows.c.category_tag.not_in(list(category_tags)))
        return self._connection.execute(gone).rowcount

    def size_bytes(self) -> int:
        """Bytes of all envelopes: for figures."""
        return sum(len(one) for one in self._connection.execute(select(_rows.c.sealed)).scalars())


def _sealed(row: Any) -> Sealed:
    fields = (row.id, row.twin, row.window_ms, row.category_tag, row.signal_tag, row.sealed)
    kinds = (str, str, int, bytes, bytes, bytes)
    if not all(isinstance(one, kind) for one, kind in zip(fields, kinds, strict=True)):
        raise RecordDamaged("a series stands in live.db in another form than this node writes")
    return Sealed(row.id, TwinId(row.twin), row.window_ms, row.category_tag, row.signal_tag, row.sealed)


def _aad(twin: TwinId, category: Category, window_ms: int, row: str, signal_tag: bytes) -> bytes:
    return _AAD + length_prefixed(
        twin.encode(), category.value.encode(), window_ms.to_bytes(8, "big"), row.encode(), signal_tag
    )
