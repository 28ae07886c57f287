"""A contract's ABI entries, and calls as bytes: what a transaction carries and what a proposed change would do.

``eth_abi`` and ``eth_utils`` are imported by what encodes or decodes: they take 8 MB, and whoever only holds a
contract's address needs neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from twinward_contracts.artefacts import Artefact

AbiEntry = dict[str, Any]

SELECTOR_BYTES: Final = 4


def entry_of(artefact: Artefact, kind: str, name: str) -> AbiEntry:
    """A function, event or error by name. Raises ``LookupError``."""
    for entry in artefact.abi:
        if entry["type"] == kind and entry["name"] == name:
            return entry
    raise LookupError(f"{artefact.name} has no {kind} {name}")


def call_data(artefact: Artefact, function: str, arguments: Sequence[Any]) -> bytes:
    """Selector and encoded arguments of a function. Raises ``LookupError``, or as ``eth_abi.encode`` does."""
    from eth_abi.abi import encode

    entry = entry_of(artefact, "function", function)
    return selector(entry) + encode(types(entry["inputs"]), list(arguments))


def read_call(artefact: Artefact, data: bytes) -> tuple[str, dict[str, Any]]:
    """The function and the arguments, by name, of a call to a contract. Raises ``LookupError``: it has no such."""
    from eth_abi.exceptions import DecodingError

    for entry in artefact.abi:
        if entry["type"] != "function" or selector(entry) != data[:SELECTOR_BYTES]:
            continue
        try:
            values = values_of(entry["inputs"], data[SELECTOR_BYTES:])
        except (DecodingError, ValueError, OverflowError) as error:
            raise LookupError(f"arguments that {artefact.name}.{entry['name']} does not take") from error
        return entry["name"], {one["name"]: value for one, value in zip(entry["inputs"], values, strict=True)}
    raise LookupError(f"{artefact.name} has no function {data[:SELECTOR_BYTES].hex()}")


def values_of(parameters: Sequence[AbiEntry], data: bytes) -> list[Any]:
    """Decoded values, addresses in EIP-55 form. Raises ``DecodingError``, ``ValueError`` or ``OverflowError``."""
    from eth_abi.abi import decode

    values = decode(types(parameters), data)
    return [_with_checksums(entry["type"], entry, value) for entry, value in zip(parameters, values, strict=True)]


def types(parameters: Sequence[AbiEntry]) -> list[str]:
    """Their types, as ``eth_abi`` names them."""
    from eth_utils.abi import collapse_if_tuple

    return [collapse_if_tuple(typed(entry)) for entry in parameters]


def selector(entry: AbiEntry) -> bytes:
    """The first 4 bytes of a call; an error's is made as a function's."""
    from eth_utils.abi import function_abi_to_4byte_selector

    return bytes(function_abi_to_4byte_selector(typed({**entry, "type": "function"})))


def typed(entry: AbiEntry) -> Any:
    """eth_utils' typed dictionaries, which JSON as shipped can't be narrowed to."""
    return entry


def _with_checksums(kind: str, parameter: AbiEntry, value: Any) -> Any:
    """Addresses in EIP-55 form, also inside arrays and structs."""
    if kind.endswith("]"):
        return tuple(_with_checksums(kind[: kind.rindex("[")], parameter, item) for item in value)
    if kind == "tuple":
        inner = zip(parameter["components"], value, strict=True)
        return tuple(_with_checksums(entry["type"], entry, item) for entry, item in inner)
    return _checksummed(value) if kind == "address" else value


def _checksummed(address: str) -> str:
    from eth_utils.address import to_checksum_address

    return to_checksum_address(address)
