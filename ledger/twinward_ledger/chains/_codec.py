"""Between Python values and a contract's ABI. Shared by every chain, so that all decode a refusal alike.

Errors: arguments that don't fit a function raise ``ChainError``; revert data becomes ``TransactionReverted`` with the
custom error's own name, looked for in the called contract first and then in all that are shipped (a contract passes
on what another one it asked refused with).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_utils.abi import event_abi_to_log_topic

from twinward_contracts import abi, artefacts
from twinward_contracts.abi import SELECTOR_BYTES, AbiEntry
from twinward_contracts.artefacts import Artefact
from twinward_ledger.errors import ChainError, TransactionReverted

_ERROR_STRING: Final = bytes.fromhex("08c379a0")  # Error(string)
_PANIC: Final = bytes.fromhex("4e487b71")  # Panic(uint256)


def creation_data(artefact: Artefact, arguments: Sequence[Any]) -> bytes:
    """Creation bytecode followed by the encoded constructor arguments."""
    constructors = [entry for entry in artefact.abi if entry["type"] == "constructor"]
    inputs = constructors[0]["inputs"] if constructors else []
    return artefact.bytecode + _encode(f"{artefact.name}'s constructor", inputs, arguments)


def call_data(artefact: Artefact, function: str, arguments: Sequence[Any]) -> bytes:
    """Selector and encoded arguments of a function."""
    entry = _entry(artefact, "function", function)
    return abi.selector(entry) + _encode(f"{artefact.name}.{function}", entry["inputs"], arguments)


def output(artefact: Artefact, function: str, data: bytes) -> Any:
    """What a function returned: None, a single value as it is, several as a tuple."""
    parameters = _entry(artefact, "function", function)["outputs"]
    if not parameters:
        return None
    try:
        values = abi.values_of(parameters, data)
    except (DecodingError, ValueError, OverflowError) as error:
        raise ChainError(f"{artefact.name}.{function} answered {len(data)} bytes that don't decode") from error
    return values[0] if len(values) == 1 else tuple(values)


def event_topic(artefact: Artefact, event: str) -> bytes:
    """The first topic of an event's logs (32 bytes)."""
    return bytes(event_abi_to_log_topic(abi.typed(_entry(artefact, "event", event))))


def event(artefact: Artefact, name: str, topics: Sequence[bytes], data: bytes) -> dict[str, Any]:
    """One log's arguments by name; indexed ones of dynamic type stay the 32-byte hash that the log holds."""
    parameters = _entry(artefact, "event", name)["inputs"]
    try:
        plain = iter(abi.values_of([entry for entry in parameters if not entry["indexed"]], data))
        indexed = iter(topics[1:])
        return {
            entry["name"]: _indexed(entry, next(indexed)) if entry["indexed"] else next(plain) for entry in parameters
        }
    except (DecodingError, ValueError, StopIteration) as error:
        raise ChainError(f"a log of {artefact.name}.{name} does not decode") from error


def reverted(artefact: Artefact, data: bytes) -> TransactionReverted:
    """What a contract refused with, by name."""
    selector, body = data[:SELECTOR_BYTES], data[SELECTOR_BYTES:]
    try:
        if selector == _ERROR_STRING:
            return TransactionReverted("Error", tuple(decode(["string"], body)))
        if selector == _PANIC:
            return TransactionReverted("Panic", tuple(decode(["uint256"], body)))
        for entry in _known_errors(artefact):
            if abi.selector(entry) == selector:
                return TransactionReverted(entry["name"], tuple(abi.values_of(entry["inputs"], body)))
    except (DecodingError, ValueError, OverflowError):
        # Whatever the contract sent back, the transaction was refused: say so, with the bytes.
        return TransactionReverted("UndecodableError", ("0x" + data.hex(),))
    return TransactionReverted("UnknownError", ("0x" + data.hex(),)) if data else TransactionReverted("NoReason")


def _known_errors(artefact: Artefact) -> Iterable[AbiEntry]:
    shipped = (artefacts.load(name) for name in artefacts.names())
    return (entry for source in (artefact, *shipped) for entry in source.abi if entry["type"] == "error")


def _entry(artefact: Artefact, kind: str, name: str) -> AbiEntry:
    try:
        return abi.entry_of(artefact, kind, name)
    except LookupError as error:
        raise ChainError(str(error)) from None


def _encode(what: str, parameters: Sequence[AbiEntry], arguments: Sequence[Any]) -> bytes:
    if len(parameters) != len(arguments):
        raise ChainError(f"{what} takes {len(parameters)} arguments, got {len(arguments)}")
    try:
        return encode(abi.types(parameters), list(arguments))
    except (EncodingError, TypeError, ValueError, OverflowError) as error:
        raise ChainError(f"{what}: an argument does not fit its type ({abi.types(parameters)})") from error


def _indexed(parameter: AbiEntry, topic: bytes) -> Any:
    kind = parameter["type"]
    if kind in {"string", "bytes", "tuple"} or kind.endswith("]"):
        return topic
    return abi.values_of([parameter], topic)[0]
