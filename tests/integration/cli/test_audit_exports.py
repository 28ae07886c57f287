"""`twinward audit` for the auditor: a patient's accesses as files, growth, and the verifier that checks them alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Hospital, run
from twinward_crypto.canonical import canonicalize

STARTS = {
    "proof": b'{"anchor":',
    "csv": b"\xef\xbb\xbfindex,minute,at,",
    "pdf": b"%PDF-",
    "fhir": b'{\n "resourceType": "Bundle"',
}


@pytest.fixture
def signed(hospital: Hospital) -> Hospital:
    assert hospital.run("audit", "checkpoint").exit_code == 0
    return hospital


def export(hospital: Hospital, target: Path, *more: str) -> tuple[str, ...]:
    return ("audit", "export", "--patient", hospital.twins[0], "--out", str(target), "--as", "olga", *more)


@pytest.mark.parametrize("form", STARTS)
def test_a_patients_accesses_in_every_form_and_each_taking_out_is_an_access(
    signed: Hospital, tmp_path: Path, form: str
) -> None:
    target = tmp_path / "out"
    told = signed.asked(*export(signed, target, "--format", form))
    assert target.read_bytes().startswith(STARTS[form])
    assert (told["patient"], told["format"], told["accesses"] > 0) == (signed.twins[0], form, True)
    newest = signed.asked("audit", "list", "--as", "olga", "--twin", signed.twins[0], "--limit", "1")["events"][0]
    assert newest["detail"]["page"] == f"export {form}"
    assert newest["twin"] == signed.twins[0]


def test_the_written_verifier_checks_what_was_exported(signed: Hospital, tmp_path: Path) -> None:
    report, event, trust, tool = (tmp_path / name for name in ("r.json", "e.proof", "trust.json", "twinward-verify"))
    assert "all there are among the first" in signed.run(*export(signed, report)).stdout
    assert signed.run("audit", "export", "1", "--out", str(event)).exit_code == 0
    assert signed.run("audit", "trust", "--out", str(trust)).exit_code == 0
    assert run("audit", "verifier", "--out", str(tool)).exit_code == 0
    assert tool.stat().st_mode & 0o111
    for file in (report, event):
        command = [sys.executable, str(tool), str(file), "--trust", str(trust)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout[:5]) == (0, "HOLDS"), done.stderr
    own = run("audit", "check-proof", str(report), "--trust", str(trust), "--json")
    assert json.loads(own.stdout)["holds"] is True
    assert "accesses to" in signed.run("audit", "check-proof", str(report)).stdout
    short = json.loads(report.read_bytes())
    short["rows"].pop()
    report.write_bytes(canonicalize(short))
    refused = run("audit", "check-proof", str(report), "--trust", str(trust))
    assert refused.exit_code == 8
    assert "rows were left out" in refused.output
    report.write_bytes(b"{}")
    assert run("audit", "check-proof", str(report), "--trust", str(trust)).exit_code == 2


def test_growth_is_proven_to_who_kept_a_receipt(signed: Hospital, tmp_path: Path) -> None:
    first, later, trust, growth = (tmp_path / name for name in ("1.json", "2.json", "trust.json", "growth.json"))
    signed.run(*export(signed, first))
    signed.run("audit", "trust", "--out", str(trust))
    signed.run("audit", "checkpoint")
    signed.run(*export(signed, later))
    script = Path(__file__).parents[3] / "ledger" / "twinward_ledger" / "standalone" / "twinward_verify.py"

    def check(file: Path, *more: str) -> subprocess.CompletedProcess[str]:
        receipt = ("--receipt", str(tmp_path / "receipt"))
        command = [sys.executable, str(script), str(file), "--trust", str(trust), *receipt, *more]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert check(first).returncode == 0
    asked = check(later)
    assert asked.returncode == 2
    old, new = asked.stderr.partition("consistency ")[2].split()[:2]
    assert signed.run("audit", "consistency", old, new, "--out", str(growth)).exit_code == 0
    grown = check(later, "--consistency", str(growth))
    assert (grown.returncode, "continues what you saw last" in grown.stdout) == (0, True), grown.stderr


@pytest.mark.parametrize("wrong", ["01941f29-7c00-7000-8000-00000000dead", "olga", "' OR 1=1 --"])
def test_nobodys_accesses_are_not_exported_as_none(signed: Hospital, tmp_path: Path, wrong: str) -> None:
    """A signed "0 accesses, none was left out" about a mistyped id would be taken for a patient's."""
    target = tmp_path / "out"
    command = ("audit", "export", "--patient", wrong, "--out", str(target), "--as", "olga", "--format")
    for form in (*STARTS, next(iter(STARTS))):  # also once attempts are in the log
        refused = signed.run(*command, form)
        assert (refused.exit_code, target.exists()) == (3, False), refused.output
        assert "no patient of this id" in refused.stderr


def test_what_cannot_be_exported_is_said(signed: Hospital, tmp_path: Path) -> None:
    target = tmp_path / "out"
    patient = signed.twins[0]
    for arguments, code in (
        (("--out", str(target)), 2),
        (("1", "--patient", patient, "--out", str(target), "--as", "olga"), 2),
        (("--patient", patient, "--out", str(target)), 2),
        (("--patient", patient, "--out", str(target), "--as", "dr-lee"), 6),
        (("--patient", patient, "--out", str(target), "--as", "nobody"), 3),
        (("--patient", patient, "--out", str(target), "--as", "olga", "--format", "xls"), 2),
    ):
        assert signed.run("audit", "export", *arguments).exit_code == code, arguments
        assert not target.exists()
    target.write_text("mine")
    for command in (export(signed, target), ("audit", "consistency", "1", "2", "--out", str(target))):
        assert signed.run(*command).exit_code == 4
    assert run("audit", "verifier", "--out", str(target)).exit_code == 4
    assert signed.run("audit", "consistency", "1", "999999", "--out", str(tmp_path / "x")).exit_code == 3
    assert target.read_text() == "mine"


def test_verify_says_how_many_maps_were_built_again(signed: Hospital) -> None:
    told = signed.asked("audit", "verify", "--deep")
    assert told["map_heads"] >= 1
    assert 0 < told["map_covered"] < told["size"]
