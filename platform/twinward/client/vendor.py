"""``VendorClient``: a vendor's whole conversation with one hospital. ``AsyncVendorClient`` is the same with await."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from twinward.client.contacts import Contact, KeptCount
from twinward.client.counts import Count, PreparedCount
from twinward.client.keys import VendorKeys
from twinward.client.protocol_steps import ProtocolSteps, Steps
from twinward.client.question import Question, Threshold, Values
from twinward.client.releases import Records
from twinward.client.results import Matches, Prepared
from twinward.client.statements import Statement
from twinward.client.transport import Answer, Request, transport_error
from twinward.client.trust import KeyTrust
from twinward.core.outbound import connection, require_token
from twinward.protocol.criteria import Criteria
from twinward.protocol.feasibility import FeasibilityTerms
from twinward.protocol.messages import BudgetReply
from twinward.protocol.terms import Mode, Terms

if TYPE_CHECKING:
    import httpx

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
        plain_http: send the token over ``http://`` beyond this machine, where the network reads it.
        hospital_key: the hospital's key for answers as hex, told on another way. Without one the first key that is seen
            is believed, and no other after it.
        known_hospitals: a file that remembers those keys from one run to the next.

    Raises (every method):
        BadInput: what was asked makes no sense; nothing was sent.
        HospitalRefused, HospitalUnreachable, AnswerMalformed, AnswerForged, VersionUnknown: see ``errors``.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        http: httpx.Client | None = None,
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
        return f"VendorClient({self.base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connection, if this client opened it."""
        if self._owns_http and self._http is not None:
            self._http.close()
            self._http = None

    def schema(self) -> Terms:
        """Fetch what the hospital answers now: features, epoch, modes and what each leaks."""
        return self._run(self._steps.schema())

    def ask(self, question: Question) -> Matches:
        """Prepare a question and send it."""
        return self._run(self._steps.ask(question))

    def prepare(self, question: Question) -> Prepared:
        """Fetch what is needed and encrypt; nothing of the query leaves. Says what would: size, leakage, time."""
        return self._run(self._steps.prepare(question))

    def send(self, prepared: Prepared) -> Matches:
        """Send what this client prepared. Sent again, it is answered the same and charged once."""
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
        return self._run(self._steps.ask(Question(values, Mode.VENDOR_KEY, threshold, nearest, weights), key))

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
        """The records behind released handles, as far as each patient's consent goes, opened with your keys.

        Every ``MAX_HANDLES`` patients cost one of your queries.
        """
        handles = matches.handles if isinstance(matches, Matches) else matches
        return self._run(self._steps.records(handles, categories, keys))

    def feasibility(self, criteria: Criteria | Mapping[str, Any], *, epsilon: float | None = None) -> Count:
        """How many patients would be eligible, under criteria that only you can read: a count with noise.

        Costs ``epsilon`` of what the hospital granted you (its suggestion if you name none). What criteria may say
        stands in ``twinward.protocol.criteria``.
        """
        return self.send_count(self.prepare_count(criteria, epsilon=epsilon))

    def feasibility_terms(self) -> FeasibilityTerms:
        """What the hospital counts by, what a count costs, and what is left."""
        return self._run(self._steps.feasibility_terms())

    def prepare_count(self, criteria: Criteria | Mapping[str, Any], *, epsilon: float | None = None) -> PreparedCount:
        """Fetch what is needed and encrypt; nothing of the criteria leaves. Says the error to expect, size and time."""
        chosen = criteria if isinstance(criteria, Criteria) else Criteria.of(dict(criteria))
        return self._run(self._steps.prepare_count(chosen, epsilon))

    def send_count(self, prepared: PreparedCount) -> Count:
        """Send what this client prepared. Sent again, it is answered the same and charged once."""
        count: Count = self._run(prepared.send())
        return count

    def propose_contact(self, kept: KeptCount, *, title: str, purpose: str, text: str) -> Contact:
        """Disclose what was counted in this epoch, and ask the hospital to tell those patients of a study. Free.

        An officer decides. Whom the hospital tells, and how many they are, you never learn.
        """
        return self._run(self._steps.propose_contact(kept, title, purpose, text))

    def contacts(self) -> list[Contact]:
        """What became of your contact requests, newest first."""
        return self._run(self._steps.contacts())

    def statement(self, query_id: str) -> Statement:
        """The answer to one of your queries of this epoch, signed, as a file that a regulator checks offline. Free."""
        return self._run(self._steps.statement(query_id))

    def budget(self) -> BudgetReply:
        """Queries left in the running epoch."""
        return self._run(self._steps.budget())

    def results(self, query_id: str | None = None) -> list[Matches]:
        """What was released to you in the running epoch, oldest first; or one query's answer again. Free of charge.

        An error after which an answer may have been lost names the query's id (``ClientError.query_id``). A vendor-key
        answer is read by the client that asked alone: its key is nowhere else.
        """
        return self._run(self._steps.results(query_id))

    @property
    def hospital_key(self) -> str:
        """The key for answers that is believed, as hex; empty before the terms were fetched."""
        return self._steps.trust.believed

    @property
    def key_first_seen(self) -> bool:
        """Whether nothing but first sight speaks for that key."""
        return self._steps.trust.first_seen

    def _run(self, steps: Steps[Result]) -> Result:
        """Carry steps out: send each request they yield, and give them its response."""
        try:
            request = next(steps)
            while True:
                request = steps.send(self._sent(request))
        except StopIteration as done:
            result: Result = done.value
            return result

    def _sent(self, request: Request) -> Answer:
        headers = request.headers(require_token(self._token))
        if self._http is None:
            self._http = connection(self.base_url, timeout=self._timeout_s, plain_http=self._plain_http)
        import httpx  # loaded by the first connection: what is read offline does without

        url = self.base_url + request.path
        more: dict[str, Any] = {"headers": headers, "content": request.content}
        more |= {"timeout": request.timeout(self._timeout_s)} if request.patience_s else {}
        try:
            with self._http.stream(request.method, url, **more) as response:
                if response.is_stream_consumed:  # a client of the caller's own may have read it already
                    return Answer(response.status_code, response.headers, response.content)
                body = request.unpacking(response)
                for chunk in response.iter_raw():
                    body.feed(chunk)
                return Answer(response.status_code, response.headers, body.finish())
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise transport_error(error, hint=request.if_silent, query_id=request.query_id) from error
