"""What pydantic finds wrong with a field, as a sentence that can be said in a reader's language.

What was entered is not said again: it may be anything. A validator of ours raises ``ValueError(sentence(…))``: pydantic
keeps the error, and what it says is said as it is. A text of anybody else's is none that may be told.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from pydantic import ValidationError

from twinward.core.sentences import Sentence, joined, sentence

_MAX_NAME_CHARS: Final = 80
_MOST_FAULTS: Final = 20
"""That are told of one file: it may have as many as it has fields."""


def faults_of(error: ValidationError, *, most: int = _MOST_FAULTS) -> str:
    """What is wrong with a file that somebody wrote by hand: each field by its place in it.

    Where more than ``most`` are wrong, how many more; where ``most`` is 1, the first alone.
    """
    found = error.errors(include_url=False, include_input=False)
    told = joined([_written_fault(".".join(map(str, one["loc"])), one) for one in found[:most]])
    if most == 1 or len(found) <= most:
        return told
    return sentence("{faults}; and {count} more", faults=told, count=len(found) - most)


def _written_fault(name: str, found: Mapping[str, Any]) -> Sentence:
    """As ``field_fault``; whoever writes a file also learns what may stand there."""
    name, kind, bound = name[:_MAX_NAME_CHARS], str(found["type"]), found.get("ctx", {})
    if kind in ("enum", "literal_error"):
        return sentence(
            "{name} is none of the choices: {choices}", name=name, choices=bound["expected"].replace("' or '", "', '")
        )
    if kind == "string_pattern_mismatch":
        return sentence("{name} is not written by the pattern {pattern}", name=name, pattern=bound["pattern"])
    return field_fault(name, found)


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
    if kind == "too_long":
        return sentence("{name} has {most} entries at most", name=name, most=int(bound["max_length"]))
    if kind == "too_short":
        return sentence("{name} has {least} entries at least", name=name, least=int(bound["min_length"]))
    if kind == "less_than_equal":
        return sentence("{name} is {bound} at most", name=name, bound=_number(bound["le"]))
    if kind == "greater_than_equal":
        return sentence("{name} is {bound} at least", name=name, bound=_number(bound["ge"]))
    if kind == "less_than":
        return sentence("{name} is less than {bound}", name=name, bound=_number(bound["lt"]))
    if kind == "greater_than":
        return sentence("{name} is more than {bound}", name=name, bound=_number(bound["gt"]))
    if kind in ("int_parsing", "int_from_float", "int_type", "float_parsing", "float_type", "finite_number"):
        return sentence("{name} is a number", name=name)
    if kind in ("tuple_type", "list_type"):
        return sentence("{name} is a list", name=name)
    if kind in ("enum", "literal_error"):
        return sentence("{name} is none of the choices", name=name)
    if kind == "value_error" and isinstance(said := _own_words(bound["error"]), Sentence):
        return sentence("{name}: {fault}", name=name, fault=said) if name else said
    return sentence("{name} is not written as it must be", name=name)


def _own_words(error: ValueError) -> object:
    return error.args[0] if error.args else ""


def _number(bound: object) -> object:
    """A bound as somebody writes it: 0.000001, and 10; what is smaller still as 1e-12."""
    if not isinstance(bound, float) or 0 < abs(bound) < 1e-6:
        return bound
    return f"{Decimal(repr(bound)):f}".removesuffix(".0")
