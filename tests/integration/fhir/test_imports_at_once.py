"""Imports that arrive at once: they share durable steps, and each ends as it would alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.fhir.hospital import SYSTEM, VENDOR, Hospital
from tests.integration.fhir.test_twins_walks import patient, record
from twinward.access.consent import Provision
from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessContext, AccessRequest, Decision
from twinward.core.errors import Busy, TwinwardError, Unavailable
from twinward.core.turns import Turn
from twinward.core.vocabulary import Category, Purpose
from twinward.features.derivation import Measurement
from twinward.twins.errors import AlreadyImported, BelongsToAnother, TwinNotFound
from twinward.twins.ingest import queue
from twinward.twins.ingest.queue import MOST_AT_ONCE
from twinward.twins.models import IfKept, ImportRecord, PatientImport, Receipt
from twinward.twins.service import Twins

FILED = AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT)


def observation(name: str, of: str = "p", content: bytes = b"{}", if_kept: IfKept = IfKept.UPDATE) -> PatientImport:
    one = ImportRecord(f"Observation/{name}", "Observation", Category.LABS, content, if_kept=if_kept)
    return PatientImport(f"Patient/{of}", (one,))


def at_once(hospital: Hospital, *asked: Callable[[], Receipt]) -> list[Receipt | Exception]:
    """What becomes of imports that all wait when the turn is free again, in this order."""
    futures: list[Future[Receipt]] = []
    with ThreadPoolExecutor(len(asked)) as threads:
        with hospital.twins.writing:
            for number, one in enumerate(asked, start=1):
                futures.append(threads.submit(one))
                while len(hospital.twins.arriving) < number:
                    threading.Event().wait(0.001)
        outcomes: list[Receipt | Exception] = []
        for future in futures:
            error = future.exception(timeout=30)
            assert error is None or isinstance(error, Exception)
            outcomes.append(error or future.result())
    return outcomes


def take(hospital: Hospital, source: PatientImport, context: AccessContext = FILED) -> Callable[[], Receipt]:
    return lambda: hospital.twins.ingest(context, source)


def counted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[int]:
    """The number of items in each call of a method from now on."""
    calls: list[int] = []
    right = getattr(owner, name)

    def noting(items: Sequence[Any], *more: Any, **named: Any) -> Any:
        calls.append(len(items))
        return right(items, *more, **named)

    monkeypatch.setattr(owner, name, noting)
    return calls


def test_what_waits_is_decided_in_one_step_and_written_in_one(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    patients = [f"p{number}" for number in range(10)]
    for name in patients:
        hospital.twins.ingest(FILED, patient(name))
    appends, puts = counted(monkeypatch, hospital.trail, "record"), counted(monkeypatch, hospital.store, "put")
    before = hospital.trail.log.store.size()
    outcomes = at_once(hospital, *(take(hospital, observation(f"o-{name}", name)) for name in patients))
    assert [one.count("created") for one in outcomes if isinstance(one, Receipt)] == [1] * 10
    assert (appends, puts) == ([10], [10])
    assert hospital.trail.log.store.size() == before + 10
    assert {hospital.twins.find(f"Observation/o-{name}") for name in patients} == set(hospital.twins.all())


def test_each_has_its_own_outcome(hospital: Hospital) -> None:
    for name in ("p", "q", "r"):
        hospital.twins.ingest(FILED, patient(name))
    hospital.twins.ingest(FILED, observation("kept", "q"))
    hospital.consent(hospital.twins.find("Patient/r"), Provision(effect="deny", categories=(Category.LABS,)))
    outcomes = at_once(
        hospital,
        take(hospital, observation("new", "p")),
        take(hospital, observation("vendors", "q"), AccessContext(VENDOR, Purpose.RECORD_MANAGEMENT)),
        take(hospital, observation("kept", "p")),
        take(hospital, observation("of-nobody", "nobody")),
        take(hospital, observation("denied", "r")),
        take(hospital, observation("late", "q")),
    )
    kinds = [type(one) for one in outcomes]
    assert kinds == [Receipt, AccessDenied, BelongsToAnother, TwinNotFound, AccessDenied, Receipt]
    kept = [
        name
        for name in ("new", "vendors", "of-nobody", "denied", "late")
        if hospital.vault.locate(f"Observation/{name}")
    ]
    assert kept == ["new", "late"]
    assert hospital.twins.find("Observation/kept") == hospital.twins.find("Patient/q")


def test_one_name_is_taken_once_and_the_next_sees_it(hospital: Hospital) -> None:
    hospital.twins.ingest(FILED, patient("p"))
    outcomes = at_once(
        hospital,
        take(hospital, observation("o", content=b"1")),
        take(hospital, observation("o", content=b"2", if_kept=IfKept.REFUSE)),
        take(hospital, observation("o", content=b"3")),
    )
    assert isinstance(outcomes[0], Receipt)
    assert isinstance(outcomes[1], AlreadyImported)
    assert isinstance(outcomes[2], Receipt)
    assert [(one.change, one.version) for one in outcomes[2].stored] == [("updated", 2)]


def test_many_first_imports_of_one_patient_make_one_twin(hospital: Hospital) -> None:
    outcomes = at_once(hospital, *(take(hospital, patient("p", record(f"Observation/{at}"))) for at in range(8)))
    receipts = [one for one in outcomes if isinstance(one, Receipt)]
    assert len(receipts) == 8
    assert sum(one.created for one in receipts) == 1
    assert len({one.twin for one in receipts}) == len(hospital.twins.all()) == 1


def test_what_is_of_one_patient_shares_a_step_and_one_record_of_features(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    hospital.twins.ingest(FILED, patient("p"))
    measured = [Measurement("4548-4", 6.1, "%", 0), Measurement("2345-7", 90.0, "mg/dL", 0)]
    sources = [PatientImport("Patient/p", observation(f"o{at}").records, (one,)) for at, one in enumerate(measured)]
    puts = counted(monkeypatch, hospital.store, "put")
    outcomes = at_once(hospital, *(take(hospital, source) for source in sources))
    assert puts == [3]
    last = outcomes[-1]
    assert isinstance(last, Receipt)
    (hospital.folder / "alone").mkdir()
    alone = Hospital(hospital.folder / "alone")
    alone.twins.ingest(FILED, patient("p"))
    expected = [alone.twins.ingest(FILED, source) for source in sources][-1]
    assert last.features is not None
    assert expected.features is not None
    assert (last.features.levels, last.features.missing) == (expected.features.levels, expected.features.missing)
    alone.close()


def test_a_refusal_beside_others_of_the_same_patient_is_logged_once(hospital: Hospital) -> None:
    hospital.twins.ingest(FILED, patient("p"))
    before = len(hospital.trail.events)
    measured = Measurement("4548-4", 6.1, "%", 0)
    vendor = AccessContext(VENDOR, Purpose.RECORD_MANAGEMENT)
    outcomes = at_once(
        hospital,
        take(hospital, PatientImport("Patient/p", observation("a").records, (measured,))),
        take(hospital, observation("b"), vendor),
        take(hospital, observation("c")),
    )
    assert [type(one) for one in outcomes] == [Receipt, AccessDenied, Receipt]
    assert [event.decision for event in hospital.trail.events[before:]].count("deny") == 1
    located = [hospital.vault.locate(f"Observation/{name}") is not None for name in "abc"]
    assert located == [True, False, True]


def test_more_than_fit_into_one_step_all_arrive(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"p{number}" for number in range(MOST_AT_ONCE + 3)]
    puts = counted(monkeypatch, hospital.store, "put")
    outcomes = at_once(hospital, *(take(hospital, patient(name)) for name in names))
    assert all(isinstance(one, Receipt) and one.created for one in outcomes)
    assert puts == [MOST_AT_ONCE * 2, 6]  # each with its record of features
    assert len(hospital.twins.all()) == len(names)


def test_nobody_overtakes_whom_it_would_have_waited_for(hospital: Hospital) -> None:
    hospital.twins.ingest(FILED, patient("p"))

    def writing(content: bytes, *what: str) -> PatientImport:
        some = tuple(ImportRecord(f"Observation/{one}", "Observation", Category.LABS, content) for one in what)
        return PatientImport("Patient/p", some)

    imports = (writing(b"1", "a"), writing(b"2", "a", "b"), writing(b"3", "b"))
    outcomes = at_once(hospital, *(take(hospital, one) for one in imports))
    versions = [[one.version for one in some.stored] for some in outcomes if isinstance(some, Receipt)]
    assert [some[: len(one.records)] for some, one in zip(versions, imports, strict=True)] == [[1], [2, 1], [2]]


def test_large_ones_do_not_all_go_into_one_step(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("p", "q"):
        hospital.twins.ingest(FILED, patient(name))
    monkeypatch.setattr(queue, "MOST_BYTES_AT_ONCE", 100)
    puts = counted(monkeypatch, hospital.store, "put")
    sizes = (20, 80, 1, 200, 50, 51)
    imports = [observation(f"o{number}", "pq"[number % 2], b"1" * size) for number, size in enumerate(sizes)]
    outcomes = at_once(hospital, *(take(hospital, one) for one in imports))
    assert puts == [2, 1, 1, 1, 1]
    assert all(isinstance(one, Receipt) for one in outcomes)


def test_a_fault_of_one_is_not_told_to_the_others(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that raises, and a store that refuses the whole step: each then goes alone."""
    for name in ("p", "q"):
        hospital.twins.ingest(FILED, patient(name))
    right = hospital.access.check

    def ended(request: AccessRequest) -> Decision:
        if request.principal == VENDOR:
            raise Unavailable("not for you")
        return right(request)

    monkeypatch.setattr(hospital.access, "check", ended)
    outcomes = at_once(
        hospital,
        take(hospital, observation("a", "p")),
        take(hospital, observation("b", "q"), AccessContext(VENDOR, Purpose.RECORD_MANAGEMENT)),
    )
    assert [type(one) for one in outcomes] == [Receipt, Unavailable]
    put = hospital.vault.write_many

    def full(batch: Sequence[Any], *more: Any) -> Any:
        if any("Observation/bad" in one.references for _, records in batch for one in records):
            raise Unavailable("the disk is full")
        return put(batch, *more)

    monkeypatch.setattr(hospital.vault, "write_many", full)
    before = hospital.trail.log.store.size()
    outcomes = at_once(
        hospital,
        take(hospital, observation("c", "p")),
        take(hospital, observation("bad", "q")),
        take(hospital, patient("new")),
    )
    assert [type(one) for one in outcomes] == [Receipt, Unavailable, Receipt]
    assert hospital.vault.locate("Observation/c") is not None
    assert hospital.vault.locate("Observation/bad") is None
    assert hospital.trail.log.store.size() == before + 3, "a decision stands in the log once"
    assert hospital.twins.find("Patient/new") in hospital.twins.all()


def test_where_nothing_answers_not_each_of_many_is_tried(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"p{number}" for number in range(6)]
    for name in names:
        hospital.twins.ingest(FILED, patient(name))
    tried: list[int] = []

    def down(batch: Sequence[Any], *more: Any) -> Any:
        tried.append(len(batch))
        raise Unavailable("the disk is full")

    monkeypatch.setattr(hospital.vault, "write_many", down)
    outcomes = at_once(hospital, *(take(hospital, observation(f"o-{name}", name)) for name in names))
    assert [type(one) for one in outcomes] == [Unavailable] * 6
    assert tried == [6, 1, 1]


def test_who_was_told_to_come_again_is_not_taken_in(hospital: Hospital) -> None:
    turn = Turn(wait_s=0.05)
    twins = Twins(hospital.vault, hospital.store, hospital.access, hospital.clock, writing=turn)
    twins.ingest(FILED, patient("p"))
    with ThreadPoolExecutor(1) as threads:
        with turn:
            error = threads.submit(lambda: twins.ingest(FILED, observation("late"))).exception(timeout=30)
        assert isinstance(error, Busy)
        assert len(twins.arriving) == 0
        twins.ingest(FILED, observation("next"))
    assert hospital.vault.locate("Observation/late") is None


def test_whoever_looked_in_its_turn_takes_nobody_along(hospital: Hospital) -> None:
    hospital.twins.ingest(FILED, patient("p"))
    with ThreadPoolExecutor(1) as threads, hospital.twins.writing:
        waiting = threads.submit(take(hospital, observation("theirs")))
        while len(hospital.twins.arriving) < 1:
            threading.Event().wait(0.001)
        hospital.twins.ingest(FILED, observation("mine"))
        assert hospital.vault.locate("Observation/theirs") is None
        assert not waiting.done()
    assert waiting.result(timeout=30).count("created") == 1


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Hospital, Hospital]:
    return Hospital(tmp_path_factory.mktemp("grouped")), Hospital(tmp_path_factory.mktemp("alone"))


def told(outcome: Receipt | Exception) -> object:
    if isinstance(outcome, Exception):
        return type(outcome)
    own = [(one.change, one.version) for one in outcome.stored if not one.reference.startswith("FeatureVector")]
    return outcome.created, own


ASKED = st.lists(
    st.tuples(
        st.sampled_from("pqr"), st.booleans(), st.sampled_from("abc"), st.sampled_from([b"1", b"2"]), st.booleans()
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=st.lists(ASKED, min_size=1, max_size=2), run=st.uuids())
def test_together_as_one_after_the_other(pair: tuple[Hospital, Hospital], rounds: Any, run: Any) -> None:
    grouped, alone = pair

    def source(who: str, whole: bool, what: str, content: bytes) -> PatientImport:
        name, shown = f"{who}-{run}", record(f"Observation/{what}-{run}", content)
        return patient(name, shown) if whole else PatientImport(f"Patient/{name}", (shown,))

    for asked in rounds:
        sources = [(source(*one[:4]), VENDOR if one[4] and one[1] else SYSTEM) for one in asked]
        contexts = [(AccessContext(who, Purpose.RECORD_MANAGEMENT), some) for some, who in sources]
        expected: list[Receipt | Exception] = []
        for context, some in contexts:
            try:
                expected.append(alone.twins.ingest(context, some))
            except TwinwardError as error:
                expected.append(error)
        outcomes = at_once(grouped, *(take(grouped, some, context) for context, some in contexts))
        assert [told(one) for one in outcomes] == [told(one) for one in expected]
