"""``node status`` says again what it said where nothing changed, and nothing stale where anything did."""

from __future__ import annotations

import time
from pathlib import Path

from tests.integration.cli.conftest import Hospital
from twinward.node import open_node
from twinward.overview.status_note import NOTE_FILE


def settled(hospital: Hospital) -> None:
    """Nothing of the home was changed within the last moment."""
    time.sleep(0.1)


def test_what_another_process_did_is_in_the_next_status(hospital: Hospital) -> None:
    settled(hospital)
    first = hospital.asked("node", "status")
    again = hospital.asked("node", "status")
    assert again == first
    assert f"(as of {first['as_of'][:16]})" in hospital.run("node", "status").output
    assert first["vendors"] == [{"id": "acme", "queries_left": 12}]

    with open_node(hospital.home) as node:  # on the chain alone: not a byte of anything else
        node.consortium.grant_queries("acme", 41)
        told = hospital.asked("node", "status")  # while the other still has it open
    assert told["vendors"] == [{"id": "acme", "queries_left": 41}]
    assert told["as_of"] > first["as_of"]
    settled(hospital)
    known = hospital.asked("node", "status")
    assert hospital.asked("node", "status") == known

    assert hospital.run("account", "new-token", "dr-lee").exit_code == 0
    grown = hospital.asked("node", "status")
    assert grown["log"]["size"] > known["log"]["size"]


def test_no_answer_is_kept_of_a_node_that_is_not_whole(hospital: Hospital, tmp_path: Path) -> None:
    settled(hospital)
    assert hospital.run("node", "status").exit_code == 0
    assert (hospital.home / NOTE_FILE).exists()
    chain = hospital.home / "chain.db"
    aside = chain.rename(tmp_path / "chain.db")
    for _ in range(2):
        assert hospital.asked("node", "status", code=7)["error"]
        settled(hospital)
    aside.rename(chain)
    assert hospital.run("node", "status").exit_code == 0
