"""Jobs in one transaction; where that fails each in its own, so that its sender alone is told of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from twinward.core.errors import StoreAltered, Unavailable
from twinward.live.errors import QuarantineFull
from twinward.live.storage.database import LiveDatabase, Tables


class Job(Protocol):
    """Something to be done; ``error`` is how it failed."""

    error: Exception | None


J = TypeVar("J", bound=Job)


def commit_together(database: LiveDatabase, jobs: Sequence[J], work: Callable[[Tables, Sequence[J]], None]) -> None:
    """Do jobs. With how many others one is committed is nobody's to notice. Raises nothing: each job says how it ended.

    Args:
        work: does some within a transaction; what it raises fails all of them. It is begun anew with each alone.
    """
    if len(jobs) > 1:
        try:
            with database.writing() as tables:
                work(tables, jobs)
            return
        except Exception as error:  # noqa: BLE001 - it is raised again by what is to blame
            if isinstance(error, Unavailable) and not isinstance(error, QuarantineFull | StoreAltered):
                for job in jobs:  # the database or the log: each by itself would wait for it as long
                    job.error = error
                return
    for job in jobs:
        try:
            with database.writing() as tables:
                work(tables, [job])
        except Exception as error:  # noqa: BLE001 - raised again by whoever waits for this job
            job.error = error
