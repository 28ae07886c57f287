"""The terminologies that codes come from, and the value sets that say which codes, labels and words tell of what.

Which terminology a ``Coding.system`` means is told however it is written: canonical URL, OID, version, edition, or a
slip. Identifiers as registered at https://terminology.hl7.org/ (NamingSystems) and https://www.hl7.org/oid/.

The value sets stand in ``sets/*.toml``, each with its source. What can never be listed (all of SNOMED CT below a
concept, every product of RxNorm) is recognised by its text too: ``words``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import resources
from typing import Any

from twinward.core.vocabulary import SENSITIVE, Category

UNKNOWN = "unknown"
"""No terminology that is known here, or none named: codes are looked up wherever their shape tells them apart."""

OTHER = "other"
"""A terminology that says nothing about a person's health: units, HL7's own status codes, languages."""

DIAGNOSES = frozenset({"snomed", "icd-9", "icd-10", "icd-11", "icpc", "read", "dsm", "orpha", "genes"})
"""Terminologies that a condition coded in them is recognised by."""

_OIDS = {
    "2.16.840.1.113883.6.96": "snomed",
    "2.16.840.1.113883.6.1": "loinc",
    "2.16.840.1.113883.6.88": "rxnorm",
    "2.16.840.1.113883.6.73": "atc",
    "2.16.840.1.113883.6.90": "icd-10",
    "2.16.840.1.113883.6.3": "icd-10",
    "2.16.840.1.113883.6.4": "icd-10-pcs",
    "2.16.840.1.113883.6.42": "icd-9",
    "2.16.840.1.113883.6.103": "icd-9",
    "2.16.840.1.113883.6.104": "icd-9-procedures",
    "2.16.840.1.113883.6.2": "icd-9",
    "2.16.840.1.113883.6.347": "icd-11",
    "2.16.840.1.113883.6.135": "icd-10",
    "2.16.840.1.113883.6.114": "icd-10",
    "2.16.840.1.113883.6.12": "cpt",
    "2.16.840.1.113883.6.82": "cpt",
    "2.16.840.1.113883.6.14": "hcpcs",
    "2.16.840.1.113883.6.285": "hcpcs",
    "2.16.840.1.113883.6.126": "dsm",
    "2.16.840.1.113883.6.344": "dsm",
    "2.16.840.1.113883.6.139": "icpc",
    "2.16.840.1.113883.6.29": "read",
    "2.16.840.1.113883.6.281": "genes",
    "2.16.840.1.113883.6.282": "genes",
    "2.16.840.1.113883.6.283": "genes",
    "2.16.840.1.113883.6.284": "genes",
    "2.16.840.1.113883.6.174": "genes",
    "2.16.840.1.113883.5.4": "labels",
    "2.16.840.1.113883.5.25": "confidentiality",
    "2.16.840.1.113883.12.74": "report-sections",
    "2.16.840.1.113883.6.8": OTHER,
    "2.16.840.1.113883.6.59": OTHER,
    "2.16.840.1.113883.6.101": OTHER,
    "2.16.840.1.113883.6.238": OTHER,
}
_OID_ROOTS = {
    "1.2.276.0.76.5": "icd-10",  # BfArM gives each year's ICD-10-GM an OID of its own
    "2.16.840.1.113883.5": OTHER,  # HL7 v3
    "2.16.840.1.113883.12": OTHER,  # HL7 v2
    "2.16.840.1.113883.4.642": OTHER,  # FHIR
}

_PARTS = (
    # In this order: the first whose pattern is found in the system, lower case and without http(s).
    (re.compile(r"icd-?10-?pcs"), "icd-10-pcs"),
    (re.compile(r"icd-?11|icd/release/11|id\.who\.int/icd|icd/entity"), "icd-11"),
    (re.compile(r"icd-?9"), "icd-9"),
    (re.compile(r"icd-?o\b|icd-?o-?3"), OTHER),
    (re.compile(r"icd-?10|(?:cim|cie)-?10|\bicd$"), "icd-10"),
    (re.compile(r"snomed|\bsct\b"), "snomed"),
    (re.compile(r"loinc"), "loinc"),
    (re.compile(r"rxnorm|umls/rx"), "rxnorm"),
    (re.compile(r"whocc\.no|\batc\b"), "atc"),
    (re.compile(r"hcpcs|cms\.gov/medicare/coding"), "hcpcs"),
    (re.compile(r"\bcpt-?4?\b|ama-assn"), "cpt"),
    (re.compile(r"\bdsm"), "dsm"),
    (re.compile(r"\bicpc"), "icpc"),
    (re.compile(r"read-?codes?|ctv3|/read\b"), "read"),
    (re.compile(r"\bops\b"), "ops"),
    (re.compile(r"orpha"), "orpha"),
    (
        re.compile(
            r"genenames|hgnc|varnomen|hgvs|clinvar|dbsnp|/snp\b|ensembl|refseq|civic|iscn|lrg-|sequenceontology"
        ),
        "genes",
    ),
    (re.compile(r"omim|/cosmic|pharmvar|pharmgkb|genomics-reporting"), "genes"),
    (re.compile(r"v3-confidentiality|v3/confidentiality"), "confidentiality"),
    (re.compile(r"v3-actcode|v3/actcode"), "labels"),
    (re.compile(r"v2-0074|v2/0074"), "report-sections"),
    (re.compile(r"^terminology\.hl7\.org/|^(?:www\.)?hl7\.org/fhir/(?!sid/)"), OTHER),
    (re.compile(r"unitsofmeasure|bcp:?-?47|bcp13|iso:std|nucc\.org|/cvx\b"), OTHER),
)


@lru_cache(maxsize=4096)
def terminology_of(system: str) -> str:
    """A short name of the terminology, ``UNKNOWN`` or ``OTHER``."""
    text = system.strip().lower().partition("|")[0].rstrip("/#")
    oid = text.removeprefix("urn:oid:").removeprefix("oid:")
    if re.fullmatch(r"[0-2](?:\.[0-9]+)+", oid):
        roots = (name for root, name in _OID_ROOTS.items() if oid.startswith(f"{root}."))
        return _OIDS.get(oid) or next(roots, UNKNOWN)
    bare = re.sub(r"^https?://", "", text).replace("_", "-").replace(" ", "-")
    return next((name for pattern, name in _PARTS if pattern.search(bare)), UNKNOWN)


Labels = frozenset[Category]
NOTHING: Labels = frozenset()

_RANGE = re.compile(r"(.*?)([0-9]+)-(.*?)([0-9]+)")


@dataclass(frozen=True, slots=True)
class CodeSet:
    """One terminology's codes: whole ones, and beginnings of codes in a hierarchy that shows in the code."""

    codes: Mapping[str, Labels] = field(default_factory=dict)
    prefixes: Mapping[str, Labels] = field(default_factory=dict)
    lengths: tuple[int, ...] = ()

    def labels_of(self, code: str) -> Labels:
        """What a normalised code tells of."""
        found = self.codes.get(code, NOTHING)
        for length in self.lengths:
            found |= self.prefixes.get(code[:length], NOTHING)
        return found


@cache
def code_sets() -> Mapping[str, CodeSet]:
    """Every terminology's codes, by the names ``terminologies`` gives them."""
    codes: dict[str, dict[str, Labels]] = {}
    prefixes: dict[str, dict[str, Labels]] = {}
    for category, tables in tables_of_all():
        for terminology, table in tables.items():
            if terminology == "words":
                continue
            listed = table.get("codes", "")
            whole = listed.split() if isinstance(listed, str) else listed
            for code in (*whole, *table.get("entities", ())):
                _add(codes.setdefault(terminology, {}), normal(terminology, code), category)
            for spelled in table.get("prefixes", ()):
                for prefix in expanded(spelled):
                    _add(prefixes.setdefault(terminology, {}), normal(terminology, prefix), category)
    names = codes.keys() | prefixes.keys()
    return {
        name: CodeSet(
            codes.get(name, {}),
            prefixes.get(name, {}),
            tuple(sorted({len(one) for one in prefixes.get(name, {})})),
        )
        for name in names
    }


def tables_of_all() -> Iterator[tuple[Category, Mapping[str, Any]]]:
    """Each sensitive category with its file."""
    folder = resources.files("twinward.fhir.sensitivity") / "sets"
    for category in sorted(SENSITIVE):
        text = (folder / f"{category.value}.toml").read_text(encoding="utf-8")
        yield category, tomllib.loads(text)


def normal(terminology: str, code: str) -> str:
    """A code as it is compared: no case, no blanks, and no dots where the terminology only decorates with them."""
    plain = "".join(code.split()).upper()
    return plain if terminology in ("snomed", "loinc", "rxnorm", "labels") else plain.replace(".", "").replace("-", "")


def expanded(spelled: str) -> list[str]:
    """``F00-F03`` as its four prefixes; anything else as itself."""
    match = _RANGE.fullmatch(spelled)
    if match is None or match[1] != match[3] or len(match[2]) != len(match[4]):
        return [spelled]
    width = len(match[2])
    return [f"{match[1]}{number:0{width}}" for number in range(int(match[2]), int(match[4]) + 1)]


def _add(into: dict[str, Labels], code: str, category: Category) -> None:
    into[code] = into.get(code, NOTHING) | {category}
