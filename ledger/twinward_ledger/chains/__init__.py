"""Chains, chosen by URI from an explicit map. Each passes ``testing/chain_conformance.py``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from twinward_ledger.chains.interfaces import ChainClient
from twinward_ledger.chains.late import LateChain, id_in
from twinward_ledger.errors import ChainError

_Opener = Callable[[str, int | None, bytes | None, Callable[[], int] | None], ChainClient]
_FORMS: Final = "embedded:PATH, or http://, https://, ws:// or wss:// and a host (several with commas between)"


def open_chain(
    uri: str, *, chain_id: int | None = None, key: bytes | None = None, now_s: Callable[[], int] | None = None
) -> ChainClient:
    """Open the chain that a URI names.

    Args:
        uri: ``embedded:PATH`` for a file; ``http://…``, ``https://…``, ``ws://…`` or ``wss://…`` for a JSON-RPC
            endpoint, several of one chain with commas between.
        chain_id: the chain it must be; a JSON-RPC endpoint needs one, a new file gets it.
        key: 32 bytes, the account's secret key; a JSON-RPC endpoint needs one, a new file gets it.
        now_s: the embedded chain's clock, Unix seconds; the system's if None.

    Raises:
        ChainError: no chain is known for this URI, or it lacks what it needs.
        ChainUnavailable: it does not answer.
        WrongChain: it is another chain.
    """
    scheme = uri.partition(":")[0].lower()
    opener = _OPENERS.get(scheme)
    if opener is None:
        raise ChainError(f"no chain is known for {scheme!r}: use {_FORMS}")
    return opener(uri, chain_id, key, now_s)


# The backends are imported where they are opened: py-evm and web3 each take half a second.
def _open_embedded(uri: str, chain_id: int | None, key: bytes | None, now_s: Callable[[], int] | None) -> ChainClient:
    path = uri.partition(":")[2]
    if not path:
        raise ChainError("embedded: needs the path of its file, e.g. embedded:chain.db")

    def start() -> ChainClient:
        from twinward_ledger.chains.embedded import EmbeddedChain

        if now_s is None:
            return EmbeddedChain(path, chain_id=chain_id, key=key)
        return EmbeddedChain(path, chain_id=chain_id, key=key, now_s=now_s)

    kept = id_in(Path(path))
    return start() if kept is None else LateChain(Path(path), kept, chain_id, start)


def _open_rpc(uri: str, chain_id: int | None, key: bytes | None, _: Callable[[], int] | None) -> ChainClient:
    from twinward_ledger.chains.rpc import RpcChain

    if not all(_host_of(url) for url in uri.split(",")):
        raise ChainError("a JSON-RPC endpoint needs a host, e.g. http://127.0.0.1:8545")
    if key is None or chain_id is None:
        raise ChainError("a JSON-RPC endpoint needs the account's key and the chain id it must have")
    return RpcChain(uri, key, chain_id)


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url.strip()).hostname
    except ValueError:
        return None


_OPENERS: Final[dict[str, _Opener]] = {
    "embedded": _open_embedded,
    "http": _open_rpc,
    "https": _open_rpc,
    "ws": _open_rpc,
    "wss": _open_rpc,
}
