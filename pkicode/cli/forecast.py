"""pkicode forecast: what is to come, if nobody changes anything.  Reads only."""

import click

from pkicode.cli.options import formats, instant
from pkicode.cli.session import Session, say, say_json


@click.command("forecast")
@click.option("--until", metavar="WHEN", required=True, help="2036-01-01, an RFC 3339 time, or +1y.")
@click.option("--full", is_flag=True, help="A row for every certificate of every fan-out.")
@formats("human", "json", "csv")
@click.pass_obj
def forecast_command(session: Session, *, until: str, full: bool, form: str) -> None:
    """Show every coming action, as an apply a day would do them.  Needs no key and no lock."""
    from pkicode.views import forecast as view

    project = session.project()
    told = project.foresight.forecast(instant(project, until), full=full)
    if form == "json":
        say_json(view.document(told))
    elif form == "csv":
        from pkicode.views.table import csv_text

        say(csv_text(view.COLUMNS, view.cells(told.rows)))
    else:
        say(view.human(told))
