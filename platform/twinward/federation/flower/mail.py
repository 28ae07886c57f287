"""A relay's post: what waits goes out together, and one look asks for all answers that are still out.

A SuperLink pays for every look, so each hospital's waiting does not look by itself: two threads do for all, one that
sends and one that fetches.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import Final

import httpx
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from twinward.federation.flower.private_pulls import LOOK_EVERY_S
from twinward.federation.flower.private_runner import ANSWER, DATA, REQUEST

_LIES_S: Final = 3600.0
"""How long a message may lie at the SuperLink for its node to fetch it."""
_SEND_AGAIN_S: Final = 60.0
"""A SuperNode that is killed takes along what it had fetched; a message that is sent again is answered the same."""
_AFTER_AN_ERROR_S: Final = 0.5
_MESSAGE_TYPE: Final = "query"
_LOG: Final = logging.getLogger(__name__)


class Letter:
    """A message to a node, and its answer once it is there. ``answer`` is empty where the node had none."""

    def __init__(self, node: int, message: bytes) -> None:
        self.node = node
        self.message = message
        self.answer = b""
        self.ids: set[str] = set()
        self.send_again_at_s = 0.0
        self._arrived = threading.Event()

    @property
    def arrived(self) -> bool:
        """Whether there is an answer."""
        return self._arrived.is_set()

    def take(self, answer: bytes) -> None:
        """The answer came."""
        self.answer = answer
        self._arrived.set()

    def wait(self, seconds: float) -> bool:
        """Whether it arrived within so long."""
        return self._arrived.wait(seconds)


class Mail:
    """Letters between a relay and the nodes of a grid. For any number of threads.

    Args:
        grid: Flower's, of a run.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._outgoing: queue.SimpleQueue[Letter] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._out: dict[str, Letter] = {}
        self._any_out = threading.Event()
        for work in (self._send, self._fetch):
            threading.Thread(target=work, daemon=True, name=f"mail-{work.__name__}").start()

    def post(self, node: int, message: bytes) -> Letter:
        """Send a message. Its answer comes by the letter, until it is withdrawn."""
        letter = Letter(node, message)
        self._outgoing.put(letter)
        return letter

    def withdraw(self, letter: Letter) -> None:
        """Wait for its answer no more."""
        letter.take(b"")
        self._forget(letter)

    def _send(self) -> None:
        while True:
            letters = [self._outgoing.get()]
            while not self._outgoing.empty():
                letters.append(self._outgoing.get())
            letters = [one for one in letters if not one.arrived]
            try:
                self._push(letters)
            except httpx.HTTPError as error:
                _LOG.warning("the SuperLink takes no message: %s", type(error).__name__)
                time.sleep(_AFTER_AN_ERROR_S)
                for letter in letters:
                    self._outgoing.put(letter)
            except Exception:  # noqa: BLE001 - they are answered that they were not
                _LOG.error("letters could not be sent", exc_info=True)
                for letter in letters:
                    self.withdraw(letter)

    def _push(self, letters: list[Letter]) -> None:
        made = [_made(letter) for letter in letters]
        numbers = list(self._grid.push_messages(made)) if made else []
        with self._lock:
            for letter, number in zip(letters, numbers, strict=False):
                letter.send_again_at_s = time.monotonic() + _SEND_AGAIN_S
                letter.ids.add(number)
                self._out[number] = letter
            self._any_out.set()

    def _fetch(self) -> None:
        while self._any_out.wait():
            try:
                self._pull()
            except httpx.HTTPError as error:
                _LOG.warning("the SuperLink gives no answers: %s", type(error).__name__)
                time.sleep(_AFTER_AN_ERROR_S)
            except Exception:  # noqa: BLE001 - one answer must not end the relay
                _LOG.error("answers could not be read", exc_info=True)
                time.sleep(_AFTER_AN_ERROR_S)
            time.sleep(LOOK_EVERY_S)

    def _pull(self) -> None:
        with self._lock:
            wanted = set(self._out)
            late = {one for one in self._out.values() if one.send_again_at_s < time.monotonic()}
            for letter in late:
                letter.send_again_at_s = time.monotonic() + _SEND_AGAIN_S
            if not wanted:
                self._any_out.clear()
        for letter in late:
            self._outgoing.put(letter)
        for reply in self._grid.pull_messages(wanted) if wanted else ():
            with self._lock:
                found = self._out.get(reply.metadata.reply_to_message_id)
            if found is not None:
                found.take(_said(reply))
                self._forget(found)

    def _forget(self, letter: Letter) -> None:
        with self._lock:
            for number in letter.ids:
                self._out.pop(number, None)


def _made(letter: Letter) -> Message:
    content = RecordDict({REQUEST: ConfigRecord({DATA: letter.message})})
    return Message(content, dst_node_id=letter.node, message_type=_MESSAGE_TYPE, ttl=_LIES_S)


def _said(reply: Message) -> bytes:
    record = reply.content.get(ANSWER) if reply.has_content() else None
    data = record.get(DATA) if isinstance(record, ConfigRecord) else None
    return data if isinstance(data, bytes) else b""
