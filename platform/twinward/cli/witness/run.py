"""``twinward witness``: run a witness, which co-signs other hospitals' logs, and check what witnesses find."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.errors import errors_taught
from twinward.cli.input import read_input
from twinward.cli.output import HostOption, JsonOption, PortOption, say, show_json
from twinward.cli.witness import split_views
from twinward.core.errors import BadInput

if TYPE_CHECKING:
    from twinward.consortium.membership import WitnessCard


DEFAULT_HOME = Path("twinward-witness")
WitnessHomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="The witness's folder. Default: TWINWARD_WITNESS_HOME, else ./twinward-witness.",
        show_default=False,
    ),
]


def create(
    name: Annotated[str, typer.Option(help="The hospital's short name: part of the witness's key name.")],
    url: Annotated[
        str, typer.Option(help="Where logs will reach it, for its card.", show_default="host and port")
    ] = "",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8050,
    keys: Annotated[
        str, typer.Option(help="Key service: the hospital's node's, for one key on the ledger.", show_default="its own")
    ] = "",
    home: WitnessHomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a witness: its own keys, its own memory. Best on a machine of its own, away from any log it will co-sign.

    A hospital that takes part in studies signs for its privacy budget with its witness's key: name its node's key
    service with --keys, and the node signs, too.

    Exit codes: 0 made, 2 a bad name, 4 the home is not empty, 7 the key service does not answer.

    Examples: twinward witness create --name northgate --url https://witness.northgate.example --home ./witness
    · twinward witness create --name northgate --keys local:/srv/northgate/keys --home ./witness
    """
    with errors_taught(as_json=as_json):
        from pydantic import ValidationError

        from twinward.consortium.witness.home import WitnessSettings, create_witness

        try:
            settings = WitnessSettings(name=name, url=url, listen_host=host, listen_port=port, keys=keys)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise BadInput(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from None
        made = create_witness(_home(home), settings)
        card = made.card()
        made.close()
        if as_json:
            show_json(card.model_dump() | {"home": str(_home(home))})
        else:
            _introduce(name, card, home)


def _introduce(name: str, card: WitnessCard, home: Path | None) -> None:
    """Say what was made and what comes next."""
    at = "" if home is None else f" --home {home}"
    say(f"{name}: a new witness in {_home(home)}")
    say(f"for a log's quorum policy: witness {card.name} {card.key} {card.url}")
    say("next")
    say(f"  twinward witness card{at} > {name}.card.json      (hand it to the hospitals)")
    say(f"  twinward witness add-log LOG-KEY{at}")
    say(f"  twinward witness serve{at}")


def card(
    url: Annotated[str, typer.Option(help="Where logs reach it.", show_default="of the settings")] = "",
    home: WitnessHomeOption = None,
) -> None:
    """Print the witness's card: its keys, the proof that it holds them, where it is. All of it is public.

    `twinward node init --witness-card` takes it. Exit codes: 0, 3 no witness in the home.

    Example: twinward witness card --home ./witness > northgate.card.json
    """
    with errors_taught():
        from twinward.consortium.witness.home import open_witness

        with open_witness(_home(home)) as opened:
            show_json(opened.card(url).model_dump())


def add_log(
    key: Annotated[str, typer.Argument(help="The log's key, as `twinward node init` prints it.")],
    anchor: Annotated[
        str, typer.Option(help="Also sign anchors: '<chain id> <contract>', as `audit trust` names them.")
    ] = "",
    retire_older: Annotated[
        bool, typer.Option("--retire-older", help="Refuse the log's other keys from now on: one was stolen or lost.")
    ] = False,
    home: WitnessHomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Co-sign for a log from now on. A witness that is running takes it over with the next request.

    A log may change its key: give the new one as its hospital tells you by other means than the log. The older one is
    believed until the log first signs with the new. Exit codes: 0, 2 not a log's key, 3 no witness in the home, 4 the
    key was retired here.

    Example: twinward witness add-log "twinward.example/mercy/access-log+…" --anchor "1337 0xabc…" --home ./witness
    """
    with errors_taught(as_json=as_json):
        from twinward.consortium.witness.home import open_witness, parse_anchor
        from twinward_ledger.errors import MalformedPolicy

        log = split_views.log_key(key)
        try:
            wanted = parse_anchor(anchor) if anchor else None
        except MalformedPolicy as error:
            raise BadInput(str(error), hint="e.g. --anchor '1337 0x5fbd…'") from None
        with open_witness(_home(home)) as opened:
            older = opened.add_log(log, wanted, retire_older=retire_older)
            opened.refresh()
            logs = opened.witness.origins()
        if as_json:
            show_json({"added": log.name, "key_id": log.key_id.hex(), "older_key_ids": older, "logs": logs})
        else:
            say(f"co-signs for {log.name} from now on; logs in all: {len(logs)}")
            if older:
                say(f"its key {', '.join(older)} is believed until it first signs with {log.key_id.hex()}")


def serve(
    host: HostOption = None,
    port: PortOption = None,
    home: WitnessHomeOption = None,
) -> None:
    """Answer logs (c2sp.org/tlog-witness) until Ctrl-C or SIGTERM. Every checkpoint is on disk before it is signed.

    Split views it is shown are kept in evidence/ in the home. Exit codes: 0 stopped, 2 an address that cannot be
    listened on, 3 no witness in the home, 4 the port is taken or another process serves this home.

    Example: twinward witness serve --home ./witness --port 8050
    """
    with errors_taught():
        from twinward.cli.witness.serve import serve_witness
        from twinward.consortium.witness.home import open_witness

        with open_witness(_home(home)) as opened:
            settings = opened.settings
            serve_witness(opened, host or settings.listen_host, settings.listen_port if port is None else port)


def status(home: WitnessHomeOption = None, as_json: JsonOption = False) -> None:
    """Which logs it co-signs, how far each got, and the split views it was shown.

    Exit codes: 0, 3 no witness in the home, 7 its state does not answer, 8 it holds evidence of a split view.

    Example: twinward witness status --home ./witness --json
    """
    with errors_taught(as_json=as_json):
        from twinward.consortium.witness.home import open_witness

        with open_witness(_home(home)) as opened:
            logs = {origin: opened.witness.last_size(origin) for origin in opened.witness.origins()}
            found = [str(path) for path in opened.evidence()]
            shown: dict[str, Any] = {"name": opened.settings.name, "key": str(opened.witness.key)}
        if as_json:
            show_json(shown | {"logs": logs, "split_views": found})
        else:
            say(f"{shown['name']}: {shown['key']}")
            for origin, size in logs.items():
                say(f"log       {origin}: " + (f"co-signed up to {size} events" if size else "nothing co-signed yet"))
            for path in found:
                say(f"split     {path} (`twinward witness evidence` checks it)")
        if found:
            raise typer.Exit(8)


def remember(
    note: Annotated[Path, typer.Argument(help="A checkpoint that bears this witness's own cosignature.")],
    home: WitnessHomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """After a restore from a backup: take back what the witness co-signed and has forgotten.

    A witness that forgot could be made to co-sign a second history, so logs that notice it do not count it. Get the
    newest checkpoint from the log (its `/log/checkpoint`); the witness's own cosignature on it is what is believed.
    Exit codes: 0, 2 not such a checkpoint, 3 no witness in the home, 8 it contradicts what is remembered.

    Example: twinward witness remember ./checkpoint --home ./witness
    """
    with errors_taught(as_json=as_json):
        from twinward.consortium.witness.home import open_witness
        from twinward_ledger.errors import SplitView, WitnessRefused
        from twinward_ledger.witness.evidence import SplitViewEvidence

        raw = read_input(note)
        with open_witness(_home(home)) as opened:
            try:
                taken = opened.remember(raw)
            except SplitView as error:
                found = SplitViewEvidence.of(error.seen, error.offered, *opened.witness.log_of(raw).keys)
                say(f"{found.statement}: {opened.keep_evidence(found)}")
                raise typer.Exit(8) from None
            except WitnessRefused as error:
                raise BadInput(str(error), hint="give a checkpoint that this witness co-signed") from None
        if as_json:
            show_json({"log": taken.origin, "size": taken.size})
        else:
            say(f"remembers {taken.origin} up to {taken.size} events again")


def _home(home: Path | None) -> Path:
    return home or Path(os.environ.get("TWINWARD_WITNESS_HOME") or DEFAULT_HOME)
