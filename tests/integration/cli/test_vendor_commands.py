"""The vendor's commands against a real server."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import structlog

from tests.integration.cli.conftest import OFFICER, SIMILARITY_YES, Hospital, make_hospital, run
from twinward.access.interfaces import AccessContext
from twinward.cli.logs import configure_logs
from twinward.core.vocabulary import Purpose
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
    token.chmod(0o600)
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
    assert sorted(json.loads(first.stdout)["handles"]) == sorted(json.loads(second.stdout)["handles"])


@pytest.mark.usefixtures("_token")
def test_records_are_fetched_opened_and_written(url: str, tmp_path: Path) -> None:
    """The cohort consents to handles only, so what comes is nothing, and the command says why."""
    passphrase, keys, folder = tmp_path / "pass", tmp_path / "acme.keys", tmp_path / "records"
    passphrase.write_text("correct horse battery")
    passphrase.chmod(0o600)
    made = run("vendor", "keygen", str(keys), "--passphrase-file", str(passphrase))
    assert made.exit_code == 0, made.output
    assert "public key SHA-256" in made.stdout
    asked = run("vendor", "query", url, "--mode", "gated", "--feature", "age=50", "--threshold", "1", "--yes")
    assert asked.exit_code == 0, asked.output
    fetch = ("vendor", "results", url, "--keys", str(keys), "--out", str(folder))
    folder.mkdir()
    locked = ("--passphrase-file", str(passphrase))
    done = run(*fetch[:-1], str(folder / "labs"), "--category", "labs", *locked, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)["records"]
    assert told["opened"] == 0
    assert told["withheld"]
    refused = run(*fetch[:-1], str(folder / "features"), "--category", "features", *locked, "--json")
    assert refused.exit_code == 6, refused.output
    assert "never given as a record" in refused.output
    assert not [file for file in folder.rglob("*") if file.is_file() and "levels" in file.read_text()]
    assert run(*fetch[:-1], str(folder / "labs"), "--category", "labs", *locked).exit_code == 2  # exists
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
    passphrase.chmod(0o600)
    assert run("vendor", "keygen", str(tmp_path / "k"), "--passphrase-file", str(passphrase)).exit_code == 2
    assert not (tmp_path / "k").exists()


QUESTION = ("--mode", "gated", "--feature", "age=50", "--threshold", "1", "--yes")


@pytest.fixture
def other() -> Iterator[tuple[str, list[str]]]:
    """Another hospital, of hostile words; its address and the tokens it was shown."""
    seen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["authorization"])
            hostile = "\x1b]0;owned\x07\x9b31m\u202e\nerror: [red]all is well[/]"
            body = json.dumps({"error": {"message": hostile, "hint": hostile}}, ensure_ascii=False).encode()
            self.send_response(403)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", seen
    server.shutdown()
    server.server_close()


def test_one_hospitals_token_is_not_sent_to_another(
    url: str, other: tuple[str, list[str]], tmp_path: Path, hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, seen = other
    query = ("vendor", "query", url, address, *QUESTION)
    one, files = tmp_path / "one", tmp_path / "tokens.json"
    one.write_text(hospital.vendor_token)
    one.chmod(0o600)
    for refused in (run(*query, env={"TWINWARD_TOKEN": hospital.vendor_token}), run(*query, "--token-file", str(one))):
        assert refused.exit_code == 2, refused.output
        assert "several hospitals" in refused.stderr
    assert seen == []
    files.write_text(json.dumps({url + "/": hospital.vendor_token, address: "twk_other"}))
    files.chmod(0o600)
    done = run(*query, "--tokens", str(files))
    assert done.exit_code == 0, done.output
    assert set(seen) == {"Bearer twk_other"}
    monkeypatch.setenv("TWINWARD_TOKENS_FILE", str(files))
    assert run("vendor", "budget", url).exit_code == 0
    assert run("vendor", "budget", "http://127.0.0.1:9").exit_code == 5  # no token of its own, so none
    monkeypatch.delenv("TWINWARD_TOKENS_FILE")
    seen.clear()
    other_file = tmp_path / "other"
    other_file.write_text("twk_second")
    other_file.chmod(0o600)
    each = run(*query, "--token-file", str(one), "--token-file", str(other_file))
    assert each.exit_code == 0, each.output
    assert set(seen) == {"Bearer twk_second"}
    same = run(*query, "--token-file", str(one), "--same-token")
    assert same.exit_code == 0, same.output
    assert seen[-1] == f"Bearer {hospital.vendor_token}"
    three = [part for _ in range(3) for part in ("--token-file", str(one))]
    assert run(*query, *three).exit_code == 2


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"https://a": 1}', '{"a": "t"}', '{"https://a": "t", "https://A/": "u"}']
)
def test_a_file_of_tokens_that_is_none(tmp_path: Path, content: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(content)
    file.chmod(0o600)
    assert run("vendor", "budget", "https://a", "--tokens", str(file)).exit_code == 2


def test_a_hospitals_words_do_not_steer_the_terminal(other: tuple[str, list[str]]) -> None:
    address, _ = other
    for more in ((), ("--json",)):
        done = run("vendor", "schema", address, *more, env={"TWINWARD_TOKEN": "twk_x"})
        assert done.exit_code == 6
        assert not set("\x1b\x07\x9b\u202e") & set(done.output)
        assert "[red]all is well[/]" in done.output
        assert not done.output.startswith("error: [red]")
        assert "\nerror: [red]" not in done.output
    assert json.loads(done.stdout)["error"]["message"].startswith("\x1b]0;owned")  # JSON loses nothing


@pytest.mark.usefixtures("_token")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--feature", "age=9999"), "age is outside 0 to 110 a"),
        (("--feature", "hba1c_percent=66"), "if it is in mmol/mol"),
        (("--feature", "glucose_mg_dl=7.2"), "if it is in mmol/L"),
        (("--feature", "age=-1"), "age is outside"),
        (("--feature", "hba1c_percent=800 mmol/mol"), "hba1c_percent is outside"),
        (("--feature", "age=61 {age}"), "age: {age}, read as 1"),
        (("--feature", "egfr=60 mL/min"), "body surface"),
    ],
    ids=lambda value: None,
)
def test_what_would_be_paid_for_in_vain_is_not_sent(url: str, arguments: tuple[str, ...], message: str) -> None:
    left = run("vendor", "budget", url).stdout
    done = run("vendor", "query", url, "--mode", "gated", *arguments, "--yes")
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert "encrypted bytes" not in done.stderr
    assert run("vendor", "budget", url).stdout == left


class Cutting:
    """Hands requests on to a node; answers to queries are lost as long as it is asked to lose them."""

    def __init__(self, url: str) -> None:
        self.cut = True
        cutting = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                told = httpx.request(
                    self.command, url + self.path, content=body, headers=dict(self.headers), trust_env=False, timeout=60
                )
                if cutting.cut and self.command == "POST":
                    return
                self.send_response(told.status_code)
                self.send_header("content-length", str(len(told.content)))
                self.end_headers()
                self.wfile.write(told.content)

            do_POST = do_GET  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet")
def test_an_answer_that_was_cut_off_is_fetched_from_the_process_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hospital = make_hospital(tmp_path / "node")
    monkeypatch.setenv("TWINWARD_TOKEN", hospital.vendor_token)
    with open_node(hospital.home) as node, served(node) as address:
        way = Cutting(address)
        left = json.loads(run("vendor", "budget", address, "--json").stdout)["remaining"]
        lost = run("vendor", "query", way.url, *QUESTION)
        assert lost.exit_code == 7, lost.output
        query_id = re.search(r"--query-id ([0-9a-f]{32})", lost.stderr.replace("\n", " "))
        assert query_id is not None, lost.stderr
        way.server.shutdown()
        way.server.server_close()
    with open_node(hospital.home) as node, served(node) as address:
        again = run("vendor", "results", address, "--query-id", query_id[1], "--json")
        assert again.exit_code == 0, again.output
        (told,) = json.loads(again.stdout)["results"]
        assert len(told["handles"]) == told["count"] >= 3
        assert told["query_id"] == query_id[1]
        assert told["budget_left"] == left - 1
        assert json.loads(run("vendor", "budget", address, "--json").stdout)["remaining"] == left - 1
        assert json.loads(run("vendor", "results", address, "--json").stdout)["results"] == [told]
        nothing = run("vendor", "results", address, "--query-id", "ab" * 16)
        assert nothing.exit_code == 6
        assert "nothing was charged" in nothing.stderr
        assert run("vendor", "results", address, "--query-id", "x").exit_code == 2
        files = list((hospital.home / "answers").rglob("*.sealed"))
        assert files
        assert not [file for file in files if told["handles"][0].encode() in file.read_bytes()]


def test_answers_are_checked_with_the_hospitals_key(hospital: Hospital, url: str, tmp_path: Path) -> None:
    key = hospital.asked("similarity", "key")["key"]
    env = {"TWINWARD_TOKEN": hospital.vendor_token}
    schema = run("vendor", "schema", url, env=env)
    assert f"signed by the key {key} (seen for the first time" in schema.stdout
    known = run("vendor", "schema", url, "--hospital-key", key, env=env)
    assert "first time" not in known.stdout
    for command in (("schema", url), ("query", url, *QUESTION), ("results", url)):
        refused = run("vendor", *command, "--hospital-key", "ab" * 32, env=env)
        assert refused.exit_code == 6, refused.output
        assert "somebody may stand in between" in refused.stderr


@pytest.mark.usefixtures("_token")
def test_fewer_than_the_minimum_are_not_encrypted_for(url: str) -> None:
    done = run("vendor", "query", url, "--mode", "gated", "--feature", "age=50", "--nearest", "2", "--yes")
    assert done.exit_code == 6, done.output
    assert "ask for the nearest 3; nothing was sent" in done.stderr
    assert "encrypted bytes" not in done.stderr


@pytest.mark.usefixtures("_token")
def test_a_value_beyond_its_range_is_sent_where_it_is_meant(url: str) -> None:
    query = ("vendor", "query", url, "--mode", "gated", "--threshold", "1", "--yes", "--json")
    meant = run(*query, "--feature", "age=9999", "--allow-out-of-range")
    assert meant.exit_code == 0, meant.output
    end = run(*query, "--feature", "age=110")
    assert sorted(json.loads(meant.stdout)["handles"]) == sorted(json.loads(end.stdout)["handles"])


@pytest.mark.slow
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
        node.access.set_consents(
            AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), [(twin, (SIMILARITY_YES,)) for twin in node.twins.all()]
        )
        assert run(*query, "--threshold", "1").exit_code == 0  # the first consents count at once
