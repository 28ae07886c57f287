"""What a hospital offers vendors: which modes, with which parameters, and in plain words what each one leaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from twinward.access.interfaces import Principal
from twinward.features.schema import FeatureSchema
from twinward.protocol.contacts import ContactsReply
from twinward.protocol.messages import BudgetReply
from twinward.protocol.proofs import AnswerSigner, Kind
from twinward.protocol.terms import CohortLife, Mode, ModeTerms, Terms, binding_of
from twinward.similarity.interfaces import QueryBudget
from twinward_crypto.homomorphic.parameters import CIRCUIT_PRIVATE, Plan, plan_gated

LEAKAGE: Mapping[Mode, str] = {
    Mode.GATED: (
        "The scoring side sees ciphertexts, the number of records and whether weights were used. The hospital's gate "
        "sees the threshold and every distance, and opens the query to check it. The vendor learns matches only, never "
        "about fewer than the minimum count, and never tells fewer than that apart."
    ),
    Mode.VENDOR_KEY: (
        "The hospital sees nothing of query, threshold or matches. The vendor learns the number of records and each "
        "one's distance, blurred by noise: two queries tell a feature of every record roughly, many would tell it "
        "exactly, so they are few. A vendor that forms its ciphertexts dishonestly reads features directly: only for "
        "vendors bound by contract."
    ),
    Mode.MATRIX: (
        "Obfuscation-grade. The hospital sees the query. Whoever holds the outsourced tree sees its shape, each "
        "query's path and result size, and with one record it knows and one token works out the others."
    ),
}


@dataclass(frozen=True, slots=True)
class ServicePolicy:
    """The choices behind a hospital's terms. Gated alone is on unless the hospital says otherwise.

    Attributes:
        modes: what is answered. Vendor-key and matrix each need the hospital's decision in writing.
        weighted: whether features can be weighted or left out of a query (gated and matrix).
        max_weight: the largest weight.
        noise_width: vendor-key: each distance gets a fresh 0 .. noise_width - 1 added, in squared levels. At 128 levels
            the default leaves a feature that was asked for with two queries uncertain by some 6.6 levels (sigma).
        vendor_key_profile: vendor-key: the ring; others than ``circuit-private`` also leak through ciphertext noise.
        vendor_key_grouping: vendor-key: features that share a ciphertext: less to send up, more to send down.
        vendor_key_weighted: vendor-key: whether features can be left out. A query of one feature reads that feature of
            every record, so this is for vendors that may know the features anyway.
        vendor_key_queries: vendor-key: the most queries an epoch; never more than there are features, which None means.
        minimum_count: nothing is released about fewer patients than this.
        requests_per_minute: of one vendor; more are refused.
        record_days: for so many days a vendor may use released records: their end is signed.
        facet_minimum: no filter by public facets, and no difference of two, means fewer patients than this.
    """

    modes: tuple[Mode, ...] = (Mode.GATED,)
    weighted: bool = True
    max_weight: int = 2
    noise_width: int = 4096
    vendor_key_profile: str = CIRCUIT_PRIVATE.name
    vendor_key_grouping: int = 1
    vendor_key_weighted: bool = False
    vendor_key_queries: int | None = None
    minimum_count: int = 3
    requests_per_minute: int = 30
    facet_minimum: int = 20
    record_days: int = 30

    def terms(self, schema: FeatureSchema) -> tuple[ModeTerms, ...]:
        """The terms of each mode. Raises ``ParameterError``, naming the part, where a mode cannot be exact."""
        return tuple(self._terms(mode, schema) for mode in self.modes)

    def gated_plan(self, schema: FeatureSchema) -> Plan:
        """The plan that gate keys are made for, and needed to restore sealed ones."""
        return plan_gated(schema.dimension, schema.levels, self.max_weight, weighted=self.weighted)

    def vendor_key_bound(self, schema: FeatureSchema) -> int:
        """How many vendor-key queries an epoch may have: below d + 1, from which distances would locate records."""
        if self.vendor_key_queries is None:
            return schema.dimension
        return min(self.vendor_key_queries, schema.dimension)

    def _terms(self, mode: Mode, schema: FeatureSchema) -> ModeTerms:
        own_key = mode is Mode.VENDOR_KEY
        weighted = self.vendor_key_weighted if own_key else self.weighted
        terms = ModeTerms(
            mode=mode,
            profile=self.vendor_key_profile if own_key else "",
            max_weight=self.max_weight if weighted else 1,
            weighted=weighted,
            noise_width=self.noise_width if own_key else 1,
            grouping=self.vendor_key_grouping if own_key else 1,
            leakage=LEAKAGE[mode],
        )
        if mode is Mode.MATRIX:
            return terms
        return terms.model_copy(update={"profile": terms.plan(schema).profile.name})


@dataclass(frozen=True, slots=True)
class PublicTerms:
    """What vendors may know whether or not there is a cohort: what may be asked, and what is left of their allowance.

    It comes from the policy and the ledger, and touches no patient.

    Attributes:
        hospital: whose terms they are.
        schema: the features that count.
        policy: which modes, with which parameters.
        budget: vendors' allowances, on the ledger.
        signer: the hospital's key for answers.
    """

    hospital: str
    schema: FeatureSchema
    policy: ServicePolicy
    budget: QueryBudget
    signer: AnswerSigner

    def terms(self, epoch: int, cohort: CohortLife | None = None) -> Terms:
        """What may be asked, and of which snapshot, signed. Public.

        Raises ``ParameterError``, naming what no mode can be exact with.
        """
        modes = self.policy.terms(self.schema)
        if cohort is not None:
            cohort = cohort.model_copy(update={"index_bytes": self._index_bytes(modes, cohort.room)})
        terms = Terms(
            hospital=self.hospital,
            epoch=epoch,
            feature_schema=self.schema,
            modes=modes,
            minimum_count=self.policy.minimum_count,
            fingerprint=self.schema.fingerprint(),
            cohort=cohort,
            facets=self.schema.facets,
        )
        return terms.model_copy(update={"proof": self.signer.prove(Kind.TERMS, terms, binding=terms.binding())})

    def _index_bytes(self, modes: tuple[ModeTerms, ...], room: int) -> dict[str, int]:
        """Of the noisy number of patients: the exact one's would tell that number, to a block."""
        return {
            one.mode.value: one.plan(self.schema).prepared_bytes(max(1, room))
            for one in modes
            if one.mode is not Mode.MATRIX
        }

    def sign_contacts(self, reply: ContactsReply, vendor: str, epoch: int) -> ContactsReply:
        """What became of a vendor's contact requests, signed for that vendor."""
        binding = binding_of(self.hospital, self.schema, epoch)
        proof = self.signer.prove(Kind.CONTACTS, reply, binding=binding, vendor=vendor)
        return reply.model_copy(update={"proof": proof})

    def allowance(self, principal: Principal, epoch: int) -> BudgetReply:
        """What a vendor has left. Raises ``BudgetUnavailable``: the ledger does not answer."""
        left = self.budget.remaining(principal.id, epoch)
        return BudgetReply(epoch=epoch, remaining=left, resets_at_s=self.budget.resets_at_s(epoch))
