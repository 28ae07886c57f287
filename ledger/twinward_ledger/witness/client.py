"""A witness somewhere else, asked over HTTP: what a log holds of it (``WitnessPeer``). Speaks c2sp.org/tlog-witness.

Whatever a witness does, one request ends within ``timeout_s`` in all, reads a bounded answer, and comes out as a typed
``WitnessRefused``. Redirects are not followed and no proxy of the environment is used: the URL in the policy is where
the witness is. Nothing in an answer is trusted here; ``Cosigning`` verifies it.
"""

from __future__ import annotations

import time

from twinward_crypto.errors import InvalidSignature
from twinward_ledger.deadline import Connections
from twinward_ledger.errors import (
    MalformedCheckpoint,
    MalformedEvidence,
    NotSignedByLog,
    SplitView,
    StaleProof,
    WitnessDown,
    WitnessLied,
    WitnessRefused,
    WitnessSlow,
)
from twinward_ledger.formats.checkpoint import Checkpoint
from twinward_ledger.formats.cosignature import log_id
from twinward_ledger.formats.key_history import KeyHistory
from twinward_ledger.formats.note import Note, VerifierKey
from twinward_ledger.witness import evidence, wire
from twinward_ledger.witness.interfaces import Cosignature, Proposal

TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 2.0
_SHOWN_CHARS = 200


class HttpWitness:
    """One witness.

    Args:
        key: its cosigner key.
        url: its submission prefix.
        log: the log that asks; a split view's evidence must be about it.
        timeout_s: how long a request may take in all.
    """

    def __init__(self, key: VerifierKey, url: str, log: VerifierKey, *, timeout_s: float = TIMEOUT_S) -> None:
        import httpx  # not for a log whose witnesses are all in its own process

        self.key = key
        self.url = url.rstrip("/")
        self._logs: tuple[VerifierKey, ...] = (log,)
        self._timeout_s = timeout_s
        self._sizes: dict[str, int] = {}
        self._connections = Connections()
        self._http = httpx.Client(
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S)),
            limits=httpx.Limits(max_connections=2, max_keepalive_connections=1, keepalive_expiry=60),
            trust_env=False,
            follow_redirects=False,
            headers={"accept-encoding": "identity"},
        )

    def follow(self, log: KeyHistory) -> None:
        """Know all keys of the log that asks: a split view's evidence may be about any of them."""
        self._logs = log.keys

    def last_size(self, origin: str) -> int:
        """The largest size it was seen to cosign in this process; 0 if none was."""
        return self._sizes.get(origin, 0)

    def cosign(self, proposal: Proposal) -> Cosignature:
        """Ask for a cosignature. The answer is parsed, not verified.

        Raises:
            WitnessRefused: and its subclasses, for whatever else it did.
        """
        origin, size = _place(proposal.note)
        headers = {"content-type": "text/plain; charset=utf-8"}
        if proposal.domain is not None:
            headers[wire.ANCHOR_HEADER] = wire.AnchorHeader(proposal.domain, proposal.time_s).encode()
        body = wire.encode_request(proposal)
        status, kind, answer = self._exchange("POST", wire.ADD_CHECKPOINT, body, headers)
        if status == 200:
            cosignature = wire.parse_answer(answer, self.key, proposal.time_s)
            self._sizes[origin] = size
            return cosignature
        if status == 409:
            raise self._conflict(kind, answer, proposal, origin)
        kind_of_refusal = WitnessDown if status >= 500 or status == 429 else WitnessRefused
        kind_of_refusal = NotSignedByLog if status == 403 else kind_of_refusal
        raise kind_of_refusal(f"answered {status}: {_shown(answer)}")

    def newest(self, origin: str) -> bytes | None:
        """The largest checkpoint it says it cosigned of a log; None if it says none. Not verified."""
        status, _, answer = self._exchange("GET", f"/logs/{log_id(origin).hex()}/checkpoint", b"", {})
        if status == 404:
            return None
        if status != 200:
            raise WitnessRefused(f"answered {status}: {_shown(answer)}")
        return answer

    def hang_up(self) -> None:
        """Close the connection; a request that is under way fails."""
        self._http.close()

    def _conflict(self, kind: str, answer: bytes, proposal: Proposal, origin: str) -> WitnessRefused:
        if kind == wire.SIZE_TYPE:
            size = wire.parse_size(answer)
            self._sizes[origin] = size
            if size == proposal.old_size:
                return WitnessLied(f"refused a proof from size {size} and says that this is where it is")
            return StaleProof(f"it is at size {size}", size=size)
        if kind != evidence.MEDIA_TYPE:  # a witness of another make: it holds another root of this size
            return WitnessRefused(f"holds another checkpoint of this size: {_shown(answer)}")
        try:
            found = evidence.verify(answer, *self._logs)
        except MalformedEvidence as error:
            return WitnessLied(f"claims a split view that does not verify: {error}")
        return SplitView(found.statement, seen=found.notes[0], offered=found.notes[1])

    def _exchange(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, str, bytes]:
        """One request; its status, media type and bounded body. The time limit is for all of it together."""
        import httpx

        answer, until = bytearray(), time.monotonic() + self._timeout_s
        slow = WitnessSlow(f"did not answer within {self._timeout_s:g} s")
        traced = {"trace": self._connections.trace}
        try:
            with (
                self._connections.cut_after(self._timeout_s),
                self._http.stream(
                    method, self.url + path, content=body, headers=headers, extensions=traced
                ) as response,
            ):
                # httpx unpacks whatever comes, and 64 KiB of zstd are gigabytes: what is packed is not looked into.
                if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
                    raise WitnessLied("answered packed, which it was not asked for")
                for chunk in response.iter_raw():
                    answer += chunk
                    if len(answer) > wire.MAX_ANSWER_BYTES:
                        raise WitnessLied("answered with too much")
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        except httpx.ConnectTimeout as error:
            raise WitnessDown("cannot be reached: no connection in time") from error
        except httpx.TimeoutException as error:
            raise slow from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, RuntimeError) as error:
            # RuntimeError: the client was closed meanwhile; httpx has no type of its own for that
            if time.monotonic() >= until:
                raise slow from error
            raise WitnessDown(f"cannot be reached: {type(error).__name__}") from error
        if time.monotonic() >= until:  # an answer without a length ends where it was cut off
            raise slow
        return response.status_code, kind, bytes(answer)


def _place(note: bytes) -> tuple[str, int]:
    try:
        checkpoint = Checkpoint.parse(Note.parse(note).text)
    except (MalformedCheckpoint, InvalidSignature) as error:
        raise WitnessRefused(f"not a checkpoint: {error}") from error
    return checkpoint.origin, checkpoint.size


def _shown(answer: bytes) -> str:
    """What a stranger said, fit for a status line."""
    text = answer[:_SHOWN_CHARS].decode("utf-8", "replace")
    return "".join(char if char.isprintable() else " " for char in text).strip() or "nothing"
