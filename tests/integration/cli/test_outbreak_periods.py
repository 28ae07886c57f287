"""Daily counts by the command line: agreed on, paid for, released, added up, judged; three hospitals of a home."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from tests.integration.cli.conftest import PASSWORD, Hospital, run
from tests.integration.outbreak.region import NAMES, TODAY, condition, opened_region

DAYS = 12


@pytest.fixture(name="house")
def house_fixture(tmp_path: Path) -> Hospital:
    """Three hospitals with everyday cases, and many yesterday."""
    home = tmp_path / "home"
    with opened_region(home) as region:
        for place, hospital in enumerate(NAMES):
            days = [TODAY - timedelta(days=1)] * 9 + [TODAY - timedelta(days=1 + place)]
            for number, day in enumerate(days):
                region.admit(hospital, f"p{number}", condition(day))
    return Hospital(home, (), "")


def test_a_period_from_the_invitation_to_what_is_judged(house: Hospital, tmp_path: Path) -> None:
    password, files = tmp_path / "password", {name: tmp_path / f"{name}.json" for name in ("period", "agreed", "sum")}
    password.write_text(PASSWORD)
    password.chmod(0o600)
    invite = ["outbreak", "invite", "week", "--from", str(TODAY - timedelta(days=DAYS)), "--days", str(DAYS)]
    invite += ["--syndrome", "influenza", "--epsilon", "8", "--as", "olga", "--out", str(files["period"])]
    assert house.run(*invite, "--hospital", "st-anna").exit_code == 2, "three hospitals at least"
    made = house.asked(*invite, *(part for name in NAMES for part in ("--hospital", name)))
    assert made["cost"] > 0

    prove = ["--password-file", str(password), "--yes", "--as", "olga"]
    approve = ["outbreak", "approve", str(files["period"]), *prove]
    approvals = [tmp_path / f"{name}.approval.json" for name in NAMES]
    assert house.run(*approve).exit_code == 2, "--out or --withdraw"
    for name, file in zip(NAMES, approvals, strict=True):
        assert house.asked(*approve, "--out", str(file), "--hospital", name)["approved"] == name
    wrong = house.run(*approve[:-1], "dr-lee", "--out", str(tmp_path / "no.json"))
    assert wrong.exit_code in (5, 6)

    reserve = ["outbreak", "reserve", str(files["period"]), "--out", str(files["agreed"]), "--as", "olga"]
    short = house.run(*reserve, *map(str, approvals[:2]))
    assert (short.exit_code, "lakeside did not approve" in short.output) == (2, True)
    assert house.asked(*reserve, *map(str, approvals))["reservation"] == 1

    release = ["outbreak", "release", str(files["agreed"]), "--as", "olga"]
    shares = [tmp_path / f"{name}.share.json" for name in NAMES]
    for name, file in zip(NAMES, shares, strict=True):
        assert house.asked(*release, "--out", str(file), "--hospital", name)["days"] == DAYS
    early = house.run(*release, "--out", str(tmp_path / "x.json"), "--day", str(TODAY))
    assert early.exit_code == 2, "no day of the period"
    again = tmp_path / "again.json"
    house.asked(*release, "--out", str(again))
    assert again.read_bytes() == shares[0].read_bytes()

    add = ["outbreak", "sum", str(files["agreed"]), "--as", "olga", "--out", str(files["sum"])]
    missing = house.run(*add, *map(str, shares[1:]))
    assert (missing.exit_code, "st-anna is missing" in missing.output) == (7, True)
    summed = house.asked(*add, *map(str, shares))
    assert (summed["days"], len(summed["daily"]["influenza"])) == (DAYS, DAYS)
    assert 15 < summed["daily"]["influenza"][-1] < 41, "28 cases, under noise of a standard deviation of 3"

    watch = ["outbreak", "watch", str(files["sum"]), "--syndrome", "influenza", "--as", "olga"]
    judged = house.asked(*watch)
    assert (judged["day"], judged["unusual"]) == (str(TODAY - timedelta(days=1)), True)
    assert house.run(*watch, "--noise", "4").exit_code == 2, "the sum says its noise itself"
    assert house.run(*watch, str(files["sum"])).exit_code == 2, "one period is not two"

    foretell = ["outbreak", "forecast", "--as", "olga"]
    few = house.run(*foretell)
    assert (few.exit_code, "influenza: 12 days are known, 21 are needed" in few.output) == (4, True), few.output
    assert house.run(*foretell[:-1], "dr-lee").exit_code == 6

    (st_anna, *_) = found = house.asked("outbreak", "periods", "--as", "olga")["periods"]
    assert [one["hospital"] for one in found] == list(NAMES)
    assert (st_anna["released"], st_anna["reservation"], st_anna["approved"]) == (DAYS, 1, True)
    house.asked(*approve, "--withdraw")
    assert house.run(*release, "--out", str(tmp_path / "y.json")).exit_code == 6
    told = house.run("audit", "list", "--as", "olga").output
    for words in ("released daily counts", "gave out again", "added up hospitals' daily counts", "had a forecast made"):
        assert words in told, words


def test_what_was_added_up_is_forecast_from_the_home_as_from_the_file(house: Hospital, tmp_path: Path) -> None:
    empty = house.run("outbreak", "forecast", "--as", "olga")
    assert (empty.exit_code, "no sums were added up" in empty.output) == (4, True)
    with opened_region(house.home) as region:
        counts = [(52, 60, 71, 66, 58, 35, 30)[day % 7] for day in range(49)]
        kept = region.kept_sums(counts, syndromes=("influenza", "measles"))
    file = tmp_path / "months.json"
    file.write_bytes(kept.content())
    ours = house.asked("outbreak", "forecast", "--days", "9", "--as", "olga")["forecasts"]
    assert [one["syndrome"] for one in ours] == ["influenza", "measles"]
    flu = ours[0]
    assert (flu["last_day"], flu["known_days"]) == (str(TODAY - timedelta(days=1)), 49)
    assert flu["noise_variance"] == kept.terms.noise
    assert [one["day"] for one in flu["days"]] == [str(TODAY + timedelta(days=number)) for number in range(9)]
    for one, usual in zip(flu["days"], counts, strict=False):
        assert one["95"][0] < usual < one["95"][1]
        assert one["95"][0] <= one["50"][0] <= one["expected"] <= one["50"][1] <= one["95"][1]
    assert flu["past"]["days"] == 28
    theirs = run("outbreak", "forecast", str(file), "--days", "9", "--json")  # without a node
    assert json.loads(theirs.stdout)["forecasts"] == ours
    assert house.run("outbreak", "forecast").exit_code == 2, "files, or --as"
    assert house.run("outbreak", "forecast", "--as", "olga", "--noise", "3").exit_code == 2
    assert house.run("outbreak", "forecast", "--as", "olga", "--syndrome", "covid-19").exit_code == 2
    assert house.run("outbreak", "forecast", "--as", "nobody").exit_code == 3
    assert run("outbreak", "forecast", str(file), "--noise", "3").exit_code == 2
    assert run("outbreak", "forecast", str(file), "--syndrome", "plague").exit_code == 2
    shown = run("outbreak", "forecast", str(file), "--syndrome", "measles").output
    assert "measles after" in shown
    assert "influenza" not in shown


def test_what_is_no_period_is_refused(hospital: Hospital, tmp_path: Path) -> None:
    file, out = tmp_path / "file.json", str(tmp_path / "out.json")
    half = json.dumps({"kind": "twinward/outbreak-agreed/1", "invitation": {}, "approvals": [4]})
    for content in ("", "{}", "[]", '{"kind": "twinward/outbreak-agreed/1"}', "\x00", half):
        file.write_text(content)
        for verb in ("release", "sum", "reserve"):
            more = [str(file)] if verb != "release" else []
            done = hospital.run("outbreak", verb, str(file), *more, "--out", out, "--as", "olga")
            assert (done.exit_code, content) == (2, content), done.output
