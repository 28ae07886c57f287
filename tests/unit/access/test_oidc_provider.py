"""What is asked of a provider over HTTP: nothing but its own addresses, and no more than has an end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from joserfc.jwk import ECKey

from twinward.access.oidc import provider as module
from twinward.access.oidc.id_tokens import ProviderRefused
from twinward.access.oidc.provider import ANEW_MS, KEPT_MS, MOST_BYTES, SILENT_MS, Client, Provider, ProviderSilent
from twinward.core.clock import FixedClock
from twinward.core.config import Settings
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Role


class Fake:
    """An HTTP server that answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[tuple[str, str]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.drips = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("content-length", 0))
                outer.asked.append((self.path, self.rfile.read(length).decode()))
                outer.may_answer.wait()
                status, body = outer.answers.get(self.path, (404, b""))
                self.send_response(status)
                if status == 302:
                    self.send_header("location", "/elsewhere")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                with suppress(OSError):  # whoever asked has gone
                    for place in range(len(body)) if outer.drips else ():
                        self.wfile.write(body[place : place + 1])
                        time.sleep(0.02)
                    self.wfile.write(b"" if outer.drips else body)

            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.says(
            "/.well-known/openid-configuration",
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/auth",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
            },
        )

    def says(self, path: str, document: object, status: int = 200) -> None:
        self.answers[path] = status, json.dumps(document).encode()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def fake() -> Iterator[Fake]:
    made = Fake()
    yield made
    made.stop()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def provider(fake: Fake, clock: FixedClock) -> Provider:
    return Provider(Client(fake.url, "twin ward", "a:secret"), clock)


def document(fake: Fake, **changed: Any) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(fake.answers["/.well-known/openid-configuration"][1])
    return said | changed


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri", "end_session_endpoint"])
def test_no_address_of_another_host_is_believed(fake: Fake, provider: Provider, clock: FixedClock, name: str) -> None:
    for address in ("https://evil.example/x", fake.url.replace("127.0.0.1", "127.0.0.2"), f"{fake.url}0/x", 7):
        fake.says("/.well-known/openid-configuration", document(fake, **{name: address}))
        with pytest.raises(ProviderSilent, match=name):
            provider.endpoints()
        clock.advance(SILENT_MS)


def test_a_host_that_the_settings_name_may_be_named(fake: Fake, clock: FixedClock) -> None:
    fake.says("/.well-known/openid-configuration", document(fake, token_endpoint="https://token.example/x"))
    also = Provider(Client(fake.url, "twinward", also_at=("https://token.example",)), clock)
    assert also.endpoints().token == "https://token.example/x"


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"x" * (MOST_BYTES + 1)),
        (200, b"[]"),
        (200, b"{"),
        (200, b'{"issuer": "https://another.example"}'),
        (500, b"{}"),
        (302, b"{}"),
    ],
    ids=["endless", "no object", "no JSON", "another issuer", "an error", "a redirect"],
)
def test_what_is_no_discovery_document_is_no_provider(
    fake: Fake, provider: Provider, answer: tuple[int, bytes]
) -> None:
    fake.answers["/.well-known/openid-configuration"] = answer
    with pytest.raises(ProviderSilent):
        provider.endpoints()
    assert "/elsewhere" not in [path for path, _ in fake.asked]


def test_one_that_was_silent_is_not_asked_again_at_once(fake: Fake, provider: Provider, clock: FixedClock) -> None:
    good = fake.answers["/.well-known/openid-configuration"]
    fake.answers["/.well-known/openid-configuration"] = 500, b"{}"
    for _ in range(3):
        with pytest.raises(ProviderSilent, match="it answers 500"):
            provider.endpoints()
    assert len(fake.asked) == 1
    fake.answers["/.well-known/openid-configuration"] = good
    clock.advance(SILENT_MS)
    assert provider.endpoints().token == f"{fake.url}/token"


def test_nobody_waits_long_while_another_one_asks(
    fake: Fake, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TURN_S", 0.01)
    fake.may_answer.clear()
    first = threading.Thread(target=provider.endpoints)
    first.start()
    try:
        while not fake.asked:
            time.sleep(0.01)
        with pytest.raises(ProviderSilent, match="not answered yet"):
            provider.endpoints()
    finally:
        fake.may_answer.set()
        first.join()
    assert provider.endpoints().token == f"{fake.url}/token"


def test_an_answer_that_comes_drop_by_drop_has_an_end(
    fake: Fake, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
    fake.drips = True
    with pytest.raises(ProviderSilent, match="takes more than"):
        provider.endpoints()


def test_keys_are_read_once_an_hour_and_for_an_unknown_name_once_a_minute(
    fake: Fake, provider: Provider, clock: FixedClock
) -> None:
    def asked() -> int:
        return sum(path == "/keys" for path, _ in fake.asked)

    fake.says("/keys", {"keys": [ECKey.generate_key("P-256", {"kid": "one"}).as_dict(private=False)]})
    for _ in range(5):
        assert list(provider.keys("one")) == ["one"]
        provider.keys("unknown")
    assert asked() == 1
    clock.advance(ANEW_MS)
    provider.keys("one")
    assert asked() == 1
    provider.keys("unknown")
    provider.keys("another")
    assert asked() == 2
    clock.advance(KEPT_MS)
    provider.keys("one")
    assert asked() == 3


def test_a_code_is_exchanged_with_its_verifier_and_the_clients_secret(fake: Fake, provider: Provider) -> None:
    fake.says("/token", {"id_token": "a.b.c"})
    assert provider.exchange("the code", "the verifier", "https://here/back") == "a.b.c"
    assert "code_verifier=the+verifier" in fake.asked[-1][1]
    assert "secret" not in fake.asked[-1][1]


def test_a_code_that_is_not_taken_and_one_that_gives_no_token_are_refused(fake: Fake, provider: Provider) -> None:
    fake.says("/token", {"error": "invalid_grant", "error_description": "<script>"}, 400)
    with pytest.raises(ProviderRefused, match=r"\(invalid_grant\)$"):
        provider.exchange("code", "verifier", "https://here/back")
    fake.says("/token", {"error": "<script>"}, 400)
    with pytest.raises(ProviderRefused, match="no reason that is known"):
        provider.exchange("code", "verifier", "https://here/back")
    fake.says("/token", {"access_token": "x"})
    with pytest.raises(ProviderRefused, match="no ID token"):
        provider.exchange("code", "verifier", "https://here/back")


@pytest.mark.parametrize(
    "wrong",
    [
        {"oidc_issuer": "http://login.example"},
        {"oidc_issuer": "https://login.example?x"},
        {"oidc_issuer": "https://user@login.example"},
        {"oidc_issuer": "login.example"},
        {"oidc_roles": {"g": Role.PATIENT}},
        {"oidc_roles": {"g": Role.VENDOR}},
        {"oidc_roles": {"": Role.OFFICER}},
        {"oidc_scopes": ("two words",)},
        {"oidc_unknown": "maybe"},
    ],
)
def test_settings_that_nobody_can_have_meant_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="oidc_"):
        Settings.load(**wrong)


def test_groups_stand_in_the_settings_file(tmp_path: Any) -> None:
    made = Settings(home=tmp_path, oidc_roles={"officers": Role.OFFICER})
    (tmp_path / "twinward.toml").write_text(made.to_toml())
    assert Settings.load(tmp_path).oidc_roles == {"officers": Role.OFFICER}
