"""Whatever is typed: a message, a hint, an exit code of the tree, and never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.cli.conftest import Hospital, run
from twinward.node import open_node

UNKNOWN = "0198c4a2-0000-7000-8000-000000000000"

CASES = [
    (("twin", "show", UNKNOWN, "--as", "dr-lee", "--category", "labs"), 3, "no such twin"),
    (("twin", "show", "../../etc/passwd", "--as", "dr-lee", "--category", "labs"), 3, "no such twin"),
    (("twin", "show", UNKNOWN, "--as", "nobody", "--category", "labs"), 3, "no account 'nobody'"),
    (("twin", "consent", UNKNOWN, "--as", "olga"), 3, "no such twin"),
    (("twin", "import", "/no/such/folder"), 2, "does not exist"),
    (("audit", "list", "--as", "olga", "--decision", "maybe"), 2, "permit or deny"),
    (("audit", "list", "--as", "nobody"), 3, "no account"),
    (("audit", "export", "999999", "--out", "/nowhere.proof"), 3, ""),
    (("audit", "export", "1", "--out", "/no/such/folder/x.proof"), 2, "cannot be written"),
    (("audit", "export", "1", "--out", "/x.proof", "--disclose"), 2, "--as is missing"),
    (("audit", "verify", "--file", "/no/such/log.db"), 3, "no file"),
    (("audit", "check-proof", "/no/such.proof"), 2, "cannot be read"),
    (("study", "check", "/no/such.toml"), 2, "cannot be read"),
    (("study", "card", "../../keyring"), 2, "lower-case"),
    (("study", "card", "never-ran"), 3, "no card"),
    (("keys", "shred", UNKNOWN, "--as", "olga", "--purpose", "PATRQT", "--yes"), 3, "no such twin"),
    (("node", "add-system", "bad id", "--role", "vendor"), 2, "account id"),
    (("node", "add-system", "ward", "--role", "clinician", "--queries", "3"), 2, "only vendors"),
    (("node", "add-person", "x", "--role", "officer", "--password-file", "/no/such"), 2, "cannot be read"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), CASES, ids=lambda value: None)
def test_bad_input_is_answered(hospital: Hospital, arguments: tuple[str, ...], code: int, message: str) -> None:
    done = hospital.run(*arguments)
    assert done.exit_code == code, done.output
    assert "error:" in done.stderr
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(("arguments", "code", "message"), CASES[::5], ids=lambda value: None)
def test_bad_input_is_answered_in_json(hospital: Hospital, arguments: tuple[str, ...], code: int, message: str) -> None:
    told = hospital.asked(*arguments, code=code)["error"]
    assert set(told) == {"kind", "message", "hint"}
    assert message in told["message"]


FILES = [
    (("twin", "consent", "TWIN", "--as", "olga", "--file"), "{not json", "not JSON"),
    (("twin", "consent", "TWIN", "--as", "olga", "--file"), '[{"effect": "maybe"}]', "effect"),
    (("study", "check"), '{"study_id": "x"}', "hospitals"),
    (("study", "check"), "[" * 100_000, "not JSON"),
    (("study", "check"), "[]", "not a JSON object"),
    (("audit", "check-proof"), "c2sp.org/tlog-proof@v1\nextra AAAA\nindex 1\n\nx\n", "not a proof file"),
    (("audit", "verify", "--file"), "not a database", ""),
    (("node", "add-person", "y", "--role", "officer", "--password-file"), "short", "12 characters"),
]


@pytest.mark.parametrize(("arguments", "content", "message"), FILES, ids=lambda value: None)
def test_bad_files_are_answered(
    hospital: Hospital, tmp_path: Path, arguments: tuple[str, ...], content: str, message: str
) -> None:
    file = tmp_path / "file.json"
    file.write_text(content)
    named = [hospital.twins[0] if word == "TWIN" else word for word in arguments]
    done = hospital.run(*named, str(file))
    assert done.exit_code in (2, 7, 8), done.output
    assert message in done.stderr


@pytest.mark.parametrize("command", [("node", "status"), ("twin", "list"), ("keys", "status"), ("study", "models")])
def test_a_home_without_a_node_says_how_to_make_one(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = run(*command, "--home", str(tmp_path / "nothing"))
    assert done.exit_code == 3
    assert "twinward node init" in done.stderr
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("command", [("audit", "check-proof"), ("keys", "check-receipt")])
def test_whoever_checks_a_proof_is_told_of_the_trust_file(tmp_path: Path, command: tuple[str, ...]) -> None:
    proof = tmp_path / "event.proof"
    proof.write_text("c2sp.org/tlog-proof@v1\n")
    done = run(*command, str(proof), "--home", str(tmp_path / "nothing"))
    assert done.exit_code == 3
    assert "--trust FILE" in done.stderr
    assert "node init" not in done.stderr


def test_wrong_settings_name_the_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = run("node", "init", "--home", str(tmp_path / "x"), "--tenant", "Not A Name")
    assert done.exit_code == 2
    assert "tenant" in done.stderr
    monkeypatch.setenv("TWINWARD_QUORUM", "0")
    assert "quorum" in run("node", "init", "--home", str(tmp_path / "x")).stderr


def test_an_unknown_twin_leaves_nothing_behind(hospital: Hospital) -> None:
    before = hospital.asked("keys", "status")
    hospital.run("twin", "show", UNKNOWN, "--as", "dr-lee", "--category", "labs")
    assert hospital.asked("keys", "status") == before
    with open_node(hospital.home) as node:
        assert UNKNOWN not in node.keyring.census().shredded
