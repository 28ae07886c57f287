"""Follows a broker: what it delivers is taken in batches, and acknowledged to it once it is durable.

MQTT 5 at QoS 1 with a session that outlives the connection: what was not acknowledged the broker delivers again. An
acknowledgement belongs to the connection a message came by: after a new one, packet numbers begin to mean other
messages, and an old one's acknowledgement would be another's (4.4, "Message delivery retry").

A broker is told no reasons. So what a sender over HTTP would be asked to mend is kept in quarantine here; what policy
or consent refuses is neither kept nor delivered again, and the refusal is in the log.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from twinward.access.interfaces import AccessContext
from twinward.core.errors import Busy, StoreAltered, Unavailable
from twinward.live.errors import MessageRefused, QuarantineFull
from twinward.live.intake.intake import Item
from twinward.live.intake.lines import MAX_BATCH_BYTES, batches, is_one_batch
from twinward.live.models import Answer, MessageId, Outcome, Reason
from twinward.live.mqtt.broker import APART, Broker, Topic
from twinward.live.service import Live

SESSION_S: Final = 7 * 86_400
"""How long a broker keeps what nobody fetches."""
MOST_IN_FLIGHT: Final = 200
"""Messages that were delivered and are not acknowledged: what one batch can be made of, and all that memory holds."""
MAX_PAYLOAD_BYTES: Final = 1024 * 1024
_APART_CHARS: Final = 58
_WAIT_S: Final = 0.5
_AGAIN_S: Final = (0.2, 0.5, 1, 2, 5)
_ASIDE_S: Final = 2
"""How long what a full source sent rests before it is tried again."""
_HOPELESS: Final = frozenset(
    {
        "Bad authentication method",
        "Bad user name or password",
        "Banned",
        "Client identifier not valid",
        "Not authorized",
        "Session taken over",
        "Unsupported protocol version",
    }
)
"""Answers of a broker (table 2-6) that asking again does not change."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message, and by which connection it came."""

    topic: str
    payload: bytes = field(repr=False)
    packet: int
    connection: int
    qos: int = 1


@dataclass(slots=True)
class Tally:
    """What became of readings since the start."""

    stored: int = 0
    quarantined: int = 0
    duplicates: int = 0
    refused: int = 0

    def count(self, answers: list[Answer]) -> None:
        """Add some."""
        for one in answers:
            self.stored += one.outcome is Outcome.STORED
            self.quarantined += one.outcome is Outcome.QUARANTINED
            self.duplicates += one.outcome is Outcome.DUPLICATE
            self.refused += one.outcome is Outcome.REFUSED


class Subscriber:
    """One subscription on behalf of one account.

    Args:
        live: what takes readings.
        context: the account, and why.
        broker: where.
        topic: what, and whose it is.
        told: what an operator is told, a line at a time.
    """

    def __init__(
        self, live: Live, context: AccessContext, broker: Broker, topic: Topic, told: Callable[[str], None]
    ) -> None:
        self._live = live
        self._context = context
        self._broker = broker
        self._topic = topic
        self._told = told
        self.tally = Tally()
        self._waiting: queue.Queue[Delivered] = queue.Queue()
        self._lock = threading.Lock()
        self._connection = 0
        self._refusal = ""
        self._aside: list[Delivered] = []
        self._full: set[str] = set()
        self._aside_until_s = 0.0
        self._client = self._made()

    def follow(self, is_stopped: Callable[[], bool]) -> None:
        """Take what comes until told to stop.

        Raises:
            AccessDenied: the account may write to nobody.
            Unavailable: the broker lets nobody in who comes like this.
        """
        self._live.intake.require(self._context)
        self._client.connect_async(self._broker.host, self._broker.port, clean_start=False, properties=_connecting())
        self._client.loop_start()
        try:
            while not is_stopped():
                if self._refusal:
                    raise Unavailable(self._refusal, hint="its user, certificate and access list; then start again")
                some = [*self._due(), *self._next()]
                if some:
                    self._take(some, is_stopped)
        finally:
            self._client.disconnect()
            self._client.loop_stop()

    def _made(self) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"twinward-{self._context.principal.id}-{self._topic.source}",
            protocol=mqtt.MQTTv5,
            manual_ack=True,
        )
        if self._broker.tls is not None:
            client.tls_set_context(self._broker.tls)
        if self._broker.user:
            client.username_pw_set(self._broker.user, self._broker.password or None)
        client.reconnect_delay_set(1, 30)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_connect_fail = lambda _client, _data: self._told("no broker answers there; trying again")
        client.on_subscribe = self._on_subscribe
        return client

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            if str(reason) in _HOPELESS:
                self._refusal = f"the broker refuses: {reason}"
            self._told(f"the broker answers: {reason}")
            return
        with self._lock:
            self._connection += 1
        client.subscribe(self._topic.filter, qos=1)
        self._told("connected")

    def _on_subscribe(self, _client: mqtt.Client, _data: Any, _packet: int, reasons: Any, _properties: Any) -> None:
        if any(one.is_failure for one in reasons):
            self._refusal = f"the broker does not let this topic be read: {reasons[0]}"

    def _on_disconnect(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        with self._lock:
            self._connection += 1
        if str(reason) in _HOPELESS:  # two of one name would throw each other out for ever
            self._refusal = f"the broker ends the connection: {reason}"
        elif reason.is_failure:
            self._told(f"disconnected: {reason}; trying again")

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        """Queue it. What was published at QoS 0 has no number and no end: it is lost where there is no room."""
        if message.qos == 0 and self._waiting.qsize() >= MOST_IN_FLIGHT:
            return
        self._waiting.put(Delivered(message.topic, bytes(message.payload), message.mid, self._connection, message.qos))

    def _next(self) -> list[Delivered]:
        """What waits, at least one; empty if nothing came for a while."""
        try:
            some = [self._waiting.get(timeout=_WAIT_S)]
        except queue.Empty:
            return []
        while len(some) < MOST_IN_FLIGHT:
            try:
                some.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        return some

    def _take(self, some: list[Delivered], is_stopped: Callable[[], bool]) -> None:
        """Take some in, and acknowledge them; as often as it needs, and never in part of a source."""
        by_source: dict[str, list[Delivered]] = {}
        for one in some:
            by_source.setdefault(self._source_of(one), []).append(one)
        if self._took_together(by_source):
            for one in some:
                self._acknowledge(one)
            return
        for source, messages in by_source.items():
            taken = self._taken(source, messages, is_stopped)
            if taken is None:
                return  # told to stop: the broker has it still
            for one in messages if taken else ():
                self._acknowledge(one)

    def _took_together(self, by_source: dict[str, list[Delivered]]) -> bool:
        """Whether all were taken in one transaction; False where each source is to be taken alone.

        That is where they are one, or more than a batch together, or any source is full, or nothing can be taken at
        present. What was taken nevertheless is a duplicate then.
        """
        size = sum(len(one.payload) for messages in by_source.values() for one in messages)
        if len(by_source) < 2 or size > MAX_BATCH_BYTES or not self._full.isdisjoint(by_source):
            return False
        found = {source: list(batches(_joined(messages))) for source, messages in by_source.items()}
        if any(len(some) > 1 for some in found.values()):
            return False
        together = {source: some[0] for source, some in found.items() if some}
        if not is_one_batch([one for batch in together.values() for one in batch]):
            return False
        try:
            answers = self._live.intake.take_several(self._context, together)
            for source, batch in together.items():
                self._settle(source, batch, answers[source])
        except (Busy, Unavailable):
            return False
        return True

    def _taken(self, source: str, messages: list[Delivered], is_stopped: Callable[[], bool]) -> bool | None:
        """Whether a source's messages were taken, None where it was told to stop; one that is full, or whose row
        somebody altered, holds up no other."""
        for attempt in _again(is_stopped):
            try:
                self._take_of(source, messages)
                self._full.discard(source)
                return True
            except (QuarantineFull, StoreAltered) as error:
                if source not in self._full:
                    self._told(f"{source} waits: {error}")
                self._full.add(source)
                if not self._aside:
                    self._aside_until_s = time.monotonic() + _ASIDE_S
                self._aside += messages
                return False
            except (Busy, Unavailable) as error:
                if attempt == 0:
                    self._told(f"waiting: {error}")
        return None

    def _due(self) -> list[Delivered]:
        """What was set aside and is tried again; what came by an earlier connection the broker delivers anew."""
        if time.monotonic() < self._aside_until_s:
            return []
        due, self._aside = self._aside, []
        return [one for one in due if one.connection == self._connection]

    def _source_of(self, one: Delivered) -> str:
        return self._topic.source_of(one.topic)

    def _take_of(self, source: str, messages: list[Delivered]) -> None:
        for batch in batches(_joined(messages)):
            self._settle(source, batch, self._live.intake.take(self._context, source, batch))

    def _settle(self, source: str, batch: list[Item], answers: list[Answer]) -> None:
        for one in _not_taken(batch, answers):
            self._take_apart(source, one)
        self.tally.count([one for one in answers if one.outcome is not Outcome.REFUSED or _is_denied(one)])

    def _take_apart(self, source: str, one: Item) -> None:
        """What a sender would be told to mend, under a number that is made here: once, known by its content."""
        digest = hashlib.sha256(f"{source}\x00".encode() + msgspec.json.encode(one)).digest()
        apart = f"{source[:_APART_CHARS]}{APART}"
        named = MessageId(digest.hex(), digest)
        try:
            self.tally.count(self._live.intake.take_message(self._context, apart, named, [one]))
        except MessageRefused:
            self.tally.refused += 1

    def _acknowledge(self, one: Delivered) -> None:
        with self._lock:
            if one.qos and one.connection == self._connection:
                self._client.ack(one.packet, 1)


def _joined(messages: list[Delivered]) -> bytes:
    return b"\n".join(one.payload[: MAX_PAYLOAD_BYTES + 1] for one in messages)


def _again(is_stopped: Callable[[], bool]) -> Iterator[int]:
    attempt = 0
    while True:
        yield attempt
        time.sleep(_AGAIN_S[min(attempt, len(_AGAIN_S) - 1)])
        attempt += 1
        if is_stopped():
            return


def _not_taken(batch: list[Item], answers: list[Answer]) -> Iterator[Item]:
    return (
        one
        for one, answer in zip(batch, answers, strict=True)
        if answer.outcome is Outcome.REFUSED and not _is_denied(answer)
    )


def _is_denied(answer: Answer) -> bool:
    return answer.reason is Reason.NOT_PERMITTED


def _connecting() -> Properties:
    found = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    found.SessionExpiryInterval = SESSION_S
    found.ReceiveMaximum = MOST_IN_FLIGHT
    found.MaximumPacketSize = MAX_PAYLOAD_BYTES + 4_096
    return found
