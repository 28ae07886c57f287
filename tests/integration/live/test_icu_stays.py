"""Real stays through the live rules as shipped, held against the published tables applied by the hour."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.live.icu_stays import PLAIN, SHIPPED, by_hour, replayed, stays


@pytest.mark.parametrize("which", ["a", "b"])
def test_scores_of_real_stays_rise_when_the_tables_say_so_and_never_else(
    shared_data: Path, tmp_path: Path, which: str
) -> None:
    some = stays(shared_data, which, 25)
    alerts = replayed(tmp_path, some)
    rules = {one.rule for one in SHIPPED}
    found = [[(one.rule, one.raised_ms) for one in each if one.rule in rules] for each in alerts]
    assert [sorted(one) for one in found] == [sorted(by_hour(stay, SHIPPED)) for stay in some]
    assert sum(map(len, found)) > 20
    assert sum(map(len, found)) < sum(len(by_hour(stay, PLAIN)) for stay in some)


def test_what_is_charted_by_the_hour_does_not_stay_away_between_two_hours(shared_data: Path, tmp_path: Path) -> None:
    alerts = replayed(tmp_path, stays(shared_data, "a", 5))
    assert not [one for each in alerts for one in each if one.rule == "heart-rate-missing"]
