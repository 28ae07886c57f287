"""What is wrong with a node, and what to type: each check looks at one thing and says it in a sentence.

A check never changes anything and never shows a patient, an account's secret or a key. One that fails itself is a
finding, too: what does not answer is said, and the others are still made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from twinward.access.policy import Policy
from twinward.access.policy_rules import rules
from twinward.core.errors import TwinwardError
from twinward.core.sentences import Moment, counted, joined, sentence
from twinward.core.vocabulary import Role
from twinward.node import Node
from twinward.node.home import free_bytes, is_nearly_full, is_served
from twinward.node.last_backup import last_backup
from twinward.overview.status import AgreedStatus, agreed_status, failing_witnesses
from twinward_crypto.kernels import store as kernels
from twinward_crypto.kernels.place import versions

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
            yield failed(name, error)


def failed(check: str, error: TwinwardError) -> Finding:
    """What a check that could not be made says."""
    return Finding(check, Severity.BAD, str(error), error.hint or "see what this node's log says")


def _server(node: Node) -> Finding:
    if is_served(node.settings.home):
        return Finding("server", Severity.OK, "a server of this home runs")
    remedy = "twinward node serve"
    return Finding(
        "server", Severity.NOTE, "no server of this home runs: nothing is checked or anchored by itself", remedy
    )


def _restored(node: Node) -> Finding:
    if node.restored is None:
        return Finding("home", Severity.OK, sentence("{home} is the working node's", home=node.settings.home))
    say = sentence("this home was {what}, and is not at work", what=node.restored.sentence())
    return Finding(
        "home", Severity.WARN, say, "a drill needs nothing; to take the node's place: twinward node activate"
    )


def _disk(node: Node) -> Finding:
    home = node.settings.home
    say = sentence("{free} GiB are free where the home is", free=f"{free_bytes(home) / (1 << 30):.1f}")
    if is_nearly_full(home):
        return Finding(
            "disk", Severity.BAD, say, "make room: with a full disk nothing is logged, so nothing is permitted"
        )
    return Finding("disk", Severity.OK, say)


def _stores(node: Node) -> Finding:
    changes = node.verify_stores()
    return Finding(
        "stores",
        Severity.OK,
        sentence("{stores}: every row is vouched for, and none is older", stores=", ".join(sorted(changes))),
    )


def _log(node: Node) -> Finding:
    log = node.audit.status()
    if log.waits:
        say = sentence(
            "{pending} events wait for their anchor since {since}: {text}",
            pending=log.pending,
            since=Moment(log.waits.since_ms),
            text=log.waits.text,
        )
        return Finding(
            "log", Severity.WARN, say, "see that chain and witnesses answer, then: twinward audit checkpoint"
        )
    if log.anchored_block is None or log.pending > LAGGING:
        say = sentence("{pending} of {size} events are not anchored yet", pending=log.pending, size=log.size)
        return Finding("log", Severity.WARN, say, "twinward audit checkpoint")
    return Finding(
        "log",
        Severity.OK,
        sentence("{size} events, {pending} of them not anchored yet", size=log.size, pending=log.pending),
    )


def _journal(node: Node) -> Finding:
    journal = node.audit.status().journal
    if journal.evidence or journal.cut_off:
        remedy = "ask who could write that file, and keep it as evidence; its name says: twinward node status"
        return Finding("journal", Severity.BAD, "the break-glass journal was altered or cut off", remedy)
    if journal.waiting:
        say = sentence("{waiting} events of emergencies wait for the log", waiting=journal.waiting)
        return Finding("journal", Severity.WARN, say, "twinward audit checkpoint")
    return Finding("journal", Severity.OK, "nothing waits in the break-glass journal")


def _witnesses(node: Node) -> Finding:
    log, failing = node.audit.status(), failing_witnesses(node.audit)
    if failing:
        severity = Severity.WARN if log.witnesses - len(failing) >= log.quorum else Severity.BAD
        say = joined([one.sentence for one in failing])
        return Finding("witnesses", severity, say, "ask that hospital, and see the network: twinward node status")
    return Finding(
        "witnesses",
        Severity.OK,
        sentence(
            "{cosigned} of {witnesses} co-signed, {quorum} are needed",
            cosigned=log.cosigned,
            witnesses=log.witnesses,
            quorum=log.quorum,
        ),
    )


def _chain(node: Node) -> Finding:
    return chain_answers(agreed_status(node))


def chain_answers(agreed: AgreedStatus) -> Finding:
    """What the check ``chain`` finds where the contracts answer this."""
    return Finding(
        "chain",
        Severity.OK,
        sentence("the consortium's contracts answer; epoch {epoch}", epoch=str(agreed.queries.epoch)),
    )


def _keys(node: Node) -> Finding:
    unfinished = len(node.keyring.unfinished())
    if unfinished:
        say = sentence(
            "{unfinished} erasures are unfinished: old backups still open what was erased", unfinished=unfinished
        )
        return Finding("keys", Severity.BAD, say, "twinward keys finish --as OFFICER")
    idle = node.keyring.idle_keks()
    if idle:
        say = sentence("{count} old key-encryption keys wrap nothing and are still there", count=len(idle))
        return Finding("keys", Severity.NOTE, say, "twinward keys retire --dry-run")
    return Finding(
        "keys",
        Severity.OK,
        sentence("the key service {service} answers", service=node.identity.provider.uri.partition(":")[0]),
    )


def _passphrase(node: Node) -> Finding:
    settings = node.settings
    if node.identity.provider.uri.startswith("local:") and settings.passphrase_file is None:
        say = sentence("the master key lies in a file beside the home: who copies both opens everything")
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
    when = sentence("the last backup is of {at}", at=Moment(made.at_ms))
    if set(made.keks) - set(node.keyring.census().keks):
        say = sentence("{when}, before an erasure or a rotation: by itself it opens nothing any more", when=when)
        return Finding("backup", Severity.WARN, say, remedy)
    if node.clock.now_ms() - made.at_ms > OLD_BACKUP_MS:
        return Finding("backup", Severity.WARN, when, remedy)
    return Finding("backup", Severity.OK, when)


def _officers(node: Node) -> Finding:
    now_ms = node.clock.now_ms()
    usable = [one for one in node.accounts.of_role(Role.OFFICER) if node.accounts.record(one.id).usable(now_ms)]
    if len(usable) < OFFICERS:
        say = sentence(
            "{count} officers can sign in; a change of the policy takes {needed}", count=len(usable), needed=OFFICERS
        )
        return Finding("officers", Severity.WARN, say, "twinward node add-person NAME --role officer")
    return Finding("officers", Severity.OK, sentence("{count} officers can sign in", count=len(usable)))


def _emergencies(node: Node) -> Finding:
    counts = node.emergencies.counts()
    if counts.overdue:
        say = sentence("{overdue} reviews of emergencies are overdue", overdue=counts.overdue)
        return Finding("emergencies", Severity.BAD, say, "twinward access emergencies --as OFFICER")
    if counts.unreviewed:
        say = counted(
            "{count} emergency waits for its review, the next by {next_due}",
            "{count} emergencies wait for their review, the next by {next_due}",
            counts.unreviewed,
            next_due=Moment(counts.next_due_ms),
        )
        return Finding("emergencies", Severity.NOTE, say, "twinward access emergencies --as OFFICER")
    return Finding("emergencies", Severity.OK, "no emergency waits for its review")


def _breaches(node: Node) -> Finding:
    counts = node.breaches.counts()
    if counts.overdue:
        say = sentence("{overdue} breaches: the authority was to be told within 72 hours", overdue=counts.overdue)
        return Finding("breaches", Severity.BAD, say, "twinward breach list --as OFFICER")
    if counts.open:
        return Finding(
            "breaches",
            Severity.NOTE,
            counted("{count} breach is open", "{count} breaches are open", counts.open),
            "twinward breach list --as OFFICER",
        )
    return Finding("breaches", Severity.OK, "no case of a breach is open")


def _policy(node: Node) -> Finding:
    newest, waiting = node.policy.newest(), len(node.policy.proposals())
    if waiting:
        say = sentence("{waiting} changes of the policy wait for a second officer", waiting=waiting)
        return Finding("policy", Severity.NOTE, say, "twinward policy history --as OFFICER")
    if newest.version and node.settings.policy is not None and newest.sha256 != node.policy.base.hash:
        say = sentence(
            "version {version} is in force, and the file in the setting policy is another one", version=newest.version
        )
        return Finding("policy", Severity.NOTE, say, "take the setting out, or: twinward policy propose FILE")
    if unnamed := sorted(Policy(newest.text).networks - set(node.networks.names)):
        say = sentence(
            "the policy in force asks for networks that the settings do not name: {names}", names=", ".join(unnamed)
        )
        return Finding("policy", Severity.WARN, say, "name them in the setting networks, or change the policy")
    present = {one.name for one in rules(newest.text)}
    lacking = [one.name for one in rules(Policy.load(None).text) if one.permits and one.name not in present]
    if lacking:
        say = sentence(
            "the policy in force has no rule {names}: what these permit is refused", names=", ".join(lacking)
        )
        return Finding("policy", Severity.NOTE, say, "if that is not meant: operations.md says what each is for")
    return Finding("policy", Severity.OK, sentence("version {version} is in force", version=newest.version))


def _face(node: Node) -> Finding:
    settings = node.settings
    beyond = settings.listen_host not in ("127.0.0.1", "::1", "localhost")
    if beyond and not settings.public_url.startswith("https:"):
        say = sentence(
            "it listens at {listen_host} without TLS: nobody can sign in to the console there",
            listen_host=settings.listen_host,
        )
        return Finding(
            "network", Severity.BAD, say, "put a TLS proxy in front, and set public_url to its https address"
        )
    if beyond and not {Role.OFFICER, Role.CLINICIAN, Role.OPERATOR} <= set(settings.second_factor_roles):
        say = sentence("it is reached from other machines, and not all staff need a second factor")
        return Finding("network", Severity.WARN, say, 'set second_factor_roles = ["officer", "clinician", "operator"]')
    return Finding(
        "network",
        Severity.OK,
        sentence(
            "it listens at {listen_host}:{listen_port}",
            listen_host=settings.listen_host,
            listen_port=str(settings.listen_port),
        ),
    )


def _alerts(node: Node) -> Finding:
    altered = node.live.delivery.set_aside() if node.settings.live_alert_url else 0
    if altered:
        say = sentence("{altered} notices of alerts were altered by somebody, and told to nobody", altered=altered)
        return Finding("alerts", Severity.BAD, say, "look at what waits: twinward alerts list --as CLINICIAN")
    if not node.settings.alert_url:
        say = sentence("nobody is alerted when the glass is broken")
        return Finding("alerts", Severity.NOTE, say, "set alert_url to an address of the hospital's own")
    undelivered = node.emergencies.counts().undelivered
    if undelivered:
        return Finding(
            "alerts",
            Severity.WARN,
            sentence("{undelivered} alerts reached nobody", undelivered=undelivered),
            "see that alert_url answers",
        )
    return Finding("alerts", Severity.OK, "alerts are delivered")


def _kernels(_: Node) -> Finding:
    if why := kernels.unusable():
        say = sentence(
            "encrypted queries are scored by plain code, more slowly and with the same answers: {why}", why=why
        )
        remedy = sentence("python -m twinward_crypto.kernels compiles them, or says why it cannot")
        return Finding("kernels", Severity.NOTE, say, remedy)
    return Finding(
        "kernels",
        Severity.OK,
        sentence("encrypted queries are scored by compiled kernels ({versions})", versions=versions()),
    )


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
