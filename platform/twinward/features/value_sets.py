"""Value sets as a hospital publishes them: FHIR R4 ``ValueSet`` resources, taken into a code list.

An entry of ``code-list.toml`` names one by its file (``value_set = "diabetes.json"``). Its codes are what the resource
lists: the expansion, or, without one, the concepts of ``compose``. Nothing is looked up elsewhere: a set that is
defined by filters, by a whole code system or by other sets has to be expanded first (``$expand``).

**Hierarchies.** Where an expansion nests, each concept with others below it is a coded feature of its own, named after
its parent and its code, and its parent includes it: ``diabetes``, ``diabetes_e11``. So a recruiter asks at any level.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from twinward.core.errors import BadInput

MAX_DEPTH: Final = 12
FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.json")
Load = Callable[[str], bytes]
"""The bytes of a value set by the name of its file. Raises ``BadInput``."""


def with_value_sets(told: dict[str, Any], load: Load) -> dict[str, Any]:
    """A code list as TOML has it, its value sets taken in. Raises ``BadInput``, naming entry and file."""
    entries = told.get("features")
    if not isinstance(entries, list):
        return told
    found: list[Any] = []
    for entry in entries:
        name = entry.get("value_set") if isinstance(entry, dict) else None
        found += [entry] if name is None else _expanded(entry, name, load)
    return told | {"features": found}


def _expanded(entry: dict[str, Any], file: object, load: Load) -> Iterator[dict[str, Any]]:
    """The entry with its codes, and an entry for each concept below it that has others below."""
    if not isinstance(file, str) or FILE_NAME.fullmatch(file) is None:
        raise BadInput("value_set names a file of the folder value-sets", hint='such as "diabetes.json"')
    resource = _parsed(load(file), file)
    rest = {name: value for name, value in entry.items() if name != "value_set"}
    url = resource.get("url")
    if isinstance(url, str) and "url" not in rest:
        rest["url"] = url
    concepts = _concepts(resource, file)
    codes, below = _own(concepts, str(rest.get("name", "")))
    rest["codes"] = list(dict.fromkeys([*rest.get("codes", []), *codes]))
    rest["includes"] = [*rest.get("includes", []), *(name for name, _ in below)]
    yield rest
    yield from _children(below, rest.get("kind"), file)


def _children(below: list[tuple[str, dict[str, Any]]], kind: object, file: str) -> Iterator[dict[str, Any]]:
    waiting = [(name, concept, 1) for name, concept in below]
    while waiting:
        name, concept, depth = waiting.pop(0)
        if depth > MAX_DEPTH:
            raise BadInput(f"{file} nests deeper than {MAX_DEPTH} levels")
        codes, inner = _own(_list(concept, "contains", file), name)
        title = concept.get("display")
        yield {
            "name": name,
            "title": title[:120] if isinstance(title, str) and title else name,
            "kind": kind,
            "codes": [*_code_of(concept), *codes],
            "includes": [child for child, _ in inner],
        }
        waiting += [(child, below_it, depth + 1) for child, below_it in inner]


def _own(concepts: list[dict[str, Any]], parent: str) -> tuple[list[str], list[tuple[str, dict[str, Any]]]]:
    """The codes of concepts with nothing below them, and the others with a name each."""
    codes = [code for one in concepts if not one.get("contains") for code in _code_of(one)]
    inner = [one for one in concepts if one.get("contains")]
    return codes, [(_name(parent, one), one) for one in inner]


def _name(parent: str, concept: dict[str, Any]) -> str:
    label = concept.get("code") or concept.get("display") or "group"
    return f"{parent}_{re.sub(r'[^a-z0-9]+', '_', str(label).lower()).strip('_')}"


def _code_of(concept: dict[str, Any]) -> list[str]:
    system, code = concept.get("system"), concept.get("code")
    usable = isinstance(system, str) and isinstance(code, str) and concept.get("abstract") is not True
    return [f"{system}|{code}"] if usable else []


def _concepts(resource: dict[str, Any], file: str) -> list[dict[str, Any]]:
    expansion = resource.get("expansion")
    if isinstance(expansion, dict):
        return _list(expansion, "contains", file)
    compose = resource.get("compose")
    includes = _list(compose, "include", file) if isinstance(compose, dict) else []
    found = []
    for one in includes:
        if one.get("filter") or one.get("valueSet") or not one.get("concept"):
            includes = []
            break
        found += [{**concept, "system": one.get("system")} for concept in _list(one, "concept", file)]
    if not includes or (isinstance(compose, dict) and compose.get("exclude")):
        raise BadInput(f"{file} does not list its codes", hint="expand it ($expand), and keep what comes back")
    return found


def _list(holder: dict[str, Any], member: str, file: str) -> list[dict[str, Any]]:
    found = holder.get(member, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise BadInput(f"{file}: {member} is a list of objects")
    return found


def _parsed(content: bytes, file: str) -> dict[str, Any]:
    try:
        resource = json.loads(content)
    except (ValueError, RecursionError):
        raise BadInput(f"{file} is no JSON") from None
    if not isinstance(resource, dict) or resource.get("resourceType") != "ValueSet":
        raise BadInput(f"{file} is no FHIR ValueSet")
    return resource
