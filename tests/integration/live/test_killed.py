"""``kill -9`` while batches are taken in: what was acknowledged is there, once, on the right patient."""

from __future__ import annotations

import json
import multiprocessing
import random
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tests.kills import kills
from twinward.access.interfaces import NODE, AccessContext
from twinward.core.clock import iso
from twinward.core.config import Settings
from twinward.core.vocabulary import Category, Purpose
from twinward.fhir.bulk.synthetic_patients import generate_cohort
from twinward.live.intake.lines import read_lines
from twinward.live.storage.database import LiveDatabase
from twinward.live.storage.series import SeriesSealer
from twinward.live.storage.tables import LIVE
from twinward.node import create_node, open_node
from twinward.twins.models import DIRECTORY

KILLS = kills(8, 200)
FILING = AccessContext(NODE, Purpose.RECORD_MANAGEMENT)
_PROCESSES = multiprocessing.get_context("forkserver")


def take_batches(home: Path, pipe: Connection) -> None:
    """The victim: takes whatever comes, answers once it is durable."""
    with open_node(home) as node:
        take = node.live.intake.take
        pipe.send("ready")
        while True:
            pipe.send([one.outcome.value for one in take(FILING, "gw", read_lines(pipe.recv_bytes()))])


def begun(home: Path) -> tuple[BaseProcess, Connection]:
    ours, theirs = _PROCESSES.Pipe()
    process = _PROCESSES.Process(target=take_batches, args=(home, theirs), daemon=True)
    process.start()
    theirs.close()
    assert ours.recv() == "ready"
    return process, ours


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_doubled_or_misplaced(tmp_path: Path) -> None:
    home, chance = tmp_path / "home", random.Random(7)
    node = create_node(Settings(home=home))
    imported = [(one, node.twins.ingest(FILING, one).twin) for one in generate_cohort(2, 1)]
    twins = [twin for one, twin in imported if one.reference != DIRECTORY]
    now = node.clock.now_ms() - 60_000
    for number, twin in enumerate(twins):
        node.live.assign(FILING, f"m-{number}", twin, now)
    node.close()
    _PROCESSES.set_forkserver_preload([__name__])
    sent, acknowledged, unanswered, seq = dict[int, int](), set[int](), b"", 0
    for _ in range(KILLS):
        process, pipe = begun(home)
        for place in range(chance.randrange(2, 8)):
            if not unanswered:
                lines = []
                for _ in range(chance.randrange(1, 30)):
                    seq += 1
                    sent[seq] = seq % 2
                    reading = {"seq": seq, "device": f"m-{seq % 2}", "code": "8867-4", "unit": "/min"}
                    lines.append(json.dumps(reading | {"value": seq % 100 + 50, "time": iso(now + seq)}).encode())
                unanswered = b"\n".join(lines)
            pipe.send_bytes(unanswered)
            if not pipe.poll(None if place == 0 else chance.random() * 0.05):  # the first one is always waited for
                break
            assert set(pipe.recv()) <= {"stored", "duplicate"}
            acknowledged |= {json.loads(one)["seq"] for one in unanswered.splitlines()}
            unanswered = b""
        process.kill()
        process.join()
        pipe.close()
    found: dict[int, list[int]] = {0: [], 1: []}
    with open_node(home) as node, LiveDatabase(node.state(LIVE), node.keyring).reading() as tables:
        for number, twin in enumerate(twins):
            keys = node.keyring.keys(twin)
            tag = keys.category_tag(Category.VITALS)
            for row in tables.series.of(twin, tag, b"", first_ms=0, last_ms=now + seq):
                for run in SeriesSealer().open(keys, row):
                    found[number] += [one.seq for one in run.columns().samples()]
    stored = sorted(found[0] + found[1])
    assert len(stored) == len(set(stored)), "doubled"
    assert acknowledged <= set(stored), "lost"
    assert set(stored) <= sent.keys()
    assert all(sent[one] == number for number, some in found.items() for one in some), "misplaced"
    assert len(acknowledged) >= KILLS
