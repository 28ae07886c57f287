"""Strict JSON of small documents from outside: bodies of requests, files that a command is given."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from twinward.core.errors import BadInput

MAX_DEPTH = 16
_MAX_NUMBER_CHARS = 64


def decode(raw: bytes) -> Any:
    """Strict JSON.

    Raises:
        BadInput: it is not JSON in UTF-8, nests deeper than ``MAX_DEPTH``, or has a key twice, half a surrogate pair or
            a number beyond a double's range.
    """
    try:
        tree = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_number,
            parse_float=_finite,
            parse_int=_integer,
        )
        json.dumps(tree, ensure_ascii=False).encode()  # half a surrogate pair is found here
    except (ValueError, RecursionError):
        raise BadInput("the body is not JSON", hint="send UTF-8 JSON, no key twice, no NaN") from None
    if _deeper(tree, MAX_DEPTH):
        raise BadInput(f"the body nests deeper than {MAX_DEPTH} levels")
    return tree


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    built = dict(pairs)
    if len(built) != len(pairs):
        raise ValueError("a key twice")
    return built


def _no_number(_: str) -> NoReturn:
    raise ValueError("no number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("beyond a double's range")
    return value


def _integer(text: str) -> int:
    if len(text) > _MAX_NUMBER_CHARS:
        raise ValueError("too many digits")
    return int(text)


def _deeper(tree: object, most: int) -> bool:
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else None
    if inner is None:
        return False
    return most == 0 or any(_deeper(one, most - 1) for one in inner)
