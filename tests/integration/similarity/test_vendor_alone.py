"""``pip install "twinward[vendor]"`` alone is enough: an interpreter that can import nothing else asks a real server.

Rather than through pip, the extra's dependencies are laid out from this environment: of every distribution that the
extra needs, directly or not, exactly its own files are linked into an empty folder, the interpreter's only library.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.integration.similarity.test_several_hospitals import Served, awaited, start

pytestmark = pytest.mark.slow  # a server and five interpreters of their own

ROOT = Path(__file__).resolve().parents[3]
SOURCES = [str(ROOT / folder) for folder in ("platform", "ledger", "contracts", "crypto")]
FORBIDDEN = (
    "torch",
    "web3",
    "fastapi",
    "sqlmodel",
    "sqlalchemy",
    "uvicorn",
    "cedarpy",
    "opacus",
    "ray",
    "eth",
    "pytest",
)


def needed(extra: str) -> dict[str, Distribution]:
    """Every distribution that the project with one extra installs, by normalised name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    waiting = [Requirement(text) for text in project["dependencies"] + project["optional-dependencies"][extra]]
    found: dict[str, Distribution] = {}
    while waiting:
        wanted = waiting.pop()
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue  # an optional one of an optional one
        for text in found[name].requires or []:
            one = Requirement(text)
            extras = wanted.extras or {""}
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(one)
    return found


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out("vendor", tmp_path_factory.mktemp("library"))


def lay_out(extra: str, folder: Path) -> Path:
    """Link every file that the project with one extra installs into a folder."""
    for installed in needed(extra).values():
        for file in installed.files or []:
            if ".." in file.parts or file.suffix == ".pyc":
                continue
            link = folder / file
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(Path(str(installed.locate_file(file))))
    return folder


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    process = start(5, folder)
    try:
        yield awaited(process, folder)
    finally:
        process.kill()
        process.wait()


def run(library: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Isolated (-I), without site-packages (-S): the folder and the sources are all there is to import from."""
    head = f"import sys; sys.path[:0] = {[str(library), *SOURCES]!r}\n"
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", head + program, *arguments], capture_output=True, text=True, timeout=120
    )


def test_nothing_else_can_be_imported(library: Path) -> None:
    done = run(
        library,
        "import importlib.util\n"
        f"print([name for name in {FORBIDDEN!r} if importlib.util.find_spec(name)])\n"
        "import twinward.client, twinward.cli.vendor.query\n",
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_the_sdk_asks_in_every_mode(library: Path, hospital: Served) -> None:
    done = run(
        library,
        "import json\n"
        "from twinward.client import Mode, Question, VendorClient, VendorKeys\n"
        "with VendorClient(sys.argv[1], 'token') as vendor:\n"
        "    answers = [vendor.ask(Question({'a': (6000, '%'), 'b': 70, 'c': 50}, mode, 0.3)) for mode in Mode]\n"
        "print(json.dumps([sorted(one.handles) for one in answers]), VendorKeys.generate().suite, file=sys.stderr)\n"
        "print(json.dumps([sorted(one.handles) for one in answers]))\n",
        hospital.url,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told[0] == told[1] == told[2]
    assert len(told[0]) >= 3


def test_the_commands_run(library: Path, hospital: Served, tmp_path: Path) -> None:
    passphrase, token, keys = tmp_path / "pass", tmp_path / "token", tmp_path / "acme.keys"
    passphrase.write_text("correct horse battery\n")
    token.write_text("token\n")
    for secret in (passphrase, token):
        secret.chmod(0o600)
    cli = "from twinward.cli.main import run; sys.argv[0] = 'twinward'; run()"
    made = run(library, cli, "vendor", "keygen", str(keys), "--passphrase-file", str(passphrase), "--json")
    assert made.returncode == 0, made.stderr + made.stdout
    assert len(json.loads(made.stdout)["fingerprint"]) == 64
    again = run(library, cli, "vendor", "keygen", str(keys), "--passphrase-file", str(passphrase))
    assert again.returncode == 4
    shared = ("--token-file", str(token), "--json")
    assert json.loads(run(library, cli, "vendor", "schema", hospital.url, *shared).stdout)["minimum_count"] == 3
    asked = ("vendor", "query", hospital.url, "--mode", "gated", "--feature", "a=60", "--nearest", "5", "--yes")
    done = run(library, cli, *asked, *shared)
    assert done.returncode == 0, done.stderr + done.stdout
    assert len(json.loads(done.stdout)["handles"]) >= 3  # whole groups: there were earlier answers
    assert re.search(r"[\d,]+ encrypted bytes, made in \d+ ms", done.stderr)
    assert "what this mode leaks" in done.stderr
    assert json.loads(run(library, cli, "vendor", "budget", hospital.url, *shared).stdout)["remaining"] > 0
    assert json.loads(run(library, cli, "vendor", "results", hospital.url, *shared).stdout)["results"]
