"""A witness's own home, apart from any node's: its keys, what it cosigned, whom it cosigns for.

=================  =====================================================================================================
``witness.toml``   settings
``keys/``          the local key service, encrypted under a key file or the passphrase in TWINWARD_PASSPHRASE_FILE
``logs``           the logs it cosigns for and the anchors it signs for; read again whenever the file changes
``witness.db``     every checkpoint it cosigned, whole
``evidence/``      split views it was shown, one file each
=================  =====================================================================================================

``logs`` holds one statement a line: ``log <vkey>``, ``retired <vkey>`` or ``anchor <chain id> <contract>``; ``#``
starts a comment. Several keys of one log stand in the order in which it took them up: once a checkpoint of one was
cosigned, those above it are refused. A retired key is refused at once, and still convicts a log of a split view.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twinward.consortium.identity import Identity
from twinward.consortium.membership import WitnessCard
from twinward.consortium.witness.split_views import EVIDENCE_FOLDER, keep_evidence
from twinward.core.clock import Clock, SystemClock
from twinward.core.errors import BadInput, Conflict, NotFound, Unavailable
from twinward.core.private_files import write_private
from twinward.core.secret_files import secret_in
from twinward_crypto.errors import KeyProviderError, MalformedKey
from twinward_crypto.keys import KekId, TenantId
from twinward_crypto.providers import open_provider
from twinward_ledger.errors import LedgerError, MalformedPolicy
from twinward_ledger.formats.checkpoint import Checkpoint
from twinward_ledger.formats.note import Algorithm, VerifierKey
from twinward_ledger.stores.witness_state import WitnessState
from twinward_ledger.witness.evidence import SplitViewEvidence
from twinward_ledger.witness.service import Limits, Report, WitnessService
from twinward_ledger.witness.witness import MAX_SKEW_S, Witness, WitnessKeys

SETTINGS_FILE = "witness.toml"
LOGS_FILE = "logs"
STATE_FILE = "witness.db"
MAX_LOGS_BYTES = 256 * 1024
_RESTORE_KEYS = "restore keys/ from where it is kept, or name the right service: others know this witness by its key"

_ANCHOR = re.compile(r"([1-9][0-9]{0,77}) (?:0x)?([0-9a-fA-F]{40})", re.ASCII)

Anchor = tuple[int, bytes]
"""An EIP-155 chain id and a contract's address (20 bytes)."""


class WitnessSettings(BaseModel):
    """What stands in ``witness.toml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    """The hospital's short name: part of the witness's key name."""
    keys: str = ""
    """Key service; empty for ``keys/`` in the home."""
    key: str = ""
    """Its cosigner key, noted when it was made: with another witness's keys no command opens the home."""
    url: str = ""
    """Where logs reach it: what stands in their policies."""
    listen_host: str = "127.0.0.1"
    listen_port: Annotated[int, Field(ge=0, le=65535)] = 8050
    max_skew_s: Annotated[int, Field(ge=1, le=86_400)] = MAX_SKEW_S
    """How far the time a log proposes for an anchor may be from this machine's clock, in seconds."""
    rate_per_s: Annotated[float, Field(gt=0)] = 50.0
    """Requests a second that one client address may make in the long run."""

    def to_toml(self) -> str:
        """The file's content."""
        file = tomlkit.document()
        file.add(tomlkit.comment("Settings of this Twinward witness."))
        for name, value in self.model_dump().items():
            file.add(name, value)
        return tomlkit.dumps(file)


class WitnessHome:
    """An opened home. Use ``create_witness`` or ``open_witness``."""

    def __init__(self, home: Path, settings: WitnessSettings, keys: WitnessKeys, clock: Clock) -> None:
        self.home = home
        self.settings = settings
        self._keys = keys
        self._stamp: tuple[int, int] | None = None
        self.witness = Witness(keys, (), WitnessState(home / STATE_FILE), clock, max_skew_s=settings.max_skew_s)
        self.refresh()

    def card(self, url: str = "") -> WitnessCard:
        """What the hospitals need to know. ``url`` instead of the settings' own."""
        host = self.settings.listen_host
        own = f"http://{f'[{host}]' if ':' in host else host}:{self.settings.listen_port}"
        return WitnessCard.of(self.settings.name, self._keys, url or self.settings.url or own)

    def refresh(self) -> None:
        """Take over the list of logs if its file has changed. Raises ``MalformedPolicy`` or ``OSError``."""
        stat = (self.home / LOGS_FILE).stat()
        stamp = (stat.st_mtime_ns, stat.st_size)
        if stamp != self._stamp:
            listed = read_logs(self.home / LOGS_FILE)
            self.witness.serve(listed.logs, listed.anchors, listed.retired)
            self._stamp = stamp

    def add_log(self, key: VerifierKey, anchor: Anchor | None = None, *, retire_older: bool = False) -> tuple[str, ...]:
        """Cosign for a log from now on, a running service included.

        Another key of a log that is listed follows those: the witness believes them until the log first signs with the
        new one, or not any more (``retire_older``). Returns the key ids of the log's other keys that are believed.

        Raises:
            Conflict: the key was retired: what it signs is not believed again.
        """
        path = self.home / LOGS_FILE
        listed = read_logs(path)
        if key in listed.retired:
            hint = f"a log takes up a key once; if it is right all the same, change its line in {path}"
            raise Conflict(f"this key of {key.name} was retired", hint=hint)
        logs = listed.logs if key in listed.logs else (*listed.logs, key)
        older = [one for one in logs[: logs.index(key)] if one.name == key.name]
        was = path.read_text(encoding="utf-8").splitlines()
        retiring = {f"log {one}" for one in older} if retire_older else set[str]()
        lines = [f"retired {line.split()[1]}" if " ".join(line.split()) in retiring else line for line in was]
        lines += [] if key in listed.logs else [f"log {key}"]
        if anchor is not None and anchor not in listed.anchors:
            lines.append(f"anchor {anchor[0]} 0x{anchor[1].hex()}")
        if lines != was:
            write_private(path, "".join(f"{line}\n" for line in lines).encode())
        return () if retire_older else tuple(one.key_id.hex() for one in older)

    def remember(self, note: bytes) -> Checkpoint:
        """Take back a checkpoint that bears this witness's own cosignature. Raises ``WitnessRefused``."""
        return self.witness.remember(note)

    def keep_evidence(self, found: SplitViewEvidence) -> Path:
        """Write a split view down, durably; one file for each log and pair of sizes."""
        return keep_evidence(self.home / EVIDENCE_FOLDER, found)

    def evidence(self) -> list[Path]:
        """The files of all split views it was shown."""
        return sorted((self.home / EVIDENCE_FOLDER).glob("*.split-view"))

    def service(self, report: Report) -> WitnessService:
        """The ASGI application."""
        return WitnessService(
            self.witness,
            limits=Limits(rate_per_s=self.settings.rate_per_s),
            refresh=self.refresh,
            on_split=self.keep_evidence,
            report=report,
        )

    def close(self) -> None:
        """Give back its files."""
        self.witness.close()


def create_witness(home: Path, settings: WitnessSettings, *, clock: Clock | None = None) -> WitnessHome:
    """Make a witness in an empty or absent folder, its keys first.

    Raises:
        Conflict: there is something in the folder already.
        BadInput: it cannot be made.
        Unavailable: the key service does not answer.
    """
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(home.iterdir()):
            raise Conflict(f"{home} is not empty", hint="give another --home")
    except OSError as error:
        raise BadInput(f"{home} cannot be a witness's home: {error.strerror}") from None
    write_private(home / LOGS_FILE, b"# Logs this witness cosigns for; `twinward witness add-log` adds one.\n")
    keys = _keys_of(home, settings, create=True)
    settings = settings.model_copy(update={"key": str(keys.signer.key)})
    made = WitnessHome(home, settings, keys, clock or SystemClock())
    write_private(home / SETTINGS_FILE, settings.to_toml().encode())
    return made


@contextmanager
def open_witness(home: Path, *, clock: Clock | None = None) -> Iterator[WitnessHome]:
    """The witness in a home, opened and closed again.

    Raises:
        NotFound: there is none.
        BadInput: its settings or its list of logs are wrong.
        Unavailable: its key service or its state does not answer.
    """
    settings = read_settings(home)
    try:
        opened = WitnessHome(home, settings, _keys_of(home, settings, create=False), clock or SystemClock())
    except MalformedPolicy as error:
        raise BadInput(
            f"{home / LOGS_FILE}: {error}", hint="one `log <vkey>`, `retired <vkey>` or `anchor <id> <contract>` a line"
        ) from None
    except LedgerError as error:
        raise Unavailable(str(error)) from error
    try:
        yield opened
    finally:
        opened.close()


def read_settings(home: Path) -> WitnessSettings:
    """A home's settings. Raises ``NotFound`` or ``BadInput`` naming the setting that is wrong."""
    path = home / SETTINGS_FILE
    try:
        return WitnessSettings(**tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise NotFound(f"there is no witness in {home}", hint="`twinward witness create` makes one") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"setting {name}: {first['msg']}", hint=f"look at {path}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, TypeError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from None


@dataclass(frozen=True, slots=True)
class Listed:
    """What stands in ``logs``, in the file's order."""

    logs: tuple[VerifierKey, ...]
    anchors: tuple[Anchor, ...]
    retired: tuple[VerifierKey, ...]


def read_logs(path: Path) -> Listed:
    """Whom a witness cosigns for, and the anchors it signs. Raises ``MalformedPolicy`` naming the line."""
    logs: dict[VerifierKey, None] = {}
    retired: dict[VerifierKey, None] = {}
    anchors: list[Anchor] = []
    with path.open("rb") as file:
        raw = file.read(MAX_LOGS_BYTES + 1)
    if len(raw) > MAX_LOGS_BYTES:
        raise MalformedPolicy(f"a list of logs is at most {MAX_LOGS_BYTES} bytes", line=0)
    for number, line in enumerate(raw.decode("utf-8", "replace").splitlines(), 1):
        keyword, _, rest = line.strip().partition(" ")
        if keyword in ("log", "retired"):
            (logs if keyword == "log" else retired)[_log_key(rest.strip(), number)] = None
            if logs.keys() & retired.keys():
                raise MalformedPolicy("one key is listed as the log's and as retired", line=number)
        elif keyword == "anchor":
            anchors.append(parse_anchor(rest.strip(), number))
        elif keyword and not keyword.startswith("#"):
            raise MalformedPolicy("want `log <vkey>`, `retired <vkey>` or `anchor <chain id> <contract>`", line=number)
    return Listed(tuple(logs), tuple(anchors), tuple(retired))


def parse_anchor(text: str, line: int = 0) -> Anchor:
    """``<chain id> <contract>``. Raises ``MalformedPolicy``."""
    found = _ANCHOR.fullmatch(text)
    if not found:
        raise MalformedPolicy("an anchor is `<chain id> <contract address>`", line=line)
    return int(found[1]), bytes.fromhex(found[2])


def _log_key(text: str, line: int) -> VerifierKey:
    try:
        key = VerifierKey.parse(text)
    except MalformedKey as error:
        raise MalformedPolicy(f"not a log's key: {error}", line=line) from None
    if key.algorithm is not Algorithm.ED25519:
        raise MalformedPolicy("this is a witness's key, not a log's", line=line)
    return key


def _keys_of(home: Path, settings: WitnessSettings, *, create: bool) -> WitnessKeys:
    tenant = TenantId(settings.name)
    try:
        provider = open_provider(settings.keys or f"local:{home / 'keys'}", passphrase=_passphrase(), make=create)
        if not provider.versions(tenant):
            if not create:
                raise Unavailable(f"the key service {provider.uri} holds no key of {tenant}", hint=_RESTORE_KEYS)
            provider.create(KekId(tenant, 1))
        keys = Identity(provider, tenant).witness_keys()
    except KeyProviderError as error:
        raise Unavailable(f"the key service cannot be used: {error}", hint=error.hint or _RESTORE_KEYS) from error
    if settings.key not in ("", str(keys.signer.key)):
        raise Unavailable(f"the key service {provider.uri} holds another witness's keys", hint=_RESTORE_KEYS)
    return keys


def _passphrase() -> str | None:
    named = os.environ.get("TWINWARD_PASSPHRASE_FILE")
    if not named:
        return None
    return secret_in(Path(named), "the passphrase")
