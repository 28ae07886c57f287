"""npm's ``oidc-provider``, unmodified, as a process of its own; and a browser that goes there and comes back."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
from fastapi.testclient import TestClient

from tests.tools import ROOT, require

ORIGIN = "http://localhost:8040"
CALLBACK = f"{ORIGIN}/console/sign-in/hospital/callback"
SECRET = "a secret that only a test knows"
_FOLDER = ROOT / "tests" / "clients" / "javascript"


@dataclass
class Hospital:
    """The provider: who signs in next, and with which claims."""

    issuer: str
    told: Queue[str] = field(default_factory=Queue)
    browser: httpx.Client = field(default_factory=httpx.Client)

    def person(self, subject: str, **claims: Any) -> None:
        """Whoever comes next is this one, in a browser of their own."""
        self.browser.close()
        self.browser = httpx.Client()
        httpx.post(f"{self.issuer}/test/person", content=json.dumps({"sub": subject, **claims})).raise_for_status()

    def rotate(self) -> None:
        """From now on it signs by another key alone."""
        httpx.post(f"{self.issuer}/test/rotate").raise_for_status()

    def sign_out(self) -> str:
        """Whoever came last signs out there: the logout token that the provider sends."""
        httpx.post(f"{self.issuer}/test/logout").raise_for_status()
        return self.told.get(timeout=20)

    def back_from(self, address: str) -> str:
        """Go there, be whoever is expected, and stop where the browser is sent back: the path and query."""
        for _ in range(10):
            answer = self.browser.get(address)
            assert answer.status_code in (302, 303), answer.text[-900:]
            address = urljoin(address, answer.headers["location"])
            if address.startswith(CALLBACK):
                parts = urlsplit(address)
                return f"{parts.path}?{parts.query}"
        raise AssertionError("the provider sends in circles")

    def walk(self, web: TestClient, begin: str = "/console/sign-in/hospital") -> Any:
        """There and back: the console's answer."""
        begun = web.get(begin)
        assert begun.status_code == 303, begun.text[:500]
        return web.get(self.back_from(begun.headers["location"]))


@contextmanager
def running() -> Iterator[Hospital]:
    node = require("node", install="https://nodejs.org")
    require("oidc-provider", install="npm ci in tests/clients/javascript", beside=_FOLDER / "node_modules")
    told: Queue[str] = Queue()

    class Told(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            told.put(parse_qs(body)["logout_token"][0])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Told)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    process = subprocess.Popen(
        [node, "provider.mjs", CALLBACK, f"{ORIGIN}/console/sign-in", f"http://127.0.0.1:{listener.server_port}/"],
        cwd=_FOLDER,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        hospital = Hospital(process.stdout.readline().strip(), told)
        yield hospital
        hospital.browser.close()
    finally:
        process.kill()
        process.communicate()
        listener.shutdown()
        listener.server_close()
