"""RFC 8785 written another way than the product's library: by the standard library's JSON and ECMA-262's own steps."""

from __future__ import annotations

import json
from typing import Any


def canonical(value: Any) -> str:
    """The canonical text of a JSON value that has one."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{canonical(name)}:{canonical(value[name])}" for name in names) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, float):
        return number(value)
    return json.dumps(value, ensure_ascii=False)


def number(value: float) -> str:
    """ECMA-262 Number::toString(x, 10); the names k and n are those of its steps."""
    if value == 0:
        return "0"  # minus zero too
    if value < 0:
        return "-" + number(-value)
    mantissa, _, exponent = repr(value).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0").rstrip("0")
    n = len(whole) + int(exponent or 0) - (len(whole + fraction) - len((whole + fraction).lstrip("0")))
    k = len(digits)
    if k <= n <= 21:
        return digits + "0" * (n - k)
    if 0 < n <= 21:
        return f"{digits[:n]}.{digits[n:]}"
    if -6 < n <= 0:
        return f"0.{'0' * -n}{digits}"
    point = f".{digits[1:]}" if k > 1 else ""
    return f"{digits[0]}{point}e{n - 1:+d}"
