"""Which revision of an embedded chain's file this version works with."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import MetaData

from twinward_ledger.errors import ChainUnavailable
from twinward_ledger.storage import Schema


def _unavailable(message: str, _hint: str) -> ChainUnavailable:
    return ChainUnavailable(message)


def _models() -> MetaData:
    from twinward_ledger.chains._models import ChainBase  # only where a file is laid or brought up to date

    return ChainBase.metadata


CHAIN: Final = Schema(
    name="chain",
    application_id=0x54574348,  # "TWCH"
    version=1,
    revisions=Path(__file__).parent / "migrations",
    models=_models,
    unnumbered=1,
    unavailable=_unavailable,
)
