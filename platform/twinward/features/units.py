"""Units: UCUM strings, converted by a library (ucumvert on pint), and the few conversions that need a substance.

A number in a unit that cannot be converted without guessing is refused. What UCUM alone cannot know is in
``SUBSTANCES``: how heavy a mole is, how many charges an ion has, and HbA1c's two scales.

Sources. Molar masses in g/mol: PubChem (glucose CID 5793, cholesterol CID 5997, creatinine CID 588, sodium, potassium);
triglycerides are a mixture, 885.7 is what the customary 88.57 mg/dL per mmol/L stands for. HbA1c: the IFCC-NGSP
master equation, ``NGSP % = 0.09148 * IFCC mmol/mol + 2.152`` (Hoelzel et al., Clin Chem 50:166, 2004).

Customary spellings are read as the UCUM unit they mean (https://ucum.org/ucum). An annotation in braces has no meaning
in UCUM (section 2, paragraph 6): ``%{HbA1c}`` is ``%`` and ``{beats}/min`` is ``/min``. One is understood nevertheless,
because a number without it is another number: per 1.73 m2 of body surface. A customary name is read as what it stands
for only where it is no UCUM unit of its own: ``lb`` is, ``ft`` is not, since that is UCUM's femtotonne.

Nothing of the library is imported until a conversion is asked for: the library takes half a second to start.
"""

from __future__ import annotations

import math
import re
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from twinward.core.errors import BadInput

MAX_UNIT_CHARS = 40
_LONG_NUMBER = re.compile(r"\d{4}")
_EQUIVALENTS = re.compile(r"(^|[^A-Za-z\[])[mukn]?eq($|[^A-Za-z\]])")
_NGSP_SLOPE, _NGSP_OFFSET = 0.09148, 2.152


class UnitUnknown(BadInput):
    """A unit that is not UCUM, or cannot be converted to the wanted one without guessing."""


@dataclass(frozen=True, slots=True)
class Substance:
    """What conversion must know of what was measured.

    Attributes:
        molar_mass: grams per mole; None where amounts and masses are not to be mixed.
        charges: of the ion, for equivalents; None where it is not an ion.
        ifcc: whether mmol/mol and % are HbA1c's two scales, not a plain ratio.
        per_body_surface: whether it is per 1.73 m2 of body surface by its LOINC code, so that a coded measurement
            need not say so in its unit.
    """

    molar_mass: float | None = None
    charges: int | None = None
    ifcc: bool = False
    per_body_surface: bool = False


SUBSTANCES = {
    "glucose": Substance(molar_mass=180.156),
    "cholesterol": Substance(molar_mass=386.65),
    "triglycerides": Substance(molar_mass=885.7),
    "creatinine": Substance(molar_mass=113.12),
    "sodium": Substance(molar_mass=22.990, charges=1),
    "potassium": Substance(molar_mass=39.098, charges=1),
    "hba1c": Substance(ifcc=True),
    "egfr": Substance(per_body_surface=True),
}
"""By the name a feature schema uses."""


def convert(value: float, given: str, wanted: str, *, substance: str = "") -> float:
    """A number in another unit.

    Args:
        value: a finite number in ``given``.
        given, wanted: UCUM units; customary other spellings are understood.
        substance: a name in ``SUBSTANCES``, where mass and amount may have to be turned into each other.

    Raises:
        UnitUnknown: no UCUM unit, or no conversion without guessing.
        BadInput: not a finite number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput("a value must be a finite number")
    known = _rule_as_written if len(given) <= MAX_UNIT_CHARS else _rule_as_written.__wrapped__
    factor, offset = known(given, wanted, substance)
    converted = factor * value + offset
    if not math.isfinite(converted):
        raise UnitUnknown("the value is beyond any number once converted")
    return converted


@lru_cache(maxsize=1024)
def _rule_as_written(given: str, wanted: str, substance: str) -> tuple[float, float]:
    """``_rule`` for units in whatever spelling. Raises ``UnitUnknown``."""
    what, of, into = SUBSTANCES.get(substance, Substance()), understood(given), understood(wanted)
    if what.ifcc and of.ucum == "%" and "ifcc" in given.lower():
        raise UnitUnknown("% on the IFCC scale is not % on NGSP's", hint="give mmol/mol, which is 10 times as many")
    if of.per_body_surface != into.per_body_surface:
        raise UnitUnknown(f"{_shown(of)} is not {_shown(into)}: the patient's body surface is not known")
    try:
        return _rule(of.ucum, into.ucum, substance)
    except UnitUnknown as error:
        if of.ucum == given.strip():
            raise
        raise UnitUnknown(f"{given.strip()[:MAX_UNIT_CHARS]}, read as {_shown(of)}: {error}", hint=error.hint) from None


@lru_cache(maxsize=1024)
def _rule(given: str, wanted: str, substance: str) -> tuple[float, float]:
    """(factor, offset) with ``wanted = factor * given + offset``."""
    if given == wanted:
        return 1.0, 0.0
    for unit in (given, wanted):
        if not unit or len(unit) > MAX_UNIT_CHARS or not unit.isascii() or _LONG_NUMBER.search(unit):
            raise UnitUnknown("a unit is given in UCUM, for instance mg/dL", hint="https://ucum.org")
    what = SUBSTANCES.get(substance, Substance())
    if what.ifcc:
        return _ifcc(given, wanted)
    if bool(_EQUIVALENTS.search(given)) != bool(_EQUIVALENTS.search(wanted)) and what.charges is None:
        raise UnitUnknown(f"{given} and {wanted} differ by the ion's charge, which is not known")
    scale = 1.0
    if what.charges is not None:  # UCUM's eq is a mole of charges
        scale = what.charges ** (bool(_EQUIVALENTS.search(wanted)) - bool(_EQUIVALENTS.search(given)))
    try:
        start, end, beyond = (_by_library(point, given, wanted, what.molar_mass) for point in (0.0, 1.0, 2.0))
    except Exception as error:  # what a parser of any text raises is not listed anywhere: AttributeError for "{score}"
        raise _no_way(given, wanted) from error
    if not math.isclose(beyond - end, end - start, rel_tol=1e-9, abs_tol=1e-12):
        raise _no_way(given, wanted)  # logarithmic units: two points do not make the rule
    return scale * (end - start), scale * start


def customary(substance: str) -> tuple[str, ...]:
    """Units that a substance is often given in; a number without a unit may be in one of them."""
    what = SUBSTANCES.get(substance, Substance())
    if what.ifcc:
        return ("mmol/mol", "%")
    return ("mmol/L", "umol/L", "mg/dL", "g/L") if what.molar_mass else ()


def _by_library(value: float, given: str, wanted: str, molar_mass: float | None) -> float:
    with _LOCK:
        source, target = (_registry().from_ucum(unit) for unit in (given, wanted))
        per_mole = None if molar_mass is None else molar_mass * _registry().from_ucum("g/mol")
        quantity = type(source)(value * source.magnitude, source.units)
        if per_mole is not None and not quantity.is_compatible_with(target.units):
            by_mass = quantity * per_mole
            quantity = by_mass if by_mass.is_compatible_with(target.units) else quantity / per_mole
        return float(quantity.to(target.units).magnitude) / float(target.magnitude)


def _ifcc(given: str, wanted: str) -> tuple[float, float]:
    if (given, wanted) == ("mmol/mol", "%"):
        return _NGSP_SLOPE, _NGSP_OFFSET
    if (given, wanted) == ("%", "mmol/mol"):
        return 1 / _NGSP_SLOPE, -_NGSP_OFFSET / _NGSP_SLOPE
    raise UnitUnknown(f"HbA1c is given in % (NGSP) or mmol/mol (IFCC), not in {given}")


def _shown(unit: Unit) -> str:
    return str(unit)[:MAX_UNIT_CHARS] or "no unit"


def _no_way(given: str, wanted: str) -> UnitUnknown:
    return UnitUnknown(f"{given} cannot be converted to {wanted} here", hint=f"give the value in {wanted}")


_LOCK = threading.Lock()
"""pint's registry fills caches while it converts."""


@lru_cache(maxsize=1)
def _registry() -> Any:
    from ucumvert import PintUcumRegistry

    return PintUcumRegistry()


MAX_WRITTEN_CHARS = 200
"""Nobody writes a longer unit; longer ones are not looked at."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as it was meant.

    Attributes:
        ucum: without annotations and in UCUM's spelling where it was understood, else as it was written.
        per_body_surface: whether it is per 1.73 m2 of body surface.
    """

    ucum: str
    per_body_surface: bool = False

    def __str__(self) -> str:
        return f"{self.ucum}/{{1.73_m2}}" if self.per_body_surface else self.ucum


_WHOLE = {
    "bpm": "/min",
    "beats/min": "/min",
    "beats/minute": "/min",
    "percent": "%",
    "mg%": "mg/dL",  # per 100 mL, as older laboratories write
    "g%": "g/dL",
    "mg/dl": "mg/dL",
    "g/dl": "g/dL",
    "g/l": "g/L",
    "mmol/l": "mmol/L",
    "umol/l": "umol/L",
    "mmol/mol": "mmol/mol",
    "ml/min": "mL/min",
    "kg/m2": "kg/m2",
    "mm hg": "mm[Hg]",
}
"""Lower-cased and without annotations."""

_ATOMS = {
    "lb": "[lb_av]",
    "lbs": "[lb_av]",
    "in": "[in_i]",
    "inch": "[in_i]",
    "inches": "[in_i]",
    "oz": "[oz_av]",
    "degf": "[degF]",
    "°f": "[degF]",
    "degc": "Cel",
    "°c": "Cel",
    "celsius": "Cel",
    "fahrenheit": "[degF]",
    "mmhg": "mm[Hg]",
    "cmh2o": "cm[H2O]",
    "meq": "meq",
    "gm": "g",
    "mcg": "ug",
    "cc": "mL",
    "hr": "h",
    "hrs": "h",
    "sec": "s",
    "years": "a",
    "year": "a",
    "yrs": "a",
    "yr": "a",
    "months": "mo",
    "month": "mo",
}
"""Lower-cased; found inside a unit as well: lb/in2 is ``[lb_av]/[in_i]2``."""

_ATOM = re.compile(
    r"(?<![A-Za-z_\[\]'°])(" + "|".join(sorted(_ATOMS, key=len, reverse=True)) + r")(?![A-Za-z_\[\]'])", re.IGNORECASE
)
_ANNOTATION_AFTER = re.compile(r"(?<=[^\s/.(])\{[^{}]*\}")
_ANNOTATION_ALONE = re.compile(r"\{[^{}]*\}")
_BODY_SURFACE = re.compile(
    r"\s*(/\s*|(?<=\S))(\{[^{}]*1[.,]73[^{}]*\}|(?<=/)\(?1[.,]73\s*[._*]?\s*(m2|m\^2|m\*2|sqm|sq\.?\s?m)\)?)$",
    re.IGNORECASE,
)
_HAEMOGLOBIN = re.compile(r"\s+\(?(hb|hgb|hba1c)\)?$", re.IGNORECASE)
_EXPONENT = re.compile(r"(?<=[A-Za-z\]])\^(?=-?\d)")
_LOOKALIKES = str.maketrans({"µ": "u", "μ": "u", "²": "2", "³": "3", "º": "°", "\N{NO-BREAK SPACE}": " "})


def understood(written: str) -> Unit:
    """The unit that was meant. Never fails: what is not understood comes back as it is, for a library to refuse."""
    text = written.strip()
    return Unit(text) if len(text) > MAX_WRITTEN_CHARS else _understood(text)


@lru_cache(maxsize=1024)
def _understood(text: str) -> Unit:
    text = text.translate(_LOOKALIKES)
    without = _BODY_SURFACE.sub("", text)
    plain = _ANNOTATION_ALONE.sub("1", _ANNOTATION_AFTER.sub("", _HAEMOGLOBIN.sub("", without))).strip()
    plain = re.sub(r"\s*/\s*", "/", _EXPONENT.sub("", plain))
    plain = re.sub(r"^1/", "/", re.sub(r"(?i)\bdeg (?=[cf]\b)", "deg", plain))
    known = _WHOLE.get(plain.lower())
    return Unit(known or _ATOM.sub(lambda found: _ATOMS[found[0].lower()], plain), without != text)
