"""The way to a hospital over real sockets: proxies, certificates, packed answers, waiting. Every end is ours."""

from __future__ import annotations

import contextlib
import datetime
import gzip
import http.server
import ssl
import threading
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from twinward.client import AnswerMalformed, AsyncVendorClient, HospitalRefused, HospitalUnreachable, VendorClient
from twinward.client.transport import retry_after_s
from twinward.core.errors import BadInput, TwinwardError
from twinward.core.outbound import is_loopback, normalised, require_private


@contextmanager
def serving(
    status: int = 200, body: bytes = b"{}", headers: Mapping[str, str] | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """A server that answers everything alike; its address, and what it saw: target and authorization."""
    seen: list[tuple[str, str | None]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers.get("authorization")))
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):  # a client that had enough
                self.wfile.write(body)

        do_CONNECT = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        server.server_close()


def failing(url: str, *, plain_http: bool = False) -> TwinwardError:
    with (
        VendorClient(url, "twk_secret", timeout_s=5, plain_http=plain_http) as vendor,
        pytest.raises(TwinwardError) as error,
    ):
        vendor.schema()
    assert "twk_secret" not in str(error.value) + error.value.hint
    return error.value


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_a_token_for_this_machine_never_goes_to_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(502) as (proxy, seen), serving(200) as (hospital, asked):
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy)
        for url in (hospital, hospital.replace("127.0.0.1", "localhost"), hospital.replace("127.0.0.1", "127.1")):
            failing(url)
        assert seen == []
        assert {token for _, token in asked} == {"Bearer twk_secret"}


def test_another_hospital_is_asked_through_the_proxy_inside_tls_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(502) as (proxy, seen):
        monkeypatch.setenv("https_proxy", proxy)
        error = failing("https://hospital.invalid")
        assert isinstance(error, HospitalUnreachable)
        assert "proxy" in str(error)
        assert seen == [("hospital.invalid:443", None)]


def test_plain_http_beyond_this_machine_is_refused_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(502) as (proxy, seen):
        monkeypatch.setenv("http_proxy", proxy)
        assert isinstance(failing("http://hospital.invalid"), BadInput)
        assert seen == []
        assert isinstance(failing("http://hospital.invalid", plain_http=True), HospitalRefused)
        assert seen[0][1] == "Bearer twk_secret"


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "nonsense://x", "http://127.0.0.1:x"])
def test_a_proxy_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("all_proxy", proxy)
    error = failing("https://hospital.invalid")
    assert isinstance(error, BadInput)
    assert "proxy" in str(error)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_a_certificate_file_that_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str) -> None:
    no_certificate = tmp_path / "empty"
    no_certificate.write_text("none\n")
    for path in (tmp_path / "missing", no_certificate):
        monkeypatch.setenv(variable, str(path))
        error = failing("https://127.0.0.1:9")
        assert isinstance(error, BadInput)
        assert variable in str(error)


def test_a_certificate_that_is_not_accepted_is_named_and_one_that_is_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context, file = certificate(tmp_path)
    with serving(200, tls=context) as (url, seen):
        error = failing(url)
        assert isinstance(error, HospitalUnreachable)
        assert "certificate" in str(error)
        assert "self-signed" in str(error)
        assert seen == []
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        assert isinstance(failing(url), AnswerMalformed)  # "{}" is no terms, but it came
        assert isinstance(failing(url.replace("127.0.0.1", "localhost")), HospitalUnreachable)  # another name
    with serving(200) as (plain, _):
        assert "TLS" in str(failing(plain.replace("http:", "https:")))


def test_a_packed_answer_is_unpacked_up_to_its_bound_only() -> None:
    bomb = gzip.compress(bytes(64 << 20))
    with serving(200, bomb, {"content-encoding": "gzip"}) as (url, _):
        tracemalloc.start()
        error = failing(url)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert isinstance(error, AnswerMalformed)
    assert "large" in str(error)
    assert peak < 16 << 20
    with serving(500, bomb, {"content-encoding": "gzip"}) as (url, _):
        assert isinstance(failing(url), AnswerMalformed)  # an error's body is bounded as well


@pytest.mark.parametrize(
    ("body", "encoding", "told"),
    [
        (gzip.compress(b"{}", mtime=0), "gzip", "not a Terms"),
        (gzip.compress(b"{", mtime=0) + gzip.compress(b"}", mtime=0), "x-gzip", "not a Terms"),
        (gzip.compress(b"{}", mtime=0)[:-4], "gzip", "cut"),
        (b"{}", "gzip", "gzip"),
        (b"{}", "br", "not asked for"),
        (b"{}", "gzip, gzip", "not asked for"),
        (b"{}", "identity", "not a Terms"),
    ],
)
def test_how_an_answer_may_be_packed(body: bytes, encoding: str, told: str) -> None:
    with serving(200, body, {"content-encoding": encoding}) as (url, _):
        error = failing(url)
    assert isinstance(error, AnswerMalformed)
    assert told in str(error)


def test_when_to_ask_again_is_passed_on() -> None:
    with serving(429, b"", {"retry-after": "7"}) as (url, _):
        error = failing(url)
    assert isinstance(error, HospitalRefused)
    assert (error.status, error.retry_after_s) == (429, 7)
    assert "7 seconds" in error.hint


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "0"}, 0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT", "date": "Thu, 01 Jan 2026 00:00:00 GMT"}, 30),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:00 GMT", "date": "Thu, 01 Jan 2026 00:00:30 GMT"}, 0),
        ({"retry-after": "999999999"}, 7 * 24 * 3600),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "²"}, None),
        ({}, None),
    ],
)
def test_both_forms_of_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds


def test_asyncio_says_the_same() -> None:
    import asyncio

    async def ask(url: str) -> TwinwardError:
        async with AsyncVendorClient(url, "t", timeout_s=5) as vendor:
            with pytest.raises(TwinwardError) as error:
                await vendor.schema()
        return error.value

    with serving(200, gzip.compress(bytes(8 << 20)), {"content-encoding": "gzip"}) as (url, _):
        assert "large" in str(asyncio.run(ask(url)))
    assert isinstance(asyncio.run(ask("http://hospital.invalid")), BadInput)


@pytest.mark.parametrize(
    "url",
    [
        "https://a:b@h.example",
        "https://h.example?x=1",
        "https://h.example#x",
        "https://h.example:x",
        "https://h\x00",
        "",
    ],
)
def test_an_address_holds_nothing_else(url: str) -> None:
    with pytest.raises(BadInput):
        require_private(url, plain_http=True)


@pytest.mark.parametrize("token", ["", "twk secret", "twk_sé", "twk\n"])
def test_a_token_that_is_none_is_not_shown(token: str) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(500))
    vendor = VendorClient("https://h.example", token, http=httpx.Client(transport=transport))
    with pytest.raises(BadInput) as error:
        vendor.schema()
    assert token not in str(error.value) or not token


def test_which_hosts_are_this_machine() -> None:
    ours = (
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "127.1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
    )
    assert all(map(is_loopback, ours))
    assert not any(map(is_loopback, ("128.0.0.1", "localhost.example", "::2", "mylocalhost", "", "10.0.0.1", "é")))


def test_one_hospital_has_one_name() -> None:
    assert normalised("HTTPS://H.example:443/x/") == normalised("https://h.example/x")
    assert normalised("http://[::1]:80") == "http://[::1]"


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A self-signed certificate for 127.0.0.1 alone: a server's context, and the file for whoever believes it."""
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret = folder / "key.pem"
    plain = serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, secret)
    return context, file
