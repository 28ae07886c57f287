"""A home on a read-only disk: it can be looked at and verified; what would have to be logged is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Hospital, run
from tests.read_only import read_only


def contents(home: Path) -> dict[str, str]:
    files = (one for one in home.rglob("*") if one.is_file())
    return {str(one.relative_to(home)): hashlib.sha256(one.read_bytes()).hexdigest() for one in files}


@pytest.fixture(scope="module")
def snapshot(hospital: Hospital, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("snapshot")
    shutil.copytree(hospital.home, folder / "node")
    before = contents(folder / "node")
    with read_only(folder / "node", folder / "mounted") as home:
        yield home
    assert contents(folder / "node") == before


@pytest.mark.parametrize(
    "command",
    [
        ("audit", "verify", "--deep"),
        ("node", "status"),
        ("twin", "list", "--count"),
        ("audit", "trust"),
        ("audit", "gaps"),
    ],
    ids=" ".join,
)
def test_a_read_only_home_is_read_and_verified(snapshot: Path, command: tuple[str, ...]) -> None:
    done = run(*command, "--home", str(snapshot))
    assert done.exit_code == 0, done.output


def test_it_shows_what_the_home_showed(snapshot: Path, hospital: Hospital) -> None:
    shown = json.loads(run("node", "status", "--json", "--home", str(snapshot)).stdout)
    assert shown["twins"] == len(hospital.twins)
    assert shown["log"]["size"] > 0


@pytest.mark.parametrize(
    "command",
    [
        ("twin", "show", "{twin}", "--as", "dr-lee", "--category", "labs"),
        (
            "twin",
            "show",
            "{twin}",
            "--as",
            "dr-lee",
            "--category",
            "labs",
            "--purpose",
            "ETREAT",
            "--justification",
            "x y",
        ),
        ("twin", "state", "{twin}", "--as", "dr-lee"),
        ("audit", "list", "--as", "olga"),
        ("account", "disable", "acme"),
        ("audit", "checkpoint"),
        ("keys", "rotate", "--yes"),
    ],
    ids=lambda command: " ".join(command[:2]) + str(len(command)),
)
def test_what_would_have_to_be_logged_or_kept_is_refused(
    snapshot: Path, hospital: Hospital, command: tuple[str, ...]
) -> None:
    done = run(*(one.format(twin=hospital.twins[-1]) for one in command), "--home", str(snapshot))
    assert done.exit_code in (2, 7), done.output
    assert "resourceType" not in done.output
    assert "read-only" in done.stderr.lower().replace("readonly", "read-only")
