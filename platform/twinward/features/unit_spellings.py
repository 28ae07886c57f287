"""How people and laboratories write units, and the UCUM unit they mean (https://ucum.org/ucum).

An annotation in braces has no meaning in UCUM (section 2, paragraph 6): ``%{HbA1c}`` is ``%`` and ``{beats}/min`` is
``/min``. One is understood nevertheless, because a number without it is another number: per 1.73 m2 of body surface.
A customary name is read as what it stands for only where it is no UCUM unit of its own: ``lb`` is, ``ft`` is not,
since that is UCUM's femtotonne.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

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
