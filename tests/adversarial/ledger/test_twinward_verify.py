"""``twinward-verify``: alone in an interpreter without Twinward, and against every mutation of a good file."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import venv
from pathlib import Path
from types import ModuleType

import cryptography
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.adversarial.ledger.exports import ANNA, NOBODY, Exports, changed_fields, flipped_bits, resealed
from twinward.audit.errors import ProofRefused
from twinward.audit.proofs.trust import Trust, check_proof, check_report
from twinward.core.errors import BadInput
from twinward_crypto.canonical import canonicalize
from twinward_ledger.formats.note import NoteSigner
from twinward_ledger.formats.policy import QuorumPolicy

SCRIPT = Path(__file__).parents[3] / "ledger" / "twinward_ledger" / "standalone" / "twinward_verify.py"

HOSPITALS_WORD = re.compile(r"anchor: null|anchor/(bitmap|block|transaction).*|.*opening: null")
"""What nothing in a file proves: a hospital that seals it may say so. Anybody else who changes it breaks the seal."""

BLS_SAYS = re.compile(r"anchor/(aggregate|epoch|time|signers).*")
"""What only the BLS signature proves, whose check is off in most tests here."""


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """The verifier as a module, its BLS check off: py_ecc takes a second each time, and the seal covers the rest."""
    spec = importlib.util.spec_from_file_location("alone", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def no_bls(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ModuleType:
        raise ImportError(name)

    monkeypatch.setattr(tool, "importlib", type("NoBls", (), {"import_module": staticmethod(missing)}))


def holds(tool: ModuleType, data: bytes, trust: bytes) -> str:
    """Empty where the verifier refuses; otherwise what it made of the file. No other error may come out of it."""
    try:
        return repr(vars(tool.verify(data, tool.Trust(trust, None))))
    except (tool.Refused, tool.BadInput):
        return ""


def library_holds(data: bytes, trust: Trust) -> bool:
    try:
        check_report(data, trust) if data.startswith(b"{") else check_proof(data, trust)
    except (ProofRefused, BadInput):
        return False
    return True


# --- alone -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, exports: Exports) -> Path:
    """A folder with an interpreter that has ``cryptography`` and its parts, the verifier, the files: nothing else."""
    folder = tmp_path_factory.mktemp("auditor")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    (site,) = (folder / "env" / "lib").glob("python3*/site-packages")
    installed = Path(cryptography.__file__).parent.parent
    for part in ("cryptography", "cffi", "pycparser", *(found.name for found in installed.glob("_cffi_backend*"))):
        if (installed / part).exists():
            (site / part).symlink_to(installed / part)
    (folder / "twinward-verify").write_bytes(SCRIPT.read_bytes())
    for name, data in (
        ("trust.json", exports.trust),
        ("event.tlog-proof", exports.proof),
        ("anna.json", exports.report),
    ):
        (folder / name).write_bytes(data)
    (folder / "later.json").write_bytes(exports.later_report)
    (folder / "growth.json").write_bytes(exports.growth)
    return folder


def run(alone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(alone / "env" / "bin" / "python"), "-I", *arguments]
    return subprocess.run(command, cwd=alone, capture_output=True, text=True, timeout=60, check=False)


def test_twinward_is_not_there(alone: Path) -> None:
    for module in ("twinward", "twinward_ledger", "twinward_crypto", "py_ecc"):
        assert "ModuleNotFoundError" in run(alone, "-c", f"import {module}").stderr


def test_good_files_hold_and_what_was_not_checked_is_said(alone: Path) -> None:
    event = run(alone, "twinward-verify", "event.tlog-proof", "--trust", "trust.json")
    assert (event.returncode, event.stderr) == (0, "")
    assert "dr-osei (clinician) read for TREAT" in event.stdout
    assert "NOT checked here: that needs the package py_ecc" in event.stdout
    report = run(alone, "twinward-verify", "anna.json", "--trust", "trust.json")
    assert (report.returncode, report.stderr) == (0, "")
    assert "2 accesses, all there are among the first 6 entries" in report.stdout
    told = json.loads(run(alone, "twinward-verify", "anna.json", "--trust", "trust.json", "--json").stdout)
    assert [row["index"] for row in told["rows"]] == [0, 3]


def test_a_dropped_row_is_refused_in_words(alone: Path, exports: Exports) -> None:
    report = json.loads(exports.report)
    report["rows"].pop()
    (alone / "short.json").write_bytes(canonicalize(report))
    answer = run(alone, "twinward-verify", "short.json", "--trust", "trust.json")
    assert answer.returncode == 8
    assert answer.stderr == ("DOES NOT HOLD: the log counts 2 accesses, the report shows 1: rows were left out\n")


def test_a_receipt_is_kept_and_held_against_the_next_visit(alone: Path, exports: Exports) -> None:
    files = ("--trust", "trust.json", "--receipt", "receipt.json")
    first = run(alone, "twinward-verify", "anna.json", *files)
    assert "first visit" in first.stdout
    kept = (alone / "receipt.json").read_text()
    assert "continues what you saw last" in run(alone, "twinward-verify", "event.tlog-proof", *files).stdout
    asked = run(alone, "twinward-verify", "later.json", *files)
    assert asked.returncode == 2
    assert "twinward audit consistency 7 9" in asked.stderr
    grown = run(alone, "twinward-verify", "later.json", *files, "--consistency", "growth.json")
    assert (grown.returncode, grown.stderr) == (0, "")
    assert json.loads((alone / "receipt.json").read_text())["size"] == 9
    older = run(alone, "twinward-verify", "anna.json", *files, "--consistency", "growth.json")
    assert "you saw 3 rows of this patient before, now 2" in older.stderr
    told = json.loads(kept)
    for changed, says in (
        ({"root": told["root"].replace(told["root"][:4], "AAAA")}, "rewritten"),
        ({"key": "00" * 32}, "another log"),
        ({"subjects": {ANNA: {"count": 1, "root": told["root"]}}}, "rows that you saw before are gone or were changed"),
    ):
        (alone / "receipt.json").write_text(json.dumps(told | changed))
        answer = run(alone, "twinward-verify", "later.json", *files, "--consistency", "growth.json")
        assert (answer.returncode, says in answer.stderr) == (8, True), answer.stderr
    (alone / "receipt.json").write_text(kept)
    for number, bad in enumerate(flipped_bits(exports.growth, 41)):
        (alone / "bad.json").write_bytes(bad)
        if number % 6 == 0:
            assert run(alone, "twinward-verify", "later.json", *files, "--consistency", "bad.json").returncode == 8
    assert (alone / "receipt.json").read_text() == kept


def test_bad_input_is_said_in_one_line(alone: Path) -> None:
    for arguments in (
        ("absent.json", "--trust", "trust.json"),
        ("trust.json", "--trust", "anna.json"),
        ("anna.json", "--trust", "trust.json", "--policy", "trust.json"),
        ("anna.json", "--trust", "trust.json", "--receipt", "trust.json"),
        ("twinward-verify", "--trust", "trust.json"),
    ):
        answer = run(alone, "twinward-verify", *arguments)
        assert (answer.returncode, answer.stderr.count("\n"), answer.stderr[:6]) == (2, 1, "error:"), answer.stderr


# --- whom it believes --------------------------------------------------------------------------------------------


def test_the_anchors_bls_signature_is_checked_where_py_ecc_is(tool: ModuleType, exports: Exports) -> None:
    told = tool.verify(exports.proof, tool.Trust(exports.trust, None))
    assert told.anchor.endswith("3 witnesses signed it")
    forged = next(data for where, data in changed_fields(exports.proof) if where == "anchor/time: one more")
    with pytest.raises(tool.Refused, match="aggregate signature"):
        tool.verify(resealed(forged), tool.Trust(exports.trust, None))


@pytest.mark.usefixtures("no_bls")
def test_others_keys_chains_and_quorums_are_refused(tool: ModuleType, exports: Exports) -> None:
    told = json.loads(exports.trust)
    stranger = NoteSigner("stranger", bytes(32))
    for changed in (
        {"log": str(NoteSigner(told["log"].split("+")[0], bytes(32)).key)},
        {"quorum": 4},
        {"witnesses": [str(stranger.cosigner_key)] * 3},
        {"witnesses": told["witnesses"][:1]},
        {"chain_id": 1},
        {"contract": "00" * 20},
        {"bls_keys": told["bls_keys"][:2]},
    ):
        for data in (exports.proof, exports.report):
            with pytest.raises(tool.Refused):
                tool.verify(data, tool.Trust(json.dumps(told | changed).encode(), None))


@pytest.mark.usefixtures("no_bls")
def test_a_replaced_key_counts_up_to_its_size_only(tool: ModuleType, exports: Exports) -> None:
    """With the checkpoint's key replaced at one size or another; the library and the tool agree."""
    told = json.loads(exports.trust)
    old, name = told["log"], told["log"].split("+")[0]
    new, third = (str(NoteSigner(name, bytes([number]) * 32).key) for number in (1, 2))
    size = tool.verify(exports.proof, tool.Trust(exports.trust, None)).checkpoint.size
    for log, earlier, holds_it in (
        (new, [(old, size + 1)], True),
        (new, [(old, size)], True),
        (new, [(old, size - 1)], False),  # beyond its size: the key was stolen
        (old, [(new, size)], True),
        (old, [(new, size + 1)], False),  # dated back to before it counts
        (third, [(new, size - 1), (old, size + 5)], True),
        (third, [(old, size - 1), (new, size + 5)], False),
        (third, [(new, size + 5)], False),
    ):
        trust = told | {"log": log, "earlier": [{"log": key, "until": until} for key, until in earlier]}
        encoded = json.dumps(trust).encode()
        for data in (exports.proof, exports.report):
            assert library_holds(data, Trust.parse(encoded)) is holds_it, (log, earlier)
            assert bool(holds(tool, data, encoded)) is holds_it, (log, earlier)
    stranger = str(NoteSigner("stranger", bytes(32)).key)
    for earlier in ([(old, 0)], [(new, 5)], [(old, 5), (third, 5)], [(old, 9), (third, 5)], [(stranger, 5)]):
        trust = told | {"log": new, "earlier": [{"log": key, "until": until} for key, until in earlier]}
        assert not holds(tool, exports.proof, json.dumps(trust).encode())
        with pytest.raises(BadInput):
            Trust.parse(json.dumps(trust).encode()).policy()


@pytest.mark.usefixtures("no_bls")
def test_a_quorum_policy_decides_instead(tool: ModuleType, exports: Exports) -> None:
    told = json.loads(exports.trust)
    log, (one, two, three) = told["log"], told["witnesses"]
    names = f"log {log}\nwitness a {one}\nwitness b {two}\nwitness c {three}\n"
    stranger = f"witness d {NoteSigner('stranger', bytes(32)).cosigner_key}\n"
    for good in ("group g 2 a b c\nquorum g\n", "quorum a\n", "group g all a b\ngroup h any g c\nquorum h\n"):
        QuorumPolicy.parse((names + good).encode())
        assert tool.verify(exports.report, tool.Trust(exports.trust, (names + good).encode())).subject == ANNA
    for bad in ("quorum d\n", "group g all a d\nquorum g\n"):
        with pytest.raises(tool.Refused, match="cosigned"):
            tool.verify(exports.report, tool.Trust(exports.trust, (names + stranger + bad).encode()))
    for malformed in (
        "",
        "quorum none\n",
        "group g 4 a b c\nquorum g\n",
        "quorum x\n",
        "nonsense\n",
        "quorum a\nquorum b\n",
    ):
        with pytest.raises(tool.BadInput):
            tool.Trust(exports.trust, (names + malformed).encode())


# --- mutations ---------------------------------------------------------------------------------------------------

KINDS = ("proof", "closed proof", "report", "erased report", "empty report")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("no_bls")
def test_every_kind_of_file_holds(tool: ModuleType, exports: Exports, kind: str) -> None:
    data = exports.files()[kind]
    assert holds(tool, data, exports.trust)
    assert library_holds(data, Trust.parse(exports.trust))
    assert resealed(data) == data  # Ed25519 is deterministic: the tests' seal is the log's
    assert NOBODY in exports.empty_report.decode()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("no_bls")
def test_flipped_bits_are_refused(tool: ModuleType, exports: Exports, kind: str) -> None:
    trust = Trust.parse(exports.trust)
    for number, bad in enumerate(flipped_bits(exports.files()[kind], 5)):
        assert not holds(tool, bad, exports.trust)
        assert number % 27 or not library_holds(bad, trust)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("no_bls")
def test_changed_fields_are_refused(tool: ModuleType, exports: Exports, kind: str) -> None:
    trust, seen = Trust.parse(exports.trust), 0
    for number, (where, bad) in enumerate(changed_fields(exports.files()[kind])):
        assert not holds(tool, bad, exports.trust), where
        assert number % 9 or not library_holds(bad, trust), where
        seen += 1
    assert seen > 60


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("no_bls")
def test_changed_fields_are_refused_even_under_the_hospitals_own_seal(
    tool: ModuleType, exports: Exports, kind: str
) -> None:
    """The proofs refuse what the seal would let pass; what they cannot know is named."""
    for where, bad in changed_fields(exports.files()[kind]):
        spoiled = resealed(bad)
        if spoiled == exports.files()[kind]:
            continue  # the change was in the seal
        unproven = HOSPITALS_WORD.fullmatch(where) or BLS_SAYS.fullmatch(where)
        # of nobody there are many: that another stranger was never accessed is just as true
        another_nobody = kind == "empty report" and where.startswith("subject")
        assert unproven or another_nobody or not holds(tool, spoiled, exports.trust), where


@given(st.data())
def test_random_edits_are_refused(tool: ModuleType, exports: Exports, data: st.DataObject) -> None:
    good = exports.files()[data.draw(st.sampled_from(KINDS))]
    start = data.draw(st.integers(0, len(good)))
    stop = data.draw(st.integers(start, min(len(good), start + 40)))
    bad = good[:start] + data.draw(st.binary(max_size=40)) + good[stop:]
    if bad != good:
        import_module = tool.importlib.import_module
        tool.importlib = type("NoBls", (), {"import_module": staticmethod(_missing)})
        try:
            assert not holds(tool, bad, exports.trust)
        finally:
            tool.importlib = type("Bls", (), {"import_module": staticmethod(import_module)})


def _missing(name: str) -> ModuleType:
    raise ImportError(name)


def test_python_runs_it_as_it_is(exports: Exports, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_bytes(exports.trust)
    (tmp_path / "r.json").write_bytes(exports.empty_report)
    command = [sys.executable, str(SCRIPT), str(tmp_path / "r.json"), "--trust", str(tmp_path / "t.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "0 accesses, all there are" in done.stdout
