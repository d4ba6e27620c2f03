"""pkicode status: is this PKI well?  Reads only."""

import click

from pkicode.cli.options import formats
from pkicode.cli.session import Session, say, say_json
from pkicode.model.problem import PkicodeError

UNKNOWN = 3
"""What monitoring plugins exit with when they could not look."""


@click.command("status")
@click.option(
    "--refresh",
    type=click.Choice(["published", "keystores"]),
    multiple=True,
    help="Also read the publish targets and verify what is there; also look for the CAs' keys, without opening them.",
)
@formats("human", "json", "prometheus", "nagios")
@click.pass_obj
def status_command(session: Session, *, refresh: tuple[str, ...], form: str) -> int:
    """Say whether renewals, CRLs, publications and the state are as they should be.  Needs no key and no lock."""
    from pkicode.views import status as view

    try:
        vitals = session.project().vitals
        told = vitals.status(published="published" in refresh, keystores="keystores" in refresh)
    except PkicodeError as error:
        if form != "nagios":
            raise
        from pkicode.views.text import printable

        say(f"PKICODE UNKNOWN - {printable(error.message)}")
        return UNKNOWN
    if form == "json":
        say_json(view.document(told))
    else:
        say({"human": view.human, "prometheus": view.prometheus, "nagios": view.nagios}[form](told))
    return int(told.level) if form == "nagios" else 0
