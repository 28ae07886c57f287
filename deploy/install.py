"""Install lock files into the environment whose Python runs this, each file held to its hash.

``python deploy/install.py LOCK… [--project] [--torch auto|cpu|pypi] [--hashes yes|no] [--installer auto|uv|pip]``

uv does it, installed from a lock of its own: seconds where pip takes minutes. It does not read pip's configuration, so
it is handed the indexes, links and certificates that pip has here. Where uv cannot be had or gives up, pip does it.
Only the standard library: nothing is installed yet.
"""

from __future__ import annotations

import argparse
import ast
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
UV_LOCK: Final = "deploy/uv-requirements.lock"
TORCH: Final = "2.13.0"
PYTHON: Final = sys.executable
PIP: Final = (PYTHON, "-m", "pip", "--disable-pip-version-check", "--require-virtualenv")
UV: Final = (PYTHON, "-m", "uv", "pip")

LOCKED: Final = ("--require-hashes", "--only-binary", ":all:", "--no-deps")
"""Nothing is built from source: what a build fetches has no hash here. The check at the end says what is missing."""

INTO_UV: Final = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "trusted-host": "--allow-insecure-host",
}
"""pip's settings and how uv is told them; each may hold several values, with spaces between."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Install, check, and say what was chosen. The exit code is the first failing command's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("locks", nargs="*", metavar="LOCK")
    parser.add_argument("--project", action="store_true", help="this repository too, as an editable install, and torch")
    parser.add_argument("--torch", choices=("auto", "cpu", "pypi"), default="auto")
    parser.add_argument("--hashes", choices=("yes", "no"), default="yes")
    parser.add_argument("--installer", choices=("auto", "uv", "pip"), default="auto")
    parser.add_argument("--no-check", action="store_true", help="something is left out on purpose: do not look for it")
    parser.add_argument("--dry-run", action="store_true", help="print the commands only")
    chosen = parser.parse_args(arguments)
    os.chdir(ROOT)
    locks = list(chosen.locks)
    if chosen.hashes == "no":
        say("WARNING: HASHES=no: what is installed is held to the versions of constraints.txt, and to no hash.")
    elif chosen.project:
        locks.append(torch_lock(chosen.torch))
        say(f"torch: {locks[-1]}")
    commands = wanted(locks, project=chosen.project, hashes=chosen.hashes == "yes")
    installers = {"auto": (uv, pip), "uv": (uv,), "pip": (pip,)}[chosen.installer]
    for number, installer in enumerate(installers, start=1):
        failed = installer(commands, check=not chosen.no_check, dry_run=chosen.dry_run)
        if failed == 0:
            return 0
        if number < len(installers):
            say("uv could not (above). Once more with pip, which takes some minutes …")
    return failed


def wanted(locks: Sequence[str], *, project: bool, hashes: bool) -> list[list[str]]:
    """Arguments of ``install``, command by command, the same for both installers."""
    if not hashes:
        return [[f"torch=={TORCH}", "-c", "constraints.txt"], ["-e", ".[all,dev]", "-c", "constraints.txt"]]
    commands = [[*LOCKED, *(word for lock in locks for word in ("-r", lock))]]
    return [*commands, ["--no-deps", "--no-build-isolation", "-e", "."]] if project else commands


def uv(commands: Sequence[Sequence[str]], *, check: bool, dry_run: bool) -> int:
    """Install with uv, byte-compiled, for a first start as quick as the next."""
    settings = pip_settings()
    environment = dict(os.environ)
    if certificates := settings.get("cert"):
        environment["SSL_CERT_FILE"] = certificates
    where = [*uv_arguments(settings), "--index-strategy", "unsafe-best-match"]  # as pip: any index; the hash decides
    failed = run([*PIP, "install", "--quiet", *LOCKED, "-r", UV_LOCK], dry_run=dry_run)
    for command in commands:
        asked = [*UV, "install", "--quiet", "--python", PYTHON, "--compile-bytecode", *where, *command]
        failed = failed or run(asked, dry_run=dry_run, environment=environment)
    if failed or not check:
        return failed
    return run([*UV, "check", "--quiet", "--python", PYTHON], dry_run=dry_run, environment=environment)


def pip(commands: Sequence[Sequence[str]], *, check: bool, dry_run: bool) -> int:
    """Install with pip."""
    failed = 0
    for command in commands:
        failed = failed or run([*PIP, "install", "--quiet", *command], dry_run=dry_run)
    return run([*PIP, "check"], dry_run=dry_run) if check and not failed else failed


def torch_lock(build: str) -> str:
    """The lock of the build asked for; of ``auto`` the CPU build's, where pip sees one for this Python and machine."""
    if build == "auto":
        asked = subprocess.run([*PIP, "index", "versions", "torch"], capture_output=True, text=True, check=False)  # noqa: S603
        known = platform.system() == "Linux" and platform.machine() in ("x86_64", "aarch64")
        build = "cpu" if known and f"{TORCH}+cpu" in asked.stdout else "pypi"
    return "requirements-torch-cpu.lock" if build == "cpu" else "requirements-torch.lock"


def pip_settings() -> dict[str, str]:
    """What pip would use here, from its files and ``PIP_…``; a command's own setting over the general one."""
    told = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    found: dict[str, dict[str, str]] = {}
    for line in told.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        found.setdefault(section, {})[key] = str(ast.literal_eval(value))
    return found.get("global", {}) | found.get("install", {}) | found.get(":env:", {})


def uv_arguments(settings: Mapping[str, str]) -> list[str]:
    """pip's indexes and links, as uv takes them."""
    told = ["--no-index"] if settings.get("no-index", "").lower() in ("1", "yes", "true", "on") else []
    for key, option in INTO_UV.items():
        told += [word for value in settings.get(key, "").split() for word in (option, value)]
    return told


def run(command: Sequence[str], *, dry_run: bool, environment: Mapping[str, str] | None = None) -> int:
    """Run a command, or print it; its exit code."""
    if dry_run:
        say(" ".join(command))
        return 0
    return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 (this environment's programs)


def say(line: str) -> None:
    """Print a line at once, before what the next command prints."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
