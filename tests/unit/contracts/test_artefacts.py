"""What is shipped of the contracts: complete, small enough to deploy, and made as foundry.toml tests it."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from tests.checks import artefacts as freshness
from tests.tools import require
from twinward_contracts import artefacts

CONTRACTS = Path(__file__).resolve().parents[3] / "contracts"
COMPILED = CONTRACTS / "twinward_contracts" / "compiled"
MOST_CODE_BYTES = 24_576  # EIP-170; creation code is allowed twice that (EIP-3860)


def test_every_contract_with_a_source_is_shipped() -> None:
    declared = {
        name
        for path in (CONTRACTS / "src").glob("*.sol")
        for name in re.findall(r"^contract (\w+)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }
    assert set(artefacts.names()) == declared
    assert {
        "AccessAnchor",
        "WitnessSet",
        "BudgetLedger",
        "ModelRegistry",
        "BreakGlass",
        "ResourceExchange",
        "OutbreakAlert",
    } == declared


@pytest.mark.parametrize("name", artefacts.names())
def test_an_artefact_is_whole(name: str) -> None:
    artefact = artefacts.load(name)
    assert artefact.name == name
    assert 100 < len(artefact.bytecode) < MOST_CODE_BYTES
    assert any(entry["type"] == "error" for entry in artefact.abi)
    assert any(entry["type"] == "function" for entry in artefact.abi)
    assert artefacts.load(name) is artefact


@pytest.mark.parametrize("name", ["", "Nothing", "../AccessAnchor", "accessanchor", "AccessAnchor.json"])
def test_an_unknown_name_says_what_there_is(name: str) -> None:
    with pytest.raises(artefacts.UnknownArtefact, match="AccessAnchor"):
        artefacts.load(name)


def test_forge_tests_what_is_shipped() -> None:
    """build.mjs and foundry.toml must not drift apart."""
    foundry = tomllib.loads((CONTRACTS / "foundry.toml").read_text(encoding="utf-8"))["profile"]["default"]
    for path in COMPILED.glob("*.json"):
        settings = json.loads(path.read_text(encoding="utf-8"))["settings"]
        assert settings == {
            "evmVersion": foundry["evm_version"],
            "viaIR": foundry["via_ir"],
            "optimizer": {"enabled": foundry["optimizer"], "runs": foundry["optimizer_runs"]},
            "metadata": {"bytecodeHash": foundry["bytecode_hash"], "appendCBOR": foundry["cbor_metadata"]},
        }


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((CONTRACTS / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    assert all("resolved" not in entry for entry in packages.values())
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())


def test_solidity_vectors_are_what_their_generator_writes() -> None:
    from tests.vectors import bls_solidity

    assert bls_solidity.TARGET.read_text(encoding="utf-8") == bls_solidity.generate()


@pytest.mark.slow
def test_the_freshness_check_passes_and_notices_a_changed_artefact(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require("node")
    require("solcjs", install="cd contracts && npm ci")
    shutil.copy(CONTRACTS / "build.mjs", tmp_path)
    shutil.copytree(CONTRACTS / "src", tmp_path / "src")
    shutil.copytree(COMPILED, tmp_path / "twinward_contracts" / "compiled")
    (tmp_path / "node_modules").symlink_to(CONTRACTS / "node_modules")
    assert freshness.main(tmp_path) == 0, capsys.readouterr().err
    compiled = tmp_path / "twinward_contracts" / "compiled"
    victim = compiled / "BreakGlass.json"
    victim.write_bytes(victim.read_bytes().replace(b"GlassBroken", b"GlassBrokan"))
    (compiled / "Stray.json").write_text("{}", encoding="utf-8")
    assert freshness.main(tmp_path) == 1
    said = capsys.readouterr().err
    assert "BreakGlass.json is not what src/ compiles to" in said
    assert "Stray.json has no source" in said
    assert "AccessAnchor" not in said


def test_the_freshness_check_says_what_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert freshness.main(tmp_path) == 1
    assert "npm ci" in capsys.readouterr().err


def test_every_finding_of_slither_that_is_suppressed_has_its_reason_above() -> None:
    suppressed = 0
    for path in (CONTRACTS / "src").glob("*.sol"):
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        for number, line in enumerate(lines):
            if "slither-disable" in line:
                suppressed += 1
                assert line.startswith("// slither-disable-next-line "), (
                    f"{path.name}:{number + 1}: one finding at a time"
                )
                assert re.match(r"// \w.{20,}\.$", lines[number - 1]), f"{path.name}:{number + 1}: no reason above"
    assert suppressed > 0
    assert not json.loads((CONTRACTS / "slither.config.json").read_text(encoding="utf-8")).get("detectors_to_exclude")
