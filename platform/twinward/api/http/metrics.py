"""Counts of requests for Prometheus: how many, how long, how they ended. Nothing of a person, an account or a patient.

Served on an address of its own (``metrics_host``, ``metrics_port``), not among the node's routes: a scraper holds no
account, and who may read figures is said by the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server

from twinward.api.http.guard import METHODS
from twinward.core.errors import BadInput

BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """One served node's figures."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        labels = ("method", "route", "status")
        self._requests = Counter("twinward_http_requests", "By how they ended.", labels, registry=self.registry)
        self._seconds = Histogram(
            "twinward_http_request_seconds",
            "From a request's head to the end of its answer.",
            ("method", "route"),
            buckets=BUCKETS_S,
            registry=self.registry,
        )

    def count(self, method: str, route: str, status: int, ms: int) -> None:
        """One request that ended. ``route`` is a template: a path would carry ids, and be a series of its own."""
        method = method if method in METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(ms / 1000)

    def gauge(self, name: str, says: str, value: Callable[[], float]) -> None:
        """A figure that is looked at whenever somebody asks."""
        Gauge(f"twinward_{name}", says, registry=self.registry).set_function(value)

    @contextmanager
    def served(self, host: str, port: int) -> Iterator[int]:
        """Answer scrapers until the end; yields the port (the one given, or a free one for 0).

        Raises:
            BadInput: that address cannot be listened on.
        """
        try:
            server, thread = start_http_server(port, host, self.registry)
        except OSError as error:
            raise BadInput(
                f"figures cannot be served at {host}:{port}: {error.strerror}", hint="set metrics_host and metrics_port"
            ) from None
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
