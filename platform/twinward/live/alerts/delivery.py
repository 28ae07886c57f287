"""Sending notices until the receiver took them: by whatever process comes first, one at a time."""

from __future__ import annotations

from typing import Final

import structlog

from twinward.core.clock import Clock
from twinward.core.errors import NotFound, Unavailable
from twinward.live.alerts.notices import RETRY_S
from twinward.live.alerts.webhook import Webhook
from twinward.live.storage.database import LiveDatabase
from twinward.live.storage.notices import NEVER_MS, Waiting

MOST_AT_ONCE: Final = 200
_LEASE_MS: Final = 30_000
"""How long whoever takes a notice has to send it, before another process takes it up."""
_MOST_SHOWN: Final = 1_000

log = structlog.get_logger("twinward.live.alerts")


class Delivery:
    """Delivers notices.

    Args:
        database: where they wait.
        webhook: who is told; None where nobody is.
        clock: the node's.
    """

    def __init__(self, database: LiveDatabase, webhook: Webhook | None, clock: Clock) -> None:
        self._database = database
        self._webhook = webhook
        self._clock = clock

    def carry_on(self) -> None:
        """Send what is due, until the receiver fails once or nothing is.

        Raises ``Unavailable``: of this node's store.
        """
        if self._webhook is None:
            return
        for _ in range(MOST_AT_ONCE):
            taken = self._take()
            if taken is None or not self._send(self._webhook, taken):
                return

    def counts(self) -> tuple[int, int]:
        """How many notices wait, and how many are dead letters."""
        with self._database.reading() as tables:
            return tables.notices.counts()

    def set_aside(self) -> int:
        """How many notices somebody altered: they are sent to nobody, and hold up no other."""
        with self._database.reading() as tables:
            return tables.notices.set_aside()

    def dead(self) -> list[Waiting]:
        """Dead letters, a thousand at most."""
        with self._database.reading() as tables:
            return tables.notices.dead(_MOST_SHOWN)

    def revive(self) -> int:
        """Have dead letters sent again; returns how many. Raises ``NotFound``: there is nobody to send them to."""
        if self._webhook is None:
            raise NotFound(
                "there is no receiver of notices", hint="set live_alert_url in twinward.toml and start the node again"
            )
        with self._database.writing() as tables:
            found = tables.notices.dead(_MOST_SHOWN)
            for one in found:
                tables.notices.put(one.id, self._clock.now_ms(), one.notice.revived())
        return len(found)

    def _take(self) -> Waiting | None:
        """One that is due, out of other processes' way for a while."""
        now_ms = self._clock.now_ms()
        with self._database.reading() as tables:
            if not tables.notices.is_due(now_ms):
                return None
        with self._database.writing() as tables:
            found = tables.notices.due(now_ms)
            if found is None:
                return None
            tables.notices.put(found.id, now_ms + _LEASE_MS, found.notice)
            return found._replace(due_ms=now_ms + _LEASE_MS)

    def _send(self, webhook: Webhook, taken: Waiting) -> bool:
        try:
            webhook.send(taken.id, taken.notice, self._clock.now_ms())
        except Unavailable as error:
            self._failed(taken, str(error))
            return False
        with self._database.writing() as tables:
            tables.notices.remove(taken.id)
        return True

    def _failed(self, taken: Waiting, problem: str) -> None:
        notice, now_ms = taken.notice.failed(problem), self._clock.now_ms()
        due_ms = NEVER_MS + now_ms if notice.is_dead else now_ms + RETRY_S[notice.tries - 1] * 1000
        with self._database.writing() as tables:
            at = tables.notices.find(taken.id)
            if at is not None and at.due_ms == taken.due_ms:  # or another process has it, or has sent it
                tables.notices.put(taken.id, due_ms, notice)
            tables.notices.forget_dead(now_ms)
        log.warning("alert_not_delivered", tries=notice.tries, dead=notice.is_dead)
