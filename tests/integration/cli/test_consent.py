"""``twinward consent``: versions in sentences and what they come to; a FHIR Consent out, in, and the same again."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.cli.conftest import Hospital


def test_what_goes_out_as_fhir_comes_in_and_says_the_same(hospital: Hospital, tmp_path: Path) -> None:
    one, other = hospital.twins[0], hospital.twins[1]
    shown = hospital.run("consent", "show", one, "--as", "olga").stdout
    assert "version 1, by olga at" in shown
    assert "allows every system, every vendor to use features for similarity search" in shown
    assert "now a vendor that is told of a match may have: features" in shown
    resource = json.loads(hospital.run("consent", "show", one, "--as", "olga", "--fhir").stdout)
    assert (resource["resourceType"], resource["patient"]["identifier"]["value"]) == ("Consent", one)
    file = tmp_path / "consent.json"
    file.write_text(json.dumps(resource))
    wrong = hospital.run("consent", "set", other, str(file), "--as", "olga")
    assert (wrong.exit_code, "another twin" in wrong.stderr) == (2, True)
    resource["patient"]["identifier"]["value"] = other
    resource["provision"]["provision"].append({"type": "deny", "purpose": [resource_purpose("HRESCH")]})
    file.write_text(json.dumps(resource))
    dry = hospital.asked("consent", "set", other, str(file), "--as", "olga", "--dry-run")
    assert (dry["version"], len(dry["says"])) == (None, 2)
    assert len(hospital.asked("consent", "show", other, "--as", "olga")["versions"]) == 1
    done = hospital.asked("consent", "set", other, str(file), "--as", "olga")
    assert (done["version"], done["says"]) == (2, dry["says"])
    told = hospital.asked("consent", "show", other, "--as", "olga")
    assert [one["version"] for one in told["versions"]] == [2, 1]
    effects = {one["who"]: one["permitted"] for one in told["effects"]}
    assert effects["a vendor that is told of a match"] == []  # a no to research covers its kinds


def resource_purpose(code: str) -> dict[str, str]:
    return {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": code}


def test_what_is_no_consent_is_refused_in_words(hospital: Hospital, tmp_path: Path) -> None:
    file = tmp_path / "consent.json"
    for text in ("[]", "{", '{"resourceType": "Patient"}', '{"resourceType": "Consent", "status": "active"}', "\x00"):
        file.write_text(text)
        assert hospital.run("consent", "set", hospital.twins[2], str(file), "--as", "olga").exit_code == 2
    assert hospital.run("consent", "show", hospital.twins[2], "--as", "dr-lee").exit_code == 6
    assert hospital.run("consent", "show", "nobody", "--as", "olga").exit_code == 3
