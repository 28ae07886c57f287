"""Whether an opened record matches a search parameter's value, and what it is sorted by.

https://hl7.org/fhir/R4/search.html. Matching reads decoded content, after a permit has let the record be opened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.strict_json import JsonObject
from twinward.fhir.json.values import asked_interval, folded, interval_of
from twinward.fhir.search.parameters import _ESCAPED, Parameter, alternatives, token_parts
from twinward.vault.interfaces import Record

Interval = tuple[int, int]

_PREFIXES: dict[str, Callable[[Interval, Interval], bool]] = {
    "eq": lambda asked, kept: asked[0] <= kept[0] and kept[1] <= asked[1],
    "ne": lambda asked, kept: not (asked[0] <= kept[0] and kept[1] <= asked[1]),
    "gt": lambda asked, kept: kept[1] > asked[1],
    "lt": lambda asked, kept: kept[0] < asked[0],
    "ge": lambda asked, kept: kept[1] > asked[1] or (asked[0] <= kept[0] and kept[1] <= asked[1]),
    "le": lambda asked, kept: kept[0] < asked[0] or (asked[0] <= kept[0] and kept[1] <= asked[1]),
    "sa": lambda asked, kept: kept[0] >= asked[1],
    "eb": lambda asked, kept: kept[1] <= asked[0],
}
"""https://hl7.org/fhir/R4/search.html#prefix, on half-open intervals of ms."""
_LITERAL = re.compile(r"([A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")
"""A reference to what is kept here: those at the node's own base are made so when they come in, others are others'."""

_SPOKEN = ("text", "family", "given", "prefix", "suffix", "line", "city", "district", "state", "postalCode", "country")


def check(name: str, parameter: Parameter, value: str) -> None:
    """Refuse a value that cannot be one of the parameter. Raises ``InvalidResource``."""
    if parameter.kind == "date":
        for one in alternatives(value):
            read_date(name, one)
    elif not all(alternatives(value)):
        raise InvalidResource(Issue("value", "", f"{name} has an empty value"))
    elif parameter.kind == "string" and not all(_spelled(one) for one in alternatives(value)):
        raise InvalidResource(Issue("value", "", f"{name} takes letters or digits"))


def matches(parameter: Parameter, value: str, resource: JsonObject) -> bool:
    """Whether one of a parameter's alternatives matches a resource. The value was checked before."""
    kept = [found for element in parameter.elements for found in _values(resource, element.split("."))]
    if parameter.kind == "date":
        return matches_date(value, [found for one in kept if (found := interval_of(one)) is not None])
    if parameter.kind == "string":
        words = [folded(word) for one in kept for word in _words(one)]
        asked = [_spelled(one) for one in alternatives(value)]
        return any(word.startswith(one) for one in asked for word in words)
    if parameter.kind == "reference":
        targets = [target for one in kept for target in _targets(one)]
        return any(_points(one, target) for one in alternatives(value) for target in targets)
    tokens = [token for one in kept for token in _tokens(one)]
    return any(_same(token_parts(one), token, parameter) for one in alternatives(value) for token in tokens)


def references_in(parameter: Parameter, resource: JsonObject) -> list[str]:
    """The ``Type/id`` of everything here that a reference parameter looks at; what is kept elsewhere is left out."""
    kept = [found for element in parameter.elements for found in _values(resource, element.split("."))]
    return [match[1] for one in kept for target in _targets(one) if (match := _LITERAL.fullmatch(target))]


def codes_in(parameter: Parameter, resource: JsonObject) -> list[str]:
    """The codes that a token parameter looks at, whatever their systems."""
    kept = [found for element in parameter.elements for found in _values(resource, element.split("."))]
    return [code for one in kept for _, code in _tokens(one)]


def intervals_in(parameter: Parameter, resource: JsonObject) -> list[Interval]:
    """What the dates that a date parameter looks at cover, in ms, the end excluded."""
    kept = [found for element in parameter.elements for found in _values(resource, element.split("."))]
    return [found for one in kept if (found := interval_of(one)) is not None]


def sort_key(parameter: Parameter, resource: JsonObject, *, descending: bool) -> tuple[int | str, ...] | None:
    """What a resource is sorted by: the earliest or first value, or the last one if ``descending``; None for none."""
    kept = [found for element in parameter.elements for found in _values(resource, element.split("."))]
    keys: list[tuple[int | str, ...]]
    if parameter.kind == "date":
        moments = [found for one in kept if (found := interval_of(one)) is not None]
        keys = [moment[::-1] for moment in moments] if descending else list(moments)  # by its end, or by its start
    elif parameter.kind == "string":
        keys = [(folded(word),) for one in kept for word in _words(one)]
    else:
        keys = [(code, system) for one in kept for system, code in _tokens(one)]
    if not keys:
        return None
    return max(keys) if descending else min(keys)


def matches_date(value: str, kept: list[Interval]) -> bool:
    """Whether one of the alternatives matches one of the intervals."""
    asked = [read_date("", one) for one in alternatives(value)]
    return any(_PREFIXES[prefix](one, moment) for prefix, one in asked for moment in kept)


def read_date(name: str, text: str) -> tuple[str, Interval]:
    """A date as a search asks for it: its prefix, and what it covers. Raises ``InvalidResource``."""
    prefix, moment = (text[:2], text[2:]) if text[:2] in _PREFIXES else ("eq", text)
    found = asked_interval(moment)
    if found is None:
        raise InvalidResource(Issue("value", "", f"{name} takes a date such as ge2024-01-31"))
    return prefix, found


def _values(value: Any, path: list[str]) -> Iterator[Any]:
    if isinstance(value, list):
        for one in value:
            yield from _values(one, path)
    elif not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _values(value[path[0]], path[1:])


def _tokens(value: Any) -> Iterator[tuple[str, str]]:
    """(system, code) of a code (which says no system), Coding, CodeableConcept or Identifier."""
    if isinstance(value, str):
        yield "", value
    elif isinstance(value, dict):
        if isinstance(value.get("coding"), list):
            for coding in value["coding"]:
                yield from _tokens(coding)
        code = value.get("code", value.get("value"))
        if isinstance(code, str):
            yield str(value.get("system", "")), code


def _targets(value: Any) -> Iterator[str]:
    reference = value.get("reference") if isinstance(value, dict) else None
    if isinstance(reference, str):
        yield reference


def _points(asked: str, kept: str) -> bool:
    """Whether a reference is the one asked for: by id or Type/id, or to the letter where it is another server's."""
    match = _LITERAL.fullmatch(kept)
    if match is None:
        return _plain_case(asked) == kept
    wanted = _LITERAL.fullmatch(asked)
    return match[1] == wanted[1] if wanted else match[1].partition("/")[2] == asked


def _same(asked: tuple[str | None, str], kept: tuple[str, str], parameter: Parameter) -> bool:
    """Whether a token is the one asked for. Of a code both its implied system and none are right.

    Most code systems do not tell ``final`` from ``Final``, and R4 prefers finding too much to missing something.
    """
    system, code = asked
    if system is not None and system not in (kept[0], kept[0] or parameter.system):
        return False
    if not code:
        return bool(system)
    return code == kept[1] or (not parameter.exact and code.casefold() == kept[1].casefold())


def _words(value: Any) -> Iterator[str]:
    """The strings of a name or an address: their parts where they are a HumanName or an Address."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in _SPOKEN:
            found = value.get(part)
            yield from (one for one in (found if isinstance(found, list) else [found]) if isinstance(one, str))


def _spelled(text: str) -> str:
    return folded(_plain_case(text))


def _plain_case(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)


Criterion = tuple[str, Parameter, str]
"""A parameter's name, what it looks at, and the value asked for."""


def all_true(criteria: Sequence[Criterion], record: Record) -> bool:
    """Whether every criterion is true of a record. Its moment is the server's, the rest its content says."""
    resource = json.loads(record.content) if criteria else {}
    moment = (record.committed_at_ms, record.committed_at_ms + 1)
    return all(
        matches_date(value, [moment]) if name == "_lastUpdated" else matches(parameter, value, resource)
        for name, parameter, value in criteria
    )
