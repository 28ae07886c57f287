"""Steps 1 and 2: patients become sealed twins, and nothing of them can be found in the files."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from twinward.access.interfaces import AccessContext
from twinward.core.errors import BadInput, Conflict, NotFound
from twinward.core.vocabulary import Again, Purpose, TwinId
from twinward.demo.display import Display
from twinward.demo.plaintext_search import search_files
from twinward.demo.result import Sealing
from twinward.fhir.bulk.bundle_files import bundle_of
from twinward.fhir.bulk.inputs import find_files, read_file
from twinward.fhir.bulk.synthetic_patients import generate_cohort
from twinward.fhir.mapping.ids import Origin
from twinward.node import SYSTEM, Node
from twinward.twins.models import DIRECTORY, PatientImport, Receipt
from twinward.vault.models import Member

_MAX_IDS = 200
"""Looking for more takes longer than sealing them did."""


@dataclass(frozen=True)
class Admitted:
    """The patients' twins and what was found out while sealing them."""

    twins: tuple[TwinId, ...]
    sealing: Sealing


def seal_patients(node: Node, display: Display, *, bundles: Path | None, count: int, seed: int) -> Admitted:
    """Bring patients in, from files or made up, and search every file of the node for what they are about."""
    rejected: list[str] = []
    if bundles is None:
        source, expected = "made up by carebundle, US Core R4", count
        sealed_imports: Iterator[tuple[PatientImport, Receipt]] = (
            (one, node.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), one))
            for one in generate_cohort(count, seed)
        )
    else:
        files = find_files([bundles])
        source, expected = f"bundles of {bundles.name}", len(files)
        sealed_imports = _seal_files(node, files, rejected)
    display.begin("1-2 · patients become sealed twins", expected)
    started = time.perf_counter()
    twins: list[TwinId] = []
    needles: dict[str, set[bytes]] = {"family names": set(), "birth dates": set(), "FHIR ids": set()}
    resources = plain_bytes = 0
    for one, receipt in sealed_imports:
        resources += len(one.records)
        plain_bytes += sum(len(record.content) for record in one.records)
        if one.reference != DIRECTORY:
            twins.append(receipt.twin)
            _collect(needles, one)
            display.advance()
    seconds = time.perf_counter() - started
    found = search_files(node.settings.home, set().union(*needles.values(), _COMMON))
    stored = sum(path.stat().st_size for path in node.settings.home.glob("vault.db*"))
    kept = next(iter(node.store.of_twin(twins[0])))
    sealed = kept.segment.sealed if isinstance(kept, Member) else kept.sealed
    display.finish(f"{resources} resources of {len(twins)} patients sealed; {found} of their words found in the files")
    sealing = Sealing(
        source=source,
        patients=len(twins),
        resources=resources,
        plain_bytes=plain_bytes,
        stored_bytes=stored,
        seconds=seconds,
        rejected=tuple(rejected),
        needles=(*(f"{len(words)} {kind}" for kind, words in needles.items()), "FHIR type names and LOINC codes"),
        needles_found=found,
        row_hex=sealed[:96].hex(" ", 2),
    )
    return Admitted(tuple(twins), sealing)


def _seal_files(node: Node, files: list[Path], rejected: list[str]) -> Iterator[tuple[PatientImport, Receipt]]:
    """Each file whole or not at all; those that are not taken are noted."""
    for path in files:
        try:
            bundle = bundle_of(path, read_file(path), origin=Origin(again=Again.NEW), clock=node.clock)
            receipts = bundle.into(node.twins, AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT))
        except (BadInput, Conflict, NotFound) as error:
            rejected.append(f"{path.name}: {error}")
            continue
        yield from zip(bundle.imports, receipts, strict=True)


_COMMON = frozenset({b"Observation", b"MedicationRequest", b"resourceType", b"4548-4", b"valueQuantity", b"birthDate"})


def _collect(needles: dict[str, set[bytes]], one: PatientImport) -> None:
    for record in one.records:
        if len(needles["FHIR ids"]) < _MAX_IDS:
            needles["FHIR ids"].add(record.reference.partition("/")[2].encode())
        if record.record_type == "Patient":
            patient = json.loads(record.content)
            needles["family names"] |= {name["family"].encode() for name in patient.get("name", []) if "family" in name}
            needles["birth dates"].add(patient.get("birthDate", "").encode())
