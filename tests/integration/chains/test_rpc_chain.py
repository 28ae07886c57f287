"""The JSON-RPC chain when things go wrong: dead, foreign, lying or lesser endpoints. And open_chain's choices."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.anvil import FUNDED_KEY, running_anvil
from tests.integration.chains.consortium import LOG_ID, Consortium, leaf_hashes
from twinward_contracts.artefacts import load
from twinward_contracts.bindings import BudgetLedger, WitnessSet
from twinward_ledger.chains import open_chain
from twinward_ledger.chains.embedded import EmbeddedChain
from twinward_ledger.chains.interfaces import ChainClient
from twinward_ledger.chains.rpc import RpcChain
from twinward_ledger.errors import ChainError, ChainUnavailable, TransactionReverted, Unfunded, WrongChain

Answer = Callable[[dict[str, Any]], tuple[int, bytes]]
NOBODY = "0x000000000000000000000000000000000000dEaD"
NO_ANSWER = 0
POOR_KEY = b"\x42" * 32


def result(request: dict[str, Any], value: Any) -> tuple[int, bytes]:
    return 200, json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": value}).encode()


@contextmanager
def endpoint(answer: Answer) -> Iterator[str]:
    """A real HTTP server that answers as told, or hangs up."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = answer(request)
            if status == NO_ANSWER:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def uses(chain: ChainClient) -> list[Callable[[], Any]]:
    artefact = load("BudgetLedger")
    return [
        chain.block_number,
        lambda: chain.deploy(artefact, NOBODY, chain.sender, 1),
        lambda: chain.call(NOBODY, artefact, "currentEpoch"),
        lambda: chain.transact(NOBODY, artefact, "grantQueries", b"v" * 32, 1),
        lambda: chain.events(NOBODY, artefact, "QueriesGranted"),
    ]


def test_nothing_is_asked_before_the_first_use() -> None:
    chain = RpcChain("http://user:secret@127.0.0.1:9/path-secret", FUNDED_KEY, 1, timeout_s=1)
    assert chain.chain_id == 1
    assert chain.sender == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    with pytest.raises(ChainUnavailable, match=r"http://127\.0\.0\.1:9 ") as caught:
        chain.block_number()
    assert "secret" not in str(caught.value) + repr(chain)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    chain.close()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda _: (200, b"not json"), id="no JSON"),
        pytest.param(lambda _: (200, b""), id="empty"),
        pytest.param(lambda _: (200, b"[]"), id="a list"),
        pytest.param(lambda _: (200, b'"text"'), id="a string"),
        pytest.param(lambda _: (500, b"{}"), id="server error"),
        pytest.param(lambda _: (403, b"{}"), id="forbidden"),
        pytest.param(lambda request: result(request, None), id="null"),
        pytest.param(lambda request: result(request, "nonsense"), id="no number"),
        pytest.param(lambda request: result(request, {"a": []}), id="an object"),
        pytest.param(
            lambda request: (200, json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": "odd"}).encode()),
            id="an odd error",
        ),
        pytest.param(
            lambda request: (
                200,
                json.dumps(
                    {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": "no such method"}}
                ).encode(),
            ),
            id="no such method",
        ),
    ],
)
def test_every_nonsense_is_translated(answer: Answer) -> None:
    def lies_later(request: dict[str, Any]) -> tuple[int, bytes]:
        return result(request, "0x1") if request["method"] == "eth_chainId" else answer(request)

    for behaviour in (answer, lies_later):
        with endpoint(behaviour) as url:
            chain = RpcChain(url, FUNDED_KEY, 1, timeout_s=2, pause=lambda _: None)
            for use in uses(chain):
                with pytest.raises(ChainError):
                    use()
            chain.close()


def test_another_chain_is_refused() -> None:
    with endpoint(lambda request: result(request, "0x2a")) as url:
        chain = RpcChain(url, FUNDED_KEY, 43)
        for use in uses(chain):
            with pytest.raises(WrongChain, match=r"42.*43"):
                use()
        chain.close()


@pytest.mark.parametrize("key", [b"", bytes(32), b"\xff" * 32, b"\x5a" * 31])
def test_a_bad_key_is_refused_and_not_quoted(key: bytes) -> None:
    with pytest.raises(ChainError) as caught:
        RpcChain("http://127.0.0.1:1", key, 1)
    assert "5a5a" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_no_repr_holds_the_key() -> None:
    chain = RpcChain("http://127.0.0.1:1", b"\x5a" * 32, 1)
    assert "5a5a5a" not in repr(chain) + repr(vars(chain))
    assert "ZZZ" not in repr(vars(chain))
    chain.close()


def test_open_chain_chooses_by_scheme(tmp_path: Path) -> None:
    embedded = open_chain(f"embedded:{tmp_path / 'chain.db'}", chain_id=5, now_s=lambda: 1_800_000_000)
    assert isinstance(embedded, EmbeddedChain)
    assert embedded.chain_id == 5
    embedded.close()
    for url in ("http://127.0.0.1:1", "https://chain.example/rpc", "wss://chain.example", "ws://[::1]:8546,http://b:1"):
        remote = open_chain(url, chain_id=5, key=FUNDED_KEY)
        assert isinstance(remote, RpcChain)
        remote.close()


@pytest.mark.parametrize(
    ("uri", "hint"),
    [
        ("", "embedded:PATH"),
        ("chain.db", "embedded:PATH"),
        ("ftp://host", "embedded:PATH"),
        ("embedded:", "needs the path"),
        ("http://", "needs a host"),
        ("http:///path", "needs a host"),
        ("https://host", "key and the chain id"),
        ("wss://", "needs a host"),
        ("http://[::1", "needs a host"),
        ("http://a,http://", "needs a host"),
    ],
)
def test_a_uri_that_cannot_work_says_what_would(uri: str, hint: str) -> None:
    with pytest.raises(ChainError, match=hint):
        open_chain(uri)


@pytest.mark.slow
def test_a_whole_anchor_on_a_real_node_and_its_refusals() -> None:
    with running_anvil() as node:
        chain = RpcChain(node.url, FUNDED_KEY, node.chain_id)
        consortium = Consortium.on(chain, hospitals=3, quorum=2)
        tree = leaf_hashes(33)
        now = 1_767_225_600
        consortium.offer(tree[:10], time_s=now)
        consortium.offer(tree, signers=(0, 2), time_s=now + 1)
        assert [one.size for one in consortium.anchor.history(LOG_ID)] == [10, 33]
        with pytest.raises(TransactionReverted, match="NotAppended"):
            consortium.anchor.anchor(LOG_ID, 33, bytes(32), now, [], consortium.cosign((0, 1), b"m"))
        with pytest.raises(TransactionReverted, match="InconsistentTree"):
            consortium.anchor.anchor(LOG_ID, 34, bytes(32), now + 1, [], consortium.cosign((0, 1), b"m"))
        chain.close()


@pytest.mark.slow
def test_a_chain_without_the_precompiles_is_refused_at_deployment() -> None:
    """Cancun has no EIP-2537: calls to its addresses succeed with no data, which the probe must not take for a yes."""
    with running_anvil(hardfork="cancun") as node:
        chain = RpcChain(node.url, FUNDED_KEY, node.chain_id)
        with pytest.raises(TransactionReverted) as caught:
            WitnessSet.deploy(chain)
        assert caught.value.error == "PrecompileFailed"
        assert caught.value.arguments == ("0x000000000000000000000000000000000000000b", 0)
        chain.close()


@pytest.mark.slow
def test_an_account_without_funds_is_told_so() -> None:
    with running_anvil() as node:
        chain = RpcChain(node.url, POOR_KEY, node.chain_id)
        with pytest.raises(Unfunded, match=f"{chain.sender} cannot pay for gas"):
            BudgetLedger.deploy(chain, WitnessSet.deploy(chain).address)
        chain.close()


@pytest.mark.slow
def test_a_node_that_went_away_is_unavailable() -> None:
    with running_anvil() as node:
        chain = RpcChain(node.url, FUNDED_KEY, node.chain_id, timeout_s=1)
        assert chain.block_number() == 0
    with pytest.raises(ChainUnavailable):
        chain.block_number()
    chain.close()


@pytest.mark.slow
def test_a_lost_answer_sends_nothing_twice() -> None:
    """The node takes a transaction but its answer is lost: the retry is told "already known", and that is success."""
    sent: list[str] = []

    with running_anvil() as node:

        def forward(request: dict[str, Any]) -> tuple[int, bytes]:
            body = json.dumps(request).encode()
            post = urllib.request.Request(node.url, body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(post, timeout=10) as answer:
                data = answer.read()
            if request["method"] == "eth_sendRawTransaction":
                sent.append(request["params"][0])
                if len(sent) == 1:
                    return NO_ANSWER, b""
            return 200, data

        with endpoint(forward) as url:
            chain = RpcChain(url, FUNDED_KEY, node.chain_id)
            budget = BudgetLedger.deploy(chain, WitnessSet.deploy(chain).address)
            assert len(sent) == 3  # two contracts, one of them twice
            assert sent[0] == sent[1] != sent[2]
            assert chain.block_number() == 2
            budget.grant_queries("vendor", 1)
            assert chain.block_number() == 3
            chain.close()
