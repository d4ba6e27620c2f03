"""Options that several commands share."""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs
import click

from pkicode.cli.session import Session, session_of
from pkicode.model.instants import parse_instant
from pkicode.model.problem import PkicodeError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from pkicode.project import Project

F = TypeVar("F", bound=Callable[..., object])

_CERTIFICATE_LIMIT = 1 << 20
_SECRET_LIMIT = 4096
_COMPLETED = 200
"""More completions than anybody reads."""


def formats(*names: str) -> Callable[[F], F]:
    """--format, the first name being what people get."""
    return click.option(
        "--format", "form", type=click.Choice(names), default=names[0], show_default=True, help="How to print it."
    )


def gathering(into: type, name: str, *options: Callable[[F], F]) -> Callable[[F], F]:
    """These options, given to the command as one value, called `name`, of an attrs class with a field for each."""

    def decorated(command: F) -> F:
        @functools.wraps(command)
        def gathered(*args: object, **given: Any) -> object:
            value = into(**{one.name: given.pop(one.name) for one in attrs.fields(into)})
            return command(*args, **{name: value}, **given)

        whole = cast("F", gathered)
        for option in reversed(options):
            whole = option(whole)
        return whole

    return decorated


def scope(command: F) -> F:
    """--only and --except."""
    command = click.option("--except", "except_", metavar="GLOB", multiple=True, help="Leave out these addresses.")(
        command
    )
    return click.option("--only", metavar="GLOB", multiple=True, help="Only these addresses.")(command)


def allowing(command: F) -> F:
    """--allow, read into a dict."""
    return click.option(
        "--allow",
        metavar="WHAT=N",
        multiple=True,
        callback=lambda _context, _option, given: allowances(given),
        help="For this run: issue=N, revoke=N, forget=N, remove=N lift a brake; reissue=GLOB does not await renewals; "
        "ca-revoke=NAME, root-change=NAME take trust from a CA.",
    )(command)


def allow_clock(command: F) -> F:
    """--allow-clock, of commands that write."""
    return click.option("--allow-clock", is_flag=True, help="Write although PKICODE_NOW freezes the clock.")(command)


def allowances(given: tuple[str, ...]) -> dict[str, str]:
    """`issue=5,revoke=2` and repeated options as one dict."""
    if not given:
        return {}
    from pkicode.plan.brakes import BRAKES, NAMING, WORDS

    found: dict[str, str] = {}
    for part in ",".join(given).split(","):
        word, equals, value = part.strip().partition("=")
        if not (word and equals and value):
            raise click.BadParameter(f"`{part}` is not WHAT=N, as in --allow issue=98010")
        if word not in WORDS:
            raise click.BadParameter(
                f"`{part}`: write one of {', '.join(BRAKES)} and =N, {', '.join(NAMING)} and =CA, or reissue=GLOB"
            )
        if word in BRAKES and not value.isdecimal():
            raise click.BadParameter(f"`{part}`: {word} takes a number, as in --allow {word}=10")
        found[word] = f"{found[word]} {value}" if word in NAMING and word in found else value
    return found


def confirm(question: str, otherwise: str) -> None:
    """Ask on a terminal; nobody there to ask means no."""
    if not sys.stdin.isatty():
        raise click.UsageError(f"nobody can be asked here: {otherwise}")
    click.echo(f"{question} Only `yes` will do: ", nl=False, err=True)
    if sys.stdin.readline().strip() != "yes":
        raise click.Abort


def instant(project: "Project", text: str) -> int:
    """A moment that the user wrote: a date, an RFC 3339 time, or `+60d` from now."""
    try:
        return parse_instant(text, now=project.clock())
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def secret(session: Session, file: Path | None, prompt: str, *, is_new: bool = True) -> bytes:
    """The first line of a file, or what is typed without being shown; twice, where it `is_new`."""
    if file is not None:
        return at_most(session.path(file), _SECRET_LIMIT).split(b"\n", 1)[0].rstrip(b"\r")
    return str(click.prompt(prompt, hide_input=True, confirmation_prompt=is_new, err=True)).encode()


def certificate_der(path: Path) -> bytes:
    """The first certificate of a file, PEM or DER: a chain begins with its leaf."""
    from pkicode.x509 import pem

    data = octets(path, _CERTIFICATE_LIMIT)
    try:
        return pem.decode(data, "CERTIFICATE")[0] if b"-----BEGIN" in data else data
    except ValueError as error:
        raise PkicodeError(f"{path} holds no certificate: {error}", help="give one, PEM or DER") from error


def octets(path: Path, limit: int) -> bytes:
    """What a file holds, be it a stranger's: nothing that never ends."""
    if path.exists() and not path.is_file():
        raise PkicodeError(f"{path} is not a file", help="name a file, or an http URL")
    return at_most(path, limit)


def at_most(path: Path, limit: int) -> bytes:
    """What a file or a pipe holds: a shell hands out secrets by `<(...)`."""
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise PkicodeError(f"{path} has more than {limit:,} octets", help="it is not what was asked for")
    return data


def written(session: Session, name: Path, data: bytes, *, private: bool) -> None:
    """A new file, private from creation; an existing one is never overwritten: it might be somebody's only key."""
    path = session.path(name)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644)
    except FileExistsError as error:
        raise PkicodeError(f"{path} is there already", help="remove it, or name another file") from error
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        # The half of it would be in the way of the next try, and may be the half of a key.
        path.unlink(missing_ok=True)
        raise PkicodeError(f"{path}: {error.strerror}", help="make room, and run the command again") from error
    session.note(f"wrote {path}")


def addresses(context: click.Context, _option: click.Parameter, typed: str) -> list["CompletionItem"]:
    """Shell completion: the addresses of pki.toml, and with a `[` typed those of the inventory."""
    from click.shell_completion import CompletionItem

    from pkicode.ports import Want

    try:
        project = session_of(context.find_root().params).project()
        known = {f"{block.kind}.{block.name}" for block in project.config.blocks}
        if "[" in typed:
            known = set(project.facts(Want(), ("address",), lambda rows: [address for (address,) in rows]))
    except (PkicodeError, click.UsageError):
        # A shell that prints errors while one types is of no help.
        return []
    return [CompletionItem(name) for name in sorted(known) if name.startswith(typed)][:_COMPLETED]
