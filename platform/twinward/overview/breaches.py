"""A breach's case as a file, for console and command line alike."""

from __future__ import annotations

from collections.abc import Callable

from twinward.access.interfaces import Permit
from twinward.breach.files import BreachFormat, as_csv, as_proofs
from twinward.breach.models import BreachCase
from twinward.node import Node


def file_of(
    node: Node,
    permit: Permit,
    case: BreachCase,
    form: BreachFormat,
    told: Callable[[str, int, int], None] = lambda _step, _done, _of: None,
) -> bytes:
    """The file's bytes. ``told`` hears how many entries of the log are ``read``, then how many rows are ``proven``.

    Raises:
        BreachConflict: nobody has counted who is affected.
        BreachInvalid: too many events for one file of proofs.
        NoSuchEvent: no checkpoint covers one of them yet.
    """
    found = node.breaches.affected(permit, case, lambda done, of: told("read", done, of))
    if form is BreachFormat.CSV:
        return as_csv(found)
    if form is BreachFormat.PDF:
        from twinward.breach.pdf import as_pdf  # what makes PDFs is loaded by who prints

        settings = node.settings
        return as_pdf(case, found, hospital=settings.hospital, at_ms=node.clock.now_ms(), fonts=settings.print_fonts)
    return as_proofs(
        found,
        lambda index: node.audit_reader.disclose(permit, index).encode(),
        lambda done: told("proven", done, found.accesses),
    )
