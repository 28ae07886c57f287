"""Looking for a log that shows one history to some witnesses and another to the rest.

Each witness sees its own view only. Whoever asks all of them sees the contradiction: two roots for one size at once, or
a smaller tree that the larger one does not contain. For the second, the log's own files (``tlog_tiles``) are fetched
and the proof is made from them; what the log says about itself is believed only where it convicts it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import httpx

from twinward.core.errors import BadInput, Unavailable
from twinward.core.private_files import write_private
from twinward_crypto.errors import InvalidSignature
from twinward_ledger import merkle
from twinward_ledger.errors import InvalidProof, LedgerError, MalformedCheckpoint, WitnessRefused
from twinward_ledger.formats.checkpoint import Checkpoint, open_checkpoint
from twinward_ledger.formats.cosignature import log_id
from twinward_ledger.formats.note import VerifierKey
from twinward_ledger.formats.policy import QuorumPolicy
from twinward_ledger.log import tiles
from twinward_ledger.log.static_files import Tile
from twinward_ledger.witness.client import HttpWitness
from twinward_ledger.witness.evidence import SplitViewEvidence

EVIDENCE_FOLDER = "evidence"
TIMEOUT_S = 10.0


def keep_evidence(folder: Path, found: SplitViewEvidence) -> Path:
    """Write evidence into a folder, durably, under a name of its own; what is there already stays."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    sizes = "-".join(str(size) for size in dict.fromkeys((found.first.size, found.second.size)))
    path = folder / f"{log_id(found.origin).hex()[:16]}-{sizes}.split-view"
    if not path.exists():
        write_private(path, found.encoded)
    return path


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the witnesses of one log say.

    Attributes:
        seen: the size each witness is at, by its name in the policy.
        silent: why the others say nothing that counts.
        evidence: contradictions, proven.
        unexplained: pairs of views that could not be held against each other.
    """

    seen: dict[str, int] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)
    evidence: list[SplitViewEvidence] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)


def compare_witnesses(policy: QuorumPolicy, log_url: str = "") -> Comparison:
    """Ask every witness of a policy with one log, and hold what they cosigned against each other.

    Raises:
        BadInput: the policy has not exactly one log, or no witness with a URL.
        Unavailable: no witness answers.
    """
    if len(policy.logs) != 1 or not any(one.url for one in policy.witnesses):
        raise BadInput("comparing wants a policy with one log and witnesses with URLs")
    log, url = policy.logs[0][0], log_url or policy.logs[0][1]
    result = Comparison()
    views: dict[tuple[int, bytes], tuple[str, Checkpoint, bytes]] = {}
    for one in policy.witnesses:
        try:
            name, view = one.name, _view(HttpWitness(one.key, one.url, log), log)
        except WitnessRefused as error:
            result.silent[one.name] = str(error)
            continue
        result.seen[name] = view[0].size
        views.setdefault((view[0].size, view[0].root), (name, *view))
    if not result.seen:
        raise Unavailable("no witness says anything that this log signed", hint="; ".join(result.silent.values()))
    ordered = [views[place] for place in sorted(views)]
    for smaller, larger in pairwise(ordered):
        _hold_against(smaller, larger, log, url, result)
    return result


def _view(peer: HttpWitness, log: VerifierKey) -> tuple[Checkpoint, bytes]:
    try:
        note = peer.newest(log.name)
        if note is None:
            raise WitnessRefused("has cosigned nothing of this log")
        return open_checkpoint(note, log)[0], note
    except (MalformedCheckpoint, InvalidSignature) as error:
        raise WitnessRefused(f"shows a checkpoint that this log did not sign: {error}") from error
    finally:
        peer.hang_up()


def _hold_against(
    one: tuple[str, Checkpoint, bytes],
    other: tuple[str, Checkpoint, bytes],
    log: VerifierKey,
    url: str,
    result: Comparison,
) -> None:
    (name, small, small_note), (other_name, large, large_note) = one, other
    if small.size == large.size:
        result.evidence.append(SplitViewEvidence.of(small_note, large_note, log))
        return
    if small.size == 0:
        return
    try:
        node = TileReader(url, large.size).node
        prefix = merkle.root_at(small.size, node)
        proof = tuple(merkle.consistency_path(small.size, large.size, node))
        merkle.verify_consistency(small.size, large.size, proof, prefix, large.root)
        if prefix != small.root:
            found = SplitViewEvidence.of_sizes(small_note, large_note, log, prefix=prefix, proof=proof)
            result.evidence.append(found)
    except (LedgerError, InvalidProof, Unavailable) as error:
        result.unexplained.append(f"{name} at {small.size} against {other_name} at {large.size}: {error}")


class TileReader:
    """Nodes of a log's tree out of its tiles over HTTP. Not verified: whoever uses them holds the root against a note.

    Args:
        url: the log's prefix.
        size: of the tree to read.
    """

    def __init__(self, url: str, size: int) -> None:
        self._url = url.rstrip("/")
        self._size = size
        self._tile = lru_cache(maxsize=1024)(self._fetch)

    def node(self, level: int, index: int) -> bytes:
        """The hash of a complete subtree. Raises ``Unavailable``."""
        found = tiles.node(level, index, lambda tile: self._tile(*tile))
        if found is None:
            raise Unavailable("the log's files lack a node of the tree it signed")
        return found

    def _fetch(self, level: int, index: int) -> bytes:
        complete = (self._size >> (tiles.TILE_HEIGHT * level)) - index * tiles.TILE_WIDTH
        width = min(tiles.TILE_WIDTH, complete)
        if width < 1:
            return b""
        return fetch(f"{self._url}/{Tile(level, index, width).path}", most=tiles.TILE_BYTES)


def fetch(url: str, *, most: int) -> bytes:
    """A small file over HTTP, as it is and within ``TIMEOUT_S``. Raises ``Unavailable``."""
    started, content = time.monotonic(), bytearray()
    as_it_is = {"accept-encoding": "identity"}
    try:
        with httpx.stream("GET", url, timeout=TIMEOUT_S, trust_env=False, headers=as_it_is) as answer:
            if answer.headers.get("content-encoding", "identity").strip().lower() != "identity":
                raise Unavailable(f"{url} is answered packed, which was not asked for")
            for chunk in answer.iter_raw():
                content += chunk
                if len(content) > most:
                    raise Unavailable(f"{url} is longer than it may be")
                if time.monotonic() - started > TIMEOUT_S:  # httpx' own limit is for each read
                    raise Unavailable(f"{url} comes too slowly")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unavailable(f"{url} cannot be read: {type(error).__name__}") from None
    if answer.status_code != 200:
        raise Unavailable(f"{url} answers {answer.status_code}")
    return bytes(content)
