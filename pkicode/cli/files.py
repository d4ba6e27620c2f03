"""Commands that look at configuration alone: init, validate, fmt, config, schema.  No state, no keys, no network."""

from collections.abc import Iterable
from pathlib import Path

import click

from pkicode.cli.options import formats
from pkicode.cli.session import Session, say, say_json
from pkicode.model.counted import counted
from pkicode.model.problem import ConfigError, PkicodeError, Problem, Severity

FINDINGS = 3


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path), default=".")
@click.option("--template", type=click.Choice(["single", "two-tier", "mtls"]), default="two-tier", show_default=True)
@click.pass_obj
def init_command(session: Session, *, folder: Path, template: str) -> None:
    """Write a working pki.toml with comments, its JSON Schema, and a .gitignore."""
    from pkicode.config.edit import init_files

    folder = session.path(folder)
    if (folder / "pki.toml").exists():
        raise PkicodeError(f"{folder / 'pki.toml'} is there already", help="choose another folder, or edit the file")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in init_files(template).items():
        path = folder / name
        if name == ".gitignore" and path.exists():
            path.write_text(_joined(path.read_text("utf-8"), text), "utf-8")
        else:
            path.write_text(text, "utf-8")
        session.note(f"wrote {path}")
    say("Now: pkicode plan" if folder.resolve() == Path.cwd() else f"Now: cd {folder} && pkicode plan")


def _joined(old: str, new: str) -> str:
    """Somebody's .gitignore with our lines added: state and keys must not be committed."""
    known = old.splitlines()
    missing = [line for line in new.splitlines() if line not in known]
    return "\n".join([*known, *missing]) + "\n"


@click.command("validate")
@formats("human", "json")
@click.option("--fail-on", type=click.Choice(["error", "warning"]), default="error", show_default=True)
@click.pass_obj
def validate_command(session: Session, *, form: str, fail_on: str) -> int:
    """Check pki.toml, what it includes, and every row of every fan-out."""
    try:
        found = session.project().validate()
    except ConfigError as error:
        found = error.problems
    if form == "json":
        from pkicode.views.json import diagnostics_json

        say_json(diagnostics_json(found))
    else:
        _tell(found)
    if any(problem.severity is Severity.ERROR for problem in found):
        return 1
    return FINDINGS if found and fail_on == "warning" else 0


def _tell(found: Iterable[Problem]) -> None:
    from pkicode.views import problems

    found = tuple(found)
    errors = sum(problem.severity is Severity.ERROR for problem in found)
    warnings = len(found) - errors
    if found:
        say(problems.human(found))
    say(f"{'Invalid' if errors else 'Valid'}: {counted(errors, 'error')}, {counted(warnings, 'warning')}")


@click.command("fmt")
@click.option("--check", is_flag=True, help="Write nothing; exit 3 when something would change.")
@click.pass_obj
def fmt_command(session: Session, *, check: bool) -> int:
    """Format pki.toml: spacing and blank lines; comments and order stay."""
    from pkicode.config.edit import fmt
    from pkicode.config.files import LARGEST, read_bytes

    path = session.config_path()
    text = read_bytes(path, path.name, LARGEST).decode("utf-8")
    formatted = fmt(text)
    if formatted == text:
        return 0
    if check:
        say(f"{path} would be reformatted")
        return FINDINGS
    replacement = path.with_name(f".{path.name}.fmt")
    replacement.write_bytes(formatted.encode())
    replacement.chmod(path.stat().st_mode)
    replacement.replace(path)
    say(f"{path} reformatted")
    return 0


@click.group("config")
def config_command() -> None:
    """Look at the configuration as it is understood."""


@config_command.command("show")
@click.option("--resolved", is_flag=True, help="Also what nobody wrote: defaults and what is derived.")
@click.option("--origin", is_flag=True, help="Where each value comes from.")
@formats("human", "json")
@click.pass_obj
def config_show(session: Session, *, resolved: bool, origin: bool, form: str) -> None:
    """Every value, one a line; secrets show only where they are read from."""
    import json

    from pkicode.config import origin as origins
    from pkicode.views.text import printable

    told = [
        {"path": path, "value": value, "origin": source}
        for path, value, source in origins.resolved(session.project().config)
        if resolved or source != "default"
    ]
    if form == "json":
        say_json(told)
        return
    for one in told:
        shown = json.dumps(one["value"], ensure_ascii=False)
        say(printable(f"{one['path']} = {shown}" + (f"   # {one['origin']}" if origin else "")))


@click.group("schema")
def schema_command() -> None:
    """JSON Schemas, for editors and scripts."""


@schema_command.command("config")
def schema_config() -> None:
    """Of pki.toml: put `#:schema ./pki.schema.json` into its first line."""
    from pkicode.config.jsonschema import schema

    say_json(schema())


@schema_command.command("plan")
def schema_plan() -> None:
    """Of `plan --format json` and of plan files."""
    from pkicode.views.json import plan_schema

    say_json(plan_schema())
