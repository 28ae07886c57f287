"""Settings: where the node lives and which backends it uses. The one place that reads the environment.

Later wins: defaults, then ``twinward.toml`` in the node's home, then ``TWINWARD_…`` in the environment, then what a
command was given. Secrets are never settings: a passphrase comes from a file that ``TWINWARD_PASSPHRASE_FILE`` names.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from twinward.core.errors import BadInput
from twinward.core.network_settings import NetworkSettings
from twinward.core.sign_in_settings import SignInSettings, bare_origin

DEFAULT_HOME = Path("twinward-home")
FILE_NAME = "twinward.toml"
POLICY_FILE = "quorum.policy"
"""In a node's home, where it was made with the cards of witnesses."""
CONSORTIUM_FILE = "consortium.json"
"""In a node's home: where the contracts are. Public, and the same at every member."""
ANSWERS_FILE = "studies.db"
"""In a hospital's home: which rounds of which studies it answered. Never in a backup: it holds keys, and an older one
would have rounds answered again (ADR 67)."""
ANSWERS_BEGIN_FILE = "studies.begin"
"""Beside it: from which reservation on it knows. A home of an earlier release has none."""
JOURNAL_FILE = "break-glass.journal"
"""In a node's home, once an emergency had to be written down while the log could not be."""
EMERGENCIES_LOCK, FOLLOW_UP_LOCK = "emergencies.lock", "follow-up.lock"
"""In a node's home; they hold nothing: one process at a time begins and ends emergencies, and follows them up."""
BREACHES_LOCK = "breaches.lock"
CONTACTS_LOCK = "contacts.lock"
ERASURES_LOCK = "erasures.lock"
ERASURE_WORK_LOCK = "erasure_work.lock"
"""In a node's home; it holds nothing: one process at a time takes a step on the case of a breach."""
WRITING_LOCK, CONDITIONS_LOCK = "writing.lock", "conditions.lock"
"""In a node's home; they hold nothing: one process at a time changes twins, and writes on a condition."""


def _without_password(uri: str) -> str:
    try:
        parts = urlsplit(uri)
        carries = parts.password is not None or "password" in parse_qs(parts.query)
    except ValueError:
        raise ValueError("it is not a URI") from None
    if carries:
        raise ValueError("a database's URI must not carry its password: put it into the file PGPASSFILE names")
    return uri


def _receiver(url: str) -> str:
    try:
        parts = urlsplit(url)
        fits = not url or (parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError("it is no http or https address, or one that carries a password")
    return url


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: a folder of the zones, or a name too long
        raise ValueError("there is no such time zone: name one of the IANA database, such as Europe/Vienna") from None
    return name


def _server(uri: str) -> str:
    if uri and not uri.startswith(("postgresql://", "postgres://")):
        raise ValueError("it names a PostgreSQL database, or nothing: then these stores are files in the home")
    return uri


Epsilon = Annotated[float, Field(ge=0.05, le=4)]
"""Of one count."""
StoreUri = Annotated[str, AfterValidator(_without_password)]
"""``sqlite:PATH`` or ``postgresql://user@host/database``; empty for a file in ``home``. Never with a password."""


class Settings(NetworkSettings, SignInSettings):
    """One node's settings. Backends are named by URI; an empty one means the embedded default inside ``home``."""

    model_config = SettingsConfigDict(env_prefix="TWINWARD_", extra="forbid", frozen=True)

    home: Path = DEFAULT_HOME
    """The folder that holds everything the embedded backends keep."""
    tenant: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")] = "st-anna"
    """The hospital's short name: part of key names and of the log's origin."""
    hospital: Annotated[str, Field(min_length=1, max_length=120)] = "St. Anna Hospital"
    """The hospital's name, for people."""
    time_zone: Annotated[str, AfterValidator(_time_zone)] = "UTC"
    """By whose clock the console shows times to whoever has chosen no other, and rules of the policy ask for the hour,
    e.g. ``Europe/Vienna``."""
    keys: str = ""
    """Key service, e.g. ``local:/var/lib/twinward/keys``."""
    log_key: str = ""
    """The first public key of this node's log, noted when it was made: with other keys no command opens the home."""
    records: StoreUri = ""
    """Sealed records, e.g. ``postgresql://twinward@db.example/records``. The password comes from ``PGPASSFILE``."""
    keyring: StoreUri = ""
    """Wrapped twin keys: on a server, best another one than the records'."""
    log: StoreUri = ""
    """The access log, one database for each hospital."""
    state: Annotated[str, AfterValidator(_without_password), AfterValidator(_server)] = ""
    """Accounts, sign-ins, consents, the anchor journal, subscriptions and what is known of witnesses:
    ``postgresql://…``, else in the home."""
    passphrase_file: Path | None = None
    """A file with the passphrase of the local key service; without one a key file protects it."""
    chain: str = ""
    """Chain, e.g. ``embedded:/path/chain.db``, ``http://127.0.0.1:8545`` or several endpoints with commas between."""
    chain_id: int | None = None
    """The EIP-155 id that every JSON-RPC endpoint must have."""
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
    vendor_window_epochs: Annotated[int, Field(ge=1, le=366)] = 30
    """How many epochs are looked at together when a vendor spends: what epochs tell one by one adds up."""
    vendor_window_grants: Annotated[int, Field(ge=1, le=366)] = 10
    """How many epochs' grants a vendor may spend in them: at 12 an epoch, 120 queries in any 30 epochs."""
    feasibility: bool = True
    """Count for vendors how many patients meet criteria that they alone can read: counts with noise."""
    feasibility_epsilons: Annotated[tuple[Annotated[float, Field(ge=0.05, le=4)], ...], Field(min_length=1)] = (
        0.25,
        0.1,
        0.5,
        1.0,
    )
    """What a count may cost each patient's privacy: the vendor chooses, the first is suggested."""
    feasibility_vendor_epsilon: Annotated[float, Field(ge=0, le=100)] = 1.5
    """What a new vendor is granted for counts, an epoch: six at 0.25."""
    feasibility_epsilon: Annotated[float, Field(ge=0, le=100)] = 3.0
    """What all vendors together are granted for counts, an epoch: twelve at 0.25."""
    facet_years: Annotated[str, Field(pattern=r"^([0-9]{4}-[0-9]{4})?$")] = ""
    """The years that vendors may filter by, such as "2019-2026": of each patient's newest reading. None if empty."""
    facet_sites: Annotated[dict[str, tuple[str, ...]], Field(default_factory=dict)]
    """The sites that vendors may filter by, and what each is called as a patient's managing organisation."""
    facet_minimum: Annotated[int, Field(ge=3)] = 20
    """No filter, and no difference of two, means fewer patients than this, where patients are told of."""
    record_days: Annotated[int, Field(ge=1, le=3660)] = 30
    """How many days a vendor may use records that were released to it: the end is signed, and sealed with them."""
    answer_step_ms: Annotated[int, Field(ge=0, le=10_000)] = 250
    """Gated answers leave at whole steps of so many milliseconds: how long one took tells less of who was refused."""
    vendor_key_profile: Literal["fast", "medium", "circuit-private"] = "circuit-private"
    """The ring of vendor-key mode; smaller ones leak by ciphertext noise, too. `twinward similarity plan` picks."""
    vendor_key_grouping: Annotated[int, Field(ge=1, le=256)] = 1
    """Features that share a ciphertext in vendor-key mode, a power of two: less to send up, more to send down."""
    scoring: str = ""
    """Who scores encrypted queries: ``processes:4``, ``ray:8`` or ``ray:8@ADDRESS``; by default a process a core."""
    break_glass_patients: Annotated[int, Field(ge=1, le=1000)] = 5
    """Different patients one clinician may open in emergencies within ``break_glass_window_s``. An officer raises it
    for a time with `twinward access allow`."""
    break_glass_window_s: Annotated[int, Field(ge=60, le=86_400)] = 3600
    """That time, in seconds."""
    break_glass_box_s: Annotated[int, Field(ge=60, le=86_400)] = 3600
    """How long one emergency lasts; then it wants a justification anew."""
    break_glass_review_s: Annotated[int, Field(ge=3600, le=3650 * 86_400)] = 72 * 3600
    """By when an emergency is to be reviewed. A consortium is founded with it; later its contract's time counts."""
    alert_url: Annotated[str, AfterValidator(_receiver)] = ""
    """Where officers' alerts are posted when the glass is broken: that it was, and where to look; never who or whom."""
    live_alert_url: Annotated[str, AfterValidator(_receiver)] = ""
    """Where notices of patients' alerts are posted, signed: which alert, how grave, never whose."""
    print_fonts: Annotated[tuple[Path, ...], Field(max_length=16)] = ()
    """Font files for printed exports, asked in this order for what DejaVu lacks: Chinese, Hindi, emoji. A character in
    none of them is printed as ``\\u60a3``."""
    listen_host: str = "127.0.0.1"
    listen_port: Annotated[int, Field(ge=0, le=65535)] = 8040
    public_url: Annotated[str, AfterValidator(bare_origin)] = ""
    """Under which address clients reach this node, such as ``https://twinward.hospital.example``: links carry it, and
    a request for another name is refused. Needed behind a proxy."""
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Where Prometheus finds figures of the served node; 0 serves none. Whoever reaches the address may read them."""
    traces_url: Annotated[str, AfterValidator(_receiver)] = ""
    """An OpenTelemetry collector that is sent a span of each request (OTLP over HTTP, e.g.
    ``http://127.0.0.1:4318/v1/traces``): method, route, status and time, nothing else. Empty sends none."""
    log_format: Literal["logfmt", "json"] = "logfmt"
    """How the served node writes its own log's lines: for people, or one JSON object each."""
    max_connections: Annotated[int, Field(ge=4, le=65_536)] = 512
    """How many connections may be open at once; fewer where the process has too few file descriptors."""

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
            hint = f"look at TWINWARD_{name.partition('.')[0].upper()} and at {base / FILE_NAME}"
            raise BadInput(f"setting {name}: {first['msg']}", hint=hint) from None
        except SettingsError as error:
            name = _ill_formed(error)
            example = f'TWINWARD_{name.upper()}=\'["…", "…"]\''
            raise BadInput(f"setting {name}: in the environment it is a JSON list", hint=f"e.g. {example}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise _unreadable(base / FILE_NAME, error) from None

    @staticmethod
    def written(home: Path) -> dict[str, Any]:
        """What the file in a home says, whatever the environment does. Raises ``BadInput``: it cannot be read."""
        path = home / FILE_NAME
        try:
            return tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise _unreadable(path, error) from None

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
    def databases(self) -> dict[str, str]:
        """Where records, keyring, log and what is on a server besides are, by the setting that names each."""
        named = {"records": self.records_uri, "keyring": self.keyring_uri, "log": self.log_uri}
        return {**named, "state": self.state} if self.state else named

    def state_uri(self, file: str) -> str:
        """Where a small store is: on the server that the settings name, or in a file of the home."""
        return self.state or f"sqlite:{self.home / file}"

    @property
    def chain_uri(self) -> str:
        """The chain to use."""
        return self.chain or f"embedded:{self.home / 'chain.db'}"

    @property
    def passkey_origins(self) -> tuple[str, ...]:
        """Where browsers have the console open."""
        return self.public_origins or (self.public_url or f"http://localhost:{self.listen_port}",)

    @property
    def passkey_host(self) -> str:
        """For which host passkeys are kept."""
        return self.rp_id or urlsplit(self.passkey_origins[0]).hostname or "localhost"

    @property
    def origin(self) -> str:
        """The log's name in checkpoints."""
        return origin_of(self.tenant)

    def to_toml(self) -> str:
        """What a new node is written with: what an operator will want to see, and whatever is not the default."""
        import tomlkit  # only where a home is made: no other command waits for it

        file = tomlkit.document()
        file.add(
            tomlkit.comment(
                "Settings of this Twinward node. Each can also be given as TWINWARD_<NAME> in the environment."
            )
        )
        for name, field in type(self).model_fields.items():
            value, usual = getattr(self, name), field.get_default(call_default_factory=True, validated_data={})
            if name != "home" and (name in _ALWAYS_WRITTEN or value != usual):
                file.add(name, _written(name, value))
        return tomlkit.dumps(file)


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


def _unreadable(path: Path, error: Exception) -> BadInput:
    """What is wrong with a settings file."""
    if isinstance(error, OSError):
        return BadInput(f"{path} cannot be read: {error.strerror}")
    what = "text in UTF-8" if isinstance(error, UnicodeDecodeError) else f"valid TOML: {error}"
    return BadInput(f"{path} is not {what}", hint="put it right, or take it from a backup")


def _ill_formed(error: SettingsError) -> str:
    """Which setting pydantic-settings could not read from the environment: its message alone says so."""
    found = re.search(r'field "(\w+)"', str(error))
    return found.group(1) if found else "of a list"


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


def _written(name: str, value: Any) -> Any:
    """A setting as TOML has it; paths absolute, but for those that lie in the home."""
    if isinstance(value, Path):
        return str(value if name in _IN_HOME else value.absolute())
    if isinstance(value, dict):
        return {key: list(one) if isinstance(one, tuple) else str(one) for key, one in value.items()}
    return list(value) if isinstance(value, tuple) else value
