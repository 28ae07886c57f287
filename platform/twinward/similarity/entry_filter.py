"""Which rows a filter by public facets leaves, so that no filter, and no difference of filters, means fewer than some.

In the modes that tell of patients every answer is exact about its rows, so a filter must not isolate anybody. Rows with
the same values make a cell. A cell of fewer than ``least`` rows is closed: no filter means its rows. Where all closed
cells together hold somebody, but fewer than ``least``, the smallest open cell is closed with them. So any two sets that
filters mean, and the whole cohort, differ by nobody or by at least ``least`` rows (a union of open cells, or with the
closed ones). This is decided on the cohort as it stands, before any query is looked at.

Counts under hidden criteria need none of it: their noise covers one row whatever the filter, and rows that decide about
other rows would spoil that.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from twinward.features.facets import require_known
from twinward.similarity.cohort import Cohort
from twinward.similarity.errors import QueryRefused

Bools = NDArray[np.bool_]


def rows_where(cohort: Cohort, where: Mapping[str, str]) -> Bools:
    """The rows that have these values, all rows for none: for counts. Raises ``BadInput``: no such facet or value."""
    require_known(cohort.schema.facets, where)
    wanted = np.ones(len(cohort), dtype=np.bool_)
    for place, facet in enumerate(cohort.schema.facets):
        if facet.name in where:
            wanted &= cohort.facets[:, place] == facet.level(where[facet.name])
    return wanted


def open_rows_where(cohort: Cohort, where: Mapping[str, str], least: int) -> Bools:
    """The rows that a filter means where patients are told of: those of open cells.

    Raises:
        BadInput: no such facet or value.
        QueryRefused: none of its cells is open.
    """
    if not where:
        return np.ones(len(cohort), dtype=np.bool_)
    rows: Bools = rows_where(cohort, where) & ~_closed(cohort, least)
    if not rows.any():
        raise QueryRefused(
            f"no filter tells of fewer than {least} patients, and no difference of two",
            hint="ask for one facet instead of two, for another value, or without a filter; nothing was spent",
        )
    return rows


def _closed(cohort: Cohort, least: int) -> Bools:
    """Which rows lie in closed cells."""
    _, cell, sizes = np.unique(cohort.facets, axis=0, return_inverse=True, return_counts=True)
    shut = sizes < least
    if 0 < sizes[shut].sum() < least and not shut.all():
        shut[np.where(shut, len(cohort) + 1, sizes).argmin()] = True
    closed: Bools = shut[cell.reshape(-1)]
    return closed
