"""A protocol as a file for people: TOML in which each field says what it is."""

from __future__ import annotations

import json
from typing import Final

from twinward.federation.study import DetectorKind, StudyProtocol

FIELDS: Final = {
    "study_id": "The study's name: lower-case letters, digits and dashes. A protocol is run once; a new run is a new\n"
    "study, under a new name, with an ε of its own.",
    "hospitals": "Who takes part: at least three. Each pays from its own patients' privacy budget.",
    "detector": 'What is trained: "dp-var" (vector autoregression, one private sum) or "lstm-autoencoder" (Opacus,\n'
    "many rounds).",
    "epsilon": "The privacy of the whole study, 0.01 to 10, for one patient's whole stay: whoever sees the model can\n"
    "raise their odds that this patient took part at most e^ε-fold. Smaller is more private.",
    "delta": "The chance that this fails, 1e-12 to 1e-4; below 1/expected_patients.",
    "colluding": "How many hospitals may pool what they know without breaking the promise to the others' patients.\n"
    "The others draw enough noise by themselves; two must remain.",
    "clip": "The most that one patient may change a round's sum by, an L2 norm, 1e-6 to 1e6. Noise grows with it.",
    "rounds": "How many private sums are released, 1 to 1000; together they cost the ε above. 1 for dp-var.",
    "learning_rate": "Of Adam on the noisy mean gradient. Not used by dp-var.",
    "hidden": "LSTM units, 1 to 256. Not used by dp-var.",
    "bins": "Time steps that the 48 hours of a stay are cut into: 2, 3, 4, 6, 8, 12, 16, 24 or 48.",
    "expected_patients": "A public guess of how many patients there are at all hospitals together. The true number is\n"
    "nobody's to know; a sum of four times as many is refused.",
    "seed": "Of the first weights. Nothing secret depends on it. Not used by dp-var.",
}
"""What each field of ``StudyProtocol`` is, in the order of the file."""


def new_protocol(study_id: str, hospitals: tuple[str, ...], detector: DetectorKind, epsilon: float) -> StudyProtocol:
    """A protocol with the detector's defaults. Raises ``StudyInvalid``."""
    make = StudyProtocol.for_dp_var if detector is DetectorKind.DP_VAR else StudyProtocol.for_autoencoder
    return make(study_id, hospitals, epsilon=epsilon)


def protocol_toml(study: StudyProtocol) -> str:
    """The file, which parses to the same protocol."""
    values = study.model_dump(mode="json")
    lines = [
        "# A study's protocol: what hospitals agree on before anything is computed.",
        "# `twinward study check` says what it costs, `twinward study run` runs it.",
    ]
    for name, words in FIELDS.items():
        comment = [f"# {line}" for line in words.splitlines()]
        lines += ["", *comment, f"{name} = {json.dumps(values[name])}"]
    return "\n".join(lines) + "\n"
