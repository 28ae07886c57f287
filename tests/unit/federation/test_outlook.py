"""The rule that refuses a study which would learn nothing: its arithmetic, and what it says would do does."""

from __future__ import annotations

import re

import pytest

from tests.integration.federation.kit import HOSPITALS
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.dimensions import dimension_of
from twinward.federation.errors import NotWorthwhile
from twinward.federation.privacy.outlook import LEAST, outlook, require_worthwhile
from twinward.federation.study import StudyProtocol

EACH = [StudyProtocol.for_dp_var, StudyProtocol.for_autoencoder, StudyProtocol.for_logistic]


@pytest.mark.parametrize("make", EACH)
def test_what_it_says_would_do_does_and_a_little_less_does_not(make: type) -> None:
    refused = make("s", HOSPITALS, epsilon=0.3, expected_patients=250)
    expected = outlook(refused)
    assert expected.signal_to_noise < LEAST
    with pytest.raises(NotWorthwhile, match="learn next to nothing") as told:
        require_worthwhile(refused)
    patients = int(re.search(r"takes (\d+) expected_patients", told.value.hint)[1])
    assert patients == expected.patients_needed
    for count, enough in ((patients, True), (patients - 2, False)):
        assert outlook(make("s", HOSPITALS, epsilon=0.3, expected_patients=count)).worthwhile is enough
    if expected.epsilon_needed is not None:
        for factor, enough in ((1.001, True), (0.99, False)):
            again = make("s", HOSPITALS, epsilon=expected.epsilon_needed * factor, expected_patients=250)
            assert outlook(again).worthwhile is enough


def test_where_no_epsilon_would_do_none_is_named() -> None:
    tiny = StudyProtocol.for_autoencoder("s", HOSPITALS, epsilon=1.0, expected_patients=5)
    assert outlook(tiny).epsilon_needed is None
    with pytest.raises(NotWorthwhile) as told:
        require_worthwhile(tiny)
    assert "ε = 1 " in told.value.hint
    assert "with 5" not in told.value.hint


@pytest.mark.parametrize("make", EACH)
@pytest.mark.parametrize("signals", [None, "ecg"])
def test_the_dimension_is_the_detectors(make: type, signals: str | None) -> None:
    if signals and make == StudyProtocol.for_logistic:
        signals = "icu-outcome"
    study = make("s", HOSPITALS, **({} if signals is None else {"signals": signals}))
    assert dimension_of(study) == build_detector(study).dimension


def test_the_defaults_are_worthwhile_and_the_clip_does_not_matter() -> None:
    for make in EACH:
        require_worthwhile(make("s", HOSPITALS, epsilon=1.0))
    wide, narrow = (StudyProtocol.for_dp_var("s", HOSPITALS, epsilon=1.0, clip=clip) for clip in (0.01, 100.0))
    assert outlook(wide).signal_to_noise == pytest.approx(outlook(narrow).signal_to_noise)
