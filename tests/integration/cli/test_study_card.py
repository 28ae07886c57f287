"""A card is shown only if the ledger registered it."""

from __future__ import annotations

import hashlib
import json

from tests.held_keys import HeldKeysBudget
from tests.integration.cli.conftest import Hospital
from twinward.federation.models import COHORT
from twinward.node import open_node


def test_a_card_is_held_against_the_ledger(hospital: Hospital) -> None:
    folder = hospital.home / "models"
    folder.mkdir()
    card, model = folder / "sepsis-1.card.json", folder / "sepsis-1.model"
    fingerprint = b"p" * 32
    written = f'{{"study":"sepsis-1","protocol_sha256":"{fingerprint.hex()}"}}'
    card.write_text(written)
    model.write_bytes(b"weights")
    assert hospital.run("study", "card", "sepsis-1").exit_code == 4
    with open_node(hospital.home) as node:
        hashes = [hashlib.sha256(path.read_bytes()).digest() for path in (model, card)]
        budget = HeldKeysBudget(node.consortium.budgets, node.consortium.keys)
        node.consortium.cap_privacy(node.settings.tenant, COHORT, 1000)
        paid = budget.reserve(fingerprint, [node.settings.tenant], 100)
        budget.commit(paid)
        node.consortium.models.register(paid, *hashes, 2_999_000, 10_000_000)
    shown = hospital.asked("study", "card", "sepsis-1")
    assert shown["card"] == json.loads(written)
    assert (shown["registered"]["reservation"], shown["registered"]["paid_micros"]) == (1, 100)
    assert shown["registered"]["epsilon"] == 2.999
    assert hospital.asked("study", "models")["models"][0]["model_sha256"] == hashes[0].hex()
    model.write_bytes(b"other weights")
    assert hospital.run("study", "card", "sepsis-1").exit_code == 4
    model.write_bytes(b"weights")
    card.write_text(written.replace("}", ',"epsilon":0.1}'))
    altered = hospital.run("study", "card", "sepsis-1")
    assert altered.exit_code == 4
    assert "altered" in altered.stderr
    card.unlink()
    model.unlink()
    folder.rmdir()
