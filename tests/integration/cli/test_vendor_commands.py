"""The vendor's commands against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.integration.cli.conftest import OFFICER, SIMILARITY_YES, Hospital, make_hospital, run
from twinward.cli.logs import configure_logs
from twinward.demo.serving import served
from twinward.node import open_node


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    """Its own: elsewhere patients are erased, and a cohort of too few tells nothing."""
    return make_hospital(tmp_path_factory.mktemp("vendor") / "node")


@pytest.fixture(scope="module")
def _quiet() -> Iterator[None]:
    configure_logs()  # as the entry point does: the request log stays quiet
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="module")
def url(hospital: Hospital, _quiet: None) -> Iterator[str]:
    with open_node(hospital.home) as node, served(node) as address:
        yield address


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
    leak, size, took = (done.stderr.index(word) for word in ("leaks:", "bytes", " ms"))
    assert 0 < size < took < leak  # said before it was sent
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
        (("--mode", "gated", "--feature", "hba1c_percent=66 furlongs"), "hba1c_percent: "),
        (("--mode", "gated", "--feature", "age=60", "--weight", "bmi=2"), "which has no value"),
        (("--mode", "gated", "--feature", "age=60", "--weight", "age=9"), "weights go from 0 to 2"),
        (("--mode", "gated", "--feature", "age=60", "--weight", "age"), "name=whole number"),
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
    assert done.exit_code == 5
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


@pytest.mark.usefixtures("_token")
def test_values_in_other_units_ask_the_same(url: str, tmp_path: Path) -> None:
    values = tmp_path / "values.json"
    values.write_text('{"hba1c_percent": [53, "mmol/mol"], "age": 50}')
    query = ("vendor", "query", url, "--mode", "gated", "--threshold", "1", "--yes", "--json")
    first = run(*query, "--values", str(values))
    assert first.exit_code == 0, first.output
    second = run(*query, "--feature", "hba1c_percent=7.0", "--feature", "age=600 mo")
    assert json.loads(first.stdout)["handles"] == json.loads(second.stdout)["handles"]


@pytest.mark.usefixtures("_token")
def test_records_are_fetched_opened_and_written(url: str, tmp_path: Path) -> None:
    """The cohort consents to handles only, so what comes is nothing, and the command says why."""
    passphrase, keys, folder = tmp_path / "pass", tmp_path / "acme.keys", tmp_path / "records"
    passphrase.write_text("correct horse battery")
    made = run("vendor", "keygen", str(keys), "--passphrase-file", str(passphrase))
    assert made.exit_code == 0, made.output
    assert "public key SHA-256" in made.stdout
    asked = run("vendor", "query", url, "--mode", "gated", "--feature", "age=50", "--threshold", "1", "--yes")
    assert asked.exit_code == 0, asked.output
    fetch = ("vendor", "results", url, "--keys", str(keys), "--out", str(folder))
    locked = ("--passphrase-file", str(passphrase))
    for category, opened in (("labs", 0), ("features", 6)):
        done = run(*fetch[:-1], str(folder / category), "--category", category, *locked, "--json")
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)["records"]
        assert told["opened"] == opened
        assert bool(told["withheld"]) is (opened == 0)
    files = [file for file in (folder / "features").rglob("*") if file.is_file()]
    assert len(files) == 6
    assert all("levels" in json.loads(file.read_text()) for file in files)
    assert run(*fetch[:-1], str(folder / "features"), "--category", "labs", *locked).exit_code == 2  # exists
    assert run(*fetch, *locked).exit_code == 2  # no category
    passphrase.write_text("another passphrase")
    wrong = run(*fetch[:-1], str(folder / "wrong"), "--category", "labs", *locked)
    assert wrong.exit_code == 2
    assert "does not open" in wrong.stderr


def test_keys_need_a_passphrase_and_are_not_overwritten(tmp_path: Path) -> None:
    nobody = run("vendor", "keygen", str(tmp_path / "k"))
    assert nobody.exit_code == 2
    assert "--passphrase-file" in nobody.stderr
    passphrase = tmp_path / "pass"
    passphrase.write_text("short")
    assert run("vendor", "keygen", str(tmp_path / "k"), "--passphrase-file", str(passphrase)).exit_code == 2
    assert not (tmp_path / "k").exists()


@pytest.mark.usefixtures("_token")
def test_a_token_for_each_hospital_or_one_for_all(url: str, tmp_path: Path) -> None:
    query = ("vendor", "query", url, "http://127.0.0.1:9", "--mode", "gated", "--feature", "age=50", "--threshold", "1")
    tokens = []
    for number in range(3):
        tokens += ["--token-file", str(tmp_path / f"{number}")]
        (tmp_path / f"{number}").write_text("twk_x_y")
    assert run(*query, *tokens, "--yes").exit_code == 2
    done = run(*query, "--yes")
    assert done.exit_code == 0, done.output
    assert "1 did not answer" in done.stdout
    assert "http://127.0.0.1:9: no answer" in done.stdout


@pytest.mark.usefixtures("_quiet")
def test_without_a_cohort_terms_allowance_and_results_answer_and_queries_say_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = make_hospital(tmp_path / "node", consenting=False)
    monkeypatch.setenv("TWINWARD_TOKEN", empty.vendor_token)
    with open_node(empty.home) as node, served(node) as address:
        before = node.log.store.size()
        assert "hba1c_percent" in run("vendor", "schema", address).stdout
        left = run("vendor", "budget", address).stdout
        assert f"{node.settings.vendor_budget} queries left" in left
        assert node.log.store.size() == before  # nobody's consent was asked about
        assert "nothing was released" in run("vendor", "results", address).stdout
        query = ("vendor", "query", address, "--mode", "gated", "--feature", "age=50", "--yes")
        refused = run(*query)
        assert refused.exit_code == 6
        assert "no patient's consent allows similarity search now" in refused.stderr
        assert run("vendor", "budget", address).stdout == left
        node.access.set_consents(OFFICER, [(twin, (SIMILARITY_YES,)) for twin in node.twins.all()])
        assert run(*query, "--threshold", "1").exit_code == 0  # the first consents count at once
