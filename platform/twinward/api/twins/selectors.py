"""The ``fields`` parameter: which members of a JSON answer are wanted, in Eclipse Ditto's notation.

``twinId,features/bmi/properties(value,unit)``: JSON pointers without the leading slash (one is allowed), separated by
commas; parentheses hold what is wanted below.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twinward.core.errors import BadInput

MAX_CHARS = 1000
MAX_DEPTH = 8

Selection = dict[str, "Selection"]
"""Wanted members; an empty selection below a name wants all of it."""


def parse(text: str) -> Selection:
    """A selection from its notation; an empty text wants everything. Raises ``BadInput``."""
    if len(text) > MAX_CHARS:
        raise BadInput(f"fields has {MAX_CHARS} characters at most")
    if not text:
        return {}
    selection, rest = _list(text, 0)
    if rest:
        raise _malformed()
    return selection


def pick(tree: Mapping[str, Any], selection: Selection) -> dict[str, Any]:
    """Those members of a tree that are wanted; what it does not have is left out."""
    if not selection:
        return dict(tree)
    picked: dict[str, Any] = {}
    for name, below in selection.items():
        if name not in tree:
            continue
        value = tree[name]
        if not below:
            picked[name] = value
        elif isinstance(value, Mapping) and (inner := pick(value, below)):
            picked[name] = inner
    return picked


def _list(text: str, depth: int) -> tuple[Selection, str]:
    """Pointers up to a closing parenthesis or the end, and what follows."""
    if depth > MAX_DEPTH:
        raise BadInput(f"fields nests {MAX_DEPTH} levels at most")
    selection: Selection = {}
    while True:
        end = next((at for at, char in enumerate(text) if char in ",()"), len(text))
        path, text = text[:end].strip().removeprefix("/").split("/"), text[end:]
        if not all(path) or len(path) > MAX_DEPTH:
            raise _malformed()
        below: Selection = {}
        if text.startswith("("):
            below, text = _list(text[1:], depth + 1)
            if not text.startswith(")"):
                raise _malformed()
            text = text[1:]
        _join(selection, path, below)
        if not text.startswith(","):
            return selection, text
        text = text[1:]


def _join(selection: Selection, path: list[str], below: Selection) -> None:
    for name in path[:-1]:
        if name in selection and not selection[name]:
            return  # all of it is wanted already
        selection = selection.setdefault(name, {})
    name = path[-1]
    if not below or (name in selection and not selection[name]):
        selection[name] = {}
    else:
        for inner, deeper in below.items():
            _join(selection.setdefault(name, {}), [inner], deeper)


def _malformed() -> BadInput:
    return BadInput("fields is not a list of members", hint="e.g. fields=twinId,features/bmi(properties)")
