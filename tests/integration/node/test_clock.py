"""A clock that is far ahead, or was: nothing is signed by it, nothing stops for long, and the way out is in the log."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.command_line import PROGRAM
from twinward.access.interfaces import AccessRequest, Principal
from twinward.audit.errors import ClockNotBelieved
from twinward.core.clock import FixedClock
from twinward.core.config import Settings
from twinward.core.vocabulary import Action, Purpose, Role
from twinward.node import Node, create_node, open_node
from twinward_ledger.anchoring.clock_doubt import MAX_LEAP_S
from twinward_ledger.errors import WitnessRefused
from twinward_ledger.formats.cosignature import AnchorDomain
from twinward_ledger.witness.interfaces import Proposal
from twinward_ledger.witness.witness import MAX_SKEW_S

DAY_MS = 86_400_000
NOW_MS = int(time.time()) * 1000
OLGA = Principal("olga", Role.OFFICER, "Olga Officer", "data office")
WHY = ("--as", "olga", "--yes", "--justification", "off for a quarter, and the clock was compared with another")


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Homes to copy: one whose log was signed now, and one whose log was signed when its clock was 20 days ahead."""
    folder = tmp_path_factory.mktemp("clock")
    new, right, ahead = (folder / name for name in ("new", "right", "ahead"))
    settings = Settings(home=new, witnesses=("st-anna", "northgate"), quorum=2)
    node = create_node(settings, clock=FixedClock(NOW_MS))
    node.accounts.add_person(OLGA, "correct horse battery")
    node.heartbeat()
    node.close()
    for home, at_ms in ((right, NOW_MS), (ahead, NOW_MS + 20 * DAY_MS)):
        shutil.copytree(new, home)
        with node_at(home, at_ms) as node:
            node.audit.checkpoint_and_anchor()
            node.heartbeat()
    return {"new": new, "right": right, "ahead": ahead}


@pytest.fixture
def home_of(templates: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a template."""
    return lambda name: Path(shutil.copytree(templates[name], tmp_path / name))


HomeOf = Callable[[str], Path]


@contextmanager
def node_at(home: Path, at_ms: int) -> Iterator[Node]:
    """The node in a home, on a machine whose clock says ``at_ms``."""
    with open_node(home, clock=FixedClock(at_ms)) as node:
        yield node


def signed(node: Node) -> int:
    latest = node.log.latest()
    return latest[0].size if latest else 0


def asked(home: Path, *words: str, code: int = 0) -> str:
    done = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(PROGRAM, ["audit", *words, "--home", str(home)])
    assert done.exit_code == code, done.output
    return done.output


@pytest.mark.parametrize("days", [32, 3650])
def test_a_clock_that_leapt_ahead_signs_nothing_and_leaves_nothing_behind(home_of: HomeOf, days: int) -> None:
    home = home_of("right")
    with node_at(home, NOW_MS + days * DAY_MS) as node:
        before = signed(node)
        with pytest.raises(ClockNotBelieved, match="days after the newest time") as caught:
            node.audit.checkpoint_and_anchor()
        assert "accept-clock" in caught.value.hint
        assert signed(node) == before
        waits = node.audit.status().waits
        assert waits is not None
        assert "days after the newest time" in waits.text
    with node_at(home, NOW_MS + 60_000) as node:
        after = node.audit.checkpoint_and_anchor()
        assert (after.problem, after.pending, len(after.cosigned)) == ("", 0, 2)
        assert after.checkpoint.size > before


def test_a_new_node_has_its_chains_first_block_to_go_by(home_of: HomeOf) -> None:
    with node_at(home_of("new"), NOW_MS + 400 * DAY_MS) as node, pytest.raises(ClockNotBelieved):
        node.audit.checkpoint_and_anchor()


def test_a_rest_of_a_month_is_nobodys_business(home_of: HomeOf) -> None:
    with node_at(home_of("right"), NOW_MS + MAX_LEAP_S * 1000 - 60_000) as node:
        assert node.audit.checkpoint_and_anchor().pending == 0


def test_after_an_anchor_ahead_checkpoints_are_cosigned_and_the_anchor_says_why_it_waits(home_of: HomeOf) -> None:
    home = home_of("ahead")
    with node_at(home, NOW_MS) as node:
        done = node.audit.checkpoint_and_anchor()
        assert len(done.cosigned) == 2
        assert done.pending > 0
        assert "the last anchor is dated" in done.problem
        assert "20.0 days ahead" in done.problem
    with node_at(home, NOW_MS + 20 * DAY_MS - MAX_SKEW_S * 1000) as node:  # that time has come
        assert node.audit.checkpoint_and_anchor().pending == 0


@pytest.mark.slow
def test_what_the_officer_accepts_is_in_the_log_and_anchors_go_on(home_of: HomeOf) -> None:
    home = home_of("ahead")
    assert "not anchored yet: the last anchor is dated" in asked(home, "checkpoint")
    asked(home, "accept-clock", "--as", "olga", "--yes", "--justification", ".", code=2)
    asked(home, "accept-clock", "--as", "nobody", *WHY[2:], code=3)
    assert "20.0 days ahead" in asked(home, "accept-clock", *WHY)
    assert "anchored, block" in asked(home, "checkpoint")
    asked(home, "accept-clock", *WHY, code=4)
    with node_at(home, NOW_MS + 3_600_000) as node:
        node.heartbeat()
        assert node.audit.checkpoint_and_anchor().pending == 0, "and go on going on"
    with node_at(home, NOW_MS) as node:
        permit = node.access.decide(AccessRequest(OLGA, Action.AUDIT, Purpose.COMPLIANCE))
        accepted = [dict(one.detail).get("accepted", "") for one in node.audit_reader.every(permit)]
    assert [text[:22] for text in accepted if text] == ["the last anchor is dated"[:22]]


@pytest.mark.slow
def test_a_clock_that_is_right_after_a_long_rest_is_accepted_once(tmp_path: Path) -> None:
    home = tmp_path / "node"
    node = create_node(Settings(home=home, witnesses=("st-anna",), quorum=1), clock=FixedClock(NOW_MS - 60 * DAY_MS))
    node.accounts.add_person(OLGA, "correct horse battery")
    node.close()
    assert "set the clock right" in asked(home, "checkpoint", code=7)
    assert "60.0 days after" in asked(home, "accept-clock", *WHY)
    assert "anchored, block" in asked(home, "checkpoint")
    asked(home, "accept-clock", *WHY, code=4)


def test_another_time_than_the_accepted_one_is_refused(home_of: HomeOf) -> None:
    """Acceptance is for one moment and one contract: it gives no leave to date anchors as one likes."""
    with node_at(home_of("ahead"), NOW_MS) as node:
        doubt = node.audit.anchorer.clock_doubt()
        assert doubt is not None
        node.audit.anchorer.accept(doubt)
        _, note = node.log.checkpoint()
        contract = bytes.fromhex(node.consortium.addresses.access_anchor.removeprefix("0x"))
        witness = node.witnesses[0]
        old = witness.last_size(node.log.origin)
        proof = tuple(node.log.prove_consistency(old, node.log.store.size()))
        domain = AnchorDomain(node.consortium.chain.chain_id, contract, 0)
        for time_s in (doubt.known_s - 1, doubt.known_s + 1):
            with pytest.raises(WitnessRefused, match="from this witness's clock"):
                witness.cosign(Proposal(note.encode(), old, proof, time_s, domain))
        assert witness.cosign(Proposal(note.encode(), old, proof, doubt.known_s, domain)).bls_signature


def test_gaps_name_a_clock_that_was_ahead(home_of: HomeOf) -> None:
    home = home_of("new")
    with node_at(home, NOW_MS + 3650 * DAY_MS) as node:
        node.heartbeat()
        ahead = node.log.store.size() - 1
    told = json.loads(asked(home, "gaps", "--json"))["clock"]
    assert [(one["after"], one["to"]) for one in told] == [(ahead, None)]
    with node_at(home, NOW_MS + 3_600_000) as node:
        node.heartbeat()
    told = json.loads(asked(home, "gaps", "--json"))["clock"]
    assert told[0]["after"] == ahead
    assert told[0]["to"] is not None
    assert f"entry {ahead} is dated" in asked(home, "gaps")
