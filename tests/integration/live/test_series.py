"""Series out: at a moment, newest, followed; hours that are over are packed and told to the log."""

from __future__ import annotations

import sqlite3

import pytest

from tests.integration.live.ward import CARING, FILING, Ward
from twinward.access.consent import Provision
from twinward.access.errors import AccessDenied
from twinward.core.vocabulary import Category, Role, TwinId
from twinward.live import following
from twinward.live.errors import NothingMeasured, SignalUnknown
from twinward.live.models import Sample
from twinward.live.storage.closing import root_of
from twinward.live.storage.series import Run, Sealed, SeriesSealer
from twinward.live.timeseries import Point, Span
from twinward.vault.errors import RecordDamaged
from twinward.vault.keys.twin_keys import TwinKeys

HOUR = 3_600_000


def values(ward: Ward, twin: TwinId) -> list[float]:
    now = ward.clock.now_ms()
    return [one.value for one in ward.live.series(CARING, twin, "heart_rate", Span(now - 48 * HOUR, now + HOUR))]


def test_a_moment_is_answered_with_what_stood_then(ward: Ward) -> None:
    ann, now = ward.admit("ann"), ward.clock.now_ms()
    for value, at in ((61, now - 3 * HOUR), (63, now - HOUR), (62, now - 2 * HOUR)):  # out of order
        ward.send(ward.line(value, subject="Patient/ann", at_ms=at))
    assert ward.live.at(CARING, ann, "heart_rate") == Point(now - HOUR, 63)
    assert ward.live.at(CARING, ann, "heart_rate", now - HOUR - 1).value == 62
    assert ward.live.at(CARING, ann, "heart_rate", now - 3 * HOUR).value == 61
    with pytest.raises(NothingMeasured):
        ward.live.at(CARING, ann, "heart_rate", now - 3 * HOUR - 1)
    with pytest.raises(SignalUnknown):
        ward.live.at(CARING, ann, "mood")


def test_the_newest_of_each_signal_and_what_was_withheld(ward: Ward) -> None:
    ann = ward.admit("ann")
    ward.send(ward.line(61, subject="Patient/ann"), ward.line(4.1, code="2823-3", subject="Patient/ann"))
    shown, withheld = ward.live.newest(CARING, ann)
    assert {one.signal.name: one.point.value for one in shown} == {"heart_rate": 61, "potassium": 4.1}
    assert not withheld
    ward.consent(ann, Provision(effect="deny", categories=(Category.LABS,)))
    shown, withheld = ward.live.newest(CARING, ann)
    assert [one.signal.name for one in shown] == ["heart_rate"]
    assert Category.LABS in withheld


def test_an_hour_that_is_over_is_packed_and_the_log_told_of_all_of_it(ward: Ward) -> None:
    ann, now = ward.admit("ann"), ward.clock.now_ms()
    ward.live.assign(FILING, "monitor-7", ann, now - HOUR)
    sent = [ward.line(60 + number % 3, at_ms=now - HOUR + number * 1000) for number in range(300)]
    for start in range(0, 300, 50):
        ward.send(*sent[start : start + 50])
    before = values(ward, ann)
    assert ward.live.closing.run().windows == 0, "late readings are waited for"
    ward.clock.advance(HOUR)
    report = ward.live.closing.run()
    assert (report.windows, report.samples, report.rows_before, report.rows_after) == (1, 300, 6, 1)
    told = dict(ward.trail.events[-1].detail)
    assert (told["device"], told["samples"], told["source"]) == ("monitor-7", "300", "gw-1")
    own = [Sample(now - HOUR + number * 1000, number + 1, 60.0 + number % 3, 0) for number in range(300)]
    assert told["root"] == root_of([("heart_rate", own)]).hex(), "whoever sent them can check it"
    assert ward.trail.events[-1].agent == "node"
    assert values(ward, ann) == before
    assert ward.live.closing.run().windows == 0
    ward.send(ward.line(99, at_ms=now - HOUR + 500))  # late
    assert ward.live.closing.run().samples == 301
    assert dict(ward.trail.events[-1].detail)["samples"] == "301"
    assert values(ward, ann) == [60, 99, *before[1:]]


def test_closing_waits_where_the_log_says_no(ward: Ward) -> None:
    ann = ward.admit("ann")
    ward.send(ward.line(61, subject="Patient/ann"))
    ward.consent(ann, Provision(effect="deny", roles=(Role.NODE,), categories=(Category.VITALS,)))
    assert ward.live.closing.run(now=True).windows == 0
    told = len(ward.trail.events)
    assert ward.live.closing.run(now=True).windows == 0
    assert len(ward.trail.events) == told, "a no that stands is not told again each minute"
    ward.consent(ann)
    assert values(ward, ann) == [61]
    assert ward.live.closing.run(now=True).windows == 1


def test_a_row_that_was_altered_keeps_no_other_hour_open(ward: Ward) -> None:
    ann, ben = sorted((ward.admit("ann"), ward.admit("ben")))
    ward.send(ward.line(61, subject="Patient/ann"), ward.line(62, subject="Patient/ben"))
    with sqlite3.connect(ward.folder / "live.db") as file:
        file.execute("UPDATE live_series SET sealed = zeroblob(length(sealed)) WHERE twin = ?", (ann,))
    with pytest.raises(RecordDamaged):
        ward.live.closing.run(now=True)
    with ward.database.reading() as tables:
        assert [twin for twin, _ in tables.series.open_windows(ward.clock.now_ms() + 1, 10)] == [ann]
    assert values(ward, ben)


def test_a_day_by_the_second_takes_four_bytes_a_sample_at_most(ward: Ward) -> None:
    ward.admit("ann")
    now = ward.clock.now_ms() - 2 * HOUR
    beats = [70 + (number * 7919 % 13) / 2 for number in range(7_200)]
    for start in range(0, 7_200, 3_600):
        series = {"periodMs": 1000, "values": beats[start : start + 3_600]}
        ward.send(ward.line(subject="Patient/ann", value=None, series=series, at_ms=now + start * 1000))
    ward.live.closing.run(now=True)
    with ward.database.reading() as tables:
        assert tables.series.size_bytes() <= 4 * len(beats)


def test_whoever_follows_from_long_ago_is_told_all_of_it_a_part_at_a_time(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, now = ward.admit("ann"), ward.clock.now_ms()
    monkeypatch.setattr(following, "MOST_AT_ONCE", 3)
    opened: list[Sealed] = []
    opening = SeriesSealer.open
    monkeypatch.setattr(SeriesSealer, "open", lambda one, keys, row: (opened.append(row), opening(one, keys, row))[1])
    for hour in range(5, 0, -1):
        series = {"periodMs": 1000, "values": [60, 61]}
        for name in ("ann", "ann"):  # two devices at the same moments
            ward.send(ward.line(subject=f"Patient/{name}", value=None, series=series, at_ms=now - hour * HOUR))
    follower = ward.live.follow(CARING, ann, "heart_rate", 0)
    told = [[one.value for one in follower.poll()] for _ in range(6)]
    assert told == [[60, 60, 61, 61]] * 5 + [[]]
    assert len(opened) < 5 * 6, "what is not told yet is not opened"
    ward.send(ward.line(62, subject="Patient/ann"))
    ward.send(ward.line(63, subject="Patient/ann", at_ms=now + 1))
    assert [one.value for one in follower.poll()] == [62, 63]
    for seq in range(20):  # within one millisecond ids come in any order
        ward.send(ward.line(64, subject="Patient/ann", at_ms=now + 2 + seq))
        assert [one.value for one in follower.poll()] == [64]


def test_whoever_follows_is_told_what_comes_and_each_minute_is_decided(ward: Ward) -> None:
    ann = ward.admit("ann")
    ward.send(ward.line(60, subject="Patient/ann"))
    follower = ward.live.follow(CARING, ann, "heart_rate")
    assert follower.poll() == []
    ward.clock.advance(1000)
    ward.send(ward.line(61, subject="Patient/ann"), ward.line(4, code="2823-3", subject="Patient/ann"))
    assert [one.value for one in follower.poll()] == [61]
    assert follower.poll() == []
    ward.live.closing.run(now=True)
    assert follower.poll() == [], "rows were packed: nothing was measured"
    ward.consent(ann, Provision(effect="deny", categories=(Category.VITALS,)))
    assert follower.poll() == [], "nothing came, so nothing is asked"
    ward.consent(ann)
    ward.clock.advance(1000)
    ward.send(ward.line(62, subject="Patient/ann"))
    ward.consent(ann, Provision(effect="deny", roles=(Role.CLINICIAN,), categories=(Category.VITALS,)))
    with pytest.raises(AccessDenied):
        follower.poll()


def test_who_follows_opens_each_row_once_and_is_told_of_everything_once(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, opened = ward.admit("ann"), list[str]()
    follower = ward.live.follow(CARING, ann, "heart_rate", 0)
    open_ = SeriesSealer.open

    def watched(sealer: SeriesSealer, keys: TwinKeys, row: Sealed) -> list[Run]:
        opened.append(row.id)
        return open_(sealer, keys, row)

    told: list[float] = []
    for number in range(12):
        ward.send(ward.line(60 + number, subject="Patient/ann"), ward.line(97, code="59408-5", subject="Patient/ann"))
        with monkeypatch.context() as patch:
            patch.setattr(SeriesSealer, "open", watched)
            told += [one.value for one in follower.poll()]
        ward.clock.advance(10 * 60_000)
        if number == 8:
            ward.live.closing.run()
    assert told == [60 + number for number in range(12)]
    fresh = [one for one in opened if opened.count(one) > 1]
    assert not fresh, "a row that holds nothing new was opened again"
