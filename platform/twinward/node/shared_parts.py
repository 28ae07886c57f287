"""A node's parts of what hospitals do with each other: exchange, alerts, periods of daily counts, studies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinward.core.vocabulary import Action, Role
from twinward.node.access_parts import AccessParts
from twinward.node.parts import part

if TYPE_CHECKING:
    from twinward.audit.action_log import ActionLog
    from twinward.exchange.service import Exchange
    from twinward.node.study_decisions import StudyDecisions
    from twinward.outbreak.alerts import OutbreakDesk
    from twinward.outbreak.period_store import PeriodStore


class SharedParts(AccessParts):
    """Parts that stand on contracts and on what officers agreed to."""

    @part
    def exchange(self) -> Exchange:
        """This hospital's part in the exchange of resources."""
        from twinward.exchange.errors import NoExchange
        from twinward.exchange.service import Exchange
        from twinward_contracts.bindings import ResourceExchange

        def contract() -> ResourceExchange:
            found = self.consortium.resource_exchange()
            if found is None:
                hint = "`twinward exchange open` at one hospital; hand its consortium.json to the others"
                raise NoExchange("the consortium has no exchange yet", hint=hint)
            return found

        tenant = self.settings.tenant
        return Exchange(
            contract,
            tenant,
            lambda: self.consortium.keys.get(tenant),
            self.access,
            self.known_names,
            lambda: max(self.clock.now_ms() // 1000, self.consortium.chain.block_time_s()),
        )

    @part
    def outbreaks(self) -> OutbreakDesk:
        """This hospital's part in alerts of outbreaks."""
        from twinward.outbreak.alerts import OutbreakDesk
        from twinward.outbreak.errors import NoOutbreakContract
        from twinward_contracts.bindings import OutbreakAlert

        def contract() -> OutbreakAlert:
            found = self.consortium.outbreak_alert()
            if found is None:
                hint = "`twinward outbreak open` at one hospital; hand its consortium.json to the others"
                raise NoOutbreakContract("the consortium has no contract for alerts yet", hint=hint)
            return found

        tenant = self.settings.tenant
        return OutbreakDesk(
            contract,
            lambda: self.consortium.witness_set,
            tenant,
            lambda: self.consortium.keys.get(tenant),
            self.access,
        )

    def logged(self, action: Action) -> ActionLog:
        """The log's events of an action."""
        from twinward.audit.action_log import ActionLog

        return ActionLog(self.log, self.audit.sealer, action)

    @part
    def outbreak_periods(self) -> PeriodStore:
        """Which periods of daily counts were agreed on, and what was counted of them."""
        from twinward.outbreak.period_store import OUTBREAK_PERIODS, PeriodStore

        made = PeriodStore(self.state(OUTBREAK_PERIODS), self.keyring)
        self.keep(made)
        return made

    @part
    def study_decisions(self) -> StudyDecisions:
        """What this hospital's officers decided on studies, as its log has it."""
        from twinward.node.study_decisions import StudyDecisions

        return StudyDecisions(self.logged(Action.STUDY))

    def known_names(self) -> tuple[str, ...]:
        """Names of hospitals, vendors and cohorts that this node knows: on the chain they stand as digests only."""
        from twinward.federation.models import COHORT

        vendors = (vendor.id for vendor in self.accounts.of_role(Role.VENDOR))
        return (self.settings.tenant, *self.settings.witnesses, COHORT, *vendors)
