"""From which network a request comes: by the connection and the hospital's own proxy, never by what a client writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.cli.conftest import OFFICER, make_hospital
from tests.integration.cli.test_while_serving import Served, served
from twinward.access.errors import PolicyInvalid
from twinward.access.interfaces import AccessContext, AccessRequest, Principal
from twinward.audit.models import Filters
from twinward.core.vocabulary import Action, Category, Purpose, Role
from twinward.node import Node, open_node

OTTO = Principal("otto", Role.OFFICER, "Otto Officer")
RULE = """
@id("from-the-ward")
@say("records are read from the ward's network only")
forbid (principal, action == Action::"read", resource) when { principal.role == "clinician" }
unless { context.network == Network::"ward" };
"""
PROXY, STRANGER = "127.0.0.9", "127.0.0.1"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Served behind a proxy at 127.0.0.9; the proxy's own address is in the ward's network, as it may well be."""
    hospital = make_hospital(tmp_path_factory.mktemp("places") / "node")
    file = hospital.home / "twinward.toml"
    networks = '\n[networks]\nward = ["10.20.0.0/16", "127.0.0.9"]\nvpn = ["127.0.0.1"]\n'
    file.write_text(f'trusted_proxies = ["{PROXY}"]\n' + file.read_text() + networks)
    with open_node(hospital.home) as opened:
        opened.accounts.add_person(OTTO, "nine geese over water")
        tokens = {"clinician": opened.accounts.add_system(Principal("t-clinician", Role.CLINICIAN))}
    with served(hospital, tokens) as one:
        with open_node(hospital.home) as other:  # another process than the one that serves
            _changed(other)
        yield one


def _changed(node: Node) -> None:
    text = node.policy.current().text + RULE
    with pytest.raises(PolicyInvalid, match="the settings name no network wrad"):
        node.policy_desk.propose(_asked(OFFICER), text.replace('"ward"', '"wrad"'), "a slip of the pen")
    proposal = node.policy_desk.propose(_asked(OFFICER), text, "as the board decided")
    node.policy_desk.approve(_asked(OTTO), proposal.name)


def _asked(officer: Principal) -> AccessContext:
    return AccessContext(officer, Purpose.COMPLIANCE)


def status(node: Served, peer: str, **headers: str) -> int:
    """What a read from an address is answered with."""
    path = f"{node.url}/api/1/twins/{node.hospital.twins[0]}/records"
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    said["authorization"] = f"Bearer {node.tokens['clinician']}"
    with httpx.Client(transport=httpx.HTTPTransport(local_address=peer), timeout=30) as client:
        return client.get(path, params={"category": "labs"}, headers=said).status_code


@pytest.mark.parametrize(
    ("peer", "headers", "expected", "network"),
    [
        (PROXY, {"x_forwarded_for": "10.20.3.4"}, 200, "ward"),
        (PROXY, {"x_forwarded_for": "10.20.3.4, 203.0.113.9"}, 403, "outside"),  # a client wrote the first
        (PROXY, {"x_forwarded_for": "203.0.113.9, 10.20.3.4"}, 200, "ward"),
        (PROXY, {}, 403, "outside"),  # it did not say for whom: where it is itself says nothing
        (PROXY, {"x_forwarded_for": "nonsense"}, 403, "outside"),
        (STRANGER, {"x_forwarded_for": "10.20.3.4"}, 403, "vpn"),
        (STRANGER, {"x_real_ip": "10.20.3.4", "forwarded": "for=10.20.3.4"}, 403, "vpn"),
        (STRANGER, {"x_network": "ward", "network": "ward"}, 403, "vpn"),
        ("127.0.0.7", {}, 403, "outside"),
    ],
)
def test_a_network_is_where_the_connection_comes_from(
    node: Served, peer: str, headers: dict[str, str], expected: int, network: str
) -> None:
    assert status(node, peer, **headers) == expected
    with open_node(node.hospital.home) as opened:
        permit = opened.access.decide(AccessRequest(OFFICER, Action.AUDIT, Purpose.COMPLIANCE))
        page = opened.audit_reader.events(permit, filters=Filters(agent="t-clinician"), limit=1)
    event = page.rows[0].event
    assert event is not None
    assert dict(event.detail)["network"] == network
    assert peer not in str(event), "the network's name, never an address"


def test_commands_are_typed_on_the_node_and_a_lent_role_asks_from_where_its_holder_does(
    node: Served, tmp_path: Path
) -> None:
    with open_node(node.hospital.home) as opened:
        typed = opened.accounts.named("t-clinician")
        assert typed.network == "node"
        assert Principal("nobody-said", Role.CLINICIAN).network == "outside"
        labs = frozenset({Category.LABS})
        asked = AccessRequest(typed, Action.READ, Purpose.TREATMENT, node.hospital.twins[0], labs)
        assert "ward's network" in opened.access.check(asked).reason
