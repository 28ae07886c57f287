"""What is wrong with a node, and what to type: each check looks at one thing and says it in a sentence.

A check never changes anything and never shows a patient, an account's secret or a key. One that fails itself is a
finding, too: what does not answer is said, and the others are still made.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from twinward.access.policy import Policy
from twinward.access.policy_rules import rules
from twinward.core.clock import iso
from twinward.core.errors import Conflict, TwinwardError
from twinward.core.vocabulary import Role
from twinward.node import Node
from twinward.node.home import require_not_served
from twinward.node.last_backup import last_backup
from twinward.overview.status import agreed_status, failing_witnesses
from twinward_crypto.kernels import store as kernels

LEAST_FREE_BYTES: Final = 2 << 30
LAGGING: Final = 1000
"""Events that may wait for their anchor."""
OFFICERS: Final = 2
"""A change of the policy takes two."""


class Severity(StrEnum):
    """How grave a finding is."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; nothing has to be done today."""
    WARN = "warn"
    """To be done soon."""
    BAD = "bad"
    """Something does not work, or a promise is not kept."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; ``remedy`` is what to type or do, empty where nothing is to be done."""

    check: str
    severity: Severity
    say: str
    remedy: str = ""


Check = Callable[[Node], Finding]
SLOW: Final = frozenset({"stores"})
"""Checks that take longer the more there is. A served node makes them in its background (``LogCheck``)."""
OLD_BACKUP_MS: Final = 7 * 86_400_000


def examined(
    node: Node, told: Callable[[str], None] = lambda _: None, *, without: Collection[str] = ()
) -> Iterator[Finding]:
    """Every check's finding, in order. ``told`` hears the name of each before it is made.

    ``without``: checks that are left out, such as ``SLOW`` where somebody waits for a page.
    """
    for name, check in CHECKS.items():
        if name in without:
            continue
        told(name)
        try:
            yield check(node)
        except TwinwardError as error:
            yield Finding(name, Severity.BAD, str(error), error.hint or "see what this node's log says")


def _server(node: Node) -> Finding:
    try:
        require_not_served(node.settings.home)
    except Conflict:
        return Finding("server", Severity.OK, "a server of this home runs")
    remedy = "twinward node serve"
    return Finding(
        "server", Severity.NOTE, "no server of this home runs: nothing is checked or anchored by itself", remedy
    )


def _restored(node: Node) -> Finding:
    if node.restored is None:
        return Finding("home", Severity.OK, f"{node.settings.home} is the working node's")
    say = f"this home was {node.restored.sentence()}, and is not at work"
    return Finding(
        "home", Severity.WARN, say, "a drill needs nothing; to take the node's place: twinward node activate"
    )


def _disk(node: Node) -> Finding:
    free = shutil.disk_usage(node.settings.home).free
    say = f"{free / (1 << 30):.1f} GiB are free where the home is"
    if free < LEAST_FREE_BYTES:
        return Finding(
            "disk", Severity.BAD, say, "make room: with a full disk nothing is logged, so nothing is permitted"
        )
    return Finding("disk", Severity.OK, say)


def _stores(node: Node) -> Finding:
    changes = node.verify_stores()
    return Finding("stores", Severity.OK, f"{', '.join(sorted(changes))}: every row is vouched for, and none is older")


def _log(node: Node) -> Finding:
    log = node.audit.status()
    if log.waits:
        say = f"{log.pending} events wait for their anchor since {iso(log.waits.since_ms)[:16]}: {log.waits.text}"
        return Finding(
            "log", Severity.WARN, say, "see that chain and witnesses answer, then: twinward audit checkpoint"
        )
    if log.anchored_block is None or log.pending > LAGGING:
        say = f"{log.pending} of {log.size} events are not anchored yet"
        return Finding("log", Severity.WARN, say, "twinward audit checkpoint")
    return Finding("log", Severity.OK, f"{log.size} events, {log.pending} of them not anchored yet")


def _journal(node: Node) -> Finding:
    journal = node.audit.status().journal
    if journal.evidence or journal.cut_off:
        remedy = "ask who could write that file, and keep it as evidence; its name says: twinward node status"
        return Finding("journal", Severity.BAD, "the break-glass journal was altered or cut off", remedy)
    if journal.waiting:
        say = f"{journal.waiting} events of emergencies wait for the log"
        return Finding("journal", Severity.WARN, say, "twinward audit checkpoint")
    return Finding("journal", Severity.OK, "nothing waits in the break-glass journal")


def _witnesses(node: Node) -> Finding:
    log, failing = node.audit.status(), failing_witnesses(node.audit)
    if failing:
        severity = Severity.WARN if log.witnesses - len(failing) >= log.quorum else Severity.BAD
        say = "; ".join(one.sentence for one in failing)
        return Finding("witnesses", severity, say, "ask that hospital, and see the network: twinward node status")
    return Finding("witnesses", Severity.OK, f"{log.cosigned} of {log.witnesses} co-signed, {log.quorum} are needed")


def _chain(node: Node) -> Finding:
    agreed = agreed_status(node)
    return Finding("chain", Severity.OK, f"the consortium's contracts answer; epoch {agreed.queries.epoch}")


def _keys(node: Node) -> Finding:
    unfinished = len(node.keyring.unfinished())
    if unfinished:
        say = f"{unfinished} erasures are unfinished: old backups still open what was erased"
        return Finding("keys", Severity.BAD, say, "twinward keys finish --as OFFICER")
    idle = node.keyring.idle_keks()
    if idle:
        say = f"{len(idle)} old key-encryption keys wrap nothing and are still there"
        return Finding("keys", Severity.NOTE, say, "twinward keys retire --dry-run")
    return Finding("keys", Severity.OK, f"the key service {node.identity.provider.uri.partition(':')[0]} answers")


def _passphrase(node: Node) -> Finding:
    settings = node.settings
    if node.identity.provider.uri.startswith("local:") and settings.passphrase_file is None:
        say = "the master key lies in a file beside the home: who copies both opens everything"
        return Finding(
            "master key",
            Severity.WARN,
            say,
            "keep keys elsewhere, or split the master key (keys.md): twinward keys split",
        )
    return Finding("master key", Severity.OK, "the master key does not lie open beside the home")


def _backup(node: Node) -> Finding:
    made, remedy = last_backup(node.settings.home), "twinward node backup FILE --keys-to FOLDER"
    if made is None:
        return Finding("backup", Severity.WARN, "no backup was made from this home", remedy)
    when = f"the last backup is of {iso(made.at_ms)[:16].replace('T', ' ')} UTC"
    if set(made.keks) - set(node.keyring.census().keks):
        say = f"{when}, before an erasure or a rotation: by itself it opens nothing any more"
        return Finding("backup", Severity.WARN, say, remedy)
    if node.clock.now_ms() - made.at_ms > OLD_BACKUP_MS:
        return Finding("backup", Severity.WARN, when, remedy)
    return Finding("backup", Severity.OK, when)


def _officers(node: Node) -> Finding:
    now_ms = node.clock.now_ms()
    usable = [one for one in node.accounts.of_role(Role.OFFICER) if node.accounts.record(one.id).usable(now_ms)]
    if len(usable) < OFFICERS:
        say = f"{len(usable)} officers can sign in; a change of the policy takes {OFFICERS}"
        return Finding("officers", Severity.WARN, say, "twinward node add-person NAME --role officer")
    return Finding("officers", Severity.OK, f"{len(usable)} officers can sign in")


def _emergencies(node: Node) -> Finding:
    counts = node.emergencies.counts()
    if counts.overdue:
        say = f"{counts.overdue} reviews of emergencies are overdue"
        return Finding("emergencies", Severity.BAD, say, "twinward access emergencies --as OFFICER")
    if counts.unreviewed:
        waiting = (
            "1 emergency waits for its" if counts.unreviewed == 1 else f"{counts.unreviewed} emergencies wait for their"
        )
        say = f"{waiting} review, the next by {iso(counts.next_due_ms)[:16].replace('T', ' ')} UTC"
        return Finding("emergencies", Severity.NOTE, say, "twinward access emergencies --as OFFICER")
    return Finding("emergencies", Severity.OK, "no emergency waits for its review")


def _breaches(node: Node) -> Finding:
    counts = node.breaches.counts()
    if counts.overdue:
        say = f"{counts.overdue} breaches: the authority was to be told within 72 hours"
        return Finding("breaches", Severity.BAD, say, "twinward breach list --as OFFICER")
    if counts.open:
        return Finding(
            "breaches", Severity.NOTE, f"{counts.open} breaches are open", "twinward breach list --as OFFICER"
        )
    return Finding("breaches", Severity.OK, "no case of a breach is open")


def _policy(node: Node) -> Finding:
    newest, waiting = node.policy.newest(), len(node.policy.proposals())
    if waiting:
        say = f"{waiting} changes of the policy wait for a second officer"
        return Finding("policy", Severity.NOTE, say, "twinward policy history --as OFFICER")
    if newest.version and node.settings.policy is not None and newest.sha256 != node.policy.base.hash:
        say = f"version {newest.version} is in force, and the file in the setting policy is another one"
        return Finding("policy", Severity.NOTE, say, "take the setting out, or: twinward policy propose FILE")
    present = {one.name for one in rules(newest.text)}
    lacking = [one.name for one in rules(Policy.load(None).text) if one.permits and one.name not in present]
    if lacking:
        say = f"the policy in force has no rule {', '.join(lacking)}: what these permit is refused"
        return Finding("policy", Severity.NOTE, say, "if that is not meant: operations.md says what each is for")
    return Finding("policy", Severity.OK, f"version {newest.version} is in force")


def _face(node: Node) -> Finding:
    settings = node.settings
    beyond = settings.listen_host not in ("127.0.0.1", "::1", "localhost")
    if beyond and not settings.public_url.startswith("https:"):
        say = f"it listens at {settings.listen_host} without TLS: nobody can sign in to the console there"
        return Finding(
            "network", Severity.BAD, say, "put a TLS proxy in front, and set public_url to its https address"
        )
    if beyond and Role.OFFICER not in settings.second_factor_roles:
        say = "it is reached from other machines, and officers need no second factor"
        return Finding("network", Severity.WARN, say, 'set second_factor_roles = ["officer"]')
    return Finding("network", Severity.OK, f"it listens at {settings.listen_host}:{settings.listen_port}")


def _alerts(node: Node) -> Finding:
    if not node.settings.alert_url:
        say = "nobody is alerted when the glass is broken"
        return Finding("alerts", Severity.NOTE, say, "set alert_url to an address of the hospital's own")
    undelivered = node.emergencies.counts().undelivered
    if undelivered:
        return Finding("alerts", Severity.WARN, f"{undelivered} alerts reached nobody", "see that alert_url answers")
    return Finding("alerts", Severity.OK, "alerts are delivered")


def _kernels(_: Node) -> Finding:
    if why := kernels.unusable():
        say = f"encrypted queries are scored by plain code, more slowly and with the same answers: {why}"
        remedy = "python -m twinward_crypto.kernels compiles them, or says why it cannot"
        return Finding("kernels", Severity.NOTE, say, remedy)
    return Finding("kernels", Severity.OK, f"encrypted queries are scored by compiled kernels ({kernels.versions()})")


CHECKS: Final[dict[str, Check]] = {
    "home": _restored,
    "server": _server,
    "disk": _disk,
    "stores": _stores,
    "log": _log,
    "journal": _journal,
    "witnesses": _witnesses,
    "chain": _chain,
    "keys": _keys,
    "master key": _passphrase,
    "backup": _backup,
    "officers": _officers,
    "policy": _policy,
    "emergencies": _emergencies,
    "breaches": _breaches,
    "network": _face,
    "alerts": _alerts,
    "kernels": _kernels,
}
