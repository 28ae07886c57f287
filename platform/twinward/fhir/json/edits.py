"""A resource edited in its own bytes: links, its id, and the server's part of ``meta``; every other byte stays as sent.

What a link is, https://hl7.org/fhir/R4/http.html#trules says: references, elements of type uri, url, oid and uuid, and
``href`` and ``src`` in the narrative. Which element is of such a type is told by its name (``LINK_ELEMENTS``); an
``Identifier.value`` is a string and no link, whatever it looks like.

``meta.versionId`` and ``meta.lastUpdated`` are the server's (https://hl7.org/fhir/R4/http.html#create). What a client
says there is left out before a resource is kept, so that sending back what was read is no change; what is true is put
in on every way out. The rest of ``meta`` is the client's and stays.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Collection
from typing import NamedTuple

import msgspec

from twinward.fhir.json.values import unescaped
from twinward.fhir.resource_types import names

MAX_URL_CHARS = 2000
_RESTFUL = re.compile(r"(https?://[^?#\s]+)/([A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64})(/_history/\S*)?")

RELATIVE = re.compile(r"([A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")
"""A reference to a resource of the same server, or to a version of it."""


def restful(url: str) -> re.Match[str] | None:
    """The address of a resource, in groups: its server's base, its ``Type/id``, its version; None where it is none.

    One longer than any server has is none: the pattern takes time by the square of what looks like many addresses.
    """
    return _RESTFUL.fullmatch(url) if len(url) <= MAX_URL_CHARS else None


Meaning = Callable[[str], str | None]
"""What a link is to say instead; None leaves it as it is."""

LINK_ELEMENTS = names("""
    address answerValueSet authority authorizationUrl base baseDefinition capabilities code compartment
    contentReference defaultValueCanonical defaultValueOid defaultValueUri defaultValueUrl defaultValueUuid
    definition definitionCanonical definitionUri derivedFrom derivedFromUri detail endpoint eventUri
    exampleCanonical fixedCanonical fixedOid fixedUri fixedUrl fixedUuid graph identifier implementationGuide
    implicitRules import imports inputProfile instantiates instantiatesCanonical instantiatesUri issuer jurisdiction
    library link location measure message moduleCanonical moduleUri nameUrl onlineInformation outputProfile parent
    partOf patternCanonical patternOid patternUri patternUrl patternUuid policy profile property protocol
    questionnaire relativePath rendering replaces resource source sourceCanonical sourceUri subjectCanonical
    supplements supportedProfile system target targetCanonical targetProfile targetUri transform type uri url
    valueCanonical valueOid valueSet valueUri valueUrl valueUuid workflow
""")
"""Elements that have the type uri, url, oid, uuid or canonical in some type of R4. Where one is a string or a code
elsewhere, only a text that is a placeholder of the same bundle to the letter would be taken for a link."""

_TOKEN = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*)(?:(")(\s*:)?)?|[{}\[\]]', re.DOTALL)
"""A string, its end, and a colon where it is a name. One without an end is found as well: see ``strict_json``."""

_LINK_NAMES = frozenset(name.encode() for name in LINK_ELEMENTS)
_ATTRIBUTE = re.compile(r"""(\b(?:href|src)\s*=\s*)("|')([^"']*)\2""")


def rewrite(raw: bytes, *, reference: Meaning, link: Meaning, resource_id: str = "") -> bytes:
    """A resource with its links, and the id it has, replaced.

    Args:
        raw: JSON. What is not well-formed is returned as it is, for the strict decoder to refuse.
        reference: asked for each ``Reference.reference``.
        link: asked for each other link.
        resource_id: what its id becomes; empty leaves it.
    """
    try:
        return _rewritten(raw, reference, link, resource_id)
    except (IndexError, ValueError):
        return raw


def _rewritten(raw: bytes, reference: Meaning, link: Meaning, resource_id: str) -> bytes:
    pieces: list[bytes] = []
    done = 0
    name = b""
    outer: list[bytes] = []  # names of the elements that are open: items of an array have the array's
    for token in _TOKEN.finditer(raw):
        text = token[1]
        if text is None:
            if token[0] in b"{[":
                outer.append(name)
            else:
                name = outer.pop()
        elif token[2] is None:
            raise ValueError("a string without an end")
        elif token[3] is not None:
            name = _decoded(text).encode()
        elif name == b"id" and len(outer) == 1:
            if resource_id:
                pieces += [raw[done : token.start(1)], json.dumps(resource_id).encode()]
                done = token.end(2)
        elif name == b"reference" or name == b"div" or name in _LINK_NAMES:
            said = _decoded(text)
            new = (
                reference(said) if name == b"reference" else _in_narrative(said, link) if name == b"div" else link(said)
            )
            if new is not None:
                pieces += [raw[done : token.start(1)], json.dumps(new, ensure_ascii=False).encode()]
                done = token.end(2)
    return b"".join(pieces) + raw[done:] if pieces else raw


def _decoded(text: bytes) -> str:
    found: str = json.loads(text + b'"') if b"\\" in text else text[1:].decode()
    return found


def _in_narrative(div: str, link: Meaning) -> str | None:
    def replaced(match: re.Match[str]) -> str:
        new = link(unescaped(match[3]))
        return match[0] if new is None else f"{match[1]}{match[2]}{html.escape(new)}{match[2]}"

    new = _ATTRIBUTE.sub(replaced, div)
    return None if new == div else new


def with_id(raw: bytes, own: str, resource_id: str) -> bytes:
    """A resource under its new id, every other byte as it was; one that had none has it in front."""
    if own:
        return rewrite(raw, reference=_as_it_is, link=_as_it_is, resource_id=resource_id)
    return b'{"id":"' + resource_id.encode() + b'",' + raw.strip(b" \t\n\r")[1:]


def local(raw: bytes, base: str) -> bytes:
    """A resource with its references at this node's own base made relative; other bases are other servers'."""

    def reference(text: str) -> str | None:
        match = restful(text)
        return text.removeprefix(f"{base}/") if match and match[1] == base else None

    return rewrite(raw, reference=reference, link=_as_it_is)


def _as_it_is(_: str) -> None:
    return None


Members = dict[str, msgspec.Raw]

_OWN = ("versionId", "lastUpdated", "_versionId", "_lastUpdated")
_VALUE = json.JSONDecoder()


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


def members_of(content: bytes | msgspec.Raw) -> Members:
    """An object's members, each value in its own bytes. ``content`` was accepted by the strict decoder before."""
    return msgspec.json.decode(content, type=Members)


def object_of(members: Members) -> bytes:
    """An object of members in their own bytes."""
    return b"{" + b",".join(msgspec.json.encode(name) + b":" + bytes(raw) for name, raw in members.items()) + b"}"
