"""``node serve`` for real: a process that starts, answers, signs the log and stops when told."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.integration.cli.conftest import Hospital, run

ROOT = Path(__file__).resolve().parents[3]


def test_serve_answers_until_it_is_told_to_stop(hospital: Hospital) -> None:
    before = hospital.run("audit", "list", "--as", "olga", "--limit", "1")  # something new to sign
    assert before.exit_code == 0
    command = [sys.executable, "-m", "twinward", "node", "serve", "--port", "0", "--checkpoint-every", "0.2"]
    command += ["--home", str(hospital.home)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found, process.stderr and process.stderr.read()
        with httpx.Client(base_url=found[0], timeout=20) as client:
            assert client.get("/health").text == "ok\n"
            assert client.get("/console/sign-in").status_code == 200
            assert client.get("/api/1/audit/events").status_code == 401
            bottomless = client.post(
                "/api/1/similarity/gated", content="[" * 200_000, headers={"content-type": "application/json"}
            )
            assert 400 <= bottomless.status_code < 500
            assert client.get("/console").status_code == 303  # and it still answers
        deadline = time.monotonic() + 20
        while hospital.asked("node", "status")["log"]["pending"] and time.monotonic() < deadline:
            time.sleep(0.1)
        assert hospital.asked("node", "status")["log"]["pending"] == 0
        port = int(found[0].rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as half_asked:
            half_asked.sendall(b"POST /oauth/token HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\na=")
            process.send_signal(signal.SIGTERM)
            while answers(port):
                assert time.monotonic() < deadline + 20, "it takes new connections after it was told to stop"
                time.sleep(0.05)
            half_asked.sendall(b"bc")
            assert half_asked.recv(100).startswith(b"HTTP/1.1 4"), "what was begun is answered to its end"
        _, log = process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 0, log
    assert "Traceback" not in log
    assert len(re.findall(r"event=request .*route=/health status=200", log)) == 1


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=20).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_port_that_is_taken_is_said(hospital: Hospital) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = hospital.run("node", "serve", "--port", str(taken.getsockname()[1]))
    assert done.exit_code == 4
    assert "Address already in use" in done.stderr
    assert "--port" in done.stderr


def test_an_address_of_no_machine_is_said(hospital: Hospital) -> None:
    assert hospital.run("node", "serve", "--host", "no.such.host.invalid").exit_code == 2


def test_serving_nothing(tmp_path: Path) -> None:
    assert run("node", "serve", "--home", str(tmp_path / "none")).exit_code == 3
