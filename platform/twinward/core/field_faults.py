"""What pydantic finds wrong with a field, as a sentence that can be said in a reader's language.

What was entered is not said again: it may be anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from twinward.core.sentences import Sentence, sentence

_MAX_NAME_CHARS: Final = 80


def field_fault(name: str, found: Mapping[str, Any]) -> Sentence:
    """One of ``ValidationError.errors()``, of a field that people know by this name."""
    name, kind, bound = name[:_MAX_NAME_CHARS], str(found["type"]), found.get("ctx", {})
    if kind == "missing":
        return sentence("{name} is missing", name=name)
    if kind == "extra_forbidden":
        return sentence("{name} is not a field of it", name=name)
    if kind in ("string_too_long", "bytes_too_long"):
        return sentence("{name} has {most} characters at most", name=name, most=int(bound["max_length"]))
    if kind in ("string_too_short", "bytes_too_short"):
        return sentence("{name} has {least} characters at least", name=name, least=int(bound["min_length"]))
    if kind == "less_than_equal":
        return sentence("{name} is {bound} at most", name=name, bound=bound["le"])
    if kind == "greater_than_equal":
        return sentence("{name} is {bound} at least", name=name, bound=bound["ge"])
    if kind == "less_than":
        return sentence("{name} is less than {bound}", name=name, bound=bound["lt"])
    if kind == "greater_than":
        return sentence("{name} is more than {bound}", name=name, bound=bound["gt"])
    if kind in ("int_parsing", "int_from_float", "int_type", "float_parsing", "float_type", "finite_number"):
        return sentence("{name} is a number", name=name)
    if kind in ("enum", "literal_error"):
        return sentence("{name} is none of the choices", name=name)
    return sentence("{name} is not written as it must be", name=name)
