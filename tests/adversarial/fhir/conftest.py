from __future__ import annotations

from tests.integration.fhir.conftest import hospital, web

__all__ = ["hospital", "web"]
