"""The walk over one resource: every coding, label, address and text in it, at any depth.

The rule, of which ADR 0021 says why:

* each ``code`` with its ``system`` is looked up in the value sets, however the system is written; a code of no known
  terminology wherever its shape tells one; a label of HL7's (``meta.security``, or anywhere) as what it says;
* each text is searched for words: displays, narratives, notes, names of forms, attachments that are text;
* a condition that no known terminology codes, and a resource labelled *restricted* that does not say why, may be
  anything, so they count as everything;
* a patient's own resource is looked at for codes and labels only: names and addresses are not words about health.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import msgspec

from twinward.core.vocabulary import SENSITIVE, Category
from twinward.fhir.json.strict_json import JsonObject
from twinward.fhir.json.values import unescaped
from twinward.fhir.resource_types import R4_TYPES, SHARED_TYPES, names
from twinward.fhir.sensitivity.terminologies import (
    DIAGNOSES,
    NOTHING,
    OTHER,
    UNKNOWN,
    Labels,
    code_sets,
    normal,
    terminology_of,
)
from twinward.fhir.sensitivity.words import labels_of_text

_PEOPLE = frozenset({"Patient", "RelatedPerson", "Person"})
_GENOMIC_TYPES = frozenset({"MolecularSequence"})
_SHORT = 200
_SEEN_AT_MOST = 65_536
_seen: dict[str, Labels] = {}
"""What short texts told of: most texts of clinical data repeat. Nothing but texts that stood in a resource."""

_SILENT = names("""
    id code system reference status fullUrl lastUpdated versionId contentType language resourceType intent
    use family given prefix suffix line city district state postalCode country hash currency
""")
"""Elements whose strings are no words about health; a ``code`` is looked up with its system."""

_ADDRESSES = names("url profile questionnaire instantiatesCanonical instantiatesUri instantiates") | {""}
_CODES = names("linkId valueCode valueString valueUri valueCanonical")
_BINARY = names("data valueBase64Binary")
_MARKED = _ADDRESSES | _CODES | _BINARY | {"div"}
"""Elements that are read in a way of their own, so what their text told of elsewhere does not stand for it."""

_DATE = re.compile(r"[0-9]{4}(?:-[0-9]{2}(?:-[0-9]{2}(?:T[0-9:.]{5,18}(?:Z|[+-][0-9:]{5})?)?)?)?")
_TAG = re.compile(r"<[^<>]{0,2000}>")  # no < within: a million of them are walked once
_LOINC = re.compile(r"[0-9]{1,5}-[0-9]")
_SNOMED = re.compile(r"[0-9]{6,18}")
_ICD_10 = re.compile(r"[A-Z][0-9][0-9A-Z](?:\.?[0-9A-Z]{1,4})?[+*!]?")
_ICD_11 = re.compile(r"[0-9A-Z][A-Z][0-9][0-9A-Z](?:\.?[0-9A-Z]{1,3})?")
_ATC = re.compile(r"[A-Z][0-9]{2}[A-Z]{2}[0-9]{2}")
_SHAPES = (("loinc", _LOINC), ("snomed", _SNOMED), ("icd-10", _ICD_10), ("icd-11", _ICD_11), ("atc", _ATC))
_ICD_9 = re.compile(r"[EV]?[0-9]{2,3}(?:\.?[0-9]{1,2})?")
_CODE_SHAPES = {"snomed": _SNOMED, "icd-10": _ICD_10, "icd-9": _ICD_9}
_RESTRICTED = frozenset({"R", "V"})
_LETTERS_END = re.compile(r"(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])")
_INLINE = re.compile(
    r"</?(?:a|b|i|u|s|em|strong|span|small|big|sub|sup|mark|font|wbr)\b[^<>]{0,2000}>|<!--[^<>]{0,2000}-->", re.I
)
"""Markup that a browser shows nothing of within a word."""

_ATTRIBUTE = re.compile(r"""(?<![A-Za-z:])([A-Za-z:]++)\s*=\s*(?:"([^"]{0,2000})"|'([^']{0,2000})')""")
_OF_A_PDF = 1_000_000
"""Bytes of one that are looked at: seldom do they tell anything, most are packed."""

_FIELD = re.compile(r"[|^~&\r\n]")
_decode = msgspec.json.Decoder().decode


def sensitivities_of(resource: JsonObject) -> Labels:
    """Every sensitive category that one decoded resource tells of.

    What a hospital shares among patients (a medication, a place) tells of nobody, but for what it contains.
    """
    kind = resource.get("resourceType")
    if kind in SHARED_TYPES and not any(name in resource for name in ("subject", "patient")):
        contained = resource.get("contained")
        return _Walk(words=True).over(contained) if contained else NOTHING
    return _Walk(words=kind not in _PEOPLE).over(resource)


def sensitivities_of_content(record_type: str, content: bytes) -> Labels:
    """The same of a stored record: nothing where it is no resource, everything where it cannot be read."""
    if record_type not in R4_TYPES or not content:
        return NOTHING
    try:
        tree = _decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return SENSITIVE
    return sensitivities_of(tree) if isinstance(tree, dict) else SENSITIVE


def sensitivities_of_part(part: Any) -> Labels:
    """What a part of a resource tells of, where the rest of it is known to tell of nothing."""
    return _Walk(words=True).over(part)


class _Walk:
    """One walk. ``words`` says whether texts are looked at."""

    def __init__(self, *, words: bool) -> None:
        self._words = words
        self._found = NOTHING
        self._restricted = False

    def over(self, root: Any) -> Labels:
        """What all of it tells of."""
        waiting: list[Any] = [root]
        while waiting:
            value = waiting.pop()
            if type(value) is dict:
                self._look_at(value, waiting)
            elif type(value) is list:
                waiting += value
            elif type(value) is str:
                self._read("", value)  # in a list of strings: notes, canonicals
        return SENSITIVE if self._restricted and not self._found else self._found

    def _look_at(self, value: JsonObject, waiting: list[Any]) -> None:
        for name, inner in value.items():
            kind = type(inner)
            if kind is str:
                if name not in _SILENT and (name in _MARKED or _seen.get(inner) is not NOTHING):
                    self._read(name, inner)
            elif kind is dict or kind is list:
                waiting.append(inner)
        code = value.get("code")
        if type(code) is str:
            self._look_up(value.get("system"), code)
        elif "resourceType" in value:
            self._look_at_type(value["resourceType"], code)

    def _look_at_type(self, kind: Any, code: Any) -> None:
        if kind == "Condition" and not _is_coded(code):
            self._found |= _Walk(words=True).over(code) or SENSITIVE
        elif kind in _GENOMIC_TYPES:
            self._found |= {Category.GENOMICS}

    def _read(self, name: str, text: str) -> None:
        found = _seen.get(text)
        if found is None or name in _MARKED:
            found = _labels_of_string(name, text, words=self._words)
            if self._words and len(text) <= _SHORT and name not in _MARKED and not _DATE.fullmatch(text):
                if len(_seen) >= _SEEN_AT_MOST:
                    _seen.clear()
                _seen[text] = found or NOTHING  # the very object, so that it is known at a glance
        elif not self._words:
            return
        self._found |= found

    def _look_up(self, system: Any, code: str) -> None:
        named = system if type(system) is str else ""
        self._found |= _labels_of_code(named, code)
        if code.upper() in _RESTRICTED and terminology_of(named) == "confidentiality":
            self._restricted = True


def _labels_of_string(name: str, text: str, *, words: bool) -> Labels:
    """What one string tells of, under the name it stands under."""
    if _DATE.fullmatch(text):
        return NOTHING
    found = NOTHING
    if name in _ADDRESSES:
        found |= _labels_of_address(text)
    elif name in _CODES:
        found |= _labels_of_code("", text.lstrip("/"))
    elif name in _BINARY:
        return _labels_of_attachment(text)
    if not words or name == "linkId":
        return found
    return found | (_labels_of_markup(text) if name == "div" else labels_of_text(text))


@lru_cache(maxsize=65_536)
def _labels_of_code(system: str, code: str) -> Labels:
    """What a code of a system tells of."""
    terminology = terminology_of(system)
    if terminology == OTHER:
        return NOTHING
    if terminology == "genes":
        return frozenset({Category.GENOMICS})
    if terminology == "report-sections":
        return frozenset({Category.GENOMICS}) if code.strip().upper() == "GE" else NOTHING
    if terminology == "dsm":  # all of it is mental health; which part, its ICD codes say
        return frozenset({Category.PSYCHIATRY}) | _listed("icd-10", code) | _listed("icd-9", code)
    if terminology == "icd-11":
        entity = code.rstrip("/").rpartition("/")[2]
        return _listed("icd-11", entity).union(*(_listed("icd-11", one) for one in re.split(r"[&/]", code)))
    if terminology == "snomed":  # a postcoordinated expression names several concepts
        return NOTHING.union(*(_listed("snomed", one) for one in _SNOMED.findall(code)))
    if terminology == "cpt":
        return _listed("cpt", code) | _listed("hcpcs", code)
    if terminology == UNKNOWN:
        plain = "".join(code.split()).upper()
        told = labels_of_text(_LETTERS_END.sub(" ", code))  # a house's own code may say it: HIV_AB, HIV1-POS
        return told.union(*(_listed(name, plain) for name, shape in _SHAPES if shape.fullmatch(plain)))
    return _listed(terminology, code)


def _listed(terminology: str, code: str) -> Labels:
    known = code_sets().get(terminology)
    return NOTHING if known is None else known.labels_of(normal(terminology, code))


@lru_cache(maxsize=8192)
def _labels_of_address(address: str) -> Labels:
    """What the address of a form, a profile or an extension tells of: ``…/q/44249-1``, ``…/genomics-reporting/…``."""
    if address[:5].lower() == "data:":  # RFC 2397: the address is the content
        media, _, data = address.partition(",")
        plain = unquote(data)
        return _labels_of_attachment(plain) if media.lower().endswith(";base64") else _labels_of_document(plain)
    found = NOTHING.union(*(_listed("loinc", one) for one in _LOINC.findall(address)))
    if "-genetics" in address or "genomics" in address:
        found |= {Category.GENOMICS}
    return found | (labels_of_text(unquote(address)) if "%" in address else NOTHING)


def _labels_of_attachment(data: str) -> Labels:
    """What base64 holds, where it is text; a picture or PDF is not looked into."""
    try:
        content = base64.b64decode(data.replace("-", "+").replace("_", "/"), validate=False)
        text = _text_of(content)
    except (binascii.Error, ValueError):
        return NOTHING
    if content.startswith(b"%PDF-"):
        text = text[:_OF_A_PDF]
    return NOTHING if "\x00" in text[:1000] else _labels_of_document(text)


def _text_of(content: bytes) -> str:
    """A text file's text: UTF-16 by its byte order mark, else UTF-8, else Latin-1, in which much of Europe wrote."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _labels_of_document(text: str) -> Labels:
    """What a text file tells of, with the codes in it: JSON (FHIR), markup (CDA, HTML), HL7 v2, or plain."""
    if text.lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
        try:
            return _Walk(words=True).over(_decode(text.lstrip("\ufeff").encode()))
        except RecursionError:
            return SENSITIVE  # nested too deep to look into
        except (msgspec.DecodeError, UnicodeError):
            pass
    found = _labels_of_markup(text)
    if text.startswith(("MSH|", "FHS|", "BHS|")):
        found = found.union(*(_labels_of_code("", one.strip()) for one in _FIELD.split(text) if 2 < len(one) < 20))
    return found


def _labels_of_markup(text: str) -> Labels:
    """What markup tells of: what is shown, and the codes and texts of its attributes."""
    found = labels_of_text(unescaped(_TAG.sub(" ", text)))
    if "<" not in text:
        return found
    if _INLINE.search(text):
        found |= labels_of_text(unescaped(_TAG.sub(" ", _INLINE.sub("", text))))
    for name, double, single in _ATTRIBUTE.findall(text):
        value = unescaped(double or single)
        found |= labels_of_text(value)
        if name in ("code", "value"):
            found |= _labels_of_code("", value)
    return found


def _is_coded(concept: Any) -> bool:
    """Whether a condition has a code of a terminology in which conditions are recognised."""
    codings = concept.get("coding") if isinstance(concept, dict) else None
    for coding in codings if isinstance(codings, list) else []:
        system, code = (coding.get("system"), coding.get("code")) if isinstance(coding, dict) else (None, None)
        if isinstance(system, str) and isinstance(code, str):
            terminology = terminology_of(system)
            shape = {
                "snomed": _SNOMED,
                "icd-10": _ICD_10,
                "icd-9": re.compile(r"[EV]?[0-9]{2,3}(?:\.?[0-9]{1,2})?"),
            }.get(terminology)
            if terminology in DIAGNOSES and (shape is None or shape.fullmatch("".join(code.split()).upper())):
                return True
    return False
