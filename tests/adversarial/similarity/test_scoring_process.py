"""A query that ends or stops the process that scores it is refused alone; the very next one is answered."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.adversarial.similarity.native import Native
from tests.integration.similarity.fixtures import VENDOR, House, schema_of
from tests.tools import ROOT
from twinward.client import HospitalRefused, Question
from twinward.protocol.messages import GatedQuery
from twinward.protocol.proofs import new_query_id
from twinward.protocol.terms import Mode
from twinward.similarity.errors import QueryMalformed, ScoringUnavailable
from twinward.similarity.feasibility.worker import CountingWorker
from twinward.similarity.scoring.child import Child
from twinward.similarity.scoring.engines import GateProcess
from twinward.similarity.scoring.placement import Scoring
from twinward.similarity.scoring.shards import Scorer, checked
from twinward_crypto.errors import MalformedBundle
from twinward_crypto.homomorphic.database import Database
from twinward_crypto.homomorphic.gated import GateKey, encrypt_gated_query
from twinward_crypto.homomorphic.parameters import FAST, plan, plan_gated
from twinward_crypto.homomorphic.query import QueryKey
from twinward_crypto.homomorphic.scoring import score
from twinward_crypto.homomorphic.wire import UNBOUND, Bundle, Kind

SCHEMA = schema_of({"a": (0, 127), "b": (0, 127)})
LEVELS = np.random.default_rng(7).integers(0, 128, (30, 2))
VALUES = {"a": 64.0, "b": 64.0}


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    made = Child(Native, tmp_path, patience_s=20)
    yield made
    made.close()


_FIRST = """
import sys
from pathlib import Path
from tests.adversarial.similarity.native import Native
from twinward.similarity.scoring.child import Child

if __name__ == "__main__":
    child = Child(Native, Path(sys.argv[1]), patience_s=20)
    print(*(child.ask("find loaded", module).decode() for module in sys.argv[2:]))
    child.close()
"""


def test_a_new_process_finds_loaded_what_it_runs(tmp_path: Path) -> None:
    # In a process of its own: the server that forks is one for all of a process, and other tests load theirs with it.
    modules = [runs.__module__ for runs in (GateProcess, Scorer, CountingWorker)]
    asked = [sys.executable, "-c", _FIRST, str(tmp_path), *modules]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["loaded"] * 3, done.stderr


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS, signal.SIGILL])
def test_a_crash_is_the_questions_fault_and_is_not_tried_again(child: Child, tmp_path: Path, number: int) -> None:
    with pytest.raises(QueryMalformed, match="ended the process") as refusal:
        child.ask("die once", number)  # asked again, it would be answered
    assert refusal.value.http_status == 400
    assert child.ask("anything") == b"alive"


def test_a_process_that_was_killed_is_asked_again(child: Child) -> None:
    assert child.ask("die once", signal.SIGKILL) == b"alive"


@pytest.mark.slow
def test_one_that_is_killed_again_and_again_is_unavailable_and_the_next_question_is_answered(child: Child) -> None:
    with pytest.raises(ScoringUnavailable, match="keeps dying"):
        child.ask("die", signal.SIGKILL)
    assert child.ask("anything") == b"alive"


def test_a_crash_between_questions_is_nobodys_fault(child: Child) -> None:
    child.ask("anything")
    assert child.pid
    os.kill(child.pid, signal.SIGSEGV)
    deadline = time.monotonic() + 20
    while child._line is not None and not child._line.poll(0.05):
        assert time.monotonic() < deadline
    assert child.ask("anything") == b"alive"


def test_the_server_that_forks_may_die_too(child: Child) -> None:
    assert child.ask("anything") == b"alive"
    assert child.pid
    server = int(Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    assert server != os.getpid()
    os.kill(server, signal.SIGKILL)
    os.kill(child.pid, signal.SIGKILL)
    assert child.ask("anything") == b"alive"


def test_where_no_process_can_be_had_it_is_said(tmp_path: Path) -> None:
    child = Child(Native, tmp_path)
    child.close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # no pipe, no process
    try:
        with pytest.raises(ScoringUnavailable):
            child.ask("anything")
        unborn = Child(Native, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for one in (child, unborn):
        assert one.ask("anything") == b"alive"
        one.close()


def test_what_takes_too_long_is_given_up(tmp_path: Path) -> None:
    child = Child(Native, tmp_path, patience_s=0.3)
    stuck = child.pid
    assert stuck
    with pytest.raises(QueryMalformed, match="took longer"):
        child.ask("hang")
    assert child.ask("anything") == b"alive"
    assert child.pid != stuck
    with pytest.raises(ProcessLookupError):
        os.kill(stuck, 0)
    child.close()


def test_who_waits_behind_a_question_too_long_is_told(tmp_path: Path) -> None:
    child = Child(Native, tmp_path, patience_s=0.5)
    child.ask("anything")
    with child._asking, pytest.raises(ScoringUnavailable, match="too many"):
        child.ask("anything")
    child.close()


def test_refusals_come_back_bounded_and_plain(child: Child) -> None:
    with pytest.raises(MalformedBundle, match=r"not a .seful question") as refusal:
        child.ask("refuse")
    assert len(str(refusal.value)) <= 500
    assert str(refusal.value).isascii()


def test_an_error_nobody_expected_ends_in_the_documented_one(child: Child) -> None:
    with pytest.raises(ScoringUnavailable):
        child.ask("break")
    assert child.ask("anything") == b"alive"


def test_nothing_that_comes_up_is_unpickled(child: Child) -> None:
    """A process that was taken over writes what it likes: here the pickle of a call, whole."""

    class Call:
        def __reduce__(self) -> tuple[object, ...]:
            return (os.abort, ())

    assert child.ask("anything") == b"alive"
    line = child._line
    assert line is not None
    answers = iter([b"a" + pickle.dumps(Call())])
    child._line = type(
        "Line",
        (),
        {
            "poll": lambda self, wait=None: wait is not None,
            "send": lambda self, one: None,
            "recv_bytes": lambda self, most: next(answers),
            "close": line.close,
        },
    )()
    assert child.ask("anything").startswith(b"\x80")


class Taken:
    """A process that was taken over: it answers what it likes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def ask(self, *question: object) -> bytes:
        return self._answer


@pytest.mark.parametrize(
    "numbers",
    [(), (1,), (1, 2, 3), (16, 0), (65535, 65535)],
    ids=["nothing", "too few", "too many", "out of range", "far out"],
)
def test_a_gates_process_can_say_nothing_but_a_query(numbers: tuple[int, ...]) -> None:
    made = plan_gated(2, 16, weighted=False)
    opener = GateProcess(GateKey.generate(made))
    query = Bundle(Kind.GATED_QUERY, made, UNBOUND, ())
    opener.close()
    opener._child = Taken(struct.pack(f"<{len(numbers)}H", *numbers))  # type: ignore[assignment]
    with pytest.raises(ScoringUnavailable, match="something else"):
        opener.open_query(query)
    opener._child = Taken(struct.pack("<2H", 15, 0))  # type: ignore[assignment]
    assert opener.open_query(query).levels == (15, 0)


def test_a_scoring_process_can_say_nothing_but_scores() -> None:
    """For the query it was asked, about the rows it holds, every coefficient in range."""
    made = plan(1, 16, profile=FAST)
    asked = QueryKey.generate(made).encrypt_query([3]).bundle
    scores = score(asked, Database.build(made, np.array([[3], [4]])))
    assert checked(asked, scores.encode(), 2) == scores.parts
    other = replace(scores, binding=bytes([1]) * 32).encode()
    out_of_range = scores.encode()[:80] + b"\xff" * len(scores.parts[0])
    for answer, rows in ((b"", 2), (scores.encode(), 3), (other, 2), (out_of_range, 2), (asked.encode(), 2)):
        with pytest.raises(ScoringUnavailable):
            checked(asked, answer, rows)


class Ready:
    """Vendor-key processes that are there before the query, so that a test can end one; otherwise each has its own."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer

    def vendor_key(self, plan: object, levels: object, *, binding: bytes) -> Lent:
        return Lent(self.scorer)


class Lent:
    """A scorer that outlives its query."""

    def __init__(self, scorer: Scorer) -> None:
        self.score = scorer.score

    def close(self) -> None:
        """It is used again."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("dying"), SCHEMA, LEVELS, modes=(Mode.GATED, Mode.VENDOR_KEY), allowance=100)
    made.service._below_trilateration = lambda principal: None  # type: ignore[method-assign]
    own = made.service._vendor_key
    assert own is not None
    ready = Ready(Scoring().vendor_key(own.plan, own.cohort.levels, binding=own.binding))
    made.service._vendor_key = replace(own, scoring=ready)  # type: ignore[arg-type]
    yield made
    made.service.close()
    ready.scorer.close()


def pid_of(house: House, mode: Mode) -> int:
    """The process in which a vendor's numbers of this mode are worked on."""
    gated, own = house.service._gated, house.service._vendor_key
    assert gated is not None
    assert own is not None
    pid = gated.opener.pid if mode is Mode.GATED else own.scoring.scorer.pids[0]  # type: ignore[attr-defined]
    assert pid
    return pid


def asker(house: House, mode: Mode) -> Callable[[], int]:
    """Asks, and says how many are told. Gated as clients of version 2 do: what is sealed meets no native code."""
    if mode is not Mode.GATED:
        vendor, question = house.vendor(), Question(VALUES, mode, 1.0)
        return lambda: len(vendor.ask(question).handles)

    def ask() -> int:
        engine = house.service._gated
        assert engine is not None
        bundle = encrypt_gated_query(engine.gate.public_bundle(binding=engine.binding), [64, 64]).encode()
        query = GatedQuery.model_construct(
            epoch=house.service.cohort.epoch, threshold_squared=127**2, bundle=bundle, query_id=new_query_id()
        )
        return len(house.answers.answer_gated(VENDOR, query).handles)

    return ask


@pytest.mark.parametrize("mode", [Mode.GATED, Mode.VENDOR_KEY])
def test_a_query_that_ends_its_process_is_refused_alone(house: House, mode: Mode) -> None:
    """Stopped so that the query meets it, then ended as SEAL ends: a 400, charged; the very next query is answered."""
    answered = asker(house, mode)
    expected = answered()
    left, pid = house.budget.remaining(VENDOR.id, 0), pid_of(house, mode)
    os.kill(pid, signal.SIGSTOP)
    refusals: list[HospitalRefused | QueryMalformed] = []

    def ask() -> None:
        try:
            answered()
        except (HospitalRefused, QueryMalformed) as refusal:
            refusals.append(refusal)

    asking = threading.Thread(target=ask)
    asking.start()
    deadline = time.monotonic() + 20
    while house.budget.remaining(VENDOR.id, 0) == left and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)  # it is charged, and on its way to the process
    os.kill(pid, signal.SIGABRT)
    os.kill(pid, signal.SIGCONT)
    asking.join(30)
    assert [isinstance(one, QueryMalformed) or one.status == 400 for one in refusals] == [True]
    assert "ended the process" in str(refusals[0])
    assert answered() == expected
    assert pid_of(house, mode) != pid
    assert house.budget.remaining(VENDOR.id, 0) == left - 2
