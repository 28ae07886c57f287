"""One epoch's answers to vendors' messages: messages of ``twinward.protocol`` in, signed messages out.

``Answers`` is the way in. ``Similarity`` does the work between and knows of no message; ``AnsweredOnce`` sees to it
that each query is charged and answered once.
"""

from __future__ import annotations

from collections.abc import Callable

from twinward.access.interfaces import Principal
from twinward.protocol.contacts import ContactProposal, ContactReply
from twinward.protocol.criteria_costs import costs_of
from twinward.protocol.feasibility import CountReply, FeasibilityQuestion, FeasibilityTerms
from twinward.protocol.messages import (
    DistanceReply,
    GatedQuery,
    GateKeyReply,
    KeptAnswer,
    MatchReply,
    MatrixQuery,
    MatrixSearch,
    QueryKeyReply,
    RecordsReply,
    RecordsRequest,
    ResultsReply,
    SealedRecords,
    TokenReply,
    TokenRequest,
    VendorKeyQuery,
)
from twinward.protocol.proofs import Kind
from twinward.protocol.terms import Mode
from twinward.similarity.answered_once import AnsweredOnce, Query, Reply
from twinward.similarity.errors import QueryMalformed
from twinward.similarity.feasibility.service import LEAKAGE
from twinward.similarity.models import Told
from twinward.similarity.service import Similarity
from twinward_crypto.errors import MalformedBundle
from twinward_crypto.feasibility.opening import require_costs
from twinward_crypto.feasibility.query import FeasibilityQuery


class Answers:
    """One epoch's answers to vendors' messages.

    Args:
        similarity: who answers; it must charge through ``once``.
        once: so that each query is charged and answered once.
        counted_once: the same for counts, which spend epsilon; they must charge through it.
    """

    def __init__(self, similarity: Similarity, once: AnsweredOnce, counted_once: AnsweredOnce | None = None) -> None:
        self.similarity, self.once, self._counted_once = similarity, once, counted_once or once

    def gate_key(self) -> GateKeyReply:
        """What gated queries are encrypted with. Public. Raises ``QueryRefused`` where the mode is not offered."""
        key = self.similarity.gate_key()
        return self.once.sign_gate_key(GateKeyReply(epoch=self._epoch, bundle=key))

    def query_key(self) -> QueryKeyReply:
        """What gated queries are sealed to. Public. Raises ``QueryRefused`` where the mode is not offered."""
        return self.once.sign_query_key(QueryKeyReply(epoch=self._epoch, key=self.similarity.query_key()))

    def answer_gated(self, principal: Principal, query: GatedQuery) -> MatchReply:
        """As ``Similarity.gated``."""

        def answer() -> MatchReply:
            return self._match_reply(Mode.GATED, self.similarity.gated(principal, query))

        return self._once(principal, Kind.GATED, query, answer)

    def answer_vendor_key(self, principal: Principal, query: VendorKeyQuery) -> DistanceReply:
        """As ``Similarity.vendor_key``."""

        def answer() -> DistanceReply:
            told = self.similarity.vendor_key(principal, query)
            return DistanceReply(
                epoch=self._epoch,
                bundle=told.bundle,
                handles=told.handles,
                withheld=told.withheld,
                budget_left=told.left,
            )

        return self._once(principal, Kind.VENDOR_KEY, query, answer)

    def issue_token(self, principal: Principal, request: TokenRequest) -> TokenReply:
        """As ``Similarity.token``."""

        def answer() -> TokenReply:
            token = self.similarity.token(principal, request.epoch, request.levels, request.threshold_squared)
            return TokenReply(epoch=self._epoch, token=token)

        return self._once(principal, Kind.TOKEN, request, answer)

    def answer_matrix(self, principal: Principal, query: MatrixQuery) -> MatchReply:
        """As ``Similarity.matrix``."""

        def answer() -> MatchReply:
            return self._match_reply(Mode.MATRIX, self.similarity.matrix(principal, query))

        return self._once(principal, Kind.MATRIX, query, answer)

    def search_matrix(self, principal: Principal, query: MatrixSearch) -> MatchReply:
        """As ``Similarity.matrix_search``."""

        def answer() -> MatchReply:
            return self._match_reply(Mode.MATRIX, self.similarity.matrix_search(principal, query))

        return self._once(principal, Kind.MATRIX, query, answer)

    def feasibility_terms(self, principal: Principal) -> FeasibilityTerms:
        """What may be counted, at which cost. Raises ``QueryRefused`` where nothing is, ``BudgetUnavailable``."""
        feasibility = self.similarity.feasibility
        terms = FeasibilityTerms(
            epoch=self._epoch,
            code_list=self.similarity.cohort.schema.codes,
            epsilon_millis=feasibility.epsilon_millis,
            rows=feasibility.engine.capacity,
            most_slots=feasibility.engine.most_slots,
            seconds_each=feasibility.engine.seconds(),
            left_millis=feasibility.budget.remaining(principal.id, self._epoch),
            leakage=LEAKAGE,
        )
        return self._counted_once.sign_feasibility(terms, principal.id)

    def count(self, principal: Principal, question: FeasibilityQuestion) -> CountReply:
        """As ``Similarity.count``."""

        def answer() -> CountReply:
            told = self.similarity.count(principal, question)
            return CountReply(
                epoch=self._epoch,
                epsilon_millis=told.noise.millis,
                bound=told.noise.bound,
                slots=told.slots,
                bundle=told.bundle,
                left_millis=told.left,
            )

        def again() -> None:
            self.similarity.admit_again(principal, question.epoch, str(question.query_id))

        return self._counted_once.answer(principal, Kind.FEASIBILITY, question, answer, again)

    def propose_contact(
        self, principal: Principal, proposal: ContactProposal, keep: Callable[[ContactProposal], ContactReply]
    ) -> ContactReply:
        """Keep a contact request, once it discloses a count that this vendor was answered. Costs nothing.

        Raises:
            NotFound: no such count is kept for this vendor in this epoch.
            SchemaMismatch: a count of another epoch.
            QueryMalformed: the question asked something else than is said, or its key is another one.
        """

        def answer() -> ContactReply:
            self.similarity.admit_again(principal, proposal.count.epoch, str(proposal.count.query_id))
            self._counted_once.require_answered(principal.id, Kind.FEASIBILITY, proposal.count)
            if proposal.count.where is not None:
                raise QueryMalformed(
                    "a contact request stands on a count without a filter: criteria are what an officer decides on",
                    hint="count again without one; what the filter meant belongs into the criteria or the text",
                )
            self._require_disclosed(proposal)
            return keep(proposal)

        return self._once(principal, Kind.CONTACT, proposal, answer)

    def _require_disclosed(self, proposal: ContactProposal) -> None:
        schema, engine = self.similarity.cohort.schema, self.similarity.feasibility.engine
        costs = costs_of(proposal.criteria, schema, schema.codes)
        try:
            query = FeasibilityQuery.decode(proposal.count.bundle, levels=engine.levels, binding=engine.binding)
            require_costs(query, proposal.secret, costs.table, costs.threshold)
        except MalformedBundle:
            raise QueryMalformed(
                "the question that was counted asked something else than these criteria, or its key is another one",
                hint="send the criteria, the question and the key of one count",
            ) from None

    def release_records(self, principal: Principal, request: RecordsRequest) -> RecordsReply:
        """As ``Similarity.records``."""

        def answer() -> RecordsReply:
            released = self.similarity.records(
                principal, request.epoch, request.handles, request.categories, request.recipient
            )
            records = tuple(
                SealedRecords(handle=one.handle, categories=one.categories, sealed=one.sealed)
                for one in released.patients
            )
            return RecordsReply(
                epoch=request.epoch,
                records=records,
                withheld=released.withheld,
                budget_left=released.left,
                until_s=released.until_s,
            )

        return self._once(principal, Kind.RECORDS, request, answer)

    def results(self, principal: Principal) -> ResultsReply:
        """What a vendor was released in this epoch, the latest ``KEPT_ANSWERS``, oldest first."""
        return ResultsReply(results=self.once.told(principal.id))

    def result(self, principal: Principal, query_id: str) -> KeptAnswer:
        """The answer to one of a vendor's queries of this epoch, again. Raises ``NotFound``, ``Conflict``."""
        return self.once.result(principal.id, query_id)

    @property
    def _epoch(self) -> int:
        return self.similarity.cohort.epoch

    def _once(self, principal: Principal, kind: Kind, query: Query, answer: Callable[[], Reply]) -> Reply:
        def again() -> None:
            self.similarity.admit_again(principal, query.epoch, str(query.query_id))

        return self.once.answer(principal, kind, query, answer, again)

    def _match_reply(self, mode: Mode, told: Told) -> MatchReply:
        return MatchReply(
            mode=mode,
            epoch=self._epoch,
            handles=told.handles,
            count=told.count,
            withheld=told.withheld,
            budget_left=told.left,
            expires_at_s=self.once.resets_at_s(self._epoch) if told.tells is None else None,
            tells=told.tells,
        )
