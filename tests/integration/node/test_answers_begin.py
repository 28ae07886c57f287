"""A hospital whose memory of its answers is gone answers nothing that was reserved before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.kept_homes import founded
from twinward.core.config import ANSWERS_BEGIN_FILE, ANSWERS_FILE
from twinward.core.errors import BadInput
from twinward.federation.errors import RoundRefused
from twinward.federation.ledger_adapters import LedgerReservations
from twinward.federation.models import COHORT
from twinward.node import Node
from twinward.node.answers_begin import Begin, ReservedSince, begin_of
from twinward_contracts.bindings import BudgetLedger
from twinward_ledger.anchoring.agreement import sign_as

HOSPITALS = ("st-anna", "northgate", "lakeside")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = founded(tmp_path / "home")
    for hospital in HOSPITALS:
        made.consortium.cap_privacy(hospital, COHORT, 1000)
    yield made
    made.close()


def reserve(node: Node, study: bytes) -> int:
    sign = sign_as(node.consortium.keys)
    ledger: BudgetLedger = node.consortium.budgets
    return ledger.reserve_for(study, COHORT, HOSPITALS, 1, sign=sign, request=study)


def test_what_was_reserved_before_a_memory_began_is_refused(node: Node) -> None:
    home, ledger, old, new = node.settings.home, node.consortium.budgets, bytes(32), bytes(range(32))
    number = reserve(node, old)
    assert begin_of(home, ledger) == Begin(ledger.address, number) == Begin(ledger.address, 1)
    (home / ANSWERS_FILE).touch()
    assert reserve(node, new) == 2
    begin = begin_of(home, ledger)
    assert begin == Begin(ledger.address, 1), "it is written down once"
    since = ReservedSince(LedgerReservations(ledger), ledger.address, begin)
    with pytest.raises(RoundRefused, match="memory of its answers began after"):
        since.of_study(old)
    found = since.of_study(new)
    assert found is not None
    assert found.number == 2
    assert since.of_study(bytes([7]) * 32) is None
    for other in (replace(since, begin=None), replace(since, contract="0x" + "00" * 20)):
        assert other.of_study(old) is not None, "another contract numbers anew; an old memory is of all"
    (home / ANSWERS_FILE).unlink()
    (home / ANSWERS_BEGIN_FILE).unlink()
    assert begin_of(home, ledger) == Begin(ledger.address, 2)


def test_a_memory_from_before_beginnings_is_of_all(node: Node) -> None:
    (node.settings.home / ANSWERS_FILE).touch()
    assert begin_of(node.settings.home, node.consortium.budgets) is None
    assert not (node.settings.home / ANSWERS_BEGIN_FILE).exists()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"contract": "0x", "reservation": "1"}', '{"contract":"0x","reservation":1,"more":1}']
)
def test_a_beginning_that_cannot_be_read_answers_nothing(tmp_path: Path, node: Node, content: str) -> None:
    (tmp_path / ANSWERS_BEGIN_FILE).write_text(content)
    with pytest.raises(BadInput, match="no study is answered"):
        begin_of(tmp_path, node.consortium.budgets)
