"""``twinward twin watch``: follow twins over HTTP, across broken connections."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.errors import errors_taught
from twinward.cli.output import JsonOption, say, tell, visible_json
from twinward.cli.vendor.questions import token_of
from twinward.core.errors import BadInput, NotAuthenticated, NotFound, Refused, TwinwardError, Unavailable
from twinward.core.outbound import connection, require_private, why_silent
from twinward.core.vocabulary import Purpose

if TYPE_CHECKING:
    import httpx

_RETRIES = 30
_RETRY_S = 2.0
_READ_TIMEOUT_S = 40.0
"""Longer than two heartbeats: a connection that is silent for longer is dead."""
_BY_STATUS: dict[int, type[TwinwardError]] = {400: BadInput, 401: NotAuthenticated, 403: Refused, 404: NotFound}


def watch(
    url: Annotated[str, typer.Argument(help="The node's address, e.g. http://127.0.0.1:8040.")],
    twin: Annotated[str, typer.Argument(help="One twin; without it, every twin you may see.", show_default=False)] = "",
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="A file with the token. Default: TWINWARD_TOKEN in the environment."),
    ] = None,
    purpose: Annotated[Purpose, typer.Option(help="Why, as an HL7 v3 ActReason code.")] = Purpose.TREATMENT,
    fields: Annotated[str, typer.Option(help="Only these members, e.g. twinId,_revision,features/bmi.")] = "",
    count: Annotated[int, typer.Option(min=0, help="Stop after so many events; 0 never does.")] = 0,
    plain_http: Annotated[bool, typer.Option("--plain-http", help="Send the token over http:// beyond here.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Follow twins as they change, until Ctrl-C. What a broken connection missed is told when it is back.

    Every event told is an access in the hospital's log. With --json, one JSON object a line. Exit codes: 0, 3 no such
    twin, 5 no token, 6 policy or consent says no (any more), 7 the node does not answer.

    Example: twinward twin watch http://127.0.0.1:8040 0198… --fields twinId,_revision,features/bmi
    """
    with errors_taught(as_json=as_json):
        require_private(url, plain_http=plain_http)
        query = {"purpose": purpose.value} | ({"fields": fields} if fields else {})
        address = f"{url.rstrip('/')}/api/1/twins" + (f"/{twin}" if twin else "")
        begun = "" if as_json else f"following {f'twin {twin}' if twin else 'every twin you may see'}; Ctrl-C ends it"
        for seen, event in enumerate(
            _events(address, token_of(token_file, url), query, begun, plain_http=plain_http), start=1
        ):
            if as_json:
                sys.stdout.write(visible_json(event, indent=None) + "\n")
                sys.stdout.flush()
            else:
                say(visible_json(event))
            if seen == count:
                return


def _events(
    address: str, token: str, query: dict[str, str], begun: str, *, plain_http: bool
) -> Iterator[dict[str, Any]]:
    """Twins as they change, across reconnections; ``begun`` is said once the stream stands, if it is anything.

    Raises what the node says, ``Unavailable`` where it says nothing.
    """
    import httpx

    last, failures = "", 0
    timeout = httpx.Timeout(10, read=_READ_TIMEOUT_S)
    told = {"authorization": f"Bearer {token}", "accept": "text/event-stream"}
    with connection(address, timeout=timeout, plain_http=plain_http) as client:
        while True:
            headers = told | ({"last-event-id": last} if last else {})
            try:
                with client.stream("GET", address, params=query, headers=headers) as response:
                    _require_stream(response)
                    if begun and not last:
                        tell(begun)
                    for name, event_id, data in _frames(response):
                        failures, last = 0, event_id or last
                        if name == "twin":
                            yield data
                        elif name == "end":
                            _refuse(data.get("error", {}))
            except httpx.HTTPError as error:
                failures += 1
                if not last or failures > _RETRIES:
                    message, hint = why_silent(error)
                    raise Unavailable(
                        f"the node does not answer: {message}", hint=hint or "check the address"
                    ) from None
                tell("the connection broke; trying again")
                time.sleep(_RETRY_S)


def _require_stream(response: httpx.Response) -> None:
    if response.status_code == 200 and response.headers.get("content-type", "").startswith("text/event-stream"):
        return
    try:
        error = json.loads(response.read()).get("error", {})
    except (ValueError, AttributeError):
        error = {}
    kind = _BY_STATUS.get(response.status_code, Unavailable)
    raise kind(str(error.get("message") or f"status {response.status_code}"), hint=str(error.get("hint", "")))


def _frames(response: httpx.Response) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, id and data of each event of the stream."""
    frame: dict[str, str] = {}
    for line in response.iter_lines():
        if line:
            name, _, value = line.partition(":")
            frame[name] = value.removeprefix(" ")
        elif "event" in frame:
            data = json.loads(frame.get("data") or "{}")
            yield frame["event"], frame.get("id", ""), data if isinstance(data, dict) else {}
            frame = {}


def _refuse(error: dict[str, Any]) -> None:
    kind = Refused if error.get("kind") == "AccessDenied" else Unavailable
    raise kind(str(error.get("message", "the node ended the stream")), hint=str(error.get("hint", "")))
