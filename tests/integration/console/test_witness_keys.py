"""The verify page names each witness with its whole key, and says which one is down, behind or lying."""

from __future__ import annotations

import base64
from pathlib import Path
from types import SimpleNamespace

from twinward.console import health
from twinward.overview import status
from twinward_ledger.anchoring.anchorer import Anchorer
from twinward_ledger.formats.note import NoteSigner
from twinward_ledger.log.log import Log
from twinward_ledger.stores.anchor_journal import AnchorJournal
from twinward_ledger.stores.sqlite import SqliteLogStore
from twinward_ledger.stores.witness_memory import Standing, WitnessMemory
from twinward_ledger.testing.consortium import StillClock


def node_with(folder: Path, count: int) -> SimpleNamespace:
    """As much of a node as the page needs: a log and witnesses that were never asked."""
    signers = [NoteSigner(f"twinward.example/h{n}/witness", bytes([n]) * 32) for n in range(1, count + 1)]
    log = Log(SqliteLogStore(folder / "log.db"), NoteSigner("log.example", b"\xff" * 32))
    peers = [SimpleNamespace(key=one.cosigner_key) for one in signers]
    memory = WitnessMemory(folder / "witnesses.db")
    journal = AnchorJournal(folder / "anchors.db")
    anchorer = Anchorer(log, peers, 2, journal, StillClock(), memory=memory)  # type: ignore[arg-type]
    return SimpleNamespace(log=log, audit=SimpleNamespace(anchorer=anchorer, log=log), signers=signers, memory=memory)


def close(node: SimpleNamespace) -> None:
    node.audit.anchorer.close()
    node.audit.anchorer.journal.close()
    node.log.store.close()


def test_a_key_is_shown_whole(tmp_path: Path) -> None:
    node = node_with(tmp_path, 59)
    shown = health.witnesses(status.witnesses(node.audit))
    assert any("+" in row["key"] for row in shown)
    for row, signer in zip(shown, node.signers, strict=True):
        assert base64.b64decode(row["key"])[1:] == signer.key.public_key
    close(node)


def test_who_is_down_behind_or_lying_is_said(tmp_path: Path) -> None:
    node = node_with(tmp_path, 4)
    assert health.alerts(status.failing_witnesses(node.audit), (), 0) == []
    keys = [str(one.cosigner_key) for one in node.signers]
    node.memory.note(keys[0], Standing.GOOD, at_ms=0, size=5)
    node.memory.note(keys[1], Standing.DOWN, at_ms=1_767_225_600_000, reason="cannot be reached")
    node.memory.note(keys[1], Standing.DOWN, at_ms=1_767_225_900_000, reason="cannot be reached")
    node.memory.note(keys[2], Standing.LYING, at_ms=1_767_225_600_000, reason="a signature that does not verify")
    said = health.alerts(status.failing_witnesses(node.audit), (), 0)
    assert [one["kind"] for one in said] == ["warn", "bad"]
    assert said[0]["say"] == ("twinward.example/h2/witness is down since 2026-01-01 00:00 UTC: cannot be reached.")
    assert "h3/witness is lying since" in said[1]["say"]
    assert [row["kind"] for row in health.witnesses(status.witnesses(node.audit))] == ["good", "warn", "bad", "warn"]
    close(node)
