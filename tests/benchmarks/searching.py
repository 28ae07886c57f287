"""A search of a named patient by the search index, against the same search that opens every record of the type."""

from __future__ import annotations

import json
import random

from tests.benchmarks.harness import Arm, Benchmark, Row, Scale, Target, race, versus
from tests.benchmarks.ingest import observations, patients
from tests.bundles import read_bundle
from tests.integration.fhir.hospital import CLINICIAN, SYSTEM, Hospital
from twinward.access.interfaces import AccessContext
from twinward.core.vocabulary import Purpose
from twinward.fhir.mapping.records import patient_imports
from twinward.fhir.search.query import read_query
from twinward.fhir.search.service import Search

_AT_ONCE = 400
_SEARCHES = (
    ("a common code", [("code", "2339-0")]),
    ("half a year", [("date", "ge2020-01-01"), ("date", "lt2020-07-01")]),
    ("a code that nobody has", [("code", "none")]),
    ("newest first", [("_sort", "-date")]),
)


def searching(scale: Scale) -> list[Row]:
    count, chance = scale.pick(10_000, 400), random.Random(2026)
    hospital = Hospital(scale.folder)
    [patient] = patients(1, chance)
    made = list(observations([patient], count, chance))
    for start in range(0, count, _AT_ONCE):
        entry = [{"resource": one} for one in (patient, *made[start : start + _AT_ONCE])]
        bundle = json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entry}).encode()
        for one in patient_imports(read_bundle(bundle)):
            hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), one)
    search, context = Search(hospital.twins), AccessContext(CLINICIAN, Purpose.TREATMENT)

    def arm(name: str, asked: list[tuple[str, str]]) -> Arm:
        query = read_query("Observation", [("patient", patient["id"]), ("_count", "20"), *asked])
        return Arm(name, lambda: search.page(context, query, base="http://localhost/fhir"))

    rows = []
    for label, asked in _SEARCHES:
        arms = [arm("by the index", asked), arm("opening all", [*asked, ("_total", "accurate")]), arm("no filter", [])]
        samples = race(arms, scale.pick(7, 3))
        target = Target("≤10 ms at 10,000", "value", "most", 10.0)
        work = f"20 of {count:,} Observations of a named patient: {label}"
        common = {"clock": "cpu", "unit": "ms", "scale": 1e3}
        rows += [
            versus(work, samples, "by the index", "opening all", target=target, **common),  # type: ignore[arg-type]
            versus(work, samples, "by the index", "no filter", kind="times", **common),  # type: ignore[arg-type]
        ]
    hospital.close()
    return rows


BENCHMARKS = (
    Benchmark(
        "vault.search",
        "one page of 20 for a clinician, decision, log and searchset included; all Observations are in rows, and the"
        " index has them (the first search fills it, and is not timed), against the same search with _total=accurate",
        searching,
    ),
)
