"""The vendor's commands against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.integration.cli.conftest import Hospital, run
from twinward.cli.logs import configure_logs
from twinward.demo.serving import served
from twinward.node import open_node


@pytest.fixture(scope="module")
def url(hospital: Hospital) -> Iterator[str]:
    configure_logs()  # as the entry point does: the request log stays quiet
    try:
        with open_node(hospital.home) as node, served(node) as address:
            yield address
    finally:
        structlog.reset_defaults()


@pytest.fixture
def _token(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINWARD_TOKEN", hospital.vendor_token)


@pytest.mark.usefixtures("_token")
def test_a_vendor_asks_and_is_answered(url: str, tmp_path: Path) -> None:
    schema = run("vendor", "schema", url)
    assert schema.exit_code == 0, schema.output
    assert "hba1c_percent" in schema.stdout
    left = json.loads(run("vendor", "budget", url, "--json").stdout)["remaining"]
    values = tmp_path / "values.json"
    values.write_text('{"hba1c_percent": 6.1}')
    query = ("vendor", "query", url, "--mode", "gated", "--values", str(values), "--feature", "age=50")
    done = run(*query, "--threshold", "1", "--yes", "--json")
    assert done.exit_code == 0, done.output
    shown = json.loads(done.stdout)
    assert len(shown["handles"]) == shown["count"] >= 3
    assert shown["budget_left"] == left - 1
    leak, size = done.stderr.index("leaks:"), done.stderr.index("bytes")
    assert 0 < size < leak  # said before it was sent
    again = json.loads(run("vendor", "results", url, "--json").stdout)["results"]
    assert again[-1]["handles"] == shown["handles"]


@pytest.mark.usefixtures("_token")
def test_without_a_yes_nothing_is_sent(url: str) -> None:
    left = run("vendor", "budget", url).stdout
    done = run("vendor", "query", url, "--mode", "gated", "--feature", "hba1c_percent=8", "--threshold", "1")
    assert done.exit_code == 2
    assert "leaks:" in done.stderr
    assert "--yes" in done.stderr
    assert run("vendor", "budget", url).stdout == left


@pytest.mark.usefixtures("_token")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mode", "telepathy", "--feature", "hba1c_percent=8"), "no mode"),
        (("--mode", "matrix", "--feature", "hba1c_percent=8"), "does not answer in matrix"),
        (("--mode", "gated"), "at least one feature"),
        (("--mode", "gated", "--feature", "hba1c_percent"), "name=value"),
        (("--mode", "gated", "--feature", "hba1c_percent=nan"), "name=value"),
        (("--mode", "gated", "--feature", "a=1", "--feature", "a=2"), "twice"),
        (("--mode", "gated", "--feature", "shoe_size=44"), "shoe_size"),
    ],
    ids=lambda value: None,
)
def test_a_bad_question_is_not_sent(url: str, arguments: tuple[str, ...], message: str) -> None:
    left = run("vendor", "budget", url).stdout
    done = run("vendor", "query", url, *arguments, "--yes")
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert run("vendor", "budget", url).stdout == left


@pytest.mark.parametrize("content", ["[1]", '{"a": "x"}', '{"a": true}', '{"a": NaN}', '{"a": 1, "a": 2}', "{", "7"])
def test_bad_values_are_refused_before_anything(tmp_path: Path, content: str) -> None:
    file = tmp_path / "values.json"
    file.write_text(content)
    done = run("vendor", "query", "http://127.0.0.1:9", "--mode", "gated", "--values", str(file))
    assert done.exit_code == 2, done.output


def test_a_wrong_token_is_refused_without_being_shown(url: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("twk_acme_guess\n")
    done = run("vendor", "budget", url, "--token-file", str(token))
    assert done.exit_code == 6
    assert "sign-in refused" in done.stderr
    assert "guess" not in done.output


def test_no_token_and_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    none = run("vendor", "budget", "http://127.0.0.1:9")
    assert none.exit_code == 5
    assert "TWINWARD_TOKEN" in none.stderr
    monkeypatch.setenv("TWINWARD_TOKEN", "twk_acme_x")
    assert run("vendor", "budget", "http://127.0.0.1:9").exit_code == 7


@pytest.mark.usefixtures("_token")
@pytest.mark.parametrize("address", ["http://hospital.example", "ftp://x", "hospital", "http://", "http://[::1"])
def test_a_token_never_crosses_a_network_in_the_clear(address: str) -> None:
    assert run("vendor", "budget", address).exit_code == 2
