"""Messages that are settled, of sources that name them; and who was merged into whom.

A name is remembered for thirty days: a sender sends again within hours, and a counter that begins anew does so later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from sqlalchemy import Connection, bindparam, delete, select

from twinward.audit.interfaces import EventKeys
from twinward.core.vocabulary import TwinId
from twinward.live.errors import MessageConflict
from twinward.live.models import Merger, MessageId
from twinward.live.storage.tables import MergerRow, MessageRow
from twinward.live.storage.tenant_rows import TenantSeal
from twinward_ledger.storage import table_of, upsert

REMEMBERED_MS: Final = 30 * 86_400_000
_MOST_STEPS: Final = 100
_messages = table_of(MessageRow)
_mergers = table_of(MergerRow)
_known = select(_messages).where(_messages.c.tag == bindparam("wanted"), _messages.c.at_ms >= bindparam("oldest"))
_forgotten = delete(_messages).where(_messages.c.at_ms < bindparam("oldest"))
_merged = select(_mergers).where(_mergers.c.tag.in_(bindparam("wanted", expanding=True)))


class _Settled(msgspec.Struct, frozen=True):
    digest: bytes


class _Survivor(msgspec.Struct, frozen=True):
    system: str
    value: str
    twin: TwinId


class MessageRows:
    """Both tables, within one transaction."""

    def __init__(self, connection: Connection, keys: EventKeys) -> None:
        self._connection = connection
        self._keys = keys
        self._of_messages = TenantSeal(keys, "message")
        self._of_mergers = TenantSeal(keys, "merger")

    def knows(self, source: bytes, message: MessageId, now_ms: int) -> bool:
        """Whether a source's message is settled. Raises ``MessageConflict``; ``StoreAltered``."""
        tag, oldest_ms = self._tag(source, message), now_ms - REMEMBERED_MS
        row = self._connection.execute(_known, {"wanted": tag, "oldest": oldest_ms}).first()
        if row is None:
            return False
        settled = self._of_messages.open(_Settled, row.sealed, tag, row.at_ms)
        if settled.digest != message.digest:
            raise MessageConflict(
                "a message of this name was taken before, with another content",
                hint="names are unique for 30 days: send it under another",
            )
        return True

    def settle(self, source: bytes, message: MessageId, at_ms: int) -> None:
        """Remember one that is not known."""
        tag = self._tag(source, message)
        sealed = self._of_messages.seal(_Settled(message.digest), tag, at_ms)
        upsert(self._connection, _messages, tag=tag, at_ms=at_ms, sealed=sealed)

    def forget(self, now_ms: int) -> None:
        """Forget those of a month ago."""
        self._connection.execute(_forgotten, {"oldest": now_ms - REMEMBERED_MS})

    def merged(self, *names: str) -> Merger | None:
        """Whom a patient was merged into by the first of these names; who that was merged into is asked again."""
        tags = {self._keys.tag("live-merger", name): name for name in names}
        rows = self._connection.execute(_merged, {"wanted": list(tags)}).all()
        for row in sorted(rows, key=lambda one: list(tags).index(one.tag)):
            kept = self._of_mergers.open(_Survivor, row.sealed, row.tag, 1)
            return Merger((tags[row.tag],), kept.system, kept.value, kept.twin)
        return None

    def merge(self, merger: Merger) -> None:
        """Remember a merger; a later one of the same patient takes its place.

        Raises ``MessageConflict`` where the survivor was merged into who is gone, by however many steps: of two
        opposite mergers that come at once one is taken.
        """
        twin = merger.twin
        for _ in range(_MOST_STEPS):
            found = self.merged(twin)
            if found is None:
                break
            twin = found.twin
            if twin in merger.names:
                raise MessageConflict("the one who stays was merged into the other before", hint="one of them is wrong")
        for name in merger.names:
            tag = self._keys.tag("live-merger", name)
            sealed = self._of_mergers.seal(_Survivor(merger.system, merger.value, merger.twin), tag, 1)
            upsert(self._connection, _mergers, tag=tag, sealed=sealed)

    def forget_mergers(self, is_gone: Callable[[TwinId], bool]) -> None:
        """Delete what names a patient who is gone: it is under no key of theirs."""
        for row in self._connection.execute(select(_mergers)).all():
            if is_gone(self._of_mergers.open(_Survivor, row.sealed, row.tag, 1).twin):
                self._connection.execute(delete(_mergers).where(_mergers.c.tag == row.tag))

    def _tag(self, source: bytes, message: MessageId) -> bytes:
        return self._keys.tag("live-message", f"{source.hex()}\x00{message.name}")
