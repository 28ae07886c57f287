"""Whatever arrives: a resource, or the one typed error. And the fast decoder agrees with the slow scanner."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.bundles import read_bundle
from twinward.fhir.errors import InvalidResource, outcome_of
from twinward.fhir.json.diagnostics import find_fault
from twinward.fhir.json.strict_json import Limits, decode
from twinward.fhir.mapping.records import patient_imports
from twinward.fhir.validation.definitions import PRIMITIVES
from twinward.fhir.validation.validator import validate

_LIMITS = Limits(size_bytes=100_000, depth=6)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
_PIECES = r"""{ } [ ] , : "a" "b" "\ud83d" "\ude00" "\ud83d\ude00" 1 -0 1.10 1e400 01 NaN true null é "\u0061" " \ {}"""
_FRAGMENTS = st.lists(st.sampled_from([*_PIECES.split(" "), " ", "\n", "\x00"]), max_size=24).map("".join)
_ELEMENTS = (
    "id entry type subject code category contained valueQuantity name component status effectiveDateTime birthDate"
    " gender meta text"
)
_RESOURCES = st.fixed_dictionaries(
    {"resourceType": st.sampled_from(["Patient", "Observation", "Bundle", "Condition", "Citation", "", 5, None])},
    optional=dict.fromkeys(_ELEMENTS.split(" "), _JSON),
)


def refused_or_read(data: bytes) -> None:
    """Any exception but the typed one fails the test; that one always makes an OperationOutcome."""
    try:
        patient_imports(read_bundle(data, limits=_LIMITS))
    except InvalidResource as error:
        refusal = error
    else:
        return
    assert outcome_of(refusal)["issue"][0]["code"]
    assert len(str(refusal)) < 2_000


def accepted(text: str) -> bool:
    try:
        decode(text.encode(), limits=_LIMITS)
    except InvalidResource:
        return False
    return True


def assert_agreement(text: str) -> None:
    is_object = text.strip(" \t\n\r").startswith("{")
    assert accepted(text) == (is_object and find_fault(text, depth=_LIMITS.depth) is None)


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf{}")
def test_bytes(data: bytes) -> None:
    refused_or_read(data)


@given(_FRAGMENTS)
@settings(max_examples=400)
@example('{"a":1,"\\u0061":2}')
@example('{"\\ud83d\\ude00":1,"\U0001f600":2}')
def test_the_decoder_and_the_scanner_agree(text: str) -> None:
    assert_agreement(text)


@given(st.dictionaries(st.text(), _JSON, max_size=4), st.booleans(), st.data())
@settings(max_examples=400)
def test_they_agree_on_damaged_documents(tree: dict[str, object], ascii_only: bool, data: st.DataObject) -> None:
    text = json.dumps(tree, ensure_ascii=ascii_only)
    assert_agreement(text)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 2)))
    assert_agreement(text[:start] + data.draw(_FRAGMENTS) + text[end:])


@given(_JSON)
def test_any_json(tree: object) -> None:
    refused_or_read(json.dumps(tree).encode())


@given(_RESOURCES)
def test_things_shaped_like_resources(tree: dict[str, object]) -> None:
    refused_or_read(json.dumps(tree).encode())
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": tree}]}
    refused_or_read(json.dumps(bundle).encode())
    with contextlib.suppress(InvalidResource):
        validate(decode(json.dumps(tree).encode(), limits=_LIMITS))


_SAID = st.text(alphabet=st.characters(codec="utf-8"), min_size=1).filter(PRIMITIVES["string"][0])


@given(_SAID, st.sampled_from(["family", "text"]))
def test_what_is_read_is_kept_byte_for_byte(text: str, key: str) -> None:
    for ascii_only in (True, False):
        patient = {"resourceType": "Patient", "id": "p", "name": [{key: text}]}
        data = json.dumps(patient, ensure_ascii=ascii_only, indent=3).encode()
        bundle = b'{"resourceType":"Bundle","type":"collection","entry":[ {"resource":  ' + data + b" } ]}"
        assert read_bundle(data).entries[0].content == data
        assert read_bundle(bundle).entries[0].content == data


def test_naughty_strings_everywhere(shared_data: Path) -> None:
    naughty = json.loads((shared_data / "naughty-strings" / "blns.json").read_text(encoding="utf-8"))
    assert len(naughty) > 500
    for text in naughty:
        refused_or_read(text.encode())
        refused_or_read(json.dumps({"resourceType": text}).encode())
        refused_or_read(json.dumps({"resourceType": "Patient", "id": text}).encode())
        refused_or_read(json.dumps({"resourceType": "Patient", "id": "x", text: text}).encode())
        body = {"resourceType": "Patient", "id": "x", "name": [{"family": text}]}
        raw = json.dumps(body, ensure_ascii=False).encode()
        if PRIMITIVES["string"][0](text):
            assert read_bundle(raw).entries[0].content == raw
        else:
            refused_or_read(raw)
        entry = {"fullUrl": text, "resource": {"resourceType": "Patient", "name": [{"family": text}]}}
        refused_or_read(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": [entry]}).encode())
