"""Two hospitals of one home sign an alert and raise it; one alone, or a forged one, does not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Hospital, run

WEEK = (90, 110, 95, 105, 100, 120, 80, 100, 100)


def series(path: Path, *last: int) -> Path:
    """Daily sums whose last day is today."""
    counts = (*WEEK, *last)
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=len(counts) - 1 - number) for number in range(len(counts))]
    path.write_text("\n".join(f"{day},{count}" for day, count in zip(days, counts, strict=True)))
    return path


def test_a_quorum_raises_what_one_hospital_does_not(hospital: Hospital, tmp_path: Path) -> None:
    watch = ["outbreak", "watch", str(series(tmp_path / "sums.csv", 171)), "--syndrome", "influenza", "--as", "olga"]
    calm = ["outbreak", "watch", str(series(tmp_path / "calm.csv", 104)), "--syndrome", "influenza", "--as", "olga"]
    nothing = hospital.asked(*calm, "--sign", str(tmp_path / "none.json"))
    assert nothing["unusual"] is False
    assert not (tmp_path / "none.json").exists()
    assert hospital.run(*watch, "--sign", str(tmp_path / "early.json")).exit_code == 4  # no contract yet
    assert hospital.run("outbreak", "alerts").exit_code == 4
    hospital.asked("outbreak", "open")
    assert hospital.run("outbreak", "open").exit_code == 4

    own, other = tmp_path / "own.json", tmp_path / "other.json"
    said = hospital.asked(*watch, "--sign", str(own))
    assert (said["unusual"], said["expected"]) == (True, 100.0)
    assert 100 < said["threshold"] < 171
    raised = ["outbreak", "raise", "--as", "olga"]
    alone = hospital.run(*raised, str(own))
    assert alone.exit_code == 4
    assert "fewer hospitals signed" in alone.output
    assert hospital.run(*raised, str(own), str(own)).exit_code == 2
    hospital.asked(*watch, "--sign", str(other), "--hospital", "northgate")

    assert json.loads(hospital.run(*watch, "--sign", "-").stdout) == json.loads(own.read_text())  # and nothing else

    forged = json.loads(other.read_text())
    forged["statement"]["counted"] += 1
    (tmp_path / "forged.json").write_text(json.dumps(forged))
    assert hospital.run(*raised, str(own), str(tmp_path / "forged.json")).exit_code == 2
    both = json.loads(own.read_text())
    both["statement"]["counted"] += 1
    (tmp_path / "both.json").write_text(json.dumps(both))
    refused = hospital.run(*raised, str(tmp_path / "both.json"), str(tmp_path / "forged.json"))
    assert refused.exit_code == 4
    assert "not of this statement" in refused.output

    made = hospital.asked(*raised, str(own), str(other))
    assert (made["alert"], made["syndrome"], made["counted"], made["ended"]) == (1, "influenza", 171, "")
    assert hospital.asked("outbreak", "alerts")["alerts"] == [made]
    assert hospital.run(*raised, str(own), str(other)).exit_code == 4
    log = hospital.run("audit", "list", "--as", "olga").output
    assert "signed an alert of an outbreak for the hospital" in log
    assert "raised an alert of an outbreak that several hospitals signed" in log
    assert hospital.run(*watch[:-1], "dr-lee", "--sign", str(tmp_path / "no.json")).exit_code == 6

    ends = [tmp_path / "end-own.json", tmp_path / "end-other.json"]
    end = ["outbreak", "end", "1", "--as", "olga"]
    hospital.asked(*end, "--sign", str(ends[0]))
    hospital.asked(*end, "--sign", str(ends[1]), "--hospital", "northgate")
    assert hospital.run(*end, str(ends[0])).exit_code == 4, "one alone ends nothing"
    assert hospital.run(*end, str(own), str(other)).exit_code == 2, "what raised it does not end it"
    assert hospital.run(*end).exit_code == 2
    for absent in ("9", str(1 << 256)):
        done = hospital.run("outbreak", "end", absent, "--sign", str(tmp_path / "9.json"), "--as", "olga")
        assert (done.exit_code, "there is no alert" in done.output) == (4, True), absent
    assert hospital.run(*end[:-1], "dr-lee", "--sign", str(tmp_path / "no.json")).exit_code == 6
    assert hospital.asked(*end, *map(str, ends))["ended"] != ""
    assert (hospital.asked("outbreak", "alerts")["alerts"], hospital.run(*end, *map(str, ends)).exit_code) == ([], 4)


def test_a_week_is_judged_by_the_same_weeks_of_earlier_years(hospital: Hospital, tmp_path: Path) -> None:
    counts = [(10, 12, 9, 11)[day % 4] for day in range(7 * (2 * 52 + 5))]
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=len(counts) - 1 - number) for number in range(len(counts))]
    file = tmp_path / "years.csv"
    watch = ["outbreak", "watch", str(file), "--syndrome", "measles", "--statistic", "farrington", "--as", "olga"]
    for last, unusual in ((10, False), (120, True)):
        counts[-1] = last
        file.write_text("\n".join(f"{day},{count}" for day, count in zip(days, counts, strict=True)))
        judged = hospital.asked(*watch, "--years", "2")
        assert (judged["unusual"], judged["counted"]) == (unusual, sum(counts[-7:]))
    assert hospital.asked(*watch, "--years", "2", "--noise", "900")["unusual"] is False
    assert hospital.run(*watch).exit_code == 2, "five years are not there"


@pytest.mark.parametrize(
    "content",
    ["", "2026-01-01", "2026-13-01,5", "2026-01-01,5\n2026-01-03,5", "2026-01-01,5,6", "2026-01-01,٣", "a,b\x00"],
)
def test_what_is_no_series_is_refused(hospital: Hospital, tmp_path: Path, content: str) -> None:
    file = tmp_path / "sums.csv"
    file.write_text(content)
    assert hospital.run("outbreak", "watch", str(file), "--syndrome", "measles", "--as", "olga").exit_code == 2


def test_what_is_no_signature_statistic_or_syndrome_is_refused(hospital: Hospital, tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    for content in ("", "[]", "{}", '{"statement": 1}', '{"statement": {}, "epoch": 2}', "[" * 5000):
        bad.write_text(content)
        assert hospital.run("outbreak", "raise", str(bad), "--as", "olga").exit_code == 2
    numbers = {"day": 20_000, "counted": 9, "expected_milli": 1, "threshold_milli": 1}
    said = numbers | {"syndrome": "1b" * 32, "terms": "22" * 32}
    whole = {"epoch": 1, "public_key": "33" * 48, "signature": "44" * 96}
    hospital.run("outbreak", "open")
    for wrong in ({"day": -1}, {"day": 1 << 40}, {"counted": 1 << 63}, {"counted": True}, {}):
        bad.write_text(json.dumps(whole | {"statement": said | wrong}))
        refused = hospital.run("outbreak", "raise", str(bad), "--as", "olga")
        assert refused.exit_code == 2, refused.output
    assert "no hospital of the consortium" in refused.output
    sums = str(series(tmp_path / "sums.csv", 171))
    assert hospital.run("outbreak", "watch", sums, "--syndrome", "plague", "--as", "olga").exit_code == 2
    wrong = hospital.run("outbreak", "watch", sums, "--syndrome", "measles", "--statistic", "c4", "--as", "olga")
    assert wrong.exit_code == 2
    few = hospital.run("outbreak", "watch", sums, "--syndrome", "measles", "--baseline", "28", "--as", "olga")
    assert few.exit_code == 2


def test_a_series_of_anybodys_is_forecast_without_a_node(tmp_path: Path) -> None:
    counts = [(30, 33, 41, 38, 36, 20, 18)[day % 7] for day in range(56)]
    today = datetime.now(UTC).date()
    lines = [f"{today - timedelta(days=55 - day)},{count}" for day, count in enumerate(counts) if day not in (9, 10)]
    file = tmp_path / "sums.csv"
    file.write_text("\n".join(lines))
    command = ["outbreak", "forecast", str(file), "--noise", "39", "--json", "--home", str(tmp_path / "none")]
    (found,) = json.loads(run(*command).stdout)["forecasts"]
    assert (found["known_days"], found["noise_variance"], len(found["days"])) == (54, 39, 14)
    assert "2 days are missing" in found["remarks"]
    assert not (tmp_path / "none").exists()
    file.write_text("\n".join(lines[:20]))
    early = run(*command)
    assert (early.exit_code, json.loads(early.output)["error"]["kind"]) == (4, "NothingToForecast")
    assert run(*command, str(file)).exit_code == 2, "one series"
    assert run(*command, "--days", "15").exit_code == 2
    file.write_text("2026-02-01,5\n2026-01-01,5")
    assert run(*command).exit_code == 2


def test_a_simulation_says_what_privacy_costs_in_days() -> None:
    done = run("outbreak", "simulate", "--years", "1", "--outbreaks", "3", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["private"]["mean_days"] > 0
    assert found["exact"]["limit"] > 0
    assert run("outbreak", "simulate", "--levels", "9").exit_code == 2
    assert run("outbreak", "simulate", "--baseline", "366", "--years", "1").exit_code == 2
