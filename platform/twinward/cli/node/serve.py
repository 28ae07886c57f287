"""``twinward node serve``: the API, the console and the heartbeat, until told to stop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from math import nan
from typing import TYPE_CHECKING

from twinward.api.app import create_app
from twinward.api.http.pipeline import is_loopback
from twinward.cli.connections import Bounds
from twinward.cli.logs import configure_logs
from twinward.cli.output import err, out
from twinward.cli.server import listen, server_of, stopped_by_signals, tls_of
from twinward.console import mount
from twinward.core import collector
from twinward.core.errors import TwinwardError
from twinward.node import Node
from twinward.node.background import Checks, Following, FollowUps, Heartbeats, Indexing, Pulse, Summaries
from twinward.node.home import Serving, moment, serving
from twinward.node.kernels import compiled_beside

if TYPE_CHECKING:
    from twinward.api.http.metrics import Metrics
    from twinward.live.medication.service import Reminders
    from twinward.live.scoring.service import LiveScoring

SUMMARY_EVERY_S = 60.0
INDEX_EVERY_S = 60.0
"""How often events that nobody has asked for are taken into the index."""
CHECK_EVERY_S = 3600.0
"""How long the whole log is left alone after it was checked, at least."""
FOLLOW_UP_S = 10.0
"""How often emergencies are looked at; one that begins here is looked at once."""
_FIGURES = {
    "size": "Events in the access log.",
    "signed_size": "Events under the newest checkpoint that this node signed.",
    "anchored_size": "Events under the newest checkpoint that is anchored.",
    "cosigned": "Witnesses that co-signed the newest checkpoint.",
    "quorum": "Witnesses that have to co-sign.",
}
ERASE_EVERY_S = 1.0
"""How often it is looked whether officers agreed on an erasure, or a crash left one unfinished."""
TELL_EVERY_S = 5.0
"""How often it is looked whether patients are to be told of a study; an approval here is followed at once."""
COUNT_EVERY_S = 60.0
"""How often it is looked whether a crash left a count of a breach undone; what is asked for here is begun at once."""
EXAMINE_EVERY_S = 300.0
"""How often it is looked whether a day is over that nobody examined. Not at once: each start would open care data."""
NOTICE_EVERY_S = 1.0
"""Between two looks for notices of alerts that are to be sent."""
TICK_EVERY_S = 5.0
"""How often it is looked what of a patient's measurements stays away, and which alerts nobody looks at."""
CLOSE_EVERY_S = 60.0
"""How often it is looked which hours of live readings are over."""
SCORE_EVERY_S = 60.0
"""How often it is looked which hours registered models are to score."""
REMIND_EVERY_S = 30.0
"""How often it is looked whose medication is to be looked at."""
FOLLOW_EVERY_S = 0.25
"""How often it is looked who left a cohort by another process's doing. A command on this home waits for that."""


def serve_node(node: Node, host: str, port: int, checkpoint_every_s: float) -> None:
    """Serve until Ctrl-C or SIGTERM; then finish what is being answered and return.

    Raises:
        Conflict: the port is taken, or another process serves this home.
        BadInput: the host or port cannot be listened on.
    """
    with ExitStack() as stack:
        held = stack.enter_context(serving(node.settings.home))
        node.open_all()
        stack.enter_context(compiled_beside())
        tls = tls_of(node.settings)
        listener = listen(host, port)
        stack.callback(listener.close)
        settings = node.settings
        app = create_app(node, listens=host, count=_counted(node, stack))
        beyond = not is_loopback(host)
        mount(app, node, secure=beyond or tls is not None or settings.public_url.startswith("https:"))
        configure_logs(logging.INFO, settings.log_format)
        bounds = Bounds(connections=settings.max_connections)
        server = server_of(app, trusted_proxies=settings.trusted_proxies, bounds=bounds, tls=tls)
        stack.enter_context(stopped_by_signals(server))
        if node.settings.heartbeat_s:
            stack.enter_context(Heartbeats(node.heartbeat, node.settings.heartbeat_s))
        stack.enter_context(Summaries(node.accounts.events.say_the_rest, SUMMARY_EVERY_S))
        follow_ups = stack.enter_context(FollowUps(node.follow_up.do, FOLLOW_UP_S))
        node.emergencies.on_begin = follow_ups.wake
        stack.enter_context(Following(partial(_follow, node, held), FOLLOW_EVERY_S))
        stack.enter_context(FollowUps(node.erasure_desk.carry_on, ERASE_EVERY_S))
        telling = stack.enter_context(FollowUps(node.contacts.carry_on, TELL_EVERY_S))
        node.contacts.on_approval = telling.wake
        stack.callback(node.contacts.stop)
        stack.enter_context(FollowUps(node.breach_counting.go_on, COUNT_EVERY_S))
        stack.enter_context(Following(lambda: _examine(node), EXAMINE_EVERY_S))
        stack.enter_context(Checks(node.log_check.run, CHECK_EVERY_S))
        stack.enter_context(Indexing(lambda going_on: node.audit.event_index.deepen(going_on=going_on), INDEX_EVERY_S))
        stack.enter_context(Following(lambda: node.live.watch.tick(), TICK_EVERY_S))
        stack.enter_context(Following(lambda: _close_windows(node), CLOSE_EVERY_S))
        stack.enter_context(Following(_scoring(node), SCORE_EVERY_S))
        stack.enter_context(Following(_reminding(node), REMIND_EVERY_S))
        if settings.live_alert_url:
            stack.enter_context(FollowUps(lambda: node.live.delivery.carry_on(), NOTICE_EVERY_S))
        if checkpoint_every_s:
            stack.enter_context(Pulse(node.audit, checkpoint_every_s))
        _announce(node, host, listener.getsockname()[1])
        collector.back_at_work()
        server.run(sockets=[listener])


def _counted(node: Node, stack: ExitStack) -> Callable[[str, str, int, int], None] | None:
    """Who is told of each request that ended: figures, traces, both or nobody."""
    told: list[Callable[[str, str, int, int], None]] = []
    if node.settings.metrics_port:
        told.append(stack.enter_context(_metrics(node)).count)
    if node.settings.traces_url:
        from twinward.api.http.traces import Traces  # only where somebody collects

        told.append(stack.enter_context(Traces(node.settings.traces_url, node.clock)).count)
    if not told:
        return None

    def count(method: str, route: str, status: int, ms: int) -> None:
        for one in told:
            one(method, route, status, ms)

    return count


@contextmanager
def _metrics(node: Node) -> Iterator[Metrics]:
    """Figures of this node, served beside it."""
    from twinward.api.http.metrics import Metrics  # only where somebody scrapes

    metrics = Metrics()
    add_figures(node, metrics)
    with metrics.served(node.settings.metrics_host, node.settings.metrics_port):
        yield metrics


def add_figures(node: Node, metrics: Metrics) -> None:
    """What this node's figures say beside requests: of its log, its last check, its emergencies."""
    counts, last = node.emergencies.counts, node.log_check
    for name, says in _FIGURES.items():
        metrics.gauge(f"log_{name}", says, partial(_figure, partial(_of_log, node, name)))
    metrics.gauge("log_check_faults", "1 where the last check found the log altered.", lambda: bool(last.last.fault))
    metrics.gauge(
        "log_checked_timestamp_seconds", "When the whole log was last checked.", lambda: last.last.at_ms / 1e3
    )
    says = "Emergency accesses that wait for their review."
    metrics.gauge("emergencies_unreviewed", says, partial(_figure, lambda: counts().unreviewed))
    says = "Those of them whose review is overdue."
    metrics.gauge("emergencies_overdue", says, partial(_figure, lambda: counts().overdue))


def _of_log(node: Node, name: str) -> float:
    return float(getattr(node.audit.status(), name))


def _figure(looked: Callable[[], float]) -> float:
    """A figure, or NaN while what it is read from does not answer: an alert is set on that as well."""
    try:
        return float(looked())
    except TwinwardError:
        return nan


def _follow(node: Node, held: Serving) -> None:
    """Let those leave the cohort whom another process let leave, and say so: its command waits for that."""
    began = moment()
    node.cohort.let_go()
    held.followed(began)


def _examine(node: Node) -> None:
    """What officers found so far is read off the log before the first page asks for its count; then yesterday."""
    node.findings.answered()
    node.examinations.yesterday()


def _scoring(node: Node) -> Callable[[], None]:
    """Registered models over live twins; whatever that takes is loaded once there is one."""
    held: list[LiveScoring] = []

    def run() -> None:
        if not held and node.live.has_scorings():
            from twinward.node.live_scoring import live_scoring

            held.append(live_scoring(node))
        for one in held:
            one.run()

    return run


def _reminding(node: Node) -> Callable[[], None]:
    """Reminders of medication; whatever that takes is loaded once somebody asked for them."""
    held: list[Reminders] = []

    def run() -> None:
        if not held and node.live.has_reminders():
            from twinward.node.reminders import reminders

            held.append(reminders(node))
        for one in held:
            one.run()

    return run


def _close_windows(node: Node) -> None:
    """Pack and log hours of live readings that are over; tie what waits to who became known since."""
    node.live.closing.tie_held()
    node.live.closing.run()


def _announce(node: Node, host: str, port: int) -> None:
    shown = f"[{host}]" if ":" in host else host
    tls = node.settings.tls_cert is not None
    url = f"{'https' if tls else 'http'}://{shown}:{port}"
    out.print(f"{node.settings.hospital} answers at {url}", markup=False, soft_wrap=True)
    out.print(f"console: {url}/console · FHIR: {url}/fhir · Ctrl-C stops", markup=False, soft_wrap=True)
    if not tls and not is_loopback(host) and not node.settings.public_url.startswith("https:"):
        err.print(
            "[yellow]note[/]: this speaks plain HTTP beyond this machine, where nobody can sign in to the console. "
            "Put a TLS proxy in front of it and set TWINWARD_PUBLIC_URL to its https address.",
            soft_wrap=True,
        )
