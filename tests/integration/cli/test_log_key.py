"""``keys rotate-log`` over a whole node: proofs, trust, verifiers, backups and the status before and after it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Hospital, make_hospital
from twinward.audit.errors import LogTampered
from twinward.node import open_node
from twinward_ledger.formats.note import VerifierKey
from twinward_ledger.log.log import Log
from twinward_ledger.standalone import twinward_verify

ROTATE = ("keys", "rotate-log", "--as", "olga")


@pytest.fixture
def own(tmp_path: Path) -> Hospital:
    """A node of this test's own."""
    return make_hospital(tmp_path / "node", consenting=False)


def logged(hospital: Hospital) -> list[dict[str, object]]:
    return [one for one in hospital.asked("audit", "list", "--as", "olga")["events"] if one.get("action") == "audit"]


def test_a_dry_run_changes_nothing_and_names_the_key_that_comes(own: Hospital) -> None:
    before = own.asked("node", "status")["log"]
    plan = own.asked(*ROTATE, "--dry-run")
    assert plan["before"] == before["key"]
    assert (plan["done"], plan["witnesses"]) == (False, [])
    assert own.asked("node", "status")["log"] == before
    done = own.asked(*ROTATE, "--yes")
    assert (done["before"], done["after"], done["waits"]) == (plan["before"], plan["after"], "")
    again = own.asked(*ROTATE, "--dry-run")
    assert again["before"] == plan["after"]
    assert again["after"] not in (plan["before"], plan["after"])


@pytest.mark.slow
def test_proofs_from_before_and_after_hold_under_a_new_trust_file(own: Hospital, tmp_path: Path) -> None:
    old_proof, old_trust = tmp_path / "old.proof", tmp_path / "old.trust"
    assert own.run("audit", "export", "0", "--out", str(old_proof)).exit_code == 0
    assert own.run("audit", "trust", "--out", str(old_trust)).exit_code == 0
    done = own.asked(*ROTATE, "--yes")
    own.asked("audit", "list", "--as", "olga")
    own.asked("audit", "checkpoint")
    trust, new_proof, report = tmp_path / "new.trust", tmp_path / "new.proof", tmp_path / "report.json"
    assert own.run("audit", "trust", "--out", str(trust)).exit_code == 0
    told = json.loads(trust.read_text())
    assert told["log"] == done["after"]
    assert told["earlier"] == [{"log": done["before"], "until": done["size"]}]
    assert "earlier" not in json.loads(old_trust.read_text())
    last = own.asked("node", "status")["log"]["signed"] - 1
    assert own.run("audit", "export", str(last), "--out", str(new_proof)).exit_code == 0
    exported = own.run(
        "audit", "export", "--patient", own.twins[0], "--as", "olga", "--format", "proof", "--out", str(report)
    )
    assert exported.exit_code == 0, exported.output
    again = tmp_path / "again.proof"  # of an event that the old key's checkpoint covers, sealed with the new one
    assert own.run("audit", "export", "0", "--out", str(again)).exit_code == 0
    policy = tmp_path / "policy"
    policy.write_text(own.run("audit", "policy").stdout)
    for proof in (old_proof, new_proof, report, again):
        checked = own.run("audit", "check-proof", str(proof), "--trust", str(trust), "--policy", str(policy))
        assert checked.exit_code == 0, (proof, checked.output)
        alone = subprocess.run(
            [sys.executable, twinward_verify.__file__, str(proof), "--trust", str(trust)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert alone.returncode == 0, (proof, alone.stdout, alone.stderr)
    assert own.run("audit", "check-proof", str(new_proof), "--trust", str(old_trust)).exit_code == 8
    assert own.run("audit", "verify", "--deep").exit_code == 0
    tiles = tmp_path / "tiles"
    assert own.run("audit", "tiles", "--out", str(tiles)).exit_code == 0
    assert VerifierKey.parse(done["after"]).name in (tiles / "checkpoint").read_text()


def test_who_did_it_stands_in_the_log_and_a_clinician_may_not(own: Hospital) -> None:
    assert own.run("keys", "rotate-log", "--as", "dr-lee", "--yes").exit_code == 6
    done = own.asked(*ROTATE, "--yes")
    assert own.asked("node", "status")["log"]["key"] == done["after"]
    (event,) = [one for one in logged(own) if one["detail"].get("page") == "log key" and one["decision"] == "permit"]
    assert event["agent"] == "olga"
    assert (event["detail"]["key_before"], event["detail"]["key_after"]) == (done["before"], done["after"])


@pytest.mark.slow
def test_a_backup_from_before_is_refused_after_it_and_one_from_after_goes_on(own: Hospital, tmp_path: Path) -> None:
    before, after = tmp_path / "before.twbackup", tmp_path / "after.twbackup"
    assert own.run("node", "backup", str(before)).exit_code == 0
    done = own.asked(*ROTATE, "--yes")
    own.asked("audit", "list", "--as", "olga")
    own.asked("audit", "checkpoint")
    assert own.run("node", "backup", str(after)).exit_code == 0
    refused = own.run("node", "restore", str(before), "--replace", "--yes")
    assert refused.exit_code == 4, refused.output
    assert own.asked("node", "status")["log"]["key"] == done["after"], "nothing was replaced"
    restored = own.run("node", "restore", str(after), "--replace", "--yes")
    assert restored.exit_code == 0, restored.output
    assert own.asked("node", "status")["log"]["key"] == done["after"]
    own.asked("audit", "checkpoint")
    assert own.run("audit", "verify", "--deep").exit_code == 0


def test_a_log_file_put_back_from_before_the_change_is_refused(own: Hospital, tmp_path: Path) -> None:
    """What anchors.db holds is signed with a key this older copy does not know, and cosigned by its witnesses."""
    shutil.copytree(own.home, tmp_path / "copy")
    own.asked(*ROTATE, "--yes")
    own.asked("audit", "list", "--as", "olga")
    own.asked("audit", "checkpoint")
    for path in own.home.glob("log.db*"):
        path.unlink()
    for path in (tmp_path / "copy").glob("log.db*"):
        shutil.copy2(path, own.home)
    with pytest.raises(LogTampered, match="older copy"), open_node(own.home):
        pass


def test_where_it_is_cut_short_the_key_before_is_in_force(own: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    before = own.asked("node", "status")["log"]["key"]

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Log, "change_key", cut)
        assert own.run(*ROTATE, "--yes").exit_code != 0
    assert own.asked("node", "status")["log"]["key"] == before
    own.asked("audit", "checkpoint")
    with monkeypatch.context() as patch:
        patch.setattr("twinward_ledger.anchoring.anchorer.Anchorer.advance", cut)
        assert own.run(*ROTATE, "--yes").exit_code != 0
    after = own.asked("node", "status")["log"]
    assert after["key"] != before
    own.asked("audit", "checkpoint")
    assert own.asked("node", "status")["log"]["cosigned"] == after["witnesses"]
