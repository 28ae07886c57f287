"""One cohort, scored by one process, by several, and on a Ray cluster: the same answers, also when a worker dies."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from twinward.core.errors import BadInput
from twinward.similarity.errors import ScoringUnavailable
from twinward.similarity.scoring.placement import Engine, Scoring
from twinward.similarity.scoring.ray_shards import RayScorer
from twinward.similarity.scoring.shards import Blinding, ProcessScorer, Scorer, spans
from twinward_crypto.errors import MalformedBundle
from twinward_crypto.homomorphic.gated import GateKey, encrypt_gated_query
from twinward_crypto.homomorphic.parameters import FAST, plan, plan_gated
from twinward_crypto.homomorphic.query import QueryKey

BINDING = bytes([9]) * 32
PLAN = plan(8, 64, noise_width=4, profile=FAST)
ROWS = np.random.default_rng(1).integers(0, 64, (5 * PLAN.block_rows + 77, 8))
QUERY = [7, 0, 63, 1, 2, 3, 4, 5]
DISTANCES = ((ROWS - QUERY) ** 2).sum(axis=1)
KEY = QueryKey.generate(PLAN)
ASKED = KEY.encrypt_query(QUERY, binding=BINDING)

RAY = pytest.param(Engine.RAY, marks=pytest.mark.slow)


@pytest.fixture(
    params=[(Engine.PROCESSES, 1), (Engine.PROCESSES, 3), pytest.param((Engine.RAY, 3), marks=pytest.mark.slow)]
)
def scoring(request: pytest.FixtureRequest) -> Scoring:
    return Scoring(*request.param)


@pytest.fixture
def vendor_key(scoring: Scoring) -> Iterator[Scorer]:
    scorer = scoring.vendor_key(PLAN, ROWS, binding=BINDING)
    yield scorer
    scorer.close()


def test_every_engine_gives_the_same_distances(vendor_key: Scorer) -> None:
    rng = np.random.default_rng(2)
    blinding = Blinding(rng.integers(0, 4, len(ROWS)), rng.random(len(ROWS)) < 0.1)
    answer = KEY.decrypt_distances(ASKED, vendor_key.score(ASKED.bundle, blinding))
    shown = ~blinding.hidden
    assert np.array_equal(answer[shown], (DISTANCES + blinding.noise)[shown])
    assert (answer[blinding.hidden] != (DISTANCES + blinding.noise)[blinding.hidden]).mean() > 0.9


def test_every_engine_refuses_another_cohorts_query(vendor_key: Scorer) -> None:
    with pytest.raises(MalformedBundle, match="another cohort"):
        vendor_key.score(KEY.encrypt_query(QUERY).bundle)
    assert np.array_equal(KEY.decrypt_distances(ASKED, vendor_key.score(ASKED.bundle)), DISTANCES)


@pytest.mark.parametrize("engine", [Engine.PROCESSES, RAY])
def test_a_query_survives_workers_killed_while_they_score(engine: Engine) -> None:
    """Every worker is killed, again and again, while queries run: each answer is right all the same."""
    scorer = Scoring(engine, workers=3).vendor_key(PLAN, ROWS, binding=BINDING)
    assert isinstance(scorer, ProcessScorer | RayScorer)
    done = threading.Event()
    killed: list[int] = []

    def kill() -> None:
        while not done.wait(0.4):
            for pid in scorer.pids[:1]:
                with suppress(ProcessLookupError):  # between two
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
            if len(killed) == 2:
                return

    try:
        assert len(set(scorer.pids)) == 3
        killer = threading.Thread(target=kill)
        killer.start()
        deadline = time.monotonic() + 60
        answers = 0
        while (killer.is_alive() or answers < 3) and time.monotonic() < deadline:
            assert np.array_equal(KEY.decrypt_distances(ASKED, scorer.score(ASKED.bundle)), DISTANCES)
            answers += 1
        assert len(killed) == 2
    finally:
        done.set()
        scorer.close()


def test_a_worker_that_cannot_live_fails_the_query_and_nothing_hangs(tmp_path: Path) -> None:
    """The file it serves from is gone: it dies at every start."""
    scorer = Scoring(Engine.PROCESSES, workers=2).vendor_key(PLAN, ROWS, binding=BINDING)
    assert isinstance(scorer, ProcessScorer)
    scorer._held.close()
    for pid in scorer.pids:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(ScoringUnavailable, match="keeps dying"):
        scorer.score(ASKED.bundle)
    scorer.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_encrypted_index_is_kept_between_starts_and_never_for_another_cohort(workers: int, tmp_path: Path) -> None:
    made = plan_gated(3, 32, weighted=False)
    gate, rows = GateKey.generate(made), ROWS[:3000, :3] % 32
    asked = encrypt_gated_query(gate.public_bundle(binding=BINDING), [1, 2, 3])
    scoring = Scoring(workers=workers, folder=tmp_path / "cohorts")

    def distances(levels: np.ndarray) -> np.ndarray:
        scorer = scoring.gated(gate, levels, binding=BINDING)
        try:
            return gate.open_distances(scorer.score(asked))
        finally:
            scorer.close()

    assert np.array_equal(distances(rows), ((rows - [1, 2, 3]) ** 2).sum(axis=1))
    (kept,) = (tmp_path / "cohorts").iterdir()
    first = kept.stat()
    assert np.array_equal(distances(rows), ((rows - [1, 2, 3]) ** 2).sum(axis=1))
    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (first.st_ino, first.st_mtime_ns)
    assert kept.stat().st_mode & 0o77 == 0
    changed = np.concatenate([rows[1:], rows[:1]])
    assert np.array_equal(distances(changed), ((changed - [1, 2, 3]) ** 2).sum(axis=1))
    assert [path.name for path in (tmp_path / "cohorts").iterdir()] != [kept.name]


def test_a_cohort_is_cut_into_even_spans_that_cover_it() -> None:
    for workers in (1, 2, 3, 6, 99):
        cut = spans(PLAN, len(ROWS), workers)
        assert cut[0].first == 0
        assert cut[-1].last == PLAN.blocks(len(ROWS))
        assert all(a.last == b.first for a, b in pairwise(cut))
        sizes = {span.last - span.first for span in cut}
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Scoring()),
        ("in-process", Scoring()),
        ("processes:4", Scoring(Engine.PROCESSES, 4)),
        ("ray:8", Scoring(Engine.RAY, 8)),
        ("ray:8@ray://host:10001", Scoring(Engine.RAY, 8, "ray://host:10001")),
    ],
)
def test_an_engine_is_named_in_one_setting(text: str, expected: Scoring, tmp_path: Path) -> None:
    made = Scoring.parse(text, tmp_path)
    assert (made.engine, made.workers, made.ray_address) == (expected.engine, expected.workers, expected.ray_address)


def test_each_engine_can_be_named_and_passes_these_tests(tmp_path: Path) -> None:
    assert {Scoring.parse(f"{engine}:2", tmp_path).engine for engine in Engine} == set(Engine)
    assert {Engine.PROCESSES, Engine.RAY} == set(Engine)  # as in the fixture above


@pytest.mark.parametrize("text", ["processes", "processes:0", "processes:2@host", "threads:2", "ray:", "ray:2@ "])
def test_an_engine_nobody_knows_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="setting scoring"):
        Scoring.parse(text, tmp_path)
