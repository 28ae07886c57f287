"""The lock files against what the project asks for, and `make setup` against installing anything without a hash."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = (
    *("requirements.lock", "requirements-torch.lock", "requirements-torch-cpu.lock"),
    *("contracts/tools/slither-requirements.lock", "deploy/tools-requirements.lock"),
)


def entries_of(path: Path) -> dict[str, tuple[Requirement, list[str]]]:
    found = {}
    for entry in re.findall(r"^[a-z0-9].*(?:\n .*)*", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
        asked = Requirement(re.split(r" \\\n", entry)[0])
        found[canonicalize_name(asked.name)] = asked, re.findall(r"--hash=(\S+)", entry)
    return found


def version_of(asked: Requirement) -> str:
    (only,) = asked.specifier
    assert only.operator == "=="
    return only.version


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_of_a_lock_is_one_version_and_its_files_hashes(name: str) -> None:
    entries = entries_of(ROOT / name)
    assert entries
    for asked, hashes in entries.values():
        assert version_of(asked)
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes)
    assert "://" not in (ROOT / name).read_text(encoding="utf-8")


def test_the_lock_is_of_these_versions_and_of_all_that_is_asked_for() -> None:
    locked = {name: version_of(asked) for name, (asked, _) in entries_of(ROOT / "requirements.lock").items()}
    torch = {name: version_of(asked) for name, (asked, _) in entries_of(ROOT / "requirements-torch.lock").items()}
    wanted = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {canonicalize_name(one.name): version_of(one) for one in map(Requirement, wanted)}
    assert {name: version for name, version in pins.items() if (locked | torch).get(name) != version} == {}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    for asked in (Requirement(one) for listed in lists for one in listed):
        name = canonicalize_name(asked.name)
        assert name == "twinward" or asked.specifier.contains((locked | torch)[name], prereleases=True), asked
    cpu = entries_of(ROOT / "requirements-torch-cpu.lock")
    assert version_of(cpu["torch"][0]) == torch["torch"] + "+cpu"


def dry_run(*arguments: str) -> list[str]:
    run = ["make", "--dry-run", "--always-make", *arguments]
    said = subprocess.run(run, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return re.findall(r"^.*-m pip (?:(?! index ).)* install .*$", said, flags=re.MULTILINE)


@pytest.mark.parametrize("target", ["setup", ".venv-slither/.ready", ".venv-tools/.ready"])
def test_whatever_make_installs_is_held_to_a_hash(target: str) -> None:
    installs = dry_run(target)
    assert installs
    for line in installs:
        hashed = "--require-hashes" in line and "--only-binary :all:" in line and "--no-deps" in line
        assert hashed or line.endswith("--no-deps --no-build-isolation -e .")


def test_without_hashes_only_when_that_is_said() -> None:
    assert any("--require-hashes" not in line and "constraints.txt" in line for line in dry_run("HASHES=no", "setup"))
    assert not any("constraints.txt" in line for line in dry_run("setup"))
