"""Step 4, last part: a vendor counts who would be eligible, under criteria that the hospital never sees."""

from __future__ import annotations

import time
from typing import Any, Final

from twinward.client import Criteria, VendorClient
from twinward.core.errors import Unavailable
from twinward.demo.accounts import VENDOR
from twinward.node import Node
from twinward.protocol.criteria_costs import costs_of, matches
from twinward.protocol.feasibility import levels_asked
from twinward.similarity.explainer import CountObservation
from twinward.similarity.explainer.count_page import SHOWN
from twinward_crypto.feasibility.query import Answer, FeasibilityQuery

TRIAL: Final[dict[str, Any]] = {
    "title": "A trial of blood pressure",
    "include": [{"feature": "age", "from": 40, "to": 85}, {"condition": "hypertension"}],
    "exclude": [{"condition": "cancer"}, {"medication": "insulin"}],
}
EPSILON: Final = 0.5


def count_as_vendor(node: Node, vendor: VendorClient) -> CountObservation:
    """Ask over HTTP, and hold the count against the plain truth. Both sides' views are written down."""
    criteria = Criteria.of(TRIAL)
    cohort = node.similarity().cohort
    costs = costs_of(criteria, cohort.schema, cohort.schema.codes)
    started = time.perf_counter()
    asked = vendor.prepare_count(criteria, epsilon=EPSILON)
    count = vendor.send_count(asked)
    seconds = time.perf_counter() - started
    own = asked.own
    kept = node.cohort.current().result(VENDOR, asked.query_id).count
    if kept is None:
        raise Unavailable("the answer that was just given is not kept")
    binding = node.similarity().feasibility.engine.binding
    levels = levels_asked(cohort.schema, cohort.schema.codes)
    query = FeasibilityQuery.decode(own.message.bundle, levels=levels, binding=binding)
    pairs = [pair for some in query.pairs for pair in some]
    answer = Answer.decode(kept.bundle, slots=own.slots, binding=binding)
    slots = [
        (point.hex(), tag.hex(), own.key.matches(Answer(binding, point + tag)) == 1)
        for point, tag in answer.slots()[:SHOWN]
    ]
    return CountObservation(
        reading=asked.reading,
        pairs=tuple((one.hex(), other.hex()) for one, other in pairs[:SHOWN]),
        pairs_sent=len(pairs),
        slots=tuple(slots),
        slots_sent=own.slots,
        patients=len(cohort),
        room=own.terms.rows,
        truth=matches(costs, cohort.eligibility.tolist()),
        noisy=count.noisy,
        half_width=count.half_width,
        bound=own.noise.bound,
        matched=count.noisy + own.noise.bound,
        epsilon=count.epsilon,
        delta=count.delta,
        upload_bytes=count.upload_bytes,
        download_bytes=count.download_bytes,
        seconds=seconds,
    )
