from __future__ import annotations

import hashlib
import json
import math
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.vectors.canonical.es6_numbers import APPENDIX_B, PUBLISHED_SHA256, from_bits, sequence
from twinward_crypto.canonical import MAX_DEPTH, MAX_INTEGER, canonicalize
from twinward_crypto.errors import CanonicalizationError


@pytest.mark.parametrize("name", ["arrays", "french", "structures", "unicode", "values", "weird"])
def test_published_pairs(shared_data: Path, name: str) -> None:
    folder = shared_data / "jcs-rfc8785"
    value = json.loads((folder / "input" / f"{name}.json").read_text("utf-8"))
    assert canonicalize(value) == (folder / "output" / f"{name}.json").read_bytes()


@pytest.mark.parametrize("bits", APPENDIX_B)
def test_numbers_of_the_rfc(bits: str) -> None:
    assert canonicalize(from_bits(int(bits, 16))) == APPENDIX_B[bits].encode()


@pytest.mark.parametrize("lines", PUBLISHED_SHA256)
def test_numbers_are_written_as_ecmascript_writes_them(lines: int) -> None:
    digest = hashlib.sha256()
    for bits, value in islice(sequence(), lines):
        digest.update(b"%x,%s\n" % (bits, canonicalize(value)))
    assert digest.hexdigest() == PUBLISHED_SHA256[lines]


def test_names_sort_by_utf16_code_units_not_by_code_points() -> None:
    # U+10000 is the surrogate pair D800 DC00 and so comes before U+FB33, although its code point is larger.
    assert canonicalize({"\ufb33": 1, "\U00010000": 2, "a": 3}) == '{"a":3,"\U00010000":2,"\ufb33":1}'.encode()


def test_strings_have_the_fewest_escapes() -> None:
    text = '\x00\x08\t\n\x0b\f\r\x1f "\\/\x7f\u2028é'
    assert canonicalize(text) == '"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f \\"\\\\/\x7f\u2028é"'.encode()


def test_literals_containers_and_subclasses() -> None:
    class Colour(StrEnum):
        RED = "red"

    value = {"n": None, "t": True, "f": False, "e": [[], {}, ()], Colour.RED: Colour.RED}
    assert canonicalize(value) == b'{"e":[[],{},[]],"f":false,"n":null,"red":"red","t":true}'


def test_integers_up_to_the_safe_one() -> None:
    assert canonicalize([MAX_INTEGER, -MAX_INTEGER, 0]) == b"[9007199254740991,-9007199254740991,0]"


@pytest.mark.parametrize(
    ("value", "path", "says"),
    [
        ({"a": [1, math.nan]}, "$.a[1]", "NaN"),
        (math.inf, "$", "infinit"),
        ([-math.inf], "$[0]", "infinit"),
        ({"n": MAX_INTEGER + 1}, "$.n", r"2\*\*53"),
        (-MAX_INTEGER - 1, "$", r"2\*\*53"),
        (10**400, "$", r"2\*\*53"),
        ({"x": "\ud800"}, "$.x", "surrogate"),
        ({"\udfff": 1}, "$['\\udfff']", "surrogate"),
        ({"a": {1: 2}}, "$.a", "name"),
        ({"a b": b"bytes"}, "$['a b']", "bytes"),
        ([{1, 2}], "$[0]", "set"),
        (object(), "$", "object"),
    ],
)
def test_what_has_no_exact_form_is_refused_with_its_place(value: Any, path: str, says: str) -> None:
    with pytest.raises(CanonicalizationError, match=says) as caught:
        canonicalize(value)
    assert caught.value.path == path


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_depth_is_bounded(wrap: Any) -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH):
        value = wrap(value)
    canonicalize(value)
    with pytest.raises(CanonicalizationError, match="deep"):
        canonicalize(wrap(value))


def test_a_cycle_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(CanonicalizationError, match="cycle"):
        canonicalize(value)


def test_an_error_shows_little_of_a_long_name() -> None:
    with pytest.raises(CanonicalizationError) as caught:
        canonicalize({"secret" * 1000: math.nan})
    assert len(str(caught.value)) < 200
