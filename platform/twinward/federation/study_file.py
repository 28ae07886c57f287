"""A protocol as a file for people: TOML in which each field says what it is."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from twinward.core.errors import BadInput
from twinward.features.signal_schema import SHIPPED, SignalSchema
from twinward.federation.disease_groups import DiseaseGroup
from twinward.federation.study import DetectorKind, StudyProtocol

MAX_PROTOCOL_BYTES: Final = 1 << 20

FIELDS: Final = {
    "study_id": "The study's name: lower-case letters, digits and dashes. A protocol is run once; a new run is a new\n"
    "study, under a new name, with an ε of its own.",
    "hospitals": "Who takes part: at least three. Each pays from its own patients' privacy budget.",
    "detector": 'What is trained: "dp-var" (vector autoregression, one private sum), "lstm-autoencoder" (Opacus,\n'
    'many rounds) or "logistic-warning" (foretells an outcome, one private sum).',
    "epsilon": "The privacy of the whole study, 0.01 to 10, for one patient's whole stay: whoever sees the model can\n"
    "raise their odds that this patient took part at most e^ε-fold. Smaller is more private.",
    "delta": "The chance that this fails, 1e-12 to 1e-4; below 1/expected_patients.",
    "colluding": "How many hospitals may pool what they know without breaking the promise to the others' patients.\n"
    "The others draw enough noise by themselves; two must remain.",
    "hospitals_per_patient": "At how many of the hospitals one person may be a patient, for ε to hold for all of them\n"
    "together. 1: it holds at each by itself. 2 doubles the noise: hospitals match no patients.",
    "dropouts": "How many hospitals a round may go on without. The others draw enough noise without them, too.",
    "spare_rounds": "Rounds beyond those below that are paid for, each to make up for one that lost a hospital;\n"
    "then a round takes one exchange. With dropouts and 0 here, a second, small exchange opens each sum, and none is\n"
    "paid twice: the better choice for few rounds.",
    "group_size": "0: each round has one sum, of all. Else hospitals are dealt anew into groups of so many or more in\n"
    "each round, each group's sum is opened, and over the rounds it shows who ruins them. It takes two groups, at\n"
    "least as many rounds as hospitals, and the noise of the smaller sums.",
    "clip": "The most that one patient may change a round's sum by, an L2 norm, 1e-6 to 1e6. Noise grows with it.",
    "rounds": "How many private sums are released, 1 to 1000; together they cost the ε above. 1\n"
    "but for lstm-autoencoder, and for groups.",
    "learning_rate": "Of the descent along the noisy mean gradient. Used by lstm-autoencoder.",
    "hidden": "LSTM units, 1 to 256. Used by lstm-autoencoder.",
    "bins": "Time steps that a stay is cut into: a divisor of the steps of its signals, such as 12 of 48.",
    "expected_patients": "A public guess of how many patients there are at all hospitals together. The true number is\n"
    "nobody's to know; a sum of four times as many is refused.",
    "seed": "Of the first weights. Nothing secret depends on it. 0: where the ICU's signals, 12 bins and 24 units are\n"
    "kept, weights that were learnt from simulated stays. Used by lstm-autoencoder.",
    "signals": 'What a stay is made of: "icu" (24 charted signals, 48 hours), "icu-outcome" (and death in hospital),\n'
    '"ecg" (a heartbeat of 140 samples),\n'
    '"checkup" (what a practice measures in ten years), or signals of your own, in which low and high are published\n'
    "reference limits, never measured on the patients of the study.",
    "disease_groups": "Groups of patients with a head of their own above what all patients train, eight at most; of\n"
    'dp-var and logistic-warning. Each is a table: name, expected_patients (a public guess), and codes: "system|code"\n'
    "of conditions on record, with * at the end for all below. A patient is in the first that fits, or in none. Where\n"
    "a group's guess is too small at this ε it has no head, and `twinward study check` says so.",
}
"""What each field of ``StudyProtocol`` is, in the order of the file."""


def new_protocol(
    study_id: str, hospitals: tuple[str, ...], detector: DetectorKind, epsilon: float, **changes: Any
) -> StudyProtocol:
    """A protocol with the detector's defaults. Raises ``StudyInvalid``."""
    make = {
        DetectorKind.DP_VAR: StudyProtocol.for_dp_var,
        DetectorKind.AUTOENCODER: StudyProtocol.for_autoencoder,
        DetectorKind.LOGISTIC: StudyProtocol.for_logistic,
    }
    return make[detector](study_id, hospitals, epsilon=epsilon, **changes)


def read_study(path: Path) -> StudyProtocol:
    """The protocol in a ``.toml`` or ``.json`` file. Raises ``BadInput``, which says what is wrong with it."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_PROTOCOL_BYTES + 1)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > MAX_PROTOCOL_BYTES:
        raise BadInput(f"{path} is longer than {MAX_PROTOCOL_BYTES} bytes")
    return parse_study(content, path)


def parse_study(content: bytes, path: Path) -> StudyProtocol:
    """A protocol's content; its file's name says whether it is TOML or JSON. Raises ``BadInput``."""
    kind = "TOML" if path.suffix == ".toml" else "JSON"
    try:
        found = tomllib.loads(content.decode()) if kind == "TOML" else json.loads(content)
    except (ValueError, RecursionError):
        raise BadInput(f"{path} is not {kind}", hint="a protocol is a .toml or .json file") from None
    if not isinstance(found, dict):
        raise BadInput(f"{path} is not a JSON object")
    return StudyProtocol.parse(found)


def protocol_toml(study: StudyProtocol) -> str:
    """The file, which parses to the same protocol."""
    tables = ("signals", "disease_groups")  # these end a file
    values = study.model_dump(mode="json", exclude=set(tables))
    lines = [
        "# A study's protocol: what hospitals agree on before anything is computed.",
        "# `twinward study check` says what it costs, `twinward study run` runs it.",
    ]
    for name, words in FIELDS.items():
        if name not in tables:
            lines += ["", *_comment(words), f"{name} = {json.dumps(values[name])}"]
    lines += ["", *_comment(FIELDS["signals"]), *_signals(study.signals)]
    lines += ["", *_comment(FIELDS["disease_groups"]), *_disease_groups(study.disease_groups)]
    return "\n".join(lines) + "\n"


def _comment(words: str) -> list[str]:
    return [f"# {line}" for line in words.splitlines()]


def _signals(signals: SignalSchema) -> list[str]:
    """A shipped schema by its name, any other as a table."""
    if SHIPPED.get(signals.name) == signals:
        return [f"signals = {json.dumps(signals.name)}"]
    lines = ["[signals]", f"name = {json.dumps(signals.name)}", f"steps = {signals.steps}"]
    if signals.step_hours is not None:
        lines.append(f"step_hours = {signals.step_hours!r}")
    for one in signals.signal:
        given = one.model_dump(mode="json", exclude_defaults=True)
        lines += ["", "[[signals.signal]]", *(f"{name} = {_toml(value)}" for name, value in given.items())]
    return lines


def _disease_groups(groups: Sequence[DiseaseGroup]) -> list[str]:
    lines: list[str] = []
    for one in groups:
        lines += ["", "[[disease_groups]]", f"name = {json.dumps(one.name)}"]
        lines += [f"codes = {_toml(list(one.codes))}", f"expected_patients = {one.expected_patients}"]
    return lines


def _toml(value: object) -> str:
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
