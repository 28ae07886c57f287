"""The entry point: help everywhere, no traceback anywhere, files for the owner only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.command_line import PROGRAM

ROOT = Path(__file__).resolve().parents[3]


def _commands(command: click.Command, words: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        return [found for name, one in command.commands.items() for found in _commands(one, (*words, name))]
    return [(words, command)]


COMMANDS = _commands(PROGRAM)


@pytest.mark.parametrize(("words", "command"), COMMANDS, ids=[" ".join(words) for words, _ in COMMANDS])
def test_every_command_helps_with_an_example(words: tuple[str, ...], command: click.Command) -> None:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(PROGRAM, [*words, "--help"])
    assert done.exit_code == 0
    assert f"twinward {' '.join(words)}" in (command.help or "")
    assert "Example" in done.stdout
    if words != ("demo",):
        assert "xit codes" in done.stdout or "Exit codes" in done.stdout


def test_every_command_that_answers_can_answer_in_json() -> None:
    served = {"node serve", "site serve", "site flower", "study flower", "witness serve", "live connect"}
    without = served | {"audit trust", "witness card"}  # JSON already
    for words, command in COMMANDS:
        options = {option for parameter in command.params for option in parameter.opts}
        assert ("--json" in options) is (" ".join(words) not in without), words


def _python(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TWINWARD_")}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, check=False, env=clean | environment, timeout=60
    )


_DEFECT = """
import sys
from twinward.cli import main
@main.app.command()
def boom() -> None:
    raise RuntimeError("Mrs Example, born 1950")
main.run()
"""


def test_a_defect_shows_no_traceback() -> None:
    done = _python(_DEFECT, "boom")
    assert done.returncode == 70
    assert "internal error (RuntimeError)" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Mrs Example" not in done.stdout + done.stderr


def test_a_defect_shows_its_traceback_to_who_asks() -> None:
    done = _python(_DEFECT, "boom", TWINWARD_DEBUG="1")
    assert done.returncode == 70
    assert "RuntimeError" in done.stderr


def test_what_is_written_is_for_the_owner_only() -> None:
    program = """
import os
from twinward.cli import main
@main.app.command()
def mask() -> None:
    print(oct(os.umask(0)))
main.run()
"""
    assert _python(program, "mask").stdout.strip() == "0o77"


@pytest.mark.parametrize(
    ("package", "extra", "arguments"),
    [
        ("sqlalchemy", "node", ("node", "status")),
        ("dp_accounting", "research", ("study", "check", "pyproject.toml")),
    ],
)
def test_a_package_that_is_not_installed_is_named_with_its_extra(
    package: str, extra: str, arguments: tuple[str, ...]
) -> None:
    program = f"""
import sys
sys.modules[{package!r}] = None
from twinward.cli import main
main.run()
"""
    done = _python(program, *arguments, TWINWARD_TOKEN="twk_a_b")
    assert done.returncode == 7
    assert f"the package {package}" in done.stderr
    assert f"twinward[{extra}]" in done.stderr


def test_a_vendors_command_loads_no_server() -> None:
    program = """
import sys
from twinward.cli import main
try:
    main.run()
finally:
    print(sorted({"torch", "web3", "fastapi", "sqlalchemy", "eth", "uvicorn"} & set(sys.modules)))
"""
    done = _python(program, "vendor", "budget", "http://127.0.0.1:9", TWINWARD_TOKEN="twk_a_b")
    assert done.returncode == 7, done.stderr
    assert done.stdout.strip() == "[]"


def test_the_module_runs_as_well() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "twinward", "--version"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip()
