"""What the README shows runs as it stands there."""

from __future__ import annotations

import gzip
import html
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checks.readme import DOCUMENTS, OF_LONG_ROWS, PLACES, problems, wide_rows
from tests.kept_homes import founded
from twinward.core.config import Settings
from twinward.demo.accounts import open_accounts
from twinward.demo.display import Silent
from twinward.demo.querying import give_consent
from twinward.demo.sealing import seal_patients
from twinward.demo.serving import served
from twinward.node import create_node

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A served node with a cohort; its address and a vendor's token."""
    node = founded(tmp_path / "home")
    try:
        accounts = open_accounts(node)
        admitted = seal_patients(node, Silent(), bundles=None, count=8, seed=1)
        give_consent(node, admitted.twins)
        node.consortium.grant_queries("acme", 5)
        with served(node) as url:
            yield url, accounts.vendor_token
    finally:
        node.close()


def test_the_python_example_runs(hospital: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    url, token = hospital
    exec(compile(example.replace("http://127.0.0.1:8040", url), "README.md", "exec"), {"token": token})
    (printed,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("(")]
    handles, _, left = printed.rpartition(" ")
    assert left == "4"
    assert handles


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_promise_only_what_exists(document: str) -> None:
    path = ROOT / document
    text = path.read_text(encoding="utf-8")
    assert problems(text, path.parent) == []
    assert document in OF_LONG_ROWS or wide_rows(text) == []


def test_the_glossary_points_at_what_is_there() -> None:
    pointed = re.findall(r"`(\w+(?:/\w+)*(?:\.py)?)`", (ROOT / "GLOSSARY.md").read_text(encoding="utf-8"))
    assert len(pointed) > 80
    nowhere = [one for one in pointed if one != "export" and not any((place / one).exists() for place in PLACES)]
    assert nowhere == []


def test_the_index_leads_to_every_page() -> None:
    folder = ROOT / "platform/docs"
    index = (folder / "index.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\]\(([\w./-]+\.md)\)", index))
    assert {page.name for page in folder.glob("*.md")} - named == {"index.md"}


def test_the_architecture_s_picture_is_of_its_text() -> None:
    """Every label of the source stands in the drawing. (``make pictures`` draws it, with Graphviz.)"""
    folder = ROOT / "platform/docs/pictures"
    source, drawn = ((folder / f"architecture.{kind}").read_text(encoding="utf-8") for kind in ("dot", "svg"))
    shown = html.unescape(drawn)
    labels = {line for label in re.findall(r'label="([^"]+)"', source) for line in label.split("\\n")}
    assert len(labels) > 20
    assert {label for label in labels if label not in shown} == set()


def test_the_check_would_notice() -> None:
    text = "```\nmake fly\ntwinward levitate --now\ntwinward demo --gravity\n```\n[x](nowhere.md)"
    text += "\n```\ntwinward audit list --limit 5\n```"
    text += " `tests/nothing.py::test_x` `core/nowhere.py` `twinward.core.nothing`"
    text += f"\n{'word ' * 24}x\n```\n{'code ' * 30}\n```\n| {'cell ' * 30} |\n"
    found = problems(text, ROOT)
    for word in (
        "make fly",
        "levitate",
        "--gravity",
        "nowhere.md",
        "tests/nothing.py",
        "core/nowhere.py",
        "twinward.core.nothing",
        "lacks --as",
    ):
        assert any(word in line for line in found), (word, found)


@pytest.mark.slow
def test_the_examples_of_imports_run_as_they_stand_there(tmp_path: Path) -> None:
    page = (ROOT / "platform/docs/imports.md").read_text(encoding="utf-8")
    (tmp_path / "bundles").mkdir()
    patient, reading = ({"resourceType": "Patient", "id": "p"}, {"resourceType": "Observation", "id": "o"})
    reading |= {"status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient/p"}}
    entry = [{"resource": patient | {"id": "anna"}}]
    whole = {"resourceType": "Bundle", "type": "collection", "entry": entry}
    (tmp_path / "bundles/anna.json").write_text(json.dumps(whole, indent=2))
    (tmp_path / "Patient.ndjson").write_text(json.dumps(patient))
    (tmp_path / "Patient.ndjson.gz").write_bytes(gzip.compress(json.dumps(patient).encode()))
    (tmp_path / "Observation.ndjson.gz").write_bytes(gzip.compress(json.dumps(reading).encode()))
    create_node(Settings.load(tmp_path / "my-node")).close()
    (block,) = re.findall(r"```\n(twinward twin import.*?)```", page, flags=re.DOTALL)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", block],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("1 patients, 1 of them new") == 4  # no two of them are of one origin
    assert json.loads((tmp_path / "refused.json").read_text())["refused"] == []
