"""Connections to PostgreSQL as an evidence store needs them: durable at commit, and never a password in a setting.

A database is named ``postgresql://user@host/database``, as libpq reads it (PostgreSQL manual, 34.1.1.2). The password
comes from ``PGPASSFILE`` or ``?passfile=…``; a URI that carries one is refused, because settings end up in files,
process lists and messages. A host that is not this machine is reached over TLS with its certificate verified, unless
the URI itself says another ``sslmode``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twinward_ledger.errors import LogUnavailable

if TYPE_CHECKING:
    import psycopg

CONNECT_TIMEOUT_S: Final = 10
LOCK_TIMEOUT_S: Final = 15
OLDEST_SERVER: Final = 150_000
"""PostgreSQL 15, as the server numbers itself."""

_LOCAL_HOSTS: Final = frozenset({"", "localhost", "127.0.0.1", "::1"})
_SESSION: Final = f"SET synchronous_commit = on; SET lock_timeout = '{LOCK_TIMEOUT_S}s'"


class PostgresAddress:
    """Where a database is. ``str()`` names it without any secret."""

    def __init__(self, uri: str) -> None:
        """Read a URI.

        Raises:
            LogUnavailable: it is not one, it carries a password, or the driver is not installed.
        """
        parts = _parse(uri)
        if "password" in parts:
            raise LogUnavailable("a database's URI must not carry its password: put it into the file PGPASSFILE names")
        if "dbname" not in parts:
            raise LogUnavailable("a database's URI ends with its name: postgresql://user@host/database")
        host = str(parts.get("host", ""))
        if host not in _LOCAL_HOSTS and not host.startswith("/") and "sslmode" not in parts:
            parts["sslmode"] = "verify-full"
            parts.setdefault("sslrootcert", "system")
        self._parts: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S, **parts, "client_encoding": "UTF8"}
        user = f"{parts['user']}@" if "user" in parts else ""
        self._name = f"postgresql://{user}{host}/{parts['dbname']}"

    def __str__(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return f"PostgresAddress({self._name})"

    def connect(self, *, autocommit: bool = True) -> psycopg.Connection:
        """A new connection that commits durably. Raises the driver's errors, and ``LogUnavailable`` as ``_require``."""
        import psycopg

        connection = psycopg.connect(**self._parts, autocommit=True)
        try:
            _require_durable(connection)
            connection.execute(_SESSION)
            connection.autocommit = autocommit
        except BaseException:
            connection.close()
            raise
        return connection


def reason(error: BaseException) -> str:
    """What went wrong, without the values that a server's DETAIL and CONTEXT lines repeat."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    if primary:
        return str(primary)
    if type(error).__name__ in ("OperationalError", "ConnectionTimeout") and str(error):
        return str(error).splitlines()[0]
    return type(error).__name__


def _parse(uri: str) -> dict[str, Any]:
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        raise LogUnavailable("PostgreSQL needs its driver: pip install 'twinward[postgres]'") from None
    if not uri.startswith(("postgresql://", "postgres://")):
        raise LogUnavailable("a database's URI reads postgresql://user@host/database")
    try:
        return conninfo_to_dict(uri)
    except psycopg.Error:  # libpq's own message repeats the URI
        raise LogUnavailable(
            "a database's URI reads postgresql://user@host/database; this one cannot be read"
        ) from None


def _require_durable(connection: psycopg.Connection) -> None:
    """Refuse a server that could lose or garble what it has acknowledged."""
    if connection.info.server_version < OLDEST_SERVER:
        raise LogUnavailable(f"PostgreSQL 15 or newer is needed, not {connection.info.server_version // 10_000}")
    row = connection.execute(
        "SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('server_encoding')"
    ).fetchone()
    if row != ("on", "on", "UTF8"):
        raise LogUnavailable("the PostgreSQL server must run with fsync and full_page_writes on, in encoding UTF8")
