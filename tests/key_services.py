"""The five key services as operators meet them: one that a node is made with, and a like one that is not its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.tools import require
from twinward_crypto.testing.fake_transit import FakeTransit

PIN, OFFICER_PIN = "pin-4711", "officer-0815"
SERVICES = ("local", "local-hybrid", "pkcs11", "transit", "aws-kms")
_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
)


@dataclass(frozen=True)
class Service:
    """One key service.

    Attributes:
        name: its scheme.
        uri: what a node is made with.
        elsewhere: the same kind of service, without a key.
        environment: what a process needs to reach it.
        files: the secrets and certificates that its URI names.
    """

    name: str
    uri: str
    elsewhere: str
    environment: dict[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether its keys lie in a folder that a backup's keys are copied from."""
        return self.name.startswith("local")


@contextmanager
def service(name: str, folder: Path) -> Iterator[Service]:
    """One of ``SERVICES``, empty, whose files are in a folder."""
    with _OPENERS[name](folder) as made, pytest.MonkeyPatch.context() as patch:
        for variable, value in made.environment.items():
            patch.setenv(variable, value)
        if name == "pkcs11":
            reread(soft_hsm_module())
        yield made


def soft_hsm_module() -> str:
    """SoftHSM's library."""
    module = next((path for path in _MODULES if Path(path).exists()), None)
    assert module is not None, "softhsm2-util is here, its library is not"
    return module


def soft_hsm_config(folder: Path) -> Path:
    """A configuration that keeps tokens in ``folder/tokens``."""
    tokens = folder / "tokens"
    tokens.mkdir(parents=True, exist_ok=True)
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
    return config


def make_token(config: Path, label: str) -> None:
    """A fresh token, as an operator makes one."""
    util = require("softhsm2-util", install="Debian package softhsm2")
    making = [util, "--init-token", "--free", "--label", label, "--so-pin", OFFICER_PIN, "--pin", PIN]
    subprocess.run(making, check=True, capture_output=True, env={**os.environ, "SOFTHSM2_CONF": str(config)})


def secret_file(path: Path, text: str) -> Path:
    """A file with a secret that only its owner reads."""
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


def reread(module: str) -> None:
    """Let the library read its configuration again: it does so once a process."""
    import pkcs11

    pkcs11.lib(module).reinitialize()


@contextmanager
def _local(folder: Path, scheme: str) -> Iterator[Service]:
    yield Service(scheme, f"{scheme}:{folder / 'own'}", f"{scheme}:{folder / 'not-mounted'}")


@contextmanager
def _pkcs11(folder: Path) -> Iterator[Service]:
    config = soft_hsm_config(folder)
    for label in ("own", "other"):
        make_token(config, label)
    pin = secret_file(folder / "pin", PIN)
    rest = f"module-path={soft_hsm_module()}&pin-source={pin}"
    environment = {"SOFTHSM2_CONF": str(config)}
    yield Service("pkcs11", f"pkcs11:token=own?{rest}", f"pkcs11:token=other?{rest}", environment, (pin,))


@contextmanager
def _transit(folder: Path) -> Iterator[Service]:
    (folder / "other").mkdir()
    with FakeTransit(folder) as own, FakeTransit(folder / "other") as other:
        tokens = [secret_file(folder / f"token-{number}", one.token) for number, one in enumerate((own, other))]
        uris = [
            f"transit:{one.url}/transit?token-file={token}&ca-file={one.ca_file}"
            for one, token in zip((own, other), tokens, strict=True)
        ]
        yield Service("transit", *uris, files=(tokens[0], own.ca_file))


@contextmanager
def _aws_kms(folder: Path) -> Iterator[Service]:
    from moto.server import ThreadedMotoServer

    del folder
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        endpoint = "endpoint=http://{}:{}".format(*server.get_host_and_port())
        environment = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "x", "AWS_EC2_METADATA_DISABLED": "true"}
        uris = [f"aws-kms:{region}?{endpoint}" for region in ("eu-central-1", "eu-west-1")]
        yield Service("aws-kms", *uris, environment)
    finally:
        server.stop()


_OPENERS: dict[str, Callable[[Path], AbstractContextManager[Service]]] = {
    "local": lambda folder: _local(folder, "local"),
    "local-hybrid": lambda folder: _local(folder, "local-hybrid"),
    "pkcs11": _pkcs11,
    "transit": _transit,
    "aws-kms": _aws_kms,
}
