"""Rules: what a file may say, and what they make of measurements."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward.core.errors import BadInput
from twinward.live.alerts.monitor import Change, Measurement, Monitor, MonitorState
from twinward.live.alerts.rules import Rules, read_rules, shipped_rules

MINUTE = 60_000
LOW = b'version="1"\n[[rule]]\nname="low"\nsignal="spo2"\nbelow=88\nclear=90\nseverity="urgent"\n'


def follow(rules: Rules, *values: float, signal: str = "spo2", each_ms: int = MINUTE) -> list[tuple[int, bool]]:
    monitor = Monitor(rules, MonitorState())
    some = [Measurement(number * each_ms, signal, value) for number, value in enumerate(values)]
    return [(one.time_ms // each_ms, one.rose) for one in monitor.follow(some)]


def test_a_threshold_rises_once_and_is_over_behind_its_clear_line() -> None:
    rules = read_rules(LOW)
    assert follow(rules, 95, 88, 87, 86, 88, 89.9, 87, 90, 89, 87) == [(2, True), (7, False), (9, True)]
    high = read_rules(LOW.replace(b"below=88\nclear=90", b"above=100"))
    assert follow(high, 100, 101, 100) == [(1, True), (2, False)]


@given(st.lists(st.integers(80, 95).map(float), max_size=40))
def test_a_threshold_against_one_value_after_the_other(values: list[float]) -> None:
    up, expected = False, []
    for number, value in enumerate(values):
        if not up and value < 88:
            up = True
            expected.append((number, True))
        elif up and value >= 90:
            up = False
            expected.append((number, False))
    assert follow(read_rules(LOW), *values) == expected


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(80, 95).map(float)), max_size=30), st.integers(0, 30))
def test_in_parts_is_as_in_one(some: list[tuple[int, float]], cut: int) -> None:
    measured = sorted({at: Measurement(at * MINUTE, "spo2", value) for at, value in some}.values())
    whole = list(Monitor(read_rules(LOW), MonitorState()).follow(measured))
    state, parts = MonitorState(), list[Change]()
    for part in (measured[:cut], measured[:cut], measured[cut:]):  # sent twice changes nothing
        parts += Monitor(read_rules(LOW), state).follow(part)
    assert parts == whole


FALLS = LOW.replace(b"spo2", b"systolic").replace(b"below=88\nclear=90", b"falls_by=30\nwithin_minutes=15\nclear=20")


def test_a_fall_within_minutes_is_seen_and_a_slow_one_is_not() -> None:
    rules = read_rules(FALLS)
    assert follow(rules, 120, 118, 100, 91, 90, 95, 99, 101, signal="systolic") == [(4, True), (7, False)]
    assert follow(rules, *(120 - place for place in range(60)), signal="systolic") == []
    rises = read_rules(FALLS.replace(b"falls_by", b"rises_by"))
    assert follow(rises, 90, 119, 120, signal="systolic") == [(2, True)]
    assert follow(rises, 120, 90, signal="systolic") == []
    assert "systolic falls by 30 mm[Hg] within 15 minutes" in rules.rules[0].says()
    monitor = Monitor(rules, MonitorState())
    (risen,) = monitor.follow([Measurement(at * MINUTE, "systolic", value) for at, value in ((1, 131.0), (9, 101.0))])
    assert risen.because == (Measurement(MINUTE, "systolic", 131.0), Measurement(9 * MINUTE, "systolic", 101.0))
    (over,) = monitor.look(16 * MINUTE)  # the highest lies too long ago
    assert not over.rose


@given(st.lists(st.tuples(st.integers(0, 2400), st.integers(60, 140).map(float)), max_size=40), st.integers(0, 40))
def test_a_trend_against_looking_at_everything_each_time(some: list[tuple[int, float]], cut: int) -> None:
    measured = sorted({at: Measurement(at * 1000, "systolic", value) for at, value in some}.values())
    up, expected = False, []
    for place, one in enumerate(measured):
        before = [each for each in measured[: place + 1] if each.time_ms // MINUTE > one.time_ms // MINUTE - 15]
        moved = max(each.value for each in before) - one.value
        same = place > 0 and measured[place - 1].value == one.value
        if same and one.time_ms - measured[place - 1].time_ms < MINUTE:
            continue
        if (not up and moved >= 30) or (up and moved < 20):
            up = not up
            expected.append((one.time_ms, up))
    state, found = MonitorState(), list[Change]()
    for part in (measured[:cut], measured[cut:]):
        found += Monitor(read_rules(FALLS), state).follow(part)
    assert [(one.time_ms, one.rose) for one in found] == expected
    assert len(state.minutes.get("systolic", ())) <= 15


def test_of_two_devices_at_one_moment_both_count() -> None:
    high = read_rules(LOW.replace(b"below=88\nclear=90", b"above=100"))
    for rules, values in ((read_rules(LOW), (97, 80)), (high, (60, 180))):
        for some in (values, values[::-1]):
            monitor = Monitor(rules, MonitorState())
            changes = list(monitor.follow([Measurement(0, "spo2", float(one)) for one in some]))
            assert changes[0].rose, some
            assert list(monitor.follow([Measurement(0, "spo2", float(max(some)))])) == [], "sent again"


def test_what_stays_away_and_comes_back() -> None:
    rules = read_rules(LOW.replace(b"below=88\nclear=90", b"missing_minutes=15"))
    monitor = Monitor(rules, MonitorState())
    assert list(monitor.look(60 * MINUTE)) == [], "never measured is not missing"
    assert list(monitor.follow([Measurement(at * MINUTE, "spo2", 97) for at in range(0, 16, 5)])) == []
    assert list(monitor.look(30 * MINUTE - 1)) == []
    assert [one.rose for one in monitor.look(30 * MINUTE)] == [True]
    assert list(monitor.look(31 * MINUTE)) == [], "it rises once"
    assert [one.rose for one in monitor.follow([Measurement(32 * MINUTE, "spo2", 97)])] == [False]
    assert list(monitor.look(60 * MINUTE)) == [], "after a gap it has to be measured for a while again"


def test_what_is_charted_now_and_then_does_not_stay_away_in_between() -> None:
    rules = read_rules(LOW.replace(b"below=88\nclear=90", b"missing_minutes=15"))
    for gap in (15, 60):
        monitor = Monitor(rules, MonitorState())
        for at in range(0, 600, gap):
            assert list(monitor.follow([Measurement(at * MINUTE, "spo2", 97)])) == []
            assert list(monitor.look((at + gap) * MINUTE)) == []
    monitor = Monitor(rules, MonitorState())
    list(monitor.follow([Measurement(at * MINUTE, "spo2", 97) for at in range(15)]))
    assert list(monitor.look(60 * MINUTE)) == [], "14 minutes are no 15"


SCORES = b"""version="1"
[[rule]]
name="high"
score="news2"
at_least=7
clear=5
severity="emergency"
[[rule]]
name="medium"
score="news2"
at_least=5
unless="high"
severity="urgent"
"""


def test_a_score_is_over_below_its_clear_line_and_the_lesser_is_silent_meanwhile() -> None:
    monitor, said = Monitor(read_rules(SCORES), MonitorState()), []
    for at, (rate, pulse, saturation) in enumerate(
        [(25, 92, 95), (25, 115, 93), (25, 115, 95), (25, 92, 95), (16, 115, 93), (25, 115, 93), (16, 92, 95)]
    ):  # sums of 5, 7, 6, 5, 4, 7, 2
        some = (("respiratory_rate", rate), ("heart_rate", pulse), ("spo2", saturation))
        changes = monitor.follow([Measurement(at * MINUTE, name, float(value)) for name, value in some])
        said += [(at, one.rule.name, one.rose, one.score) for one in changes]
    assert said == [
        (0, "medium", True, 5),
        (1, "high", True, 7),
        (1, "medium", False, 7),
        (4, "high", False, 4),
        (5, "high", True, 7),
        (6, "high", False, 2),
    ]


def test_half_a_moment_is_no_state_that_the_patient_was_in() -> None:
    monitor = Monitor(read_rules(SCORES), MonitorState())
    before = [("heart_rate", 92.0), ("respiratory_rate", 25.0)]
    after = [("heart_rate", 115.0), ("respiratory_rate", 20.0)]  # sums of 4 and 2; of the first of it, 5
    for at, some in enumerate((before, after)):
        assert list(monitor.follow([Measurement(at * MINUTE, *one) for one in some])) == []


@pytest.mark.parametrize("some", [(97.0, 80.0), (80.0, 97.0)])
def test_two_values_of_one_moment_both_count_for_a_score(some: tuple[float, float]) -> None:
    monitor = Monitor(read_rules(SCORES), MonitorState())
    list(monitor.follow([Measurement(0, "respiratory_rate", 25.0), Measurement(0, "heart_rate", 115.0)]))
    first = next(monitor.follow([Measurement(MINUTE, "spo2", one) for one in some]))
    assert (first.rule.name, first.rose, first.score) == ("high", True, 8)


def test_a_score_counts_what_is_still_valid() -> None:
    text = 'version="1"\n[[rule]]\nname="n"\nscore="news2"\nat_least=5\nvalid_minutes=60\nseverity="urgent"\n'
    monitor = Monitor(read_rules(text.encode()), MonitorState())
    some = [Measurement(0, "spo2", 90), Measurement(MINUTE, "heart_rate", 120)]
    (rose,) = monitor.follow(some)
    assert (rose.rose, rose.score, rose.because) == (True, 5, (some[1], some[0]))
    (over,) = monitor.look(61 * MINUTE)
    assert (over.rose, over.score) == (False, 2)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"below=88", b"below=88\nabove=99"),
        (b"below=88\nclear=90", b""),
        (b"clear=90", b"clear=80"),
        (b"spo2", b"mood"),
        (b'"low"', b'"Low rule"'),
        (b"urgent", b"deadly"),
        (b"below=88", b"below='x'"),
        (b"below=88", b"below=nan"),
        (b"below=88", b"below=-inf"),
        (b"clear=90", b"clear=nan"),
        (b"below=88", b"at_least=3"),
        (b'signal="spo2"', b'score="news2"'),
        (b"severity", b"unknown=1\nseverity"),
        (b"[[rule]]", b"[[rule"),
        (b"below=88\nclear=90", b"missing_minutes=0"),
        (b"below=88\nclear=90", b"falls_by=4"),
        (b"below=88\nclear=90", b"falls_by=-4\nwithin_minutes=5"),
        (b"below=88\nclear=90", b"falls_by=nan\nwithin_minutes=5"),
        (b"below=88\nclear=90", b"falls_by=4\nclear=5\nwithin_minutes=5"),
        (b"below=88\nclear=90", b"falls_by=4\nrises_by=4\nwithin_minutes=5"),
        (b"below=88\nclear=90", b"rises_by=4\nwithin_minutes=241"),
        (b"below=88", b"below=88\nwithin_minutes=5"),
        (b'signal="spo2"\nbelow=88\nclear=90', b'score="news2"\nat_least=5\nclear=6'),
        (b'signal="spo2"\nbelow=88\nclear=90', b'score="news2"\nat_least=5\nclear=0'),
        (b'signal="spo2"\nbelow=88\nclear=90', b'score="news2"\nat_least=21'),
        (b'signal="spo2"\nbelow=88\nclear=90', b'score="qsofa"\nat_least=4'),
        (b'signal="spo2"\nbelow=88\nclear=90', b'score="news2"\nat_least=0'),
        (b"below=88\nclear=90", b"missing_minutes=5\nclear=3"),
        (b"severity", b'unless="low"\nseverity'),
        (b"version", b"\xff"),
    ],
)
def test_rules_that_cannot_be_are_refused(before: bytes, after: bytes) -> None:
    assert before in LOW
    with pytest.raises(BadInput):
        read_rules(LOW.replace(before, after))


def test_no_lesser_alert_keeps_a_graver_one_silent() -> None:
    with pytest.raises(BadInput, match="matters less"):
        read_rules(SCORES.replace(b'"emergency"', b'"notice"'))
    assert read_rules(SCORES.replace(b'"emergency"', b'"urgent"')).rules[1].unless == "high"


def test_a_rule_says_what_keeps_it_silent() -> None:
    low = LOW.partition(b"\n")[2].replace(b"severity", b'unless="high"\nseverity')
    assert [one.says() for one in read_rules(SCORES + low).rules] == [
        "news2 of 7 or more",
        "news2 of 5 or more, unless high is up",
        "spo2 below 88 %, unless high is up",
    ]


def test_rules_have_names_of_their_own_and_bounds() -> None:
    with pytest.raises(BadInput, match="one name"):
        read_rules(LOW + LOW.partition(b"\n")[2])
    with pytest.raises(BadInput, match="bytes"):
        read_rules(LOW + b"#" * 70_000)
    assert len(shipped_rules().rules) == 6
