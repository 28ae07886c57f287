"""``meta.versionId`` and ``meta.lastUpdated`` are the server's. https://hl7.org/fhir/R4/http.html#create.

What a client says there is left out before a resource is kept, so that sending back what was read is no change; what is
true is put in on every way out. The rest of ``meta`` is the client's and stays, like every other value, byte for byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import NamedTuple

import msgspec

from twinward.core.clock import iso

Members = dict[str, msgspec.Raw]

_OWN = ("versionId", "lastUpdated", "_versionId", "_lastUpdated")
_VALUE = json.JSONDecoder()
_BLANK = b" \t\n\r"
_HEAD = re.compile(rb'\{[ \t\n\r]*"resourceType"[ \t\n\r]*:[ \t\n\r]*"[A-Za-z]{1,64}"(?=[ \t\n\r]*[,}])')


def without_server_meta(content: bytes) -> bytes:
    """A resource to be kept, without a client's ``versionId`` and ``lastUpdated``; every other byte stays.

    Args:
        content: a resource that the strict decoder accepted.
    """
    if not content or not names_server_meta(content):
        return content
    text = content.decode()
    for one in _members_in(text):
        if one.name == "meta" and text[one.value_at] == "{":
            meta = _without(text[one.value_at : one.ends_at], _OWN)
            whole = text[: one.value_at] + meta + text[one.ends_at :]
            return (_without(text, ("meta",)) if meta == "{}" else whole).encode()
    return content


class _Place(NamedTuple):
    """Where a member stands in the text of an object."""

    name: str
    key_at: int
    value_at: int
    ends_at: int


def _members_in(text: str) -> list[_Place]:
    """The members of an object that was accepted before, in order."""
    found: list[_Place] = []
    at = _past_space(text, text.index("{") + 1)
    while text[at] == '"':
        key_at = at
        name, at = _VALUE.raw_decode(text, at)
        value_at = _past_space(text, _past_space(text, at) + 1)
        _, at = _VALUE.raw_decode(text, value_at)
        found.append(_Place(name, key_at, value_at, at))
        at = _past_space(text, at)
        if text[at] == ",":
            at = _past_space(text, at + 1)
    return found


def _past_space(text: str, at: int) -> int:
    while text[at] in " \t\n\r":
        at += 1
    return at


def _without(text: str, names: Collection[str]) -> str:
    """An object's text without these members, nor the comma and white space before each."""
    members = _members_in(text)
    kept = [place for place, one in enumerate(members) if one.name not in names]
    if not kept:
        return "{}"
    parts = [text[: members[0].key_at]]
    for place in kept:
        begins = members[place].key_at if place == kept[0] else members[place - 1].ends_at
        parts.append(text[begins : members[place].ends_at])
    return "".join(parts) + text[members[-1].ends_at :]


def parted(meta: bytes | msgspec.Raw) -> tuple[Members, Members]:
    """A ``meta``, parted into what is the server's to say and the rest."""
    members = members_of(meta)
    own = {name: raw for name, raw in members.items() if name in _OWN}
    return own, {name: raw for name, raw in members.items() if name not in _OWN}


def names_server_meta(content: bytes) -> bool:
    """Whether a resource or its ``meta`` may have them, at a glance. One written with escapes is missed: it is kept as
    it came, and shown with what is true like any other."""
    return b'ersionId"' in content or b'astUpdated"' in content


def with_server_meta(content: bytes, version: int, at_ms: int) -> bytes:
    """A resource as it is shown.

    Args:
        content: as it is kept, or a part of it.
        version: which version this is.
        at_ms: when it was committed.
    """
    content = content.lstrip(_BLANK)  # an earlier release kept blanks before it
    own = b'"versionId":"%d","lastUpdated":"%s"' % (version, iso(at_ms).encode())
    if b'"meta"' not in content and b"\\u" not in content:  # a name may be written with escapes
        head = _HEAD.match(content)
        if head is None:
            return b'{"meta":{' + own + b"}," + content[1:]
        return head[0] + b',"meta":{' + own + b"}" + content[head.end() :]
    members = members_of(content)
    _, rest = parted(members.get("meta", b"{}"))
    members["meta"] = msgspec.Raw(b"{" + own + (b"," + object_of(rest)[1:] if rest else b"}"))
    return object_of(members)


def members_of(content: bytes | msgspec.Raw) -> Members:
    """An object's members, each value in its own bytes. ``content`` was accepted by the strict decoder before."""
    return msgspec.json.decode(content, type=Members)


def object_of(members: Members) -> bytes:
    """An object of members in their own bytes."""
    return b"{" + b",".join(msgspec.json.encode(name) + b":" + bytes(raw) for name, raw in members.items()) + b"}"
