"""A request as it leaves, its answer as it comes in within bounds, and every failure in our words."""

from __future__ import annotations

import json
import math
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from twinward.client.errors import AnswerMalformed, HospitalRefused, HospitalUnreachable
from twinward.core.errors import BadInput
from twinward.core.outbound import why_silent

if TYPE_CHECKING:
    import httpx

MAX_ANSWER_BYTES = 256 << 20
MAX_ERROR_BYTES = 64 << 10
_LONGEST_WAIT_S = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be sent: a method, a path below the hospital's address, and a JSON body or none.

    ``most``: bytes of an answer, unpacked, that are read at all. ``query_id``: what a query's answer is
    kept by at the hospital; empty where nothing is asked.
    """

    method: str
    path: str
    content: bytes | None = field(repr=False)
    most: int = MAX_ANSWER_BYTES
    query_id: str = ""
    patience_s: float = 0.0
    """How long an answer may take beyond the client's usual time."""

    def timeout(self, usual_s: float) -> httpx.Timeout:
        """For httpx: how long to wait."""
        import httpx

        return httpx.Timeout(usual_s, read=usual_s + self.patience_s)

    @property
    def if_silent(self) -> str:
        """What to do where no answer comes."""
        if not self.query_id:
            return "nothing of a query was sent; ask again"
        return (
            f"it may have been charged. Its answer costs nothing more: results(query_id={self.query_id!r}), "
            f"`twinward vendor results URL --query-id {self.query_id}`, or send() the prepared query again"
        )

    def headers(self, token: str) -> dict[str, str]:
        """What travels with it."""
        told = {"authorization": f"Bearer {token}", "accept-encoding": "gzip"}
        return told | ({"content-type": "application/json"} if self.content else {})

    def unpacking(self, response: httpx.Response) -> Unpacking:
        """What takes in the answer's body. An error's is short."""
        return Unpacking(response, self.most if response.status_code == HTTPStatus.OK else MAX_ERROR_BYTES)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: HTTP status, headers, and the body as unpacked within its bound."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes | bytearray = field(repr=False)


def transport_error(
    error: httpx.HTTPError | httpx.InvalidURL, *, hint: str = "", query_id: str = ""
) -> BadInput | HospitalUnreachable:
    """What the HTTP client could not do, in our words; ``hint`` where nothing better is known."""
    import httpx

    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return BadInput("the hospital's address is not a URL", hint="for instance https://twinward.example")
    message, better = why_silent(error)
    silent = HospitalUnreachable(f"the hospital does not answer: {message}", hint=better or hint)
    silent.query_id = query_id
    return silent


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that a hospital wants to be left alone (RFC 9110 section 10.2.3: seconds or a date), None if unsaid."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(min(int(text), _LONGEST_WAIT_S))
    try:
        until = parsedate_to_datetime(text).timestamp()
        now = parsedate_to_datetime(headers["date"]).timestamp() if "date" in headers else time.time()
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(until - now, 0.0), float(_LONGEST_WAIT_S))


class Unpacking:
    """A body as it comes in, unpacked up to a bound and never beyond it.

    Raises (``feed`` and ``finish``):
        AnswerMalformed: longer than ``most`` bytes once unpacked, packed otherwise than was asked for, or cut.
    """

    def __init__(self, response: httpx.Response, most: int) -> None:
        packing = response.headers.get("content-encoding", "").strip().lower()
        if packing not in ("", "identity", "gzip", "x-gzip"):
            raise AnswerMalformed("the answer is packed in a way that was not asked for")
        self._packed = packing.endswith("gzip")
        self._inflater = zlib.decompressobj(wbits=31)
        self._most = most
        self._body = bytearray()

    def feed(self, chunk: bytes) -> None:
        """The next bytes as they travelled."""
        if not self._packed:
            self._take(chunk)
            return
        while chunk:
            room = self._most - len(self._body) + 1
            try:
                self._take(self._inflater.decompress(chunk, room))
            except zlib.error:
                raise AnswerMalformed("the answer is said to be gzip and is not") from None
            chunk = self._inflater.unconsumed_tail or self._inflater.unused_data
            if self._inflater.eof and chunk:
                self._inflater = zlib.decompressobj(wbits=31)  # RFC 1952 section 2.2: one member after the other

    def finish(self) -> bytearray:
        """The whole body."""
        if self._packed and self._body and not self._inflater.eof:
            raise AnswerMalformed("the answer was cut")
        return self._body

    def _take(self, piece: bytes) -> None:
        if len(self._body) + len(piece) > self._most:
            raise AnswerMalformed("the answer is implausibly large")
        self._body += piece


def refusal(answer: Answer, request: Request) -> HospitalRefused:
    """The node's own words (``{"error": {"message", "hint"}}``) where there are any."""
    try:
        body = json.loads(answer.content)
    except (ValueError, RecursionError):
        body = None
    error = body.get("error") if isinstance(body, dict) else None
    told = error if isinstance(error, dict) else {}
    message = _one_line(told.get("message")) or f"the hospital answered HTTP {answer.status}"
    hint, wait = _one_line(told.get("hint")), retry_after_s(answer.headers)
    if wait is not None and not hint:
        hint = f"ask again in {math.ceil(wait)} seconds"
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR and request.query_id:
        hint = f"{hint}; {request.if_silent}" if hint else request.if_silent  # who stands in between knows nothing
    refused = HospitalRefused(message, status=answer.status, hint=hint, retry_after_s=wait)
    refused.query_id = request.query_id
    return refused


def _one_line(told: object) -> str:
    return " ".join(str(told or "").split())[:500]
