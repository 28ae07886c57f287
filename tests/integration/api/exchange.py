"""One request by hand, past any client that would mend, unpack or cut what comes back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Exchange:
    """What came back: the pieces of the body as they were sent."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


def exchange(app: Any, method: str, target: str, token: str = "", *, body: bytes = b"", **header: str) -> Exchange:
    """Send it, its body in one piece; ``if_match="…"`` is the header If-Match."""
    path, _, query = target.partition("?")
    headers = {"host": "node"} | ({"authorization": f"Bearer {token}"} if token else {})
    headers |= {name.replace("_", "-"): value for name, value in header.items()}
    scope = {
        **{"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1"},
        **{"method": method, "scheme": "http", "root_path": ""},
        **{"path": path, "raw_path": path.encode(), "query_string": query.encode()},
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        **{"client": ("203.0.113.9", 5), "server": ("node", 80)},
    }
    came, sent = Exchange(), False

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if sent:
            await asyncio.sleep(3600)  # a client that stays and says nothing
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            came.status = message["status"]
            came.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        elif message["body"]:
            came.pieces.append(message["body"])

    asyncio.run(app(scope, receive, send))
    return came
