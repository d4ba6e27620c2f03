"""pkicode apply: show the plan, ask, make it so, and say what was done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pkicode.cli.options import allow_clock, allowing, confirm, formats, scope
from pkicode.cli.plan import rendered
from pkicode.cli.progress import once, progress
from pkicode.cli.session import Session, say, say_json
from pkicode.model.change import Plan
from pkicode.model.instants import rfc3339
from pkicode.model.problem import ConfigError, Denied
from pkicode.views.applied import STOPPED, summary

if TYPE_CHECKING:
    from pkicode.plan.planfile import SavedPlan
    from pkicode.project import Project
    from pkicode.project.applied import Applied


@click.command("apply")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--approval",
    "approvals",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="What `approve` made of the saved plan; FILE.approval beside it if not given.",
)
@click.option(
    "--detached", is_flag=True, help="An approved plan goes although pki.toml was edited, if it says the same."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@scope
@allowing
@click.option("--jobs", type=click.IntRange(min=1), help="Worker processes; as many as there are cores if not given.")
@click.option(
    "--auto",
    is_flag=True,
    help="Unattended: with --only-reasons, anything else waits (exit 7), and lists are kept fresh beside an error.",
)
@click.option("--watch", "watching", is_flag=True, help="Go on: apply whenever something is due or was changed.")
@click.option(
    "--refresh",
    type=click.Choice(["published"]),
    help="Also read what is published, and put back what is gone or altered there.",
)
@click.option("--only-reasons", metavar="CODES", help="Comma-separated reason codes that may be acted on.")
@allow_clock
@formats("human", "json")
@click.pass_obj
def apply_command(
    session: Session,
    *,
    file: Path | None,
    approvals: tuple[Path, ...],
    detached: bool,
    yes: bool,
    only: tuple[str, ...],
    except_: tuple[str, ...],
    allow: dict[str, str],
    jobs: int | None,
    auto: bool,
    refresh: str | None,
    only_reasons: str | None,
    watching: bool,
    allow_clock: bool,
    form: str,
) -> int:
    """Make it so: plan, ask, issue, sign, publish.  FILE is a plan saved with `plan -o`."""
    reasons = _reasons(only_reasons)
    scoped = bool(only or except_ or allow or reasons or refresh)
    _refuse(file, auto=auto, reasons=reasons, scoped=scoped)
    if file is None and (approvals or detached):
        raise click.UsageError("an approval is of a saved plan: give its FILE")
    if watching:
        if file is not None or allow or refresh or form != "human" or not (yes or auto):
            raise click.UsageError(
                "--watch needs -y or --auto, and takes no FILE, no --allow, no --refresh and no --format json"
            )
        from pkicode.cli.watch import watch

        return watch(session, only=only, except_=except_, reasons=reasons, jobs=jobs)
    project = session.writable(allow_clock=allow_clock)
    from pkicode.project.approving import with_approvals

    def show(plan: Plan) -> None:
        if form == "human" and file is None:
            say(rendered(session, plan))

    expected: Plan | SavedPlan | None = None
    if file is not None:
        given = [session.path(one) for one in approvals]
        path = session.path(file)
        expected = with_approvals(project.load(path), path, given, detached=detached)
    elif not (yes or auto):
        expected = project.plan(only=only, except_=except_, allow=allow, commands=True, published=refresh is not None)
        show(expected)
        if expected.has_changes:
            confirm("Apply this plan?", "give -y, or apply a plan saved with `pkicode plan -o FILE`")
    unattended = auto and not only
    with progress(session) as heard, once(heard) as emit:
        lists = partial(project.apply, except_=except_, only_reasons=reasons, emit=emit)
        with _lists_at_least(session, project, lists, form=form) if unattended else nullcontext():
            applied = project.apply(
                expected,
                only=only,
                except_=except_,
                allow=allow,
                jobs=jobs,
                only_reasons=reasons,
                published=refresh is not None,
                # Where nobody is asked, one plan is enough: the one made under the lease.
                show=show if expected is None else lambda _agreed: None,
                emit=emit,
            )
    _tell(applied, project, form=form)
    if applied.stopped:
        session.note(STOPPED)
    return applied.exit_code


@contextmanager
def _lists_at_least(
    session: Session, project: "Project", lists: Callable[..., "Applied"], *, form: str
) -> Iterator[None]:
    """Nobody looks at the error now: a CRL that ended meanwhile would stop every certificate below its CA."""
    from pkicode.project.applied import TELLING

    try:
        yield
    except (ConfigError, Denied):
        done = lists(only=TELLING)
        session.note("Only CRLs, OCSP answers and what is published; why not the rest:")
        _tell(done, project, form=form)
        raise


def _refuse(file: Path | None, *, auto: bool, reasons: tuple[str, ...], scoped: bool) -> None:
    """Options that say nothing together."""
    if auto and not reasons:
        raise click.UsageError("--auto needs --only-reasons, as in --only-reasons due,crl-due,crl-content")
    if file is not None and scoped:
        raise click.UsageError("a saved plan has its scope and its allowances in it; give them to `plan -o`")


def _reasons(given: str | None) -> tuple[str, ...]:
    from pkicode.model.change import ReasonCode

    codes = tuple(code.strip() for code in given.split(",")) if given else ()
    unknown = [code for code in codes if code not in set(ReasonCode)]
    if unknown:
        raise click.UsageError(f"--only-reasons: `{unknown[0]}` is no reason code; they are {', '.join(ReasonCode)}")
    return codes


def _tell(applied: "Applied", project: "Project", *, form: str) -> None:
    from pkicode.views import problems
    from pkicode.views.json import diagnostics_json

    if form == "json":
        told = diagnostics_json(applied.problems)
        next_due = applied.plan.next_due
        say_json(
            {
                "format": "pkicode.applied",
                "version": "1.0",
                "counts": dict(applied.counts),
                "resumed": dict(applied.resumed),
                "stopped": applied.stopped,
                "next_due": None if next_due is None else rfc3339(next_due),
                "diagnostics": told["diagnostics"],
            }
        )
        return
    if applied.problems:
        click.echo(problems.human(project.config.located(applied.problems)), err=True)
    say(summary(applied.counts, applied.resumed, applied.plan, failed=len(applied.problems)))
