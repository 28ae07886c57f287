"""ORU^R01: results, each OBX a reading (HL7 v2.5.1 chapter 7; IHE Device Enterprise Communication for devices).

What a result says maps so: OBX-3 the code, the first of its two that is known here; OBX-5 the value; OBX-6 the unit;
OBX-14 when it was measured, else OBR-7; OBX-18 the device; OBX-11 how sure it is. A result that is no number, or that
corrects or takes back an earlier one, is kept apart: a series is never rewritten.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import tzinfo
from typing import Final

from twinward.live.hl7.errors import DATA_TYPE, MISSING, NOT_IN_TABLE, Hl7Fault, Where
from twinward.live.hl7.message import Message, Segment
from twinward.live.hl7.times import moment_ms, usual_offset
from twinward.live.intake.lines import NAME, Fault
from twinward.live.models import MAX_NAME_CHARS, Quality, Reading, Reason
from twinward.live.signals import LOINC, MDC, signal_of

MAX_VALUE: Final = 1e12
_SYSTEMS: Final = {"LN": LOINC, "LOINC": LOINC, "MDC": MDC}
"""Table 0396."""
_NUMBER: Final = re.compile(r"[+-]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})", re.ASCII)
_FINAL: Final = {"F": Quality.GOOD, "": Quality.GOOD, "P": Quality.QUESTIONABLE, "R": Quality.QUESTIONABLE}
"""Table 0085: what is a measurement. P is preliminary, R not verified yet."""
_UNIT_CHARS: Final = 40
_NO_RESULT: Final = frozenset("XONI")
"""Nothing was, or is yet, measured."""
_UNITS: Final = {
    "MDC_DIM_BEAT_PER_MIN": "/min",
    "MDC_DIM_RESP_PER_MIN": "/min",
    "MDC_DIM_PERCENT": "%",
    "MDC_DIM_MMHG": "mm[Hg]",
    "MDC_DIM_DEGC": "Cel",
    "MDC_DIM_FAHR": "[degF]",
    "MDC_DIM_L_PER_MIN": "L/min",
    "MDC_DIM_MILLI_L": "mL",
    "MM(HG)": "mm[Hg]",
    "BPM": "/min",
    "CEL": "Cel",
    "MMOL/L": "mmol/L",
    "MG/DL": "mg/dL",
}
"""What monitors (ISO/IEEE 11073-10101) and older interfaces (ISO 2955, in capitals) write, as UCUM."""


def results_of(message: Message) -> Iterator[Segment]:
    """The OBX that say what was measured; others say that nothing was, or is yet."""
    return (one for one in message.all("OBX") if one.text(11) not in _NO_RESULT)


def readings_of(message: Message, subject: str, zone: tzinfo | None) -> Iterator[Reading | Fault]:
    """The results of a message, numbered from 0 in its order.

    Args:
        subject: whose they are, as PID says; where it names nobody (empty), each is of the device that it names.
        zone: the source's own, where moments name no offset.
    """
    usual = usual_offset(message.header.text(7), zone)
    orders = _orders_of(message)
    for number, obx in enumerate(results_of(message)):
        yield _result(obx, orders.get(obx.where), subject, usual, number)


def _orders_of(message: Message) -> dict[Where, Segment]:
    """The OBR that each OBX stands under."""
    found, order = {}, None
    for segment in message.segments:
        if segment.where.segment == "OBR":
            order = segment
        elif segment.where.segment == "OBX" and order is not None:
            found[segment.where] = order
    return found


def _result(obx: Segment, order: Segment | None, subject: str, usual: tzinfo | None, seq: int) -> Reading | Fault:
    device = obx.text(18) if NAME.fullmatch(obx.text(18)) else ""
    try:
        return Reading(
            seq,
            subject,
            "" if subject else _device(obx),
            _code(obx),
            (_value(obx),),
            0,
            _unit(obx),
            _time_ms(obx, order, usual),
            _quality(obx),
        )
    except Hl7Fault as fault:
        return Fault(seq, str(fault), _kept(obx), Reason.BAD_MESSAGE, subject, "" if subject else device)


def _kept(obx: Segment) -> bytes:
    """What is kept of a result that cannot be placed: enough for somebody to look it up at its sender."""
    return "|".join(obx.text(number) for number in range(1, 15)).encode()


def _device(obx: Segment) -> str:
    found = obx.required(18, "PID names no patient, so the device says whose it is")
    if not NAME.fullmatch(found):
        raise Hl7Fault(DATA_TYPE, obx.at(18), f"{obx.at(18)}: a device is 1 to 64 of A-Z a-z 0-9 . _ : -")
    return found


def _code(obx: Segment) -> str:
    """The first of the two codes that is a signal's; else the first, so that quarantine can say what is unknown."""
    obx.required(3, "what was measured")
    coded = [_token(obx.text(3, first), obx.text(3, first + 2)) for first in (1, 4) if obx.text(3, first)]
    return next((one for one in coded if signal_of(one) is not None), coded[0] if coded else "")[: 2 * MAX_NAME_CHARS]


def _token(code: str, system: str) -> str:
    known = _SYSTEMS.get(system.upper())
    return f"{known}|{code}" if known else f"{system or 'local'}|{code}"


def _value(obx: Segment) -> float:
    if obx.text(2) != "NM":
        raise Hl7Fault(DATA_TYPE, obx.at(2), f"{obx.at(2)}: a reading is NM, a number")
    if obx.repetitions(5) > 1:
        raise Hl7Fault(DATA_TYPE, obx.at(5), f"{obx.at(5)}: one value; several at a time do not say when each was")
    if not obx.is_plain(5):
        raise Hl7Fault(DATA_TYPE, obx.at(5), f"{obx.at(5)}: one number, of one part")
    text = obx.text(5)
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not abs(value) <= MAX_VALUE:
        raise Hl7Fault(DATA_TYPE, obx.at(5), f"{obx.at(5)}: a number such as 37.2")
    return value


def _unit(obx: Segment) -> str:
    obx.required(6, "a number without its unit is none")
    first = obx.text(6)
    said = (1,) if first and obx.text(6, 3).upper() in ("", "UCUM") else (1, 2, 4, 5)  # no text beside UCUM's overrules
    for component in said:
        named = _UNITS.get(obx.text(6, component).upper())
        if named is not None:
            return named
    if len(first) > _UNIT_CHARS:  # a part of it would be another unit
        raise Hl7Fault(DATA_TYPE, obx.at(6), f"{obx.at(6)}: a unit has {_UNIT_CHARS} characters at most")
    return first


def _time_ms(obx: Segment, order: Segment | None, usual: tzinfo | None) -> int:
    if obx.text(14):
        return moment_ms(obx.text(14), obx.at(14), usual)
    if order is not None and order.text(7):
        return moment_ms(order.text(7), order.at(7), usual)
    raise Hl7Fault(MISSING, obx.at(14), f"{obx.at(14)} and OBR-7 are empty: when it was measured")


def _quality(obx: Segment) -> Quality:
    status = obx.text(11)
    found = _FINAL.get(status)
    if found is None:
        raise Hl7Fault(
            NOT_IN_TABLE, obx.at(11), f"{obx.at(11)}: it corrects or takes back what was sent; a series stands"
        )
    return found
