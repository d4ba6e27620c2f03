"""Commands that look closer: show, explain, graph."""

import re
from pathlib import Path

import click

from pkicode.cli.options import addresses, formats
from pkicode.cli.plan import FORMS, exit_code, rendered
from pkicode.cli.session import Session, say, say_json
from pkicode.model.change import ReasonCode
from pkicode.model.problem import PkicodeError

_CODE = re.compile(r"[EW][0-9]{4}\Z")


@click.command("show")
@click.argument("what", metavar="ADDRESS|FILE", shell_complete=addresses)
@click.option("-e", "--detailed-exitcode", "detailed", is_flag=True, help="Of a plan file: exit 2 when it has changes.")
@click.option("--full", is_flag=True, help="Of a plan file: list every certificate.")
@formats(*FORMS)
@click.pass_obj
def show_command(session: Session, *, what: str, detailed: bool, full: bool, form: str) -> int:
    """Show a saved plan, or every certificate an address has had."""
    path = session.path(Path(what))
    if path.is_file():
        return _show_plan_file(session, path, detailed=detailed, full=full, form=form)
    _show_address(session, what, form=form)
    return 0


def _show_plan_file(session: Session, path: Path, *, detailed: bool, full: bool, form: str) -> int:
    from pkicode.config.files import read_bytes
    from pkicode.plan import planfile
    from pkicode.views.saved import plan_of

    saved = planfile.load(read_bytes(path, str(path), planfile.LIMIT))
    plan = plan_of(saved.document)
    if form == "json":
        say_json(saved.document)
    else:
        say(rendered(session, plan, form=form, full=full))
    return exit_code(plan, detailed=detailed)


def _show_address(session: Session, text: str, *, form: str) -> None:
    from pkicode.model.address import parse
    from pkicode.ports import CertificateStatus, Want
    from pkicode.views.inventory import COLUMNS, cells, facts_of, records
    from pkicode.views.table import listing

    try:
        address, generation = parse(text)
    except ValueError as error:
        raise PkicodeError(
            f"{text} is neither a file nor an address", help="write cert.portal, or a plan file"
        ) from error
    project = session.project()
    held = [
        one for one in project.inventory(Want(address=str(address))) if one.generation == (generation or one.generation)
    ]
    held = [one for one in held if one.status != CertificateStatus.ABORTED]
    if not held:
        raise PkicodeError(f"no certificate was ever signed for {text}", help="`pkicode explain` says what is planned")
    found = [*records(map(facts_of, held), now=project.clock())]
    # An intent has no digest yet, and its bytes are no certificate.
    pems = [_pem(one.der) if one.sha256 else "" for one in held]
    if form == "json":
        say_json([{**record, "pem": pem} for record, pem in zip(found, pems, strict=True)])
        return
    for row, pem in zip(cells(found), pems, strict=True):
        say(listing((name, cell) for name, cell in zip(COLUMNS, row, strict=True) if cell) + pem)


def _pem(der: bytes) -> str:
    from pkicode.x509 import pem

    return pem.encode("CERTIFICATE", der).decode("ascii")


@click.command("explain")
@click.argument("what", metavar="ADDRESS|CODE", shell_complete=addresses)
@click.pass_obj
def explain_command(session: Session, *, what: str) -> None:
    """Say why: of an address, of a reason code such as `due`, or of a mistake such as `E0203`."""
    from pkicode.config.codes import explain
    from pkicode.views.explain import explanation, reason

    if what in set(ReasonCode):
        say(reason(ReasonCode(what)))
    elif _CODE.match(what):
        page = explain(what)
        if page is None:
            raise PkicodeError(f"there is no code {what}", help="codes stand in brackets: error[E0203]")
        say(page)
    else:
        told = session.project().explain(what)
        say(
            explanation(
                address=told.address,
                generation=told.generation,
                status=told.status,
                lines=told.lines,
                source=told.source,
            )
        )


@click.command("graph")
@click.option("--format", "form", type=click.Choice(["dot", "mermaid"]), default="dot", show_default=True)
@click.pass_obj
def graph_command(session: Session, *, form: str) -> None:
    """Draw who signs whom, and who publishes where."""
    from pkicode.views.graph import dot, mermaid

    draw = {"dot": dot, "mermaid": mermaid}[form]
    say(draw(session.project().config))
