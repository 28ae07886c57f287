"""JSON Patch: the examples of RFC 6902's appendix A, its errors, and that nothing else changes a byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward.core.errors import BadInput
from twinward.fhir.json.patch import MOST_OPERATIONS, PatchFailed, patched, read_patch

MOST = 10_000
APPENDIX: list[tuple[str, Any, list[dict[str, Any]], Any]] = [
    ("A.1", {"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
    (
        "A.2",
        {"foo": ["bar", "baz"]},
        [{"op": "add", "path": "/foo/1", "value": "qux"}],
        {"foo": ["bar", "qux", "baz"]},
    ),
    ("A.3", {"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    ("A.4", {"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
    ("A.5", {"baz": "qux"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo"}),
    (
        "A.6",
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    (
        "A.7",
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    (
        "A.8",
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    ("A.9", {"baz": "qux"}, [{"op": "test", "path": "/baz", "value": "bar"}], PatchFailed),
    (
        "A.10",
        {"foo": "bar"},
        [{"op": "add", "path": "/child", "value": {"grandchild": {}}}],
        {"foo": "bar", "child": {"grandchild": {}}},
    ),
    (
        "A.11",
        {"foo": "bar"},
        [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}],
        {"foo": "bar", "baz": "qux"},
    ),
    ("A.12", {"foo": "bar"}, [{"op": "add", "path": "/baz/bat", "value": "qux"}], PatchFailed),
    ("A.14", {"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    ("A.15", {"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": "10"}], PatchFailed),
    ("A.16", {"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["a"]}], {"foo": ["bar", ["a"]]}),
    ("true is not 1", {"a": 1}, [{"op": "test", "path": "/a", "value": True}], PatchFailed),
    (
        "1.0 is 1",
        {"a": [1, {"b": 2}]},
        [{"op": "test", "path": "/a", "value": [1.0, {"b": 2e0}]}],
        {"a": [1, {"b": 2}]},
    ),
    ("null is a value", {"a": None}, [{"op": "test", "path": "/a", "value": None}], {"a": None}),
    ("no gap", {"a": [1]}, [{"op": "add", "path": "/a/2", "value": 1}], PatchFailed),
    ("no leading zero", {"a": [1, 2]}, [{"op": "remove", "path": "/a/01"}], PatchFailed),
    ("no sign", {"a": [1, 2]}, [{"op": "remove", "path": "/a/-1"}], PatchFailed),
    ("- is only for adding", {"a": [1]}, [{"op": "replace", "path": "/a/-", "value": 2}], PatchFailed),
    ("a name is no index", {"a": [1]}, [{"op": "test", "path": "/a/x", "value": 1}], PatchFailed),
    ("nothing to replace", {"a": 1}, [{"op": "replace", "path": "/b", "value": 2}], PatchFailed),
    ("nothing to remove", {"a": 1}, [{"op": "remove", "path": "/b"}], PatchFailed),
    ("nothing to move", {"a": 1}, [{"op": "move", "from": "/b", "path": "/c"}], PatchFailed),
    ("nothing to copy", {"a": 1}, [{"op": "copy", "from": "/b", "path": "/c"}], PatchFailed),
    ("onto itself", {"a": 1}, [{"op": "move", "from": "/a", "path": "/a"}], {"a": 1}),
    ("a copy is another", {"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1], "b": [1]}),
    ("the whole", {"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
    ("an empty name", {"": 1}, [{"op": "replace", "path": "/", "value": 2}], {"": 2}),
]


@pytest.mark.parametrize(("document", "patch", "after"), [pytest.param(*row[1:], id=row[0]) for row in APPENDIX])
def test_a_patch_does_what_the_rfc_says(document: Any, patch: list[dict[str, Any]], after: Any) -> None:
    operations, content = read_patch(json.dumps(patch).encode()), json.dumps(document).encode()
    if after is PatchFailed:
        with pytest.raises(PatchFailed):
            patched(content, operations, most_bytes=MOST)
    else:
        assert json.loads(patched(content, operations, most_bytes=MOST)) == after


@pytest.mark.parametrize(
    "patch",
    [
        b"",
        b"{}",
        b"[]",
        b"[1]",
        b'[{"op":"add","path":"/a"}]',
        b'[{"op":"merge","path":"/a","value":1}]',
        b'[{"op":"add","path":"a","value":1}]',
        b'[{"op":"add","path":"/~2","value":1}]',
        b'[{"op":"add","path":"/~","value":1}]',
        b'[{"op":"add","path":1,"value":1}]',
        b'[{"op":"move","path":"/a"}]',
        b'[{"op":"move","from":"/a","path":"/a/b"}]',
        b'[{"op":"remove","path":""}]',
        b'[{"op":"add","op":"remove","path":"/a","value":1}]',  # A.13
        b'[{"op":"add","path":"/a","value":{"b":1,"b":2}}]',
        b'[{"op":"add","path":"/a","value":NaN}]',
        b'[{"op":"add","path":"/a","value":"\\ud800"}]',
        b'[{"op":"add","path":"/a","value":' + b"[" * 5000 + b"]" * 5000 + b"}]",
        b'[{"op":"add","path":"' + b"/a" * 50 + b'","value":1}]',
        b"[" + b",".join([b'{"op":"test","path":"/a","value":1}'] * (MOST_OPERATIONS + 1)) + b"]",
        b'[{"op":"test","path":"/a","value":1}] x',
        b"\xff",
    ],
)
def test_what_is_no_patch_is_refused(patch: bytes) -> None:
    with pytest.raises(BadInput):
        patched(b'{"a":{}}', read_patch(patch), most_bytes=MOST)


def test_copies_of_copies_end_at_the_bound() -> None:
    doubling = [{"op": "copy", "from": "", "path": f"/c{number}"} for number in range(60)]
    with pytest.raises(BadInput, match="10000 bytes"):
        patched(b'{"a":"x"}', read_patch(json.dumps(doubling).encode()), most_bytes=MOST)


def test_what_is_not_named_keeps_its_bytes() -> None:
    content = b'{"a": 1.10, "b": [1.0e0, {"c" : "\\u00e9"}], "d":1}'
    after = patched(content, read_patch(b'[{"op":"replace","path":"/d","value":2.50}]'), most_bytes=MOST)
    assert after == b'{"a":1.10,"b":[1.0e0, {"c" : "\\u00e9"}],"d":2.50}'


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab/~-01", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~-01", max_size=2), inner, max_size=3),
    max_leaves=8,
)


def pointers(value: Any, at: str = "") -> list[str]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    named = [(str(name).replace("~", "~0").replace("/", "~1"), below) for name, below in inner]
    return [at, *(one for name, below in named for one in pointers(below, f"{at}/{name}"))]


@given(document=_JSON, new=_JSON, data=st.data())
def test_every_place_can_be_tested_replaced_and_put_back(document: Any, new: Any, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(pointers(document)))
    content = json.dumps(document).encode()

    def after(*operations: dict[str, Any]) -> bytes:
        return patched(content, read_patch(json.dumps(operations).encode()), most_bytes=MOST)

    there = document
    for step in place.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        there = there[int(step)] if isinstance(there, list) else there[step]
    test = {"op": "test", "path": place, "value": there}
    assert json.loads(after(test, {"op": "replace", "path": place, "value": new}, test | {"value": new})) is not ...
    back = after({"op": "replace", "path": place, "value": new}, {"op": "replace", "path": place, "value": there})
    assert json.loads(back) == document
