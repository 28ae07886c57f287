"""RFC 8785 (JSON Canonicalization Scheme): one object, one byte string, everywhere.

Invariants: no whitespace; object members sorted by the UTF-16 code units of their names (section 3.2.3); strings with
the fewest escapes (3.2.2.2); numbers as ECMAScript writes an IEEE 754 double (3.2.2.3); UTF-8 without a byte order
mark (3.2.4). What has no exact form is refused rather than rounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from twinward_crypto.errors import CanonicalizationError

MAX_DEPTH = 128
"""Arrays and objects inside one another. Deeper input is an attack or a cycle; either would exhaust the stack."""

MAX_INTEGER = 2**53 - 1
"""ECMAScript's ``Number.MAX_SAFE_INTEGER``: beyond it two integers share one double (RFC 7493 section 2.2)."""

_SHOWN = 64
"""Characters of a member's name that an error's path may show."""

_ESCAPES = {code: f"\\u{code:04x}" for code in range(0x20)} | {
    0x08: "\\b",
    0x09: "\\t",
    0x0A: "\\n",
    0x0C: "\\f",
    0x0D: "\\r",
    0x22: '\\"',
    0x5C: "\\\\",
}

_Where = tuple["_Where", "str | int"] | None
"""The path to a value as a linked list, so that it costs nothing until it is shown."""


def canonicalize(obj: object) -> bytes:
    """The RFC 8785 bytes of a JSON value.

    Args:
        obj: ``None``, ``bool``, ``int``, ``float``, ``str``, a list or tuple of them, or a mapping of ``str`` to them.

    Raises:
        CanonicalizationError: NaN or an infinity, an integer beyond ±(2**53 - 1), a lone surrogate, a name that is not
            a string, another type, or more than ``MAX_DEPTH`` levels. ``path`` says where.
    """
    pieces: list[str] = []
    _write(obj, pieces.append, None, 0)
    return "".join(pieces).encode("utf-8")


def _write(value: object, emit: Callable[[str], None], where: _Where, depth: int) -> None:
    if isinstance(value, str):
        emit(_string(value, where))
    elif value is None:
        emit("null")
    elif isinstance(value, bool):
        emit("true" if value else "false")
    elif isinstance(value, int):
        emit(_integer(value, where))
    elif isinstance(value, float):
        emit(_number(value, where))
    elif isinstance(value, Mapping):
        _object(value, emit, where, _deeper(depth, where))
    elif isinstance(value, list | tuple):
        _array(value, emit, where, _deeper(depth, where))
    else:
        raise _refuse(f"a {type(value).__name__} has no JSON form", where)


def _array(values: list[object] | tuple[object, ...], emit: Callable[[str], None], where: _Where, depth: int) -> None:
    opening = "["
    for index, value in enumerate(values):
        emit(opening)
        opening = ","
        _write(value, emit, (where, index), depth)
    emit("]" if values else "[]")


def _object(members: Mapping[object, object], emit: Callable[[str], None], where: _Where, depth: int) -> None:
    names: list[tuple[bytes, str]] = []
    for name in members:
        if not isinstance(name, str):
            raise _refuse(f"a member's name is a string, not a {type(name).__name__}", where)
        names.append((_utf16(name, (where, name)), name))
    opening = "{"
    for _, name in sorted(names):
        emit(f"{opening}{_string(name, where)}:")
        opening = ","
        _write(members[name], emit, (where, name), depth)
    emit("}" if names else "{}")


def _string(text: str, where: _Where) -> str:
    if not text.isascii():
        _utf16(text, where)
    return f'"{text.translate(_ESCAPES)}"'


def _utf16(text: str, where: _Where) -> bytes:
    """Big-endian UTF-16 compares like its code units; encoding also finds lone surrogates."""
    try:
        return text.encode("utf-16-be")
    except UnicodeEncodeError:
        raise _refuse("a lone surrogate has no UTF-8 form", where) from None


def _integer(value: int, where: _Where) -> str:
    if not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise _refuse("an integer beyond ±(2**53 - 1) is not exact in JSON; write it as a string", where)
    return int.__repr__(value)


def _number(value: float, where: _Where) -> str:
    """ECMA-262 Number::toString(x, 10). ``repr`` gives the same shortest digits; only the layout differs."""
    if not math.isfinite(value):
        raise _refuse("NaN and infinities have no JSON form", where)
    if value == 0:
        return "0"  # minus zero too (ECMA-262 6.1.6.1.20 step 2)
    mantissa, _, exponent = float.__repr__(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    if fraction == "0":
        fraction = ""
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    sign = "-" if value < 0 else ""
    return sign + _layout(digits, point)


def _layout(digits: str, point: int) -> str:
    """Place the point: the value is 0.digits × 10**point. Names k and n of ECMA-262 are len(digits) and point."""
    count = len(digits)
    if count <= point <= 21:
        return digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"0.{'0' * -point}{digits}"
    exponent = f"e{point - 1:+d}"
    return digits + exponent if count == 1 else f"{digits[0]}.{digits[1:]}{exponent}"


def _deeper(depth: int, where: _Where) -> int:
    if depth >= MAX_DEPTH:
        raise _refuse(f"more than {MAX_DEPTH} levels deep, or a cycle", where)
    return depth + 1


def _refuse(message: str, where: _Where) -> CanonicalizationError:
    steps: list[str] = []
    while where is not None:
        where, step = where
        steps.append(f"[{step}]" if isinstance(step, int) else _member(step))
    return CanonicalizationError(message, path="$" + "".join(reversed(steps)))


def _member(name: str) -> str:
    if name.isascii() and name.isidentifier() and len(name) <= _SHOWN:
        return f".{name}"
    return f"[{name[:_SHOWN]!a}{'…' if len(name) > _SHOWN else ''}]"
