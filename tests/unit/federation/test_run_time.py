"""How long a study would take: what is counted; what is measured is only held to make sense."""

from __future__ import annotations

import pytest

from twinward.cli.study.cost import lasting
from twinward.federation.evaluation.run_time import measure_run_time
from twinward.federation.study import StudyProtocol

FIVE = ("a", "b", "c", "d", "e")


def test_rounds_seals_and_cores_are_counted() -> None:
    plain = StudyProtocol.for_dp_var("var-1", FIVE[:3])
    alone = measure_run_time(plain, cores=1)
    assert (alone.exchanges, alone.round_s > 0) == (2, True)
    assert alone.apart_s == pytest.approx(alone.round_s)
    assert alone.here_s == pytest.approx(3 * alone.apart_s)
    sealed = StudyProtocol.for_dp_var("var-2", FIVE, dropouts=1)
    assert sealed.sealed
    many = measure_run_time(sealed, cores=4)
    assert many.exchanges == 3
    assert many.here_s == pytest.approx(2 * many.apart_s)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0 s"), (9.96, "10.0 s"), (12.4, "12 s"), (120, "2 minutes"), (7200, "2.0 hours")]
)
def test_durations_are_told_in_one_unit(seconds: float, said: str) -> None:
    assert lasting(seconds) == said
