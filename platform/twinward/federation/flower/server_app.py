"""The coordinator's side of Flower: a ServerApp that carries bytes between sockets on this machine and SuperNodes.

For each hospital of an invitation it answers on ``FOLDER/HOSPITAL.sock``, like the hospital's own daemon would:
``twinward study run --site`` cannot tell them apart, and verifies every answer. Which node is whose is asked of each
node (a greeting), and believed where the hospital's key of the invitation signed it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

from twinward.core.errors import Conflict, TwinwardError
from twinward.federation.flower.private_pulls import LOOK_EVERY_S, shorten_pulls
from twinward.federation.flower.private_runner import ANSWER, DATA, REQUEST
from twinward.federation.site_envelope import greeted, greeting
from twinward.federation.site_socket import SocketServer

_ANSWER_S: Final = 600.0
_GREETING_S: Final = 20.0
_LOOK_AGAIN_S: Final = 0.5
_STRANGE_S: Final = 30.0
"""Until a node whose greeting was no hospital's is greeted again: its daemon may have been starting."""
_SEND_AGAIN_S: Final = 60.0
"""A SuperNode that is killed takes along what it had fetched; a message that is sent again is answered the same."""
_TAKEN_OVER_S: Final = 60.0
_MESSAGE_TYPE: Final = "query"


class Hospitals:
    """Which node is which hospital's, as far as they are connected now."""

    def __init__(self, grid: Grid, roster: Mapping[str, bytes]) -> None:
        self._grid = grid
        self._roster = dict(roster)
        self._nodes: dict[str, int] = {}
        self._lock = threading.Lock()
        self._strangers: dict[int, float] = {}
        """Nodes that are nobody's, and until when they are not asked again."""

    def look(self) -> None:
        """Greet nodes that are new; forget those that went."""
        here = set(self._grid.get_node_ids())
        with self._lock:
            self._nodes = {name: node for name, node in self._nodes.items() if node in here}
            known = set(self._nodes.values())
        now_s = time.monotonic()
        self._strangers = {node: until_s for node, until_s in self._strangers.items() if until_s > now_s}
        for node in here - known - self._strangers.keys():
            asked = greeting()
            try:
                name = greeted(self.ask_node(node, asked, _GREETING_S), asked, self._roster)
            except TwinwardError:
                self._strangers[node] = time.monotonic() + _STRANGE_S
                continue
            except TimeoutError:
                continue  # its daemon may not be there yet
            with self._lock:
                self._nodes[name] = node

    def ask(self, hospital: str, message: bytes) -> bytes:
        """What a hospital's daemon answers. Raises ``ConnectionError`` where it is not connected, or went."""
        deadline = time.monotonic() + _GREETING_S
        while time.monotonic() < deadline:
            with self._lock:
                node = self._nodes.get(hospital)
            if node is not None:
                try:
                    return self.ask_node(node, message, _ANSWER_S)
                except TimeoutError as error:
                    with self._lock:
                        self._nodes.pop(hospital, None)
                    raise ConnectionError(f"{hospital} did not answer") from error
            time.sleep(LOOK_EVERY_S)
        raise ConnectionError(f"{hospital} is not connected")

    def ask_node(self, node: int, message: bytes, timeout_s: float) -> bytes:
        """What a node answers. Raises ``TimeoutError`` where it does not, or nothing."""
        wanted: set[str] = set()
        deadline = time.monotonic() + timeout_s
        send_at = 0.0
        while (now_s := time.monotonic()) < deadline:
            if now_s >= send_at:
                content = RecordDict({REQUEST: ConfigRecord({DATA: message})})
                made = Message(content, dst_node_id=node, message_type=_MESSAGE_TYPE)
                wanted.update(self._grid.push_messages([made]))
                send_at = now_s + _SEND_AGAIN_S
            for reply in self._grid.pull_messages(wanted):
                record = reply.content.get(ANSWER) if reply.has_content() else None
                data = record.get(DATA) if isinstance(record, ConfigRecord) else None
                if not isinstance(data, bytes) or not data:
                    raise TimeoutError
                return data
            time.sleep(LOOK_EVERY_S)
        raise TimeoutError


def carry(grid: Grid, context: Context) -> None:
    """Carry messages until the run is stopped. Its configuration names the invitation and the sockets' folder."""
    shorten_pulls()
    invitation = json.loads(Path(str(context.run_config["invitation"])).read_bytes())
    folder = Path(str(context.run_config["sockets"]))
    roster = {name: bytes.fromhex(key) for name, key in invitation["roster"].items()}
    hospitals = Hospitals(grid, roster)
    for name in roster:
        server = _server(folder / f"{name}.sock", partial(hospitals.ask, name))
        threading.Thread(target=server.serve, daemon=True, name=f"relay-{name}").start()
    while True:
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
