"""Narrative: XHTML that may be shown to a person without harm. https://hl7.org/fhir/R4/narrative.html (txt-1, txt-2).

Allowed are the elements and attributes of HTML 4.0, chapters 7 to 11 and 15, that R4 names: no script, form, frame or
object, no event attributes, no DOCTYPE or other declaration. Nothing is loaded from elsewhere when it is shown: an
image is a ``data:`` URL, or a relative or ``#`` reference; a style refers to nothing. A link may lead anywhere over
http(s), mail or telephone, since it takes a click. A ``div`` without a namespace, as many servers write it, is taken.
"""

from __future__ import annotations

import re
from html.entities import name2codepoint
from xml.parsers import expat

from twinward.fhir.resource_types import names

XHTML = "http://www.w3.org/1999/xhtml"
_XML = "http://www.w3.org/XML/1998/namespace"

_ELEMENTS = names("""
    a abbr acronym address area b bdo big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4
    h5 h6 hr i img kbd li map ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var
""")
_ATTRIBUTES = names("""
    abbr accesskey align axis char charoff class colspan dir headers id lang rowspan scope span style tabindex title
    valign width
""") | {f"{_XML} lang", f"{_XML} space"}
_ATTRIBUTES_OF = names("""
    a.charset a.coords a.href a.hreflang a.name a.rel a.rev a.shape a.type area.alt area.coords area.href area.nohref
    area.shape blockquote.cite img.alt img.border img.height img.ismap img.longdesc img.src img.usemap map.name
    ol.start ol.type pre.space q.cite table.bgcolor table.border table.cellpadding table.cellspacing table.frame
    table.rules table.summary td.nowrap th.nowrap
""")
_ADDRESSES = frozenset({"href", "cite", "longdesc", "usemap", "src"})

_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]{1,31});")
_OF_XML = frozenset({"amp", "lt", "gt", "quot", "apos"})
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_LINKED = frozenset({"http", "https", "mailto", "tel"})
_IMAGE = re.compile(r"data:image/[a-z0-9.+\-]+[;,]", re.IGNORECASE)
_LOADING_STYLE = re.compile(
    r"(?:url|src|image|image-set|cross-fade|element|expression)\s*\(|@import|javascript:|behaviou?r\s*:|binding\s*:|\\",
    re.I,
)
_IGNORED_BY_BROWSERS = re.compile(r"[\x00-\x20\x7f]+")


class _Refused(Exception):
    """Why a narrative is refused."""


def narrative_fault(div: str) -> str:
    """Why this is not an XHTML ``div`` that FHIR's narrative allows; empty where it is one. Never repeats its text."""
    reader = _Reader()
    try:
        reader.read(div)
    except _Refused as refused:
        return str(refused)
    except expat.ExpatError:
        return "this is not well-formed XHTML"
    except UnicodeEncodeError:
        return "this is not text"
    return "" if reader.says_something else "a narrative says something: text or an image (txt-2)"


class _Reader:
    def __init__(self) -> None:
        self.says_something = False
        self._depth = 0
        self._parser = expat.ParserCreate("UTF-8", " ")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._declared
        self._parser.XmlDeclHandler = self._declared
        self._parser.ProcessingInstructionHandler = self._declared

    def read(self, div: str) -> None:
        self._parser.Parse(_ENTITY.sub(_character, div).encode(), True)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        space, _, local = name.rpartition(" ")
        if space not in ("", XHTML) or local not in _ELEMENTS:
            raise _Refused("it has an element that narrative does not allow (txt-1)")
        if not self._depth and local != "div":
            raise _Refused("a narrative is one div")
        self._depth += 1
        self.says_something |= local == "img"
        for attribute, value in attributes.items():
            if attribute not in _ATTRIBUTES and f"{local}.{attribute}" not in _ATTRIBUTES_OF:
                raise _Refused("it has an attribute that narrative does not allow (txt-1)")
            if attribute == "style" and _LOADING_STYLE.search(value):
                raise _Refused("its style refers to something else")
            if attribute in _ADDRESSES and not _may_stand(value, loads=attribute == "src"):
                raise _Refused("it refers to something by an address that narrative does not allow")

    def _end(self, _name: str) -> None:
        self._depth -= 1

    def _text(self, text: str) -> None:
        self.says_something |= not text.isspace()

    def _declared(self, *_: object) -> None:
        raise _Refused("a DOCTYPE, XML declaration or processing instruction does not belong into narrative (txt-1)")


def _character(match: re.Match[str]) -> str:
    """The character an HTML entity names: XML knows five of them only."""
    known = name2codepoint.get(match[1]) if match[1] not in _OF_XML else None
    return match[0] if known is None else chr(known)


def _may_stand(address: str, *, loads: bool) -> bool:
    seen = _IGNORED_BY_BROWSERS.sub("", address)
    scheme = _SCHEME.match(seen)
    if scheme is not None and scheme[1].lower() == "urn":
        return True  # a name, which loads nothing; a bundle's placeholders are rewritten once they are taken
    if scheme is not None:
        return _IMAGE.match(seen) is not None if loads else scheme[1].lower() in _LINKED
    return not (loads and seen.replace("\\", "/").startswith("//"))
