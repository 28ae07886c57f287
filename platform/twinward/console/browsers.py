"""Which browser it is, in words for whoever looks at their sessions."""

from __future__ import annotations

from starlette.requests import Request

from twinward.api.http.caller import address_of

_BROWSERS = (("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
"""In this order: Edge says Chrome too, and Chrome says Safari."""
_SYSTEMS = (
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)


def browser_of(request: Request) -> str:
    """From where a session was begun, in words for its owner: the address, and the browser as far as it says."""
    agent = request.headers.get("user-agent", "")
    browser = next((name for mark, name in _BROWSERS if mark in agent), "another program")
    system = next((f" on {name}" for mark, name in _SYSTEMS if mark in agent), "")
    return f"{browser}{system}, {address_of(request)}"
