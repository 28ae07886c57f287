"""Readings in: each line answered, once in effect, on the right twin or on none."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from tests.integration.fhir.hospital import OFFICER, VENDOR
from tests.integration.live.ward import CARING, FILING, Ward
from twinward.access.consent import Provision
from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessContext, AccessRequest, Permit
from twinward.core.errors import BadInput, NotFound, StoreAltered, Unavailable
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.erasure.service import Erasures
from twinward.live.assignments import WITHHELD
from twinward.live.errors import AssignmentConflict, DeviceUnknown, IntakeBusy, NothingMeasured, QuarantineFull
from twinward.live.intake import intake
from twinward.live.intake.lines import read_lines
from twinward.live.models import Answer, MessageId, Outcome, Placed, Reason
from twinward.live.service import Live
from twinward.live.storage import quarantine
from twinward.live.storage.database import LiveDatabase, Tables
from twinward.live.timeseries import Span
from twinward.vault.errors import RecordDamaged

HOUR = 3_600_000


def values(ward: Ward, twin: TwinId, signal: str = "heart_rate") -> list[float]:
    now = ward.clock.now_ms()
    return [one.value for one in ward.live.series(CARING, twin, signal, Span(now - 48 * HOUR, now + HOUR))]


def outcomes(answers: list[Answer]) -> list[Outcome]:
    return [one.outcome for one in answers]


def test_a_reading_lands_on_whom_the_device_is_with(ward: Ward) -> None:
    ann, ben = ward.admit("ann"), ward.admit("ben")
    ward.live.assign(FILING, "monitor-7", ann, ward.clock.now_ms() - HOUR)
    assert ward.send(ward.line(61), ward.line(62)) == [Answer(1, Outcome.STORED), Answer(2, Outcome.STORED)]
    assert values(ward, ann) == [61, 62]
    assert values(ward, ben) == []


def test_sent_again_it_is_stored_once(ward: Ward) -> None:
    ann = ward.admit("ann")
    line = ward.line(61, subject="Patient/ann")
    assert outcomes(ward.send(line, line)) == [Outcome.STORED, Outcome.DUPLICATE]
    assert outcomes(ward.send(line)) == [Outcome.DUPLICATE]
    reopened = ward.reopen()
    assert outcomes(reopened.send(line)) == [Outcome.DUPLICATE]
    assert values(reopened, ann) == [61]
    reopened.close()


def test_two_sources_and_two_accounts_count_for_themselves(ward: Ward) -> None:
    ann = ward.admit("ann")
    line = ward.line(61, subject="Patient/ann")
    ward.send(line)
    assert outcomes(ward.send(line, source="gw-2")) == [Outcome.STORED]
    assert outcomes(ward.send(line, context=CARING)) == [Outcome.STORED]
    assert values(ward, ann) == [61, 61, 61]


def test_units_are_converted_and_shown_in_the_signals_own(ward: Ward) -> None:
    ann = ward.admit("ann")
    ward.send(ward.line(98.6, code="8310-5", unit="[degF]", subject="Patient/ann"))
    assert values(ward, ann, "temperature") == [37]


def test_a_series_is_as_many_samples(ward: Ward) -> None:
    ann = ward.admit("ann")
    now = ward.clock.now_ms()
    series = {"periodMs": 500, "values": [60, 61, 62.5]}
    ward.send(ward.line(subject="Patient/ann", value=None, series=series, at_ms=now - 2000))
    found = ward.live.series(CARING, ann, "heart_rate", Span(now - 2000, now))
    assert [(one.time_ms - now, one.value) for one in found] == [(-2000, 60), (-1500, 61), (-1000, 62.5)]


FAULTY: list[tuple[dict[str, object], Reason]] = [
    ({"code": "0000-0"}, Reason.UNKNOWN_CODE),
    ({"unit": "mg/dL"}, Reason.UNKNOWN_UNIT),
    ({"unit": "furlong"}, Reason.UNKNOWN_UNIT),
    ({"unit": "\x1b[1mAnn"}, Reason.UNKNOWN_UNIT),
    ({"value": 4000}, Reason.IMPOSSIBLE_VALUE),
    ({"device": "monitor-8"}, Reason.NOT_ASSIGNED),
    ({"device": None, "subject": "Patient/nobody"}, Reason.UNKNOWN_SUBJECT),
    ({"time": "2026-01-01T00:06:00Z"}, Reason.FUTURE_TIME),
    ({"time": "2025-12-31T22:59:59Z"}, Reason.NOT_ASSIGNED),
    ({"quality": "great"}, Reason.MALFORMED),
    ({"value": "72"}, Reason.MALFORMED),
    ({"value": True}, Reason.MALFORMED),
    ({"value": None}, Reason.MALFORMED),
    ({"series": {"periodMs": 1, "values": [1]}}, Reason.MALFORMED),
    ({"subject": "Patient/ann", "device": "monitor-7"}, Reason.MALFORMED),
    ({"device": "monitor 7"}, Reason.MALFORMED),
    ({"time": "2026-01-01T00:00:00"}, Reason.MALFORMED),
    ({"name": "Ann"}, Reason.MALFORMED),
    ({"name`\nAnn": "x"}, Reason.MALFORMED),
    ({"quality": "good'\nAnn"}, Reason.MALFORMED),
    ({"quality": "good - at `$.Ann"}, Reason.MALFORMED),
]


def test_what_cannot_be_placed_is_kept_sealed_with_its_reason(ward: Ward) -> None:
    ann = ward.admit("ann")
    ward.live.assign(FILING, "monitor-7", ann, ward.clock.now_ms() - HOUR)
    lines = []
    for changed, _ in FAULTY:
        line = ward.line(**changed) if "time" not in changed else ward.line() | changed  # type: ignore[arg-type]
        lines.append({name: one for name, one in line.items() if one is not None})
    said = ward.send(*lines)
    assert [(one.outcome, one.reason) for one in said] == [(Outcome.QUARANTINED, reason) for _, reason in FAULTY]
    assert not any("72" in one.detail or "Ann" in one.detail for one in said)
    held = ward.live.quarantine(FILING)
    assert [(one.seq, one.reason) for one in held] == [(n, reason) for n, (_, reason) in enumerate(FAULTY, start=1)]
    assert {(one.account, one.source) for one in held} == {("icu-gateway", "gw-1")}
    assert values(ward, ann) == []
    raw = b"".join(one.read_bytes() for one in ward.folder.glob("live.db*"))
    assert b"monitor-7" not in raw
    assert b"8867-4" not in raw


def test_what_is_no_reading_and_has_no_number_is_refused(ward: Ward) -> None:
    lines = [b"{", b"[]", b"\xff", b'{"seq": -1}', b'{"seq": 9007199254740992}', b"null", b"1", b'{"seq": NaN}']
    for line in (*lines, b"[" * 60_000, b" " * 65_000 + b"{"):
        assert ward.send(line)[0].outcome is Outcome.REFUSED
    assert ward.live.quarantine(FILING) == []


def test_lines_around_a_bad_one_are_taken(ward: Ward) -> None:
    ann = ward.admit("ann")
    said = ward.send(ward.line(1, subject="Patient/ann"), b"{", b"", ward.line(2, subject="Patient/ann"))
    assert outcomes(said) == [Outcome.STORED, Outcome.REFUSED, Outcome.STORED]
    assert values(ward, ann) == [1, 2]


def test_whoever_may_not_write_learns_nothing(ward: Ward) -> None:
    ward.admit("ann")
    with pytest.raises(AccessDenied):
        ward.send(ward.line(subject="Patient/ann"), context=AccessContext(VENDOR, Purpose.RECORD_MANAGEMENT))
    with pytest.raises(AccessDenied):
        ward.live.assign(AccessContext(VENDOR, Purpose.TREATMENT), "monitor-7", TwinId("0" * 8))


def test_a_patients_no_is_answered_and_nothing_is_kept(ward: Ward) -> None:
    ann = ward.admit("ann")
    ward.consent(ann, Provision(effect="deny", categories=(Category.VITALS,)))
    line = ward.line(61, subject="Patient/ann")
    assert ward.send(line)[0] == Answer(1, Outcome.REFUSED, Reason.NOT_PERMITTED)
    ward.consent(ann)
    assert outcomes(ward.send(line)) == [Outcome.STORED], "the sender still had it"
    ward.consent(ann, Provision(effect="deny", categories=(Category.VITALS,)))
    assert outcomes(ward.send(ward.line(62, subject="Patient/ann"))) == [Outcome.REFUSED], "the permit ended with it"
    ward.consent(ann)
    assert values(ward, ann) == [61]


def test_no_reading_without_consent_and_every_read_in_the_log(ward: Ward) -> None:
    ann = ward.admit("ann")
    ward.send(ward.line(61, subject="Patient/ann"))
    before = len(ward.trail.events)
    values(ward, ann)
    (event,) = ward.trail.events[before:]
    assert (event.action, event.twin, event.categories) == (Action.READ, ann, (Category.VITALS,))
    assert dict(event.detail)["signal"] == "heart_rate"
    ward.consent(ann, Provision(effect="deny", categories=(Category.VITALS,)))
    with pytest.raises(AccessDenied):
        values(ward, ann)
    with pytest.raises(AccessDenied):
        ward.live.at(CARING, ann, "heart_rate")
    with pytest.raises(AccessDenied):
        ward.live.series(AccessContext(OFFICER, Purpose.COMPLIANCE), ann, "heart_rate", Span(0, 1))


def test_one_decision_for_many_batches(ward: Ward) -> None:
    ward.admit("ann")
    ward.send(ward.line(61, subject="Patient/ann"))
    before = len(ward.trail.events)
    for _ in range(5):
        ward.send(ward.line(62, subject="Patient/ann"))
    assert len(ward.trail.events) == before
    ward.clock.advance(61_000)
    ward.send(ward.line(62, subject="Patient/ann"))
    assert len(ward.trail.events) == before + 1


def test_a_device_that_moves_takes_no_reading_with_it(ward: Ward) -> None:
    ann, ben = ward.admit("ann"), ward.admit("ben")
    start = ward.clock.now_ms() - 10 * HOUR
    ward.live.assign(FILING, "monitor-7", ann, start)
    ward.live.release(FILING, "monitor-7", start + HOUR)
    ward.live.assign(FILING, "monitor-7", ben, start + 2 * HOUR)
    late = [ward.line(number, at_ms=start + part * HOUR // 2) for number, part in enumerate((5, 1, 3, 2, 0, 4))]
    said = ward.send(*late)
    assert [one.reason for one in said] == [None, None, Reason.NOT_ASSIGNED, Reason.NOT_ASSIGNED, None, None]
    assert (values(ward, ann), values(ward, ben)) == ([4, 1], [5, 0])
    with pytest.raises(AssignmentConflict, match="placed already"):
        ward.live.release(FILING, "monitor-7", start + 2 * HOUR + 1)


def test_while_a_device_is_released_nobody_else_takes_it_over(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, ben = ward.admit("ann"), ward.admit("ben")
    start = ward.clock.now_ms()
    ward.live.assign(FILING, "monitor-7", ann, start)
    decided, others = ward.access.decide, list[Future[object]]()

    def taken_over() -> None:
        ward.live.release(FILING, "monitor-7", start + 1)
        ward.live.assign(FILING, "monitor-7", ben, start + 1)

    with ThreadPoolExecutor(1) as pool:

        def meanwhile(request: AccessRequest) -> Permit:
            monkeypatch.setattr(ward.access, "decide", decided)
            others.append(pool.submit(taken_over))
            with pytest.raises(TimeoutError):
                others[0].result(0.2)  # it waits for its turn
            return decided(request)

        monkeypatch.setattr(ward.access, "decide", meanwhile)
        assert ward.live.release(FILING, "monitor-7", start + 2).twin == ann
        with pytest.raises(DeviceUnknown):
            others[0].result()


def test_a_slip_in_a_year_does_not_bind_a_device_for_ever(ward: Ward) -> None:
    ann, ben = ward.admit("ann"), ward.admit("ben")
    start = ward.clock.now_ms()
    for wrong in (start + 366 * 24 * HOUR, -1):
        with pytest.raises(BadInput):
            ward.live.assign(FILING, "monitor-7", ann, wrong)
    ward.live.assign(FILING, "monitor-7", ann, start)
    ward.send(ward.line(61, at_ms=start + 299_000))  # a clock that is ahead
    with pytest.raises(BadInput):
        ward.live.release(FILING, "monitor-7", start + 366 * 24 * HOUR)
    ward.live.release(FILING, "monitor-7", start + 299_001)
    assert ward.live.assign(FILING, "monitor-7", ben, start + 299_001).twin == ben


def test_a_series_over_an_assignments_end_is_nobodys(ward: Ward) -> None:
    ann = ward.admit("ann")
    now = ward.clock.now_ms()
    ward.live.assign(FILING, "monitor-7", ann, now - HOUR)
    ward.live.release(FILING, "monitor-7", now - 500)
    series = {"periodMs": 500, "values": [60, 61, 62]}
    (said,) = ward.send(ward.line(value=None, series=series, at_ms=now - 1200))
    assert said.reason is Reason.NOT_ASSIGNED
    assert values(ward, ann) == []


def test_quarantine_is_replayed_once_what_was_missing_is_there(ward: Ward) -> None:
    ann = ward.admit("ann")
    ward.send(ward.line(61), ward.line(62, code="0000-0"))
    held = ward.live.quarantine(FILING)
    assert outcomes(ward.live.replay(FILING, held)) == [Outcome.QUARANTINED, Outcome.QUARANTINED]
    ward.live.assign(FILING, "monitor-7", ann, ward.clock.now_ms() - HOUR)
    assert outcomes(ward.live.replay(FILING, held)) == [Outcome.STORED, Outcome.QUARANTINED]
    assert outcomes(ward.live.replay(FILING, held)) == [Outcome.DUPLICATE, Outcome.QUARANTINED]
    assert values(ward, ann) == [61]
    (left,) = ward.live.quarantine(FILING)
    assert left.reason is Reason.UNKNOWN_CODE
    assert ward.live.drop(FILING, [left]) == 1
    (source,) = ward.live.sources(FILING)
    assert (source.stored, source.quarantined, source.ranges) == (1, 1, [(1, 3)])


def test_gaps_and_quarantine_have_bounds_and_the_sender_keeps_the_rest(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.admit("ann")
    lines = [ward.line(61, subject="Patient/ann", seq=2 * number) for number in range(1_001)]
    said = ward.send(*lines)
    assert outcomes(said)[:1_000] == [Outcome.STORED] * 1_000
    assert said[1_000].reason is Reason.TOO_MANY_GAPS
    assert outcomes(ward.send(ward.line(61, subject="Patient/ann", seq=1), lines[1_000])) == [Outcome.STORED] * 2
    monkeypatch.setattr(quarantine, "MOST_OF_SOURCE", 1)
    assert outcomes(ward.send(ward.line(seq=5), source="b")) == [Outcome.QUARANTINED]
    with pytest.raises(QuarantineFull):
        ward.send(ward.line(61, subject="Patient/ann", seq=6), ward.line(seq=7), source="b")
    assert outcomes(ward.send(ward.line(61, subject="Patient/ann", seq=6), source="b")) == [Outcome.STORED]


def test_batches_of_several_sources_are_taken_together_or_not_at_all(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = ward.admit("ann")
    good, bad = ward.line(61, subject="Patient/ann"), ward.line(62)
    made = {name: read_lines(json.dumps(line).encode()) for name, line in (("a", good), ("b", bad))}
    with monkeypatch.context() as patch:
        patch.setattr(quarantine, "MOST_OF_SOURCE", 0)
        with pytest.raises(QuarantineFull):
            ward.live.intake.take_several(FILING, made)
    assert not ward.live.has_measured(ann)
    answers = ward.live.intake.take_several(FILING, made)
    assert {name: outcomes(some) for name, some in answers.items()} == {
        "a": [Outcome.STORED],
        "b": [Outcome.QUARANTINED],
    }
    again = ward.live.intake.take_several(FILING, made)
    assert [outcomes(some) for some in again.values()] == [[Outcome.DUPLICATE]] * 2
    with pytest.raises(BadInput):
        ward.live.intake.take_several(FILING, made | {"no name": []})


def test_batches_that_wait_share_a_commit_and_each_sender_is_told_of_its_own(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = ward.admit("ann")
    made = {name: read_lines(json.dumps(ward.line(60 + place, subject="Patient/ann")).encode())
            for place, name in enumerate(("a", "b", "c"))}  # fmt: skip
    made["full"] = read_lines(json.dumps(ward.line(62)).encode())
    monkeypatch.setattr(quarantine, "MOST_OF_SOURCE", 0)
    contexts = {name: replace(FILING, principal=replace(FILING.principal, id=f"gateway-{name}")) for name in made}
    commits: list[int] = []
    together = intake.commit_together

    def watched(database: LiveDatabase, jobs: Sequence[Any], work: Any) -> None:
        commits.append(len(jobs))
        together(database, jobs, work)

    monkeypatch.setattr(intake, "commit_together", watched)
    with ThreadPoolExecutor(4) as pool:
        with ward.database.writing():  # nobody gets on
            asked = {
                name: pool.submit(ward.live.intake.take, contexts[name], name, batch) for name, batch in made.items()
            }
            while len(ward.live.intake._shared._waiting) < 3:
                time.sleep(0.001)
        assert [outcomes(asked[name].result(10)) for name in "abc"] == [[Outcome.STORED]] * 3
        with pytest.raises(QuarantineFull):
            asked["full"].result(10)
    assert sum(commits) == 4
    assert max(commits) == 3, "who waited was done at once"
    now = ward.clock.now_ms()
    shown = ward.live.series(CARING, ann, "heart_rate", Span(now - HOUR, now + 1))
    assert sorted(one.value for one in shown) == [60, 61, 62]


def test_a_sender_whose_row_was_altered_keeps_nobody_elses_batch_from_being_taken(ward: Ward) -> None:
    ward.admit("ann")
    contexts = {name: replace(FILING, principal=replace(FILING.principal, id=f"gateway-{name}")) for name in "abc"}

    def batch() -> Sequence[Any]:
        return read_lines(json.dumps(ward.line(60, subject="Patient/ann")).encode())

    ward.live.intake.take(contexts["a"], "a", batch())
    with sqlite3.connect(ward.folder / "live.db") as altering:
        altering.execute("UPDATE live_source SET revision = revision + 1")
    altering.close()
    with ThreadPoolExecutor(4) as pool:
        with ward.database.writing():  # nobody gets on
            first = pool.submit(ward.live.intake.take, contexts["b"], "b", batch())
            while not ward.live.intake._shared._is_led or ward.live.intake._shared._waiting:
                time.sleep(0.001)
            asked = {name: pool.submit(ward.live.intake.take, contexts[name], name, batch()) for name in "abc"}
            while len(ward.live.intake._shared._waiting) < 3:
                time.sleep(0.001)
        assert outcomes(first.result(10)) == [Outcome.STORED]
        with pytest.raises(StoreAltered):
            asked["a"].result(10)
        assert [outcomes(asked[name].result(10)) for name in "bc"] == [[Outcome.STORED]] * 2


def test_too_many_at_once_are_told_to_come_again(ward: Ward) -> None:
    ward.admit("ann")
    with ExitStack() as others:
        for number in range(intake.MOST_WAITING):
            others.enter_context(ward.live.intake._batches.one(f"gateway-{number}"))
        with pytest.raises(IntakeBusy):
            ward.send(ward.line(subject="Patient/ann"))
    assert outcomes(ward.send(ward.line(subject="Patient/ann"))) == [Outcome.STORED]


def test_one_account_cannot_take_every_place_there_is(ward: Ward) -> None:
    ward.admit("ann")
    with ExitStack() as own:
        for _ in range(intake.MOST_WAITING // 2):
            own.enter_context(ward.live.intake._batches.one(FILING.principal.id))
        with pytest.raises(IntakeBusy):
            ward.send(ward.line(subject="Patient/ann"))
        own.enter_context(ward.live.intake._batches.one("another"))
    assert outcomes(ward.send(ward.line(subject="Patient/ann"))) == [Outcome.STORED]


def test_erased_is_erased(ward: Ward) -> None:
    ann, ben = ward.admit("ann"), ward.admit("ben")
    ward.live.assign(FILING, "monitor-7", ann, ward.clock.now_ms() - HOUR)
    ward.send(ward.line(61), ward.line(62, subject="Patient/ben"), ward.line(4, code="2823-3", subject="Patient/ben"))
    erasures = Erasures(
        *(ward.access, ward.trail, ward.keyring, ward.store, ward._consents, ward.clock),
        purged=ward.live.closing.forget_shredded,
        wait=lambda _: None,
    )
    officer = AccessContext(OFFICER, Purpose.PATIENT_REQUEST)
    erasures.erase([officer.request(Action.SHRED, ann), officer.request(Action.SHRED, ben, {Category.LABS})])
    with ward.database.reading() as tables:
        assert tables.series.twins() == [ben]
    assert outcomes(ward.send(ward.line(63))) == [Outcome.REFUSED]
    with pytest.raises(NotFound):
        values(ward, ann)
    assert values(ward, ben) == [62]
    with pytest.raises(NothingMeasured):
        ward.live.at(CARING, ben, "potassium")


def test_what_is_in_quarantine_is_erased_with_its_patient(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "_AT_ONCE", 2)
    ann, ben = ward.admit("ann"), ward.admit("ben")
    ward.live.assign(FILING, "monitor-7", ann, ward.clock.now_ms() - HOUR)
    ward.send(
        ward.line(61, code="0000-0"),
        ward.line(61, unit="furlong", subject="Patient/ann"),
        ward.line(61, quality="great", subject="Patient/ann"),
        ward.line(61, quality="great"),
        ward.line(61, unit="furlong", subject="Patient/ben"),
        ward.line(61, device="monitor-8"),
    )
    ward.keyring.shred(ann)
    ward.live.closing.forget_shredded()
    assert [one.seq for one in ward.live.quarantine(FILING)] == [5, 6]
    ward.keyring.shred(ben)
    ward.live.closing.forget_shredded()
    assert [one.seq for one in ward.live.quarantine(FILING)] == [6]
    with sqlite3.connect(ward.folder / "live.db") as file:
        file.execute("UPDATE live_quarantine SET sealed = zeroblob(length(sealed))")
    ward.live.closing.forget_shredded()  # an erasure is not kept up by whoever alters a row


def test_rows_that_were_moved_or_altered_do_not_open(ward: Ward) -> None:
    ann, ben = ward.admit("ann"), ward.admit("ben")
    ward.send(ward.line(61, subject="Patient/ann"), ward.line(62, subject="Patient/ben"))
    with sqlite3.connect(ward.folder / "live.db") as file:
        file.execute("UPDATE live_series SET window_ms = window_ms - 3600000 WHERE twin = ?", (ann,))
        rows = file.execute("SELECT category_tag FROM live_series WHERE twin = ?", (ben,)).fetchall()
        file.execute("UPDATE live_series SET sealed = zeroblob(length(sealed)) WHERE category_tag = ?", rows[0])
        file.execute("UPDATE live_source SET revision = revision + 1")
    for twin in (ann, ben):
        with pytest.raises(RecordDamaged):
            values(ward, twin)
    with pytest.raises(StoreAltered):
        ward.send(ward.line(61, subject="Patient/ann"))


def test_names_are_checked(ward: Ward) -> None:
    for source in ("", "a b", "x" * 65, "-a", "ä"):
        with pytest.raises(BadInput):
            ward.send(ward.line(subject="Patient/ann"), source=source)


def test_a_no_of_the_patients_does_not_keep_a_device_on_them(ward: Ward) -> None:
    ann, ben = ward.admit("ann"), ward.admit("ben")
    ward.live.assign(FILING, "monitor-7", ann)
    ward.consent(ann, Provision(effect="deny", categories=(Category.MONITORING,)))
    ward.clock.advance(1)
    with pytest.raises(AccessDenied):
        ward.live.release(AccessContext(OFFICER, Purpose.COMPLIANCE), "monitor-7")
    assert ward.live.release(FILING, "monitor-7").twin == WITHHELD
    event = ward.trail.events[-1]
    assert (event.twin, event.decision, ("live", "released") in event.detail) == (None, "permit", True)
    ward.live.assign(FILING, "monitor-7", ben)
    assert ward.live.release(FILING, "monitor-7", ward.clock.now_ms() + 1).twin == ben


def test_what_waited_for_somebody_unknown_is_erased_with_them(ward: Ward) -> None:
    ward.send(ward.line(72, subject="Patient/ann"), ward.line(70, subject="Patient/ben"))
    assert len(ward.live.quarantine(FILING)) == 2
    ann = ward.admit("ann")
    assert (ward.live.closing.tie_held(), ward.live.closing.tie_held()) == (1, 0)
    ward.keyring.shred(ann)
    ward.live.closing.forget_shredded()
    (held,) = ward.live.quarantine(FILING)
    assert held.reading is not None
    assert held.reading.subject == "Patient/ben"


def test_what_one_message_breaks_its_sender_alone_is_told_and_a_try_that_failed_leaves_nothing(ward: Ward) -> None:
    def breaks(_tables: Tables, placed: Sequence[Placed]) -> None:
        found = [one.samples()[0].value for one in placed]
        tries.extend(found)
        if 66 in found:
            raise OverflowError("a number that no column holds")
        if 63 in found:
            raise Unavailable("the database")

    tries: list[float] = []
    ann, at_work = ward.admit("ann"), intake.Intake(ward.parts, breaks)

    def job(value: float) -> intake._Job:
        lines = read_lines(json.dumps(ward.line(value, subject="Patient/ann")).encode())
        return intake._Job(MessageId(f"m-{value}", bytes(32)), lines, {"Patient/ann": ann})

    jobs = [job(61), job(66), job(62)]
    at_work._take_jobs(FILING, "hl7", jobs)
    assert [type(one.error) for one in jobs] == [type(None), OverflowError, type(None)]
    assert sorted(values(ward, ann)) == [61, 62]
    # a database that does not answer is waited for once, not by each
    asked = [job(63), job(64)]
    at_work._take_jobs(FILING, "hl7", asked)
    assert (tries.count(63), [type(one.error) for one in asked]) == (1, [Unavailable] * 2)
    # settled meanwhile by another process: a try before it had given the message a place
    at_work._take_jobs(FILING, "hl7", [jobs[2]])
    assert outcomes(jobs[2].answers) == [Outcome.DUPLICATE]
    assert sorted(values(ward, ann)) == [61, 62]


def test_of_two_who_assign_a_device_at_once_one_does_and_the_log_tells_of_one(ward: Ward) -> None:
    twins, start = [ward.admit("ann"), ward.admit("ben")], threading.Barrier(2)
    other = Live(replace(ward.parts, database=LiveDatabase(ward.folder / "live.db", ward.keyring)))

    def assigned(number: int) -> bool:
        start.wait()
        try:
            (ward.live, other)[number].assign(FILING, "m-1", twins[number])
        except AssignmentConflict:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(assigned, (0, 1))) == [False, True]
    told = [one for one in ward.trail.events if ("live", "assigned") in one.detail]
    assert [one.twin for one in told] == [ward.live.line_of("m-1").assignments[-1].twin]
    other.close()
