"""The ServerApp."""

from twinward.federation.flower.server_app import app

__all__ = ["app"]
