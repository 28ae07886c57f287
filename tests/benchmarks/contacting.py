"""A contact request at size: what an officer's yes costs, and what telling everybody costs the node afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

from tests.benchmarks.harness import Arm, Benchmark, Figure, Row, Scale, memory_gib_of, timed
from twinward.access.consent_choices import CHOICES
from twinward.access.interfaces import AccessContext, Principal
from twinward.audit.action_log import ActionLog
from twinward.core.config import Settings
from twinward.core.ids import new_twin_id
from twinward.core.turns import Turn
from twinward.core.vocabulary import Action, Purpose, Role, TwinId
from twinward.node import Node, create_node
from twinward.protocol.contacts import ContactProposal, ContactState
from twinward.protocol.criteria import Criteria
from twinward.recruitment.service import ContactDesk

OFFICER = Principal("olga", Role.OFFICER, "Olga Officer", "data office")
VENDOR = Principal("acme", Role.VENDOR, "Acme")
_AT_ONCE = 2_000


def told(scale: Scale) -> list[Row]:
    """A node's own access, log and keys; whom the criteria mean, every second one, is given: counting has its rows."""
    count = scale.pick(100_000, 1_000)
    with _node(scale) as node:
        twins = _patients(node, count)
        desk = _desk(node, twins, frozenset(twins[::2]), scale)
        officer = AccessContext(OFFICER, Purpose.COMPLIANCE)
        name = desk.propose(VENDOR, _proposal()).name
        held = memory_gib_of(os.getpid())
        yes_wall, yes_cpu = timed(Arm("yes", lambda: desk.approve(officer, name, "the ethics board agreed")))
        _, cpu = timed(Arm("told", desk.carry_on))
        grown = memory_gib_of(os.getpid()) - held
        request, reached = desk.one(officer, name)
        if request.state is not ContactState.APPROVED or not request.finished_ms or len(reached) != count // 2:
            raise RuntimeError("not everybody was seen to")
    work = f"a contact request, cohort of {count:,}, half of it told"
    return [
        Row(f"{work}: the officer's yes, wall", Figure(yes_wall * 1e3, "ms")),
        Row(f"{work}: the officer's yes, CPU", Figure(yes_cpu * 1e3, "ms")),
        Row(f"{work}: telling in the background, CPU a patient", Figure(cpu / count * 1e6, "µs")),
        Row(f"{work}: memory that telling adds", Figure(grown * 1024, "MiB")),
    ]


@contextmanager
def _node(scale: Scale) -> Iterator[Node]:
    node = create_node(Settings.load(scale.folder / "home"))
    try:
        node.accounts.add_person(OFFICER, "a long passphrase for a bench 7")
        yield node
    finally:
        node.close()


def _patients(node: Node, count: int) -> list[TwinId]:
    """With keys, and a yes to being told."""
    twins = [new_twin_id(node.clock.now_ms()) for _ in range(count)]
    records = AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT)
    for start in range(0, count, _AT_ONCE):
        some = twins[start : start + _AT_ONCE]
        node.keyring.create_all(some)
        node.access.set_consents(records, [(twin, (CHOICES["contact"],)) for twin in some])
    return twins


def _desk(node: Node, twins: list[TwinId], eligible: frozenset[TwinId], scale: Scale) -> ContactDesk:
    return ContactDesk(
        ActionLog(node.log, node.audit.sealer, Action.CONTACT),
        node.access,
        Turn(scale.folder / "turn"),
        Turn(scale.folder / "work"),
        lambda criteria: criteria,
        lambda _: (twins, eligible),
        lambda _: OFFICER,
        lambda _: None,
        lambda _: True,
    )


def _proposal() -> ContactProposal:
    said: dict[str, Any] = {
        "count": SimpleNamespace(query_id="0" * 32, epoch=1),
        "title": "A trial of a new medicine",
        "purpose": "a trial of a medicine for diabetes",
        "text": "We look for people with diabetes; saying no costs you nothing.",
        "criteria": Criteria.of({"include": [{"feature": "age", "from": 18}]}),
    }
    return cast(ContactProposal, SimpleNamespace(**said))


BENCHMARKS = (
    Benchmark(
        "similarity.contact",
        "a request approved and carried out on a node of its own: access, log and keys as served, SQLite with"
        " synchronous commits; patients have a key and a consent, and no records",
        told,
        in_quick=False,
    ),
)
