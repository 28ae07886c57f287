"""Laying the tables of a node's PostgreSQL databases, as their owner: the node's own account need not be able to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

from twinward.access.tables import ACCOUNTS, CONSENTS, POLICIES, SIGN_INS
from twinward.audit.saved_filters import SAVED_FILTERS
from twinward.core.config import Settings
from twinward.core.errors import BadInput
from twinward.fhir.subscriptions.store import SUBSCRIPTIONS
from twinward.live.storage.tables import LIVE
from twinward.node.errors import translated
from twinward.outbreak.period_store import OUTBREAK_PERIODS
from twinward.things.storage.tables import THINGS
from twinward.vault.storage.schemas import KEYRING, RECORDS
from twinward_ledger.storage import open_database
from twinward_ledger.stores import open_store
from twinward_ledger.stores.completeness import open_map_store
from twinward_ledger.stores.tables import ANCHORS, WITNESS_MEMORY

_SQLITE = "sqlite:"
LOG = "log"
SMALL_STORES = (
    ACCOUNTS,
    CONSENTS,
    ANCHORS,
    WITNESS_MEMORY,
    SUBSCRIPTIONS,
    SIGN_INS,
    SAVED_FILTERS,
    POLICIES,
    LIVE,
    THINGS,
    OUTBREAK_PERIODS,
)
"""What is in ``state``."""
_SCHEMAS = {
    RECORDS.name: (RECORDS,),
    KEYRING.name: (KEYRING,),
    "state": SMALL_STORES,
}


def lay(uri: str, roles: Collection[str]) -> None:
    """Lay the tables of a database, or bring them up to date. Raises ``Unavailable``: it cannot be, or it may not.

    Args:
        uri: the database.
        roles: which of records, keyring, log and state it holds.
    """
    with translated():
        for role, schemas in _SCHEMAS.items():
            for schema in schemas if role in roles else ():
                open_database(uri, schema).close()
        if LOG in roles:
            open_store(uri).close()
            open_map_store(uri).close()


def lay_all(settings: Settings, owner: str) -> Mapping[str, str]:
    """Lay the tables of every server's database that the settings name, as ``owner``. Returns them by role.

    Raises:
        BadInput: the settings name none, or one in a form in which the account cannot be told.
        Unavailable: a server does not answer, or the owner may not.
    """
    servers = {role: _as(uri, owner) for role, uri in settings.databases.items() if not uri.startswith(_SQLITE)}
    if not servers:
        raise BadInput(
            "the settings name no PostgreSQL database",
            hint="set TWINWARD_RECORDS, TWINWARD_KEYRING, TWINWARD_LOG, or give the --home of a node on PostgreSQL",
        )
    for uri in dict.fromkeys(servers.values()):
        lay(uri, [role for role, its in servers.items() if its == uri])
    return servers


def _as(uri: str, account: str) -> str:
    """A database's URI for another account."""
    parts = urlsplit(uri)
    if "user" in parse_qs(parts.query):
        raise BadInput("a database's URI names its account before the host", hint="postgresql://user@host/database")
    return urlunsplit(parts._replace(netloc=f"{quote(account, safe='')}@{parts.netloc.rpartition('@')[2]}"))
