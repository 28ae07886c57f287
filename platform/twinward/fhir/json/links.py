"""Links within one resource, rewritten in its own bytes: every other byte stays as it was sent.

What a link is, https://hl7.org/fhir/R4/http.html#trules says: references, elements of type uri, url, oid and uuid, and
``href`` and ``src`` in the narrative. Which element is of such a type is told by its name (``LINK_ELEMENTS``); an
``Identifier.value`` is a string and no link, whatever it looks like.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable

from twinward.fhir.json.markup import unescaped
from twinward.fhir.resource_types import names

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
