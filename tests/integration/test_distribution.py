"""The wheel holds everything the product needs when it runs, and nothing of the tests."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.integration.similarity.test_vendor_alone import lay_out

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(built)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    (found,) = folder.glob("twinward-*.whl")
    return found


@pytest.mark.parametrize(
    "needed",
    [
        "twinward/access/policies/default.cedar",
        "twinward/console/templates/home.html",
        "twinward/console/static/verify.js",
        "twinward/demo/templates/report.html",
        "twinward/similarity/explainer/templates/explainer.html",
        "twinward_contracts/compiled/AccessAnchor.json",
        "twinward_ledger/testing/store_conformance.py",
        "twinward/vault/testing/store_conformance.py",
        "twinward/py.typed",
        "twinward_crypto/py.typed",
    ],
)
def test_it_holds_what_running_needs(wheel: zipfile.ZipFile, needed: str) -> None:
    assert needed in wheel.namelist()


def test_it_holds_four_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    roots = {name.split("/")[0] for name in wheel.namelist()}
    assert {root for root in roots if not root.endswith(".dist-info")} == {
        "twinward",
        "twinward_ledger",
        "twinward_contracts",
        "twinward_crypto",
    }


def test_a_vendor_is_asked_for_neither_torch_nor_web3(wheel: zipfile.ZipFile) -> None:
    (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    required = [line for line in wheel.read(metadata).decode().splitlines() if line.startswith("Requires-Dist: ")]
    vendor = [line for line in required if "extra ==" not in line or "extra == 'vendor'" in line]
    assert any("tenseal" in line for line in vendor)
    for heavy in ("torch", "web3", "fastapi", "sqlmodel", "opacus", "py-evm"):
        assert not any(heavy in line for line in vendor), heavy


@pytest.mark.slow
def test_a_vendor_installs_the_file_into_an_empty_environment(built: Path, tmp_path: Path) -> None:
    """What the page on similarity says, without an index: pip puts the file in, the extra's own files stand beside."""
    home = tmp_path / "empty"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / "bin" / "python"
    install = ["-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(built)]
    subprocess.run([sys.executable, *install], check=True, capture_output=True, text=True)
    lay_out("vendor", tmp_path / "library")
    (site,) = home.glob("lib/python3*/site-packages")
    (site / "extra.pth").write_text(str(tmp_path / "library"))
    command = [str(home / "bin" / "twinward"), "vendor", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={}, check=False)
    assert done.returncode == 0, done.stderr
    assert "feasibility" in done.stdout
    program = "import twinward, twinward.client; print(twinward.__file__)"
    where = subprocess.run([str(python), "-I", "-c", program], capture_output=True, text=True, cwd=tmp_path, env={})
    assert where.stdout.startswith(str(site)), where.stderr
