"""Two processes give one bed away and use one stock, and are killed: one truth, nothing acknowledged is lost."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from twinward.access.interfaces import NODE, AccessContext
from twinward.core.config import Settings
from twinward.core.vocabulary import Purpose, TwinId
from twinward.fhir.bulk.synthetic_patients import generate_cohort
from twinward.node import create_node, open_node
from twinward.things.errors import ThingConflict
from twinward.things.interactions import Report
from twinward.things.models import Happening, Kind, Related, Relation, What
from twinward.things.service import New
from twinward.twins.models import DIRECTORY

KILLS, FILLED = 3, 100_000
FILING = AccessContext(NODE, Purpose.RECORD_MANAGEMENT)
_PROCESSES = multiprocessing.get_context("forkserver")


def care(home: Path, twin: TwinId, pipe: Connection) -> None:
    """The victim: puts its patient into the bed, uses one bag, frees the bed; tells of each once it is done."""
    with open_node(home) as node:
        relations, record = node.things.relations, node.things.interactions.record
        pipe.send("ready")
        while True:
            try:
                relations.relate(FILING, "bed-1", Relation.ASSIGNED_TO, twin)
            except ThingConflict:
                time.sleep(0.001)
                continue
            pipe.send("in")
            record(FILING, "saline", Report(What.USED, twin, 1))
            pipe.send("used")
            time.sleep(0.002)  # a stay lasts
            relations.end(FILING, "bed-1", Relation.ASSIGNED_TO)


def move(home: Path, twin: TwinId, pipe: Connection, own: str) -> None:
    """The victim: moves its patient from their own bed into the one that both want, and back."""
    with open_node(home) as node:
        pipe.send("ready")
        while True:
            for bed in ("bed-1", own):
                with suppress(ThingConflict):
                    node.things.relations.lay(FILING, twin, [bed])
                    pipe.send(bed)


def begun(home: Path, twin: TwinId, work: Callable[..., None] = care, *more: str) -> tuple[BaseProcess, Connection]:
    ours, theirs = _PROCESSES.Pipe()
    process = _PROCESSES.Process(target=work, args=(home, twin, theirs, *more), daemon=True)
    process.start()
    theirs.close()
    return process, ours


@pytest.mark.slow
def test_one_bed_is_one_patients_and_what_was_acknowledged_is_there(tmp_path: Path) -> None:
    home, chance = tmp_path / "home", random.Random(3)
    node = create_node(Settings(home=home))
    imported = [(one, node.twins.ingest(FILING, one).twin) for one in generate_cohort(2, 1)]
    twins = [twin for one, twin in imported if one.reference != DIRECTORY][:2]
    node.things.add(FILING, New("bed-1", Kind.BED, "Bed"))
    node.things.add(FILING, New("saline", Kind.STOCK, "Saline"))
    node.things.interactions.record(FILING, "saline", Report(What.FILLED, None, FILLED))
    _PROCESSES.set_forkserver_preload([__name__])
    told: list[str] = []
    for _ in range(KILLS):
        victims = [begun(home, twin) for twin in twins]
        assert all(pipe.recv() == "ready" for _, pipe in victims)
        for _, pipe in victims:
            assert pipe.poll(20), "somebody gets the bed"
        time.sleep(chance.random() * 0.3)
        for process, pipe in victims:
            process.kill()
            process.join()
            while pipe.poll():
                try:
                    told.append(pipe.recv())
                except EOFError:
                    break
            pipe.close()
        if node.things.relations.current(node.things.show(FILING, "bed-1").thing) is not None:
            node.things.relations.end(FILING, "bed-1", Relation.ASSIGNED_TO)  # a victim left its patient there
    stays = [one for one in node.things.history(FILING, "bed-1") if isinstance(one, Related)]
    used = [one for one in node.things.history(FILING, "saline") if isinstance(one, Happening)][1:]
    level = node.things.show(FILING, "saline").thing.level
    node.close()
    for one, after in pairwise(stays):
        assert one.until_ms is not None
        assert one.until_ms <= after.from_ms, "two patients in one bed"
    assert {one.target for one in stays} == set(twins)
    assert told.count("in") <= len(stays) <= told.count("in") + 2 * KILLS
    assert told.count("used") <= len(used) <= told.count("used") + 2 * KILLS
    assert level == FILLED - len(used), "what is left is what was filled less what was used"


@pytest.mark.slow
def test_who_is_moved_into_a_bed_that_another_wants_lies_in_one_at_every_moment(tmp_path: Path) -> None:
    home, chance = tmp_path / "home", random.Random(5)
    node = create_node(Settings(home=home))
    imported = [(one, node.twins.ingest(FILING, one).twin) for one in generate_cohort(2, 1)]
    twins = [twin for one, twin in imported if one.reference != DIRECTORY][:2]
    for name in ("bed-1", "own-0", "own-1"):
        node.things.add(FILING, New(name, Kind.BED, "Bed"))
    for number, twin in enumerate(twins):
        node.things.relations.lay(FILING, twin, [f"own-{number}"])
    _PROCESSES.set_forkserver_preload([__name__])
    told: list[str] = []
    for _ in range(KILLS):
        victims = [begun(home, twin, move, f"own-{number}") for number, twin in enumerate(twins)]
        assert all(pipe.recv() == "ready" for _, pipe in victims)
        time.sleep(0.2 + chance.random() * 0.4)
        for process, pipe in victims:
            process.kill()
            process.join()
            with suppress(EOFError):
                while pipe.poll():
                    told.append(pipe.recv())
            pipe.close()
    every = [one for bed in ("bed-1", "own-0", "own-1") for one in node.things.history(FILING, bed)]
    node.close()
    stays = [one for one in every if isinstance(one, Related)]
    for twin in twins:
        mine = sorted((one for one in stays if one.target == twin), key=lambda one: one.from_ms)
        assert [one.until_ms for one in mine[:-1]] == [one.from_ms for one in mine[1:]], "a moment in none, or in two"
        assert mine[-1].until_ms is None
    assert told.count("bed-1") > 1
    shared = sorted((one for one in stays if one.thing == "bed-1"), key=lambda one: one.from_ms)
    assert all(one.until_ms is not None and one.until_ms <= after.from_ms for one, after in pairwise(shared))
