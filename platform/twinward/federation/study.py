"""A study's protocol: everything that hospitals agree on before anything is computed, and its fingerprint.

Every site derives noise, rounds and clipping from the protocol by itself and never from what a coordinator says
later, so the promise a hospital gives its patients is exactly the protocol it joined.

The defaults are constants, chosen once on simulated stays (seeds 11 and 21, which nothing else uses); those of dp-var
with a look at the public PhysioNet 2012 stays too, so figures on that set flatter it a little. None was tuned on any
hospital's data: tuning on patients outside the budget would leak without being charged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from twinward.core.field_faults import faults_of
from twinward.core.sentences import sentence
from twinward.features.signal_schema import ICU, ICU_OUTCOME, MAX_STEPS, SignalSchema, schema_of
from twinward.federation.disease_groups import MOST_GROUPS, DiseaseGroup, fault_of_groups
from twinward.federation.errors import StudyInvalid
from twinward_crypto.canonical import canonicalize

MOST_SEALED: Final = 33
"""Hospitals of a study that seals its sums: each seed is split among the others, 32 at most."""
MOST_UNOPENED: Final = 64
"""Attempts that a study may leave unopened. They tell nothing; the bound keeps a coordinator from asking for ever."""

ENOUGH_TO_LOSE_ONE: Final = 5
"""Hospitals from which on a new protocol goes on without one of them: fewer would pay too much noise for it."""
ROUNDS_IN_GROUPS: Final = 20
"""Of a new protocol in groups: by then each hospital was with each other, and noise is told to a tenth of a share."""
MAX_CANONICAL_BYTES: Final = 64 << 10
"""Of a protocol: a model's file and an invitation carry it, and take no more."""

HospitalName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class DetectorKind(StrEnum):
    """What is trained."""

    AUTOENCODER = "lstm-autoencoder"
    """LSTM autoencoder by full-batch DP gradient descent."""
    DP_VAR = "dp-var"
    """Vector autoregression from one private sum of moments."""
    LOGISTIC = "logistic-warning"
    """Logistic regression of an outcome, from one private sum."""


class StudyProtocol(BaseModel):
    """What hospitals agree on. Immutable; made by ``for_autoencoder``, ``for_dp_var`` or ``parse``.

    Attributes:
        study_id: the study's name on the ledger.
        hospitals: who takes part, in the order of the roster; at least three, so that no two of them together
            with the sum learn a third's update.
        detector: what is trained.
        epsilon, delta: the whole study's privacy: one patient's whole stay added or removed, anywhere. ε lies between
            0.01 and 10, δ between 1e-12 and 1e-4.
        colluding: hospitals that may pool what they know (or lie about their noise) without breaking that promise.
        hospitals_per_patient: at how many of the hospitals one person may be a patient for the promise to hold for all
            of them together: noise grows by as much. Hospitals match no patients, so 1 promises for each by itself.
        dropouts: hospitals that a round may go on without. A share of noise that is missing counts like a colluder's,
            and a coordinator may lie about who is lost: so the others' noise suffices without both.
        spare_rounds: sums beyond ``rounds`` that are paid for, each for one round that lost a hospital: then a round
            takes one exchange. Without any, and with ``dropouts``, sums are sealed and a second, small exchange opens
            them (``aggregation.sealing``): nothing is paid for what was not opened.
        group_size: 0 for one sum of all in a round. Else each round's hospitals are dealt anew into groups of so many
            or more, and each group's sum is opened, so that over the rounds it shows who ruins them (``suspicion``).
            A group's honest members alone keep the promise: each hospital draws for these.
        clip: the L2 norm C, 1e-6 to 1e6, that one patient's contribution to one round may have.
        rounds: private sums; 1 for dp-var and logistic-warning, and in groups at least as many as hospitals. These two
            then take the same sum each time, under as much more noise as all of it together takes away again.
        learning_rate: of the descent along the noisy mean gradient; unused by dp-var.
        hidden: LSTM units; unused by dp-var.
        bins: time steps a stay is cut into; divides the steps of its schema.
        expected_patients: a public guess of the cohort's size that gradients are divided by. The true size is private.
        seed: of the initial weights; see ``simulated_start`` for 0. Nothing secret depends on it.
        signals: what a stay is made of: which signals, in which units and steps.
        disease_groups: whose patients get a head of their own above what all patients train; of dp-var and
            logistic-warning. A patient is in one at most. Those of them that pay have one (``privacy.outlook``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study_id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    hospitals: Annotated[tuple[HospitalName, ...], Field(min_length=3, max_length=64)]
    detector: DetectorKind
    epsilon: Annotated[float, Field(ge=0.01, le=10, allow_inf_nan=False)]
    delta: Annotated[float, Field(ge=1e-12, le=1e-4, allow_inf_nan=False)] = 1e-5
    colluding: Annotated[int, Field(ge=0, le=62)] = 1
    hospitals_per_patient: Annotated[int, Field(ge=1, le=64)] = 1
    dropouts: Annotated[int, Field(ge=0, le=62)] = 0
    spare_rounds: Annotated[int, Field(ge=0, le=100)] = 0
    group_size: Annotated[int, Field(ge=0, le=32)] = 0
    clip: Annotated[float, Field(ge=1e-6, le=1e6, allow_inf_nan=False)]
    rounds: Annotated[int, Field(ge=1, le=1000)]
    learning_rate: Annotated[float, Field(ge=1e-6, le=1, allow_inf_nan=False)] = 0.03
    hidden: Annotated[int, Field(ge=1, le=256)] = 24
    bins: Annotated[int, Field(ge=1, le=MAX_STEPS)] = 12
    expected_patients: Annotated[int, Field(ge=1, le=10_000_000)] = 2700
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    signals: Annotated[SignalSchema, BeforeValidator(schema_of)] = ICU
    disease_groups: Annotated[tuple[DiseaseGroup, ...], Field(max_length=MOST_GROUPS)] = ()

    @model_validator(mode="after")
    def _check(self) -> StudyProtocol:
        if len(set(self.hospitals)) != len(self.hospitals):
            raise ValueError(sentence("hospitals: name each hospital once"))
        if self.hospitals_per_patient > len(self.hospitals):
            raise ValueError(
                sentence(
                    "hospitals_per_patient: nobody is at more than these {count} hospitals", count=len(self.hospitals)
                )
            )
        self._check_groups()
        if self.honest < 2:
            raise ValueError(
                sentence(
                    "colluding: at most {most} of {count} hospitals may collude or drop out, dropouts included; two "
                    "honest ones must remain for a sum to hide either",
                    most=len(self.hospitals) - 2,
                    count=len(self.hospitals),
                )
            )
        if self.spare_rounds and not self.dropouts:
            raise ValueError(
                sentence("spare_rounds: of no use without dropouts, for no round goes on without a hospital")
            )
        if self.sealed and len(self.hospitals) > MOST_SEALED:
            raise ValueError(
                sentence(
                    "dropouts: of more than {most} hospitals a round is repeated: set spare_rounds", most=MOST_SEALED
                )
            )
        if self.detector is not DetectorKind.AUTOENCODER and self.rounds != 1 and not self.group_size:
            raise ValueError(
                sentence("rounds: {detector} is one private sum, so rounds must be 1", detector=self.detector.value)
            )
        if self.signals.has_outcome != (self.detector is DetectorKind.LOGISTIC):
            raise ValueError(
                sentence(
                    "signals: logistic-warning foretells an outcome, the last signal of its schema (icu-outcome has "
                    "one); other detectors learn from signals without one"
                )
            )
        steps = self.signals.steps
        if self.bins > steps or steps % self.bins or (self.bins == 1 and steps > 1):
            fitting = ", ".join(str(n) for n in range(min(2, steps), steps + 1) if steps % n == 0)
            given = {"steps": steps, "fitting": fitting}
            raise ValueError(
                sentence("bins: must divide the {steps} steps of its signals, so one of {fitting}", **given)
            )
        self._check_disease_groups()
        if self.delta * self.expected_patients >= 1:
            raise ValueError(
                sentence("delta: must be below 1/expected_patients, or one patient could be published outright")
            )
        if len(self.canonical()) > MAX_CANONICAL_BYTES:
            raise ValueError(
                sentence(
                    "signals: a protocol has {most} bytes at most; shorten titles and units", most=MAX_CANONICAL_BYTES
                )
            )
        return self

    def _check_groups(self) -> None:
        """Raise ``ValueError`` for groups that hide nobody or tell nothing."""
        hospitals, size = len(self.hospitals), self.group_size
        if not size:
            return
        if not self.colluding + 2 <= size <= hospitals // 2:
            raise ValueError(
                sentence(
                    "group_size: {least} (two honest members beside {colluding} colluding) to {most} (two groups of "
                    "{hospitals} hospitals), or 0 for none",
                    least=self.colluding + 2,
                    colluding=self.colluding,
                    most=hospitals // 2,
                    hospitals=hospitals,
                )
            )
        if self.rounds < hospitals:
            raise ValueError(
                sentence("rounds: groups tell {count} hospitals apart in {count} rounds at least", count=hospitals)
            )
        if self.sealed:
            raise ValueError(sentence("dropouts: sums of groups are not sealed: set spare_rounds, or no dropouts"))

    def _check_disease_groups(self) -> None:
        """Raise ``ValueError`` for disease groups that nothing here trains heads for."""
        if not self.disease_groups:
            return
        if self.detector is DetectorKind.AUTOENCODER:
            raise ValueError(sentence("disease_groups: of dp-var and logistic-warning; an autoencoder has no heads"))
        if self.group_size:
            raise ValueError(
                sentence(
                    "disease_groups: not together with group_size, whose tests look at one sum of moments; set "
                    "group_size to 0 for heads of groups, or leave disease_groups out to tell who ruins a sum"
                )
            )
        fault = fault_of_groups(self.disease_groups, self.expected_patients)
        if fault:
            raise ValueError(sentence("disease_groups: {fault}", fault=fault))

    @classmethod
    def for_autoencoder(cls, study_id: str, hospitals: tuple[str, ...], **changes: Any) -> StudyProtocol:
        """An LSTM autoencoder study with this module's defaults, ε = 3.

        Raises:
            StudyInvalid: a change that cannot be run.
        """
        return cls.parse(
            {"study_id": study_id, "hospitals": hospitals, "detector": DetectorKind.AUTOENCODER}
            | {"epsilon": 3.0, "clip": 0.3, "rounds": 40}
            | ({"dropouts": 1, "spare_rounds": 1} if len(hospitals) >= ENOUGH_TO_LOSE_ONE else {})
            | {name: value for name, value in _fitting(changes).items() if name == "bins"}
            | changes
        )

    @classmethod
    def for_dp_var(cls, study_id: str, hospitals: tuple[str, ...], **changes: Any) -> StudyProtocol:
        """A DP-VAR study with this module's defaults, ε = 3.

        Raises:
            StudyInvalid: a change that cannot be run.
        """
        return cls.parse(
            {"study_id": study_id, "hospitals": hospitals, "detector": DetectorKind.DP_VAR}
            | {"epsilon": 3.0, "clip": 12.0, "rounds": 1}
            | ({"dropouts": 1} if len(hospitals) >= ENOUGH_TO_LOSE_ONE else {})
            | _in_groups(len(hospitals), changes)
            | _fitting(changes)
            | changes
        )

    @classmethod
    def for_logistic(cls, study_id: str, hospitals: tuple[str, ...], **changes: Any) -> StudyProtocol:
        """An early warning of death in hospital with this module's defaults, ε = 3.

        Raises:
            StudyInvalid: a change that cannot be run.
        """
        return cls.parse(
            {"study_id": study_id, "hospitals": hospitals, "detector": DetectorKind.LOGISTIC}
            | {"epsilon": 3.0, "clip": 4.0, "rounds": 1, "signals": ICU_OUTCOME}
            | _in_groups(len(hospitals), changes)
            | {name: value for name, value in _fitting(changes).items() if name == "bins"}
            | changes
        )

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> StudyProtocol:
        """A protocol from plain fields, as read from a file.

        Raises:
            StudyInvalid: naming every field that is wrong and why.
        """
        try:
            return cls.model_validate(dict(fields))
        except ValidationError as error:
            raise StudyInvalid(
                sentence("this study cannot be run as written: {faults}", faults=faults_of(error)),
                hint="correct these fields of the protocol; StudyProtocol documents each of them",
            ) from error

    @property
    def honest(self) -> int:
        """Hospitals whose noise alone keeps the promise."""
        return (self.group_size or len(self.hospitals) - self.dropouts) - self.colluding

    @property
    def least_hospitals(self) -> int:
        """Hospitals without which no round goes on."""
        return len(self.hospitals) - self.dropouts

    @property
    def least_members(self) -> int:
        """Hospitals without which no sum is opened."""
        return self.group_size or self.least_hospitals

    @property
    def repeats(self) -> bool:
        """Whether each round takes the same sum, for groups to be dealt over it anew."""
        return self.group_size > 0 and self.detector is not DetectorKind.AUTOENCODER

    @property
    def sums(self) -> int:
        """Sums that a patient may be in, and that are paid for."""
        return self.rounds + self.spare_rounds

    @property
    def sealed(self) -> bool:
        """Whether a sum is sealed until enough hospitals agree to open it."""
        return self.dropouts > 0 and self.spare_rounds == 0

    @property
    def attempts(self) -> int:
        """Attempts that hospitals answer: one for each sum, or, where unopened ones cost nothing, some more."""
        return self.sums + (MOST_UNOPENED if self.sealed else 0)

    def canonical(self) -> bytes:
        """The protocol's RFC 8785 bytes. What earlier releases had no other of goes without saying, so that their
        protocols keep their fingerprints: the signals of the ICU, no dropouts, no spare rounds, no groups.
        """
        unsaid = {
            "hospitals_per_patient": 1,
            "dropouts": 0,
            "spare_rounds": 0,
            "group_size": 0,
            "signals": ICU,
            "disease_groups": (),
        }
        same = {name for name, value in unsaid.items() if getattr(self, name) == value}
        return canonicalize(self.model_dump(mode="json", exclude=same))

    def fingerprint(self) -> bytes:
        """SHA-256 of the canonical bytes: what sites sign, so that nobody takes part in another study."""
        return hashlib.sha256(b"twinward/federation/study/v1\0" + self.canonical()).digest()


def _in_groups(hospitals: int, changes: Mapping[str, Any]) -> dict[str, int]:
    """The rounds that go with groups over which one sum is repeated, and one to spare, unless they are said."""
    if not changes.get("group_size"):
        return {}
    lost = {"dropouts": 1, "spare_rounds": 1} if changes.get("dropouts", 1) else {}
    return {"rounds": max(ROUNDS_IN_GROUPS, 2 * hospitals)} | lost


def _fitting(changes: Mapping[str, Any]) -> dict[str, float]:
    """The bins and dp-var's clip that go with other signals than the ICU's, unless they are said.

    The clip is what a patient of the ICU's defaults may contribute, by the number of steps and of signals: a patient's
    moments grow with both. A table's row counts as one half of its half-ranges away from the middle.
    """
    try:
        signals = SignalSchema.model_validate(schema_of(changes.get("signals", ICU)))
    except ValueError:
        return {}  # the protocol says what is wrong with it
    if signals == ICU:
        return {}
    bins = signals.default_bins()
    if signals.is_table or len(signals.signal) == 1:
        columns = len(signals.signal) if signals.is_table else bins
        return {"bins": bins, "clip": round(1 + 9 * columns / 32, 1)}
    return {"bins": bins, "clip": round(12.0 * (bins - 1) / 11 * (16 + len(signals.signal)) / 40, 1)}
