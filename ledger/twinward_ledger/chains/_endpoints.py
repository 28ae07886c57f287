"""How a chain's JSON-RPC endpoints are asked (JSON-RPC 2.0, over HTTP or a websocket), one or several for one chain.

Invariants, whatever endpoints and the network between do:

* an answer counts only if it bears this request's id; anything else is refused, and a websocket that sent it is left;
* an endpoint that is busy (429) or failing (5xx, no connection, no answer in time) is asked again after a pause, as
  long as it says itself (Retry-After), and the last failure is named; every request used here may be repeated: none
  but ``eth_sendRawTransaction`` changes anything, and the same signed bytes count once;
* the first endpoint that answers is kept to. Another is turned to only when it fails, and only if it is the chain that
  was configured and not behind what was seen already: a lagging one would make anchors look taken back.

No message holds more of a URL than scheme, host and port: the rest may hold a password or an API key.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, cast
from urllib.parse import urlsplit

from web3.providers.base import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from twinward_ledger.chains._lines import (
    MAX_WAIT_S,
    TRIES_BUSY,
    TRIES_SILENT,
    HttpLine,
    Line,
    NoAnswer,
    SocketLine,
)
from twinward_ledger.errors import ChainError, WrongChain

FORMS: Final = "http://HOST:PORT, https://HOST, ws://HOST:PORT or wss://HOST; several of one chain with commas between"
_BACKOFF_S: Final = 0.25
_RATE_LIMITS: Final = frozenset({429, -32005})
"""JSON-RPC error codes that say "too many requests" (EIP-1474: limit exceeded)."""

_LINES: Final[Mapping[str, Callable[[str, str, float], Line]]] = {
    "http": HttpLine,
    "https": HttpLine,
    "ws": SocketLine,
    "wss": SocketLine,
}


class Endpoint:
    """One endpoint: where it is, and what is known of it. Raises ``ChainError`` for a URL that cannot be one."""

    def __init__(self, url: str, timeout_s: float) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ChainError(f"a JSON-RPC endpoint is {FORMS}") from None
        line = _LINES.get(parts.scheme)
        if line is None or not parts.hostname:
            raise ChainError(f"a JSON-RPC endpoint is {FORMS}")
        self.name = f"{parts.scheme}://{parts.hostname}" + (f":{port}" if port else "")
        self.line = line(url, self.name, timeout_s)
        self.checked = False

    def ask(self, request: bytes, number: int) -> dict[str, Any]:
        """Send one request; the answer that bears its number. Raises ``NoAnswer``."""
        try:
            return _answer_of(self.name, self.line.ask(request), number)
        except NoAnswer:
            self.line.hang_up()  # what may still arrive there belongs to nothing that is asked from now on
            raise


class Endpoints(JSONBaseProvider):
    """A web3 provider over the endpoints of one chain. Requests go one at a time (``RpcChain`` sees to it).

    Args:
        urls: of the endpoints, in the order in which they are preferred.
        chain_id: the EIP-155 id that each must have.
        timeout_s: how long one request to one of them may take.
        pause: waits some seconds.
    """

    def __init__(
        self, urls: Sequence[str], chain_id: int, timeout_s: float, pause: Callable[[float], None] = time.sleep
    ) -> None:
        super().__init__()
        self._endpoints = [Endpoint(url, timeout_s) for url in urls]
        if not self._endpoints:
            raise ChainError(f"a JSON-RPC endpoint is {FORMS}")
        self._chain_id = chain_id
        self._pause = pause
        self._newest_block = 0

    @property
    def name(self) -> str:
        """The endpoint that is asked first now."""
        return self._endpoints[0].name

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Ask until one endpoint answers.

        Raises:
            WrongChain: one of them is another chain.
            NoAnswer: none answered; the message names the last failure of each.
        """
        tried, failures = 0, dict[Endpoint, NoAnswer]()
        while True:
            tried += 1
            for endpoint in self._in_turn(failures, tried):
                try:
                    answer = self._ask(endpoint, method, params)
                except NoAnswer as error:
                    failures[endpoint] = error
                    continue
                self._prefer(endpoint)
                self._notice(method, answer)
                return answer
            again = [one for one in failures.values() if tried < one.tries and (one.wait_s or 0) <= MAX_WAIT_S]
            if not again:
                raise NoAnswer(_told(failures, tried)) from None
            self._pause(min(max(one.wait_s or 0, _BACKOFF_S * 2 ** (tried - 1)) for one in again))

    def close(self) -> None:
        """Give back all connections."""
        for endpoint in self._endpoints:
            endpoint.line.hang_up()

    def _in_turn(self, failures: Mapping[Endpoint, NoAnswer], tried: int) -> Iterator[Endpoint]:
        """The endpoints that are worth asking in this round."""
        for endpoint in tuple(self._endpoints):
            failed = failures.get(endpoint)
            if failed is None or (tried <= failed.tries and (failed.wait_s or 0) <= MAX_WAIT_S):
                yield endpoint

    def _ask(self, endpoint: Endpoint, method: RPCEndpoint, params: Any) -> RPCResponse:
        if not endpoint.checked:
            self._check(endpoint)
        return self._exchange(endpoint, method, params)

    def _exchange(self, endpoint: Endpoint, method: str, params: Any) -> RPCResponse:
        request = self.encode_rpc_request(RPCEndpoint(method), params)
        return cast(RPCResponse, endpoint.ask(request, json.loads(request)["id"]))

    def _check(self, endpoint: Endpoint) -> None:
        """That an endpoint is this chain, and not behind what was seen of it. Raises ``WrongChain`` or ``NoAnswer``."""
        answered = _number(endpoint.name, self._exchange(endpoint, "eth_chainId", []))
        if answered != self._chain_id:
            raise WrongChain(f"{endpoint.name} is chain {answered}, configured is {self._chain_id}")
        if self._newest_block and len(self._endpoints) > 1:
            block = _number(endpoint.name, self._exchange(endpoint, "eth_blockNumber", []))
            if block < self._newest_block:
                raise NoAnswer(
                    f"{endpoint.name} lags behind: it is at block {block}, {self._newest_block} was seen",
                    tries=TRIES_SILENT,
                )
        endpoint.checked = True

    def _prefer(self, endpoint: Endpoint) -> None:
        """Keep to what answered. What failed is checked again before it is next believed."""
        if endpoint is not self._endpoints[0]:
            self._endpoints.remove(endpoint)
            for other in self._endpoints:
                other.checked = False
            self._endpoints.insert(0, endpoint)

    def _notice(self, method: str, answer: Mapping[str, Any]) -> None:
        """Remember the newest block that was seen: of a receipt, or because it was asked for."""
        found = answer.get("result")
        if method == "eth_getTransactionReceipt" and isinstance(found, dict):
            found = found.get("blockNumber")
        elif method != "eth_blockNumber":
            return
        with suppress(TypeError, ValueError):
            self._newest_block = max(self._newest_block, int(found, 16))  # type: ignore[arg-type] # checked by trying


def endpoints_of(uri: str) -> tuple[str, ...]:
    """The URLs that a setting names, commas between them."""
    return tuple(url.strip() for url in uri.split(","))


def _answer_of(name: str, raw: bytes, number: int) -> dict[str, Any]:
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError):
        raise NoAnswer(f"{name} answered what is no JSON-RPC") from None
    if not isinstance(answer, dict) or answer.get("jsonrpc") != "2.0":
        raise NoAnswer(f"{name} answered what is no JSON-RPC")
    bears, error = answer.get("id"), answer.get("error")
    answer.pop("error" if error is None else "result", None)  # some endpoints send both, one of them null
    if len(answer.keys() & {"result", "error"}) != 1:
        raise NoAnswer(f"{name} answered what is no JSON-RPC")
    unread = bears is None and error is not None  # JSON-RPC 2.0, section 5: the request's id could not be read
    if not unread and (type(bears) is not int or bears != number):
        raise NoAnswer(f"{name} answered another request than this one (its id differs): refused")
    if isinstance(error, dict) and error.get("code") in _RATE_LIMITS:
        said = ascii(str(error.get("message", ""))[:200])
        raise NoAnswer(f"{name} refused: too many requests ({said})", tries=TRIES_BUSY)
    return answer


def _number(name: str, answer: Mapping[str, Any]) -> int:
    try:
        return int(answer["result"], 16)
    except (KeyError, TypeError, ValueError):
        raise NoAnswer(f"{name} answered what is no chain's number") from None


def _told(failures: Mapping[Endpoint, NoAnswer], tried: int) -> str:
    """Every endpoint's last failure in a sentence."""
    often = f" (asked {tried} times)" if tried > 1 else ""
    return "; ".join(str(error) for error in failures.values()) + often
