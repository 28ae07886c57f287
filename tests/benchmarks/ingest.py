"""Taking Observations in, from bytes to committed, sealed and indexed; and the room they take.

The workload is Synthea's: Observations of about 840 bytes with codes, units, times and 15-digit values as its bundles
have them, made afresh for each repetition (new ids, so that all are new), from patients with some hundred each.
"""

from __future__ import annotations

import json
import os
import random
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fhir.resources.R4B.observation import Observation
from sqlalchemy import Engine, create_engine, event
from sqlmodel import Field, Session, SQLModel

from tests.benchmarks.harness import Arm, Benchmark, Figure, Ratio, Row, Scale, Target, race, versus
from tests.bundles import read_bundle
from tests.integration.fhir.hospital import SYSTEM, Hospital
from twinward.access.interfaces import AccessContext
from twinward.core.vocabulary import Purpose
from twinward.fhir.bulk.ndjson_import import import_ndjson
from twinward.fhir.bulk.refusals import BadLine
from twinward.fhir.mapping.records import patient_imports
from twinward.twins.ingest.bulk_import import BulkImport
from twinward.vault.segments.compaction import Compactor
from twinward_crypto import blind_index
from twinward_crypto.keys import TenantId

_VITALS = (
    ("8302-2", "Body Height", "cm", 120, 200),
    ("29463-7", "Body Weight", "kg", 40, 130),
    ("39156-5", "Body Mass Index", "kg/m2", 16, 40),
    ("8867-4", "Heart rate", "/min", 50, 110),
    ("9279-1", "Respiratory rate", "/min", 10, 25),
)
_LABS = (
    ("2339-0", "Glucose", "mg/dL", 65, 130),
    ("6299-2", "Urea Nitrogen", "mg/dL", 7, 20),
    ("38483-4", "Creatinine", "mg/dL", 0.5, 1.4),
    ("49765-1", "Calcium", "mg/dL", 8, 11),
    ("2947-0", "Sodium", "mmol/L", 135, 146),
    ("6298-4", "Potassium", "mmol/L", 3.4, 5.3),
    ("2069-3", "Chloride", "mmol/L", 99, 111),
    ("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", "%", 4, 9),
    ("2093-3", "Total Cholesterol", "mg/dL", 130, 260),
    ("2571-8", "Triglycerides", "mg/dL", 80, 250),
)


def patients(count: int, chance: random.Random) -> list[dict[str, Any]]:
    """Patient resources."""
    return [
        {"resourceType": "Patient", "id": _uuid(chance), "gender": "female", "birthDate": f"19{40 + number % 50}-05-17"}
        for number in range(count)
    ]


def observations(of: Sequence[dict[str, Any]], each: int, chance: random.Random) -> Iterator[dict[str, Any]]:
    """Observations of patients, encounter after encounter, as Synthea writes them."""
    for patient in of:
        encounter, day = "", ""
        for number in range(each):
            if number % 12 == 0:
                encounter = f"Encounter/{_uuid(chance)}"
                day = f"20{10 + number // 12 % 15}-{1 + number % 12:02d}-{1 + number % 28:02d}T08:33:56"
            yield _observation(patient["id"], encounter, day, number, chance)


def _observation(patient: str, encounter: str, day: str, number: int, chance: random.Random) -> dict[str, Any]:
    vital = number % 5 < 2
    code, name, unit, low, high = chance.choice(_VITALS if vital else _LABS)
    category = "vital-signs" if vital else "laboratory"
    system = "http://terminology.hl7.org/CodeSystem/observation-category"
    return {
        "resourceType": "Observation",
        "id": _uuid(chance),
        "status": "final",
        "category": [{"coding": [{"system": system, "code": category, "display": category}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": code, "display": name}], "text": name},
        "subject": {"reference": f"Patient/{patient}"},
        "encounter": {"reference": encounter},
        "effectiveDateTime": f"{day}+00:00",
        "issued": f"{day}.107+00:00",
        "valueQuantity": {
            "value": chance.uniform(low, high),
            "unit": unit,
            "system": "http://unitsofmeasure.org",
            "code": unit,
        },
        "meta": {"tag": [{"system": "https://smarthealthit.org/tags", "code": "synthea-5-2019"}]},
    }


def _uuid(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def ndjson(resources: Sequence[dict[str, Any]]) -> bytes:
    """One resource a line, compact."""
    return b"".join(json.dumps(one, separators=(",", ":")).encode() + b"\n" for one in resources)


class UsualRow(SQLModel, table=True):
    """What the usual way would store: the sealed resource, and three blind tags of it in indexed columns."""

    __tablename__ = "benchmark_usual_row"

    id: str = Field(default_factory=lambda: str(uuid.uuid4()), primary_key=True)
    subject: bytes = Field(index=True)
    code: bytes = Field(index=True)
    encounter: bytes = Field(index=True)
    body: bytes


class UsualWay:
    """fhir.resources and SQLModel: parse, validate, index, encrypt and commit, as anybody would write it."""

    def __init__(self, folder: Path) -> None:
        self._engine = _durable(folder / "usual.db")
        self._key, self._tags = AESGCM(os.urandom(32)), os.urandom(32)

    def ingest(self, lines: Sequence[bytes]) -> None:
        with Session(self._engine) as session:
            session.add_all([self._row(line) for line in lines])
            session.commit()

    def close(self) -> None:
        self._engine.dispose()

    def _row(self, line: bytes) -> UsualRow:
        one = Observation.model_validate_json(line)
        nonce, body = os.urandom(12), one.model_dump_json().encode()
        return UsualRow(
            subject=blind_index.tag(self._tags, one.subject.reference.encode()),
            code=blind_index.tag(self._tags, one.code.coding[0].code.encode()),
            encounter=blind_index.tag(self._tags, one.encounter.reference.encode()),
            body=nonce + self._key.encrypt(nonce, body, one.id.encode()),
        )


def _durable(path: Path) -> Engine:
    """SQLite as the vault has it: WAL, every commit on the disk."""
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    UsualRow.__table__.create(engine)  # type: ignore[attr-defined]
    return engine


class Ward:
    """A hospital with patients, and files of their new Observations."""

    def __init__(self, folder: Path, count: int) -> None:
        self.chance = random.Random(2026)
        self.folder = folder
        self.hospital = Hospital(folder / "hospital")
        self.patients = patients(count, self.chance)
        self.file = folder / "Observation.ndjson"
        self.lines: list[bytes] = []
        (folder / "Patient.ndjson").write_bytes(ndjson(self.patients))
        self.take(folder / "Patient.ndjson")

    def fresh(self, each: int) -> Callable[[], None]:
        """Writes a file of new Observations."""

        def prepare() -> None:
            made = ndjson(list(observations(self.patients, each, self.chance)))
            self.file.write_bytes(made)
            self.lines = made.splitlines()

        return prepare

    def take(self, path: Path, **options: Any) -> None:
        """Import a file whole."""
        bad: list[BadLine] = []
        house, context = self.hospital, AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT)
        bulk = BulkImport(house.twins, house.vault, house.access, house.clock, context, **options)
        import_ndjson([path], bulk, on_bad_line=bad.append)
        if bad:
            raise AssertionError(f"line {bad[0].number} was refused: {bad[0].error}")


def ingesting(scale: Scale) -> list[Row]:
    count, each = scale.pick(30, 8), 330
    ward = Ward(scale.folder, count)
    usual = UsualWay(scale.folder)
    bundles: list[bytes] = []

    def fresh_bundle() -> None:
        entry = [{"resource": one} for one in observations(ward.patients[:1], each, ward.chance)]
        entry.append({"resource": ward.patients[0]})
        bundles[:] = [ndjson([{"resourceType": "Bundle", "type": "collection", "entry": entry}])]  # patients as kept

    def bundle() -> None:
        for one in patient_imports(read_bundle(bundles[0])):
            ward.hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), one)

    fresh = ward.fresh(each)
    some = min(count * each, 400)
    segments, rows, whole, theirs = (
        "NDJSON to segments",
        "NDJSON to rows",
        "bundle to rows",
        "fhir.resources + SQLModel",
    )
    timed = race(
        [
            Arm(segments, lambda: ward.take(ward.file), count * each, fresh),
            Arm(rows, lambda: ward.take(ward.file, least=1 << 30), count * each, fresh),
            Arm(whole, bundle, each, fresh_bundle),
            Arm(theirs, lambda: usual.ingest(ward.lines[:some]), some),
        ],
        scale.pick(5, 3),
    )
    ward.hospital.close()
    usual.close()
    short = "" if not scale.quick else "few patients"
    common: dict[str, Any] = {"clock": "cpu", "unit": "µs", "scale": 1e6}
    work = "ingest an Observation (parse, validate, permit, log, index, seal, commit)"
    on_rows = Target("≥40× on rows", "ratio", "least", 40, short)
    return [
        versus(
            f"{work}: NDJSON, segments",
            timed,
            segments,
            theirs,
            target=Target("≥100× on the segment path", "ratio", "least", 100, short),
            **common,
        ),
        versus(f"{work}: NDJSON, rows", timed, rows, theirs, target=on_rows, **common),
        versus(f"{work}: transaction bundle, rows, one patient", timed, whole, theirs, target=on_rows, **common),
    ]


def storing(scale: Scale) -> list[Row]:
    count, each = scale.pick(30, 10), 330
    ward = Ward(scale.folder / "segments", count) if _made(scale.folder / "segments") else None
    other = Ward(scale.folder / "rows", count) if _made(scale.folder / "rows") else None
    assert ward is not None
    assert other is not None
    ward.fresh(each)()
    other.file.write_bytes(ward.file.read_bytes())
    other.patients = ward.patients
    (other.folder / "Patient.ndjson").write_bytes(ndjson(ward.patients))
    other.take(other.folder / "Patient.ndjson")
    empty = _stored(ward.hospital)
    ward.take(ward.file)
    before = _stored(other.hospital)
    other.take(other.file, least=1 << 30)
    as_rows = _stored(other.hospital) - before
    house = other.hospital
    Compactor(house.store, house.keyring, house.clock, TenantId("st-anna")).run()
    compacted = _stored(house) - before
    direct = _stored(ward.hospital) - empty
    plain = sum(map(len, ward.lines))
    for one in (ward, other):
        one.hospital.close()
    target = Target("≤0.15× (segments)", "ratio", "most", 0.15)
    number = count * each
    return [
        _bytes_row("sealed bytes an Observation: segments of an import", direct, plain, number, target),
        _bytes_row("sealed bytes an Observation: rows that were compacted", compacted, plain, number, target),
        _bytes_row("sealed bytes an Observation: rows", as_rows, plain, number, None),
    ]


def _made(folder: Path) -> bool:
    folder.mkdir()
    return True


def _stored(hospital: Hospital) -> int:
    hospital.store.forget_deleted()  # the write-ahead log goes into the file
    return sum(path.stat().st_size for path in hospital.folder.glob("records.db*") if not path.name.endswith("-shm"))


def _bytes_row(work: str, stored: int, plain: int, number: int, target: Target | None) -> Row:
    figures = Figure(stored / number, "B"), Figure(plain / number, "B")
    raw = {"stored_bytes": stored, "plain_bytes": plain}
    return Row(work, *figures, "plaintext NDJSON", Ratio(stored / plain, "of"), target, raw)


BENCHMARKS = (
    Benchmark(
        "vault.ingest",
        "Synthea-like Observations of 840 B, 330 a patient, all new, in one process that is warm: NDJSON through"
        " import_ndjson, a bundle through Twins.ingest (policy, access log, blind index, features, seal, commit), key"
        " service in memory; against fhir.resources parsing and dumping, three HMAC tags, AES-GCM and SQLModel add_all"
        " of 400; both SQLite in WAL with a synchronous commit; CPU",
        ingesting,
    ),
    Benchmark(
        "vault.bytes",
        "the record store's file, blind index and all, grown by 330 Observations a patient, against the NDJSON itself",
        storing,
    ),
)
