"""The coordinator's side of Flower: a ServerApp that carries bytes between sockets on this machine and SuperNodes.

For each hospital of an invitation it answers on ``FOLDER/HOSPITAL.sock``, like the hospital's own daemon would:
``twinward study run --site`` cannot tell them apart, and verifies every answer. Which node is whose is asked of each
node (a greeting), and believed where the hospital's key of the invitation signed it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import httpx
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from twinward.core.errors import Conflict, TwinwardError
from twinward.federation.flower.mail import Letter, Mail
from twinward.federation.flower.private_pulls import LOOK_EVERY_S, shorten_pulls
from twinward.federation.site_envelope import greeted, greeting
from twinward.federation.site_socket import SocketServer

_ANSWER_S: Final = 600.0
_CONNECTED_S: Final = 20.0
"""How long a hospital that is not connected, or is no more, is waited for."""
_LOOK_AGAIN_S: Final = 0.5
_STRANGE_S: Final = 30.0
"""Until a node whose greeting was no hospital's is greeted again: its daemon may have been starting."""
_TAKEN_OVER_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Greeting:
    """What a node was asked, and when it is asked anew if its answer is no hospital's."""

    asked: bytes
    letter: Letter
    again_at_s: float


class Hospitals:
    """Which node is which hospital's, as far as they are connected now.

    Args:
        mail: to the nodes.
        roster: each hospital's study key.
        nodes: the nodes that are connected now.
    """

    def __init__(self, mail: Mail, roster: Mapping[str, bytes], nodes: Callable[[], Iterable[int]]) -> None:
        self._mail = mail
        self._roster = dict(roster)
        self._connected = nodes
        self._nodes: dict[str, int] = {}
        self._lock = threading.Lock()
        self._greetings: dict[int, _Greeting] = {}
        """Of nodes that have not said whose they are. One that is silent holds up nobody."""

    def look(self) -> None:
        """Greet nodes that are new, hear who they are, forget those that went. Waits for none of them."""
        here = set(self._connected())
        with self._lock:
            self._nodes = {name: node for name, node in self._nodes.items() if node in here}
            known = set(self._nodes.values())
        for node in self._greetings.keys() - (here - known):
            self._mail.withdraw(self._greetings.pop(node).letter)
        for node in here - known:
            found = self._greetings.get(node)
            if found is None or (found.letter.arrived and time.monotonic() > found.again_at_s):
                asked = greeting()
                again_at_s = time.monotonic() + _STRANGE_S
                self._greetings[node] = _Greeting(asked, self._mail.post(node, asked), again_at_s)
            elif found.letter.arrived:
                self._hear(node, found)

    def _hear(self, node: int, found: _Greeting) -> None:
        with suppress(TwinwardError):  # then it is nobody's, or its daemon is not there yet: greeted again
            name = greeted(found.letter.answer, found.asked, self._roster)
            with self._lock:
                self._nodes[name] = node
            del self._greetings[node]

    def ask(self, hospital: str, message: bytes) -> bytes:
        """What a hospital's daemon answers. Raises ``ConnectionError`` where it is not connected, or went."""
        node = self._node(hospital, _CONNECTED_S)
        if node is None:
            raise ConnectionError(f"{hospital} is not connected")
        letter = self._mail.post(node, message)
        gone_at_s = deadline = time.monotonic() + _ANSWER_S
        while not letter.wait(_LOOK_AGAIN_S) and (now_s := time.monotonic()) < min(deadline, gone_at_s):
            gone = self._node(hospital, 0) != node
            gone_at_s = min(gone_at_s, now_s + _CONNECTED_S) if gone else deadline
        answered = letter.answer
        self._mail.withdraw(letter)
        if not answered:
            raise ConnectionError(f"{hospital} did not answer")
        return answered

    def _node(self, hospital: str, within_s: float) -> int | None:
        deadline = time.monotonic() + within_s
        while True:
            with self._lock:
                node = self._nodes.get(hospital)
            if node is not None or time.monotonic() > deadline:
                return node
            time.sleep(LOOK_EVERY_S)


def carry(grid: Grid, context: Context) -> None:
    """Carry messages until the run is stopped. Its configuration names the invitation and the sockets' folder."""
    shorten_pulls()
    invitation = json.loads(Path(str(context.run_config["invitation"])).read_bytes())
    folder = Path(str(context.run_config["sockets"]))
    roster = {name: bytes.fromhex(key) for name, key in invitation["roster"].items()}
    hospitals = Hospitals(Mail(grid), roster, grid.get_node_ids)
    for name in roster:
        server = _server(folder / f"{name}.sock", partial(hospitals.ask, name))
        threading.Thread(target=server.serve, daemon=True, name=f"relay-{name}").start()
    while True:
        with suppress(httpx.HTTPError):  # a SuperLink that is away for good ends this process
            hospitals.look()
        time.sleep(_LOOK_AGAIN_S)


def _server(path: Path, answer: Callable[[bytes], bytes]) -> SocketServer:
    """A socket's server; the relay of a SuperLink that was killed may hold the socket a moment longer."""
    deadline = time.monotonic() + _TAKEN_OVER_S
    while True:
        try:
            return SocketServer(path, answer)
        except Conflict:
            if time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_AGAIN_S)


app = ServerApp()
app.main()(carry)
