"""``VendorClient``: a vendor's whole conversation with one hospital. ``AsyncVendorClient`` is the same with await."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar

import httpx

from twinward.client.answers import Matches, Prepared, Question, Records, Values
from twinward.client.conversation import Conversation, Steps, transport_error
from twinward.client.keys import VendorKeys
from twinward.client.messages import BudgetReply, Mode, Terms
from twinward.client.threshold import Threshold
from twinward_crypto.homomorphic.query import QueryKey

DEFAULT_TIMEOUT_S = 60.0

Result = TypeVar("Result")


class VendorClient:
    """Ask one hospital.

    Features are given in clinical units by name, ``{"age": 61, "hba1c_percent": ("66", "mmol/mol")}``; one that is left
    out does not count. Weights are whole numbers.

    Args:
        base_url: the hospital's address, e.g. ``https://twinward.st-anna.example``.
        token: the bearer token the hospital issued.
        http: an httpx client of your own (proxies, client certificates, tests); closed by whoever made it.
        timeout_s: how long to wait for an answer.

    Raises (every method):
        BadInput: what was asked makes no sense; nothing was sent.
        HospitalRefused, HospitalUnreachable, AnswerMalformed: see ``errors``.
    """

    def __init__(
        self, base_url: str, token: str, *, http: httpx.Client | None = None, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._headers = {"authorization": f"Bearer {token}"}
        self._http = http or httpx.Client(timeout=timeout_s)
        self._owns_http = http is None
        self._talk = Conversation()

    def __repr__(self) -> str:
        return f"VendorClient({self.base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connection, if this client opened it."""
        if self._owns_http:
            self._http.close()

    def schema(self) -> Terms:
        """Fetch what the hospital answers now: features, epoch, modes and what each leaks."""
        return self._run(self._talk.schema())

    def ask(self, question: Question) -> Matches:
        """Prepare a question and send it."""
        return self._run(self._talk.ask(question))

    def prepare(self, question: Question) -> Prepared:
        """Fetch what is needed and encrypt; nothing of the query leaves. Says what would: size, leakage, time."""
        return self._run(self._talk.prepare(question))

    def send(self, prepared: Prepared) -> Matches:
        """Send what this client prepared."""
        matches: Matches = self._run(prepared.send())
        return matches

    def query_gated(
        self,
        values: Values,
        *,
        threshold: float | Threshold | None = None,
        nearest: int | None = None,
        weights: Mapping[str, int] | None = None,
    ) -> Matches:
        """Ask under the gate's key: the scoring side sees neither query nor records; the gate releases matches only."""
        return self.ask(Question(values, Mode.GATED, threshold, nearest, weights))

    def query_vendor_key(
        self,
        values: Values,
        *,
        threshold: float | Threshold | None = None,
        nearest: int | None = None,
        weights: Mapping[str, int] | None = None,
        key: QueryKey | None = None,
    ) -> Matches:
        """Ask under your own key (a fresh one if none is given): the hospital learns nothing of query or threshold.

        Distances come back too large by 0 to ``noise_width - 1``; the threshold is moved by half of that. The nearest
        k are picked here, by blurred distance: none of them is truly farther than the k-th by ``noise_width`` or more.
        """
        return self._run(self._talk.ask(Question(values, Mode.VENDOR_KEY, threshold, nearest, weights), key))

    def query_matrix(
        self,
        values: Values,
        *,
        threshold: float | Threshold | None = None,
        nearest: int | None = None,
        weights: Mapping[str, int] | None = None,
    ) -> Matches:
        """Ask through the outsourced tree. **The hospital sees the query**, and the tree is obfuscation-grade only.

        Every feature must be given, and weights are 1 or more.
        """
        return self.ask(Question(values, Mode.MATRIX, threshold, nearest, weights))

    def records(self, matches: Matches | Sequence[str], keys: VendorKeys, *, categories: Sequence[str]) -> Records:
        """The records behind released handles, as far as each patient's consent goes, opened with your keys."""
        handles = matches.handles if isinstance(matches, Matches) else matches
        return self._run(self._talk.records(handles, categories, keys))

    def budget(self) -> BudgetReply:
        """Queries left in the running epoch."""
        return self._run(self._talk.budget())

    def results(self) -> list[Matches]:
        """What was released to you in the running epoch, oldest first."""
        return self._run(self._talk.results())

    def _run(self, steps: Steps[Result]) -> Result:
        """Carry steps out: send each request they yield, and give them its response."""
        try:
            request = next(steps)
            while True:
                headers = self._headers | ({"content-type": "application/json"} if request.content else {})
                url = self.base_url + request.path
                try:
                    answer = self._http.request(request.method, url, headers=headers, content=request.content)
                except (httpx.HTTPError, httpx.InvalidURL) as error:
                    raise transport_error(error) from error
                request = steps.send(answer)
        except StopIteration as done:
            result: Result = done.value
            return result
