"""What one run of the demo found out. The summary and the report draw from this and from nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from twinward.similarity.explainer import CountObservation


@dataclass(frozen=True)
class Sealing:
    """Step 2: records into the vault."""

    source: str
    patients: int
    resources: int
    plain_bytes: int
    stored_bytes: int
    seconds: float
    rejected: tuple[str, ...]
    needles: tuple[str, ...]
    """Kinds of plaintext looked for in every file of the vault."""
    needles_found: int
    row_hex: str
    """The first bytes of one sealed row, as storage sees it."""


@dataclass(frozen=True)
class Reading:
    """One access of step 3."""

    who: str
    sentence: str
    decision: str
    log_index: int


@dataclass(frozen=True)
class Witnessed:
    """The checkpoint of step 3 and what became of it."""

    size: int
    root_hex: str
    witnesses: tuple[str, ...]
    quorum: int
    block: int
    gas: int
    contract: str
    gas_per_event: float


@dataclass(frozen=True)
class Tampering:
    """The altered copy of the log of step 3."""

    altered_index: int
    reported_index: int | None
    say: str


@dataclass(frozen=True)
class Query:
    """One vendor query of step 4."""

    mode: str
    title: str
    cohort: int
    dimension: int
    threshold: float
    matched: int
    released: int
    withheld: str
    equals_brute_force: bool
    seconds: float
    upload_bytes: int
    download_bytes: int
    budget_left: int
    learns: str
    """Who learns what, in one sentence."""
    note: str = ""


@dataclass(frozen=True)
class Curve:
    """One detector's figures."""

    name: str
    auroc: float
    low: float
    high: float
    false_positive_rate: tuple[float, ...] = ()
    true_positive_rate: tuple[float, ...] = ()


@dataclass(frozen=True)
class TrainedModel:
    """One detector of step 5. ``curves`` begins with the private one."""

    detector: str
    epsilon: float
    noise_multiplier: float
    rounds: int
    clip: float
    curves: tuple[Curve, ...]
    model_number: int
    model_hash: str
    seconds: float


@dataclass(frozen=True)
class Training:
    """Step 5."""

    hospitals: tuple[str, ...]
    patients: int
    source: str
    delta: float
    spent_epsilon: float
    """What all of the step's studies together cost each patient, from the ledger's sum of 1/sigma^2."""
    models: tuple[TrainedModel, ...]
    seconds: float


@dataclass(frozen=True)
class Ward:
    """Step 6: an hour of a ward."""

    beds: int
    stored: int
    again: int
    """Readings that came a second time, and were not stored again."""
    raised: tuple[str, ...]
    """Alerts of the patient who deteriorates."""
    elsewhere: int
    """Alerts of all others."""
    windows: int
    """Hours that were packed and told to the log."""
    seconds: float


@dataclass(frozen=True)
class DemoResult:
    """Everything a finished run found out."""

    hospital: str
    home: str
    sealing: Sealing
    readings: tuple[Reading, ...]
    witnessed: Witnessed
    tampering: Tampering
    queries: tuple[Query, ...]
    distances: tuple[float, ...]
    """Brute-force distances of the demo's query, for the picture only: no party to the protocol holds them all."""
    count: CountObservation
    """The feasibility count, as both sides saw it."""
    training: Training
    ward: Ward
    seconds: float

    def holds(self) -> bool:
        """Whether every claim of the run was found true."""
        sealed = self.sealing.needles_found == 0
        caught = self.tampering.altered_index == self.tampering.reported_index
        exact = bool(self.queries) and all(query.equals_brute_force for query in self.queries)
        once = self.ward.stored == self.ward.again and bool(self.ward.raised)
        return sealed and caught and exact and once and self.count.is_possible
