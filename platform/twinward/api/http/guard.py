"""What stands before every route: a bound on bodies, security headers, a request log.

A body is bounded while it is read: in bytes, and in the time that its sender may take. Whatever a route reads, it gets
``USUAL_BYTES`` at most. A route that takes more says so with ``read_body``, once it knows who asks: so no stranger
makes the node read more than that. The bound is one of what travels and of what it is once it is unpacked
(``twinward.api.http.codings``); only what a route reads with ``read_body`` may be packed.

Of bodies that are larger than usual, those of one account and those of all together are bounded as well, until they
are answered: many connections fill no memory.

A client that hangs up in the middle of its request is no defect of the node: it is logged with status 499, as web
servers do, and nobody is answered.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog
from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twinward.api.http.codings import ALIASES, CODINGS, IDENTITY, TooMuch, unpacked
from twinward.core.clock import Clock

USUAL_BYTES = 64 * 1024
FIRST_S, LEAST_BYTES_PER_S = 20.0, 1024
"""How long a sender may be waited for: so long, and a second more for so many bytes that it sent."""
OF_ONE_ACCOUNT, OF_ALL = 128 * 1024 * 1024, 512 * 1024 * 1024
"""Bytes of bodies larger than usual that are held at a time: two of the largest that a vendor or an import sends."""

_IN_SCOPE = "twinward.body"

HUNG_UP = 499
METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
"""Those that are named where requests are counted; any other word is its sender's own, and may say anything."""
HSTS = "max-age=31536000"
"""A year, RFC 6797; for this host alone: others of its domain may speak HTTP."""

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
_RAW: Final = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in _HEADERS.items()]

log = structlog.get_logger("twinward.api")


def secure(headers: MutableHeaders, scheme: str) -> None:
    """Put the security headers into an answer: those that it does not have."""
    there = {name for name, _ in headers.raw}
    headers.raw.extend(one for one in _RAW if one[0] not in there)
    if scheme == "https":
        headers["strict-transport-security"] = HSTS


class Guard:
    """ASGI middleware around the whole app."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        clock: Clock,
        count: Callable[[str, str, int, int], None] | None = None,
        most_body_bytes: int = USUAL_BYTES,
        held: HeldBytes | None = None,
    ) -> None:
        self._app = app
        self._clock = clock
        self._count = count
        self._most_body_bytes = most_body_bytes
        self._held = HeldBytes() if held is None else held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_ms = self._clock.now_ms()
        status = 500
        body = Body(scope, receive, self._most_body_bytes, self._held)

        async def guarded_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                secure(MutableHeaders(scope=message), scope["scheme"])
            await send(message)

        try:
            await self._app(scope, body, guarded_send)
        except ClientDisconnect:
            status = HUNG_UP
        finally:
            body.let_go()
            # The route's template, not the path: paths carry ids of twins and patients.
            matched = scope.get("route")
            route = str(getattr(matched, "path_format", None) or getattr(matched, "path", "unknown"))
            said = HUNG_UP if body.cut_off else status
            took_ms = self._clock.now_ms() - started_ms
            method = scope["method"] if scope["method"] in METHODS else "other"
            log.info("request", method=method, route=route, status=said, ms=took_ms)
            if self._count:
                self._count(method, route, said, took_ms)


class BodyRefused(HTTPException):
    """A body that is not read to its end. An ``HTTPException``, because FastAPI hands on nothing else from in there."""

    kind = "BodyRefused"
    code = "invalid"
    """FHIR's word for it, https://hl7.org/fhir/R4/valueset-issue-type.html."""


class TooLarge(BodyRefused):
    """More bytes than a route takes."""

    kind, code = "TooLarge", "too-long"

    def __init__(self, most_bytes: int) -> None:
        super().__init__(413, f"a body may have {most_bytes} bytes at most here")


class TooSlow(BodyRefused):
    """A sender that keeps the node waiting."""

    kind, code = "TooSlow", "timeout"

    def __init__(self) -> None:
        super().__init__(408, "the body came too slowly", {"connection": "close"})


class PackedOtherwise(BodyRefused):
    """A body in a content coding that is not taken here (RFC 9110, sections 12.5.3 and 15.5.16)."""

    kind, code = "UnsupportedMedia", "not-supported"

    def __init__(self, *taken: str) -> None:
        said = " or ".join(taken) or "nothing"
        super().__init__(
            415, f"a body is packed with {said} here, and once", {"accept-encoding": ", ".join(taken) or IDENTITY}
        )


class TooMuchAtOnce(BodyRefused):
    """As many large bodies are held as may be."""

    kind, code = "Busy", "throttled"

    def __init__(self) -> None:
        super().__init__(503, "too many large bodies are sent at once; try later", {"retry-after": "5"})


class HeldBytes:
    """How much of large bodies is held, by account and in all. Used from the event loop only."""

    def __init__(self, of_one: int = OF_ONE_ACCOUNT, of_all: int = OF_ALL) -> None:
        self._of_one, self._of_all = of_one, of_all
        self._by_account: Counter[str] = Counter()

    @property
    def in_all(self) -> int:
        """Of all accounts."""
        return self._by_account.total()

    def take(self, account: str, count: int) -> None:
        """Hold so many more. Raises ``TooMuchAtOnce``, and holds none of them."""
        if self._by_account[account] + count > self._of_one or self.in_all + count > self._of_all:
            raise TooMuchAtOnce
        self._by_account[account] += count

    def give_back(self, account: str, count: int) -> None:
        """They are held no more."""
        self._by_account[account] -= count
        if not self._by_account[account]:
            del self._by_account[account]


class Body:
    """``receive`` of one request, with a bound. ``cut_off``: the client went away before the body's end.

    ``account``: whose it is, once that is known.
    """

    def __init__(self, scope: Scope, receive: Receive, most_bytes: int, held: HeldBytes) -> None:
        self.most_bytes = most_bytes
        self.cut_off = False
        self.account = ""
        self._held = held
        self._holds = 0
        self._receive = receive
        self._declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        self.may_be_packed = False
        self._coding = read_coding(
            [value.decode("latin-1") for name, value in scope["headers"] if name == b"content-encoding"]
        )
        self._seen = 0
        self._waited_s = 0.0
        self._whole = False
        scope[_IN_SCOPE] = self

    async def __call__(self) -> Message:
        """The next message. Raises ``TooLarge``, ``TooSlow``, ``TooMuchAtOnce`` or ``PackedOtherwise``."""
        if self._whole:
            return await self._receive()  # only that the client went away is still to come
        if self._coding != IDENTITY and not self.may_be_packed:
            raise PackedOtherwise
        if not self._declared.isdigit() or int(self._declared) > self.most_bytes:
            raise TooLarge(self.most_bytes)
        message = await self._awaited()
        if message["type"] == "http.disconnect":
            self.cut_off = True
            return message
        self._seen += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._seen > self.most_bytes:
            raise TooLarge(self.most_bytes)
        self.hold(self._seen)
        return message

    def hold(self, count: int) -> None:
        """Say how many bytes there are of it by now, or may be. Raises ``TooMuchAtOnce``."""
        large = count if count > USUAL_BYTES else 0
        if large > self._holds:
            self._held.take(self.account, large - self._holds)
        else:
            self._held.give_back(self.account, self._holds - large)
        self._holds = large

    def let_go(self) -> None:
        """The request was answered: nothing of it is held any more."""
        self.hold(0)

    async def _awaited(self) -> Message:
        # Only waiting counts: what the node takes to read on is not the sender's fault.
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(FIRST_S + self._seen / LEAST_BYTES_PER_S - self._waited_s):
                return await self._receive()
        except TimeoutError:
            raise TooSlow from None
        finally:
            self._waited_s += loop.time() - began


def sent_by(request: Request, account: str) -> None:
    """Say whose body this is, before any of it is read."""
    bound = request.scope.get(_IN_SCOPE)
    if isinstance(bound, Body):
        bound.account = account


async def read_body(request: Request, most_bytes: int = USUAL_BYTES) -> bytes:
    """The whole body, of this size at most, unpacked; of what is packed no more is read than of what is not.

    Raises:
        PackedOtherwise: before a byte is read, a coding that is not taken.
        TooLarge, TooSlow: more bytes than that, as they travel or as they are; or it takes too long.
        TooMuchAtOnce: as many large bodies are held as may be.
        BadInput: it is not packed as it is said to be.
    """
    coding = read_coding(request.headers.getlist("content-encoding"))
    if coding is None:
        raise PackedOtherwise(*CODINGS)
    bound = request.scope.get(_IN_SCOPE)
    if isinstance(bound, Body):
        bound.most_bytes, bound.may_be_packed = most_bytes, True
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > most_bytes:
            raise TooLarge(most_bytes)
    if coding == IDENTITY:
        return bytes(raw)
    try:
        return await _unpacked(bound, coding, bytes(raw), most_bytes)
    except TooMuch:
        raise TooLarge(most_bytes) from None


async def _unpacked(bound: object, coding: str, packed: bytes, most_bytes: int) -> bytes:
    """What is packed, counted before it is there: a usual body is tried first, nobody knows the size of another."""
    with suppress(TooMuch):
        return await run_in_threadpool(unpacked, coding, packed, min(USUAL_BYTES, most_bytes))
    if isinstance(bound, Body):
        bound.hold(len(packed) + most_bytes)
    whole = await run_in_threadpool(unpacked, coding, packed, most_bytes)
    if isinstance(bound, Body):
        bound.hold(len(whole))
    return whole


def read_coding(said: Sequence[str]) -> str | None:
    """The coding that ``Content-Encoding`` names; ``identity`` where it names none; None where it is not known here.

    One coding only: two over each other are of use to nobody but the maker of a bomb.
    """
    name = ",".join(said).strip().lower()
    name = ALIASES.get(name, name)
    return name if name in (IDENTITY, *CODINGS) else None
