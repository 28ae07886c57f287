"""``AsyncVendorClient``: ``VendorClient`` for asyncio. Encryption runs in a thread, so the event loop stays free."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from twinward.client.contacts import Contact, KeptCount
from twinward.client.counts import Count
from twinward.client.keys import VendorKeys
from twinward.client.protocol_steps import ProtocolSteps, Steps
from twinward.client.question import Question, Threshold, Values
from twinward.client.releases import Records
from twinward.client.results import Matches, Prepared
from twinward.client.statements import Statement
from twinward.client.transport import Answer, Request, transport_error
from twinward.client.trust import KeyTrust
from twinward.client.vendor import DEFAULT_TIMEOUT_S
from twinward.core.outbound import async_connection, require_token
from twinward.protocol.criteria import Criteria
from twinward.protocol.messages import BudgetReply
from twinward.protocol.terms import Mode, Terms

if TYPE_CHECKING:
    import httpx

Result = TypeVar("Result")


class AsyncVendorClient:
    """Ask one hospital, with await. Arguments, methods and errors are ``VendorClient``'s."""

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        http: httpx.AsyncClient | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        plain_http: bool = False,
        hospital_key: str | None = None,
        known_hospitals: Path | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._token = token
        self._http = http
        self._owns_http = http is None
        self._timeout_s, self._plain_http = timeout_s, plain_http
        self._steps = ProtocolSteps(KeyTrust(self.base_url, hospital_key, known_hospitals))

    def __repr__(self) -> str:
        return f"AsyncVendorClient({self.base_url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Give back the connection, if this client opened it."""
        if self._owns_http and self._http is not None:
            await self._http.aclose()
            self._http = None

    async def schema(self) -> Terms:
        """As ``VendorClient.schema``."""
        return await self._run(self._steps.schema())

    async def ask(self, question: Question) -> Matches:
        """As ``VendorClient.ask``."""
        return await self._run(self._steps.ask(question))

    async def prepare(self, question: Question) -> Prepared:
        """As ``VendorClient.prepare``."""
        return await self._run(self._steps.prepare(question))

    async def send(self, prepared: Prepared) -> Matches:
        """As ``VendorClient.send``."""
        matches: Matches = await self._run(prepared.send())
        return matches

    async def query(
        self,
        values: Values,
        *,
        mode: Mode = Mode.GATED,
        threshold: float | Threshold | None = None,
        nearest: int | None = None,
        weights: Mapping[str, int] | None = None,
    ) -> Matches:
        """As ``VendorClient.query_gated``, ``query_vendor_key`` and ``query_matrix``, by mode."""
        return await self.ask(Question(values, mode, threshold, nearest, weights))

    async def records(
        self, matches: Matches | Sequence[str], keys: VendorKeys, *, categories: Sequence[str]
    ) -> Records:
        """As ``VendorClient.records``."""
        handles = matches.handles if isinstance(matches, Matches) else matches
        return await self._run(self._steps.records(handles, categories, keys))

    async def feasibility(self, criteria: Criteria | Mapping[str, Any], *, epsilon: float | None = None) -> Count:
        """As ``VendorClient.feasibility``."""
        chosen = criteria if isinstance(criteria, Criteria) else Criteria.of(dict(criteria))
        prepared = await self._run(self._steps.prepare_count(chosen, epsilon))
        count: Count = await self._run(prepared.send())
        return count

    async def propose_contact(self, kept: KeptCount, *, title: str, purpose: str, text: str) -> Contact:
        """Disclose what was counted in this epoch, and ask the hospital to tell those patients of a study. Free.

        An officer decides. Whom the hospital tells, and how many they are, you never learn.
        """
        return await self._run(self._steps.propose_contact(kept, title, purpose, text))

    async def contacts(self) -> list[Contact]:
        """What became of your contact requests, newest first."""
        return await self._run(self._steps.contacts())

    async def statement(self, query_id: str) -> Statement:
        """The answer to one of your queries of this epoch, signed, as a file that a regulator checks offline. Free."""
        return await self._run(self._steps.statement(query_id))

    async def budget(self) -> BudgetReply:
        """As ``VendorClient.budget``."""
        return await self._run(self._steps.budget())

    async def results(self, query_id: str | None = None) -> list[Matches]:
        """As ``VendorClient.results``."""
        return await self._run(self._steps.results(query_id))

    async def _run(self, steps: Steps[Result]) -> Result:
        request, result = await asyncio.to_thread(_advance, steps, None)
        while request is not None:
            request, result = await asyncio.to_thread(_advance, steps, await self._sent(request))
        if result is None:
            raise RuntimeError("steps ended without a result")
        return result[0]

    async def _sent(self, request: Request) -> Answer:
        headers = request.headers(require_token(self._token))
        if self._http is None:
            self._http = async_connection(self.base_url, timeout=self._timeout_s, plain_http=self._plain_http)
        import httpx  # loaded by the first connection: what is read offline does without

        url = self.base_url + request.path
        more: dict[str, Any] = {"headers": headers, "content": request.content}
        more |= {"timeout": request.timeout(self._timeout_s)} if request.patience_s else {}
        try:
            async with self._http.stream(request.method, url, **more) as response:
                if response.is_stream_consumed:  # a client of the caller's own may have read it already
                    return Answer(response.status_code, response.headers, response.content)
                body = request.unpacking(response)
                async for chunk in response.aiter_raw():
                    body.feed(chunk)
                return Answer(response.status_code, response.headers, body.finish())
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise transport_error(error, hint=request.if_silent, query_id=request.query_id) from error


def _advance(steps: Steps[Result], answer: Answer | None) -> tuple[Request | None, tuple[Result] | None]:
    """The next request, or the result. (``StopIteration`` cannot pass through a thread's future.)"""
    try:
        return (next(steps) if answer is None else steps.send(answer)), None
    except StopIteration as done:
        return None, (done.value,)
