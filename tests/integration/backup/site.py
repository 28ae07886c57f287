"""One hospital's node with a few patients, and the real command line over it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from tests.command_line import PROGRAM
from twinward.access.interfaces import AccessContext, AccessRequest, Principal
from twinward.core.clock import SystemClock
from twinward.core.config import Settings
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward.fhir.bulk.synthetic_patients import generate_cohort
from twinward.node import SYSTEM, Node, create_node, open_node
from twinward.twins.models import DIRECTORY
from twinward.vault.models import Member

CLINICIAN = Principal("dr-lee", Role.CLINICIAN, "Dr. Lee")
OFFICER = Principal("olga", Role.OFFICER, "Olga Officer")


@dataclass(frozen=True)
class Site:
    """A node's home and who is in it."""

    home: Path
    twins: tuple[TwinId, ...]
    plain: tuple[bytes, ...]
    """Words of the patients' records that must be nowhere in the open."""

    def copied_to(self, home: Path) -> Site:
        shutil.copytree(self.home, home)
        return replace(self, home=home)

    @contextmanager
    def opened(self) -> Iterator[Node]:
        with open_node(self.home) as node:
            yield node

    def asked(self, *arguments: str | Path, code: int = 0) -> dict[str, Any]:
        """One command on this node, with --json; its answer."""
        return asked(*arguments, "--home", self.home, code=code)


def asked(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})
    done = runner.invoke(PROGRAM, [*map(str, arguments), "--json"])
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    assert done.exit_code == code, done.output
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def build(home: Path, **settings: str) -> Site:
    node = create_node(Settings(home=home, **settings))  # type: ignore[arg-type]
    try:
        cohort = list(generate_cohort(3, 11))
        imported = [(one, node.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), one)) for one in cohort]
        twins = tuple(receipt.twin for one, receipt in imported if one.reference != DIRECTORY)
        node.accounts.add_person(OFFICER, "correct horse battery")
        node.accounts.add_system(CLINICIAN)
        node.audit.checkpoint_and_anchor()
        plain = tuple(one.reference.encode() for one in cohort if one.reference != DIRECTORY)
        return Site(home, twins, plain)
    finally:
        node.close()


def everything(node: Node) -> dict[str, bytes]:
    """Every record of every twin, opened: its id and version, its content."""
    found: dict[str, bytes] = {}
    for twin in node.twins.all():
        if twin in node.keyring.census().shredded:
            continue
        request = AccessRequest(
            CLINICIAN, Action.READ, Purpose.EMERGENCY, twin, frozenset(Category), "restore drill, read everything"
        )
        for record in node.vault.read_twin(node.access.decide(request)):
            found[f"{record.record_id}/{record.version}"] = record.content
    return found


def now_ms() -> int:
    return SystemClock().now_ms()


@dataclass(frozen=True)
class Kept:
    """What a node holds, and how it is found: to be the same after a restore."""

    opened: dict[str, bytes]
    found: dict[str, tuple[str, str]]
    """By each record's own name: its twin and its id."""
    in_segments: frozenset[str]
    """The names of those that stand in segments."""


def kept(node: Node) -> Kept:
    members = {(one.twin, one.record_id) for twin in node.twins.all() for one in _members(node, twin)}
    opened = everything(node)
    names = [name for record in opened.values() for name in [_name(record)] if name]
    found = {name: (str(one.twin), str(one.record_id)) for name, one in node.vault.locate_many(names).items()}
    return Kept(opened, found, frozenset(name for name, place in found.items() if place in members))


def _members(node: Node, twin: TwinId) -> list[Member]:
    return [one for one in node.store.of_twin(twin) if isinstance(one, Member)]


def _name(content: bytes) -> str:
    body = json.loads(content)
    return f"{body['resourceType']}/{body['id']}" if "resourceType" in body and "id" in body else ""


def require_same_after_restore(before: Kept, home: Path) -> None:
    """Hold a restored home, whose segments were in the backup, against what the node held; then go on compacting."""
    with open_node(home) as node:
        after = kept(node)
        assert {name: after.opened.get(name) for name in before.opened} == before.opened
        assert (after.found, after.in_segments) == (before.found, before.in_segments)
        for name in sorted(before.in_segments)[::10]:
            record = node.twins.read_reference(AccessContext(CLINICIAN, Purpose.TREATMENT), name)
            assert (str(record.twin), str(record.record_id)) == before.found[name]
        twin = TwinId(before.found[min(before.in_segments)][0])
        for number in range(20):
            value = {"value": number}
            node.twins.targets.change(
                AccessContext(CLINICIAN, Purpose.TREATMENT), twin, {"bmi": lambda _, made=value: made}
            )
        again = kept(node)
    report = asked("node", "compact", "--home", home)
    assert (report["twins"], report["busy"]) == (1, 0)
    assert report["rows"] >= 16
    assert report["segments"] >= 1
    with open_node(home) as node:
        assert kept(node).opened == again.opened
        node.audit.verify(deep=True)
