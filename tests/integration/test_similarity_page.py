"""What platform/docs/similarity.md shows runs as it stands there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checks.readme import DOCUMENTS
from twinward.core.config import Settings
from twinward.demo.accounts import open_accounts
from twinward.demo.display import Silent
from twinward.demo.querying import give_consent
from twinward.demo.sealing import seal_patients
from twinward.demo.serving import served
from twinward.node import create_node

ROOT = Path(__file__).resolve().parents[2]
PAGE = "platform/docs/similarity.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / PAGE).read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    node = create_node(Settings.load(tmp_path_factory.mktemp("page") / "home"))
    try:
        accounts = open_accounts(node)
        admitted = seal_patients(node, Silent(), bundles=None, count=6, seed=1)
        give_consent(node, admitted.twins)
        node.consortium.grant_queries("acme", 9)
        node.consortium.grant_epsilon(node.settings.tenant, "acme", own_millis=1500, whole_millis=3000)
        with served(node) as url:
            yield {"url": url, "token": accounts.vendor_token}
    finally:
        node.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "said"),
    list(zip(EXAMPLES, ["budget", "hba1c_percent", "does not answer", "patients (95 %)"], strict=True)),
)
def test_each_example_runs(
    example: str, said: str, hospital: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    exec(compile(example, PAGE, "exec"), dict(hospital))
    printed = capsys.readouterr().out
    assert said in printed or said == "budget"
    assert printed.strip()


def test_the_page_is_checked_against_the_command_line() -> None:
    assert PAGE in DOCUMENTS
