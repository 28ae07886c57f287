"""``twinward study keygen``, ``invite``, ``approve``, ``approvals``: how hospitals agree on a study before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.account import PASSWORD_MAX_BYTES, PasswordFileOption
from twinward.cli.context import AsOption, context_of, node_at, typed_by
from twinward.cli.input import ask_secret, confirm, read_input, read_secret_input
from twinward.cli.output import (
    HomeOption,
    JsonOption,
    OutputFile,
    YesOption,
    say,
    show_json,
    show_table,
    table,
)
from twinward.cli.study.protocol import ProtocolArgument, read_protocol
from twinward.core.errors import Refused
from twinward.core.vocabulary import Purpose, Role

if TYPE_CHECKING:
    from twinward.federation.invitation import Invitation
    from twinward.node import Node

InvitationArgument = Annotated[Path, typer.Argument(help="The file that `twinward study invite` wrote.")]
CodeFileOption = Annotated[
    Path | None, typer.Option(help='A file with the code of the officer\'s authenticator app; "-" is standard input.')
]
HospitalsOption = Annotated[
    list[str] | None,
    typer.Option("--hospital", help="For which hospital of this home; once for each.", show_default="all invited"),
]


def keygen(
    out: Annotated[Path, typer.Option(help='The file to write; "-" is standard output.')],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write this hospital's public study key, to hand to the hospital that will invite. It is an event in the log.

    The key comes from the node's key service, is the same each time, and signs this hospital's round keys, answers,
    invitations and approvals. The file is public; read its fingerprint out to the other hospitals' officers.

    Exit codes: 0, 3 no node in the home, 4 the file exists or the home was restored, 7 the log or the key service does
    not answer.

    Example: twinward study keygen --out northgate.study-key.json
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.federation.invitation import StudyKey
        from twinward.node.study_approvals import AT_THIS_MACHINE, give_out_key

        file = OutputFile(out, as_json=as_json)
        content = give_out_key(node, AT_THIS_MACHINE)
        file.write(content)
        key = StudyKey.parse(content)
        file.report(
            {"hospital": key.hospital, "file": str(file), "key": key.public_key.hex(), "fingerprint": key.fingerprint},
            f"wrote {file}: the study key of {key.hospital}",
            f"fingerprint {key.fingerprint}",
        )


def invite(
    file: ProtocolArgument,
    account: AsOption,
    out: Annotated[Path, typer.Option(help='The file to write; "-" is standard output.')],
    key: Annotated[
        list[Path] | None,
        typer.Option(help="A hospital's study key, as its `twinward study keygen` wrote it; once for each."),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write an invitation: a protocol and every hospital's key, signed by this hospital, which will coordinate.

    In the name of the researcher who will run it: at every hospital, stays are read in that name. Keys of hospitals in
    this home are known. Each hospital's officer approves it with `twinward study approve`.

    Exit codes: 0, 2 not a protocol, or a hospital's key is missing or wrong, 3 no such account, 4 the file exists, 6 no
    researcher's account, 7 the log cannot be written.

    Example: twinward study invite sepsis-1.toml --as marie --key mercy.study-key.json --out sepsis-1.invitation.json
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.federation.invitation import Invitation, StudyKey
        from twinward.node.study_approvals import invite as invite_hospitals

        study = read_protocol(file)
        written = OutputFile(out, as_json=as_json)
        keys = [StudyKey.parse(read_input(one)) for one in key or ()]
        content = invite_hospitals(node, study, keys, context_of(node, account, Purpose.RESEARCH))
        written.write(content)
        invitation = Invitation.parse(content)
        shown = {"study": study.study_id, "file": str(written), "fingerprint": study.fingerprint().hex()}
        written.report(
            shown | {"coordinator": invitation.coordinator, "hospitals": list(study.hospitals)},
            f"wrote {written}: {study.study_id}, coordinated by {invitation.coordinator}",
            f"next, at each of {', '.join(study.hospitals)}: twinward study approve {written} --as OFFICER",
        )


def approve(
    file: InvitationArgument,
    account: AsOption,
    hospital: HospitalsOption = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take the approval back; it holds at once.")] = False,
    password_file: PasswordFileOption = None,
    code_file: CodeFileOption = None,
    yes: YesOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve an invitation as this hospital's officer: without that, its site answers nothing of the study.

    Says in plain words what it means for the hospital's patients, what is read of them and what it costs, whose keys it
    names, and asks for the officer's password, and for a code where they have an authenticator app. The approval is of
    this very protocol, these keys and this coordinator; it is an event in the log, and reserves nothing. Where several
    hospitals are in one home, it is for each that was invited.

    Exit codes: 0, 1 you said no, 2 no invitation, not to this hospital, or nobody to ask, 3 no such account, 5 a wrong
    password or code, 6 no officer's account, no second factor where one is needed, or nothing there to withdraw, 7 the
    log or the chain does not answer.

    Examples: twinward study approve sepsis-1.invitation.json --as olga
    · twinward study approve sepsis-1.invitation.json --as olga --withdraw
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.federation.invitation import Invitation
        from twinward.node.study_approvals import approve as approve_for
        from twinward.node.study_approvals import names_here
        from twinward.node.study_approvals import withdraw as withdraw_for

        content = read_input(file)
        invitation = Invitation.parse(content)
        invited = [name for name in invitation.study.hospitals if name in names_here(node)]
        chosen = hospital or invited or [node.settings.tenant]
        by = context_of(node, account, Purpose.COMPLIANCE)
        terms = _terms(node, invitation, chosen)
        if not as_json:
            for line in terms["words"]:
                say(line)
        prove_officer(node, account, password_file, code_file)
        word = "Take back the approval of" if withdraw else "Approve"
        confirm(f"{word} {invitation.study.study_id} for {', '.join(chosen)}?", yes=yes)
        for name in chosen:
            if withdraw:
                withdraw_for(node, name, invitation.study, by)
            else:
                approve_for(node, name, content, by)
        done = "withdrawn" if withdraw else "approved"
        if as_json:
            show_json({"study": invitation.study.study_id, done: chosen} | terms)
            return
        say(f"{done}: {invitation.study.study_id} for {', '.join(chosen)}, by {account}")


def approvals(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Every study that the hospitals of this home approved, newest first.

    Exit codes: 0, 3 no node in the home, 7 the key service does not answer.

    Example: twinward study approvals --json
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.core.clock import iso
        from twinward.federation.approval import approval_json
        from twinward.node.study_approvals import member, names_here

        found: list[dict[str, Any]] = []
        for name in names_here(node):
            with member(node, name) as one:
                found += [{"hospital": name} | approval_json(approval) for approval in one.approvals().all()]
        if as_json:
            show_json({"approvals": found})
            return
        shown = table("study", "hospital", "ε", "coordinator", "officer", "approved (UTC)")
        for entry in found:
            when = iso(entry["at_ms"])[:16].replace("T", " ")
            epsilon = f"{entry['protocol']['epsilon']:g}"
            shown.add_row(entry["study"], entry["hospital"], epsilon, entry["coordinator"], entry["officer"], when)
        show_table(shown)
        if not found:
            say("no study is approved here")


def _terms(node: Node, invitation: Invitation, hospitals: list[str]) -> dict[str, Any]:
    """What approving means, in sentences and for programs. Raises ``Unavailable`` where the chain does not answer."""
    from twinward.overview.studies import terms_of

    terms = terms_of(node, invitation, hospitals)
    words = [*terms.words, "keys it names; have each hospital read its own out to you, not by the way this file came:"]
    words += [f"  {name}: {key}" for name, key in terms.keys.items()]
    budgets = [{"hospital": one.hospital, "left_micros": one.left, "reaches": one.reaches} for one in terms.budgets]
    return {
        "words": words,
        "fingerprint": invitation.study.fingerprint().hex(),
        "epsilon": terms.plan.epsilon,
        "delta": terms.plan.delta,
        "cost_micros": terms.plan.inverse_variance_micros,
        "budgets": budgets,
        "keys": dict(terms.keys),
    }


def prove_officer(node: Node, account: str, password_file: Path | None, code_file: Path | None) -> None:
    """Have the officer prove who they are, as at the console, by both factors where they have two.

    Raises ``SignInRefused`` and ``WrongRole``, each an event, and ``Refused``.
    """
    if password_file is None:
        password = ask_secret(f"Password of {account}", option="--password-file")
    else:
        raw = read_secret_input(password_file, "the password", most=PASSWORD_MAX_BYTES)
        password = raw.decode("utf-8", "replace").rstrip("\r\n")
    record = node.accounts.by_password(account, password, via=typed_by(), roles={Role.OFFICER})
    if node.accounts.must_change_password(record):
        raise Refused(f"the password of {account} was chosen by somebody else", hint="sign in and change it first")
    if record.totp:
        if code_file is None:
            code = ask_secret(f"Code of {account}", option="--code-file")
        else:
            code = read_secret_input(code_file, "the code", most=PASSWORD_MAX_BYTES).decode("utf-8", "replace")
        node.sign_ins.factors.check(record.id, code.strip(), via=typed_by())
    elif Role.OFFICER in node.settings.second_factor_roles:
        raise Refused(f"{account} has no second factor yet", hint="`twinward account enrol` adds an authenticator app")
