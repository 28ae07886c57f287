"""Compiled contracts, as committed: ABI and creation bytecode. ``make check`` recompiles and compares them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

_FOLDER = files("twinward_contracts") / "compiled"


class UnknownArtefact(LookupError):
    """No contract of this name is shipped."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """One compiled contract.

    Attributes:
        name: the contract's name in its source file.
        abi: its JSON ABI.
        bytecode: creation bytecode, without constructor arguments.
    """

    name: str
    abi: list[dict[str, Any]]
    bytecode: bytes


def names() -> tuple[str, ...]:
    """The contracts that are shipped, by name."""
    return tuple(sorted(item.name.removesuffix(".json") for item in _FOLDER.iterdir() if item.name.endswith(".json")))


@cache
def load(name: str) -> Artefact:
    """Read one shipped contract. Raises ``UnknownArtefact``."""
    if name not in names():
        raise UnknownArtefact(f"no contract {name!r} is shipped; there are {', '.join(names())}")
    data = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return Artefact(name=data["name"], abi=data["abi"], bytecode=bytes.fromhex(data["bytecode"].removeprefix("0x")))
