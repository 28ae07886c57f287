from __future__ import annotations

from decimal import Decimal

import pytest

from twinward.fhir.errors import InvalidResource
from twinward.fhir.json.diagnostics import find_fault
from twinward.fhir.json.strict_json import Limits, decode


def refusal(data: bytes, **limits: int) -> InvalidResource:
    with pytest.raises(InvalidResource) as caught:
        decode(data, limits=Limits(**limits))
    return caught.value


@pytest.mark.parametrize(
    ("data", "path", "says"),
    [
        (b'{"resourceType":"Patient","id":"a","id":"b"}', "Patient.id", "twice"),
        (
            b'{"resourceType":"Bundle","entry":[{},{"resource":{"id":1,"\\u0069d":2}}]}',
            "Bundle.entry[1].resource.id",
            "twice",
        ),
        (b'{"a":{"b":[0,NaN]}}', "Resource.a.b[1]", "malformed"),
        (b'{"a":-Infinity}', "Resource.a", "malformed"),
        (b'{"a":01}', "Resource.a", "comma"),
        (b'{"a":1.}', "Resource.a", "malformed"),
        (b'{"a":.5}', "Resource.a", "malformed"),
        (b'{"a":+1}', "Resource.a", "malformed"),
        (b'{"a":[1,]}', "Resource.a[1]", "value"),
        (b'{"a":1,}', "Resource.a", "key"),
        (b"{'a':1}", "Resource", "malformed"),
        (b'{"a":"\x00"}', "Resource.a", "malformed"),
        (b'{"a":"\\x41"}', "Resource.a", "malformed"),
        (b'{"a":"\\ud800"}', "Resource.a", "surrogate"),
        (b'{"a":"\\ude00\\ud83d"}', "Resource.a", "surrogate"),
        (b'{"\\udfff":1}', "Resource", "surrogate"),
        (b'{"a":1} {"b":2}', "Resource", "after the end"),
        (b'{"a":1', "Resource.a", "too early"),
        (b'{"a":"', "Resource.a", "malformed"),
        (b"", "Resource", "too early"),
        (b'{"a":1e301}', "Resource.a", "exponent"),
        (b'{"a":1e-999999999999999999999}', "Resource.a", "exponent"),
        (b'{"a":' + b"9" * 65 + b"}", "Resource.a", "longer"),
        (b'{"a":[{]}', "Resource.a[0]", "closing"),
        (b'{"a" 1}', "Resource.a", "colon"),
    ],
)
def test_a_fault_is_refused_with_its_place(data: bytes, path: str, says: str) -> None:
    issue = refusal(data).issues[0]
    assert issue.path == path
    assert says in issue.message


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'{"a":"\xff"}', "UTF-8 at byte 6"),
        (b'{"a":"\xed\xa0\x80"}', "UTF-8"),  # a surrogate in CESU-8 style
        (b'{"a":"\xc0\xaf"}', "UTF-8"),  # an overlong slash
        ("{}".encode("utf-16"), "UTF-8"),
        (b"[]", "JSON object"),
        (b'"text"', "JSON object"),
        (b"null", "JSON object"),
    ],
)
def test_what_is_no_json_object_in_utf8_is_refused(data: bytes, says: str) -> None:
    assert says in str(refusal(data))


def test_depth_is_bounded_exactly() -> None:
    def nested(levels: int) -> bytes:
        return b'{"a":' * (levels - 1) + b"{}" + b"}" * (levels - 1)

    assert decode(nested(64))
    assert "64 levels" in str(refusal(nested(65)))
    assert "64 levels" in str(refusal(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"))
    wide = b'{"a":[' + b",".join([b'[{"b":[]},{}]'] * 5_000) + b"]}"
    assert decode(wide, limits=Limits(depth=5))
    assert "4 levels" in str(refusal(wide, depth=4))


def test_brackets_inside_strings_are_no_depth() -> None:
    assert decode(b'{"a":"' + b"[{" * 1000 + b'\\"[[["}')


def test_size_is_bounded_before_anything_is_read() -> None:
    assert "at most 10" in str(refusal(b'{"a":12345}', size_bytes=10))


def test_decimals_keep_their_digits() -> None:
    tree = decode(b'{"a":1.10,"b":-0.0,"c":1E+5,"d":12,"e":0.000000000000000001}')
    assert [str(value) for value in tree.values()] == ["1.10", "-0.0", "1E+5", "12", "1E-18"]
    assert tree["a"] == Decimal("1.1")


def test_an_escaped_pair_is_one_character() -> None:
    assert decode(b'{"a":"\\ud83d\\ude00"}') == {"a": "\N{GRINNING FACE}"}
    assert decode(rb'{"a":"\\ud800"}') == {"a": "\\ud800"}  # an escaped backslash, not an escape


def test_errors_repeat_no_value_and_no_odd_key() -> None:
    error = refusal(b'{"<script>secret</script>":{"name":"secret","name":1}}')
    assert error.issues[0].path == "Resource.?.name"
    assert "secret" not in str(error)


def test_the_oracle_accepts_what_the_decoder_accepts() -> None:
    text = '{"a":[1,-2.5e3,true,false,null,"\\n\\u00e9",{}],"b":[]}'
    assert find_fault(text, depth=64) is None
    assert decode(text.encode())
