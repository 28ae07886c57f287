"""Witnesses in processes of their own, for tests: honest ones, and ones that lie.

They are forked from one process that has everything imported, so that starting one again costs little.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from twinward.consortium.witness.home import WitnessSettings, create_witness
from twinward_ledger.formats.note import NoteSigner, VerifierKey
from twinward_ledger.witness.client import HttpWitness

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.witness_processes", "twinward.cli.witness.run"])


@dataclass
class WitnessProcess:
    """A witness's home and the process that serves it, on a port that stays its own."""

    home: Path
    key: VerifierKey
    port: int
    process: ForkServerProcess

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def peer(self, log: VerifierKey, timeout_s: float = 20.0) -> HttpWitness:
        return HttpWitness(self.key, self.url, log, timeout_s=timeout_s)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.process.kill()
        self.process.join(20)

    def stop(self) -> None:
        """Let it hang: connections are accepted by the kernel, nothing is answered."""
        assert self.process.pid
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process.pid
        os.kill(self.process.pid, signal.SIGCONT)

    def restart(self) -> None:
        self.process, self.port = _start(_serve_home, self.home, self.port)

    def end(self) -> None:
        if self.process.pid:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGCONT)
        self.kill()


def start_witness(
    folder: Path, name: str, *logs: VerifierKey, anchors: tuple[tuple[int, bytes], ...] = ()
) -> WitnessProcess:
    """A new witness that cosigns for some logs, served."""
    made = create_witness(folder, WitnessSettings(name=name, listen_port=0, rate_per_s=10_000))
    for log in logs:
        made.add_log(log)
        for anchor in anchors:
            made.add_log(log, anchor)
    key = made.witness.key
    made.close()
    process, port = _start(_serve_home, folder, 0)
    return WitnessProcess(folder, key, port, process)


def start_liar(name: str, mode: str, log: VerifierKey) -> WitnessProcess:
    """A witness that does nothing right."""
    process, port = _start(_serve_liar, name, mode, 0)
    return WitnessProcess(Path(), liar_signer(name).cosigner_key, port, process)


def liar_signer(name: str) -> NoteSigner:
    return NoteSigner(name, name.encode().ljust(32, b".")[:32])


def _start(target: Callable[..., None], *arguments: Any) -> tuple[ForkServerProcess, int]:
    receiver, sender = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=target, args=(*arguments, sender), daemon=True)
    process.start()
    sender.close()
    assert receiver.poll(60), "the witness did not start"
    port = receiver.recv()
    receiver.close()
    return process, port


def _listen(port: int) -> socket.socket:
    # With the protocol named, asyncio turns Nagle off on what it accepts; otherwise answers come 40 ms late.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(64)
    return listener


def _serve_home(home: Path, port: int, ready: Connection) -> None:
    from twinward.cli.server import server_of
    from twinward.consortium.witness.home import open_witness

    with open_witness(home) as opened, _listen(port) as listener:
        ready.send(listener.getsockname()[1])
        server_of(opened.service(lambda _word, _facts: None)).run(sockets=[listener])


def _serve_liar(name: str, mode: str, port: int, ready: Connection) -> None:
    from twinward.cli.server import server_of

    with _listen(port) as listener:
        ready.send(listener.getsockname()[1])
        server_of(Liar(name, mode)).run(sockets=[listener])


class Liar:
    """Answers every checkpoint with something that is not its cosignature of it."""

    def __init__(self, name: str, mode: str) -> None:
        self._signer = liar_signer(name)
        self._mode = mode

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        status, kind, answer = self._answer(body)
        headers = [(b"content-type", kind.encode())]
        if status == 307:
            headers.append((b"location", b"http://127.0.0.1:1/elsewhere"))
        if self._mode == "packed":
            headers.append((b"content-encoding", b"gzip"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _answer(self, body: bytes) -> tuple[int, str, bytes]:
        import gzip
        import time
        from dataclasses import replace

        from twinward_ledger.formats.checkpoint import Checkpoint, sign_checkpoint
        from twinward_ledger.formats.cosignature import cosign
        from twinward_ledger.formats.note import Note
        from twinward_ledger.witness.evidence import MEDIA_TYPE, SplitViewEvidence
        from twinward_ledger.witness.wire import SIZE_TYPE, parse_request

        text, now = Note.parse(parse_request(body).note).text, int(time.time())
        line = cosign(text, now, self._signer)
        checkpoint, plain = Checkpoint.parse(text), "text/plain; charset=utf-8"
        other_signer = NoteSigner(checkpoint.origin, bytes(32))
        flipped = replace(line, blob=line.blob[:-1] + bytes([line.blob[-1] ^ 1]))
        elsewhere = cosign(replace(checkpoint, root=bytes(32)).text(), now, self._signer)
        stolen_name = replace(cosign(text, now, other_signer), name=line.name, key_id=line.key_id)
        forged = [sign_checkpoint(replace(checkpoint, root=bytes([n]) * 32), other_signer).encode() for n in (1, 2)]
        return {
            "bad signature": (200, plain, str(flipped).encode()),
            "another root": (200, plain, str(elsewhere).encode()),
            "another key": (200, plain, str(stolen_name).encode()),
            "unknown key only": (200, plain, str(cosign(text, now, other_signer)).encode()),
            "far future": (200, plain, str(cosign(text, now + 10_000, self._signer)).encode()),
            "garbage": (200, plain, b"\xff\x00 all good"),
            "nothing": (200, plain, b""),
            "too much": (200, plain, str(line).encode() * 10_000),
            "packed": (200, plain, gzip.compress(str(line).encode())),
            "no size": (409, SIZE_TYPE, b"many\n"),
            "same size": (409, SIZE_TYPE, b"0\n"),
            "made-up split view": (409, MEDIA_TYPE, SplitViewEvidence.of(*forged, other_signer.key).encoded),
            "server error": (500, "text/html", b"<b>oops\x1b[31m</b>"),
            "redirect": (307, plain, b""),
        }[self._mode]  # fmt: skip
