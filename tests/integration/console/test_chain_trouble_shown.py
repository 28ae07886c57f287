"""What the officer is told while the chain is down, has no funds, or took anchors back. On a real anvil."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.anvil import FUNDED_KEY, Anvil, free_port, running_anvil
from tests.chains import NOW_S, rpc
from tests.integration.console.fixtures import CLINICIAN, OFFICER, PASSWORD, House
from tests.integration.console.test_console import sign_in
from twinward.api.app import create_app
from twinward.console import mount
from twinward.core.clock import FixedClock
from twinward.core.config import Settings
from twinward.core.ids import new_twin_id
from twinward.core.vocabulary import Category
from twinward.node import create_node
from twinward.node.background import Pulse

pytestmark = pytest.mark.slow


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def anvil_state(tmp_path: Path) -> tuple[str, str]:
    return ("--state", str(tmp_path / "state.json"))


@pytest.fixture
def house(tmp_path: Path, port: int) -> Iterator[House]:
    """A node whose chain is, or would be, at that port. Made while it runs."""
    key = tmp_path / "chain.key"
    key.write_text(FUNDED_KEY.hex(), encoding="ascii")
    key.chmod(0o600)
    settings = Settings(home=tmp_path / "home", chain=f"http://127.0.0.1:{port}", chain_id=31_337, chain_key_file=key)
    node = create_node(settings, clock=FixedClock(NOW_S * 1000))
    node.accounts.add_person(OFFICER, PASSWORD)
    house = House(node, (), {})
    yield house
    node.close()


def beat(house: House) -> str:
    """Somebody tries something, the node's pulse beats, the officer looks at the console's first page."""
    house.read(CLINICIAN, new_twin_id(NOW_S * 1000), Category.LABS)
    Pulse(house.node.audit, 1.0).beat()
    assert house.node.log_check.run().fault == ""  # or the light would tell of that first
    house.node.clock.advance(120_000)  # type: ignore[attr-defined]
    app = create_app(house.node)
    mount(app, house.node)
    with TestClient(app, follow_redirects=False) as web:
        sign_in(web)
        answer = web.get("/console")
    assert answer.status_code == 200
    return answer.text


@pytest.fixture
def running(port: int, anvil_state: tuple[str, str]) -> Iterator[Anvil]:
    with running_anvil(timestamp=NOW_S, port=port, options=anvil_state) as node:
        yield node


def test_an_account_without_funds_and_a_reorganisation(running: Anvil, house: House) -> None:
    assert "nothing could be anchored" not in beat(house)
    account = house.node.consortium.chain.sender
    rpc(running, "anvil_setBalance", account, "0x0")
    page = beat(house)
    assert "it is not being anchored: see below why" in page
    assert f"the account {account} cannot pay for gas" in page
    assert "Nothing is lost" in page
    waits = house.node.audit.status().waits
    assert waits is not None
    assert account in waits.text
    rpc(running, "anvil_setBalance", account, hex(10**18))
    page = beat(house)
    assert "nothing could be anchored" not in page
    rpc(running, "anvil_reorg", 1, [])
    page = beat(house)
    assert "the chain was reorganised: it kept" in page
    assert "what it lost is anchored again" in page
    assert house.node.audit.status().waits is None


def test_a_chain_that_is_down(port: int, anvil_state: tuple[str, str], request: pytest.FixtureRequest) -> None:
    with running_anvil(timestamp=NOW_S, port=port, options=anvil_state):
        house: House = request.getfixturevalue("house")
        beat(house)
    page = beat(house)
    assert "the chain does not answer" in page
    assert "Since 2026-01-01" in page
    assert "the next anchor takes all of them along" in page
    with running_anvil(timestamp=NOW_S + 600, port=port, options=anvil_state):
        assert "nothing could be anchored" not in beat(house)
        assert house.node.audit.status().waits is None
