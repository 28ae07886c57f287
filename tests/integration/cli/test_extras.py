"""``pip install twinward`` with some of its extras: each command runs, or says which extra it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

from tests.integration.cli.conftest import Hospital
from twinward.cli.main import app

ROOT = Path(__file__).parents[3]
LIGHT = {"audit verifier", "twin watch", "witness evidence", "keys split", "keys seal", "keys unseal"}
LIGHT |= {"vendor keygen", "vendor schema", "vendor query", "vendor budget", "vendor results"}
LIGHT |= {"vendor contact", "vendor contacts", "vendor statement", "vendor check-statement", "vendor open"}
LIGHT |= {"disclosure public", "disclosure open", "study new", "vendor feasibility"}
"""What runs with no extra at all, as far as it comes without a home and a network. A query loads NumPy and SEAL."""

FLOWER = {"site flower", "study flower"}
RESEARCH = {"study check", "study export", "outbreak simulate"}
SERVING = {"node serve", "node init", "demo", "witness serve", "witness create", "similarity plan", "exchange surge"}
"""What would do its work, where it can: nothing of it is asked of an installation that has all it needs."""

VALUES = {
    "--mode": "gated",
    "--format": "pdf",
    "--role": "vendor",
    "--purpose": "PATRQT",
    "--category": "labs",
    "--action": "query",
    "--ward": "north=20:2",
    "--at": "north=3:10:21",
}


def verbs(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from verbs(inner, (*path, name))
    else:
        yield " ".join(path), command


VERBS = dict(verbs(typer.main.get_command(app)))


def typed(verb: str) -> list[str]:
    """A verb with what it cannot do without: numbers are 1, a choice is its first, files are there, homes are not."""
    words = verb.split()
    for one in VERBS[verb].params:
        name = one.opts[0]
        if name == "--home":
            words += [name, "nothing"]
        elif one.required:
            number = isinstance(one.type, click.types.IntParamType | click.types.FloatParamType | click.IntRange)
            usual = next(iter(getattr(one.type, "choices", ())), "1" if number else "file")
            value = VALUES.get(name, "new" if name == "--out" else str(usual))
            if isinstance(one, click.Option):
                words += [name] if one.is_flag else [name, value]
            else:
                words.append("new.toml" if words == ["study", "new"] else value)
    return words


def run(extras: str, commands: list[list[str]], folder: Path) -> list[tuple[int, str, str]]:
    (folder / "file").write_text("{}")
    command = [sys.executable, "-m", "tests.integration.cli.installed_with", extras, str(folder)]
    lines = "".join(json.dumps(one) + "\n" for one in commands)
    done = subprocess.run(command, input=lines, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def require_taught(extras: str, needs: dict[str, str], folder: Path) -> None:
    """Each verb says which extra it lacks; where it lacks none (empty), it does not speak of any."""
    told = run(extras, [typed(verb) for verb in needs], folder)
    assert [(verb, error) for verb, (_, error, _) in zip(needs, told, strict=True) if "Usage:" in error] == []
    for (verb, extra), (code, error, defect) in zip(needs.items(), told, strict=True):
        assert (verb, defect) == (verb, "")
        assert code not in (1, 70), (verb, error)
        if extra:
            assert (verb, code) == (verb, 7), error
            assert f"pip install 'twinward[{extra}]'" in error, verb
        else:
            assert (verb, "pip install" in error) == (verb, False), error


def needed(verb: str) -> str:
    if verb in LIGHT:
        return ""
    if verb in FLOWER:
        return "flower"
    return "research" if verb in RESEARCH else "node"


def test_one_command_of_each_kind_says_what_it_needs(tmp_path: Path) -> None:
    some = ("audit verifier", "keys split", "node init", "node backup", "twin import", "vendor schema", "study check")
    require_taught("", {verb: needed(verb) for verb in some}, tmp_path)


@pytest.mark.slow
def test_every_command_without_extras(tmp_path: Path) -> None:
    require_taught("", {verb: needed(verb) for verb in VERBS if verb != "similarity plan"}, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extras", "has"), [("vendor", {"vendor"}), ("research", {"research"}), ("node", {"node", "vendor"})]
)
def test_every_command_with_an_extra(extras: str, has: set[str], tmp_path: Path) -> None:
    wanted = {verb: needed(verb) for verb in VERBS if verb not in SERVING}
    require_taught(extras, {verb: "" if extra in has else extra for verb, extra in wanted.items()}, tmp_path)


@pytest.mark.slow
def test_a_verifier_is_written_and_proofs_of_it_are_checked_without_extras(hospital: Hospital, tmp_path: Path) -> None:
    proof, trust = tmp_path / "proof", tmp_path / "trust"
    assert hospital.run("audit", "export", "0", "--out", str(proof)).exit_code == 0
    assert hospital.run("audit", "trust", "--out", str(trust)).exit_code == 0
    (told,) = run("", [["audit", "verifier", "--out", "verifier"]], tmp_path)
    assert told[0] == 0
    command = [sys.executable, "-I", str(tmp_path / "verifier"), str(proof), "--trust", str(trust)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
