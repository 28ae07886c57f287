"""What is shipped of the contracts: complete, small enough to deploy, and made as foundry.toml tests it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

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
    assert {"AccessAnchor", "WitnessSet", "BudgetLedger", "ModelRegistry", "ConsentRegistry", "BreakGlass"} == declared


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
def test_the_freshness_check_passes_and_notices_a_changed_artefact() -> None:
    require("node")
    require("solcjs", install="cd contracts && npm ci")
    command = [sys.executable, "-m", "tests.checks.artefacts"]
    fresh = subprocess.run(command, cwd=CONTRACTS.parent, capture_output=True, text=True, check=False)
    assert fresh.returncode == 0, fresh.stderr
    victim = COMPILED / "ConsentRegistry.json"
    extra = COMPILED / "Stray.json"
    original = victim.read_bytes()
    try:
        victim.write_bytes(original.replace(b"ConsentGranted", b"ConsentGrinted"))
        extra.write_text("{}", encoding="utf-8")
        stale = subprocess.run(command, cwd=CONTRACTS.parent, capture_output=True, text=True, check=False)
    finally:
        victim.write_bytes(original)
        extra.unlink()
    assert stale.returncode == 1
    assert "ConsentRegistry.json is not what src/ compiles to" in stale.stderr
    assert "Stray.json has no source" in stale.stderr
    assert "AccessAnchor" not in stale.stderr
