"""The running epoch's cohort: opened when first asked for, its secrets sealed in the home to outlive the process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from twinward.access.interfaces import Principal
from twinward.access.service import Access
from twinward.client.messages import BudgetReply, Mode, ResultsReply, Terms
from twinward.clock import Clock
from twinward.config import Settings
from twinward.consortium import Consortium
from twinward.errors import Unavailable
from twinward.identity import Identity
from twinward.node.homes import write_private
from twinward.node.system import SYSTEM
from twinward.similarity.budget import LedgerBudget
from twinward.similarity.cohort_secrets import CohortSecrets
from twinward.similarity.errors import NoCohort
from twinward.similarity.front_desk import FrontDesk
from twinward.similarity.offer import Offer
from twinward.similarity.scoring import Scoring
from twinward.similarity.service import Similarity, gated_plan_of
from twinward.twins.readers import CohortReader, ExportReader
from twinward.twins.service import Twins
from twinward.vault.interfaces import RecordVault
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import OpenError

COHORT_FILE = "cohort.sealed"
RELEASES_FILE = "releases.sealed"
INDEX_FOLDER = "encrypted-indexes"


class RunningCohort:
    """Holds the similarity service of the running epoch.

    Args:
        settings: what is offered, and where the sealed secrets lie.
        identity: whose key seals them.
        consortium: whose chain says what epoch it is.
        twins: whose feature vectors the snapshot takes.
        access: the gate every one of them passes.
        vault: whose records are released where consent allows.
        clock: the node's time.
    """

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        consortium: Consortium,
        twins: Twins,
        access: Access,
        vault: RecordVault,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._twins = twins
        self._access = access
        self._vault = vault
        self._clock = clock
        self._lock = threading.Lock()
        self._similarity: Similarity | None = None
        self._offer = Offer(
            modes=tuple(Mode(name) for name in settings.modes),
            max_weight=settings.max_weight,
            noise_width=settings.vendor_key_noise,
            vendor_key_weighted=settings.vendor_key_weighted,
            minimum_count=settings.minimum_count,
            requests_per_minute=settings.requests_per_minute,
        )
        self._budget = LedgerBudget(consortium.budgets)
        self._desk = FrontDesk(settings.hospital, twins.schema, self._offer, self._budget)

    def terms(self) -> Terms:
        """What may be asked in the running epoch, whether or not there is a cohort. Raises as ``current_epoch``."""
        return self._desk.terms(self._budget.current_epoch())

    def allowance(self, principal: Principal) -> BudgetReply:
        """What a vendor has left of the running epoch, whether or not there is a cohort. Raises ``Unavailable``."""
        return self._desk.allowance(principal, self._budget.current_epoch())

    def results(self, principal: Principal) -> ResultsReply:
        """What a vendor was released in the running epoch; nothing where there is no cohort."""
        try:
            return self.current().results(principal)
        except NoCohort:
            return ResultsReply(results=())

    def current(self) -> Similarity:
        """The running epoch's; a new epoch takes a new snapshot.

        Raises:
            Unavailable: the chain does not answer.
            NoCohort: no patient's consent allows similarity search.
        """
        epoch = self._budget.current_epoch()
        with self._lock:
            if self._similarity is None or self._similarity.cohort.epoch != epoch:
                self._end()
                self._similarity = self._open(epoch)
            return self._similarity

    def refresh(self) -> Similarity:
        """A new snapshot within the running epoch, under the same secrets."""
        self.close()
        return self.current()

    def close(self) -> None:
        """End what scores."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._similarity is not None:
            self._similarity.close()
        self._similarity = None

    def _open(self, epoch: int) -> Similarity:
        secrets = self._sealed_secrets(epoch)
        similarity = Similarity.open(
            CohortReader(self._twins, self._access, SYSTEM),
            hospital=self._settings.hospital,
            schema=self._twins.schema,
            epoch=epoch,
            offer=self._offer,
            access=self._access,
            budget=self._budget,
            secrets=secrets,
            records=ExportReader(self._vault, self._access),
            drawer=SealedDrawer(self._settings.home / RELEASES_FILE, self._identity.sealing_key),
            clock=self._clock,
            scoring=Scoring.parse(self._settings.scoring, self._settings.home / INDEX_FOLDER),
        )
        if secrets is None:
            sealed = seal(self._identity.sealing_key(), similarity.secrets.dangerously_export(), _aad(epoch))
            write_private(self._settings.home / COHORT_FILE, sealed)
        return similarity

    def _sealed_secrets(self, epoch: int) -> CohortSecrets | None:
        """The running epoch's secrets from an earlier process, so that handles stay the same; None to begin anew."""
        path = self._settings.home / COHORT_FILE
        if not path.exists():
            return None
        try:
            opened = open_sealed(self._identity.sealing_key(), path.read_bytes(), _aad(epoch))
        except OpenError:
            return None  # sealed for another epoch: it is over
        return CohortSecrets.restore(opened, gated_plan_of(self._twins.schema, self._offer))


class SealedDrawer:
    """Implements ``similarity.book.Drawer``: what vendors were told, sealed in one file of the home."""

    def __init__(self, path: Path, key: Callable[[], bytes]) -> None:
        self._path, self._key = path, key

    def load(self) -> bytes | None:
        """What was kept last. Raises ``Unavailable`` if it was altered: then vendors are told nothing more."""
        if not self._path.exists():
            return None
        try:
            return open_sealed(self._key(), self._path.read_bytes(), _RELEASES_AAD)
        except OpenError as error:
            hint = "restore it from a backup, or remove it once the epoch is over"
            raise Unavailable(
                f"{self._path.name} does not open: it was altered or is another node's", hint=hint
            ) from error

    def save(self, content: bytes) -> None:
        """Replace it, durably."""
        try:
            write_private(self._path, seal(self._key(), content, _RELEASES_AAD))
        except OSError as error:
            raise Unavailable(f"{self._path.name} cannot be written: {error.strerror}; nothing was told") from error


_RELEASES_AAD = b"twinward/releases/1"


def _aad(epoch: int) -> bytes:
    return b"twinward/cohort-secrets/1" + epoch.to_bytes(8, "big")
