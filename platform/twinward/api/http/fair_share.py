"""One account's requests, however many come at once, leave threads to others.

A node answers most requests in threads, and has a few dozen. So whoever asks has *places*, as many as there are
threads: taken before a route's work, given back when its answer begins (what an answer streams is bounded where it is
made) and while its body is waited for (``guard`` bounds those). A sender may hold ``GREED`` times as many places as
are free: 32 of 40 where it is alone, 17 where two send all they can, and one that comes new finds a place. That is a
dynamic threshold (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", IEEE/ACM
Transactions on Networking 6(2), 1998, section III). Whoever has to wait waits without a thread, and the sender that
holds least is next; after ``WAIT_S`` it is told 429.

A sender is an account, once a token or a session of its was good for a request; until then, and for strangers, it is
the network that the request came from.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twinward.api.http.problems import refusal
from twinward.core.rate_limit import network_of

THREADS: Final = 40
"""Those of AnyIO, which Starlette and FastAPI answer by."""
GREED: Final = 4
WAIT_S: Final = 20.0
_AGAIN_S: Final = 5
_REMEMBERED: Final = 4096
_IN_SCOPE: Final = "twinward.sender"
CONSOLE_SESSION: Final = "twinward_session"
HOST_ONLY: Final = "__Host-"
"""The console's cookie; and what stands before a cookie's name where it travels over TLS only."""
_WITHOUT_THREADS: Final = frozenset({"/health"})


class FullError(Exception):
    """No place came free in time."""


@dataclass(slots=True, eq=False)
class _Waiter:
    """Who waits for a place. ``has_place``: it was given one, whether or not it knows yet."""

    loop: asyncio.AbstractEventLoop
    called: asyncio.Future[None] = field(init=False)
    has_place: bool = False

    def __post_init__(self) -> None:
        self.called = self.loop.create_future()

    def call(self) -> None:
        if not self.called.done():
            self.called.set_result(None)


class Places:
    """So many places, shared among senders. Safe for several event loops."""

    def __init__(self, count: int = THREADS, wait_s: float = WAIT_S) -> None:
        self._free = count
        self._wait_s = wait_s
        self._mutex = threading.Lock()
        self._held: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[_Waiter]] = OrderedDict()

    def held(self, sender: str) -> int:
        """How many places a sender holds."""
        return self._held[sender]

    async def take(self, sender: str) -> None:
        """Have a place, as soon as the sender may. Raises ``FullError`` where that takes too long."""
        with self._mutex:
            if sender not in self._waiting and self._may(sender):
                self._give(sender)
                return
            waiter = _Waiter(asyncio.get_running_loop())
            self._waiting.setdefault(sender, deque()).append(waiter)
        try:
            async with asyncio.timeout(self._wait_s):
                await waiter.called
        except TimeoutError:
            self._leave(sender, waiter)
            raise FullError from None
        except BaseException:
            self._leave(sender, waiter)
            raise

    def give_back(self, sender: str) -> None:
        """A place is free again: whoever may have it and holds least is called."""
        with self._mutex:
            self._free += 1
            self._held[sender] -= 1
            if not self._held[sender]:
                del self._held[sender]
            self._call()

    def _leave(self, sender: str, waiter: _Waiter) -> None:
        with self._mutex:  # else another loop's thread gives it a place just after it was looked at
            if not waiter.has_place:
                self._without(sender, waiter)
                return
        self.give_back(sender)

    def _call(self) -> None:
        while may := [one for one in self._waiting if self._may(one)]:
            sender = min(may, key=self._held.__getitem__)  # of those that hold as much, the one that waits longest
            waiter = self._waiting[sender][0]
            self._without(sender, waiter)
            self._give(sender)
            waiter.has_place = True
            with suppress(RuntimeError):  # its loop is closed: nobody awaits it
                waiter.loop.call_soon_threadsafe(waiter.call)

    def _may(self, sender: str) -> bool:
        return self._held[sender] < GREED * self._free

    def _give(self, sender: str) -> None:
        self._free -= 1
        self._held[sender] += 1

    def _without(self, sender: str, waiter: _Waiter) -> None:
        queue = self._waiting[sender]
        queue.remove(waiter)
        if queue:
            self._waiting.move_to_end(sender)
        else:
            del self._waiting[sender]


@dataclass(slots=True)
class _Sender:
    """Whose a request is, once that is known."""

    account: str = ""


def asked_by(request: Request, account: str) -> None:
    """Say whose a request is: the next with its token or session counts as that account's."""
    sender = request.scope.get(_IN_SCOPE)
    if isinstance(sender, _Sender):
        sender.account = account


class TooManyError(HTTPException):
    """A sender has as many requests under way as leave threads to others. An ``HTTPException``: it may come while
    FastAPI reads a body, and FastAPI hands on nothing else from in there."""

    kind, code = "Busy", "throttled"

    def __init__(self) -> None:
        said = "too many requests of yours are under way; wait for their answers, or send fewer at once"
        super().__init__(429, said, {"retry-after": str(_AGAIN_S)})


class _Place:
    """A request's place: held while the node works for it, not while its body is waited for."""

    def __init__(self, places: Places, sender: str, receive: Receive, send: Send) -> None:
        self._places, self._sender = places, sender
        self._receive, self._send = receive, send
        self._is_held = self._has_begun = False

    async def take(self) -> None:
        """Raises ``TooManyError``."""
        try:
            await self._places.take(self._sender)
        except FullError:
            raise TooManyError from None
        self._is_held = True

    def give_back(self) -> None:
        if self._is_held:
            self._is_held = False
            self._places.give_back(self._sender)

    async def receive(self) -> Message:
        """The next of the request. Many that send slowly, from wherever, hold no places meanwhile."""
        self.give_back()
        message = await self._receive()
        if not self._has_begun and message["type"] == "http.request":
            await self.take()
        return message

    async def send(self, message: Message) -> None:
        """The next of the answer."""
        self._has_begun = True
        self.give_back()
        await self._send(message)


class FairShare:
    """ASGI middleware: each request has a place, or waits for one."""

    def __init__(self, app: ASGIApp, *, places: Places | None = None) -> None:
        self._app = app
        self._places = places or Places()
        self._accounts: OrderedDict[bytes, str] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in _WITHOUT_THREADS:
            await self._app(scope, receive, send)
            return
        credentials, known = _credentials(scope), _Sender()
        account = next((found for one in credentials if (found := self._accounts.get(one))), None)
        place = _Place(self._places, f"account {account}" if account else f"network {_network(scope)}", receive, send)
        try:
            await place.take()
        except TooManyError as refused:
            await refusal(scope["path"], refused)(scope, receive, send)
            return
        scope[_IN_SCOPE] = known
        try:
            await self._app(scope, place.receive, place.send)
        finally:
            place.give_back()
            if known.account:
                self._remember(credentials, known.account, are_new=known.account != account)

    def _remember(self, credentials: Sequence[bytes], account: str, *, are_new: bool) -> None:
        for one in credentials:
            if are_new or one in self._accounts:  # nobody fills this with words beside those that are good
                self._accounts[one] = account
                self._accounts.move_to_end(one)
        while len(self._accounts) > _REMEMBERED:
            self._accounts.popitem(last=False)


def _credentials(scope: Scope) -> list[bytes]:
    """The token and the session that a request names, as digests: no token is kept.

    These alone: what else its headers say, whoever sends it chooses anew each time, and would be somebody new.
    """
    request = Request(scope)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    said = [token.strip() or scheme]
    if "cookie" in request.headers:
        said += [request.cookies.get(name, "") for name in (CONSOLE_SESSION, HOST_ONLY + CONSOLE_SESSION)]
    return [hashlib.sha256(one.encode("utf-8", "surrogatepass")).digest() for one in said if one]


def _network(scope: Scope) -> str:
    client = scope.get("client")
    return network_of(client[0]) if client else ""
