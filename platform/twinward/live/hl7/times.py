"""HL7's moments: YYYYMMDDHHMM[SS[.S…]][±ZZZZ] (v2.5.1, 2.A.22), at the offset that belongs to them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from twinward.live.hl7.errors import DATA_TYPE, Hl7Fault, Where

_MOMENT: Final = re.compile(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(?:(\d\d)(?:\.(\d{1,4}))?)?([+-]\d{4})?", re.ASCII)
_DAY: Final = re.compile(r"(\d{4})(?:(\d\d)(?:(\d\d)(?:\d.*)?)?)?", re.ASCII)
_OFFSET: Final = re.compile(r"([+-])(\d\d)(\d\d)$", re.ASCII)


def offset_in(text: str) -> tzinfo | None:
    """The offset that a moment names, None for none or one that is nowhere."""
    found = _OFFSET.search(text)
    if found is None or int(found[2]) > 14 or int(found[3]) > 59:
        return None
    return timezone((1 if found[1] == "+" else -1) * timedelta(hours=int(found[2]), minutes=int(found[3])))


def usual_offset(header_time: str, zone: tzinfo | None) -> tzinfo | None:
    """Where moments of a message name no offset: MSH-7's (2.15.9.7), else the source's own.

    Raises ``Hl7Fault``: MSH-7 names one that is nowhere, so nobody knows which was meant.
    """
    found = offset_in(header_time)
    if found is None and _OFFSET.search(header_time):
        raise Hl7Fault(DATA_TYPE, Where("MSH", 1, 7), "MSH-7: no such offset")
    return found or zone


def moment_ms(text: str, where: Where, usual: tzinfo | None) -> int:
    """A moment in milliseconds since 1970.

    Args:
        text: as it stands in the field.
        where: the field.
        usual: where a moment names no offset.

    Raises:
        Hl7Fault: no moment to the minute; or nobody says at which offset; or it was there twice, or never, that night.
    """
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise Hl7Fault(DATA_TYPE, where, f"{where}: a moment is YYYYMMDDHHMM[SS][.SSSS][+ZZZZ]")
    zone = offset_in(text) if found[8] else usual
    if found[8] and zone is None:
        raise Hl7Fault(DATA_TYPE, where, f"{where}: no such offset")
    if zone is None:
        raise Hl7Fault(DATA_TYPE, where, f"{where}: no offset, here nor in MSH-7, and no zone was set for this source")
    year, month, on, hour, minute, second = (int(one or 0) for one in found.groups()[:6])
    micros = int((found[7] or "0").ljust(6, "0"))
    try:
        local = datetime(year, month, on, hour, minute, second, micros, zone)
        at = local.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Hl7Fault(DATA_TYPE, where, f"{where}: no such day or time") from None
    if isinstance(zone, ZoneInfo) and _is_doubtful(local):
        raise Hl7Fault(DATA_TYPE, where, f"{where}: in the hour in which clocks are changed a moment needs its offset")
    if at.year < 1970:
        raise Hl7Fault(DATA_TYPE, where, f"{where}: from 1970 on")
    return int(at.timestamp() * 1000 + 1e-6)


def day(text: str) -> str:
    """A date as FHIR writes it, of a year, a month, a day or a moment (DT, 2.A.21); empty where it is none."""
    found = _DAY.fullmatch(text)
    if found is None:
        return ""
    parts = [one for one in found.groups() if one]
    try:
        date(*map(int, [*parts, "01", "01"][:3]))
    except ValueError:
        return ""
    return "-".join(parts)


def _is_doubtful(local: datetime) -> bool:
    """Whether clocks showed it twice or never."""
    return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
