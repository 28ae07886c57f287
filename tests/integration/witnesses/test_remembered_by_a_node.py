"""What a node remembers of its witnesses, turned back by storage: not believed, said in the log, nothing lost."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.kept_homes import founded
from twinward.access.interfaces import AccessRequest, Principal
from twinward.audit.proofs.trust import check_proof
from twinward.consortium.witness.health import health_of
from twinward.core.errors import TwinwardError
from twinward.core.vocabulary import Action, Purpose, Role
from twinward.node import Node, open_node
from twinward_ledger.stores.witness_memory import RECORD_AFTER_MS, Standing

OFFICER = Principal("olga", Role.OFFICER)


def said(node: Node) -> list[str]:
    permit = node.access.decide(AccessRequest(OFFICER, Action.AUDIT, Purpose.COMPLIANCE))
    rows = node.audit_reader.events(permit, limit=50).rows
    return [row.event.reason for row in rows if row.event and row.event.action is Action.NOTE]


def test_a_memory_that_was_altered_or_deleted_begins_anew_and_the_log_says_so(tmp_path: Path) -> None:
    home = tmp_path / "node"
    founded(home).close()
    with open_node(home) as node:
        node.audit.checkpoint_and_anchor()
        key = str(node.witnesses[0].key)
        memory = node.audit.anchorer.cosigning.memory
        assert memory is not None
        later = node.clock.now_ms() + RECORD_AFTER_MS
        memory.note(key, Standing.LYING, at_ms=later, reason="a wrong root")
        assert any("is lying: a wrong root" in one for one in said(node))
    with sqlite3.connect(home / "witnesses.db") as db:
        db.execute("UPDATE witnesses SET standing = 'good', reason = ''")
    db.close()
    with open_node(home) as node:
        assert {one.standing for one in health_of(node.audit.anchorer)} <= {Standing.UNKNOWN, Standing.GOOD}
        assert "not believed and begins anew: it was altered" in said(node)[1], "the head stands after it"
        assert any("is lying: a wrong root" in one for one in said(node)), "the alarm stands in the log"
    for path in home.glob("witnesses.db*"):
        path.unlink()
    with open_node(home) as node:
        node.audit.checkpoint_and_anchor()
        assert sum("begins anew" in one for one in said(node)) == 2
        assert all(one.good for one in health_of(node.audit.anchorer)), "witnesses say themselves how far they are"
        node.audit.verify(deep=True)


def test_anchors_that_storage_took_away_or_altered_prove_nothing_false(tmp_path: Path) -> None:
    """Everything in anchors.db is signed by others and held against the chain: to turn it back costs a notice."""
    home = tmp_path / "node"
    founded(home).close()
    with open_node(home) as node:
        said(node)
        outcome = node.audit.checkpoint_and_anchor()
        before = node.audit.proofs.inclusion(0)
        assert before.anchor is not None
    with sqlite3.connect(home / "anchors.db") as db:
        (note,) = db.execute("SELECT note FROM anchors").fetchone()
        lines = note.split(b"\n")
        lines[2] = lines[2].swapcase()  # the root
        db.execute("UPDATE anchors SET note = ?", (b"\n".join(lines),))
    db.close()
    with open_node(home) as node, pytest.raises(TwinwardError):
        check_proof(node.audit.proofs.inclusion(0).encode(), node.trust())
    for path in home.glob("anchors.db*"):
        path.unlink()
    with open_node(home) as node:
        assert node.audit.proofs.inclusion(0).anchor is None, "the checkpoint itself still proves it"
        node.heartbeat()
        again = node.audit.checkpoint_and_anchor()
        assert again.anchor is not None
        assert outcome.anchor is not None
        # the chain says from where the next anchor goes on
        assert again.anchor.statement.size > outcome.anchor.statement.size, (
            "the chain says from where the next anchor goes on"
        )
