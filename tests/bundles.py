"""Bundles read as an import without a name reads them: what tests of records and mappings begin with."""

from __future__ import annotations

from typing import Any

from twinward.core.clock import FixedClock
from twinward.fhir.mapping.bundle import ParsedBundle
from twinward.fhir.mapping.ids import Origin, OriginNames
from twinward.fhir.mapping.references import read_bundle as read_named


def read_bundle(data: bytes, origin: Origin = Origin(), **more: Any) -> ParsedBundle:  # noqa: B008 - it is frozen
    return read_named(data, OriginNames(origin.of(data), FixedClock()), **more).bundle
