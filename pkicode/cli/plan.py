"""pkicode plan: what apply would do.  Reads only."""

from pathlib import Path

import click

from pkicode.cli.options import allowing, formats, instant, scope
from pkicode.cli.session import Session, say, say_json
from pkicode.model.change import Plan, Readiness
from pkicode.model.problem import ConfigError, Severity

FORMS = ("human", "json", "markdown", "html")
CHANGES, DENIED, WAITING = 2, 6, 7


@click.command("plan")
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="Save the plan for apply.")
@click.option("--at", metavar="WHEN", help="As of then: 2027-01-11, an RFC 3339 time, or +60d.")
@click.option(
    "-e", "--detailed-exitcode", "detailed", is_flag=True, help="Exit 2 when there are changes, 7 when some wait."
)
@scope
@allowing
@click.option(
    "--refresh",
    type=click.Choice(["endpoints", "published"]),
    multiple=True,
    help="endpoints: connect to those of certificates, and say what they serve.  published: read what is published, and"
    " put back what is gone or altered.",
)
@click.option("--full", is_flag=True, help="List every certificate of every fan-out.")
@click.option(
    "--max-bytes", type=click.IntRange(min=4000), default=65000, show_default=True, help="Limit for Markdown."
)
@formats(*FORMS)
@click.pass_obj
def plan_command(
    session: Session,
    *,
    output: Path | None,
    at: str | None,
    detailed: bool,
    only: tuple[str, ...],
    except_: tuple[str, ...],
    allow: dict[str, str],
    refresh: tuple[str, ...],
    full: bool,
    max_bytes: int,
    form: str,
) -> int:
    """Show what apply would do.  Needs no key, no PIN and no lock."""
    if refresh and at is not None:
        raise click.UsageError("--refresh looks at what is there now, and goes with no --at")
    try:
        project = session.project()
        plan = project.plan(
            None if at is None else instant(project, at),
            only=only,
            except_=except_,
            allow=allow,
            published="published" in refresh,
        )
        if "endpoints" in refresh:
            from pkicode.adapters import loop
            from pkicode.cli.progress import progress

            with progress(session) as emit:
                plan = loop.run(project.aseen(plan, emit=emit))
    except ConfigError as error:
        if form != "json":
            raise
        from pkicode.views.json import diagnostics_json

        say_json(diagnostics_json(error.problems))
        return error.exit_code
    if output is not None:
        project.save(plan, session.path(output))
    if form == "json":
        from pkicode.plan.planfile import document

        say_json(document(plan, project.where))
    else:
        say(rendered(session, plan, form=form, full=full, max_bytes=max_bytes))
    return exit_code(plan, detailed=detailed)


def rendered(session: Session, plan: Plan, *, form: str = "human", full: bool = False, max_bytes: int = 65000) -> str:
    """A plan as text for people, in one of the FORMS that are that."""
    if form == "markdown":
        from pkicode.views.markdown import markdown

        return markdown(plan, max_bytes=max_bytes)
    if form == "html":
        from pkicode.views.html import html

        return html(plan)
    from pkicode.views.human import human

    return human(plan, full=full, color=session.coloured)


def exit_code(plan: Plan, *, detailed: bool) -> int:
    """1 over 6 over 7 over 2 over 0 (docs/reference/exit-codes.md); 2 and 7 only when asked for."""
    if any(problem.severity is Severity.ERROR for problem in plan.problems):
        return 1
    if not all(judged.passed for judged in plan.verdicts):
        return DENIED
    if not detailed:
        return 0
    from pkicode.plan.brakes import REQUIRE_APPROVAL

    awaited = any(judged.rule == REQUIRE_APPROVAL for judged in plan.verdicts)
    if awaited or any(change.readiness is Readiness.WAITING for change in plan.changes):
        return WAITING
    return CHANGES if plan.has_changes else 0
