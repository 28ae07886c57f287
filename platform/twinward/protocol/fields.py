"""What messages are made of: how bytes, names and numbers look in JSON, and their bounds."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, PlainSerializer
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from twinward.core.errors import BadInput
from twinward_crypto.homomorphic.parameters import MAX_BUNDLE_BYTES

MAX_HANDLES = 8
"""Patients whose records may be asked for at once."""


def decode_base64(text: str) -> bytes:
    """RFC 4648 section 3.3 and 3.5: no other characters, no other padding; one text for the same bytes.

    Raises ``ValueError``.
    """
    try:
        value = base64.b64decode(text, validate=True)
    except binascii.Error:
        value = b""
    if base64.b64encode(value).decode() != text:
        raise ValueError("not base64 as RFC 4648 writes it")
    return value


def _read(told: object) -> object:
    """Text is base64, bytes are themselves."""
    if not isinstance(told, str):
        return told
    try:
        return decode_base64(told)
    except ValueError as error:
        raise PydanticCustomError("base64_decode", "not base64 as RFC 4648 writes it") from error


def _written(value: bytes) -> str:
    return base64.b64encode(value).decode()


class _Base64Text:
    """What the JSON schema says of it."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(core), "type": "string", "format": "base64"}


Base64Bytes = Annotated[
    bytes,
    BeforeValidator(_read),
    PlainSerializer(_written, return_type=str, when_used="json"),
    _Base64Text(),
]
"""Bytes in Python, base64 in JSON."""
Encoded = Annotated[Base64Bytes, Field(max_length=MAX_BUNDLE_BYTES)]
Handle = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
QueryId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
"""128 random bits as hex, chosen by the vendor: what an answer is kept and fetched by."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Epoch = Annotated[int, Field(ge=0, lt=1 << 53)]
"""Digests and proofs are over RFC 8785 JSON, which has no exact form for larger integers."""
Seconds = Annotated[int, Field(ge=0, lt=253_402_300_800)]
"""A moment since 1970, before the year 10000: every one can be shown as a date."""
Milliseconds = Annotated[int, Field(ge=0, lt=253_402_300_800_000)]
"""The same, finer."""
Squared = Annotated[int, Field(ge=0, lt=1 << 40)]
"""A squared distance in squared levels, weights included."""
Nearest = Annotated[int, Field(ge=1, le=10_000)]
Weight = Annotated[int, Field(ge=0, le=1024)]


class Message(BaseModel):
    """What travels: never changed once made, and without members that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FacetValue(Message):
    """One value of a public facet (``Terms.facets``)."""

    facet: Annotated[str, Field(max_length=32)]
    value: Annotated[str, Field(max_length=64)]


Where = Annotated[tuple[FacetValue, ...], Field(min_length=1, max_length=8)]
"""Only entries that have all of these values are looked at."""


def values_of(where: tuple[FacetValue, ...] | None) -> dict[str, str]:
    """A filter as names and values. Raises ``BadInput``: a facet comes twice."""
    found = {one.facet: one.value for one in where or ()}
    if len(found) != len(where or ()):
        raise BadInput("a facet comes twice in the filter")
    return found


def where_of(values: Mapping[str, str]) -> tuple[FacetValue, ...] | None:
    """The same as it travels; None where nothing is filtered."""
    return tuple(FacetValue(facet=name, value=value) for name, value in sorted(values.items())) or None
