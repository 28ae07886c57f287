"""Documents go to a new file, to standard output (`-`), or into a pipe; what is said of them never mixes with them."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Hospital, run

TO_OUTPUT = [
    pytest.param(("audit", "export", "0"), b"c2sp.org/tlog-proof@v1", id="audit export"),
    pytest.param(("audit", "trust"), b"log", id="audit trust"),
    pytest.param(("audit", "verifier"), b"#!", id="audit verifier"),
    pytest.param(("twin", "export", "{twin}", "--as", "olga"), b'{"type"', id="twin export"),
]


def typed(hospital: Hospital, command: tuple[str, ...]) -> list[str]:
    return [one.format(twin=hospital.twins[-1]) for one in command]


@pytest.mark.parametrize(("command", "begins"), TO_OUTPUT)
def test_a_document_is_printed_and_nothing_else_is(
    hospital: Hospital, tmp_path: Path, command: tuple[str, ...], begins: bytes
) -> None:
    kept = tmp_path / "kept"
    home = () if "verifier" in command else ("--home", str(hospital.home))
    assert run(*typed(hospital, command), "--out", str(kept), *home).exit_code == 0
    printed = run(*typed(hospital, command), "--out", "-", *home)
    assert printed.exit_code == 0, printed.output
    assert begins in printed.stdout_bytes[:200]
    assert printed.stdout_bytes == kept.read_bytes()
    again = run(*typed(hospital, command), "--out", str(kept), *home)
    assert again.exit_code == 4
    assert not Path("-").exists()


def test_a_pipe_takes_a_document(hospital: Hospital, tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", list[bytes]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    assert hospital.run("audit", "trust", "--out", str(pipe)).exit_code == 0
    reader.join(20)
    assert json.loads(read[0])


@pytest.mark.parametrize(
    "command",
    [
        ("twin", "export", "{twin}", "--as", "olga", "--out", "-", "--json"),
        ("node", "backup", "-"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_two_that_want_one_output_are_refused(hospital: Hospital, command: tuple[str, ...]) -> None:
    refused = hospital.run(*typed(hospital, command), input=b"")
    assert refused.exit_code == 2
    assert not Path("-").exists()
