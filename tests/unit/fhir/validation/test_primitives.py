"""Primitives as R4 lets JSON write them: Google's lines of what is valid and what is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from twinward.fhir.errors import InvalidResource
from twinward.fhir.json.strict_json import decode
from twinward.fhir.validation.validator import validate

NULL = b"null"
"""Google's parser takes a null for an absent element; R4 allows null only within arrays (json.html#null)."""
REFUSED = (("xhtml", b'""'), ("reference", b'{"reference": "#p1"}'))
"""Google's parser takes an empty narrative and a local reference to nothing; R4 does not (txt-2, ref-1)."""


def lines(folder: Path, kind: str) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.glob(f"*.{kind}.ndjson")):
        yield from ((path.name.split(".")[0], line) for line in path.read_bytes().splitlines())


def resource(name: str, line: bytes) -> tuple[bytes, str]:
    """A Patient with this very value, and the path of the value."""
    if name == "xhtml":
        return b'{"resourceType":"Patient","text":{"status":"generated","div":' + line + b"}}", "Patient.text.div"
    element = "value" + "".join(part.title() for part in name.split("_"))
    start = b'{"resourceType":"Patient","extension":[{"url":"http://e.example/x","'
    return start + element.encode() + b'":' + line + b"}]}", f"Patient.extension[0].{element}"


def test_valid_lines_are_taken(shared_data: Path) -> None:
    found = list(lines(shared_data / "fhir-primitives", "valid"))
    assert len(found) > 50
    for name, line in found:
        body, _ = resource(name, line)
        if line == NULL or (name, line) in REFUSED:
            with pytest.raises(InvalidResource):
                validate(decode(body))
        else:
            validate(decode(body))


def test_invalid_lines_are_refused_by_their_path(shared_data: Path) -> None:
    found = list(lines(shared_data / "fhir-primitives", "invalid"))
    assert len(found) > 80
    for name, line in found:
        body, path = resource(name, line)
        with pytest.raises(InvalidResource) as caught:
            validate(decode(body))
        issue = caught.value.issues[0]
        assert issue.path.startswith(path) or name == "reference", (name, line, issue)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ('{"resourceType":"Patient","active":"true"}', "Patient.active"),
        (
            '{"resourceType":"Patient","contained":[{"resourceType":"Patient","active":1}]}',
            "Patient.contained[0].active",
        ),
        ('{"resourceType":"Patient","name":[{"given":["a",7]}]}', "Patient.name[0].given[1]"),
        ('{"resourceType":"Patient","multipleBirthInteger":2.0}', "Patient.multipleBirthInteger"),
        ('{"resourceType":"Patient","_active":{"extension":[{"url":"a b"}]}}', "Patient._active.extension[0].url"),
        ('{"resourceType":"Patient","meta":{"profile":["a b"]}}', "Patient.meta.profile[0]"),
    ],
)
def test_the_path_is_named_however_deep(body: str, path: str) -> None:
    with pytest.raises(InvalidResource) as caught:
        validate(decode(body.encode()))
    assert caught.value.issues[0].path == path


def test_null_keeps_a_place_in_an_array() -> None:
    body = b'{"resourceType":"Patient","name":[{"given":["a",null],"_given":[null,{"id":"x"}]}]}'
    validate(decode(body))
