"""``twinward twin import``, killed again and again.

NDJSON ends with what it would have made unkilled; a bundle is there whole or not at all.

The moments of the kills are random. After each, what was acknowledged is looked up before the import goes on: a later
round would bring a lost line back, and hide the loss.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.benchmarks.ingest import ndjson, observations, patients
from tests.integration.backup.site import CLINICIAN, asked
from tests.integration.durability.importer import LINES_AT_ONCE
from tests.integration.durability.orphans import require_no_orphans, segments_and_rows
from tests.integration.durability.test_kill_ingest import ForkServer
from tests.kills import kills
from twinward.access.interfaces import AccessContext
from twinward.core.config import Settings
from twinward.core.vocabulary import Purpose
from twinward.node import Node, create_node, open_node

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
HOMES, KILLS_EACH = kills(2, 3), kills(4, 5)
BATCHES = 12
"""Times that an import of ``Source`` acknowledges something; after the last it derives features."""

LONGEST_S = 0.03
PATIENTS, EACH, LATE = 9, 40, 2
"""Of ``PATIENTS``, the ``LATE`` last are named in the file only after what was measured on them."""


class Source:
    """One file of several patients, each with records enough for segments and some that stay in rows."""

    def __init__(self, path: Path) -> None:
        chance = random.Random(9)
        self.people = patients(PATIENTS, chance)
        found = list(observations(self.people, EACH, chance))
        lines = [*self.people[:-LATE], *found, *self.people[-LATE:]]
        self.path = path
        self.names = [f"{one['resourceType']}/{one['id']}" for one in lines]
        late = {f"Patient/{one['id']}" for one in self.people[-LATE:]}
        self.waits = [one["resourceType"] == "Observation" and one["subject"]["reference"] in late for one in lines]
        path.write_bytes(ndjson(lines))

    def durable(self, lines: int) -> set[str]:
        """What must be there once so many lines were acknowledged. Who waits for a patient lands with the last."""
        return {name for name, waits in zip(self.names[:lines], self.waits, strict=False) if not waits}


@contextmanager
def fork_server() -> Iterator[ForkServer]:
    command = [sys.executable, "-m", "tests.integration.durability.importer"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        yield ForkServer(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0


def state(node: Node, source: Source) -> dict[str, list[tuple[str, ...]]]:
    """Every record of every patient as it reads, without what is drawn anew for each node."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for person in source.people:
        records, _ = node.twins.read_permitted(AccessContext(CLINICIAN, Purpose.TREATMENT), f"Patient/{person['id']}")
        found[person["id"]] = sorted(
            (
                one.references[0].replace(str(one.twin), "its twin"),
                one.record_type,
                one.category.value,
                str(one.version),
                one.content.decode().replace(str(one.twin), "its twin"),
            )
            for one in records
        )
    return found


def last_acknowledged(path: Path) -> int:
    whole = path.read_text().rpartition("\n")[0].split() if path.exists() else []
    path.unlink(missing_ok=True)
    return int(whole[-1]) if whole else 0


def await_batches(path: Path, batches: int) -> None:
    """So that kills are spread over the whole import, on a busy machine as on an idle one.

    One that goes on after a kill has fewer to acknowledge: it is through once nothing more comes.
    """
    seen, since = 0, time.monotonic()
    while seen < batches and time.monotonic() - since < 5:
        now = path.read_bytes().count(b"\n") if path.exists() else 0
        if now > seen:
            seen, since = now, time.monotonic()
        time.sleep(0.001)


def await_commit(path: Path) -> None:
    """Until its owner committed to it (sqlite.org/pragma.html#pragma_data_version): what comes next is not yet done."""
    with closing(sqlite3.connect(path)) as database:

        def version() -> int:
            found: tuple[int] = database.execute("PRAGMA data_version").fetchone()
            return found[0]

        before, since = version(), time.monotonic()
        while version() == before and time.monotonic() - since < 5:
            time.sleep(0.0001)


def test_an_import_killed_at_any_moment_ends_as_one_that_was_not(tmp_path: Path) -> None:
    chance, source = random.Random(2028), Source(tmp_path / "all.ndjson")
    empty, output = tmp_path / "empty", tmp_path / "acknowledged"
    create_node(Settings(home=empty)).close()
    unkilled = Path(shutil.copytree(empty, tmp_path / "unkilled"))
    asked("twin", "import", source.path, "--home", unkilled)
    with open_node(unkilled) as node:
        expected, kept = state(node, source), node.store.count()
    assert sum(map(len, expected.values())) == len(source.names)
    assert kept >= len(source.names) + PATIENTS  # with what is derived of each
    in_between = 0
    with fork_server() as imports:
        for number in range(HOMES):
            home = Path(shutil.copytree(empty, tmp_path / f"killed-{number}"))
            acknowledged: set[str] = set()
            for _ in range(KILLS_EACH):
                assert imports.ask(f"start {home} {source.path} {output}") == "ready"
                await_batches(output, chance.randint(0, BATCHES))
                time.sleep(chance.uniform(0, LONGEST_S))
                assert imports.ask("kill") in ("dead", "through")
                lines = last_acknowledged(output)
                in_between += LINES_AT_ONCE <= lines < len(source.names)
                acknowledged |= source.durable(lines)
                with open_node(home) as node:
                    assert {name for name in acknowledged if node.vault.locate(name) is None} == set()
                    require_no_orphans(node.store)
            again = asked("twin", "import", source.path, "--home", home)
            assert again["refused"] == []
            with open_node(home) as node:
                assert state(node, source) == expected
                assert node.store.count() == kept
                assert len(node.twins.all()) == PATIENTS
                require_no_orphans(node.store)
                assert min(segments_and_rows(node.store)) >= PATIENTS
                node.audit.verify(deep=True)
    assert in_between >= HOMES  # or this test would not have tested it
    versions = {one[3] for records in expected.values() for one in records}
    assert versions == {"1"}


BUNDLE_KILLS = kills(14, 25)


def test_a_bundle_killed_at_any_moment_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    chance = random.Random(31)
    people = patients(6, chance)
    ward = {"resourceType": "Organization", "id": "ward", "name": "Ward"}
    resources = [ward, *people, *observations(people, 40, chance)]
    file, output = tmp_path / "whole.json", tmp_path / "acknowledged"
    entry = [{"resource": one} for one in resources]
    file.write_text(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entry}))
    names = {f"{one['resourceType']}/{one['id']}" for one in resources}
    empty = tmp_path / "empty"
    create_node(Settings(home=empty)).close()
    with open_node(empty) as node:
        quiet = node.audit.status().size
    seen: list[tuple[bool, bool]] = []
    with fork_server() as imports:
        took = 0.0
        for number in range(BUNDLE_KILLS):
            home = Path(shutil.copytree(empty, tmp_path / f"killed-{number}"))
            began = time.monotonic()
            assert imports.ask(f"start {home} {file} {output}") == "ready"
            if number == 0:
                await_batches(output, 1)
                took = time.monotonic() - began
            elif number % 2:
                await_commit(home / "log.db")
            else:
                time.sleep(chance.uniform(0, took))
            assert imports.ask("kill") in ("dead", "through")
            acknowledged = last_acknowledged(output) == len(names)
            with open_node(home) as node:
                there = {name for name in names if node.vault.locate(name) is not None}
                assert there in (set(), names)
                assert len(node.twins.all()) == (len(people) if there else 0)
                assert there or not acknowledged
                require_no_orphans(node.store)
                node.audit.verify(deep=True)
                seen.append((bool(there), node.audit.status().size > quiet))
            if not there:
                assert asked("twin", "import", file, "--home", home)["refused"] == []
            shutil.rmtree(home)
    assert (True, True) in seen
    assert any(not there for there, _ in seen)
    assert (False, True) in seen  # killed between the log and the vault: half of the kills wait for that
