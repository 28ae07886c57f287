"""Step 3: accesses are logged before anything is shown; the log is co-signed, anchored, and proof against tampering."""

from __future__ import annotations

import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path

from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessContext, Principal
from twinward.audit.errors import LogTampered
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.demo.accounts import CLINICIAN, VENDOR
from twinward.demo.display import Display
from twinward.demo.result import Reading, Tampering, Witnessed
from twinward.node import Node

_CARE = Purpose.TREATMENT


@dataclass(frozen=True)
class _Attempt:
    """One access somebody tries."""

    who: Principal
    purpose: Purpose
    categories: frozenset[Category]
    wording: str
    justification: str = ""


_ATTEMPTS = (
    _Attempt(CLINICIAN, _CARE, frozenset({Category.LABS}), "reads laboratory results to treat"),
    _Attempt(
        CLINICIAN, _CARE, frozenset({Category.VITALS, Category.CONDITIONS}), "reads vitals and conditions to treat"
    ),
    _Attempt(CLINICIAN, _CARE, frozenset({Category.MEDICATIONS}), "reads medications to treat"),
    _Attempt(CLINICIAN, _CARE, frozenset({Category.PSYCHIATRY}), "asks for psychiatric records without consent"),
    _Attempt(
        CLINICIAN,
        Purpose.EMERGENCY,
        frozenset({Category.PSYCHIATRY, Category.MEDICATIONS}),
        "breaks the glass in an emergency, and will be reviewed",
        "patient found unconscious, overdose suspected",
    ),
    _Attempt(VENDOR, Purpose.SIMILARITY, frozenset({Category.LABS}), "tries to read records directly"),
)


def read_as_clinician(node: Node, display: Display, twins: tuple[TwinId, ...]) -> tuple[Reading, ...]:
    """A day's accesses: some permitted, some refused, all in the log."""
    display.begin("3 · reading twins through the gate", len(_ATTEMPTS))
    readings: list[Reading] = []
    for number, attempt in enumerate(_ATTEMPTS):
        twin = twins[number % len(twins)]
        who = f"{attempt.who.name} ({attempt.who.role.value})"
        try:
            context = AccessContext(attempt.who, attempt.purpose, attempt.justification)
            permit = node.access.decide(context.request(Action.READ, twin, attempt.categories))
            opened = node.vault.read_twin(permit)
            sentence = f"{attempt.wording}: {len(opened)} records opened"
            readings.append(Reading(who, sentence, "permit", permit.log_index))
        except AccessDenied as refusal:
            readings.append(Reading(who, f"{attempt.wording}: {refusal}", "deny", refusal.log_index))
        display.advance()
    permitted = sum(reading.decision == "permit" for reading in readings)
    display.finish(f"{permitted} accesses permitted, {len(readings) - permitted} refused, all logged first")
    return tuple(readings)


def witness_and_anchor(node: Node, display: Display) -> Witnessed:
    """Sign a checkpoint, have the hospitals co-sign it, anchor it through the contract."""
    display.begin("3 · checkpoint, three witnesses over HTTP, anchor", 1)
    before = node.consortium.chain.block_number()
    outcome = node.audit.checkpoint_and_anchor()
    anchor = outcome.anchor
    if anchor is None or anchor.block_number is None:
        raise RuntimeError(f"the embedded chain did not take the anchor: {outcome.problem}")
    gas = node.consortium.chain.gas_used(anchor.block_number)
    display.advance()
    size = outcome.checkpoint.size
    display.finish(f"{size} events under one root, block {before} → {anchor.block_number}, {gas:,} gas")
    return Witnessed(
        size=size,
        root_hex=outcome.checkpoint.root.hex(),
        witnesses=tuple(name.split("/")[1] for name in outcome.cosigned),
        quorum=node.settings.quorum,
        block=anchor.block_number,
        gas=gas,
        contract=node.consortium.addresses.access_anchor,
        gas_per_event=gas / size,
    )


def tamper_with_copy(node: Node, display: Display) -> Tampering:
    """Alter one leaf in a copy of the log's file and let the check name it. The node's own log is not touched."""
    display.begin("3 · a tampered copy is caught", 1)
    size = node.audit.status().signed_size
    victim = size * 2 // 3
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "log.db"
        _copy_database(node.settings.home / "log.db", copy)
        _alter_leaf(copy, victim)
        try:
            node.audit.verify(copy)
            found, say = None, "the altered copy passed unnoticed"
        except LogTampered as caught:
            found, say = caught.first_bad_index, str(caught)
    display.advance()
    display.finish(f"leaf {victim} altered; the check names leaf {found}")
    return Tampering(victim, found, say)


def _copy_database(source: Path, target: Path) -> None:
    original, copy = sqlite3.connect(source), sqlite3.connect(target)
    try:
        original.backup(copy)
    finally:
        original.close()
        copy.close()


def _alter_leaf(path: Path, index: int) -> None:
    """Flip one bit of a leaf, as somebody with the file and a database tool would."""
    database = sqlite3.connect(path)
    try:
        row = database.execute("SELECT leaf FROM leaves WHERE idx = ?", (index,)).fetchone()
        leaf = bytearray(row[0])
        leaf[-1] ^= 1
        database.execute("UPDATE leaves SET leaf = ? WHERE idx = ?", (bytes(leaf), index))
        database.commit()
    finally:
        database.close()
