"""What the global options say, and how commands talk: results to stdout, everything else to stderr."""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from pkicode.model.problem import ConfigError, PkicodeError

if TYPE_CHECKING:
    from pkicode.project import Project

CLOCK = "PKICODE_NOW"


@frozen
class Session:
    """One call of the command line."""

    folder: Path
    file: Path | None
    env: str | None
    variables: Mapping[str, str]
    color: str | None
    quiet: bool
    verbose: bool

    def config_path(self) -> Path:
        """The pki.toml meant by -f, PKICODE_CONFIG, or the nearest above -C."""
        from pkicode.config.find import find

        return self.folder / self.file if self.file else find(self.folder.resolve(), os.environ)

    def project(self) -> "Project":
        """Open the project for reading.

        Raises:
            ConfigError: every mistake in its configuration.
        """
        from pkicode.project import open_project

        return open_project(
            self.config_path(), env=self.env, variables=self.variables, environ=os.environ, now=frozen_clock()
        )

    def writable(self, *, allow_clock: bool) -> "Project":
        """Open the project for a command that writes: a frozen clock must be meant."""
        if os.environ.get(CLOCK) and not allow_clock:
            raise click.UsageError(f"{CLOCK} is set, and this command writes; unset it, or give --allow-clock")
        return self.project()

    def path(self, name: Path) -> Path:
        """A path argument, which counts from -C."""
        return self.folder / name

    @property
    def coloured(self) -> bool:
        """--color, then PKICODE_COLOR, NO_COLOR, FORCE_COLOR, then whether stdout is a terminal."""
        wanted = self.color or os.environ.get("PKICODE_COLOR", "auto")
        if wanted in ("always", "never"):
            return wanted == "always"
        if os.environ.get("NO_COLOR"):
            return False
        return bool(os.environ.get("FORCE_COLOR")) or sys.stdout.isatty()

    def note(self, text: str) -> None:
        """A line for people beside the result; what strangers wrote in it moves no cursor."""
        from pkicode.views.text import printable

        if not self.quiet:
            click.echo(printable(text), err=True)


def session_of(options: Mapping[str, Any]) -> Session:
    """The session of the global options; completion asks for it before the command runs, with some of them None."""
    return Session(
        folder=options.get("folder") or Path(),
        file=options.get("file"),
        env=options.get("env"),
        variables=dict(map(_pair, options.get("variables") or ())),
        color=options.get("color"),
        quiet=bool(options.get("quiet")),
        verbose=bool(options.get("verbose")),
    )


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.UsageError(f"--var {text}: write it as --var name=value")
    return name, value


def frozen_clock() -> int | None:
    """The instant that PKICODE_NOW says, None where it is not set."""
    from pkicode.model.instants import parse_instant

    text = os.environ.get(CLOCK)
    if not text:
        return None
    try:
        if text.startswith("+"):
            raise ValueError(f"`{text}` counts from a clock; write an instant such as 2027-01-11T09:00:00Z")
        return parse_instant(text, now=0)
    except ValueError as error:
        raise click.UsageError(f"{CLOCK}: {error}") from error


def now() -> int:
    """The instant that PKICODE_NOW says, else this one."""
    frozen = frozen_clock()
    return int(time.time()) if frozen is None else frozen


def say(text: str) -> None:
    """A result.  No second newline after a text that ends in one; colours were decided when it was made."""
    click.echo(text, nl=not text.endswith("\n"), color=True)


def say_json(document: object) -> None:
    """A JSON result: indented for eyes, else on one line.  Only ASCII: no name in it can play with a terminal."""
    say(json.dumps(document, indent=2 if sys.stdout.isatty() else None))


def report(error: PkicodeError) -> None:
    """An error as people read it: what, where, how to mend."""
    from pkicode.views import problems
    from pkicode.views.text import printable

    if isinstance(error, ConfigError):
        click.echo(problems.human(error.problems), err=True)
    lines = [printable(line) for line in error.message.split("\n")]
    click.echo("\n".join([f"error: {lines[0]}", *lines[1:]]), err=True)
    if error.help:
        click.echo(f"   = help: {printable(error.help)}", err=True)
