"""A small HTTPS server that answers as HashiCorp Vault's transit engine does. **For tests only: it forgets its keys.**

It keeps to the API documentation and, where that is silent, to what the engine is seen to do, awkward parts included:

* ``encrypt`` under a name that does not exist **makes** that key (upsert), unless ``upsert`` is off;
* a ciphertext of version 0 is read as one of version 1; base64 is decoded leniently, as Go's decoder does;
* an empty list of keys is a 404 with no errors; an unknown mount is a 404 with one;
* keys are deleted only after ``deletion_allowed``; deleting what is not there is a 400.

Derived keys are HKDF-SHA256 of the key with the context as info; ciphertexts are AES-256-GCM, nonce first.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import json
import os
import re
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import NameOID

MAX_BODY_BYTES = 1024 * 1024
_NAME = re.compile(r"\w(([\w.-]+)?\w)?", re.ASCII)
_HASHES = {"sha2-256": "sha256", "sha2-384": "sha384", "sha2-512": "sha512"}
_Body = dict[str, Any]


class _Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, *errors: str) -> None:
        super().__init__(*errors)
        self.status = status
        self.errors = list(errors)


@dataclass
class _NamedKey:
    derived: bool
    versions: list[tuple[bytes, bytes]] = field(default_factory=list, repr=False)  # (key, HMAC key)
    deletion_allowed: bool = False
    min_encryption_version: int = 0

    def rotate(self) -> None:
        self.versions.append((os.urandom(32), os.urandom(32)))


class FakeTransit:
    """The engine at ``transit/`` behind one token. Use as a context manager: it serves while the block runs.

    Attributes:
        url: ``https://127.0.0.1:PORT``.
        ca_file: the certificate to verify it with.
        token: what it wants in ``X-Vault-Token``.
        sealed: whether it answers 503 to everything.
        upsert: whether ``encrypt`` makes missing keys, as a token with the ``create`` capability would have it.
        requests: method and path of every request so far.
    """

    def __init__(self, folder: Path, *, mount: str = "transit", token: str = "hvs.fake") -> None:  # noqa: S107
        self.mount = mount
        self.token = token
        self.sealed = False
        self.upsert = True
        self.requests: list[tuple[str, str]] = []
        self.ca_file = folder / "fake-transit-ca.pem"
        self._keys: dict[str, _NamedKey] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.socket = _tls(folder, self.ca_file).wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> FakeTransit:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def key_names(self) -> list[str]:
        """The names of the keys it holds."""
        with self._lock:
            return sorted(self._keys)

    def answer(self, method: str, path: str, token: str | None, body: _Body) -> _Body | None:
        """One request's ``data``, or None for a 204."""
        with self._lock:
            self.requests.append((method, path))
            if self.sealed:
                raise _Refused(503, "Vault is sealed")
            if token is None or not hmac.compare_digest(token.encode(), self.token.encode()):
                raise _Refused(403, "permission denied")
            prefix = f"/v1/{self.mount}/"
            if not path.startswith(prefix):
                raise _Refused(404, f'no handler for route "{path.removeprefix("/v1/")}". route entry not found.')
            return self._route(method, path.removeprefix(prefix).split("/"), body)

    def _route(self, method: str, parts: list[str], body: _Body) -> _Body | None:
        verb, name, rest = parts[0], "/".join(parts[1:2]), parts[2:]
        if method == "LIST" and parts == ["keys"]:
            return self._list()
        routes: dict[tuple[str, str, int], Callable[[], _Body | None]] = {
            ("POST", "keys", 0): lambda: self._create(name, body),
            ("GET", "keys", 0): lambda: _described(name, self._read(name)),
            ("DELETE", "keys", 0): lambda: self._delete(name),
            ("POST", "encrypt", 0): lambda: self._encrypt(name, body),
            ("POST", "decrypt", 0): lambda: self._decrypt(name, body),
            ("POST", "hmac", 0): lambda: self._hmac(name, str(body.get("algorithm", "sha2-256")), body),
            ("POST", "hmac", 1): lambda: self._hmac(name, rest[0], body),
        }
        on_a_key: dict[str, Callable[[], _Body | None]] = {
            "config": lambda: self._configure(name, body),
            "rotate": lambda: self._rotate(name),
        }
        route = routes.get((method, verb, len(rest)))
        if (method, verb, len(rest)) == ("POST", "keys", 1):
            route = on_a_key.get(rest[0])
        if route is None or not _NAME.fullmatch(name):
            raise _Refused(404, "unsupported path")
        return route()

    def _list(self) -> _Body:
        if not self._keys:
            raise _Refused(404)
        return {"keys": sorted(self._keys)}

    def _create(self, name: str, body: _Body) -> _Body:
        if body.get("type", "aes256-gcm96") != "aes256-gcm96":
            raise _Refused(400, f"unknown key type {body['type']}")
        if name not in self._keys:
            self._keys[name] = _NamedKey(bool(body.get("derived", False)))
            self._keys[name].rotate()
        return _described(name, self._keys[name])

    def _read(self, name: str) -> _NamedKey:
        if name not in self._keys:
            raise _Refused(404)
        return self._keys[name]

    def _delete(self, name: str) -> None:
        key = self._keys.get(name)
        if key is None:
            raise _Refused(400, f"error deleting policy {name}: could not delete key; not found")
        if not key.deletion_allowed:
            raise _Refused(400, f"error deleting policy {name}: deletion is not allowed for this key")
        del self._keys[name]

    def _configure(self, name: str, body: _Body) -> _Body:
        key = self._keys.get(name)
        if key is None:
            raise _Refused(400, f"no existing key named {name} could be found")
        key.deletion_allowed = bool(body.get("deletion_allowed", key.deletion_allowed))
        key.min_encryption_version = int(body.get("min_encryption_version", key.min_encryption_version))
        return _described(name, key)

    def _rotate(self, name: str) -> _Body:
        key = self._existing(name)
        key.rotate()
        return _described(name, key)

    def _encrypt(self, name: str, body: _Body) -> _Body:
        plaintext, context = _decoded(body, "plaintext"), _decoded(body, "context", needed=False)
        if name not in self._keys and self.upsert:
            self._create(name, {"derived": context != b""})
        key = self._existing(name)
        version = int(body.get("key_version") or len(key.versions))
        if version > len(key.versions) or version < key.min_encryption_version:
            raise _Refused(400, "requested version for encryption is not allowed")
        nonce = os.urandom(12)
        sealed = nonce + AESGCM(_working_key(key, version, context)).encrypt(nonce, plaintext, None)
        return {"ciphertext": f"vault:v{version}:{base64.b64encode(sealed).decode()}", "key_version": version}

    def _decrypt(self, name: str, body: _Body) -> _Body:
        key = self._existing(name)
        match = re.fullmatch(r"vault:v([0-9]+):(.*)", str(body.get("ciphertext", "")))
        if match is None:
            raise _Refused(400, "invalid ciphertext: no prefix")
        version = int(match[1]) or 1  # as the engine does, for the sake of its first release
        if version > len(key.versions):
            raise _Refused(400, "invalid ciphertext: version is too new")
        context = _decoded(body, "context", needed=False)
        try:
            sealed = base64.b64decode(match[2], validate=True)
            plaintext = AESGCM(_working_key(key, version, context)).decrypt(sealed[:12], sealed[12:], None)
        except (binascii.Error, InvalidTag, ValueError):
            raise _Refused(400, "invalid ciphertext: unable to decrypt") from None
        return {"plaintext": base64.b64encode(plaintext).decode()}

    def _hmac(self, name: str, algorithm: str, body: _Body) -> _Body:
        key = self._existing(name)
        version = int(body.get("key_version") or len(key.versions))
        if algorithm not in _HASHES:
            raise _Refused(400, f'unsupported algorithm "{algorithm}"')
        if version > len(key.versions):
            raise _Refused(400, "key version does not exist")
        if version != len(key.versions) and version < key.min_encryption_version:
            raise _Refused(400, "cannot generate HMAC: version is too old (disallowed by policy)")
        digest = hmac.digest(key.versions[version - 1][1], _decoded(body, "input"), _HASHES[algorithm])
        return {"hmac": f"vault:v{version}:{base64.b64encode(digest).decode()}"}

    def _existing(self, name: str) -> _NamedKey:
        if name not in self._keys:
            raise _Refused(400, "encryption key not found")
        return self._keys[name]


def _working_key(key: _NamedKey, version: int, context: bytes) -> bytes:
    secret = key.versions[version - 1][0]
    if not key.derived:
        return secret
    if not context:
        raise _Refused(400, "missing 'context' for key derivation; the key was created using a derived key")
    return HKDF(hashes.SHA256(), 32, salt=None, info=context).derive(secret)


def _described(name: str, key: _NamedKey) -> _Body:
    return {
        "name": name,
        "type": "aes256-gcm96",
        "derived": key.derived,
        "deletion_allowed": key.deletion_allowed,
        "exportable": False,
        "allow_plaintext_backup": False,
        "latest_version": len(key.versions),
        "min_decryption_version": 1,
        "min_encryption_version": key.min_encryption_version,
        "keys": {str(version): 1_700_000_000 for version in range(1, len(key.versions) + 1)},
    }


def _decoded(body: _Body, name: str, *, needed: bool = True) -> bytes:
    value = body.get(name)
    if value is None and not needed:
        return b""
    if not isinstance(value, str):
        raise _Refused(400, f"missing {name}")
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        raise _Refused(400, f"failed to base64-decode {name}") from None


def _handler_of(engine: FakeTransit) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one segment: otherwise each answer waits for a delayed ACK

        def _serve(self) -> None:
            try:
                size = int(self.headers.get("Content-Length") or 0)
                if size > MAX_BODY_BYTES:
                    raise _Refused(413, "request body too large")
                body = json.loads(self.rfile.read(size) or b"{}")
                path = unquote(urlsplit(self.path).path)
                data = engine.answer(self.command, path, self.headers.get("X-Vault-Token"), body)
                self._send(204, None) if data is None else self._send(200, _wrapped(data))
            except _Refused as refusal:
                self._send(refusal.status, {"errors": refusal.errors})
            except ValueError:
                self._send(400, {"errors": ["failed to parse JSON input"]})

        do_GET = do_POST = do_DELETE = do_LIST = do_PUT = _serve  # noqa: N815

        def _send(self, status: int, answer: _Body | None) -> None:
            content = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: requests hold what tests must not print."""

    return Handler


def _wrapped(data: _Body) -> _Body:
    return {"request_id": "0", "lease_id": "", "renewable": False, "lease_duration": 0, "data": data, "warnings": None}


def _tls(folder: Path, ca_file: Path) -> ssl.SSLContext:
    """A context with a fresh self-signed certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake transit engine")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    ca_file.write_bytes(certificate.public_bytes(pem))
    key_file = folder / "fake-transit-key.pem"
    key_file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca_file, key_file)
    return context
