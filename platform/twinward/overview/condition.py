"""A node's condition for people: the doctor's findings under the questions an officer asks, the worst first.

What `node doctor` finds, `node status` sums up in a line and the console's page Node explains: one list, three faces.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from twinward.core.sentences import counted, sentence
from twinward.overview.doctor import Finding, Severity

_ORDER: Final = tuple(Severity)


@dataclass(frozen=True, slots=True)
class Area:
    """What belongs together, and why anybody should care.

    Attributes:
        name: a word.
        question: what it answers.
        means: what it is for, in plain words.
        findings: what was found, the worst first.
    """

    name: str
    question: str
    means: str
    findings: tuple[Finding, ...]

    @property
    def severity(self) -> Severity:
        """Of the worst finding."""
        return worst(self.findings)


AREAS: Final = (
    (
        "Log",
        "Is the access log whole?",
        "Every access is an entry of it, made before anything is shown. What is signed cannot be changed unseen.",
        ("log", "journal", "stores"),
    ),
    (
        "Witnesses",
        "Do other hospitals co-sign it?",
        "They remember how long the log was and what it began with. With too few of them nobody outside can tell a "
        "rewritten log from the true one.",
        ("witnesses",),
    ),
    (
        "Chain",
        "Is it anchored where nobody alone can change it?",
        "The consortium's contracts hold the log's newest signed size, budgets and review deadlines.",
        ("chain",),
    ),
    (
        "Keys",
        "Can records be opened by us, and by nobody else?",
        "Each patient has a key of their own, wrapped by the key service. Who has the key service and the keyring has "
        "everything.",
        ("keys", "master key"),
    ),
    (
        "Backups",
        "Would we get it back?",
        "A backup holds everything but keys. One from before an erasure opens nothing of it, which is meant.",
        ("backup", "disk", "home"),
    ),
    (
        "People and rules",
        "Who may do what, and is somebody waiting?",
        "Changing the policy and erasing a patient take two officers.",
        ("officers", "policy", "emergencies", "breaches"),
    ),
    (
        "Network",
        "Is it reached as it should be?",
        "A console beyond this machine needs TLS, and officers a second factor.",
        ("server", "network", "alerts", "kernels"),
    ),
)


def areas(findings: Iterable[Finding]) -> list[Area]:
    """The findings by area, in the areas' order. Each check has its place; one that was not made is left out."""
    by_check = {one.check: one for one in findings}
    return [
        Area(name, question, means, tuple(sorted(there, key=_gravity)))
        for name, question, means, checks in AREAS
        if (there := [by_check[one] for one in checks if one in by_check])
    ]


def to_do(findings: Iterable[Finding]) -> list[Finding]:
    """What is not in order, the worst first."""
    return sorted((one for one in findings if one.severity is not Severity.OK), key=_gravity)


def worst(findings: Iterable[Finding]) -> Severity:
    """The gravest of them; ``OK`` where there are none."""
    return max((one.severity for one in findings), key=_ORDER.index, default=Severity.OK)


def verdict(findings: Iterable[Finding]) -> str:
    """All of it in a sentence."""
    waiting = to_do(findings)
    now = sum(one.severity is Severity.BAD for one in waiting)
    soon = sum(one.severity is Severity.WARN for one in waiting)
    if now:
        return counted(
            "{count} thing does not work, or a promise is not kept",
            "{count} things do not work, or a promise is not kept",
            now,
        )
    if soon:
        return counted("{count} thing should be done soon", "{count} things should be done soon", soon)
    return sentence("everything is in order")


def _gravity(one: Finding) -> int:
    return -_ORDER.index(one.severity)
