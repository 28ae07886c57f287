"""Make ``fhir/validation/r4_definitions.json`` anew: HL7's R4 definitions, cut down to what validation asks.

    npm pack fhir@4.12.0 && tar xzf fhir-4.12.0.tgz
    python -m tests.checks.r4_definitions package/profiles

The package has HL7's StructureDefinitions and ValueSets 4.0.1 (CC0) as two JSON files. Kept of them are, for each
type, its elements with type, cardinality, choice and required value set; and the codes of those value sets. Two slips
of the package are mended: the id of an element is a string and an extension's url a uri (R4, element.html,
extensibility.html).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[2] / "platform" / "twinward" / "fhir" / "validation" / "r4_definitions.json"
_NO_TYPES = frozenset({"Element", "MoneyQuantity", "SimpleQuantity"})


def made_from(folder: Path) -> dict[str, Any]:
    """The table: ``types`` (name to elements ``[name, type, flags, choice, value set]``) and ``codes``."""
    source = json.loads((folder / "types.json").read_text(encoding="utf-8"))
    value_sets = json.loads((folder / "valuesets.json").read_text(encoding="utf-8"))
    types: dict[str, list[list[str]]] = {"Element": [["id", "string", ""], ["extension", "Extension", "*"]]}
    for name, one in source.items():
        if one["_kind"] != "primitive-type" and name not in _NO_TYPES:
            types.update(_types(name, one["_properties"], is_resource=one["_kind"] == "resource"))
    wanted = {element[4] for elements in types.values() for element in elements if len(element) > 4}
    codes = {url: _codes(value_sets, url) for url in sorted(wanted)}
    unlisted = {url for url, listed in codes.items() if not listed}
    for elements in types.values():
        elements[:] = [one[:4] if len(one) > 4 and one[4] in unlisted else one for one in elements]
    for elements in types.values():
        elements[:] = [one[:3] if one[3:] == [""] else one for one in elements]
    return {"types": dict(sorted(types.items())), "codes": {url: all_ for url, all_ in codes.items() if all_}}


def _types(name: str, properties: list[dict[str, Any]], *, is_resource: bool) -> Iterator[tuple[str, list[list[str]]]]:
    elements = []
    for one in properties:
        if one["_name"].startswith("_"):
            continue
        kind = one["_type"].removeprefix("#")
        if kind in ("BackboneElement", "Element") and one.get("_properties"):
            kind = f"{name}.{one['_name']}"
            yield from _types(kind, one["_properties"], is_resource=False)
        elements.append(_element(name, one, kind, is_resource=is_resource))
    yield name, elements


def _element(owner: str, one: dict[str, Any], kind: str, *, is_resource: bool) -> list[str]:
    if one["_name"] == "id" and not is_resource:
        kind = "string"
    if (owner, one["_name"]) == ("Extension", "url"):
        kind = "uri"
    flags = ("*" if one["_multiple"] else "") + ("!" if one.get("_required") else "")
    choice = one.get("_choice", "").removesuffix("[x]")
    if one.get("_valueSetStrength") == "required":
        return [one["_name"], kind, flags, choice, one["_valueSet"]]
    return [one["_name"], kind, flags, *([choice] if choice else [])]


def _codes(value_sets: dict[str, Any], url: str) -> dict[str, list[str]]:
    found = value_sets.get(url.partition("|")[0], {"systems": []})["systems"]
    return {each["uri"]: sorted({one["code"] for one in each["codes"]}) for each in found if each["codes"]}


def _member(part: dict[str, Any]) -> str:
    """An object with one member a line, so that a change shows as a line."""
    lines = (f"{json.dumps(name)}:{json.dumps(value, separators=(',', ':'))}" for name, value in part.items())
    return "{\n" + ",\n".join(lines) + "\n}"


if __name__ == "__main__":
    table = made_from(Path(sys.argv[1]))
    TARGET.write_text("{" + ",\n".join(f'"{name}":{_member(part)}' for name, part in table.items()) + "}\n")
