"""Compiled contracts, as committed: ABI and creation bytecode. ``make check`` recompiles and compares them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
