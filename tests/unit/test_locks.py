"""The lock files against what the project asks for, and `make setup` against installing anything without a hash."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = (
    *("requirements.lock", "requirements-torch.lock", "requirements-torch-cpu.lock"),
    *("contracts/tools/slither-requirements.lock", "deploy/tools-requirements.lock"),
    *("deploy/uv-requirements.lock", "deploy/docs-requirements.lock"),
    *("deploy/mutations-requirements.lock", "deploy/flower-requirements.lock"),
)
APART = {"flower": "deploy/flower-requirements.lock", "simulation": "deploy/simulation-requirements.lock"}
"""Extras that have an environment of their own, for what they need does not go with the product's."""


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
    extras = project["optional-dependencies"]
    for extra, lock in APART.items():
        apart = {name: version_of(asked) for name, (asked, _) in entries_of(ROOT / lock).items()}
        for asked in map(Requirement, extras[extra]):
            name = canonicalize_name(asked.name)
            assert name == "twinward" or asked.specifier.contains(apart[name]), asked
    lists = [project["dependencies"], *(listed for extra, listed in extras.items() if extra not in APART)]
    for asked in (Requirement(one) for listed in lists for one in listed):
        name = canonicalize_name(asked.name)
        assert name == "twinward" or asked.specifier.contains((locked | torch)[name], prereleases=True), asked
    cpu = entries_of(ROOT / "requirements-torch-cpu.lock")
    assert version_of(cpu["torch"][0]) == torch["torch"] + "+cpu"


def installs(target: str, *variables: str) -> list[str]:
    """The commands by which ``make TARGET`` would install, with this Python in the place of a new environment's."""
    run = ["make", "--dry-run", "--always-make", target, *variables]
    said = subprocess.run(run, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "pip install" not in said  # nobody but the installer does
    found = []
    for arguments in re.findall(r"python (deploy/install\.py .*)$", said, flags=re.MULTILINE):
        command = [sys.executable, *arguments.split(), "--dry-run"]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        found += [line for line in done.splitlines() if " install " in line]
    return found


@pytest.mark.parametrize("installer", ["uv", "pip"])
@pytest.mark.parametrize(
    "target",
    ["setup", *(f".venv-{name}/.ready" for name in ("slither", "tools", "mutations", "flower", "simulation"))],
)
def test_whatever_make_installs_is_held_to_a_hash(target: str, installer: str) -> None:
    lines = installs(target, f"INSTALLER={installer}", "TORCH=pypi")
    assert any(f"-m {installer} " in line for line in lines)
    for line in lines:
        hashed = "--require-hashes" in line and "--only-binary :all:" in line and "--no-deps" in line
        assert hashed or line.endswith("--no-deps --no-build-isolation -e .")


def test_without_hashes_only_when_that_is_said() -> None:
    lines = installs("setup", "HASHES=no")
    assert any("--require-hashes" not in line and "constraints.txt" in line for line in lines)
    assert not any("constraints.txt" in line for line in installs("setup", "TORCH=pypi"))


def test_uv_looks_where_pip_is_told_to_look(tmp_path: Path) -> None:
    settings = tmp_path / "pip.conf"
    settings.write_text(
        "[global]\nindex-url = https://one.example/simple\nextra-index-url = https://two.example/s\n  https://3.example/s\n"
        "[install]\nindex-url = https://other.example/simple\n"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    environment = clean | {
        "PIP_CONFIG_FILE": str(settings),
        "PIP_FIND_LINKS": "./wheels",
        "XDG_CONFIG_DIRS": str(tmp_path),
    }
    command = [sys.executable, "deploy/install.py", "requirements.lock", "--installer", "uv", "--dry-run"]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, env=environment).stdout
    (line,) = (one for one in said.splitlines() if one.endswith("-r requirements.lock"))
    assert "--default-index https://other.example/simple " in line
    assert "--index https://two.example/s --index https://3.example/s " in line
    assert "--find-links ./wheels " in line


def test_where_uv_gives_up_pip_goes_on(tmp_path: Path) -> None:
    """A real environment, a lock whose one file no index has: uv fails, pip is tried, and its failure is the answer."""
    lock = tmp_path / "wrong.lock"
    lock.write_text("idna==3.20 --hash=sha256:" + "0" * 64 + "\n")
    environment = os.environ | {"PIP_REQUIRE_VIRTUALENV": "0"}
    run = [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")]
    subprocess.run(run, check=True, capture_output=True)
    command = [str(tmp_path / "venv/bin/python"), "deploy/install.py", str(lock)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode != 0
    assert "Once more with pip" in done.stdout
