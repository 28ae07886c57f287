"""Settings: where the node lives and which backends it uses. The one place that reads the environment.

Later wins: defaults, then ``twinward.toml`` in the node's home, then ``TWINWARD_…`` in the environment, then what a
command was given. Secrets are never settings: a passphrase comes from a file that ``TWINWARD_PASSPHRASE_FILE`` names.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from twinward.errors import BadInput

DEFAULT_HOME = Path("twinward-home")
FILE_NAME = "twinward.toml"
POLICY_FILE = "quorum.policy"
"""In a node's home, where it was made with the cards of witnesses."""
JOURNAL_FILE = "break-glass.journal"
"""In a node's home, once an emergency had to be written down while the log could not be."""


def _without_password(uri: str) -> str:
    try:
        parts = urlsplit(uri)
        carries = parts.password is not None or "password" in parse_qs(parts.query)
    except ValueError:
        raise ValueError("it is not a URI") from None
    if carries:
        raise ValueError("a database's URI must not carry its password: put it into the file PGPASSFILE names")
    return uri


StoreUri = Annotated[str, AfterValidator(_without_password)]
"""``sqlite:PATH`` or ``postgresql://user@host/database``; empty for a file in ``home``. Never with a password."""


class Settings(BaseSettings):
    """One node's settings. Backends are named by URI; an empty one means the embedded default inside ``home``."""

    model_config = SettingsConfigDict(env_prefix="TWINWARD_", extra="forbid", frozen=True)

    home: Path = DEFAULT_HOME
    """The folder that holds everything the embedded backends keep."""
    tenant: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")] = "st-anna"
    """The hospital's short name: part of key names and of the log's origin."""
    hospital: Annotated[str, Field(min_length=1, max_length=120)] = "St. Anna Hospital"
    """The hospital's name, for people."""
    keys: str = ""
    """Key service, e.g. ``local:/var/lib/twinward/keys``."""
    records: StoreUri = ""
    """Sealed records, e.g. ``postgresql://twinward@db.example/records``. The password comes from ``PGPASSFILE``."""
    keyring: StoreUri = ""
    """Wrapped twin keys: on a server, best another one than the records'."""
    log: StoreUri = ""
    """The access log, one database for each hospital."""
    passphrase_file: Path | None = None
    """A file with the passphrase of the local key service; without one a key file protects it."""
    chain: str = ""
    """Chain, e.g. ``embedded:/path/chain.db`` or ``http://127.0.0.1:8545``."""
    chain_id: int | None = None
    """The EIP-155 id a JSON-RPC endpoint must have."""
    chain_key_file: Path | None = None
    """A file with the 32-byte secret key (hex) of this hospital's account on a JSON-RPC chain."""
    policy: Path | None = None
    """A Cedar policy file instead of the default one."""
    witnesses: Annotated[tuple[str, ...], Field(min_length=1, max_length=64)] = ("st-anna", "northgate", "lakeside")
    """The hospitals whose witnesses co-sign checkpoints."""
    quorum: Annotated[int, Field(ge=1)] = 2
    """How many of them must."""
    quorum_policy: Path | None = None
    """A quorum policy (c2sp.org/tlog-policy) that names the witnesses and where they answer; they are then asked over
    HTTP, and the policy decides instead of ``quorum``. Without one, embedded witnesses sign here. A relative path is in
    the home, so that it means the same after a restore elsewhere."""
    witness_timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    """How long a witness over HTTP may take to answer."""
    heartbeat_s: Annotated[int, Field(ge=0, le=86_400 * 7)] = 3600
    """How often a served node writes a heartbeat into its log, in seconds; a longer silence then shows. 0 for never."""
    publish_log: bool = True
    """Serve the log's files (leaves, tree, checkpoint) to anybody under /log. They name nobody; they do tell how many
    events of which kind there were in which minute."""
    modes: tuple[Literal["gated", "vendor-key", "matrix"], ...] = ("gated",)
    """Similarity modes vendors may use. vendor-key and matrix leak more: read the threat model first."""
    minimum_count: Annotated[int, Field(ge=1)] = 3
    """Fewest matches a vendor may be told about."""
    max_weight: Annotated[int, Field(ge=1, le=1024)] = 2
    """The largest weight a vendor may give a feature (gated and matrix)."""
    vendor_key_noise: Annotated[int, Field(ge=1, le=1 << 20)] = 4096
    """vendor-key: 0 to this much, less one, is added to every squared distance. A small one protects nothing."""
    vendor_key_weighted: bool = False
    """vendor-key: whether features may be left out. A query of one feature then reads it of every record."""
    requests_per_minute: Annotated[int, Field(ge=1)] = 30
    """Similarity requests one vendor may send in a minute."""
    vendor_budget: Annotated[int, Field(ge=0)] = 12
    """Queries a vendor may ask in one epoch. Below the number of features + 1, or distances would give rows away."""
    vendor_key_profile: Literal["fast", "medium", "circuit-private"] = "circuit-private"
    """The ring of vendor-key mode; the smaller ones also leak through ciphertext noise. `twinward similarity plan`
    picks."""
    vendor_key_grouping: Annotated[int, Field(ge=1, le=256)] = 1
    """Features that share a ciphertext in vendor-key mode, a power of two: less to send up, more to send down."""
    scoring: str = ""
    """Who scores encrypted queries: ``in-process`` (the default), ``processes:4``, ``ray:8`` or ``ray:8@ADDRESS``."""
    listen_host: str = "127.0.0.1"
    listen_port: Annotated[int, Field(ge=0, le=65535)] = 8040
    secure_cookies: bool = False
    """Set behind TLS: session cookies are then only ever sent over HTTPS."""

    @classmethod
    def load(cls, home: Path | None = None, **overrides: Any) -> Settings:
        """Settings of the node in ``home``. Raises ``BadInput`` naming the setting that is wrong."""
        chosen: dict[str, Any] = {} if home is None else {"home": home}
        base = home or _environment_home() or DEFAULT_HOME
        source = _from_file(base / FILE_NAME)
        try:
            return source(**chosen, **overrides)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = ".".join(str(part) for part in first["loc"])
            hint = f"look at TWINWARD_{name.upper()} and at {base / FILE_NAME}"
            raise BadInput(f"setting {name}: {first['msg']}", hint=hint) from None
        except tomllib.TOMLDecodeError as error:
            raise BadInput(f"{base / FILE_NAME} is not valid TOML: {error}") from None

    @property
    def keys_uri(self) -> str:
        """The key service to use."""
        return self.keys or f"local:{self.home / 'keys'}"

    @property
    def records_uri(self) -> str:
        """Where sealed records are."""
        return self.records or f"sqlite:{self.home / 'vault.db'}"

    @property
    def keyring_uri(self) -> str:
        """Where wrapped twin keys are."""
        return self.keyring or f"sqlite:{self.home / 'keyring.db'}"

    @property
    def log_uri(self) -> str:
        """Where the access log is."""
        return self.log or f"sqlite:{self.home / 'log.db'}"

    @property
    def chain_uri(self) -> str:
        """The chain to use."""
        return self.chain or f"embedded:{self.home / 'chain.db'}"

    @property
    def origin(self) -> str:
        """The log's name in checkpoints."""
        return origin_of(self.tenant)

    def to_toml(self) -> str:
        """What a new node is written with: what an operator will want to see, and whatever is not the default."""
        lines = ["# Settings of this Twinward node. Each can also be given as TWINWARD_<NAME> in the environment."]
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name != "home" and (name in _ALWAYS_WRITTEN or value != field.default):
                lines.append(f"{name} = {_toml(str(value) if name in _IN_HOME else value)}")
        return "\n".join(lines) + "\n"


_ALWAYS_WRITTEN = frozenset(
    {
        *("tenant", "hospital", "witnesses", "quorum", "modes"),
        *("minimum_count", "vendor_budget", "listen_host", "listen_port"),
    }
)

_IN_HOME = frozenset({"quorum_policy"})
"""Paths that are relative to the home, and written so; all others are written absolute."""


def origin_of(tenant: str) -> str:
    """A hospital's log in checkpoints (C2SP: a schema-less URL)."""
    return f"twinward.example/{tenant}/access-log"


def _environment_home() -> Path | None:
    class _Home(BaseSettings):
        model_config = SettingsConfigDict(env_prefix="TWINWARD_", extra="ignore")
        home: Path | None = None

    return _Home().home


def _from_file(path: Path) -> type[Settings]:
    class _FileSettings(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - fixed by pydantic-settings
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=path)

    return _FileSettings


def _toml(value: Any) -> str:
    """A setting as a TOML value; JSON's strings, numbers, booleans and arrays are TOML's too."""
    return json.dumps(str(value.absolute()) if isinstance(value, Path) else value, ensure_ascii=False)
