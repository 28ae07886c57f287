"""Units: what the library converts, what needs the substance, and what is refused rather than guessed."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward.core.errors import BadInput
from twinward.features.derivation import Measurement
from twinward.features.derivation import convert as measured
from twinward.features.schema import CARDIOMETABOLIC
from twinward.features.units import SUBSTANCES, UnitUnknown, convert

LABS = {code: feature for feature in CARDIOMETABOLIC.features for code in feature.loinc}

CONCENTRATIONS = ["mg/dL", "mmol/L", "g/L", "umol/L", "mg/mL"]


@pytest.mark.parametrize(
    ("value", "given_unit", "wanted", "substance", "expected"),
    [
        # customary factors of clinical chemistry: Tietz, and the AMA Manual of Style's SI table
        (1, "mmol/L", "mg/dL", "glucose", 18.016),
        (1, "mmol/L", "mg/dL", "cholesterol", 38.67),
        (1, "mmol/L", "mg/dL", "triglycerides", 88.57),
        (1, "mg/dL", "umol/L", "creatinine", 88.4),
        (1, "meq/L", "mmol/L", "sodium", 1),
        (9.1, "mg/dL", "mmol/L", "sodium", 3.958),
        # IFCC's own examples (48 mmol/mol is 6.5 %, 53 is 7.0 %, 75 is 9.0 %)
        (48, "mmol/mol", "%", "hba1c", 6.54),
        (53, "mmol/mol", "%", "hba1c", 7.0),
        (75, "mmol/mol", "%", "hba1c", 9.01),
        (7, "%", "mmol/mol", "hba1c", 53),
        # UCUM alone
        (16, "kPa", "mm[Hg]", "", 120.01),
        (732, "mo", "a", "", 61),
        (2500, "g/m2", "kg/m2", "", 2.5),
        (37, "Cel", "[degF]", "", 98.6),
        (1.2, "/s", "/min", "", 72),
        (1, "mL/s/{1.73_m2}", "mL/min/{1.73_m2}", "egfr", 60),
        # annotations mean nothing (UCUM section 2, paragraph 6), except per 1.73 m2
        (53, "mmol/mol{Hb}", "%", "hba1c", 7.0),
        (7, "%{HbA1c}", "%", "hba1c", 7),
        (7, "%{}", "%", "hba1c", 7),
        (1, "{score}", "1", "", 1),
        (1, "{a}/{b}", "1", "", 1),
        (72, "{beats}/min", "/min", "", 72),
        (100, "mg{glucose}/dL{plasma}", "mg/dL", "glucose", 100),
        (60, "mL/min/1.73 m2", "mL/min/{1.73_m2}", "egfr", 60),
        (60, "mL/min/1.73m²", "mL/min/{1.73_m2}", "egfr", 60),
        (60, "ML/MIN/{1.73M2}", "mL/min/{1.73_m2}", "egfr", 60),
        # customary names that are no UCUM unit
        (100, "mg%", "mg/dL", "glucose", 100),
        (10, "lb", "kg", "", 4.536),
        (10, "Inches", "m", "", 0.254),
        (0.0441, "lb/in2", "kg/m2", "", 31),
        (98.6, "degF", "Cel", "", 37),
        (98.6, "°F", "Cel", "", 37),
        (140, "mEq/L", "mmol/L", "sodium", 140),
        (88.4, "µmol/L", "mg/dL", "creatinine", 1),
        (88.4, "μmol/L", "mg/dL", "creatinine", 1),
        (16, "K/uL", "K/uL", "", 16),
    ],
)
def test_known_conversions(value: float, given_unit: str, wanted: str, substance: str, expected: float) -> None:
    assert convert(value, given_unit, wanted, substance=substance) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize(
    ("given_unit", "wanted", "substance"),
    [
        ("mmol/L", "mg/dL", ""),  # of what?
        ("1", "%", "hba1c"),  # NGSP or IFCC?
        ("meq/L", "mmol/L", ""),
        ("meq/L", "mmol/L", "glucose"),
        ("mL/min", "mL/min/{1.73_m2}", ""),
        ("mL/min", "mL/min/{1.73_m2}", "egfr"),  # of a patient whose body surface is not known
        ("mL/min/{1.73_m2}", "mL/min", "egfr"),
        ("{score}", "mg/dL", "glucose"),
        ("{age}", "a", ""),
        ("{", "a", ""),
        ("a}", "a", ""),
        ("%{IFCC}", "%", "hba1c"),  # a tenth of mmol/mol, not NGSP's
        ("ft", "m", ""),  # a femtotonne
        ("m2{a}3", "m2", ""),
        ("kg", "m", ""),
        ("[iU]/L", "mg/L", "glucose"),
        ("dB", "1", ""),
        ("10*99999999", "1", ""),
        ("", "mg/dL", "glucose"),
        ("mg//dL", "mg/dL", "glucose"),
        ("🎉", "mg/dL", "glucose"),
        ("(" * 39, "mg/dL", "glucose"),
        ("m" * 4000, "m", ""),
    ],
)
def test_what_would_be_a_guess_is_refused(given_unit: str, wanted: str, substance: str) -> None:
    with pytest.raises(UnitUnknown):
        convert(5, given_unit, wanted, substance=substance)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "5", None])
def test_only_numbers_are_converted(value: object) -> None:
    with pytest.raises(BadInput):
        convert(value, "mg/dL", "mg/dL")  # type: ignore[arg-type]


PIECES = [
    "mg",
    "mmol",
    "L",
    "dL",
    "%",
    "{",
    "}",
    "{}",
    "{{a}}",
    "/",
    ".",
    " ",
    "m2",
    "1.73",
    "10*3",
    "²",
    "µ",
    "(",
    ")",
    "eq",
]


@given(
    st.text(max_size=50) | st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.sampled_from(["mg/dL", "%", "a", "kg/m2", "1", "mL/min/{1.73_m2}"]),
    st.sampled_from(["", *SUBSTANCES]),
)
def test_any_unit_gives_a_number_or_a_refusal(unit: str, wanted: str, substance: str) -> None:
    with contextlib.suppress(BadInput):
        assert isinstance(convert(3.0, unit, wanted, substance=substance), float)


@given(
    st.floats(1e-3, 1e4),
    st.sampled_from([name for name, what in SUBSTANCES.items() if what.molar_mass and not what.charges]),
    st.sampled_from(CONCENTRATIONS),
    st.sampled_from(CONCENTRATIONS),
)
def test_conversions_go_back(value: float, substance: str, here: str, there: str) -> None:
    across = convert(value, here, there, substance=substance)
    assert convert(across, there, here, substance=substance) == pytest.approx(value, rel=1e-9)


def test_a_schema_takes_numbers_with_units() -> None:
    own = CARDIOMETABOLIC.in_own_units(
        {"age": 61, "hba1c_percent": ("66", "mmol/mol"), "glucose_mg_dl": (7.2, "mmol/L"), "bmi": (0.0031, "kg/cm2")}
    )
    assert own == pytest.approx({"age": 61, "hba1c_percent": 8.19, "glucose_mg_dl": 129.7, "bmi": 31}, rel=1e-3)


@pytest.mark.parametrize(
    "bad", [("x", "mg/dL"), (1, "furlong"), (1,), (1, 2), (True, "mg/dL"), ("1e999", "mmol/L"), (None, "mg/dL")]
)
def test_bad_values_name_their_feature(bad: object) -> None:
    with pytest.raises(BadInput, match="glucose_mg_dl"):
        CARDIOMETABOLIC.in_own_units({"glucose_mg_dl": bad})  # type: ignore[dict-item]


@given(st.text(max_size=20) | st.lists(st.sampled_from(PIECES), max_size=12).map("".join), st.sampled_from(list(LABS)))
def test_any_unit_of_a_coded_measurement_gives_a_number_or_nothing(unit: str, code: str) -> None:
    feature = LABS[code]
    number = measured(Measurement(code, 3.0, unit, 0), feature.unit, feature.substance)
    assert number is None or isinstance(number, float)


def test_a_loinc_code_says_per_body_surface_where_the_unit_does_not() -> None:
    """33914-3 is a rate per 1.73 m2 by definition; a value without a code may be any clearance."""
    assert measured(Measurement("33914-3", 60, "mL/min", 0), "mL/min/{1.73_m2}", "egfr") == 60
    assert measured(Measurement("33914-3", 1, "mL/s", 0), "mL/min/{1.73_m2}", "egfr") == pytest.approx(60)
    with pytest.raises(BadInput, match="body surface"):
        CARDIOMETABOLIC.in_own_units({"egfr": (60, "mL/min")})


def test_a_unit_of_any_length_is_refused_at_once() -> None:
    for unit in ("x" * 100_000, "{" * 100_000, "{" + "x" * 100_000 + "}", "m" * 199, "{a}" * 60):
        with pytest.raises(UnitUnknown) as error:
            convert(1, unit, "mg/dL", substance="glucose")
        assert len(str(error.value)) < 300


def test_every_lab_of_the_schema_says_what_it_is() -> None:
    """Without a substance, labs that came in moles would be dropped silently."""
    for feature in CARDIOMETABOLIC.features:
        if feature.unit in ("mg/dL", "mmol/L"):
            assert SUBSTANCES[feature.substance].molar_mass
