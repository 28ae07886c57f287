"""An operator with the node's own keys writes a log in which an access is filed where its patient never sees it.

Every proof of such a log verifies: leaves, tree and checkpoints are what was signed. What does not agree is inside:
``audit verify --deep`` opens every event and holds it against the leaf's kind and minute, the routing and the tags.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.audit.test_audit_trail import ANNA, BERT, EVENT, NO_TWIN, House, open_house
from twinward.audit.errors import LogTampered
from twinward.audit.events import codec
from twinward.audit.events.sealer import TAG_LABELS, seal_event
from twinward.audit.models import AccessEvent
from twinward.audit.proofs.verification import LogCheck
from twinward.audit.service import Audit
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import TwinId
from twinward_ledger.log.heartbeat import heartbeat
from twinward_ledger.log.store import Entry
from twinward_ledger.stores.completeness import open_map_store

NOBODY = TwinId("01941f29-7c00-7000-8000-00000000dead")


def misfiled(
    house: House,
    event: AccessEvent,
    *,
    routed: TwinId | None,
    tagged: TwinId | None,
    agent: str | None = None,
    at_ms: int | None = None,
) -> Entry:
    """An entry whose sealed event says one thing and everything around it another."""
    keys = house.keyring
    data = codec.encode(event, house.consortium.log.origin)
    tenant = keys.audit_key(None)
    key = tenant if routed is None else keys.audit_key(routed)
    origin = house.consortium.log.origin
    sealed = seal_event(data, at_ms or event.at_ms, routed, key=key, tenant_key=tenant, origin=origin)
    values = (tagged, agent or event.agent, event.role.value, event.action.value, event.decision)
    tags = (house.audit.sealer.tag(label, one) for label, one in zip(TAG_LABELS, values, strict=True) if one)
    return Entry(sealed.leaf, sealed.body, tuple(tags))


ATTACKS: dict[str, Callable[[House], Entry]] = {
    "filed under nobody": lambda house: misfiled(house, EVENT, routed=None, tagged=None),
    "filed under nobody, found by its patient": lambda house: misfiled(house, EVENT, routed=None, tagged=ANNA),
    "filed under another patient": lambda house: misfiled(house, EVENT, routed=BERT, tagged=BERT),
    "routed to another patient": lambda house: misfiled(house, EVENT, routed=BERT, tagged=ANNA),
    "not found by its patient": lambda house: misfiled(house, EVENT, routed=ANNA, tagged=None),
    "not found by who did it": lambda house: misfiled(house, EVENT, routed=ANNA, tagged=ANNA, agent="dr-other"),
    "of another day": lambda house: misfiled(house, EVENT, routed=ANNA, tagged=ANNA, at_ms=EVENT.at_ms - 86_400_000),
    "a patient's, about nobody": lambda house: misfiled(house, NO_TWIN, routed=ANNA, tagged=ANNA),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_deep_verification_names_what_is_filed_wrongly(tmp_path: Path, attack: Callable[[House], Entry]) -> None:
    with open_house(tmp_path, None) as house:
        house.audit.record([EVENT, NO_TWIN])
        house.consortium.log.append([attack(house)])
        house.audit.record([EVENT])
        house.audit.checkpoint_and_anchor()
        assert house.audit.verify().size == 4  # it is what was signed
        with pytest.raises(LogTampered) as found:
            house.audit.verify(deep=True)
        assert found.value.first_bad_index == 2


def test_a_served_node_finds_a_hidden_read_itself(tmp_path: Path) -> None:
    """The check that a node makes at start and every hour; what it finds is Home's red line."""
    with open_house(tmp_path, None) as house:
        house.audit.record([EVENT])
        check = LogCheck(house.audit, lambda _: None, FixedClock())
        assert check.run().fault == ""
        house.consortium.log.append([misfiled(house, EVENT, routed=None, tagged=None)])
        house.audit.checkpoint_and_anchor()
        found = check.run()
        assert "event 1 names a patient it is not filed under" in found.fault
        assert found.size == 1  # how far it was sound


@pytest.mark.parametrize("attack", ["filed under nobody", "filed under nobody, found by its patient"])
def test_no_completeness_map_is_published_over_a_hidden_read(tmp_path: Path, attack: str) -> None:
    """An export opens nothing that is filed under nobody; the map that says that all is there does, before it does."""
    with open_house(tmp_path, None) as house:
        store = open_map_store(f"sqlite:{tmp_path / 'log.db'}")
        audit = Audit.through(house.consortium.anchorer, house.keyring, store)
        audit.record([EVENT, NO_TWIN, replace(EVENT, twin=NOBODY, decision="deny")])
        audit.checkpoint_and_anchor()  # the honest one passes
        house.consortium.log.append([ATTACKS[attack](house)])
        size = house.consortium.log.store.size()
        with pytest.raises(LogTampered, match="names a patient it is not filed under") as found:
            audit.checkpoint_and_anchor()
        assert found.value.first_bad_index == size - 1
        assert house.consortium.log.store.size() == size  # no map, so nothing claims that it is complete
        store.close()


def test_an_honest_log_passes_with_attempts_on_nobody_and_heartbeats(tmp_path: Path) -> None:
    with open_house(tmp_path, None) as house:
        house.audit.record([EVENT, NO_TWIN, replace(EVENT, twin=NOBODY, decision="deny"), replace(EVENT, twin=BERT)])
        house.consortium.log.append([heartbeat(EVENT.at_ms, 3600)])
        house.audit.checkpoint_and_anchor()
        report = house.audit.verify(deep=True)
        assert (report.size, report.opened, report.erased) == (5, 4, 0)
