"""Runs tests on mutants, each in a process forked from this one, which has imported what the product stands on.

Reads lines of JSON ``{"tests": […], "timeout_s": …, "path": …, "source": …}``; the last two name a file of the product
and the text that stands in its place, and are absent for the product as it is. Answers ``{"code", "output"}``:
the exit code of pytest, none for what ran past its time, and what the run printed. No file of the checkout is changed:
the mutant is what its module's import gives. What a test starts as a process of its own runs the product as it is.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import signal
import sys
import tempfile
import time
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import BinaryIO, Final

import pytest
from hypothesis import Phase, settings

ROOT: Final = Path(__file__).resolve().parents[3]
LIBRARIES: Final = (
    *("alembic", "alembic.command", "cryptography.fernet", "cryptography.hazmat.primitives.asymmetric.ed25519"),
    *(
        "cryptography.hazmat.primitives.ciphers.aead",
        "cryptography.hazmat.primitives.serialization",
        "cryptography.x509",
    ),
    *("fastapi", "fastapi.testclient", "httpx", "numpy", "pydantic", "sqlalchemy", "sqlmodel", "eth_abi", "eth_utils"),
    *("web3", "cedarpy", "rfc8785", "argon2", "py_ecc.bls", "scipy", "limits", "tomlkit", "prometheus_client", "rich"),
    *("typer", "uvicorn", "cbor2"),
)
"""What takes long to import; one that is not installed is passed over."""
OPTIONS: Final = (
    *("-x", "-q", "--no-header", "--tb=short", "--assert=plain", "-p", "no:cacheprovider", "-m", "not slow"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning", "--hypothesis-profile", "mutations", "--hypothesis-seed", "0"),
)
POLL_S: Final = 0.01


class Mutated(SourceFileLoader):
    """A module's loader that has another source than the file, and no bytecode."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self.source = source

    def get_code(self, fullname: str) -> object:
        return compile(self.source, self.path, "exec", dont_inherit=True)


class OneModule(MetaPathFinder):
    """Finds one module, the mutated one, wherever it is imported first."""

    def __init__(self, path: Path, source: str) -> None:
        self.name = ".".join(path.with_suffix("").parts[1:]).removesuffix(
            ".__init__"
        )  # the first part is a source root
        self.place, self.source = str(ROOT / path), source

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        loader = Mutated(fullname, self.place, self.source)
        return importlib.util.spec_from_file_location(fullname, self.place, loader=loader)


def main() -> None:
    """Serve runs until the input ends."""
    settings.register_profile(
        "mutations", deadline=None, database=None, derandomize=True, phases=(Phase.explicit, Phase.generate)
    )
    for name in LIBRARIES:
        if importlib.util.find_spec(name.partition(".")[0]):
            importlib.import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        with tempfile.TemporaryFile() as output:
            code = forked(asked, output)
            output.seek(0)
            text = output.read().decode(errors="replace")
        sys.stdout.write(json.dumps({"code": code, "output": text[-4_000:]}) + "\n")
        sys.stdout.flush()


def forked(asked: dict[str, object], output: BinaryIO) -> int | None:
    """The exit code of a run in a process group of its own; none if it ran past its time."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()
            for stream in (1, 2):
                os.dup2(output.fileno(), stream)
            if "path" in asked:
                sys.meta_path.insert(0, OneModule(Path(str(asked["path"])), str(asked["source"])))
            code = int(pytest.main([*OPTIONS, *map(str, asked["tests"])]))
        finally:
            os._exit(code)
    ends = time.monotonic() + float(str(asked["timeout_s"]))
    while time.monotonic() < ends:
        gone, status = os.waitpid(child, os.WNOHANG)
        if gone:
            return os.waitstatus_to_exitcode(status)
        time.sleep(POLL_S)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


if __name__ == "__main__":
    main()
