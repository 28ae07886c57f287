"""A real node behind a real HTTP server, and a real Chromium in front of it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from tests.integration.console.fixtures import PASSWORD, House, build
from tests.tools import require
from twinward.api.app import create_app
from twinward.console import mount
from twinward.console.sessions import SESSION_COOKIE

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_TIMEOUT_S = 20.0


@contextmanager
def served(house: House, *, port: int = 0) -> Iterator[str]:
    """Serve a house's API and console on a loopback port; yields its base URL."""
    app = create_app(house.node)
    mount(app, house.node)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sets NODELAY on these
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < deadline, "the server did not start in time"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(START_TIMEOUT_S)
        listener.close()


@dataclass
class Visit:
    """One browser profile at one node, and everything its pages complained about or asked for."""

    context: BrowserContext
    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def listen(self) -> None:
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "request", lambda request: self.hosts.add(request.url.split("/")[2] if "//" in request.url else "")
        )

    def go(self, path: str) -> None:
        self.page.goto(self.url + path)

    def until(self, expression: str) -> None:
        """Wait until this is true on the page. Playwright's own waiting evaluates text there, which its CSP forbids."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is(expression):
            assert time.monotonic() < deadline, f"never: {expression}"
            time.sleep(0.02)

    def _is(self, expression: str) -> bool:
        try:
            return bool(self.page.evaluate(expression))
        except PlaywrightError:  # the page that it was asked of went meanwhile
            return False

    def sign_in(self, password: str = PASSWORD, account: str = "officer") -> None:
        self.go("/console/sign-in")
        self.page.fill("#account", account)
        self.page.fill("#password", password)
        self.page.click("button:has-text('Sign in')")
        self.page.wait_for_load_state()

    def verdict(self, selector: str = "#verified") -> str:
        """What the browser's own check came to: good, warn, bad or plain."""
        self.page.wait_for_selector(f"{selector}[data-checked]")
        return str(self.page.get_attribute(selector, "data-checked"))


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    built = build(tmp_path_factory.mktemp("browser") / "home")
    assert built.node.log_check.run().fault == ""  # what `node serve` begins with
    yield built
    built.node.close()


@pytest.fixture(scope="session")
def url(house: House) -> Iterator[str]:
    with served(house) as address:
        yield address


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Ends with its module: as long as Playwright runs, this thread has an event loop, and asyncio.run refuses."""
    path = require("chromium", install="apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser, url: str) -> Iterator[Visit]:
    """A new browser profile, not signed in."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    one = Visit(context, context.new_page(), url)
    one.page.set_default_timeout(20_000)
    one.listen()
    yield one
    context.close()


@pytest.fixture
def officer(visit: Visit, house: House) -> Visit:
    """A new browser profile, signed in by cookie: the form brakes whoever comes as often as tests do."""
    session_id = house.node.sign_ins.by_password("officer", PASSWORD)
    visit.context.add_cookies([{"name": SESSION_COOKIE, "value": session_id, "url": f"{visit.url}/console"}])
    visit.go("/console")
    return visit
