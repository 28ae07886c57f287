"""Forks processes that take officers' steps on a home, from one that has imported everything; each dies by SIGKILL.

Reads lines ``HOME JOB WHEN NAME``. Jobs: ``erase`` (approve the proposal of this name and carry it on), ``breach``
(note sentences on the case of this name, over and over), ``policy`` (propose and approve changes, over and over). WHEN
is seconds after the first step is taken, or the point of an erasure at which the process kills itself. What is done
for good is written to ``HOME/../done``, a line each. Says ``killed``, or ``done`` where the job ended before.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tests.integration.console.fixtures as console
from twinward.access.interfaces import AccessContext, AccessRequest
from twinward.core.vocabulary import Action, Purpose
from twinward.node import Node, open_node

POINTS = ("decided", "shredded", "purged", "rotated", "retired", "logged")
_CALLS = {
    "decided": ("keyring", "shred_all", "before"),
    "shredded": ("keyring", "shred_all", "after"),
    "purged": ("keyring", "rotate", "before"),
    "rotated": ("keyring", "retire", "before"),
    "retired": ("keyring", "retire", "after"),
    "logged": ("keyring", "finish", "before"),
}
SECOND = AccessContext(console.SYSTEMS["officer"], Purpose.COMPLIANCE)


def die() -> None:
    """As by a power cut."""
    os.kill(os.getpid(), signal.SIGKILL)


def dying_at(node: Node, point: str) -> None:
    """Let the process die there."""
    part, name, when = _CALLS[point]
    owner = getattr(node, part)
    does: Callable[..., Any] = getattr(owner, name)

    def dies(*given: Any, **named: Any) -> Any:
        if when == "before":
            die()
        does(*given, **named)
        die()

    setattr(owner, name, dies)


def work(node: Node, job: str, name: str, done: Path) -> None:
    """Do the job."""
    with done.open("a") as said:
        if job == "erase":
            node.erasure_desk.approve(SECOND, name)
            node.erasure_desk.carry_on()
            return
        number = 0
        while True:
            number += 1
            if job == "breach":
                permit = node.access.decide(AccessRequest(console.OFFICER, Action.AUDIT, Purpose.COMPLIANCE))
                line = f"the {number}th thing that was found out by {os.getpid()}"
                node.breaches.note(permit, name, line)
            else:
                own = AccessContext(console.OFFICER, Purpose.COMPLIANCE)
                text = node.policy.current().text + f"// {os.getpid()} {number}\n"
                proposal = node.policy_desk.propose(own, text, "the board has decided so again")
                line = str(node.policy_desk.approve(SECOND, proposal.name).version)
            said.write(line + "\n")
            said.flush()


def main() -> None:
    """Serve rounds until the input ends."""
    for line in sys.stdin:
        home, job, when, name = line.split()
        done = Path(home).parent / "done"
        before = done.stat().st_size if done.exists() else 0
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with open_node(Path(home)) as node:
                    node.open_all()
                    if when in POINTS:
                        dying_at(node, when)
                    os.write(writer, b".")
                    work(node, job, name, done)
                    code = 0
            finally:
                os._exit(code)
        os.close(writer)
        os.read(reader, 1)  # empty, had it died before it was ready
        os.close(reader)
        if when not in POINTS:
            while not done.exists() or done.stat().st_size == before:
                time.sleep(0.005)
            time.sleep(float(when))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        said = "killed" if os.WIFSIGNALED(status) else "done" if status == 0 else f"failed: {status}"
        sys.stdout.write(said + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
