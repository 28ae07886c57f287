"""How FHIR R4 is kept to, in figures: ``python -m tests.checks.conformity [FOLDER]``, the folder ../shared/data.

Everything is sent to a real service on a folder of its own. *Wrong* is what is refused though it is right, taken though
it is broken, or comes out otherwise than it went in; each is named, and the command ends with 1. What is not there is
said; the resources that break an invariant are kept in the repository.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import Hospital
from tests.integration.fhir.test_official_examples import BUNDLE, EMERGENCY, NOBODYS, SAYS_NOTHING
from tests.integration.fhir.test_synthea_over_http import exact, meaning_of
from tests.integration.fhir.web import outcome, principal_of, send, without_server
from tests.unit.fhir.validation.test_invariants import BROKEN, SAME_TYPE
from tests.unit.fhir.validation.test_primitives import NULL, REFUSED, lines, resource
from twinward.api.fhir import fhir_router
from twinward.fhir.errors import InvalidResource
from twinward.fhir.json.strict_json import decode
from twinward.fhir.validation.validator import validate

DATA = Path(__file__).parents[2].parent / "shared" / "data"


@dataclass
class Figures:
    """What became of some inputs."""

    name: str
    taken: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def refused(self, reason: str) -> None:
        self.reasons[reason] += 1

    def __str__(self) -> str:
        refused = sum(self.reasons.values())
        told = f"{self.name:<34}{self.taken:>9}{refused:>9}{len(self.wrong):>7}"
        return "\n".join([told, *(f"    {count:>5} {why}" for why, count in self.reasons.most_common(6))])


def examples(web: TestClient, data: Path) -> Iterator[Figures]:
    """HL7's own: each is put under its id and read back."""
    figures = Figures("HL7's examples")
    files = {path.stem: path.read_bytes() for path in sorted((data / "fhir-r4-examples").glob("*.json"))}
    for patient in sorted(
        set(re.findall(rb'"reference": *"Patient/([A-Za-z0-9\-.]{1,64})"', b"".join(files.values())))
    ):
        body = {"resourceType": "Patient", "id": patient.decode()}
        send(web, "PUT", f"/Patient/{patient.decode()}", content=json.dumps(body))
    for name, content in files.items():
        given = exact(content)
        if given["resourceType"] == "Subscription":
            figures.refused("a Subscription is no record: it has routes of its own, for this node's topics")
            continue
        address = f"/{given['resourceType']}/{given['id']}"
        answer = send(web, "PUT", address, content=content)
        if answer.status_code not in (200, 201):
            _refused_example(figures, name, answer)
            continue
        figures.taken += 1
        kept = send(web, "GET", address, headers=EMERGENCY)
        if without_server(exact(kept.content)) != without_server(given):
            figures.wrong.append(f"{name}: changed on the way")
        if name in SAYS_NOTHING:
            figures.wrong.append(f"{name}: taken though its narrative is empty")
    yield figures


def _refused_example(figures: Figures, name: str, answer: Any) -> None:
    if name.startswith(BUNDLE):
        expected, reason = "not kept as one", "a Bundle is not kept as one resource"
    elif name in SAYS_NOTHING:
        expected, reason = "txt-2", "a narrative that says nothing (txt-2)"
    else:
        expected, reason = "names no patient", "names no patient, or several"
    said = outcome(answer)["diagnostics"]
    if expected in said and (name.startswith(BUNDLE) or name in NOBODYS | SAYS_NOTHING):
        figures.refused(reason)
    else:
        figures.wrong.append(f"{name}: refused though right: {said}")


def synthea(web: TestClient, data: Path) -> Iterator[Figures]:
    """Synthea's bundles: each is a transaction; each of its resources is read back."""
    bundles, resources = Figures("Synthea's bundles"), Figures("  their resources, read back")
    for path in sorted((data / "synthea-r4").glob("*.json.gz")):
        content = gzip.decompress(path.read_bytes())
        answer = send(web, "POST", "", "system", content=content)
        if answer.status_code != 200:
            bundles.wrong.append(f"{path.name}: refused though right: {outcome(answer)['diagnostics']}")
            continue
        bundles.taken += 1
        made = [entry["response"]["location"].split("/_history")[0] for entry in answer.json()["entry"]]
        for reference, meant in meaning_of(content, made).items():
            kept = send(web, "GET", f"/{reference}", headers=EMERGENCY)
            if kept.status_code == 200 and without_server(exact(kept.content)) == without_server(meant):
                resources.taken += 1
            else:
                resources.wrong.append(f"{path.name} {reference}: changed on the way")
    yield from (bundles, resources)


def primitives(_: TestClient, data: Path) -> Iterator[Figures]:
    """Google's lines: a primitive each, in a Patient."""
    valid, invalid = Figures("primitives, valid"), Figures("primitives, invalid")
    for name, line in lines(data / "fhir-primitives", "valid"):
        reason = _refusal(resource(name, line)[0])
        if line == NULL or (name, line) in REFUSED:
            _expect(valid, reason, "", f"{name} {line!r}", "null, an empty narrative, or a reference to nothing")
        elif reason:
            valid.wrong.append(f"{name} {line!r}: refused though right: {reason}")
        else:
            valid.taken += 1
    for name, line in lines(data / "fhir-primitives", "invalid"):
        body, _ = resource(name, line)
        _expect(invalid, _refusal(body), "", f"{name} {line!r}", "not as R4 writes it")
    yield from (valid, invalid)


def invariants() -> Figures:
    """A resource for each of HL7's invariants that breaks it."""
    figures = Figures("resources that break an invariant")
    for key, broken in BROKEN.items():
        said = _refusal(json.dumps(broken).encode())
        _expect(figures, said, f"({SAME_TYPE.get(key, key)})", key, "HL7's text and the invariant's key")
    return figures


def _expect(figures: Figures, said: str, part: str, name: str, reason: str) -> None:
    if said and part in said:
        figures.refused(reason)
    else:
        figures.wrong.append(f"{name}: " + (f"refused for another reason: {said}" if said else "taken though broken"))


def _refusal(body: bytes) -> str:
    """Every fault that is named; empty where it is taken."""
    try:
        validate(decode(body))
    except InvalidResource as refusal:
        return " ".join(issue.message for issue in refusal.issues)
    return ""


def measured(data: Path) -> Iterator[Figures | str]:
    """All figures; of a folder that is not there, a line that says so."""
    for folder, figures in (("fhir-r4-examples", examples), ("synthea-r4", synthea), ("fhir-primitives", primitives)):
        if not (data / folder).is_dir():
            yield f"{folder}: absent, there is no {data / folder}"
            continue
        with tempfile.TemporaryDirectory() as home:
            hospital = Hospital(Path(home))
            app = FastAPI()
            app.include_router(fhir_router(hospital.fhir, principal_of))
            yield from figures(TestClient(app, raise_server_exceptions=False), data)
            hospital.close()
    yield invariants()


def main(data: Path = DATA) -> int:
    """Print the figures; 1 if anything is wrong."""
    sys.stdout.write(f"{'':<34}{'taken':>9}{'refused':>9}{'wrong':>7}\n")
    wrong: list[str] = []
    for one in measured(data):
        sys.stdout.write(f"{one}\n")
        wrong += [] if isinstance(one, str) else one.wrong
    for line in wrong:
        sys.stdout.write(f"WRONG {line}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2])))
