"""Messages that are settled as a whole, by their source's own name for each: what is a movement, an order, a merger."""

from __future__ import annotations

from twinward.access.interfaces import AccessContext
from twinward.live.intake.lines import require_name
from twinward.live.models import Merger, MessageId
from twinward.live.parts import LiveParts


class Messages:
    """What is settled of them. Safe to share between threads and processes.

    Args:
        parts: what live twins stand on.
    """

    def __init__(self, parts: LiveParts) -> None:
        self._parts = parts

    def knows(self, context: AccessContext, source: str, message: MessageId) -> bool:
        """Whether a message of this caller's source is settled. Raises ``MessageConflict``."""
        require_name(source, "source")
        with self._parts.database.reading() as tables:
            tag = tables.sources.tag(context.principal.id, source)
            return tables.messages.knows(tag, message, self._parts.clock.now_ms())

    def settle(self, context: AccessContext, source: str, message: MessageId) -> None:
        """Remember that what a message asks for is done. Durable when this returns."""
        with self._parts.database.writing() as tables:
            at, now_ms = tables.sources.find(context.principal.id, source), self._parts.clock.now_ms()
            if not tables.messages.knows(at.tag, message, now_ms):
                tables.messages.forget(now_ms)
                tables.messages.settle(at.tag, message, now_ms)
                at.state.messages += 1
                at.state.heard_ms = now_ms
                tables.sources.put(at)

    def merged(self, *names: str) -> Merger | None:
        """Whom a patient was merged into by any of these names, one step; None for nobody."""
        with self._parts.database.reading() as tables:
            return tables.messages.merged(*names)
