"""Standard streams that are closed, full, cut off, or know ASCII only: the exit code says what happened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
_PROGRAM = """
import os
from twinward.cli import main
from twinward.cli.errors import errors_taught
from twinward.cli.output import say, show_json, table, show_table
@main.app.command()
def speak(kind: str) -> None:
    with errors_taught():
        if kind == "text":
            say("Hôpital Zoë · 病院")
        elif kind == "json":
            show_json({"hospital": "Hôpital Zoë"})
        elif kind == "table":
            rows = table("hospital")
            rows.add_row("Hôpital")
            show_table(rows)
        elif kind == "much":
            for _ in range(20_000):
                show_json({"hospital": "Hôpital Zoë"})
        elif kind == "file":
            made = os.open(os.environ["FILE"], os.O_RDWR | os.O_CREAT)
            say("this is no part of the file")
        elif kind == "interrupted":
            raise KeyboardInterrupt
main.run()
"""


def speak(kind: str, shell: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = f'"{sys.executable}" -c "$PROGRAM" speak {kind} {shell}'
    env = {**os.environ, "PROGRAM": _PROGRAM, **environment}
    return subprocess.run(["bash", "-c", command], capture_output=True, cwd=ROOT, check=False, env=env, timeout=60)


@pytest.mark.parametrize("kind", ["text", "json", "table"])
def test_what_an_encoding_lacks_is_spelled_out(kind: str) -> None:
    done = speak(kind, "", PYTHONIOENCODING="ascii", COLUMNS="40")
    assert done.returncode == 0, done.stderr
    assert b"H\\xf4pital" in done.stdout


@pytest.mark.parametrize("kind", ["text", "json", "table"])
def test_a_full_output_is_said_and_is_no_defect(kind: str) -> None:
    done = speak(kind, "> /dev/full")
    assert done.returncode == 74
    assert done.stderr.count(b"\n") == 1
    assert b"standard output cannot be written: No space left" in done.stderr


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    done = speak("much", "| head -c 9; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("command", ["--help", "demo --help"])
def test_a_reader_that_leaves_a_help_text_does_so_as_quietly(command: str) -> None:
    told = f'"{sys.executable}" -m twinward {command} | :; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", told], capture_output=True, cwd=ROOT, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_defect(closed: str) -> None:
    done = speak("json", closed)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


def test_a_file_that_takes_a_closed_outputs_place_is_not_written_into(tmp_path: Path) -> None:
    assert speak("file", ">&-", FILE=str(tmp_path / "file")).returncode == 0
    assert (tmp_path / "file").read_bytes() == b""


def test_ctrl_c_is_130() -> None:
    done = speak("interrupted", "")
    assert done.returncode == 130
    assert b"interrupted" in done.stderr
