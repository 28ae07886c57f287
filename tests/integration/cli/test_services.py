"""What the command line needed of the services."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.integration.cli.conftest import OFFICER, Hospital
from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessRequest
from twinward.core.errors import BadInput, NotFound
from twinward.core.vocabulary import Action, Purpose, TwinId
from twinward.node import SYSTEM, open_node


def test_an_account_is_found_by_its_id_or_not_at_all(hospital: Hospital) -> None:
    with open_node(hospital.home) as node:
        assert node.accounts.named("olga") == replace(OFFICER, network="node")  # whoever types at the node
        with pytest.raises(NotFound):
            node.accounts.named("Olga")


def test_an_erasure_is_of_one_twin_by_leave_and_may_be_repeated(hospital: Hospital) -> None:
    twin = TwinId(hospital.twins[-2])
    other = TwinId(hospital.twins[-3])
    request = AccessRequest(OFFICER, Action.SHRED, Purpose.COMPLIANCE, twin)
    with open_node(hospital.home) as node:
        for wrong in (
            AccessRequest(OFFICER, Action.SHRED, Purpose.COMPLIANCE),
            AccessRequest(OFFICER, Action.AUDIT, Purpose.COMPLIANCE, twin),
        ):
            with pytest.raises(BadInput):
                node.erasures.erase([wrong])
        with pytest.raises(BadInput, match="twice"):
            node.erasures.erase([request, request])
        with pytest.raises(AccessDenied):
            node.erasures.erase([request, AccessRequest(SYSTEM, Action.SHRED, Purpose.COMPLIANCE, other)])
        before = node.keyring.census()
        assert twin not in before.shredded
        assert node.consents.current(twin).version > 0
        assert node.erasures.finish() == []
        (first,) = node.erasures.erase([request])
        (again,) = node.erasures.erase([request])
        after = node.keyring.census()
        assert first.decided_at_index < first.done_at_index < again.decided_at_index
        assert first.categories == frozenset()
        assert node.keyring.unfinished() == []
        assert twin not in node.store.twins()
        assert after.shredded - before.shredded == {twin}
        assert sum(after.wrapped.values()) == sum(before.wrapped.values()) - 1
        assert node.consents.current(twin).version == 0
