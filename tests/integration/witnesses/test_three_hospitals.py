"""Three hospitals, each with a node and a witness of its own, each a process: the whole walk by command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from tests.command_line import PROGRAM
from tests.tlog_client import read_log

NAMES = ("mercy", "northgate", "lakeside")
TWINWARD = [sys.executable, "-m", "twinward"]


@dataclass
class Consortium:
    """The homes in a folder and the processes over them."""

    folder: Path
    running: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    ports: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(PROGRAM, arguments)
        assert done.exit_code == code, (arguments, done.output)
        return done.stdout

    def asked(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code))

    def serve(self, name: str, *arguments: str) -> str:
        """Start a process that says where it answers."""
        process = subprocess.Popen(
            [*TWINWARD, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.running[name] = process
        assert process.stdout
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found
        return found[0]

    def end(self) -> None:
        for process in self.running.values():
            process.kill()
            process.communicate()


@pytest.fixture
def consortium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Consortium]:
    monkeypatch.chdir(tmp_path)
    made = Consortium(tmp_path)
    yield made
    made.end()


def until(what: Any) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.5)


@pytest.mark.slow
def test_three_hospitals_end_to_end(consortium: Consortium) -> None:
    run, asked, serve = consortium.run, consortium.asked, consortium.serve
    for name in NAMES:
        run("witness", "create", "--name", name, "--home", f"w-{name}", "--port", "0")
        url = serve(f"witness {name}", "witness", "serve", "--home", f"w-{name}")
        (consortium.folder / f"{name}.card").write_text(run("witness", "card", "--home", f"w-{name}", "--url", url))
    cards = [part for name in NAMES for part in ("--witness-card", f"{name}.card")]
    for name in NAMES:
        made = asked("node", "init", "--tenant", name, "--hospital", name.title(), "--home", name, *cards)
        for other in NAMES:
            run("witness", "add-log", made["log_key"], "--anchor", made["anchor"], "--home", f"w-{other}")
        run("node", "add-person", "olga", "--role", "officer", "--home", name, "--password-file", password(consortium))
    urls = {
        name: serve(f"node {name}", "node", "serve", "--home", name, "--port", "0", "--checkpoint-every", "0.3")
        for name in NAMES
    }
    for name in NAMES:  # the heartbeat at the start is signed by all three, anchored, and readable by anybody
        until(lambda name=name: cosigned(urls[name]) >= 1)
        read = read_log(lambda path, name=name: httpx.get(f"{urls[name]}/log/{path}", trust_env=False).content)
        assert read.origin == f"twinward.example/{name}/access-log"
        assert read.size >= 1
        until(lambda name=name: asked("node", "status", "--home", name)["log"]["cosigned"] == 3)

    consortium.running["witness lakeside"].kill()
    asked("audit", "list", "--as", "olga", "--home", "mercy")  # something new
    until(lambda: down(asked("node", "status", "--home", "mercy")) == ["lakeside"])
    status = asked("node", "status", "--home", "mercy")
    assert (status["log"]["cosigned"], status["log"]["pending"]) == (2, 0)  # out and anchored all the same

    policy = (consortium.folder / "mercy" / "quorum.policy").read_text()
    (consortium.folder / "policy").write_text(policy)
    seen = asked("witness", "compare", "policy", "--log-url", f"{urls['mercy']}/log")
    assert (set(seen["seen"]), list(seen["silent"]), seen["split_views"]) == ({"mercy", "northgate"}, ["lakeside"], [])

    run("audit", "export", "0", "--out", "proof", "--home", "mercy")
    run("audit", "trust", "--out", "trust", "--home", "mercy")
    assert len(asked("audit", "check-proof", "proof", "--trust", "trust")["cosigned"]) >= 2


def cosigned(url: str) -> int:
    answer = httpx.get(f"{url}/log/checkpoint", trust_env=False, timeout=20)
    return int(answer.text.split("\n")[1]) if answer.status_code == 200 else 0


def down(status: dict[str, Any]) -> list[str]:
    return [one["name"].split("/")[1] for one in status["witnesses"] if one["standing"] == "down"]


def password(consortium: Consortium) -> str:
    path = consortium.folder / "password"
    path.write_text("correct horse battery staple")
    path.chmod(0o600)
    return str(path)
