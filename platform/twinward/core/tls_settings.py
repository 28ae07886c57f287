"""Settings of a node that speaks TLS itself, and asks systems and vendors for a certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import model_validator
from pydantic_settings import BaseSettings


class TlsSettings(BaseSettings):
    """Which files; none of them: the node speaks plain HTTP, and TLS is a proxy's."""

    tls_cert: Path | None = None
    """The node's certificate with those above it (PEM). With it the node speaks TLS 1.3 and nothing else."""
    tls_key: Path | None = None
    """The certificate's private key (PEM, not encrypted; readable to the node's user alone)."""
    tls_client_ca: Path | None = None
    """Who issues certificates of systems and vendors (PEM). A connection that brings one of another issuer, or one that
    has expired, is ended; one that brings none goes on, and no account that wants its certificate is served there."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.tls_cert is None) is not (self.tls_key is None):
            raise ValueError("tls_cert and tls_key name a certificate and its key: give both")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("tls_client_ca asks for certificates over TLS: give tls_cert and tls_key as well")
        return self
