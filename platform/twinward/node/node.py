"""One hospital's node: which backends it uses, and how its domains are wired together.

Its parts stand on each other in four layers: what it keeps (``store_parts``), who may do what (``access_parts``), what
hospitals agree on with each other (``shared_parts``), and here the twins and what is done with them. Nobody else picks
a backend. A server calls ``open_all`` first.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from twinward.core.config import (
    BREACHES_LOCK,
    CONDITIONS_LOCK,
    CONTACTS_LOCK,
    ERASURE_WORK_LOCK,
    ERASURES_LOCK,
    WRITING_LOCK,
)
from twinward.core.errors import NotFound
from twinward.core.vocabulary import Action, Role, TwinId
from twinward.node.parts import part
from twinward.node.shared_parts import SharedParts

if TYPE_CHECKING:
    from twinward.access.account_desk import AccountDesk
    from twinward.access.delegations import Delegations
    from twinward.access.interfaces import Principal
    from twinward.breach.counting import Counting
    from twinward.breach.service import Breaches
    from twinward.core.beside import Beside
    from twinward.erasure.desk import ErasureDesk
    from twinward.erasure.service import Erasures
    from twinward.fhir.subscriptions.store import SubscriptionStore
    from twinward.live.service import Live
    from twinward.node.cohort import RunningCohort
    from twinward.recruitment.service import ContactDesk
    from twinward.review.beside import Examinations
    from twinward.review.findings import Findings
    from twinward.review.service import Reviews
    from twinward.similarity.service import Similarity
    from twinward.things.service import Things
    from twinward.twins.service import Twins
    from twinward.vault.interfaces import Describing
    from twinward.vault.segments.compaction import Compactor
    from twinward.vault.service import Vault


class Node(SharedParts):
    """One hospital's node, wired. Use ``create_node`` or ``open_node``."""

    @part
    def reviews(self) -> Reviews:
        """Accesses examined: explained, ranked, signed off."""
        from twinward.review.service import Care, Reviews

        return Reviews(
            self.access_search,
            self.logged(Action.REVIEW),
            self.findings,
            Care(self.vault, self.access, self.twins.directory),
            lambda: {one.id: one.principal().units_said for one in self.accounts.records()},
            lambda: {one.id: one.twin for one in self.accounts.records() if one.twin is not None},
            self._first_checkpoint_over,
        )

    @part
    def findings(self) -> Findings:
        """What officers found and asked of accesses."""
        from twinward.review.findings import Findings

        return Findings(self.logged(Action.REVIEW))

    @part
    def examinations(self) -> Examinations:
        """Days examined beside whoever looks."""
        from twinward.review.beside import Examinations

        return Examinations(self.reviews, self.beside, self.access, self.clock)

    def _first_checkpoint_over(self, size: int) -> bytes:
        """Size and root of the first signed checkpoint that covers so many events; nothing where none does yet."""
        for covered, note in self.log.store.checkpoints():
            if covered >= size > 0:
                checkpoint, _ = self.log.open(note)
                return covered.to_bytes(8, "big") + checkpoint.root
        return b""

    @part
    def delegations(self) -> Delegations:
        """Lends roles, for a time."""
        from twinward.access.delegations import Delegations

        return Delegations(self.accounts)

    @part
    def account_desk(self) -> AccountDesk:
        """Changes accounts in an officer's name."""
        from twinward.access.account_desk import AccountDesk

        two = self.settings.oidc_wait_officers == 2
        return AccountDesk(self.accounts, self.access, lambda: self.sign_ins, self._is_patient, two_let_in=two)

    def _officer_of(self, account: str) -> Principal | None:
        """An account that may be used and is an officer's own; None otherwise."""
        from twinward.access.errors import AccountDisabled

        try:
            found = self.accounts.named(account)
        except (NotFound, AccountDisabled):
            return None
        return found if found.role is Role.OFFICER else None

    def _is_patient(self, twin: TwinId) -> bool:
        """Whether this is a patient's twin that is kept here, and was not shredded."""
        return twin in self.twins.all(twin, 1) and not self.keyring.is_shredded(twin)

    @part
    def breaches(self) -> Breaches:
        """Cases of breaches."""
        from twinward.breach.entry import Known
        from twinward.breach.service import Breaches
        from twinward.core.turns import Turn

        audit, keyring = self.audit, self.keyring
        known = Known(
            role_of=self.accounts.role_of,
            has_twin=audit.sealer.has_key,
            keks=lambda: keyring.census().known,
            twins_from=keyring.twins_from,
            newest_erasure=keyring.newest_erasure,
        )
        return Breaches(
            self.logged(Action.BREACH),
            audit,
            self.authority,
            self.audit_reader,
            known,
            self.clock,
            Turn(self.settings.home / BREACHES_LOCK),
            self.settings.hospital,
        )

    @part
    def breach_counting(self) -> Counting:
        """Counts of who is affected by them."""
        from twinward.breach.counting import Counting

        return Counting(self.breaches, self.beside, self.access, self._officer_of)

    @part
    def beside(self) -> Beside:
        """Does what nobody should wait for. Made after what its works read, so that it closes first."""
        from twinward.core.beside import Beside

        made = Beside()
        self.keep(made)
        return made

    @part
    def contacts(self) -> ContactDesk:
        """Vendors' contact requests."""
        from twinward.core.turns import Turn
        from twinward.node.home import CONTACT_WORK_LOCK
        from twinward.protocol.criteria_costs import costs_of
        from twinward.recruitment.service import ContactDesk

        home = self.settings.home
        return ContactDesk(
            self.logged(Action.CONTACT),
            self.access,
            Turn(home / CONTACTS_LOCK),
            Turn(home / CONTACT_WORK_LOCK),
            lambda criteria: costs_of(criteria, self.twins.schema, self.twins.schema.codes),
            lambda criteria: self.similarity().eligible(criteria),
            self._officer_of,
            lambda written: self.cohort.pad(written),
            self._is_patient,
        )

    @part
    def vault(self) -> Vault:
        """Seals records, and opens them against a permit."""
        from twinward.fhir.mapping.categories import ReleaseByContent
        from twinward.vault.service import Vault

        def describing() -> Describing:
            from twinward.fhir.search.facets import SearchFacets  # where somebody searches

            return SearchFacets()

        tenant, release = self.identity.tenant, ReleaseByContent(self.access)
        return Vault(self.store, self.keyring, self.authority, self.clock, tenant, release, describing)

    @part
    def compactor(self) -> Compactor:
        """Packs records into segments."""
        from twinward.vault.segments.compaction import Compactor

        return Compactor(self.store, self.keyring, self.clock, self.identity.tenant)

    @part
    def twins(self) -> Twins:
        """Patients' twins."""
        from twinward.core.turns import Turn
        from twinward.node.code_list import schema_of
        from twinward.twins.service import Twins

        home = self.settings.home
        return Twins(
            self.vault,
            self.store,
            self.access,
            self.clock,
            schema_of(self.settings),
            writing=Turn(home / WRITING_LOCK),
            conditions=Turn(home / CONDITIONS_LOCK),
        )

    @part
    def subscriptions(self) -> SubscriptionStore:
        """FHIR subscriptions, sealed."""
        from twinward.fhir.subscriptions.store import SUBSCRIPTIONS, SubscriptionStore

        made = SubscriptionStore(self.state(SUBSCRIPTIONS), self.keyring)
        self.keep(made)
        return made

    @part
    def live(self) -> Live:
        """Live twins: readings in, series out."""
        from twinward.live.alerts.rules import rules_of
        from twinward.live.alerts.webhook import Webhook
        from twinward.live.intake.subjects import twins_by_name
        from twinward.live.parts import LiveParts
        from twinward.live.service import Live
        from twinward.live.storage.database import LiveDatabase
        from twinward.live.storage.tables import LIVE

        database = LiveDatabase(self.state(LIVE), self.keyring)
        subjects = partial(twins_by_name, self.vault)
        url = self.settings.live_alert_url
        webhook = Webhook(url, self.settings.hospital, self.keyring) if url else None
        parts = LiveParts(database, self.keyring, self.access, self.authority, subjects, self.clock, webhook)
        made = Live(parts, partial(rules_of, self.settings.home))
        self.keep(made)
        return made

    @part
    def things(self) -> Things:
        """Twins of things: devices, beds, wards, stock."""
        from twinward.things.parts import ThingParts
        from twinward.things.service import Things
        from twinward.things.storage.database import ThingDatabase
        from twinward.things.storage.tables import THINGS

        database = ThingDatabase(self.state(THINGS), self.keyring)
        made = Things(ThingParts(database, self.live, self.access, self.keyring.is_shredded, self.clock))
        self.keep(made)
        return made

    @part
    def cohort(self) -> RunningCohort:
        """The running epoch's cohort."""
        from twinward.node.cohort import RunningCohort

        made = RunningCohort(
            self.settings,
            self.identity,
            self.consortium,
            self.twins,
            self.access,
            self.vault,
            self.clock,
            self.departures,
            self.heads,
            self.audit,
        )
        self.keep(made)
        return made

    @part
    def erasures(self) -> Erasures:
        """Erases patients, or parts of them."""
        from twinward.core.turns import Turn
        from twinward.erasure.service import Erasures

        return Erasures(
            self.access,
            self.audit,
            self.keyring,
            self.store,
            self.consents,
            self.clock,
            departed=self._departed,
            turn=Turn(self.settings.home / ERASURE_WORK_LOCK),
            purged=lambda: (
                self.live.closing.forget_shredded(),
                self.things.forget_erased(),
                self.outbreak_periods.forget_erased(self.keyring.is_shredded),
            ),
        )

    def _departed(self) -> None:
        """Keys of patients were destroyed, their records are not purged yet: by these it is told what was of them."""
        self.live.closing.tie_held()
        self._forget_indexes()

    @part
    def erasure_desk(self) -> ErasureDesk:
        """Erases by two officers."""
        from twinward.core.turns import Turn
        from twinward.erasure.desk import ErasureDesk

        return ErasureDesk(
            self.logged(Action.SHRED),
            self.audit,
            self.access,
            self.erasures,
            self.keyring,
            self.clock,
            Turn(self.settings.home / ERASURES_LOCK),
            lambda: [one for one in self.accounts.of_role(Role.OFFICER) if self._officer_of(one.id)],
        )

    def similarity(self) -> Similarity:
        """The running epoch's similarity service; a new epoch takes a new snapshot of consenting twins.

        Raises:
            Unavailable: the chain, which says what epoch it is, does not answer.
        """
        return self.cohort.current().similarity

    def refresh_cohort(self) -> Similarity:
        """Take a new snapshot within the running epoch, under the same secrets: for new patients and new consents."""
        return self.cohort.refresh().similarity
