"""What a restored home says it is until it is put to work: whose copy, of which moment, and what alone it may touch.

A drill restores the very node that works elsewhere: same keys, same log key, the same settings, which name the working
node's databases, chain and witnesses. So a restored home carries a mark, and while it does

* its databases are those it was restored into, whatever the environment names;
* no checkpoint of its log is signed (the working node signs others of the same sizes: that is a split view), nothing
  is sent to a chain or to a webhook, no KEK is made or destroyed;
* it is not served.

Reading it is logged in its own log, as everywhere. ``twinward node activate`` takes the mark away.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

from twinward.core.clock import iso
from twinward.core.config import FILE_NAME, Settings
from twinward.core.errors import BadInput, NotAtWork
from twinward.core.private_files import sync_folder, write_private
from twinward.node.home import RESTORED_FILE
from twinward_contracts.artefacts import Artefact
from twinward_crypto.keys import KekId, KeyProvider, TenantId, WrappedKey
from twinward_ledger.chains.interfaces import ChainClient, Receipt
from twinward_ledger.errors import ChainUnavailable

MARK = RESTORED_FILE
DATABASES = ("records", "keyring", "log", "state")
"""The settings that name a home's databases; an empty one is the file in the home."""
_MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class RestoredHome:
    """The mark.

    Attributes:
        tenant: whose node.
        backup: the backup's file name.
        made_at_ms: the moment it shows.
        restored_at_ms: when it was restored.
        log_size: entries in its access log then.
        databases: where its records, keyring and log are; an empty one is the file in the home.
    """

    tenant: str
    backup: str
    made_at_ms: int
    restored_at_ms: int
    log_size: int
    databases: dict[str, str]

    def sentence(self) -> str:
        """What it is, for people."""
        made, restored = iso(self.made_at_ms)[:16], iso(self.restored_at_ms)[:16]
        return f"restored {restored} from {self.backup}, as {self.tenant} was {made}; not at work"

    def write(self, home: Path) -> None:
        """Mark a home."""
        write_private(home / MARK, (json.dumps(asdict(self), indent=2) + "\n").encode())

    def put_to_work(self, home: Path) -> None:
        """Take the mark away, durably."""
        (home / MARK).unlink(missing_ok=True)
        sync_folder(home)

    def require_own_databases(self, settings: Settings) -> None:
        """Raise ``NotAtWork`` where settings or the environment name other databases than it was restored into."""
        for name in DATABASES:
            if getattr(settings, name) != self.databases[name]:
                variable = f"TWINWARD_{name.upper()}"
                raise NotAtWork(
                    f"{variable} or {FILE_NAME} names another database than its own",
                    hint=f"unset {variable}: it is the working node's, or another drill's",
                )

    @classmethod
    def of(cls, home: Path) -> Self | None:
        """A home's mark; None where it has none. Raises ``BadInput`` where it cannot be read."""
        try:
            with (home / MARK).open("rb") as file:
                found = cls(**json.loads(file.read(_MAX_BYTES)))
            found.databases.setdefault("state", "")  # an earlier release's mark: there it was in the home
            if found.databases.keys() != set(DATABASES):
                raise ValueError("databases")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, AttributeError):
            raise BadInput(f"{home / MARK} cannot be read", hint="restore the backup again") from None
        return found


class RestingKeys:
    """A ``KeyProvider`` in which no KEK is made or destroyed: a drill's key service may be the working node's own."""

    def __init__(self, provider: KeyProvider) -> None:
        self._provider = provider

    @property
    def uri(self) -> str:
        """As of the provider."""
        return self._provider.uri

    def create(self, key: KekId) -> None:
        """Raise ``NotAtWork``, unless the KEK is there."""
        if key.version not in self.versions(key.tenant):
            raise NotAtWork("no key is made for it")

    def destroy(self, key: KekId) -> NoReturn:
        """Raise ``NotAtWork``."""
        raise NotAtWork(f"{key} is not destroyed for it")

    def versions(self, tenant: TenantId) -> tuple[int, ...]:
        """As of the provider."""
        return self._provider.versions(tenant)

    def wrap(self, key: KekId, plaintext_key: bytes, context: bytes) -> bytes:
        """As of the provider."""
        return self._provider.wrap(key, plaintext_key, context)

    def unwrap(self, key: KekId, wrapped: bytes, context: bytes) -> bytes:
        """As of the provider."""
        return self._provider.unwrap(key, wrapped, context)

    def rewrap(self, source: KekId, target: KekId, wrapped: bytes, context: bytes) -> bytes:
        """As of the provider."""
        return self._provider.rewrap(source, target, wrapped, context)

    def rewrap_many(self, source: KekId, target: KekId, keys: Sequence[WrappedKey]) -> list[bytes]:
        """As of the provider."""
        return self._provider.rewrap_many(source, target, keys)

    def mac(self, tenant: TenantId, label: bytes, message: bytes) -> bytes:
        """As of the provider."""
        return self._provider.mac(tenant, label, message)

    def close(self) -> None:
        """As of the provider."""
        self._provider.close()


class RestingChain:
    """A ``ChainClient`` that asks and never sends: it may be the chain of the working node."""

    def __init__(self, chain: ChainClient) -> None:
        self._chain = chain

    @property
    def chain_id(self) -> int:
        """As of the chain."""
        return self._chain.chain_id

    @property
    def sender(self) -> str:
        """As of the chain."""
        return self._chain.sender

    @property
    def has_own_clock(self) -> bool:
        """As of the chain."""
        return self._chain.has_own_clock

    def block_number(self) -> int:
        """As of the chain."""
        return self._chain.block_number()

    def block_time_s(self) -> int:
        """As of the chain."""
        return self._chain.block_time_s()

    def gas_used(self, block_number: int) -> int:
        """As of the chain."""
        return self._chain.gas_used(block_number)

    def deploy(self, artefact: Artefact, *arguments: Any) -> NoReturn:
        """Raise ``ChainUnavailable``."""
        del artefact, arguments
        raise _sent_nothing()

    def call(self, address: str, artefact: Artefact, function: str, *arguments: Any) -> Any:
        """As of the chain."""
        return self._chain.call(address, artefact, function, *arguments)

    def transact(self, address: str, artefact: Artefact, function: str, *arguments: Any) -> Receipt:
        """Raise ``ChainUnavailable``."""
        del address, artefact, function, arguments
        raise _sent_nothing()

    def events(
        self, address: str, artefact: Artefact, event: str, *, from_block: int = 0
    ) -> Sequence[Mapping[str, Any]]:
        """As of the chain."""
        return self._chain.events(address, artefact, event, from_block=from_block)

    def close(self) -> None:
        """As of the chain."""
        self._chain.close()


def _sent_nothing() -> ChainUnavailable:
    return ChainUnavailable(str(NotAtWork("nothing is sent to the chain")))
