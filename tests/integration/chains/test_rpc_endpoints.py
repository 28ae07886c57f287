"""How endpoints are asked: busy and failing ones again, foreign answers never, and another one where there is one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, serve

from tests.anvil import FUNDED_KEY, running_anvil
from tests.dripping import DRIPS, FOR_S, dripping
from tests.integration.chains.consortium import LOG_ID, Consortium, leaf_hashes
from twinward_ledger.chains.rpc import RpcChain
from twinward_ledger.errors import ChainError, ChainUnavailable, WrongChain

CHAIN_ID = 31_337
OK = 200
Headers = dict[str, str]


@dataclass
class Script:
    """An endpoint that answers ``eth_chainId`` and ``eth_blockNumber``, after what it is told to do first.

    ``first`` is a status and headers for each of its first answers; ``change`` is done to every answer's object.
    """

    first: list[tuple[int, Headers]] = field(default_factory=list)
    chain_id: int = CHAIN_ID
    block: int = 7
    change: Callable[[dict[str, Any]], Any] = lambda answer: answer
    asked: list[str] = field(default_factory=list)

    def answer(self, raw: bytes | str) -> bytes:
        request = json.loads(raw)
        self.asked.append(request["method"])
        value = hex(self.chain_id if request["method"] == "eth_chainId" else self.block)
        return json.dumps(self.change({"jsonrpc": "2.0", "id": request["id"], "result": value})).encode()


@contextmanager
def over_http(script: Script) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = script.answer(self.rfile.read(int(self.headers["Content-Length"])))
            status, headers = script.first.pop(0) if script.first else (OK, {})
            self.send_response_only(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://user:secret@127.0.0.1:{server.server_port}/secret"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def over_websocket(script: Script) -> Iterator[str]:
    def converse(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(script.answer(message).decode())

    with serve(converse, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://user:secret@127.0.0.1:{server.socket.getsockname()[1]}/secret"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def asking(*urls: str, pauses: list[float] | None = None) -> Iterator[RpcChain]:
    waited = pauses if pauses is not None else []
    chain = RpcChain(",".join(urls), FUNDED_KEY, CHAIN_ID, timeout_s=2, pause=waited.append)
    try:
        yield chain
    finally:
        chain.close()


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_a_busy_or_failing_endpoint_is_asked_again_ever_later(status: int) -> None:
    script, pauses = Script(first=[(status, {})] * 4), list[float]()
    with over_http(script) as url, asking(url, pauses=pauses) as chain:
        assert chain.block_number() == 7
    assert pauses == [0.25, 0.5, 1, 2]


@pytest.mark.parametrize(
    ("headers", "waited"),
    [
        ({"Retry-After": "3"}, 3),
        ({"Retry-After": "0"}, 0.25),
        ({"Retry-After": "soon"}, 0.25),
        ({"Retry-After": "-5"}, 0.25),
        ({"Date": "Mon, 01 Jan 2035 00:00:00 GMT", "Retry-After": "Mon, 01 Jan 2035 00:00:04 GMT"}, 4),
        ({"Retry-After": "Mon, 01 Jan 2035 00:00:04 GMT"}, 0.25),
    ],
)
def test_it_is_left_alone_for_as_long_as_it_asks(headers: Headers, waited: float) -> None:
    pauses = list[float]()
    with over_http(Script(first=[(429, headers)])) as url, asking(url, pauses=pauses) as chain:
        assert chain.block_number() == 7
    assert pauses == [waited]


@pytest.mark.parametrize("begin", DRIPS.values(), ids=DRIPS)
def test_one_that_drips_is_given_up_in_time(begin: bytes) -> None:
    with dripping(begin) as port:
        chain = RpcChain(f"http://127.0.0.1:{port}", FUNDED_KEY, CHAIN_ID, timeout_s=0.2, pause=lambda _: None)
        began = time.monotonic()
        with pytest.raises(ChainUnavailable, match=r"did not answer within 0\.2 s \(asked 3 times\)"):
            chain.block_number()
        assert time.monotonic() - began < FOR_S / 2
        chain.close()


@pytest.mark.parametrize(
    ("status", "headers", "said", "pauses"),
    [
        (429, {}, r"429 Too Many Requests \(asked 5 times\)", 4),
        (503, {}, r"503 Service Unavailable \(asked 5 times\)", 4),
        (429, {"Retry-After": "3600"}, "429 Too Many Requests, and asks to be left alone for 3600 s", 0),
        (401, {}, "401 Unauthorized", 0),
        (301, {"Location": "http://127.0.0.1:9/"}, "301 Moved Permanently", 0),
        (204, {}, "204 No Content", 0),
    ],
)
def test_what_is_given_up_is_named(status: int, headers: Headers, said: str, pauses: int) -> None:
    waited = list[float]()
    with over_http(Script(first=[(status, headers)] * 9)) as url, asking(url, pauses=waited) as chain:
        with pytest.raises(ChainUnavailable, match=r"http://127\.0\.0\.1:\d+ answered " + said) as caught:
            chain.block_number()
        assert len(waited) == pauses
        assert "secret" not in str(caught.value)


def too_many(answer: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": answer["id"], "error": {"code": -32005, "message": "limit exceeded"}}


@pytest.mark.parametrize("opened", [over_http, over_websocket])
def test_a_limit_told_in_the_answer_is_one_too(opened: Callable[[Script], Any]) -> None:
    pauses = list[float]()
    refused = pytest.raises(ChainUnavailable, match=r"too many requests.*limit exceeded")
    with opened(Script(change=too_many)) as url, asking(url, pauses=pauses) as chain, refused:
        chain.block_number()
    assert len(pauses) == 4


@pytest.mark.parametrize("opened", [over_http, over_websocket])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda answer: answer | {"id": answer["id"] + 1}, id="the next"),
        pytest.param(lambda answer: answer | {"id": str(answer["id"])}, id="a string"),
        pytest.param(lambda answer: answer | {"id": float(answer["id"])}, id="a fraction"),
        pytest.param(lambda answer: answer | {"id": None}, id="null"),
        pytest.param(lambda answer: {key: answer[key] for key in ("jsonrpc", "result")}, id="none"),
        pytest.param(lambda answer: answer | {"id": bool(answer["id"])}, id="a truth"),
    ],
)
def test_an_answer_with_another_id_is_refused(
    opened: Callable[[Script], Any], change: Callable[[dict[str, Any]], Any]
) -> None:
    with opened(Script(change=change)) as url, asking(url) as chain:
        with pytest.raises(ChainUnavailable, match="answered another request"):
            chain.block_number()
        with pytest.raises(ChainUnavailable, match="answered another request"):
            chain.block_number()


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: answer | {"jsonrpc": "1.0"},
        lambda answer: answer | {"error": {"code": 1, "message": "both"}},
        lambda answer: {"jsonrpc": "2.0", "id": answer["id"]},
        lambda answer: [answer],
    ],
)
def test_what_is_no_json_rpc_is_refused(change: Callable[[dict[str, Any]], Any]) -> None:
    with over_http(Script(change=change)) as url, asking(url) as chain, pytest.raises(ChainUnavailable):
        chain.block_number()


def test_a_websocket_is_kept_and_opened_again_when_it_was_lost() -> None:
    script = Script()
    with over_websocket(script) as url, asking(url) as chain:
        assert (chain.block_number(), chain.block_number()) == (7, 7)
        assert script.asked == ["eth_chainId", "eth_blockNumber", "eth_blockNumber"]
        chain.close()  # as an idle connection that a proxy cut
        assert chain.block_number() == 7
    with asking(url) as chain, pytest.raises(ChainUnavailable, match=r"ws://127\.0\.0\.1:\d+ ") as caught:
        chain.block_number()
    assert "secret" not in str(caught.value)


def test_another_endpoint_of_the_chain_answers_at_once_and_is_kept_to() -> None:
    first, second = Script(), Script(block=8)
    pauses = list[float]()
    with over_websocket(second) as other, over_http(first) as url, asking(url, other, pauses=pauses) as chain:
        assert chain.block_number() == 7
        first.first = [(429, {"Retry-After": "3600"})]
        assert chain.block_number() == 8
        assert chain.block_number() == 8
        assert len(first.asked) == 3
    assert pauses == []


def test_all_that_failed_are_named() -> None:
    with ExitStack() as stack:
        one, other = (stack.enter_context(over_http(Script(first=[(status, {})] * 9))) for status in (503, 401))
        chain = stack.enter_context(asking(one, other))
        with pytest.raises(ChainUnavailable, match=r"answered 503 .*; .* answered 401 "):
            chain.block_number()


def test_an_endpoint_of_another_chain_is_not_turned_to() -> None:
    with ExitStack() as stack:
        urls = [stack.enter_context(over_http(one)) for one in (Script(first=[(401, {})] * 9), Script(chain_id=1))]
        chain = stack.enter_context(asking(*urls))
        with pytest.raises(WrongChain, match="is chain 1, configured is 31337"):
            chain.block_number()


def test_an_endpoint_that_lags_behind_is_not_turned_to() -> None:
    """It would make anchors look taken back that the chain holds."""
    first, second = Script(block=9), Script(block=8)
    with over_http(first) as url, over_http(second) as lagging, asking(url, lagging) as chain:
        assert chain.block_number() == 9
        first.first = [(401, {})]
        with pytest.raises(ChainUnavailable, match="lags behind: it is at block 8, 9 was seen"):
            chain.block_number()
        first.first, second.block = [(401, {})], 10
        assert chain.block_number() == 10


@pytest.mark.parametrize("uri", ["http://a,ftp://b", "http://a,", "http://a:port", "http://[", "ws:b", ""])
def test_what_can_be_no_endpoint_says_what_can(uri: str) -> None:
    with pytest.raises(ChainError, match="several of one chain with commas"):
        RpcChain(uri, FUNDED_KEY, CHAIN_ID)


@pytest.mark.slow
def test_a_whole_anchor_on_a_real_node_over_a_websocket() -> None:
    with running_anvil() as node:
        chain = RpcChain(f"http://127.0.0.1:9,{node.url.replace('http', 'ws')}", FUNDED_KEY, node.chain_id)
        consortium = Consortium.on(chain, hospitals=3, quorum=2)
        consortium.offer(leaf_hashes(33), time_s=1_767_225_600)
        assert [one.size for one in consortium.anchor.history(LOG_ID)] == [33]
        chain.close()
