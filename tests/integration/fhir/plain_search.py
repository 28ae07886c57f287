"""Search as R4 writes it, over plain resources, slowly: what a search across patients is held against.

It knows nothing of twins, tags, permits or pages. Who may see what is said here once more, by type and patient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

Resource = dict[str, Any]
Store = dict[str, Resource]

_REFERENCES: dict[str, Callable[[Resource], list[str]]] = {
    "subject": lambda one: [one["subject"]["reference"]] if "subject" in one else [],
    "patient": lambda one: [one["subject"]["reference"]] if "subject" in one else [],
    "encounter": lambda one: [one["encounter"]["reference"]] if "encounter" in one else [],
    "has-member": lambda one: [member["reference"] for member in one.get("hasMember", [])],
    "participant": lambda one: [each["individual"]["reference"] for each in one.get("participant", [])],
}


def _codings(concept: Any) -> Iterator[str]:
    for coding in concept.get("coding", []) if isinstance(concept, dict) else []:
        yield coding["code"]
        yield f"{coding['system']}|{coding['code']}"


def values_of(resource: Resource, name: str) -> list[str]:
    """The texts that a token or string parameter looks at."""
    if name == "code":
        return list(_codings(resource.get("code", resource.get("medicationCodeableConcept", {}))))
    if name == "class":
        return [resource["class"]["code"]]
    if name == "identifier":
        found = resource.get("identifier", [])
        return [one["value"] for one in found] + [f"{one['system']}|{one['value']}" for one in found]
    if name in ("family", "name"):
        return [one["family"] for one in resource.get("name", [])]
    name = name.removeprefix("_")
    return [resource[name]] if name in resource else []


def is_true(resource: Resource, name: str, value: str) -> bool:
    """Whether one criterion on the resource itself is true."""
    if name in _REFERENCES:
        return any(one in (value, f"Patient/{value}", f"Encounter/{value}") for one in _REFERENCES[name](resource))
    if name in ("family", "name"):
        return any(one.lower().startswith(value.lower()) for one in values_of(resource, name))
    if name == "date":  # ge only, on days
        return resource.get("effectiveDateTime", "") >= value.removeprefix("ge")
    return value in values_of(resource, name)


def holds(store: Store, resource: Resource, name: str, value: str) -> bool:
    """Whether any criterion is true, chained or not, among the resources of a store."""
    if name.startswith("_has:"):
        _, kind, reference, asked = name.split(":")
        own = f"{resource['resourceType']}/{resource['id']}"
        return any(
            one["resourceType"] == kind and own in _REFERENCES[reference](one) and is_true(one, asked, value)
            for one in store.values()
        )
    if "." in name:
        reference, asked = name.split(".")
        kind = reference.partition(":")[2]
        targets = [store[one] for one in _REFERENCES[reference.partition(":")[0]](resource) if one in store]
        return any((not kind or one["resourceType"] == kind) and is_true(one, asked, value) for one in targets)
    return is_true(resource, name, value)


def search(store: Store, kind: str, criteria: Sequence[tuple[str, str]]) -> set[str]:
    """The ids of what matches."""
    return {
        one["id"]
        for one in store.values()
        if one["resourceType"] == kind and all(holds(store, one, name, value) for name, value in criteria)
    }
