"""``twinward vendor``: ask hospitals encrypted questions. Needs the extra ``vendor`` only."""

from __future__ import annotations

import ipaddress
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from twinward.cli.screen import (
    JsonOption,
    YesOption,
    confirm,
    err,
    errors_taught,
    out,
    read_input,
    say,
    show_json,
    table,
)
from twinward.errors import BadInput, NotAuthenticated

if TYPE_CHECKING:
    import httpx

    from twinward.client import Matches, VendorClient
    from twinward.client.messages import Terms

app = typer.Typer(help="Ask hospitals which patients are like this one, encrypted.", no_args_is_help=True)

TOKEN_VARIABLE = "TWINWARD_TOKEN"  # noqa: S105 - the name of a variable
MODES = ("gated", "vendor-key", "matrix")
UrlArgument = Annotated[str, typer.Argument(help="The hospital's address, e.g. https://twinward.st-anna.example.")]
TokenOption = Annotated[
    Path | None, typer.Option("--token-file", help="A file with the token. Default: TWINWARD_TOKEN in the environment.")
]
PlainOption = Annotated[bool, typer.Option("--plain-http", help="Send the token over http:// beyond this machine.")]


@app.callback()
def _vendor() -> None:
    """Ask hospitals which patients are like this one, encrypted.

    The token comes from TWINWARD_TOKEN or --token-file, never from the command line, which others can see.
    """


@app.command()
def schema(
    url: UrlArgument, token_file: TokenOption = None, plain_http: PlainOption = False, as_json: JsonOption = False
) -> None:
    """What a hospital answers: its features and units, its modes, and what each mode leaks.

    Exit codes: 0, 5 no token, 6 the hospital refuses, 7 it does not answer.

    Example: twinward vendor schema https://twinward.st-anna.example --token-file acme.token
    """
    with errors_taught(as_json=as_json), _client(url, token_file, plain_http=plain_http) as client:
        terms = client.schema()
        if as_json:
            show_json(terms.model_dump(mode="json"))
            return
        say(f"{terms.hospital}, epoch {terms.epoch}; at least {terms.minimum_count} matches, or none are told")
        features = table("feature", "unit", "from", "to", "what")
        for one in terms.feature_schema.features:
            features.add_row(one.name, one.unit, f"{one.low:g}", f"{one.high:g}", one.title)
        out.print(features, markup=False)
        for mode in terms.modes:
            say(f"{mode.mode.value}: {mode.leakage}")


@app.command()
def query(
    url: UrlArgument,
    mode: Annotated[str, typer.Option(help=f"How to ask: {', '.join(MODES)}. `vendor schema` says what each leaks.")],
    values: Annotated[
        Path | None, typer.Option(help='A JSON object, e.g. {"hba1c_percent": 8.2}; "-" reads it.')
    ] = None,
    feature: Annotated[list[str] | None, typer.Option(help="name=value in clinical units; may be repeated.")] = None,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="How near: a share of each feature's range, 0 to 1.")
    ] = 0.05,
    yes: YesOption = False,
    token_file: TokenOption = None,
    plain_http: PlainOption = False,
    as_json: JsonOption = False,
) -> None:
    """Which patients are like this one? Says what the mode leaks and how much would be sent, and asks, before it sends.

    Exit codes: 0, 1 you said no, 2 a bad question, 5 no token, 6 refused or no budget left, 7 no answer.

    Example: twinward vendor query https://twinward.st-anna.example --mode gated --feature hba1c_percent=8.2
    --feature age=61 --threshold 0.1
    """
    with errors_taught(as_json=as_json):
        if mode not in MODES:
            raise BadInput(f"there is no mode {mode!r}", hint=f"use one of: {', '.join(MODES)}")
        question = _question(values, feature or [])
        gate = _BeforeSending(yes=yes)
        with _client(url, token_file, plain_http=plain_http, gate=gate) as client:
            gate.terms, gate.mode = client.schema(), mode
            matches = _ask(client, mode, question, threshold)
        if as_json:
            show_json(_shown(matches))
        else:
            _print(matches)


@app.command()
def budget(
    url: UrlArgument, token_file: TokenOption = None, plain_http: PlainOption = False, as_json: JsonOption = False
) -> None:
    """How many queries are left in the running epoch.

    Exit codes: 0, 5 no token, 6 the hospital refuses, 7 it does not answer.

    Example: twinward vendor budget https://twinward.st-anna.example
    """
    with errors_taught(as_json=as_json), _client(url, token_file, plain_http=plain_http) as client:
        left = client.budget()
        if as_json:
            show_json(left.model_dump(mode="json"))
        else:
            say(f"{left.remaining} queries left in epoch {left.epoch}")


@app.command()
def results(
    url: UrlArgument, token_file: TokenOption = None, plain_http: PlainOption = False, as_json: JsonOption = False
) -> None:
    """What was released to you in the running epoch, oldest first.

    Exit codes: 0, 5 no token, 6 the hospital refuses, 7 it does not answer.

    Example: twinward vendor results https://twinward.st-anna.example --json
    """
    with errors_taught(as_json=as_json), _client(url, token_file, plain_http=plain_http) as client:
        found = client.results()
        if as_json:
            show_json({"results": [_shown(one) for one in found]})
            return
        if not found:
            say("nothing was released to you in this epoch")
        for one in found:
            _print(one)


@dataclass
class _BeforeSending:
    """Looks at what is about to leave this machine, says so, and asks: once, before the first part of a query."""

    yes: bool
    terms: Terms | None = None
    mode: str = ""
    asked: bool = field(default=False, init=False)

    def __call__(self, request: httpx.Request) -> None:
        """Called by the HTTP client with every request, before any of it is sent."""
        if request.method != "POST" or self.asked or self.terms is None:
            return
        self.asked = True
        leakage = next((one.leakage for one in self.terms.modes if one.mode.value == self.mode), "")
        size = len(request.read())
        err.print(f"to {self.terms.hospital} in {self.mode} mode: {size:,} bytes", markup=False, soft_wrap=True)
        err.print(f"what this mode leaks: {leakage}", markup=False, soft_wrap=True)
        confirm("Send the query? It spends one of your budget.", yes=self.yes)


@contextmanager
def _client(
    url: str, token_file: Path | None, *, plain_http: bool, gate: _BeforeSending | None = None
) -> Iterator[VendorClient]:
    import httpx

    from twinward.client import VendorClient
    from twinward.client.vendor import DEFAULT_TIMEOUT_S

    _require_private(url, plain_http=plain_http)
    token = _token(token_file)
    hooks: dict[str, list[Callable[..., Any]]] = {"request": [gate]} if gate else {}
    with (
        httpx.Client(timeout=DEFAULT_TIMEOUT_S, event_hooks=hooks) as http,
        VendorClient(url, token, http=http) as client,
    ):
        yield client


def _require_private(url: str, *, plain_http: bool) -> None:
    """A token must not cross a network in the clear."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.scheme not in ("http", "https") or not host:
        raise BadInput("the hospital's address is not a URL", hint="for instance https://twinward.example")
    if parts.scheme == "http" and not plain_http and not _is_loopback(host):
        raise BadInput("plain http would show your token to the network", hint="use https://, or give --plain-http")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token(file: Path | None) -> str:
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


def _question(file: Path | None, features: list[str]) -> dict[str, float]:
    """Feature values from a file and from options. Raises ``BadInput``."""
    found: dict[str, float] = {} if file is None else _values_of(read_input(file))
    for text in features:
        name, equals, number = text.partition("=")
        try:
            value = float(number)
        except ValueError:
            equals, value = "", 0.0
        if not equals or not name or not math.isfinite(value):
            raise BadInput(f"--feature {text!r} is not name=value", hint="for instance --feature hba1c_percent=8.2")
        if name in found:
            raise BadInput(f"{name} is given twice")
        found[name] = value
    if not found:
        raise BadInput("a query needs at least one feature", hint="give --values or --feature")
    return found


def _values_of(raw: bytes) -> dict[str, float]:
    try:
        pairs = json.loads(raw, object_pairs_hook=list, parse_constant=lambda name: name)
    except (ValueError, RecursionError):
        raise BadInput("the values are not JSON", hint='for instance {"hba1c_percent": 8.2, "age": 61}') from None
    found: dict[str, float] = {}
    for pair in pairs if isinstance(pairs, list) else [None]:
        if not isinstance(pair, tuple) or isinstance(pair[1], bool) or not isinstance(pair[1], int | float):
            raise BadInput("the values are a JSON object of numbers", hint='for instance {"hba1c_percent": 8.2}')
        if pair[0] in found:
            raise BadInput(f"{pair[0]} is given twice")
        try:
            found[pair[0]] = float(pair[1])
        except OverflowError:
            raise BadInput(f"{pair[0]} is out of range") from None
    return found


def _ask(client: VendorClient, mode: str, values: dict[str, float], threshold: float) -> Matches:
    if mode == "gated":
        return client.query_gated(values, threshold=threshold)
    if mode == "vendor-key":
        return client.query_vendor_key(values, threshold=threshold)
    return client.query_matrix(values, threshold=threshold)


def _shown(matches: Matches) -> dict[str, Any]:
    return asdict(matches) | {"mode": matches.mode.value}


def _print(matches: Matches) -> None:
    many = "a withheld number of" if matches.count is None else str(matches.count)
    say(f"{matches.mode.value}, epoch {matches.epoch}: {many} matches, {len(matches.handles)} told")
    for number, handle in enumerate(matches.handles):
        distance = f"  squared distance {matches.distances[number]}, noise included" if matches.distances else ""
        say(f"  {handle}{distance}")
    if matches.withheld:
        say(matches.withheld)
    say(f"{matches.budget_left} queries left")
    if matches.upload_bytes:
        err.print(f"sent {matches.upload_bytes:,} encrypted bytes", markup=False)
