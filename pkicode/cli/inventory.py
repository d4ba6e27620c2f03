"""Commands on what was signed: inventory, export."""

import json
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pkicode.cli.options import addresses, allow_clock, formats, secret, written
from pkicode.cli.session import Session, say, say_json
from pkicode.model.problem import PkicodeError
from pkicode.ports import SEEN_AS, Want
from pkicode.views.inventory import COLUMNS, FIELDS, SHOWN, Facts, Record, cells, records

if TYPE_CHECKING:
    from pkicode.project import Project

_AT_ONCE = 1000
"""Certificates that are made into text at once."""


@click.command("inventory")
@click.option("--ca", metavar="NAME", help="Signed by this [ca.X].")
@click.option("--status", "statuses", type=click.Choice(SEEN_AS), multiple=True, help="As relying parties see it.")
@click.option("--expiring", metavar="WITHIN", help="Valid now, and not any more after this long: 30d.")
@formats("table", "json", "csv")
@click.pass_obj
def inventory_command(
    session: Session, *, ca: str | None, statuses: tuple[str, ...], expiring: str | None, form: str
) -> None:
    """Every certificate ever signed, whoever asked for it."""
    from pkicode.config.named import bare
    from pkicode.views.table import table

    project = session.project()
    now = project.clock()
    until = None if expiring is None else now + _duration(expiring)
    name = bare(ca) if ca else None
    want = Want(
        ca=name, expiring_before=until, unexpired_at=None if until is None else now, seen_as=statuses, seen_at=now
    )
    if form == "table" or (form == "json" and sys.stdout.isatty()):
        found: list[Record] = project.facts(want, FIELDS, lambda rows: [*records(rows, now=now)])
        if form == "table":
            say(table(SHOWN, cells(found, SHOWN)))
        else:
            say_json(found)
        return
    _piped(project, want, now, is_json=form == "json")


def _piped(project: "Project", want: Want, now: int, *, is_json: bool) -> None:
    """Written while it is read: what goes into a file may be a million."""
    from pkicode.views.table import csv_text

    written = 0

    def write(rows: Iterable[Facts]) -> list[None]:
        nonlocal written
        found = records(rows, now=now)
        while some := [*islice(found, _AT_ONCE)]:
            if is_json:
                text = (", " if written else "[") + ", ".join(map(json.dumps, some))
            else:
                text = csv_text(() if written else COLUMNS, cells(some))
            click.echo(text, nl=False)
            written += len(some)
        return []

    project.facts(want, FIELDS, write)
    if is_json:
        click.echo("]" if written else "[]")
    elif not written:
        click.echo(csv_text(COLUMNS, ()), nl=False)


def _duration(text: str) -> int:
    from pkicode.model.instants import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.UsageError(f"--expiring: {error}") from error


@click.command("export")
@click.argument("address", shell_complete=addresses)
@click.option("--chain", metavar="FILE", type=click.Path(path_type=Path), help="PEM, leaf first, no root.")
@click.option("--key", metavar="FILE", type=click.Path(path_type=Path), help="PKCS#8 PEM, unencrypted, mode 0600.")
@click.option("--p12", metavar="FILE", type=click.Path(path_type=Path), help="PKCS#12, mode 0600.")
@click.option(
    "--p12-password-file", metavar="FILE", type=click.Path(path_type=Path), help="Its first line; asked for if absent."
)
@allow_clock
@click.pass_obj
def export_command(
    session: Session,
    *,
    address: str,
    chain: Path | None,
    key: Path | None,
    p12: Path | None,
    p12_password_file: Path | None,
    allow_clock: bool,
) -> None:
    """Write a certificate's chain and key to files; without any option, the chain to stdout."""
    from pkicode.x509 import pem

    exported = session.writable(allow_clock=allow_clock).export(address, with_key=bool(key or p12))
    if not (chain or key or p12):
        say(exported.chain_pem.decode("ascii"))
        return
    if chain:
        written(session, chain, exported.chain_pem, private=False)
    if key and exported.key_pkcs8:
        written(session, key, pem.encode("PRIVATE KEY", exported.key_pkcs8), private=True)
    if p12 and exported.key_pkcs8:
        data = _p12(
            exported.chain_pem,
            exported.key_pkcs8,
            address,
            secret(session, p12_password_file, "Password of the PKCS#12 file"),
        )
        written(session, p12, data, private=True)


def _p12(chain_pem: bytes, key_pkcs8: bytes, address: str, password: bytes) -> bytes:
    from pkicode.x509 import pem
    from pkicode.x509.pkcs12 import pkcs12

    leaf, *issuers = pem.decode(chain_pem, "CERTIFICATE")
    try:
        return pkcs12(key_pkcs8, leaf, tuple(issuers), password, address)
    except ValueError as error:
        raise PkicodeError(str(error), help="give a password") from error
