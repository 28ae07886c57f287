"""The in-browser verifier against the files that the stand-alone one is tested on, and the page that uses it."""

from __future__ import annotations

import base64
import json
from itertools import islice
from pathlib import Path

import pytest
from playwright.sync_api import Error

from tests.adversarial.ledger.exports import Exports, changed_fields, flipped_bits, make, resealed
from tests.browser.conftest import Visit
from tests.integration.console.fixtures import House
from twinward_ledger.formats.note import NoteSigner

pytestmark = pytest.mark.slow

KINDS = ("proof", "closed proof", "report", "erased report", "empty report")
BROWSER_CANNOT_KNOW = ("anchor", "opening: null")
"""What only the BLS signature proves, or nothing does: tested under the hospital's own seal in the Python verifier."""


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    return make(tmp_path_factory.mktemp("exports"))


def verdicts(visit: Visit, trust: bytes, files: list[bytes]) -> list[str]:
    """What the browser's verifier says of each file: empty where it holds."""
    said = visit.page.evaluate(
        """async ([trust, files]) => {
            const { readTrust, verifyFile } = await import("/console/static/bundle.js");
            const { bytesOf } = await import("/console/static/proof.js");
            const believed = await readTrust(bytesOf(trust)), said = [];
            for (const file of files) {
                try { await verifyFile(bytesOf(file), believed); said.push(""); }
                catch (error) { said.push(String(error.message || error)); }
            }
            return said;
        }""",
        [base64.b64encode(trust).decode(), [base64.b64encode(data).decode() for data in files]],
    )
    return [str(one) for one in said]


def test_every_kind_of_file_holds(officer: Visit, exports: Exports) -> None:
    assert verdicts(officer, exports.trust, list(exports.files().values())) == [""] * len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bits_and_changed_fields_are_refused(officer: Visit, exports: Exports, kind: str) -> None:
    good = exports.files()[kind]
    bad = [*flipped_bits(good, 17), *(data for _, data in islice(changed_fields(good), 0, None, 2))]
    accepted = [number for number, said in enumerate(verdicts(officer, exports.trust, bad)) if not said]
    assert accepted == []


def test_a_replaced_key_counts_up_to_its_size_only(officer: Visit, exports: Exports) -> None:
    told = json.loads(exports.trust)
    old, name = told["log"], told["log"].split("+")[0]
    new = str(NoteSigner(name, bytes([1]) * 32).key)
    note = exports.proof.partition(b"\n\n")[2].decode()
    size = int(note.split("\n")[1])
    for log, key, until, holds in (
        (new, old, size, True),
        (new, old, size - 1, False),
        (old, new, size, True),
        (old, new, size + 1, False),
        (old, old, size, False),
    ):
        trust = json.dumps(told | {"log": log, "earlier": [{"log": key, "until": until}]}).encode()
        try:
            said = verdicts(officer, trust, [exports.proof, exports.report])
        except Error:  # the trust file itself is refused
            said = ["refused"]
        assert (set(said) == {""}) is holds, (log, key, until, said)


@pytest.mark.parametrize("kind", ["proof", "report"])
def test_changed_fields_are_refused_even_under_the_hospitals_own_seal(
    officer: Visit, exports: Exports, kind: str
) -> None:
    good = exports.files()[kind]
    cases = [
        (where, resealed(bad))
        for where, bad in changed_fields(good)
        if not where.startswith(BROWSER_CANNOT_KNOW[0]) and not where.endswith(BROWSER_CANNOT_KNOW[1])
    ]
    cases = [(where, bad) for where, bad in cases if bad != good]
    said = verdicts(officer, exports.trust, [bad for _, bad in cases])
    assert [where for (where, _), one in zip(cases, said, strict=True) if not one] == []


def test_it_says_what_is_wrong(officer: Visit, exports: Exports) -> None:
    cases = dict(changed_fields(exports.report))
    said = verdicts(
        officer,
        exports.trust,
        [resealed(cases["rows/1: gone"]), resealed(cases["rows: reversed"]), cases["seal: null"]],
    )
    assert said[0] == "the log counts 2 accesses, the report shows 1: rows were left out"
    assert said[1] == "row 0 is out of order"
    told = json.loads(exports.trust)
    for changed in ({"quorum": 4}, {"witnesses": told["witnesses"][:1]}, {"chain_id": 1}, {"contract": "00" * 20}):
        assert verdicts(officer, json.dumps(told | changed).encode(), [exports.report]) != [""]


def test_an_officer_takes_a_report_out_and_checks_it_in_the_browser(
    officer: Visit, house: House, tmp_path: Path
) -> None:
    twin = house.twins[0]
    before = house.size()
    taken: dict[str, Path] = {}
    for label, start in (("PDF", b"%PDF-"), ("CSV", b"\xef\xbb\xbfindex,"), ("FHIR", b"{\n"), ("Proof", b'{"anchor"')):
        officer.go(f"/console/accesses?twin={twin}")
        assert officer.verdict() == "good"
        with officer.page.expect_download() as download:
            officer.page.click(f".take a:text-is('{label}')")
        officer.page.wait_for_selector("#export[data-state=done]")
        assert download.value.suggested_filename in officer.page.inner_text("#told")
        taken[label] = tmp_path / download.value.suggested_filename
        download.value.save_as(taken[label])
        assert taken[label].read_bytes().startswith(start)
    assert house.size() == before + 8, "the list and the file are an access each, the page in between is none"
    officer.go("/console/check")
    assert not officer.page.is_visible("#outcome")  # no empty card before a file was chosen
    officer.page.set_input_files("#file", taken["Proof"])
    assert officer.verdict("#verdict") == "good"
    assert "These are all" in officer.page.inner_text("#verdict")
    assert officer.page.locator("#rows tr").count() >= 5
    spoiled = tmp_path / "spoiled.json"
    spoiled.write_bytes(taken["Proof"].read_bytes().replace(b'"count":"', b'"count":"1'))
    officer.page.set_input_files("#file", spoiled)
    officer.page.wait_for_selector("#verdict:has-text('does NOT hold')")
    assert officer.page.locator("#rows tr").count() == 0
    assert officer.complaints == []
