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
    (("audit", "verify", "--file", "-"), 2, "save it to a file first"),
    (("audit", "verify", "--file", "/dev/null"), 2, "a copy of log.db is a file"),
    (("node", "restore", "/no/such.twbackup"), 3, "no file"),
    (("node", "restore", "-"), 2, "a backup is a file"),
    (("node", "restore", "/"), 2, "a backup is a file"),
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
    file.chmod(0o600)
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


SECRETS = [
    ("node", "add-person", "y", "--role", "officer", "--password-file"),
    ("account", "reset-password", "olga", "--password-file"),
    ("keys", "seal", "--yes", "--shares-from"),
    ("keys", "unseal", "--shares-from"),
    ("vendor", "keygen", "never.keys", "--passphrase-file"),
    ("vendor", "budget", "http://127.0.0.1:9", "--token-file"),
    ("vendor", "budget", "http://127.0.0.1:9", "--tokens"),
    ("twin", "watch", "http://127.0.0.1:9", "--token-file"),
    ("disclosure", "public", "--out", "never.public", "--keys", "never.keys", "--passphrase-file"),
]


@pytest.mark.parametrize("arguments", SECRETS, ids=" ".join)
def test_a_file_with_a_secret_that_others_may_read_is_refused(
    hospital: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "secret"
    file.write_text("a secret that is long enough")
    for mode in (0o644, 0o640, 0o604):
        file.chmod(mode)
        ours = arguments[0] in ("node", "account", "keys")
        done = hospital.run(*arguments, str(file)) if ours else run(*arguments, str(file))
        assert done.exit_code == 2, done.output
        assert "can be read by others" in done.stderr
        assert f"chmod 600 {file}" in done.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["secret"]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"tenant = ", b"tenant = 5"], ids=["no text", "no TOML", "a number"])
def test_a_settings_file_that_is_none_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "twinward.toml").write_bytes(content)
    done = run("node", "status", "--home", str(tmp_path))
    assert done.exit_code == 2, done.output
    assert "twinward.toml" in done.stderr


@pytest.mark.parametrize("name", ["MODES", "WITNESSES", "TRUSTED_PROXIES", "PRINT_FONTS"])
def test_a_list_in_the_environment_that_is_none_is_named(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"TWINWARD_{name}", "one,two")
    told = hospital.asked("node", "status", code=2)["error"]
    assert name.lower() in told["message"]
    assert f"TWINWARD_{name}='[" in told["hint"]
