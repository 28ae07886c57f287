"""How a question becomes a message in each mode, and how the answer is read. No network: see ``protocol_steps``.

NumPy and SEAL are loaded by the first query that needs them: a vendor's other commands do without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from twinward.client.errors import AnswerMalformed, HospitalRefused, OutOfRange
from twinward.client.question import Question
from twinward.client.results import Matches
from twinward.core.errors import BadInput
from twinward.features import units
from twinward.features.schema import Feature, FeatureSchema
from twinward.protocol.messages import (
    DistanceReply,
    GatedQuery,
    MatchReply,
    MatrixSearch,
    TokenRequest,
    VendorKeyQuery,
)
from twinward.protocol.proofs import new_query_id
from twinward.protocol.sealed_query import seal_query
from twinward.protocol.terms import Mode, ModeTerms, Terms
from twinward_crypto.errors import CryptoError
from twinward_crypto.homomorphic.parameters import Plan

if TYPE_CHECKING:
    from twinward_crypto.homomorphic.query import EncryptedQuery, QueryKey

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class OwnKeyQuery:
    """Vendor-key mode: what travels, and what must stay to read the answer."""

    message: VendorKeyQuery
    upload_bytes: int
    plan: Plan
    key: QueryKey = field(repr=False)
    query: EncryptedQuery = field(repr=False)
    limit: int = field(repr=False)
    nearest: int | None

    def read(self, reply: DistanceReply, terms: Terms) -> Matches:
        """The nearest among the handles that were told, nearest first as far as the noise lets one see.

        Raises ``AnswerMalformed``.
        """
        import numpy as np

        from twinward_crypto.homomorphic import wire

        kind = wire.Kind.SCORES
        scores = _reading(lambda: wire.decode(reply.bundle, kind=kind, plan=self.plan, binding=terms.binding()))
        if len(reply.handles) != scores.rows:
            raise AnswerMalformed("as many handles as rows are expected")
        distances = _reading(lambda: self.key.decrypt_distances(self.query, scores))
        told = np.array([bool(handle) for handle in reply.handles])
        limit = self.limit
        if self.nearest is not None and self.nearest < told.sum():
            limit = min(limit, int(np.partition(distances[told], self.nearest - 1)[self.nearest - 1]))
        rows = np.flatnonzero(told & (distances <= limit)).tolist()
        near = sorted(rows, key=lambda row: (distances[row], reply.handles[row]))
        return Matches(
            mode=Mode.VENDOR_KEY,
            epoch=reply.epoch,
            handles=tuple(reply.handles[row] for row in near),
            count=len(near),
            withheld=reply.withheld,
            budget_left=reply.budget_left,
            distances=tuple(int(distances[row]) for row in near),
            upload_bytes=self.upload_bytes,
            download_bytes=len(reply.bundle),
            query_id=reply.proof.query_id if reply.proof else "",
        )


def gated_message(terms: Terms, mode: ModeTerms, gate: bytes, question: Question) -> tuple[GatedQuery, int]:
    """The message, sealed to the gate's key, and the size of its sealed part."""
    levels, weights = _numbers(terms, mode, question)
    _require_enough(terms, question)
    limit = question.limit().to_squared(terms.feature_schema, weights)
    rest = GatedQuery(
        epoch=terms.epoch,
        threshold_squared=limit,
        nearest=question.nearest,
        tell=question.tell,
        where=question.filter(terms),
        sealed=b"",
        query_id=new_query_id(),
    )
    message = _reading(lambda: seal_query(gate, rest, levels, weights, binding=terms.binding()))
    return message, len(message.sealed or b"")


def own_key_message(
    terms: Terms, mode: ModeTerms, plan: Plan, question: Question, key: QueryKey | None = None
) -> OwnKeyQuery:
    """Encrypted under ``key``, a fresh one where none is given. The threshold is moved by half the noise."""
    from twinward_crypto.homomorphic.query import QueryKey

    levels, weights = _numbers(terms, mode, question)
    if question.count_only:
        raise BadInput("in vendor-key mode every handle comes with its distance: you count yourself")
    limit = question.limit().to_squared(terms.feature_schema, weights) + (plan.noise_width - 1) // 2
    secret = key or QueryKey.generate(plan)
    query = _making(lambda: secret.encrypt_query(levels, weights, binding=terms.binding()))
    data = query.bundle.encode()
    message = VendorKeyQuery(epoch=terms.epoch, bundle=data, where=question.filter(terms), query_id=new_query_id())
    return OwnKeyQuery(message, len(data), plan, secret, query, limit, question.nearest)


def matrix_message(terms: Terms, mode: ModeTerms, question: Question) -> TokenRequest | MatrixSearch:
    """A token request for a plain range; a search by the hospital for the nearest k or with weights. In the clear."""
    schema = terms.feature_schema
    missing = [feature.name for feature in schema.features if feature.name not in question.values]
    if missing:
        raise BadInput(f"matrix mode needs every feature; {missing[0]!r} is missing", hint="gated mode does not")
    levels, weights = _numbers(terms, mode, question)
    if weights is not None and min(weights) < 1:
        raise BadInput("matrix mode leaves no feature out: weights are 1 or more", hint="gated mode takes weight 0")
    _require_enough(terms, question)
    limit = question.limit().to_squared(schema, weights)
    if weights is None and question.nearest is None and not (question.count_only or question.where):
        return TokenRequest(epoch=terms.epoch, levels=tuple(levels), threshold_squared=limit, query_id=new_query_id())
    return MatrixSearch(
        epoch=terms.epoch,
        levels=tuple(levels),
        threshold_squared=limit,
        weights=None if weights is None else tuple(weights),
        nearest=question.nearest,
        tell=question.tell,
        where=question.filter(terms),
        query_id=new_query_id(),
    )


def plan_of(terms: Terms, mode: ModeTerms) -> Plan:
    """The plan that a mode's terms mean. Raises ``AnswerMalformed``."""
    return _reading(lambda: mode.plan(terms.feature_schema))


def offered(terms: Terms, mode: Mode) -> ModeTerms:
    """A mode's terms. Raises ``BadInput`` where the hospital does not answer in it."""
    for one in terms.modes:
        if one.mode is mode:
            return one
    names = ", ".join(one.mode for one in terms.modes) or "no mode"
    raise BadInput(f"{terms.hospital} does not answer in {mode} mode", hint=f"it answers in: {names}")


def matches_of(reply: MatchReply, *, upload_bytes: int = 0, clear_bytes: int = 0) -> Matches:
    """A reply as the vendor sees it."""
    return Matches(
        mode=reply.mode,
        epoch=reply.epoch,
        handles=reply.handles,
        count=reply.count,
        withheld=reply.withheld,
        budget_left=reply.budget_left,
        upload_bytes=upload_bytes,
        clear_bytes=clear_bytes,
        query_id=reply.proof.query_id if reply.proof else "",
        expires_at_s=reply.expires_at_s,
    )


def _reading(make: Callable[[], Made]) -> Made:
    """What the hospital sent cannot be used: the hospital's fault."""
    try:
        return make()
    except CryptoError as error:
        raise AnswerMalformed(f"the hospital's answer cannot be used: {error}") from error


def _making(make: Callable[[], Made]) -> Made:
    """What the caller asked for cannot be encrypted: the caller's fault."""
    try:
        return make()
    except CryptoError as error:
        raise BadInput(f"this query cannot be made: {error}") from error


def _numbers(terms: Terms, mode: ModeTerms, question: Question) -> tuple[list[int], Sequence[int] | None]:
    """Levels and weights; weights are None where every feature counts once."""
    schema, values, given = terms.feature_schema, question.values, question.weights or {}
    own = schema.in_own_units(values)
    levels = schema.quantise(own)
    if not question.allow_out_of_range:
        _require_in_range(schema, own)
    if not values:
        raise BadInput("a query needs at least one feature")
    if question.nearest is not None and (isinstance(question.nearest, bool) or not 1 <= question.nearest <= 10_000):
        raise BadInput("the nearest so many: a whole number from 1 to 10,000")
    stray = sorted(set(given) - set(values))
    if stray:
        raise BadInput(f"a weight for {stray[0]!r}, which has no value")
    if any(isinstance(weight, bool) or not isinstance(weight, int) for weight in given.values()):
        raise BadInput("weights are whole numbers")
    chosen = [given.get(feature.name, 1) if feature.name in values else 0 for feature in schema.features]
    if all(weight == 1 for weight in chosen):
        return levels, None
    if not mode.weighted:
        raise BadInput(
            "this hospital takes no weights in this mode, so every feature must be given",
            hint="give the others, too (--values takes a file), or use gated mode",
        )
    if not 0 <= min(chosen) <= max(chosen) <= mode.max_weight or not any(chosen):
        raise BadInput(f"weights go from 0 to {mode.max_weight} here, and not all are 0")
    return levels, chosen


def _require_enough(terms: Terms, question: Question) -> None:
    """What the hospital's terms refuse is not encrypted first. In vendor-key mode the vendor picks the nearest."""
    least = terms.minimum_count
    if question.nearest is not None and question.nearest < least:
        raise HospitalRefused(
            f"nothing is told about fewer than {least} patients, in no epoch",
            status=HTTPStatus.FORBIDDEN,
            hint=f"ask for the nearest {least}; nothing was sent",
        )


def _require_in_range(schema: FeatureSchema, values: Mapping[str, float]) -> None:
    """A value beyond its feature's range would count as the range's end, and the query would be paid for."""
    for name, value in values.items():
        feature = schema.feature(name)
        if feature.low <= value <= feature.high:
            continue
        meant = [unit for unit in units.customary(feature.substance) if _fits(feature, value, unit)]
        hint = f'give its unit if it is in {meant[0]}: ("…", "{meant[0]}")' if meant else "look at the value once more"
        raise OutOfRange(
            f"{name} is outside {feature.low:g} to {feature.high:g} {feature.unit}, the range that this hospital knows",
            hint=f"{hint}; if it is meant, allow_out_of_range (--allow-out-of-range) sends it as the range's end",
        )


def _fits(feature: Feature, value: float, unit: str) -> bool:
    try:
        return feature.low <= units.convert(value, unit, feature.unit, substance=feature.substance) <= feature.high
    except BadInput:
        return False
