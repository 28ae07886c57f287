"""How well sensitive content is recognised: ``python -m tests.checks.sensitivity [FOLDER …]``.

Prints recall and false alarms on the kept cases; of folders of FHIR resources or bundles (.json, .json.gz), how many
of their resources are recognised as what. Whether those are right has to be looked at: they carry no truth.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.vectors.sensitivity.cases import CASES, MISSED, Case
from twinward.fhir.sensitivity.content import sensitivities_of


@dataclass(frozen=True)
class Measured:
    """Counts over cases."""

    positives: int
    recognised: int
    negatives: int
    false_alarms: int

    @property
    def recall(self) -> float:
        return self.recognised / self.positives

    @property
    def false_alarm_rate(self) -> float:
        return self.false_alarms / self.negatives

    def __str__(self) -> str:
        return (
            f"sensitive content: recall {self.recognised}/{self.positives} = {self.recall:.1%}, "
            f"false alarms {self.false_alarms}/{self.negatives} = {self.false_alarm_rate:.1%}"
        )


def measured(cases: Sequence[Case], missed: Sequence[Case]) -> Measured:
    """How the cases come out; what is known to be missed counts as positive too."""
    every = [*cases, *missed]
    told = [(case.told, sensitivities_of(case.resource)) for case in every]
    return Measured(
        positives=sum(bool(truth) for truth, _ in told),
        recognised=sum(bool(truth) and found >= truth for truth, found in told),
        negatives=sum(not truth for truth, _ in told),
        false_alarms=sum(not truth and bool(found) for truth, found in told),
    )


def resources_in(folder: Path) -> Iterator[dict[str, Any]]:
    """Every resource of every file, those inside bundles one by one."""
    for path in sorted((*folder.rglob("*.json"), *folder.rglob("*.json.gz"))):
        tree = json.loads(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
        if isinstance(tree, dict) and "resourceType" in tree:
            if tree["resourceType"] == "Bundle":
                yield from (one["resource"] for one in tree.get("entry", ()) if "resource" in one)
            else:
                yield tree


def main(folders: Iterable[str]) -> None:
    sys.stdout.write(f"{measured(CASES, MISSED)}\n")
    for folder in folders:
        counts: Counter[str] = Counter()
        for resource in resources_in(Path(folder)):
            told = sensitivities_of(resource)
            counts["resources"] += 1
            counts["recognised"] += bool(told)
            counts.update(one.value for one in told)
        sys.stdout.write(f"{folder}: {dict(counts)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
