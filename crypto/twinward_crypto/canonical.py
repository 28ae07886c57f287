"""RFC 8785 (JSON Canonicalization Scheme): one object, one byte string, everywhere.

Invariants: no whitespace; object members sorted by the UTF-16 code units of their names (section 3.2.3); strings with
the fewest escapes (3.2.2.2); numbers as ECMAScript writes an IEEE 754 double (3.2.2.3); UTF-8 without a byte order
mark (3.2.4). ``rfc8785`` writes it; here what has no exact form is refused rather than rounded, with its path.

What has ASCII names and no floating-point number, as proofs and events do, the standard library writes byte for byte
alike in a fraction of the time: its order of names and its escapes differ from RFC 8785 in nothing there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import rfc8785

from twinward_crypto.errors import CanonicalizationError

MAX_DEPTH = 128
"""Arrays and objects inside one another. Deeper input is an attack or a cycle; either would exhaust the stack."""

MAX_INTEGER = 2**53 - 1
"""ECMAScript's ``Number.MAX_SAFE_INTEGER``: beyond it two integers share one double (RFC 7493 section 2.2)."""

_PLAIN = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)

_SHOWN = 64
"""Characters of a member's name that an error's path may show."""

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
    particular: list[float | str] = []
    exact = _exact(obj, None, 0, particular)
    return rfc8785.dumps(exact) if particular else _PLAIN.encode(exact).encode()


def _exact(value: object, where: _Where, depth: int, particular: list[float | str]) -> Any:
    """The same value out of plain JSON types, or a refusal that says where what has no exact form stands.

    Floating-point numbers, and names beyond ASCII, are added to ``particular``.
    """
    if isinstance(value, str):
        return _encodable(value, where)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise _refuse("an integer beyond ±(2**53 - 1) is not exact in JSON; write it as a string", where)
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _refuse("NaN and infinities have no JSON form", where)
        particular.append(value)
        return value
    if isinstance(value, Mapping):
        depth = _deeper(depth, where)
        return {
            _name(name, where, particular): _exact(one, (where, name), depth, particular) for name, one in value.items()
        }
    if isinstance(value, list | tuple):
        depth = _deeper(depth, where)
        return [_exact(one, (where, index), depth, particular) for index, one in enumerate(value)]
    raise _refuse(f"a {type(value).__name__} has no JSON form", where)


def _name(name: object, where: _Where, particular: list[float | str]) -> str:
    if not isinstance(name, str):
        raise _refuse(f"a member's name is a string, not a {type(name).__name__}", where)
    if not name.isascii():
        particular.append(name)
    return _encodable(name, (where, name))


def _encodable(text: str, where: _Where) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _refuse("a lone surrogate has no UTF-8 form", where) from None
    return text


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
