"""Telling an address of the hospital's own that something happened (a webhook)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from twinward.core.errors import Unavailable
from twinward_ledger.deadline import Connections

TIMEOUT_S: Final = 5.0


def post(url: str, body: bytes, headers: Mapping[str, str] | None = None, *, timeout_s: float = TIMEOUT_S) -> None:
    """Post JSON to a receiver that an operator named. Raises ``Unavailable`` unless it answers with a 2xx in time.

    Redirects are not followed and no proxy is used, so that it goes to where the operator wrote and nowhere else;
    whatever it answers with is not read.
    """
    import httpx  # costs a fifth of a second, and most processes never tell anybody

    connections = Connections()
    said = {"content-type": "application/json"} | dict(headers or {})
    try:
        with (
            connections.cut_after(timeout_s),
            httpx.Client(timeout=timeout_s, follow_redirects=False, trust_env=False) as client,
            client.stream("POST", url, content=body, headers=said, extensions={"trace": connections.trace}) as answer,
        ):
            status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:  # the last: no name that IDNA knows
        raise Unavailable(f"the receiver of alerts does not answer: {type(error).__name__}") from None
    if not 200 <= status < 300:
        raise Unavailable(f"the receiver of alerts answers with status {status}")
