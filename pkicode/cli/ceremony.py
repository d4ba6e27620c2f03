"""Ceremonies: what an offline key is to sign, carried there and back (docs/explanation/ceremony.md).

`init` and `sign` run on the machine that has the keys, without pki.toml; `export` and `import` where the project is.
"""

import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from attrs import frozen

from pkicode.cli.options import allow_clock, formats, gathering, instant, secret, written
from pkicode.cli.progress import progress
from pkicode.cli.session import Session, frozen_clock, say, say_json
from pkicode.model.instants import rfc3339
from pkicode.model.problem import PkicodeError

if TYPE_CHECKING:
    from pkicode.config.language import Secret
    from pkicode.project.offline import Offline


@click.group("ceremony")
def ceremony_command() -> None:
    """Sign with keys that are on another machine."""


@frozen
class _Keys:
    """Where the keys are: in a file, or on a token."""

    keystore: Path | None
    passphrase_file: Path | None
    token: str | None
    module: Path | None
    pin_file: Path | None
    pin_env: str | None
    pin_command: str | None
    key: tuple[str, ...]

    def opened(self, session: Session) -> "Offline":
        """Raises PkicodeError: neither is named, or both, or an option belongs to the other."""
        from pkicode.project.offline import Offline, on_token, sealed

        of_token = {
            "--module": self.module,
            "--pin-file": self.pin_file,
            "--pin-env": self.pin_env,
            "--pin-command": self.pin_command,
            "--key": self.key,
        }
        of_other = of_token if self.keystore else {"--passphrase-file": self.passphrase_file}
        if (self.keystore is None) == (self.token is None):
            raise PkicodeError("one place has the keys: --keystore FILE or --token URI", help="name one of them")
        if strange := [name for name, value in of_other.items() if value]:
            owner = "--token" if self.keystore else "--keystore"
            raise PkicodeError(f"{strange[0]} belongs to {owner}", help="leave it out")
        if self.keystore:
            path, file = session.path(self.keystore), self.passphrase_file
            return Offline(sealed(path, lambda: secret(session, file, "Passphrase", is_new=not path.exists())))
        folder = session.path(Path())
        return Offline(
            on_token(
                self.token or "", self.module, self._pin(session), self._adopted(), root=folder, environ=os.environ
            )
        )

    def _pin(self, session: Session) -> "Secret | Callable[[], bytes]":
        from pkicode.config.language import Secret

        said = [one for one in (self.pin_file, self.pin_env, self.pin_command) if one is not None]
        if len(said) > 1:
            raise PkicodeError("the PIN comes from one place", help="name one of --pin-file --pin-env --pin-command")
        if not said:
            return lambda: secret(session, None, "PIN", is_new=False)
        try:
            command = tuple(shlex.split(self.pin_command)) if self.pin_command else None
        except ValueError as error:
            raise PkicodeError(f"--pin-command is no command: {error}", help="quote it as for a shell") from error
        return Secret(file=str(self.pin_file) if self.pin_file else None, env=self.pin_env, command=command)

    def _adopted(self) -> dict[str, str]:
        found = {}
        for one in self.key:
            label, equals, uri = one.partition("=")
            if not equals:
                raise PkicodeError(f"`--key {one}` names no key", help="--key ca.root@1=pkcs11:object=Old%20Root")
            found[label] = uri
        return found


_ENTRIES_SHOWN = 20
"""Of a list, before it is signed: what else it says stays on the screen. `ceremony show` shows all."""
_FILE = click.Path(path_type=Path)
_where_the_keys_are = gathering(
    _Keys,
    "keys",
    click.option("--keystore", metavar="FILE", type=_FILE, help="The sealed file of keys."),
    click.option("--passphrase-file", metavar="FILE", type=_FILE, help="Its first line; asked for if absent."),
    click.option("--token", metavar="URI", help="Or the token that has them, such as pkcs11:token=vault (RFC 7512)."),
    click.option("--module", metavar="FILE", type=_FILE, help="The library that speaks for the token."),
    click.option("--pin-file", metavar="FILE", type=_FILE, help="Its first line is the PIN; asked for if absent."),
    click.option("--pin-env", metavar="NAME", help="Or this environment variable."),
    click.option("--pin-command", metavar="COMMAND", help="Or the first line that this prints."),
    click.option("--key", metavar="LABEL=URI", multiple=True, help="A key that has another name on the token."),
)


@ceremony_command.command("init")
@click.argument("label")
@click.option("--alg", metavar="ALG", default="ec-p384", show_default=True, help="As `key.alg` of the CA.")
@_where_the_keys_are
@click.option("--out", metavar="CARD", type=click.Path(path_type=Path), help="LABEL.csr if not given.")
@click.pass_obj
def ceremony_init(session: Session, *, label: str, alg: str, keys: _Keys, out: Path | None) -> None:
    """Make a key such as ca.root@1 on this machine, and the card that goes to the project."""
    written(session, out or Path(f"{label}.csr"), keys.opened(session).init(label, alg), private=False)
    place = f"in {keys.keystore}" if keys.keystore else "on the token"
    say(f"The key {label} is {place}. Its card goes into the folder of the offline keystore of the project.")


@ceremony_command.command("export")
@click.argument("request", type=click.Path(path_type=Path))
@click.pass_obj
def ceremony_export(session: Session, *, request: Path) -> None:
    """Write everything that waits for an offline key into a new file, and show its words."""
    from pkicode.ceremony.bundle import encode

    made = session.project().ceremonies.export()
    written(session, request, encode(made), private=False)
    say("".join(f"{one.kind:<12} {one.address}@{one.generation}  by {one.issuer}\n" for one in made.items))
    say(f"to be back by {rfc3339(made.expires)}")
    say(f"words: {made.words}")


@ceremony_command.command("show")
@click.argument("request", type=click.Path(path_type=Path))
@formats("human", "json")
@click.pass_obj
def ceremony_show(session: Session, *, request: Path, form: str) -> None:
    """Everything that a request would have signed, every entry of its lists; needs no key and no project."""
    from pkicode.ceremony.bundle import decode_request
    from pkicode.project.offline import check, records, transcript

    asked = decode_request(_carried(session, request))
    check(asked)
    if form == "json":
        say_json(records(asked))
    else:
        say(_lines(transcript(asked)))


@ceremony_command.command("sign")
@click.argument("request", type=click.Path(path_type=Path))
@_where_the_keys_are
@click.option("--out", metavar="RESPONSE", type=click.Path(path_type=Path), required=True, help="A new file.")
@click.option("--words", metavar="WORDS", help="Those that export showed; asked for if not given.")
@allow_clock
@click.pass_obj
def ceremony_sign(
    session: Session,
    *,
    request: Path,
    keys: _Keys,
    out: Path,
    words: str | None,
    allow_clock: bool,
) -> None:
    """Show a request, and once its words are given sign exactly these bytes; RESPONSE.txt is the transcript."""
    from pkicode.ceremony.bundle import decode_request, encode
    from pkicode.project.offline import check, check_clock, transcript

    frozen = frozen_clock()
    now = int(time.time()) if frozen is None else frozen
    asked = decode_request(_carried(session, request))
    if not allow_clock:
        check_clock(asked, now)
    check(asked)
    _refuse_there(session, out)
    say(_lines(transcript(asked, most=_ENTRIES_SHOWN)))
    _agree(asked.words, words)
    response = keys.opened(session).answer(asked, now)
    written(session, _transcript(out), _lines(transcript(asked, response)).encode(), private=False)
    written(session, out, encode(response), private=False)
    say(f"Signed: {len(response.signatures)}.")


def _carried(session: Session, name: Path) -> bytes:
    """Of a file that somebody brought, as much as shows that it is too large; of a FIFO, nothing."""
    from pkicode.ceremony.bundle import LIMIT

    with open(session.path(name), "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
        return file.read(LIMIT + 1)


def _refuse_there(session: Session, out: Path) -> None:
    """Before anything is signed: a signature that cannot be written down was given away for nothing."""
    for path in (out, _transcript(out)):
        if session.path(path).exists():
            raise PkicodeError(f"{path} is there already", help="remove it, or name another file")


def _transcript(out: Path) -> Path:
    return out.with_name(f"{out.name}.txt")


def _lines(lines: list[str]) -> str:
    from pkicode.views.text import printable

    return "".join(f"{printable(line)}\n" for line in lines)


def _agree(words: str, given: str | None) -> None:
    """The words travelled by another way than the file."""
    typed = click.prompt("The words that export showed", err=True) if given is None else given
    if typed.lower().split() != words.split():
        raise PkicodeError(
            "these are not the words of this request; nothing was signed",
            help="compare them with those that export showed: if the file is another one, ask who had it in between",
        )


@ceremony_command.command("import")
@click.argument("response", type=click.Path(path_type=Path))
@allow_clock
@click.pass_obj
def ceremony_import(session: Session, *, response: Path, allow_clock: bool) -> None:
    """Take back what was signed: all of it, or nothing."""
    from pkicode.ceremony.bundle import decode_response

    project = session.writable(allow_clock=allow_clock)
    answer = decode_response(_carried(session, response))
    with progress(session) as emit:
        received = project.ceremonies.receive(answer, emit)
    for one in (*received.certificates, *received.lists):
        say(f"imported {one}")
    say("Apply goes on from here.")


@ceremony_command.command("rehearse")
@click.option("--at", metavar="WHEN", help="Play what is due then, too: 2031-01-11, an RFC 3339 time, or +5y.")
@click.option("--rollover", metavar="CA", multiple=True, help="And the next key generation of this CA, at that time.")
@click.pass_obj
def ceremony_rehearse(session: Session, *, at: str | None, rollover: tuple[str, ...]) -> None:
    """Play the making of all CAs, both machines, in a folder that goes away; says what the real one asks for.

    With --rollover it goes on from the day on which the CAs of this project were made to --at, or else to today.
    """
    from tempfile import TemporaryDirectory

    from pkicode.project.rehearsal import begins, rehearse
    from pkicode.views.text import printable

    project = session.project()
    names = [name.removeprefix("ca.") for name in rollover]
    now = begins(project) if at or rollover else project.clock()
    then = instant(project, at) if at else project.clock() if rollover else None
    with TemporaryDirectory(prefix="pkicode-") as folder:
        rounds = rehearse(project.config, Path(folder), now, lambda line: say(printable(line)), at=then, rollover=names)
    say(f"Rehearsed: {rounds} ceremon{'y' if rounds == 1 else 'ies'}, with keys that are gone; nothing was changed.")
