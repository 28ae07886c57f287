"""Who looks and then writes is not overtaken: two open nodes on one home, as threads here and as processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import Hospital
from tests.integration.fhir.web import PATIENT, principal_of, send, transaction
from twinward.api.fhir import fhir_router
from twinward.core.config import Settings
from twinward.core.errors import Busy
from twinward.core.turns import Turn
from twinward.node import create_node

ROOT = Path(__file__).parents[3]
ROUNDS = 3


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, TestClient]]:
    """Two nodes that share their files and nothing else."""
    first = Hospital(tmp_path_factory.mktemp("home"))
    second = Hospital(first.folder, first.provider)
    apps = FastAPI(), FastAPI()
    for app, house in zip(apps, (first, second), strict=True):
        app.include_router(fhir_router(house.fhir, principal_of))
        # FastAPI builds its routes at the first request, on the server's one loop; here two would at once.
        assert send(TestClient(app), "GET", "/metadata").status_code == 200
    yield TestClient(apps[0]), TestClient(apps[1])
    second.close()
    first.close()


def raced(doors: tuple[TestClient, ...], ask: Callable[[TestClient, int], Any]) -> Counter[int]:
    """The statuses of what is asked at both doors twice, all at once."""
    begin = Barrier(4)

    def one(number: int) -> int:
        begin.wait()
        status: int = ask(doors[number % 2], number).status_code
        return status

    with ThreadPoolExecutor(4) as pool:
        return Counter(pool.map(one, range(4)))


def named(name: str, number: int) -> str:
    return json.dumps(PATIENT | {"id": name, "multipleBirthInteger": number})


def test_of_many_that_write_first_one_creates(doors: tuple[TestClient, TestClient]) -> None:
    for round_ in range(ROUNDS):
        path = f"/Patient/first{round_}"
        put = lambda web, number: send(web, "PUT", path, content=named(path[9:], number))  # noqa: B023, E731
        assert raced(doors, put) == {201: 1, 200: 3}
        assert send(doors[0], "GET", path).headers["etag"] == 'W/"4"'


def test_only_if_absent_and_only_on_this_version_are_once_each(doors: tuple[TestClient, TestClient]) -> None:
    for round_ in range(ROUNDS):
        name = f"once{round_}"
        for base, fields, success in ((0, {"if-none-match": "*"}, 201), (10, {"if-match": 'W/"1"'}, 200)):
            put = lambda web, n: send(web, "PUT", f"/Patient/{name}", content=named(name, base + n), headers=fields)  # noqa: B023, E731
            assert raced(doors, put) == {success: 1, 412: 3}


def test_a_deletion_and_an_update_of_one_version_are_not_both_done(doors: tuple[TestClient, TestClient]) -> None:
    for round_ in range(ROUNDS):
        name = f"either{round_}"
        assert send(doors[0], "PUT", f"/Patient/{name}", content=named(name, 0)).status_code == 201
        fields = {"if-match": 'W/"1"'}

        def ask(web: TestClient, number: int) -> Any:
            body = named(name, number) if number % 2 else None  # noqa: B023
            return send(web, "PUT" if body else "DELETE", f"/Patient/{name}", content=body, headers=fields)  # noqa: B023

        answers = raced(doors, ask)
        assert answers[412] == 3
        assert answers[200] + answers[204] == 1


def test_of_many_that_create_on_one_condition_one_does(doors: tuple[TestClient, TestClient]) -> None:
    for round_ in range(ROUNDS):
        mrn = {"identifier": [{"system": "http://m.example", "value": f"r{round_}"}]}
        body, condition = json.dumps(PATIENT | mrn), f"identifier=http://m.example|r{round_}"
        post = lambda web, _: send(web, "POST", "/Patient", content=body, headers={"if-none-exist": condition})  # noqa: B023, E731
        assert raced(doors, post) == {201: 1, 200: 3}
        put = lambda web, n: send(  # noqa: E731
            web,
            "PUT",
            f"/Patient?{condition}",  # noqa: B023
            content=json.dumps(PATIENT | mrn | {"multipleBirthInteger": n}).replace('"id": "p", ', ""),  # noqa: B023
            headers={"if-match": 'W/"1"'},
        )
        assert raced(doors, put) == {200: 1, 412: 3}


def test_transactions_that_hang_on_a_version_are_done_once(doors: tuple[TestClient, TestClient]) -> None:
    for round_ in range(ROUNDS):
        bundle = json.loads(transaction(PATIENT | {"id": f"all{round_}"}, PATIENT | {"id": f"of{round_}"}))
        bundle["entry"][1]["request"]["ifNoneMatch"] = "*"
        post = lambda web, _: send(web, "POST", "", content=json.dumps(bundle))  # noqa: B023, E731
        assert raced(doors, post) == {200: 1, 412: 3}


SAME = "identifier=http://m.example|t"
MARKED = {"resourceType": "Patient", "identifier": [{"system": "http://m.example", "value": "t"}], "gender": "female"}


def bundled(*entries: tuple[str, str, dict[str, Any] | None], **more: str) -> bytes:
    parts = [
        {"request": {"method": method, "url": url} | more} | ({"resource": body} if body else {})
        for method, url, body in entries
    ]
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": parts}).encode()


def of_same() -> dict[str, Any]:
    subject = {"reference": f"Patient?{SAME}"}
    return {"resourceType": "Observation", "status": "final", "code": {"text": "puff"}, "subject": subject}


def test_only_a_transaction_with_a_condition_waits_for_others_conditions(
    hospital: Hospital, web: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert send(web, "PUT", "/Patient/t", content=json.dumps(MARKED | {"id": "t"})).status_code == 201
    turn = Turn(tmp_path / "c.lock", wait_s=0.01)
    monkeypatch.setattr(hospital.twins, "conditions", turn)
    plain = bundled(
        ("PUT", "Patient/t", MARKED | {"id": "t", "gender": "male"}),
        ("POST", "Patient", MARKED),
        ("GET", "Patient/t", None),
        ("GET", f"Patient?{SAME}", None),
    )
    conditional = (
        bundled(("POST", "Patient", MARKED), ifNoneExist=SAME),
        bundled(("PUT", f"Patient?{SAME}", MARKED)),
        bundled(("DELETE", f"Patient?{SAME}", None)),
        bundled(("POST", "Observation", of_same())),
    )
    with turn:
        assert [send(web, "POST", "", content=one).status_code for one in conditional] == [503] * 4
        assert send(web, "POST", "", content=plain).status_code == 200
        assert send(web, "POST", "", content=bundled(("DELETE", "Patient/t", None))).status_code == 200


class Overtaken(Turn):
    """A turn of writing before which somebody else writes, so many times."""

    def __init__(self, write: Callable[[], object], times: int) -> None:
        super().__init__()
        self._write, self._times = write, times

    def __enter__(self) -> Turn:
        if self._times:
            self._times -= 1
            times, self._times = self._times, 0
            self._write()
            self._times = times
        return super().__enter__()


def test_what_a_transactions_condition_found_is_looked_at_again_in_the_turn_of_the_write(
    hospital: Hospital, web: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = TestClient(web.app)
    versions = iter(range(100))

    def change(name: str, **more: Any) -> None:
        body = MARKED | {"id": name, "multipleBirthInteger": next(versions)} | more
        assert send(other, "PUT", f"/Patient/{name}", content=json.dumps(body)).status_code in (200, 201)

    def overtaken(write: Callable[[], object], times: int, content: bytes) -> Any:
        change("t")
        with monkeypatch.context() as patched:
            patched.setattr(hospital.twins, "writing", Overtaken(write, times))
            return send(web, "POST", "", content=content)

    put = bundled(("PUT", f"Patient?{SAME}", MARKED | {"gender": "male"}))
    assert overtaken(lambda: change("t"), 1, put).json()["entry"][0]["response"]["status"][:3] == "200"
    assert overtaken(lambda: change("t"), 3, put).status_code == 412
    assert send(web, "GET", "/Patient/t").json()["gender"] == "female"

    gone = lambda: send(other, "DELETE", "/Patient/t")  # noqa: E731
    assert overtaken(gone, 1, bundled(("POST", "Observation", of_same()))).status_code == 400
    answer = overtaken(gone, 1, bundled(("POST", "Patient", MARKED), ifNoneExist=SAME))
    assert answer.json()["entry"][0]["response"]["status"][:3] == "201", "what it found is gone, so it is created"
    assert send(web, "GET", "/Patient/t").status_code == 410


def test_a_turn_is_waited_for_so_long_and_no_longer(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    with Turn(lock) as own, own, pytest.raises(Busy), Turn(lock, wait_s=0.01):
        pass
    with Turn(lock, wait_s=0.01):
        pass


WRITER = """
import json, sys
from pathlib import Path
from twinward.access.interfaces import AccessContext, Principal
from twinward.fhir.rest.service import FhirService
from twinward.node import open_node
from twinward.core.preconditions import NONE, read_preconditions
from twinward.twins.errors import VersionMismatch
from twinward.core.vocabulary import Purpose, Role

opened = open_node(Path(sys.argv[1]))
node = opened.__enter__()
ward = AccessContext(Principal("ward-9", Role.SYSTEM), Purpose.RECORD_MANAGEMENT)
editing = FhirService(node.twins, node.clock).writes
print("ready", flush=True)
for line in sys.stdin:
    name, fields = json.loads(line)
    said = [{"family": sys.argv[2], "text": str(fields)}]
    body = json.dumps({"resourceType": "Patient", "id": name, "name": said}).encode()
    asked = read_preconditions(fields) if fields else NONE
    try:
        written = editing.update(ward, "Patient", name, body, asked=asked)
        print(201 if written.created else 200, flush=True)
    except VersionMismatch:
        print(412, flush=True)
opened.__exit__(None, None, None)
"""


@pytest.mark.slow
def test_two_processes_never_both_create(tmp_path: Path) -> None:
    home = tmp_path / "home"
    create_node(Settings(home=home)).close()
    command = [sys.executable, "-c", WRITER, str(home)]
    writers = [
        subprocess.Popen([*command, who], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for who in ("A", "B")
    ]
    try:
        assert [ask(one).strip() for one in writers] == ["ready", "ready"]
        for round_ in range(20):
            alone = round_ % 2
            first = ({"if-none-match": ["*"]}, [201, 412]) if alone else ({}, [200, 201])
            second = ({"if-match": ['W/"1"' if alone else 'W/"2"']}, [200, 412])
            for fields, expected in (first, second):
                for one in writers:
                    assert one.stdin is not None
                    one.stdin.write(json.dumps([f"race{round_}", fields]) + "\n")
                    one.stdin.flush()
                assert sorted(int(ask(one)) for one in writers) == expected, (round_, fields)
    finally:
        for one in writers:
            one.communicate(timeout=60)
    assert [one.returncode for one in writers] == [0, 0]


def ask(writer: subprocess.Popen[str]) -> str:
    assert writer.stdout is not None
    return writer.stdout.readline()
