"""What counts as a case: codes of conditions, ICD-10 and SNOMED CT, published so that everybody counts alike.

ICD-10 codes stand for themselves and all below them. The list's fingerprint is part of an alert's terms.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ICD10: Final = frozenset({"http://hl7.org/fhir/sid/icd-10", "http://hl7.org/fhir/sid/icd-10-cm"})
SNOMED: Final = "http://snomed.info/sct"


@dataclass(frozen=True, slots=True)
class Syndrome:
    """One syndrome: ``icd10`` are prefixes, ``snomed`` exact concepts."""

    title: str
    icd10: tuple[str, ...]
    snomed: frozenset[str]

    def holds(self, system: str, code: str) -> bool:
        """Whether a condition's coding is a case."""
        if system in ICD10:
            return any(code == one or code.startswith(f"{one}.") for one in self.icd10)
        return system == SNOMED and code in self.snomed


SYNDROMES: Final[Mapping[str, Syndrome]] = {
    "influenza": Syndrome("influenza", ("J09", "J10", "J11"), frozenset({"6142004"})),
    "covid-19": Syndrome("COVID-19", ("U07.1",), frozenset({"840539006"})),
    "gastroenteritis": Syndrome("infectious gastroenteritis", ("A08", "A09"), frozenset({"25374005"})),
    "measles": Syndrome("measles", ("B05",), frozenset({"14189004"})),
    "pneumonia": Syndrome("pneumonia", ("J12", "J13", "J14", "J15", "J16", "J18"), frozenset({"233604007"})),
}


def fingerprint() -> bytes:
    """SHA-256 of the whole list, as JSON with sorted names and codes."""
    said = {name: {"icd10": sorted(one.icd10), "snomed": sorted(one.snomed)} for name, one in SYNDROMES.items()}
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).digest()
