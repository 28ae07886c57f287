"""How an answer travels: under the name that was asked for, packed if its client asked for that.

What is packed, and what never is, says ``twinward.api.http.acceptance``. A strong entity tag names bytes, so that of a
packed answer says how it is packed (``"12.ab"`` becomes ``"12.ab--gzip"``); coming back it means the same state. A
stream is packed piece by piece, each to be read as soon as it has come.
"""

from __future__ import annotations

import re

from anyio import to_thread
from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twinward.api.http import codings
from twinward.api.http.acceptance import accept_encoding_of, is_negotiated, is_packed, label_of
from twinward.core.errors import BadInput

LEAST_BYTES = 1024
"""Below it packing saves no packet."""

_LOOP_BYTES = 32 * 1024
"""What takes longer to pack than a thread takes to be called."""

_CONDITIONS = frozenset({b"if-match", b"if-none-match"})
_TAGGED = re.compile(rf'(")([^"]*)--({"|".join(codings.CODINGS)})"'.encode())


class Representation:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not is_negotiated(scope["path"]):
            await self._app(scope, receive, send)
            return
        answer = _Answer(Request(scope), send, _untagged(scope))
        await self._app(scope, receive, answer.send)


class _Answer:
    """One answer on its way out. ``tags``: those the client sent of packed answers, by what the routes know of them."""

    def __init__(self, request: Request, send: Send, tags: dict[str, str]) -> None:
        self._request = request
        self._send = send
        self._tags = tags
        self._start: Message | None = None
        self._coding = codings.IDENTITY
        self._packer: codings.Packer | None = None

    async def send(self, message: Message) -> None:
        """Take the next message of the application."""
        if message["type"] == "http.response.start":
            self._begin(message)
            if self._coding == codings.IDENTITY:
                await self._send(message)
            else:
                self._start = message
        elif message["type"] != "http.response.body" or self._coding == codings.IDENTITY:
            await self._send(message)
        else:
            await self._pack(message)

    def _begin(self, message: Message) -> None:
        headers = MutableHeaders(scope=message)
        headers.add_vary_header("Accept, Accept-Encoding")
        name, _, parameters = headers.get("content-type", "").partition(";")
        if name and not parameters:
            headers["content-type"] = label_of(self._request, name)
        if message["status"] == 304 and headers.get("etag", "") in self._tags:
            headers["etag"] = self._tags[headers["etag"]]
        if message["status"] in (200, 201) and "content-encoding" not in headers:
            self._coding = self._coding_for(name, int(headers.get("content-length", LEAST_BYTES)))
        if self._coding == codings.IDENTITY:
            return
        headers["content-encoding"] = self._coding
        if headers.get("etag", "").startswith('"'):
            headers["etag"] = f'{headers["etag"][:-1]}--{self._coding}"'

    def _coding_for(self, name: str, size_bytes: int) -> str:
        try:
            taken = codings.acceptable(accept_encoding_of(self._request))
        except BadInput:  # a refusal is on its way, which says so
            return codings.IDENTITY
        if not taken or not is_packed(self._request.url.path, name):
            return codings.IDENTITY
        return taken[0] if size_bytes >= LEAST_BYTES or codings.IDENTITY not in taken else codings.IDENTITY

    async def _pack(self, message: Message) -> None:
        last = not message.get("more_body", False)
        if self._packer is None:
            self._packer = codings.packer(self._coding)
        packed = await _packed(self._packer, bytes(message.get("body", b"")), last=last)
        if self._start is not None:
            headers = MutableHeaders(scope=self._start)
            if last:
                headers["content-length"] = str(len(packed))
            elif "content-length" in headers:
                del headers["content-length"]
            await self._send(self._start)
            self._start = None
        await self._send({**message, "body": packed})


async def _packed(packer: codings.Packer, piece: bytes, *, last: bool) -> bytes:
    if len(piece) <= _LOOP_BYTES:
        return packer.pack(piece, last=last)
    return await to_thread.run_sync(lambda: packer.pack(piece, last=last))


def _untagged(scope: Scope) -> dict[str, str]:
    """Have a request name the states its tags are of, and tell which tags were sent for them."""
    sent: dict[str, str] = {}

    def plain(found: re.Match[bytes]) -> bytes:
        state = b'"' + found[2] + b'"'
        sent[state.decode("latin-1")] = found[0].decode("latin-1")
        return state

    headers: list[tuple[bytes, bytes]] = scope["headers"]
    if any(name in _CONDITIONS for name, _ in headers):
        scope["headers"] = [
            (name, _TAGGED.sub(plain, value) if name in _CONDITIONS else value) for name, value in headers
        ]
    return sent
