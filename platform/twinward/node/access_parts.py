"""Who may do what at a node: accounts, sign-ins, consents, the policy, emergencies, and what is decided by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from twinward.access.interfaces import NODE
from twinward.core.config import EMERGENCIES_LOCK, FOLLOW_UP_LOCK, Settings
from twinward.core.vocabulary import TwinId
from twinward.node.parts import part
from twinward.node.store_parts import StoreParts

if TYPE_CHECKING:
    from twinward.access.accounts import Accounts
    from twinward.access.client_tokens import ClientTokens
    from twinward.access.consent import ConsentStore
    from twinward.access.emergencies import Emergencies, Limits
    from twinward.access.emergency_follow_up import FollowUp
    from twinward.access.fresh_proofs import FreshProofs
    from twinward.access.hours import Hours
    from twinward.access.interfaces import Permit
    from twinward.access.networks import Networks
    from twinward.access.oidc.hospital_sign_in import HospitalSignIn
    from twinward.access.permits import PermitAuthority
    from twinward.access.policy_desk import PolicyDesk
    from twinward.access.policy_store import PolicyStore
    from twinward.access.service import Access
    from twinward.access.sign_in_store import SignInStore
    from twinward.access.sign_ins import SignIns
    from twinward.audit.models import Head
    from twinward.audit.proofs.verification import LogCheck
    from twinward.audit.reader import AuditReader
    from twinward.audit.search import AccessSearch
    from twinward.node.departures import Departures


class AccessParts(StoreParts):
    """Accounts, sign-ins, consents, policy, emergencies, and who decides by them; what is read behind a permit."""

    @part
    def accounts(self) -> Accounts:
        """Who may sign in."""
        from twinward.access.accounts import Accounts, PasswordRules
        from twinward.access.tables import ACCOUNTS

        settings = self.settings
        made = Accounts(
            self.state(ACCOUNTS),
            self.clock,
            trail=self.audit,
            keys=self.keyring,
            heads=self.heads,
            rules=PasswordRules(settings.password_days, (settings.hospital, settings.tenant)),
            # A home that noted its log's key was made by a release that vouches for accounts from the first.
            adopts=not settings.log_key,
        )
        self.keep(made)
        return made

    @part
    def sign_in_store(self) -> SignInStore:
        """What sign-ins leave behind for a while."""
        from twinward.access.sign_in_store import SignInStore
        from twinward.access.tables import SIGN_INS

        made = SignInStore(self.state(SIGN_INS), self.keyring, self.clock)
        self.keep(made)
        return made

    @part
    def client_tokens(self) -> ClientTokens:
        """Access tokens of systems and vendors."""
        from twinward.access.client_tokens import ClientTokens

        return ClientTokens(self.accounts, self.sign_in_store, self.clock)

    @part
    def sign_ins(self) -> SignIns:
        """Who has signed in, in every process."""
        from twinward.access.challenges import Challenges
        from twinward.access.passkeys import Passkeys, RelyingParty
        from twinward.access.second_factors import SecondFactors
        from twinward.access.sessions import Sessions
        from twinward.access.sign_ins import SignIns

        settings, store = self.settings, self.sign_in_store
        sessions = Sessions(
            store,
            self.clock,
            lifetime_ms=settings.session_s * 1000,
            idle_ms=settings.session_idle_s * 1000,
            fresh_ms=settings.fresh_sign_in_s * 1000,
        )
        factors = SecondFactors(self.accounts, store, self.keyring, settings.hospital)
        party = RelyingParty(settings.passkey_host, settings.passkey_origins, f"Twinward {settings.hospital}")
        passkeys = Passkeys(self.accounts, Challenges(store, self.keyring, self.clock), self.keyring, party)
        return SignIns(self.accounts, sessions, store, factors, passkeys, settings.second_factor_roles)

    @part
    def fresh_proofs(self) -> FreshProofs:
        """Tokens for which people proved a short while ago who they are."""
        from twinward.access.fresh_proofs import FreshProofs

        settings = self.settings
        return FreshProofs(
            self.accounts,
            self.sign_ins.factors,
            self.sign_in_store,
            self.clock,
            fresh_ms=settings.fresh_sign_in_s * 1000,
            needed_by=settings.second_factor_roles,
        )

    @part
    def hospital_sign_in(self) -> HospitalSignIn | None:
        """Signing in by the hospital's OpenID provider; None where the settings name none."""
        if not self.settings.oidc_issuer:
            return None
        from twinward.access.oidc.hospital_sign_in import hospital_sign_in

        return hospital_sign_in(self.settings, self.accounts, self.sign_in_store, self.keyring, self.clock)

    @part
    def authority(self) -> PermitAuthority:
        """Makes permits, and knows its own."""
        from twinward.access.permits import PermitAuthority

        return PermitAuthority(self.clock, require_standing=lambda principal: self.accounts.require_standing(principal))

    @part
    def audit_reader(self) -> AuditReader[Permit]:
        """Reads the log, behind a permit."""
        from twinward.audit.reader import AuditReader

        return AuditReader(self.audit, self.authority)

    @part
    def access_search(self) -> AccessSearch[Permit]:
        """Finds accesses by filters, behind a permit."""
        from twinward.audit.search import AccessSearch

        return AccessSearch(self.audit, self.authority)

    @part
    def consents(self) -> ConsentStore:
        """What patients allow."""
        from twinward.access.consent import ConsentStore
        from twinward.access.tables import CONSENTS

        made = ConsentStore(self.state(CONSENTS), self.keyring, self.clock, self.heads)
        self.keep(made)
        return made

    @part
    def policy(self) -> PolicyStore:
        """What the hospital allows, in versions."""
        from twinward.access.policy import Policy
        from twinward.access.policy_store import PolicyStore
        from twinward.access.tables import POLICIES

        base = Policy.load(self.settings.policy)
        made = PolicyStore(self.state(POLICIES), self.keyring, base, self.heads)
        self.keep(made)
        return made

    @part
    def policy_desk(self) -> PolicyDesk:
        """Changes the policy in officers' names."""
        from twinward.access.policy_desk import PolicyDesk

        return PolicyDesk(self.policy, self.access, self.audit, self.clock, self.networks.names)

    @part
    def networks(self) -> Networks:
        """From where requests come."""
        from twinward.access.networks import Networks

        return Networks(self.settings.networks, self.settings.trusted_proxies)

    @part
    def hours(self) -> Hours:
        """The hospital's clock, by which rules ask for the hour."""
        from twinward.access.hours import Hours

        return Hours(self.settings.time_zone)

    @part
    def emergencies(self) -> Emergencies:
        """Glass that was broken."""
        from twinward.access.emergencies import Emergencies
        from twinward.audit.break_glass.log import BreakGlassLog

        audit = self.audit
        return Emergencies(
            BreakGlassLog(self.log, audit.sealer, audit.journal),
            audit,
            self.authority,
            self.clock,
            limits_of(self.settings),
            self.settings.home / EMERGENCIES_LOCK,
        )

    @part
    def follow_up(self) -> FollowUp:
        """Tells of emergencies: the contract, and whom the settings name."""
        from twinward.access.emergency_follow_up import FollowUp, Webhook

        settings = self.settings
        return FollowUp(
            self.emergencies,
            self.audit,
            lambda: self.consortium.break_glass(),
            settings.home / FOLLOW_UP_LOCK,
            Webhook(settings.alert_url, settings.hospital) if settings.alert_url else None,
        )

    @part
    def access(self) -> Access:
        """Decides, and logs before it permits."""
        from twinward.access.service import Access

        return Access(
            self.policy,
            self.consents,
            self.audit,
            self.authority,
            self.clock,
            emergency=self.audit,
            emergencies=lambda: self.emergencies,
            role_of=lambda name: NODE.role if name == NODE.id else self.accounts.role_of(name),
            require_standing=lambda principal: self.accounts.require_standing(principal),
            lent=lambda principal: self.accounts.lent.acting(principal),
            consents_set=self._consents_set,
            hours=self.hours,
        )

    @part
    def departures(self) -> Departures:
        """Who has to leave a cohort."""
        from twinward.node.departures import Departures

        return Departures(self.consents, self.keyring, self.access)

    def verify_stores(self, recorded: Mapping[str, Head] | None = None) -> dict[str, int]:
        """Hold the small stores against their chains, and those against the log. Returns their numbers of changes.

        Args:
            recorded: the heads that a deep verification of the log found in it, by store.

        Raises:
            StoreAltered: one of them holds what this node did not write, or less than the log recorded.
        """
        from twinward.access.account_store import STORE as ACCOUNTS
        from twinward.access.consent import STORE as CONSENTS
        from twinward.access.policy_store import STORE as POLICIES

        known = recorded or {}
        return {
            ACCOUNTS: self.accounts.verify(known.get(ACCOUNTS)),
            CONSENTS: self.consents.verify(known.get(CONSENTS)),
            POLICIES: self.policy.verify(known.get(POLICIES)),
        }

    @part
    def log_check(self) -> LogCheck:
        """Checks the whole log, now and then."""
        from twinward.audit.proofs.verification import LogCheck

        return LogCheck(self.audit, self.verify_stores, self.clock)

    def _consents_set(self, twins: Sequence[TwinId]) -> None:
        """Whoever may not be in a cohort by them is in no index that is kept, from now on."""
        if not all(map(self.departures.may_stay, twins)):
            self._forget_indexes()

    def _forget_indexes(self) -> None:
        """Delete the encrypted indexes that are kept between starts: somebody in them has to go.

        The running cohort is not asked for it: it stands on the chain, and a no must not wait for that.
        """
        from twinward.node.departures import forget_indexes

        forget_indexes(self.settings.home)


def limits_of(settings: Settings) -> Limits:
    """The bounds of emergencies that the settings name."""
    from twinward.access.emergencies import Limits

    return Limits(
        patients=settings.break_glass_patients,
        window_s=settings.break_glass_window_s,
        box_s=settings.break_glass_box_s,
        review_s=settings.break_glass_review_s,
    )
