"""What a vendor types: addresses, tokens, feature values, weights. Everything bad is named before anything is sent."""

from __future__ import annotations

import ipaddress
import json
import math
import os
from pathlib import Path
from urllib.parse import urlsplit

from twinward.cli.screen import read_input
from twinward.errors import BadInput, NotAuthenticated
from twinward.feature_schema import Value

TOKEN_VARIABLE = "TWINWARD_TOKEN"  # noqa: S105 - the name of a variable


def require_private(url: str, *, plain_http: bool) -> None:
    """A token must not cross a network in the clear. Raises ``BadInput``."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.scheme not in ("http", "https") or not host:
        raise BadInput("the hospital's address is not a URL", hint="for instance https://twinward.example")
    if parts.scheme == "http" and not plain_http and not _is_loopback(host):
        raise BadInput("plain http would show your token to the network", hint="use https://, or give --plain-http")


def token_of(file: Path | None) -> str:
    """The token from a file or the environment. Raises ``NotAuthenticated``, ``BadInput``."""
    text = os.environ.get(TOKEN_VARIABLE, "")
    if file is not None:
        try:
            text = read_input(file, most=1024).decode("ascii")
        except UnicodeDecodeError:
            raise BadInput(f"{file} does not hold a token") from None
    token = text.strip()
    if not token:
        raise NotAuthenticated("there is no token", hint=f"set {TOKEN_VARIABLE}, or give --token-file")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise BadInput("what was given is no token", hint="`twinward node add-system` prints one")
    return token


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


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
