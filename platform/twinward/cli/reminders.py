"""``twinward alerts remind``: medication that is due, or was missed."""

from __future__ import annotations

from typing import Annotated

import typer

from twinward.cli.context import AsOption, context_of, node_at
from twinward.cli.output import HomeOption, JsonOption, counted, say, show_json, tell
from twinward.core.vocabulary import Purpose


def remind(
    account: AsOption,
    stop: Annotated[bool, typer.Option("--stop", help="Remind no more; what was raised is over.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have doses that are due, and doses that nobody charted, raised as alerts: of everybody with a device or a bed.

    MedicationRequests in force are read in your name, each an access decided and logged, by the served node from now
    on; whom consent withholds is passed over. Times of the day are those of `time_zone` in twinward.toml. A dose is
    missed an hour after it was due, two where it is given once a day: charting it, however late, ends its alert.

    Exit codes: 0, 3 no such account, or (--stop) nobody is reminded, 6 the account may read no patient.

    Example: twinward alerts remind --as nurse-kim
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.node.reminders import reminders

        context, desk = context_of(node, account, Purpose.TREATMENT), reminders(node)
        if stop:
            desk.end(context)
            show_json({"reminds": False}) if as_json else say("nobody is reminded of medication any more")
            return
        desk.begin(context)
        report = desk.run()
        if as_json:
            show_json(
                {"reminds": True, "looked": report.looked, "withheld": report.withheld, "unclear": report.unclear}
            )
            return
        say(f"medication is watched in the name of {account}, in {node.settings.time_zone}, while the node is served")
        say(f"now: {counted(report.looked, 'patient', 'patients')} looked at, {report.withheld} withheld")
        if report.unclear:
            tell(f"{counted(report.unclear, 'dosage says', 'dosages say')} when in a way that is not followed here")
