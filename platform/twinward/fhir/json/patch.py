"""JSON Patch (RFC 6902) over bytes: what a patch does not name keeps its bytes, so ``1.10`` stays ``1.10``.

Only the objects and arrays on the way to a change are opened, one level each; their members are spliced back as they
were. A patch is done as a whole or not at all: ``patched`` returns new bytes or raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec

from twinward.core import small_json
from twinward.core.errors import BadInput, Conflict

MEDIA_TYPE = "application/json-patch+json"
MOST_OPERATIONS = 100
_MOST_STEPS = 40
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_ESCAPES = re.compile(r"~(?![01])")
_WITH_VALUE, _WITH_FROM = frozenset({"add", "replace", "test"}), frozenset({"move", "copy"})

_Steps: TypeAlias = tuple[str, ...]
_Level: TypeAlias = dict[str, msgspec.Raw] | list[msgspec.Raw]


class PatchFailed(Conflict):
    """An operation does not fit what is there (RFC 5789, section 2.2: conflicting state). Nothing was changed."""


class _Sent(msgspec.Struct):
    """An operation as it was sent; members that RFC 6902 does not know are passed over, as it says."""

    op: str
    path: str
    value: msgspec.Raw = msgspec.Raw()
    source: str | None = msgspec.field(name="from", default=None)


@dataclass(frozen=True, slots=True)
class Operation:
    """One change. ``value`` is JSON, empty where the operation has none; ``source`` is where it takes one from."""

    name: str
    path: _Steps
    value: bytes = b""
    source: _Steps = ()


def read_patch(body: bytes) -> tuple[Operation, ...]:
    """The operations of a patch. Raises ``BadInput`` for what is none, never with what was sent."""
    try:
        small_json.decode(body)  # strict, and not deep
        sent = msgspec.json.decode(body, type=list[_Sent])
    except msgspec.MsgspecError:
        raise BadInput("the patch is not a JSON array of operations", hint="see RFC 6902") from None
    if not 0 < len(sent) <= MOST_OPERATIONS:
        raise BadInput(f"a patch has 1 to {MOST_OPERATIONS} operations")
    return tuple(_operation(one, f"operation {number}") for number, one in enumerate(sent))


def patched(content: bytes, operations: Sequence[Operation], *, most_bytes: int) -> bytes:
    """A document after a patch.

    Args:
        content: JSON that was checked before.
        operations: done in order, each on what the one before left.
        most_bytes: how large it may ever become, so that no patch of copies fills the memory.

    Raises:
        PatchFailed: an operation names what is not there, or a test does not hold.
        BadInput: it becomes too large, or a value would be moved into itself.
    """
    for number, one in enumerate(operations):
        content = _DOING[one.name](content, one, f"operation {number}")
        if len(content) > most_bytes:
            raise BadInput(f"a patch may make {most_bytes} bytes at most")
    return content


def _operation(sent: _Sent, where: str) -> Operation:
    if sent.op not in _DOING:
        raise BadInput(f"{where}: op is one of {', '.join(_DOING)}")
    value = bytes(sent.value)
    if sent.op in _WITH_VALUE and not value:
        raise BadInput(f"{where}: {sent.op} has a value")
    if sent.op in _WITH_FROM and sent.source is None:
        raise BadInput(f"{where}: {sent.op} says from where")
    source = _steps(sent.source or "", where) if sent.op in _WITH_FROM else ()
    path = _steps(sent.path, where)
    if sent.op == "move" and path[: len(source)] == source and path != source:
        raise BadInput(f"{where}: a value cannot be moved into itself")
    return Operation(sent.op, path, value, source)


def _steps(pointer: str, where: str) -> _Steps:
    """The names of a JSON Pointer (RFC 6901). Raises ``BadInput``."""
    if pointer and not pointer.startswith("/"):
        raise BadInput(f"{where}: a path begins with a slash")
    if pointer.count("/") > _MOST_STEPS or _ESCAPES.search(pointer):
        raise BadInput(f"{where}: the path is no JSON Pointer, or has more than {_MOST_STEPS} steps")
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def _add(content: bytes, one: Operation, where: str) -> bytes:
    def put(level: _Level, step: str) -> None:
        if isinstance(level, dict):
            level[step] = msgspec.Raw(one.value)
        else:
            level.insert(len(level) if step == "-" else _index(level, step, where, beyond=1), msgspec.Raw(one.value))

    return _changed(content, one.path, put, where) if one.path else one.value


def _remove(content: bytes, one: Operation, where: str) -> bytes:
    def take(level: _Level, step: str) -> None:
        del level[_key(level, step, where)]  # type: ignore[arg-type]  # a name for an object, an index for an array

    return _changed(content, _inside(one.path, where), take, where)


def _replace(content: bytes, one: Operation, where: str) -> bytes:
    def put(level: _Level, step: str) -> None:
        level[_key(level, step, where)] = msgspec.Raw(one.value)  # type: ignore[index]  # as above

    return _changed(content, one.path, put, where) if one.path else one.value


def _move(content: bytes, one: Operation, where: str) -> bytes:
    value = _found(content, one.source, where)
    if one.path == one.source:
        return content
    without = _remove(content, Operation("remove", one.source), where)
    return _add(without, Operation("add", one.path, value), where)


def _copy(content: bytes, one: Operation, where: str) -> bytes:
    return _add(content, Operation("add", one.path, _found(content, one.source, where)), where)


def _test(content: bytes, one: Operation, where: str) -> bytes:
    if not _same(_value(_found(content, one.path, where)), _value(one.value)):
        raise PatchFailed(f"{where}: the test does not hold", hint="read it again and repeat the change")
    return content


_DOING: dict[str, Callable[[bytes, Operation, str], bytes]] = {
    "add": _add,
    "copy": _copy,
    "move": _move,
    "remove": _remove,
    "replace": _replace,
    "test": _test,
}


def _changed(content: bytes, path: _Steps, change: Callable[[_Level, str], None], where: str) -> bytes:
    level = _opened(content, where)
    if len(path) == 1:
        change(level, path[0])
    else:
        key = _key(level, path[0], where)
        inner = _changed(bytes(level[key]), path[1:], change, where)  # type: ignore[index]  # as above
        level[key] = msgspec.Raw(inner)  # type: ignore[index]
    return msgspec.json.encode(level)


def _found(content: bytes, path: _Steps, where: str) -> bytes:
    for step in path:
        level = _opened(content, where)
        content = bytes(level[_key(level, step, where)])  # type: ignore[index]  # as above
    return content


def _opened(content: bytes, where: str) -> _Level:
    try:
        level: _Level = msgspec.json.decode(content, type=_Level)
    except msgspec.ValidationError:
        raise _missing(where) from None
    return level


def _inside(path: _Steps, where: str) -> _Steps:
    if not path:
        raise BadInput(f"{where}: the whole resource is not removed by a patch", hint="use DELETE")
    return path


def _key(level: _Level, step: str, where: str) -> str | int:
    if isinstance(level, dict):
        if step not in level:
            raise _missing(where)
        return step
    return _index(level, step, where)


def _index(level: list[msgspec.Raw], step: str, where: str, *, beyond: int = 0) -> int:
    if not _INDEX.fullmatch(step) or int(step) >= len(level) + beyond:
        raise _missing(where)
    return int(step)


def _missing(where: str) -> PatchFailed:
    return PatchFailed(f"{where}: there is nothing at its path", hint="read the resource again")


def _value(content: bytes) -> Any:
    return json.loads(content, parse_float=Decimal, parse_int=Decimal)


def _same(one: Any, other: Any) -> bool:
    """Equality of RFC 6902 section 4.6: numbers by their value, members in any order, and ``true`` is no number."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)
