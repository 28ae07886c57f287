"""Many patients: what importing one more costs, and a page of a search across all of them, as there are more."""

from __future__ import annotations

import random

from tests.benchmarks.harness import Arm, Benchmark, Figure, Ratio, Row, Scale, Target, race, timed
from tests.benchmarks.ingest import ndjson, patients
from tests.integration.fhir.hospital import CLINICIAN, SYSTEM, Hospital
from twinward.access.interfaces import AccessContext
from twinward.core.vocabulary import Purpose
from twinward.fhir.bulk.ndjson_import import import_ndjson
from twinward.fhir.bulk.refusals import BadLine
from twinward.fhir.search.query import read_query
from twinward.fhir.search.service import Search
from twinward.twins.ingest.bulk_import import BulkImport


def growing(scale: Scale) -> list[Row]:
    sizes, chance = ((100, 400) if scale.quick else (1_000, 4_000, 16_000, 32_000)), random.Random(2026)
    house, file = Hospital(scale.folder), scale.folder / "patients.ndjson"
    search, asker = Search(house.twins), AccessContext(CLINICIAN, Purpose.TREATMENT)
    query = read_query("Patient", [("_count", "20")])
    rows, first, there = [], 0.0, 0

    def take() -> None:
        bad: list[BadLine] = []
        context = AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT)
        import_ndjson(
            [file],
            BulkImport(house.twins, house.vault, house.access, house.clock, context),
            on_bad_line=bad.append,
        )
        if bad:
            raise AssertionError(f"line {bad[0].number} was refused: {bad[0].error}")

    for size in sizes:
        file.write_bytes(ndjson(patients(size - there, chance)))
        wall, cpu = (one / (size - there) for one in timed(Arm("import", take)))
        there, first = size, first or cpu
        work, target = f"patients until there are {size:,}: one imported", Target("≤1 ms a twin", "value", "most", 1.0)
        ratio = Ratio(cpu / first, "times")
        fewest = f"of the first {sizes[0]:,}"
        rows += [
            Row(f"{work}, CPU", Figure(cpu * 1e3, "ms"), Figure(first * 1e3, "ms"), fewest, ratio, target),
            Row(f"{work}, wall", Figure(wall * 1e3, "ms")),
        ]
        page = Arm("page", lambda: search.page(asker, query, base="http://localhost/fhir"))
        took = race([page], scale.pick(7, 3))["page"].per_item("cpu")
        at_most = Target("≤15 ms at 100,000", "value", "most", 15.0, short_of=f"{size:,}")
        rows.append(Row(f"a page of 20 across {size:,} patients, CPU", Figure.of(took, "ms", 1e3), target=at_most))
    house.close()
    return rows


BENCHMARKS = (
    Benchmark(
        "vault.patients",
        "NDJSON of Patients alone, all new, key service in memory, features included; then a clinician's page of 20"
        " Patients, decided, logged and opened; baseline: the first 1,000",
        growing,
        in_quick=False,
    ),
)
