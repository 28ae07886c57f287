"""The strings under which blind tags find what a search parameter names: the only ones that storage is asked for."""

from __future__ import annotations

import re

from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.mapping.patients import identifier_key
from twinward.fhir.search.parameters import alternatives, token_parts
from twinward.fhir.validation.validate import ID

_MAX_NAMED = 20
_OWNER = re.compile(r"(?:Patient/)?([A-Za-z0-9\-.]{1,64})")


def names_of(resource_type: str, name: str, value: str) -> tuple[str, ...] | None:
    """The strings for a parameter of a type and its value; None for a parameter that names nothing.

    Raises:
        InvalidResource: a value that cannot be one, or too many of them.
    """
    if name == "_id":
        found = alternatives(value)
        if not all(ID.fullmatch(one) for one in found):
            raise InvalidResource(Issue("value", "", "_id takes ids of 1 to 64 letters, digits, hyphens and dots"))
        names = [f"{resource_type}/{one}" for one in found]
    elif name in ("patient", "subject"):
        owners = [_OWNER.fullmatch(one) for one in alternatives(value)]
        names = [f"Patient/{owner[1]}" for owner in owners if owner is not None]
        if len(names) != len(owners):
            raise InvalidResource(Issue("value", "", f"{name} takes an id or Patient/id"))
    elif name == "identifier":
        tokens = [token_parts(one) for one in alternatives(value)]
        if not all(code for _, code in tokens):
            raise InvalidResource(Issue("value", "", "identifier takes value or system|value"))
        names = [identifier_key(resource_type, system, code) for system, code in tokens]
    else:
        return None
    if len(names) > _MAX_NAMED:
        raise InvalidResource(Issue("too-costly", "", f"{name} takes at most {_MAX_NAMED} values"))
    return tuple(names)
