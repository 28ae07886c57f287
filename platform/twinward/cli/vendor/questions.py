"""What a vendor types: addresses, tokens, feature values, weights. Everything bad is named before anything is sent."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from twinward.cli.input import read_input, read_secret_input
from twinward.core.errors import BadInput, NotAuthenticated
from twinward.core.outbound import normalised, require_token

if TYPE_CHECKING:
    from twinward.features.schema import Value

TOKEN_VARIABLE = "TWINWARD_TOKEN"  # noqa: S105 - the name of a variable
MAX_TOKENS_BYTES = 64 << 10


def token_of(file: Path | None, url: str, tokens: Path | None = None) -> str:
    """The token for one node: from its file, from a file of tokens by address, or from the environment.

    Raises ``NotAuthenticated``, ``BadInput``.
    """
    if file is not None:
        text = _text_of(file)
    elif tokens is not None:
        text = tokens_of(tokens).get(normalised(url), "")
        if not text:
            raise NotAuthenticated(f"{tokens} has no token for {url}", hint="add the address and its token to it")
    else:
        text = os.environ.get(TOKEN_VARIABLE, "")
    if not text.strip():
        raise NotAuthenticated("there is no token", hint=f"set {TOKEN_VARIABLE}, or give --token-file")
    return require_token(text.strip())


def tokens_of(file: Path) -> dict[str, str]:
    """Tokens by address, from a JSON object ``{"https://st-anna.example": "twk_…"}``. Raises ``BadInput``."""
    hint = 'it holds a JSON object, {"https://st-anna.example": "<token>"}'
    try:
        pairs = json.loads(read_secret_input(file, "the tokens", most=MAX_TOKENS_BYTES), object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        pairs = None
    if not isinstance(pairs, _Pairs) or not all(isinstance(token, str) for _, token in pairs):
        raise BadInput(f"{file} does not hold tokens by address", hint=hint)
    found = {normalised(url): str(token) for url, token in pairs}
    if len(found) != len(pairs):
        raise BadInput(f"{file} names an address twice")
    return found


def token_for_each(files: list[Path], urls: list[str], tokens: Path | None, *, same_token: bool) -> list[str]:
    """The token of each hospital, in their order. One hospital's token is never sent to another one unasked.

    Raises ``NotAuthenticated``, ``BadInput``.
    """
    if files and tokens is not None:
        raise BadInput("give --token-file or --tokens, not both")
    if files and len(files) not in (1, len(urls)):
        raise BadInput("give one --token-file for each hospital, in their order")
    one_for_all = tokens is None and len(files) < 2 and len(urls) > 1
    if one_for_all and not same_token:
        raise BadInput(
            "one token would be sent to several hospitals, and each could use it at the others",
            hint="give --token-file once for each, or --tokens; --same-token if they did issue the same one",
        )
    return [token_of(files[number % len(files)] if files else None, url, tokens) for number, url in enumerate(urls)]


def known_hospitals_file() -> Path:
    """Where hospitals' keys are remembered, unless said otherwise: in the user's folder for settings."""
    return Path(typer.get_app_dir("twinward")) / "known-hospitals.json"


def _text_of(file: Path) -> str:
    try:
        return read_secret_input(file, "the token", most=1024).decode("ascii")
    except UnicodeDecodeError:
        raise BadInput(f"{file} does not hold a token") from None


def question_values(file: Path | None, features: list[str]) -> dict[str, Value]:
    """Feature values from a file and from ``name=value`` or ``name=value unit``. Raises ``BadInput``."""
    found: dict[str, Value] = {} if file is None else _values_of(read_input(file))
    for text in features:
        name, equals, rest = text.partition("=")
        number, _, unit = rest.strip().partition(" ")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not equals or not name or not math.isfinite(value):
            hint = 'for instance --feature hba1c_percent=8.2 or --feature "hba1c_percent=66 mmol/mol"'
            raise BadInput(f"--feature {text!r} is not name=value", hint=hint)
        if name in found:
            raise BadInput(f"{name} is given twice")
        found[name] = (value, unit.strip()) if unit.strip() else value
    if not found:
        raise BadInput("a query needs at least one feature", hint="give --values or --feature")
    return found


def weights_of(texts: list[str]) -> dict[str, int]:
    """Weights from ``name=whole number``. Raises ``BadInput``."""
    found: dict[str, int] = {}
    for text in texts:
        name, _, number = text.partition("=")
        if not name or not number.isascii() or not number.isdigit() or len(number) > 4:
            raise BadInput(f"--weight {text!r} is not name=whole number", hint="for instance --weight age=2")
        if name in found:
            raise BadInput(f"the weight of {name} is given twice")
        found[name] = int(number)
    return found


def where_given(texts: list[str]) -> dict[str, str]:
    """A filter from ``facet=value``. Raises ``BadInput``."""
    found: dict[str, str] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name or not value:
            raise BadInput(f"--where {text!r} is not facet=value", hint="for instance --where year=2026")
        if name in found:
            raise BadInput(f"the filter by {name} is given twice")
        found[name] = value
    return found


def _values_of(raw: bytes) -> dict[str, Value]:
    try:
        pairs = json.loads(raw, object_pairs_hook=_Pairs, parse_constant=lambda name: name)
    except (ValueError, RecursionError):
        raise BadInput("the values are not JSON", hint='for instance {"hba1c_percent": 8.2, "age": 61}') from None
    if not isinstance(pairs, _Pairs):
        raise BadInput("the values are a JSON object", hint='for instance {"hba1c_percent": 8.2, "age": 61}')
    found: dict[str, Value] = {}
    for name, value in pairs:
        if name in found:
            raise BadInput(f"{name} is given twice")
        found[name] = _value_of(name, value)
    return found


class _Pairs(list[tuple[str, object]]):
    """A JSON object as pairs, told apart from a JSON array."""


def _value_of(name: str, value: object) -> Value:
    number, unit = value if isinstance(value, list) and len(value) == 2 else (value, "")
    if isinstance(number, bool) or not isinstance(number, int | float) or not isinstance(unit, str):
        hint = 'for instance {"hba1c_percent": 8.2, "glucose_mg_dl": [7.2, "mmol/L"]}'
        raise BadInput("the values are numbers, or pairs of a number and its unit", hint=hint)
    try:
        return (float(number), unit) if isinstance(value, list) else float(number)
    except OverflowError:
        raise BadInput(f"{name} is out of range") from None
