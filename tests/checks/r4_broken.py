"""Make ``tests/vectors/r4_broken.json`` anew: for each invariant of R4 a small resource that breaks it and no other.

    python -m tests.checks.r4_broken ../shared/data/fhir-r4-examples

Searched are HL7's own examples with one member changed, and resources drawn at random; what ``fhirpathpy`` calls broken
is then made as small as it can be. The rules of ``twinward.fhir.validation.invariants`` have no part in the search.
Where it finds none, ``tests/vectors/r4_broken_by_hand.py`` has one.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from random import Random
from typing import Any

from tests.fhirpath_oracle import Row, broken, elements, rows
from tests.r4_specimens import Object, drawn, holding, kinds_with_invariants, value_of
from tests.vectors.r4_broken_by_hand import BY_HAND
from twinward.fhir.validation import validator

TARGET = Path(__file__).parents[1] / "vectors" / "r4_broken.json"
ROUNDS = 60
LARGEST = 12_000


def found_in(examples: Path) -> dict[str, Object]:
    """The smallest resource found for each key."""
    best: dict[str, Object] = {}
    _look_among(_drawn(), best)
    kinds = {row.path if row.path in kinds_with_invariants() else row.path.rpartition(".")[0] for row in _left(best)}
    for path in sorted(examples.glob("*.json"), key=lambda path: path.stat().st_size):
        if path.stat().st_size < LARGEST:
            _look_among(mutations(json.loads(path.read_text(encoding="utf-8")), Random(path.stem), kinds), best)
    return {key: _smallest(best[key], key) for key in sorted(best)}


def _left(best: dict[str, Object]) -> list[Row]:
    return [row for row in rows() if row.key not in best]


def _look_among(candidates: Iterator[Object], best: dict[str, Object]) -> None:
    for candidate in candidates:
        key = _only_broken(candidate)
        if key and (key not in best or _size(candidate) < _size(best[key])):
            best[key] = copy.deepcopy(candidate)


def _drawn() -> Iterator[Object]:
    for kind in kinds_with_invariants():
        random = Random(kind)
        for _ in range(ROUNDS):
            yield holding(kind, drawn(kind, random, share=random.choice((0.1, 0.3, 0.5, 0.8))))


def mutations(resource: Object, random: Random, kinds: Collection[str]) -> Iterator[Object]:
    """A resource with one member of one of its objects taken away, put in, changed or doubled: the same object again
    and again, which is as it was afterwards."""
    for kind, one in list(_objects(resource["resourceType"], resource)):
        if kind not in kinds:
            continue
        for name in elements(kind):
            if name in ("id", "meta", "text", "contained", "extension", "modifierExtension"):
                continue
            before = one.get(name)
            changed = [value_of(kind, name, random) for _ in range(2)]
            if isinstance(before, list):
                changed.append([*before, before[0]])
            for value in changed:
                if value is not None:
                    one[name] = value
                    yield resource
            if before is None:
                one.pop(name, None)
            else:
                del one[name]
                if one:
                    yield resource
                one[name] = before


def _objects(kind: str, one: Object) -> Iterator[tuple[str, Object]]:
    yield kind, one
    for name, inner in elements(kind).items():
        value = one.get(name)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                yield from _objects(each["resourceType"] if inner == "Resource" else inner, each)


def _only_broken(resource: Object) -> str:
    if any(issue.code != "invariant" for issue in validator.faults(resource, "")):
        return ""
    keys = broken(resource)
    return keys.pop() if len(keys) == 1 else ""


def _size(resource: Object) -> int:
    return len(json.dumps(resource))


def _smallest(resource: Object, key: str) -> Object:
    """Less and less of it, while it breaks the same and nothing else."""
    is_shrinking = True
    while is_shrinking:
        is_shrinking = False
        for take in list(_removals(resource)):
            undo = take()
            if undo is None:
                continue
            if _only_broken(resource) == key:
                is_shrinking = True
            else:
                undo()
    return resource


def _removals(value: Any) -> Iterator[Callable[[], Callable[[], None] | None]]:
    """Ways to take one part away, the outermost first; each returns how to put it back."""
    if isinstance(value, dict):
        for name in list(value):
            if name != "resourceType":
                yield lambda holder=value, name=name: _without(holder, name)
        for inner in list(value.values()):
            yield from _removals(inner)
    elif isinstance(value, list):
        for index in reversed(range(len(value))):
            yield lambda holder=value, index=index: _without_item(holder, index)
        for inner in list(value):
            yield from _removals(inner)


def _without(holder: Object, name: str) -> Callable[[], None] | None:
    if name not in holder or len(holder) == 1:
        return None
    before = dict(holder)
    del holder[name]
    return lambda: (holder.clear(), holder.update(before))[0]


def _without_item(holder: list[Any], index: int) -> Callable[[], None] | None:
    if len(holder) <= max(index, 1):
        return None
    before = list(holder)
    del holder[index]
    return lambda: holder.__setitem__(slice(None), before)


if __name__ == "__main__":
    validator.MAX_ISSUES = 10_000
    found = dict(sorted((found_in(Path(sys.argv[1])) | BY_HAND).items()))
    body = ",\n".join(f"{json.dumps(key)}: {json.dumps(found[key], ensure_ascii=False)}" for key in found)
    TARGET.write_text("{\n" + body + "\n}\n", encoding="utf-8")
    missing = sorted({row.key for row in rows()} - set(found))
    sys.stdout.write(f"{len(found)} found; not found: {' '.join(missing)}\n")
