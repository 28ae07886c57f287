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
from twinward.federation.flower.superlink import TOLD
from twinward.federation.site_envelope import greeted, greeting
from twinward.federation.site_socket import SocketServer

_ANSWER_S: Final = 600.0
_CONNECTED_S: Final = 20.0
"""How long a hospital that is not connected, or is no more, is waited for."""
_LOOK_AGAIN_S: Final = 0.5
_STRANGE_S: Final = 30.0
"""Until a node whose greeting was no hospital's is greeted again: its daemon may have been starting."""
_TAKEN_OVER_S: Final = 60.0
SILENT_S: Final = 60.0
"""How long who has a hospital's seat says nothing, until another that signs for it takes it."""


@dataclass(frozen=True, slots=True)
class _Greeting:
    """What a node was asked, and when it is asked anew if its answer is no hospital's."""

    asked: bytes
    letter: Letter
    again_at_s: float

    @property
    def is_old(self) -> bool:
        """Whether it is asked anew."""
        return time.monotonic() > self.again_at_s


@dataclass(slots=True)
class _Seat:
    """The node that a hospital's messages go to, and since when nothing is heard of it though it was asked, or went.

    A runner answers one message after the other: while it is at a question, nothing is made of a greeting that waits.
    """

    node: int
    here: bool = True
    questions: int = 0
    silent_since_s: float | None = None
    asked: _Greeting | None = None

    @property
    def is_left(self) -> bool:
        """Whether another may have it."""
        at_work = self.here and self.questions > 0
        since_s = self.silent_since_s
        return not at_work and since_s is not None and time.monotonic() > since_s + SILENT_S


class Hospitals:
    """Which node is which hospital's, as far as they are connected now.

    The first that signs for a hospital has its seat. Another that signs for it is told of and refused, until the first
    has gone, or answers no greeting, for ``SILENT_S``: a hospital that runs two does not change sides at each look.

    Args:
        mail: to the nodes.
        roster: each hospital's study key.
        nodes: the nodes that are connected now.
        told: what whoever coordinates should know, in a sentence.
    """

    def __init__(
        self,
        mail: Mail,
        roster: Mapping[str, bytes],
        nodes: Callable[[], Iterable[int]],
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._mail = mail
        self._roster = dict(roster)
        self._connected = nodes
        self._told = told
        self._seats: dict[str, _Seat] = {}
        self._lock = threading.Lock()
        self._greetings: dict[int, _Greeting] = {}
        """Of nodes that have not said whose they are, or have no seat. One that is silent holds up nobody."""
        self._refused: set[tuple[str, int, int]] = set()

    def look(self) -> None:
        """Greet nodes that are new, hear who they are, mark those that went. Waits for none of them."""
        here = set(self._connected())
        with self._lock:
            for name, seat in self._seats.items():
                self._mark(name, seat, here)
            known = {seat.node for seat in self._seats.values() if seat.here}
        for node in self._greetings.keys() - (here - known):
            self._mail.withdraw(self._greetings.pop(node).letter)
        for node in here - known:
            found = self._greetings.get(node)
            if found is None or (found.letter.arrived and not self._is_seated(node, found) and found.is_old):
                self._greetings[node] = self._greet(node)

    def _greet(self, node: int) -> _Greeting:
        asked = greeting()
        return _Greeting(asked, self._mail.post(node, asked), time.monotonic() + _STRANGE_S)

    def _mark(self, name: str, seat: _Seat, here: set[int]) -> None:
        """Whether who has a seat is there, and signs for it if it was asked because another wants it."""
        if seat.node not in here:
            seat.silent_since_s = seat.silent_since_s or time.monotonic()
            seat.here = False
            self._drop(seat)
        elif seat.asked is not None and seat.asked.letter.arrived:
            with suppress(TwinwardError):
                if greeted(seat.asked.letter.answer, seat.asked.asked, self._roster) == name:
                    seat.silent_since_s = None
            if seat.asked.is_old:
                seat.asked = None

    def _drop(self, seat: _Seat) -> None:
        if seat.asked is not None:
            self._mail.withdraw(seat.asked.letter)
            seat.asked = None

    def _is_seated(self, node: int, found: _Greeting) -> bool:
        """Whether a node that answered has its hospital's seat now."""
        with suppress(TwinwardError):  # then it is nobody's, or its daemon is not there yet: greeted again
            name = greeted(found.letter.answer, found.asked, self._roster)
            with self._lock:
                seat = self._seats.get(name)
                if seat is None or seat.node == node or seat.is_left:
                    if seat is not None:
                        self._drop(seat)
                    self._seats[name] = _Seat(node)
                    del self._greetings[node]
                    return True
                self._refuse(name, seat, node)
        return False

    def _refuse(self, name: str, seat: _Seat, node: int) -> None:
        """Leave the seat to who has it, and see whether that one still answers."""
        if seat.here and not (seat.asked is not None and seat.asked.letter.arrived):
            seat.silent_since_s = seat.silent_since_s or time.monotonic()
            seat.asked = seat.asked or self._greet(seat.node)
        if (name, seat.node, node) not in self._refused:
            self._refused.add((name, seat.node, node))
            self._told(
                f"two SuperNodes sign for {name}: {seat.node} was first and has its seat; {node} is refused until that "
                f"one is silent for {SILENT_S:g} s"
            )

    def ask(self, hospital: str, message: bytes) -> bytes:
        """What a hospital's daemon answers. Raises ``ConnectionError`` where it is not connected, or went."""
        node = self._node(hospital, _CONNECTED_S)
        if node is None:
            raise ConnectionError(f"{hospital} is not connected")
        with self._lock:
            seat = self._seats[hospital]
            seat.questions += 1
        try:
            answered = self._answer_of(hospital, node, message)
            seat.silent_since_s = None
        finally:
            with self._lock:
                seat.questions -= 1
        return answered

    def _answer_of(self, hospital: str, node: int, message: bytes) -> bytes:
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
                seat = self._seats.get(hospital)
                node = seat.node if seat is not None and seat.here else None
            if node is not None or time.monotonic() > deadline:
                return node
            time.sleep(LOOK_EVERY_S)


def carry(grid: Grid, context: Context) -> None:
    """Carry messages until the run is stopped. Its configuration names the invitation and the sockets' folder."""
    shorten_pulls()
    invitation = json.loads(Path(str(context.run_config["invitation"])).read_bytes())
    folder = Path(str(context.run_config["sockets"]))
    roster = {name: bytes.fromhex(key) for name, key in invitation["roster"].items()}
    hospitals = Hospitals(Mail(grid), roster, grid.get_node_ids, partial(_tell, folder.parent / TOLD))
    for name in roster:
        server = _server(folder / f"{name}.sock", partial(hospitals.ask, name))
        threading.Thread(target=server.serve, daemon=True, name=f"relay-{name}").start()
    while True:
        with suppress(httpx.HTTPError):  # a SuperLink that is away for good ends this process
            hospitals.look()
        time.sleep(_LOOK_AGAIN_S)


def _tell(path: Path, sentence: str) -> None:
    """To ``study flower``, whose terminal it is: a ServerApp has none."""
    with path.open("a", encoding="utf-8") as file:
        file.write(sentence + "\n")


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
