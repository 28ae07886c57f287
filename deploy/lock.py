"""Write the lock files: for each requirement its version and the SHA-256 of every file published of it.

Run as ``make lock``, after pyproject.toml, constraints.txt or one of the tools' lists changed. uv resolves for every
platform and Python that Twinward runs on at once, so one file serves Linux and macOS, x86-64 and ARM.

``requirements.lock`` holds everything but torch, of which ``make setup`` takes one of two: PyPI's build with, on Linux,
the CUDA libraries it needs (3 GB; ``requirements-torch.lock``), or the PyTorch project's own CPU build where the
machine's pip reaches one (``requirements-torch-cpu.lock``).
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
OLDEST_PYTHON: Final = "3.11"

PRODUCT, TORCH, TORCH_CPU = (
    ROOT / f"{name}.lock" for name in ("requirements", "requirements-torch", "requirements-torch-cpu")
)
TOOLS: Final = (
    *(ROOT / f"deploy/{name}-requirements" for name in ("uv", "tools", "docs", "mutations")),
    ROOT / "contracts/tools/slither-requirements",
)
"""Environments of their own: ``NAME.txt`` says what is wanted, ``NAME.lock`` which files."""

FLOWER: Final = ROOT / "deploy/flower-requirements.lock"
"""The project with its extra flower and no other. flwr wants protobuf < 7, and brings an event loop and a parser that
the node's server would take by itself: an environment of its own, without constraints.txt."""

SIMULATION: Final = ROOT / "deploy/simulation-requirements.lock"
"""The project with its extra simulation and no other: flwr's engine pins a Ray of its own."""

SOURCE_ONLY: Final = "yattag"
"""Has no wheel, and only wheels are installed: it writes Cosmic Ray's HTML report, which nothing here asks for."""

WITH_TORCH: Final = re.compile(r"(?:nvidia-|cuda-|triton==|torch==)")

CPU_BUILDS: Final = (
    "torch==2.13.0+cpu",
    "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",  # cp311 x86_64
    "4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2",  # cp312 x86_64
    "3fbf9c9d1f3c10c2d59d04aca426dee9ccc6ceb32d255c61e93acc3b4f75fae6",  # cp313 x86_64
    "84453b69508ec79902f899c5ed9495acb9e2bbe9fda5f1d5d6f19e3c3842e1a7",  # cp311 aarch64
    "6f307c2c32d764ffc6ff6893b801fad6d4752f3e67966cb8abf1843427c02604",  # cp312 aarch64
    "0b8f7d0423027ae8b90c7977c627f3379f325363a08224dffad9b4b2d684a83d",  # cp313 aarch64
)
"""The CPU build for Linux and its files' SHA-256, by hand, for PyPI has none of them. The first was installed here;
the others stand so in other projects' lock files (nixpkgs among them). One that is wrong installs nothing."""


def main() -> None:
    """Resolve, split off torch, write."""
    project = ROOT / "pyproject.toml"
    extras = ("--extra", "all", "--extra", "dev")
    entries = _resolve(project, *extras, "--constraints", str(ROOT / "constraints.txt"))
    _write(PRODUCT, [one for one in entries if not WITH_TORCH.match(one)])
    _write(TORCH, [one for one in entries if WITH_TORCH.match(one)])
    _write(TORCH_CPU, [" \\\n    --hash=sha256:".join(CPU_BUILDS)])
    _write(FLOWER, _resolve(project, "--extra", "flower"))
    _write(SIMULATION, _resolve(project, "--extra", "simulation"))
    for tool in TOOLS:
        _write(tool.with_suffix(".lock"), _resolve(tool.with_suffix(".txt"), "--no-emit-package", SOURCE_ONLY))


def _resolve(source: Path, *more: str) -> list[str]:
    """What a list comes down to, an entry a requirement: its first line names it, the others its files' hashes."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "lock"
        subprocess.run(  # noqa: S603 (uv from this environment, on files of this repository)
            [
                *(str(Path(sys.executable).with_name("uv")), "pip", "compile", str(source), "--output-file", str(made)),
                *("--universal", "--python-version", OLDEST_PYTHON, "--generate-hashes", "--quiet"),
                *("--no-header", "--no-annotate", *more),
            ],
            check=True,
        )
        return re.findall(r"^[a-z0-9].*(?:\n .*)*", made.read_text(encoding="utf-8"), flags=re.MULTILINE)


def _write(path: Path, entries: list[str]) -> None:
    head = "# Written by `make lock`, not by hand. Each file that pip may install is named by its SHA-256.\n"
    path.write_text(head + "".join(f"{one}\n" for one in entries), encoding="utf-8")


if __name__ == "__main__":
    main()
