"""Strict decoding of untrusted JSON bytes.

Order of checks: size, byte order mark, UTF-8, number of values, grammar with duplicate keys, constants and number
bounds, depth, surrogates, top level. Nothing is built before size and values are known to be bounded: an empty array
takes 3 bytes of text and 60 of memory. Every failure is ``InvalidResource``.

Numbers with a fraction or exponent come back as ``Decimal`` so that ``1.10`` stays ``1.10``; the exact source bytes
of a part of the document are had by slicing (``twinward.fhir.mapping.bundle``), never by writing the tree out again.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.diagnostics import Fault, find_fault
from twinward.fhir.json.values import number_fault

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a document may cost. ``depth`` counts objects and arrays, the outermost being 1; ``values`` all values."""

    size_bytes: int = 64 * 1024 * 1024
    depth: int = 64
    values: int = 4_000_000


IMPORT_LIMITS = Limits()
"""Files an operator imports: a Synthea patient with a long life is about 30 MiB."""

REQUEST_LIMITS = Limits(size_bytes=16 * 1024 * 1024, values=800_000)
"""Bodies of API requests. HL7's examples have a value every 30 bytes or more, indented; 20 is as dense as FHIR gets."""

# A string that does not end is one, too: were it no match, each quote within it would be tried, and a walk through
# bytes become one through their square, within one call that no other thread gets a word into.
_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_AS_ROUND = bytes.maketrans(b"[]{}", b"()()")
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


def decode(data: bytes, *, limits: Limits = IMPORT_LIMITS) -> JsonObject:
    """One JSON object from untrusted bytes.

    Raises:
        InvalidResource: for anything that is not one well-formed, bounded JSON object in UTF-8.
    """
    text = _decode_text(data, limits)
    try:
        tree = _DECODER.decode(text)
    except (ValueError, RecursionError):
        _explain(text, limits)
    if _deeper_than(data, limits.depth) or _SURROGATE_ESCAPE.search(data):
        _raise_fault(find_fault(text, depth=limits.depth))
    if not isinstance(tree, dict):
        raise InvalidResource(Issue("structure", "", "a FHIR resource is a JSON object"))
    return tree


def _decode_text(data: bytes, limits: Limits) -> str:
    if len(data) > limits.size_bytes:
        raise InvalidResource(
            Issue("too-long", "", f"{len(data)} bytes; at most {limits.size_bytes} are taken at once"),
            hint="send it in smaller parts",
        )
    if data.startswith(b"\xef\xbb\xbf"):
        raise InvalidResource(Issue("structure", "", "a byte order mark; FHIR JSON is plain UTF-8 without one"))
    try:
        text = data.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        raise InvalidResource(Issue("structure", "", f"not UTF-8 at byte {error.start}")) from None
    require_few_values(data, limits)
    return text


def require_few_values(data: bytes, limits: Limits) -> None:
    """Raise ``InvalidResource`` where a document has more values than the limits let; nothing is built for it."""
    if _more_values_than(data, limits.values):
        raise InvalidResource(
            Issue("too-costly", "", f"more than {limits.values} values; no more are taken at once"),
            hint="send it in smaller parts",
        )


def _more_values_than(data: bytes, most: int) -> bool:
    """Whether so far as this is JSON it holds more values. Strings are only taken out where it may matter."""
    return _marks(data) > most and _marks(_STRINGS.sub(b"", data)) > most


def _marks(data: bytes) -> int:
    """Every value but the outermost is the first of an array or object, or follows a comma."""
    return sum(data.count(mark) for mark in (b",", b"[", b"{"))


def _unique(pairs: list[tuple[str, Any]]) -> JsonObject:
    built = dict(pairs)
    if len(built) != len(pairs):
        raise ValueError("duplicate key")
    return built


def _decimal(token: str) -> Decimal:
    if number_fault(token):
        raise ValueError("number out of bounds")
    return Decimal(token)


def _integer(token: str) -> int:
    if number_fault(token):
        raise ValueError("number out of bounds")
    return int(token)


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def is_left_open(data: bytes) -> bool:
    """Whether an object or array begins on these bytes, and the first one does not end on them.

    Brackets alone are counted, those in strings left out: so it is told of what no decoder takes as well.
    """
    depth = 0
    for bracket in _STRINGS.sub(b"", data).translate(_AS_ROUND, _NOT_BRACKETS).decode():
        depth += 1 if bracket == "(" else -1
        if depth <= 0:
            return False
    return depth > 0


def _deeper_than(data: bytes, depth: int) -> bool:
    """Whether well-formed JSON nests deeper. Each round strips the innermost level, all of it in C."""
    brackets = _STRINGS.sub(b"", data).translate(_AS_ROUND, _NOT_BRACKETS)
    for _ in range(depth):
        if not brackets:
            return False
        brackets = brackets.replace(b"()", b"")
    return bool(brackets)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_decimal, parse_int=_integer, parse_constant=_refuse_constant
)


def _explain(text: str, limits: Limits) -> NoReturn:
    _raise_fault(find_fault(text, depth=limits.depth))
    raise InvalidResource(Issue("structure", "", "this is not the JSON of one FHIR resource"))


def _raise_fault(fault: Fault | None) -> None:
    if fault is not None:
        raise InvalidResource(Issue(fault.code, fault.path, fault.message)) from None
