"""What the contracts said is said again while the chain's file is the same, and in no other case."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.kept_homes import founded
from twinward.access.interfaces import Principal
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import Role
from twinward.node import Node, open_node
from twinward.overview.agreed_note import agreed_again
from twinward.overview.status import agreed_status
from twinward.overview.status_note import AGREED_FILE, DAY_MS, JUST_NOW_NS
from twinward_crypto.envelope import open_sealed, seal

AAD = b"twinward/agreed-note/1"
FORGED = 77
"""A quorum that no contract says: whoever shows it has not asked."""


def settled() -> None:
    """Nothing was changed within the last moment."""
    time.sleep(2 * JUST_NOW_NS / 1e9)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = founded(tmp_path / "home")
    made.accounts.add_system(Principal("acme", Role.VENDOR))
    made.consortium.grant_queries("acme", 12)
    made.close()
    settled()
    with open_node(tmp_path / "home") as opened:
        yield opened


def marked(node: Node) -> None:
    """An answer is kept, and says what no contract does."""
    assert agreed_again(node) == agreed_status(node)
    path, key = node.settings.home / AGREED_FILE, node.identity.sealing_key()
    told = msgspec.json.decode(open_sealed(key, path.read_bytes(), AAD))
    told["agreed"]["consortium"]["quorum"] = FORGED
    path.write_bytes(seal(key, msgspec.json.encode(told), AAD))
    assert agreed_again(node).consortium.quorum == FORGED


def test_it_is_said_again_whatever_happens_elsewhere_in_the_home(node: Node) -> None:
    marked(node)
    node.heartbeat()
    node.accounts.add_system(Principal("ward", Role.SYSTEM))
    again = agreed_again(node)
    assert again.consortium.quorum == FORGED
    assert [(one.vendor, one.left) for one in again.queries.vendors] == [("acme", 12)]


def granted_by_another(node: Node) -> None:
    with open_node(node.settings.home) as other:
        other.consortium.grant_queries("acme", 41)


def relinked(node: Node) -> None:
    chain = node.settings.home / "chain.db"
    chain.rename(chain.with_name("aside.db"))
    chain.symlink_to(chain.with_name("aside.db"))


def of_another_home(node: Node) -> None:
    path = node.settings.home / AGREED_FILE
    told = open_sealed(node.identity.sealing_key(), path.read_bytes(), AAD)
    path.write_bytes(seal(bytes(32), told, AAD))


CHANGES: dict[str, Callable[[Node], object]] = {
    "a block by another process": granted_by_another,
    "a vendor more": lambda node: node.accounts.add_system(Principal("zeta", Role.VENDOR)),
    "the chain's key": lambda node: (node.settings.home / "chain.db.key").chmod(0o400),
    "the consortium's addresses": lambda node: (node.settings.home / "consortium.json").touch(),
    "a block by this very process": lambda node: node.consortium.grant_queries("acme", 13),
    "the chain is elsewhere": relinked,
    "sealed under another key": of_another_home,
    "cut off": lambda node: (node.settings.home / AGREED_FILE).write_bytes(b"TE1"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_any_change_of_what_it_rests_on_has_the_contracts_asked(node: Node, change: Callable[[Node], object]) -> None:
    marked(node)
    change(node)
    found = agreed_again(node)
    assert found == agreed_status(node)
    assert found.consortium.quorum != FORGED


def test_it_is_of_its_day_and_not_of_the_future(node: Node) -> None:
    marked(node)
    now_ms = node.clock.now_ms()
    day_after = (now_ms // DAY_MS + 1) * DAY_MS
    for at_ms, holds in ((now_ms - 60_000, False), (now_ms + 1, True), (day_after - 1, True), (day_after, False)):
        node.clock = FixedClock(at_ms)
        assert (agreed_again(node).consortium.quorum == FORGED) is holds


def test_nothing_is_kept_of_what_changed_just_now_or_lies_elsewhere(node: Node) -> None:
    kept = node.settings.home / AGREED_FILE
    (node.settings.home / "consortium.json").touch()
    assert agreed_again(node) == agreed_status(node)
    assert not kept.exists()
    settled()
    chain, node.settings = node.settings, node.settings.model_copy(update={"chain": "http://127.0.0.1:9"})
    assert agreed_again(node) == agreed_status(node)
    assert not kept.exists()
    node.settings = chain
    agreed_again(node)
    assert b"acme" not in kept.read_bytes()
    assert kept.stat().st_mode & 0o777 == 0o600
