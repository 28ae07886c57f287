"""Whoever withdraws or is erased leaves a cohort that another process serves, before the command says it is done."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.integration.cli.conftest import OFFICER, PASSWORD, SIMILARITY_YES, run
from twinward.access.interfaces import AccessContext, AccessRequest, Principal
from twinward.audit.models import AccessEvent
from twinward.client import HospitalRefused, VendorClient, VendorKeys
from twinward.core.config import Settings
from twinward.core.vocabulary import Action, Purpose, Role, TwinId
from twinward.fhir.bulk.synthetic_patients import generate_cohort
from twinward.node import SYSTEM, create_node, open_node
from twinward.twins.models import DIRECTORY

pytestmark = pytest.mark.slow

VENDOR = Principal("acme", Role.VENDOR)
EVERYBODY = 1.0
PATIENTS = 9


@dataclass
class Served:
    """A node that another process serves, with its encrypted index in files and two processes that score."""

    home: Path
    url: str
    token: str
    twins: list[TwinId]
    handles: dict[TwinId, str]

    def told(self, mode: str) -> set[str]:
        with VendorClient(self.url, self.token) as vendor:
            ask = {"gated": vendor.query_gated, "vendor-key": vendor.query_vendor_key}[mode]
            return set(ask({"age": 50.0, "bmi": 25.0}, threshold=EVERYBODY).handles)

    def typed(self, *arguments: str) -> None:
        done = run(*arguments, "--home", str(self.home))
        assert done.exit_code == 0, done.output

    def kept(self) -> list[Path]:
        return sorted((self.home / "encrypted-indexes").glob("*"))

    def events_about(self, twin: TwinId, after: int) -> list[AccessEvent]:
        """Of the whole log, as far as they still open, from a size on."""
        with open_node(self.home) as node:
            permit = node.access.decide(AccessRequest(OFFICER, Action.AUDIT, Purpose.COMPLIANCE))
            rows = node.audit_reader.events(permit, limit=500).rows
        return [row.event for row in rows if row.index >= after and row.event is not None and row.event.twin == twin]

    def size(self) -> int:
        with open_node(self.home) as node:
            return node.log.store.size()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("departures") / "node"
    settings = Settings.load(home, modes=("gated", "vendor-key"), scoring="processes:2", vendor_key_weighted=True)
    node = create_node(settings)
    try:
        twins = [
            node.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), one).twin
            for one in generate_cohort(PATIENTS, 5)
            if one.reference != DIRECTORY
        ]
        node.access.set_consents(
            AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), [(twin, (SIMILARITY_YES,)) for twin in twins]
        )
        node.accounts.add_person(OFFICER, PASSWORD)
        token = node.accounts.add_system(VENDOR)
        node.consortium.grant_queries(VENDOR.id, 16)
        secrets = node.similarity().secrets
        handles = {twin: secrets.handle(VENDOR.id, twin) for twin in twins}
    finally:
        node.close()
    options = ["--port", "0", "--checkpoint-every", "0", "--home", str(home)]
    with subprocess.Popen(
        [sys.executable, "-m", "twinward", "node", "serve", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert found
            yield Served(home, found[0], token, twins, handles)
        finally:
            process.terminate()


def _shred(node: Served, twin: TwinId, folder: Path) -> None:
    node.typed("keys", "shred", twin, "--as", "olga", "--purpose", "PATRQT", "--yes")


def _shred_later(node: Served, twin: TwinId, folder: Path) -> None:
    node.typed("keys", "shred", twin, "--as", "olga", "--purpose", "PATRQT", "--yes", "--later")


def _shred_a_source(node: Served, twin: TwinId, folder: Path) -> None:
    options = ("--category", "medications", "--later", "--yes")
    node.typed("keys", "shred", twin, "--as", "olga", "--purpose", "PATRQT", *options)


def _withdraw(node: Served, twin: TwinId, folder: Path) -> None:
    (folder / "no.json").write_text("[]")
    node.typed("twin", "consent", twin, "--as", "olga", "--file", str(folder / "no.json"))


def _deny_labs(node: Served, twin: TwinId, folder: Path) -> None:
    yes = SIMILARITY_YES.model_dump(mode="json", exclude_defaults=True)
    (folder / "no.json").write_text(json.dumps([yes, {"effect": "deny", "categories": ["labs"]}]))
    node.typed("twin", "consent", twin, "--as", "olga", "--file", str(folder / "no.json"))


@pytest.mark.parametrize(
    ("number", "leave"),
    [
        (0, _shred),
        (1, _shred_later),
        (2, _shred_a_source),
        (3, _withdraw),
        (4, _deny_labs),
    ],
)
def test_whoever_leaves_is_told_of_by_no_process_any_more(
    served: Served, number: int, leave: object, tmp_path: Path
) -> None:
    twin = served.twins[number]
    staying = {served.handles[one] for one in served.twins[number + 1 :]}
    if not number:  # of the others the test before says that they were told
        assert served.handles[twin] in served.told("gated")
    indexes = served.kept()
    assert len(indexes) == 1
    leave(served, twin, tmp_path)  # type: ignore[operator]
    assert not indexes[0].exists(), "no index with the patient's row is left on the disk"
    size = served.size()
    for mode in ("gated", "vendor-key"):
        assert served.told(mode) == staying, "nobody else left, and no row stands empty"
    assert len(served.kept()) == 1
    events = served.events_about(twin, size)
    assert not [one for one in events if one.decision == "permit" and one.action in (Action.MATCH, Action.EXPORT)]
    with VendorClient(served.url, served.token) as vendor:
        fetch = partial(vendor.records, [served.handles[twin]], VendorKeys.generate(), categories=["labs"])
        if leave in (_withdraw, _deny_labs):  # it was told, and opens nothing
            assert fetch().records == ()
        else:
            with pytest.raises(HospitalRefused, match="no such handle"):
                fetch()


def test_who_consents_now_is_not_taken_in_before_the_next_snapshot(served: Served, tmp_path: Path) -> None:
    """Leaving is at once, coming is not: a cohort that grew under an epoch would tell joiners apart."""
    twin = served.twins[3]
    (tmp_path / "yes.json").write_text(json.dumps([SIMILARITY_YES.model_dump(mode="json", exclude_defaults=True)]))
    served.typed("twin", "consent", twin, "--as", "olga", "--file", str(tmp_path / "yes.json"))
    assert served.handles[twin] not in served.told("gated")


def test_who_withdraws_leaves_memory_too_though_nobody_asks(tmp_path: Path) -> None:
    """What a served node does by itself four times a second; the command waits for it."""
    node = create_node(Settings.load(tmp_path / "node"))
    try:
        made = [
            node.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), one)
            for one in generate_cohort(5, 6)
            if one.reference != DIRECTORY
        ]
        twins = [one.twin for one in made]
        node.access.set_consents(
            AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), [(twin, (SIMILARITY_YES,)) for twin in twins]
        )
        held = node.similarity()
        assert set(held.cohort.twins) == set(twins)
        with open_node(tmp_path / "node") as other:
            other.access.set_consent(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), twins[0], ())
            other.keyring.shred(twins[1])
        node.cohort.let_go()
        assert set(held.cohort.twins) == set(twins[2:])
        with open_node(tmp_path / "node") as other:
            other.access.set_consents(
                AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), [(twin, ()) for twin in twins[2:]]
            )
        node.cohort.let_go()  # nobody is left, and nothing is held any more
        node.cohort.let_go()
    finally:
        node.close()


@pytest.mark.slow
def test_who_comes_after_a_freeze_joins_no_later_snapshot_though_nobody_asked_in_between(tmp_path: Path) -> None:
    """A command froze it; the served node, which nobody asks anything, writes down who is in it by itself."""
    node = create_node(Settings.load(tmp_path / "node"))
    try:
        officer = AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT)
        twins = [
            node.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), one).twin
            for one in generate_cohort(5, 6)
            if one.reference != DIRECTORY
        ]
        node.access.set_consents(officer, [(twin, (SIMILARITY_YES,)) for twin in twins[1:]])
        assert set(node.similarity().cohort.twins) == set(twins[1:])
        with open_node(tmp_path / "node") as other:
            other.cohort.life.freeze(other.clock.now_ms())
        node.cohort.let_go()
        node.access.set_consent(officer, twins[0], (SIMILARITY_YES,))
        node.cohort.refresh()
        assert set(node.similarity().cohort.twins) == set(twins[1:])
    finally:
        node.close()
