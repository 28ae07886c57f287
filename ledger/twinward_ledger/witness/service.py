"""A witness over HTTP (c2sp.org/tlog-witness), as an ASGI application that needs no framework.

=====  ====================================  =======================================================================
POST   ``/add-checkpoint``                   see ``witness_wire``
GET    ``/logs/<log id, hex>/checkpoint``    the largest checkpoint cosigned of a log, for monitors
GET    ``/health``                           ``ok``
=====  ====================================  =======================================================================

Anybody may ask: what is signed is decided by the log's signature and the proof alone. So what one request may cost is
bounded: bytes, seconds, requests under way, requests of one client. Checks go from cheap to dear.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from twinward_crypto.errors import CryptoError
from twinward_ledger.errors import (
    InconsistentGrowth,
    LedgerError,
    MalformedProposal,
    NotSignedByLog,
    SplitView,
    StaleProof,
    UnknownLog,
    WitnessDown,
    WitnessForgot,
    WitnessRefused,
)
from twinward_ledger.formats.cosignature import log_id
from twinward_ledger.witness import evidence, wire
from twinward_ledger.witness.interfaces import Proposal
from twinward_ledger.witness.witness import Witness

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Report = Callable[[str, dict[str, object]], None]
"""Told of every answer: a word for it, and facts that name no patient (a witness knows none)."""

TEXT = "text/plain; charset=utf-8"
_STATUS: tuple[tuple[type[WitnessRefused], int], ...] = (
    (MalformedProposal, 400),
    (NotSignedByLog, 403),
    (UnknownLog, 404),
    (StaleProof, 409),
    (SplitView, 409),
    (InconsistentGrowth, 422),
    (WitnessForgot, 500),
    (WitnessDown, 503),
)
_CHECKPOINT = re.compile(r"/logs/([0-9a-f]{64})/checkpoint", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a witness spends on strangers.

    Attributes:
        rate_per_s: requests of one client address in the long run.
        burst: how many it may send at once.
        at_once: requests under way together; more are told to come back.
        body_s: how long a body may take to arrive.
        clients: how many client addresses are remembered.
    """

    rate_per_s: float = 50.0
    burst: int = 100
    at_once: int = 64
    body_s: float = 10.0
    clients: int = 10_000


class WitnessService:
    """The ASGI application.

    Args:
        witness: who signs.
        limits: see ``Limits``.
        refresh: called before every request; may give the witness a new list of logs.
        on_split: called with a split view's evidence, before the log is answered; must keep it.
        report: told of every answer.
    """

    def __init__(
        self,
        witness: Witness,
        *,
        limits: Limits | None = None,
        refresh: Callable[[], None] = lambda: None,
        on_split: Callable[[evidence.SplitViewEvidence], object] = lambda _: None,
        report: Report = lambda _word, _facts: None,
    ) -> None:
        self._witness = witness
        self._limits = limits or Limits()
        self._refresh = refresh
        self._on_split = on_split
        self._report = report
        self._rates = _Rates(self._limits)
        self._under_way = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        status, kind, body = await self._guarded(scope, receive)
        headers = [
            (b"content-type", kind.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"no-store"),
        ]
        if status in (429, 503):
            headers.append((b"retry-after", b"1"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _guarded(self, scope: Message, receive: Receive) -> tuple[int, str, bytes]:
        client = (scope.get("client") or ("", 0))[0]
        if not self._rates.admit(client):
            return self._said(429, "too many requests")
        if self._under_way >= self._limits.at_once:
            return self._said(503, "too busy")
        self._under_way += 1
        try:
            return await self._routed(scope, receive)
        finally:
            self._under_way -= 1

    async def _routed(self, scope: Message, receive: Receive) -> tuple[int, str, bytes]:
        method, path = scope["method"], scope["path"]
        wanted = _CHECKPOINT.fullmatch(path)
        if path == wire.ADD_CHECKPOINT:
            if method != "POST":
                return self._said(405, "POST a checkpoint")
            return await self._add_checkpoint(scope, receive)
        if method in ("GET", "HEAD") and path == "/health":
            return 200, TEXT, b"ok\n"
        if method in ("GET", "HEAD") and wanted:
            return await asyncio.to_thread(self._checkpoint, bytes.fromhex(wanted[1]))
        return self._said(404, "POST /add-checkpoint, or GET /logs/<log id>/checkpoint")

    async def _add_checkpoint(self, scope: Message, receive: Receive) -> tuple[int, str, bytes]:
        try:
            body = await asyncio.wait_for(_read(scope, receive), self._limits.body_s)
        except TimeoutError:
            return self._said(408, "the body did not arrive in time")
        if body is None:
            return self._said(413, f"a request is at most {wire.MAX_REQUEST_BYTES} bytes")
        anchors = [value for name, value in scope["headers"] if name == wire.ANCHOR_HEADER.encode()]
        if len(anchors) > 1:
            return self._said(400, f"one {wire.ANCHOR_HEADER} header at most")
        return await asyncio.to_thread(self._cosign, body, anchors[0].decode("latin-1") if anchors else None)

    def _cosign(self, body: bytes, anchor: str | None) -> tuple[int, str, bytes]:
        try:
            self._refresh()
            proposal = wire.parse_request(body, anchor)
            answer = self._witness.cosign(proposal)
        except SplitView as split:
            return self._split(split, proposal)
        except StaleProof as stale:
            self._report("stale_proof", {"size": stale.size})
            return 409, wire.SIZE_TYPE, wire.encode_size(stale.size)
        except WitnessRefused as error:
            status = next((status for kind, status in _STATUS if isinstance(error, kind)), 400)
            return self._said(status, str(error))
        except (LedgerError, CryptoError, OSError) as error:
            self._report("cannot_sign", {"kind": type(error).__name__})
            return 503, TEXT, b"this witness cannot sign now\n"
        self._report("cosigned", {"old": proposal.old_size, "anchor": proposal.domain is not None})
        return 200, TEXT, wire.encode_answer(answer, proposal.time_s)

    def _split(self, split: SplitView, proposal: Proposal) -> tuple[int, str, bytes]:
        """Keep the evidence first. The log gets it too, unless its proof started elsewhere: then the size is owed."""
        log = self._witness.log_of(proposal.note)
        found = evidence.SplitViewEvidence.of(split.seen, split.offered, *log.keys)
        self._on_split(found)
        self._report("split_view", {"log": log.origin, "size": found.first.size})
        newest = self._witness.last_size(log.origin)
        if proposal.old_size != newest:
            return 409, wire.SIZE_TYPE, wire.encode_size(newest)
        return 409, evidence.MEDIA_TYPE, found.encoded

    def _checkpoint(self, wanted: bytes) -> tuple[int, str, bytes]:
        try:
            self._refresh()
            origin = next((name for name in self._witness.origins() if log_id(name) == wanted), None)
            note = None if origin is None else self._witness.newest(origin)
        except (LedgerError, OSError) as error:
            self._report("cannot_read", {"kind": type(error).__name__})
            return 503, TEXT, b"this witness cannot read its state now\n"
        return self._said(404, "nothing of this log was cosigned here") if note is None else (200, TEXT, note)

    def _said(self, status: int, message: str) -> tuple[int, str, bytes]:
        self._report("refused", {"status": status})
        return status, TEXT, message.encode("utf-8", "replace") + b"\n"


class _Rates:
    """A token bucket for each client address."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admit(self, client: str) -> bool:
        """Whether this request may go on; counts it. Called from the event loop only."""
        now = time.monotonic()
        tokens, at = self._buckets.pop(client, (float(self._limits.burst), now))
        tokens = min(float(self._limits.burst), tokens + (now - at) * self._limits.rate_per_s)
        admitted = tokens >= 1
        self._buckets[client] = (tokens - 1 if admitted else tokens, now)
        while len(self._buckets) > self._limits.clients:
            self._buckets.popitem(last=False)
        return admitted


async def _read(scope: Message, receive: Receive) -> bytes | None:
    """The whole body; None as soon as it is too long."""
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if not declared.isdigit() or int(declared) > wire.MAX_REQUEST_BYTES:
        return None
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return bytes(body)  # the client went away; what is missing makes it malformed
        body += message.get("body", b"")
        if len(body) > wire.MAX_REQUEST_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)
