from __future__ import annotations

import json
import math
import struct
from typing import Any

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from tests.canonical_oracle import canonical
from twinward_crypto.canonical import MAX_INTEGER, canonicalize

text = st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | text
numbers = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars | numbers, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(text, inner, max_size=5)
)


def read(data: bytes) -> Any:
    """As ECMAScript reads: every number is a double. Large doubles are written without an exponent, like integers."""
    return json.loads(data, parse_int=lambda digits: int(digits) if abs(int(digits)) <= MAX_INTEGER else float(digits))


@given(values)
def test_reading_back_gives_the_same_value(value: Any) -> None:
    assert read(canonicalize(value)) == value


@given(values)
def test_writing_again_gives_the_same_bytes(value: Any) -> None:
    once = canonicalize(value)
    assert canonicalize(read(once)) == once


@given(st.dictionaries(text, scalars, max_size=8), st.randoms())
def test_the_order_of_members_does_not_matter(value: dict[str, Any], random: Any) -> None:
    members = list(value.items())
    random.shuffle(members)
    assert canonicalize(dict(members)) == canonicalize(value)


@given(numbers)
def test_a_double_keeps_its_bits(number: float) -> None:
    written = canonicalize(number)
    assert struct.pack("d", float(written)) == struct.pack("d", number + 0.0)  # minus zero is written as zero
    mantissa = written.lstrip(b"-").split(b"e")[0]
    assert len(mantissa.replace(b".", b"").strip(b"0")) <= 17


any_double = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("d", struct.pack("Q", bits))[0])


@given(values | any_double.filter(math.isfinite))
def test_it_is_what_another_writer_writes(value: Any) -> None:
    assert canonicalize(value).decode() == canonical(value)


plain = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(max_codepoint=127)), inner, max_size=5)
        | st.dictionaries(text, inner, max_size=2)
    ),
)


@given(plain)
def test_what_the_standard_library_writes_is_what_rfc8785_writes(value: Any) -> None:
    assert canonicalize(value) == rfc8785.dumps(value)
