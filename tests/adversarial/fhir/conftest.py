from __future__ import annotations

from tests.integration.fhir.conftest import door, hospital, own_web, web

__all__ = ["door", "hospital", "own_web", "web"]
