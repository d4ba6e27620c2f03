"""Commands on keystores.  Key material is never printed; export writes it to files that are asked for."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pkicode.cli.options import allow_clock, confirm, formats, secret
from pkicode.cli.session import Session, say, say_json
from pkicode.model.counted import counted
from pkicode.model.problem import PkicodeError
from pkicode.views.text import printable

if TYPE_CHECKING:
    from pkicode.project import Project


_OPTION = "give --keystore NAME"


@click.group("keystore")
def keystore_command() -> None:
    """Where private keys live."""


@keystore_command.command("list")
@click.argument("name", required=False)
@formats("human", "json")
@click.pass_obj
def keystore_list(session: Session, *, name: str | None, form: str) -> None:
    """The keys, and whether the state needs them; needs neither passphrase nor PIN."""
    from pkicode.views.keys import human, records

    project = session.project()
    found = project.upkeep.keys(_named(project, name))
    if form == "json":
        say_json(records(found))
    else:
        say(human(found))


@keystore_command.command("destroy")
@click.argument("labels", metavar="LABEL...", nargs=-1, required=True)
@click.option("--keystore", "name", metavar="NAME", help="The [keystore.NAME]; the only one if not given.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@allow_clock
@click.pass_obj
def keystore_destroy(
    session: Session, *, labels: tuple[str, ...], name: str | None, yes: bool, allow_clock: bool
) -> None:
    """Destroy keys for ever that `keystore list` calls removable; others are refused."""
    project = session.writable(allow_clock=allow_clock)
    name = _named(project, name, _OPTION)
    if not yes:
        confirm(f"Destroy {', '.join(map(printable, labels))} for ever?", "give -y")
    project.upkeep.destroy_keys(name, labels)
    say(f"Destroyed: {len(set(labels))}.")


@keystore_command.command("info")
@click.argument("name", required=False)
@formats("human", "json")
@click.pass_obj
def keystore_info(session: Session, *, name: str | None, form: str) -> None:
    """Which file, token or command it is, and how it is; needs neither passphrase nor PIN."""
    project = session.project()
    name = _named(project, name)
    kind = next(one.type for one in project.config.settings.keystores if one.name == name)
    facts = {"type": kind, **project.upkeep.key_facts(name)}
    if form == "json":
        say_json(facts)
    else:
        say("".join(f"{word:<9} {printable(text)}\n" for word, text in facts.items()))


@keystore_command.command("verify")
@click.argument("name", required=False)
@click.pass_obj
def keystore_verify(session: Session, *, name: str | None) -> None:
    """Open every key, or let it sign where it never leaves, and compare it with its public half."""
    project = session.project()
    name = _named(project, name)
    found = project.upkeep.verify_keys(name)
    for finding in found:
        say(printable(finding))
    if found:
        mend = "put a backup in place of a damaged file; docs/how-to/pkcs11.md has the mends of a token"
        raise PkicodeError(f"keystore {name} is not as it should be", help=mend)
    if _is_offline(project, name):
        say(f"Every card of keystore {name} is signed by its key.  The keys are elsewhere, and were not tried.")
    else:
        say(f"Every key of keystore {name} opens.")


@keystore_command.command("attest")
@click.argument("name", required=False)
@formats("human", "json")
@click.pass_obj
def keystore_attest(session: Session, *, name: str | None, form: str) -> None:
    """What a token says of each key: whether it was made there, is sensitive, and could ever leave; needs the PIN."""
    from attrs import asdict

    from pkicode.views.keys import attested_human

    project = session.project()
    found = project.upkeep.attest_keys(_named(project, name))
    if form == "json":
        say_json([asdict(one) for one in found])
    else:
        say(attested_human(found))


@keystore_command.command("rewrap")
@click.argument("name", required=False)
@click.option(
    "--new-passphrase-file",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Its first line; asked for if absent.",
)
@allow_clock
@click.pass_obj
def keystore_rewrap(session: Session, *, name: str | None, file: Path | None, allow_clock: bool) -> None:
    """Change the passphrase.  The source named in pki.toml gives the old one now, and the new one from then on."""
    project = session.writable(allow_clock=allow_clock)
    name = _sealed(project, name, "give its name")
    passphrase = secret(session, file, "New passphrase")
    if not passphrase:
        raise PkicodeError("the new passphrase is empty", help="a sealed file under an empty passphrase is not sealed")
    project.upkeep.rewrap(name, passphrase)
    say(f"Keystore {name} is sealed with the new passphrase; change its source now.")


@keystore_command.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--keystore", "name", metavar="NAME", help="The [keystore.NAME]; the only sealed file if not given.")
@click.pass_obj
def keystore_backup(session: Session, *, file: Path, name: str | None) -> None:
    """Copy a sealed keystore while others may write, and open every key of the copy.  It stays sealed."""
    project = session.project()
    count = project.upkeep.backup_keys(_sealed(project, name), session.path(file))
    say(printable(f"Copied to {session.path(file)}, and opened: {counted(count, 'key')}."))


@keystore_command.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--keystore", "name", metavar="NAME", help="The [keystore.NAME]; the only sealed file if not given.")
@allow_clock
@click.pass_obj
def keystore_restore(session: Session, *, file: Path, name: str | None, allow_clock: bool) -> None:
    """Put a backup in place once each of its keys was opened, unless it lacks a key that is there."""
    project = session.writable(allow_clock=allow_clock)
    count, aside = project.upkeep.restore_keys(_sealed(project, name), session.path(file))
    kept = f"; what was there before is kept in {aside}" if aside else ""
    say(printable(f"Restored from {session.path(file)}: {counted(count, 'key')}{kept}."))


def _named(project: "Project", name: str | None, mend: str = "give its name") -> str:
    names = [one.name for one in project.config.settings.keystores]
    if name is None and len(names) == 1:
        return names[0]
    if name in names:
        return name
    what = f"there is no keystore {name}" if name else f"there are several keystores: {mend}"
    raise click.UsageError(f"{what}; declared: {', '.join(names) or 'none'}")


def _sealed(project: "Project", name: str | None, mend: str = _OPTION) -> str:
    """The one that is named, else the only one that is a file to be copied."""
    types = {one.name: one.type for one in project.config.settings.keystores}
    files = [one.name for one in project.config.settings.keystores if one.type == "file" and not one.offline]
    found = files[0] if name is None and len(files) == 1 else _named(project, name, mend)
    if types[found] != "file":
        raise PkicodeError(
            f"[keystore.{found}] is no sealed file: it is of type {types[found]}",
            help="a token has its own tools, for its PIN and for copies",
        )
    return found


def _is_offline(project: "Project", name: str) -> bool:
    return any(one.offline for one in project.config.settings.keystores if one.name == name)
