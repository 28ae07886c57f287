"""``twinward study new``, ``check``: writing a protocol, and what one would cost."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.context import node_at
from twinward.cli.errors import errors_taught
from twinward.cli.input import read_input
from twinward.cli.output import HomeOption, JsonOption, OutputFile, show_json
from twinward.cli.study.cost import cost_json, say_cost, say_time
from twinward.core.config import FILE_NAME, Settings
from twinward.core.errors import BadInput, NotFound

if TYPE_CHECKING:
    from twinward.federation.evaluation.run_time import RunTime
    from twinward.federation.study import StudyProtocol
    from twinward.overview.studies import Budget

_DETECTORS = ("dp-var", "lstm-autoencoder", "logistic-warning")

ProtocolArgument = Annotated[
    Path, typer.Argument(help="A protocol: .toml or .json, as `twinward study new` writes it.")
]


def new(
    file: Annotated[Path, typer.Argument(help="The file to write: .toml.")],
    detector: Annotated[str, typer.Option(help=f"What is trained: {' or '.join(_DETECTORS)}.")] = "dp-var",
    epsilon: Annotated[float, typer.Option(help="The study's privacy, per patient: 0.01 to 10.")] = 1.0,
    hospital: Annotated[
        list[str] | None,
        typer.Option("--hospital", help="Who takes part; once for each.", show_default="the home's hospitals"),
    ] = None,
    name: Annotated[str | None, typer.Option("--id", help="The study's name.", show_default="of the file")] = None,
    signals: Annotated[
        str, typer.Option(help="What a stay is made of: icu, ecg or checkup; edit the file for others.")
    ] = "icu",
    group_size: Annotated[
        int, typer.Option(help="Open the sums of groups of so many or more, which show who ruins them; 0: one sum.")
    ] = 0,
    disease_group: Annotated[
        list[str] | None,
        typer.Option(
            "--disease-group",
            help="NAME=PATIENTS or NAME=PATIENTS=CODE,…: whose patients get a head of their own above what all train; "
            "how many are expected, and system|code of their conditions (* at the end: all below). Once for each.",
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a protocol with the detector's defaults, in which each field says what it is.

    Exit codes: 0, 2 it could not be run as asked, 3 no hospitals given and no node in the home, 4 the file exists.

    Examples: twinward study new sepsis-1.toml --epsilon 1
    · twinward study new sepsis-2.toml --detector lstm-autoencoder --epsilon 3
    · twinward study new practices.toml --signals checkup
    · twinward study new kidneys.toml --disease-group "dialysis=600=http://hl7.org/fhir/sid/icd-10|N18*"
    · twinward study new wide.toml --group-size 3 --hospital a --hospital b --hospital c … --hospital i
    """
    with errors_taught(as_json=as_json):
        from twinward.federation.study import DetectorKind
        from twinward.federation.study_file import new_protocol, protocol_toml

        if detector not in _DETECTORS:
            raise BadInput(f"there is no detector {detector!r}", hint=f"one of {', '.join(_DETECTORS)}")
        if file.suffix != ".toml":
            raise BadInput(f"{file} does not end in .toml", hint="a protocol is written as TOML")
        out = OutputFile(file, as_json=as_json, option="FILE")
        hospitals = tuple(hospital or _hospitals_of(home))
        changes: dict[str, Any] = {"signals": signals} | ({"group_size": group_size} if group_size else {})
        if disease_group:
            changes["disease_groups"] = [_disease_group(one) for one in disease_group]
        study = new_protocol(name or file.stem, hospitals, DetectorKind(detector), epsilon, **changes)
        out.write(protocol_toml(study).encode())
        shown = {"study": study.study_id, "file": str(file), "hospitals": list(study.hospitals)}
        out.report(
            shown | {"detector": study.detector.value, "epsilon": study.epsilon},
            f"wrote {file}: {study.detector.value} at {', '.join(study.hospitals)}, ε = {study.epsilon:g}",
            f"next: twinward study check {file}",
        )


def _disease_group(given: str) -> dict[str, Any]:
    """The fields of one. Raises ``BadInput``."""
    name, _, rest = given.partition("=")
    patients, _, codes = rest.partition("=")
    if not name or not (patients.isascii() and patients.isdigit() and len(patients) < 10):
        raise BadInput(
            f"no disease group: {given!r}",
            hint='as "dialysis=600" or "dialysis=600=http://hl7.org/fhir/sid/icd-10|N18*"',
        )
    return {"name": name, "expected_patients": int(patients), "codes": [one for one in codes.split(",") if one]}


def check(
    file: ProtocolArgument,
    data: Annotated[
        Path | None, typer.Option(help="Your own .npz or .csv: how many of the signals does it carry?")
    ] = None,
    how_long: Annotated[
        bool, typer.Option("--time", help="Also measure a round on this machine, and say how long it would take.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Can a study run as written, is it worth it, what would it cost every patient, and do the budgets reach?

    Nothing is reserved. Without a node, or with --data, the budgets are left out. Which signals a hospital's patients
    carry is not looked at: the answer would tell of them, and nobody would have paid for it. Exit codes: 0 it could
    run, 2 not a protocol, or not its data, 6 a hospital's budget does not reach, or noise would drown what there is to
    learn, 7 the chain does not answer.

    Examples: twinward study check study.toml --time
    · twinward study check blood.toml --data blood.csv

    Example file: study_id = "sepsis-1"; hospitals = ["st-anna", "northgate", "lakeside"];
    detector = "lstm-autoencoder"; epsilon = 3.0; clip = 0.3; rounds = 40 (each on a line of its own)
    """
    with errors_taught(as_json=as_json):
        from twinward.federation.privacy.accountant import plan_for
        from twinward.federation.privacy.outlook import require_worthwhile

        study = read_protocol(file)
        plan = plan_for(study)
        budgets: list[Budget] | None = None
        if data is not None:
            from twinward.cli.study.own_data import check_data

            check_data(study, plan, data, as_json=as_json)
            return
        if home is not None or (Settings.load().home / FILE_NAME).is_file():
            from twinward.overview.studies import budgets_of

            with node_at(home, as_json=as_json) as node:
                budgets = budgets_of(node, study, plan)
        measured = _measured(study) if how_long else None
        if as_json:
            show_json(cost_json(study, plan, budgets) | ({"time": asdict(measured)} if measured else {}))
        else:
            say_cost(study, plan, budgets)
            if measured:
                say_time(measured)
        require_worthwhile(study)
        if budgets is not None and not all(one.reaches for one in budgets):
            raise typer.Exit(6)


def _measured(study: StudyProtocol) -> RunTime:
    from twinward.federation.evaluation.run_time import measure_run_time

    return measure_run_time(study)


def read_protocol(path: Path) -> StudyProtocol:
    """The protocol in a file. Raises ``BadInput``, which says what is wrong with it."""
    from twinward.federation.study_file import parse_study

    return parse_study(read_input(path), path)


def _hospitals_of(home: Path | None) -> tuple[str, ...]:
    settings = Settings.load(home)
    if not (settings.home / FILE_NAME).is_file():
        raise NotFound(f"there is no node in {settings.home} whose hospitals they could be", hint="give --hospital")
    return settings.witnesses
