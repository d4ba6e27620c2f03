"""Commands on any CRL: show, check.  No project, no state, no keys."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pkicode.cli.files import FINDINGS
from pkicode.cli.options import certificate_der, formats, octets
from pkicode.cli.session import Session, now, say, say_json
from pkicode.model.problem import PkicodeError

if TYPE_CHECKING:
    from pkicode.revocation.check import Shown

_SECONDS = 30
_SERIAL = re.compile(r"(?:0[xX])?([0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{2}){0,19}|[0-9a-fA-F]{1,40})\Z")


@click.group("crl")
def crl_command() -> None:
    """Look at a revocation list, whoever made it."""


@crl_command.command("show")
@click.argument("source", metavar="FILE|URL")
@click.option("--full", is_flag=True, help="List every entry, not only the first few.")
@formats("human", "json")
@click.pass_obj
def crl_show(session: Session, *, source: str, full: bool, form: str) -> None:
    """What a CRL says: number, dates, issuer, scope, entries.  Nothing is verified; that is `crl check`."""
    from pkicode.views import crl

    shown = _shown(session, source)
    if form == "json":
        say_json(crl.document(shown))
    else:
        say(crl.human(shown, full=full))


@crl_command.command("check")
@click.argument("source", metavar="FILE|URL")
@click.option(
    "--issuer",
    metavar="CERT",
    type=click.Path(path_type=Path),
    required=True,
    help="Certificate of the CA, PEM or DER.",
)
@click.option(
    "--cert", metavar="CERT", type=click.Path(path_type=Path), help="The certificate to ask about, PEM or DER."
)
@click.option("--serial", metavar="HEX", help="Its serial number instead, as `inventory` prints it.")
@formats("human", "json")
@click.pass_obj
def crl_check(session: Session, *, source: str, issuer: Path, cert: Path | None, serial: str | None, form: str) -> int:
    """Whether a CRL is signed by a CA and in force, and whether a certificate is on it: exit 3 if anything is wrong."""
    from pkicode.revocation import check
    from pkicode.views import crl

    if cert and serial:
        raise click.UsageError("give --cert or --serial, not both")
    number = None if serial is None else _serial(serial)
    shown = _shown(session, source)
    ca, leaf = certificate_der(session.path(issuer)), certificate_der(session.path(cert)) if cert else None
    try:
        verdict = check.check(shown, ca, now=now(), serial=number, certificate=leaf)
    except ValueError as error:
        raise PkicodeError(f"a certificate cannot be read: {error}", help="give one certificate, PEM or DER") from error
    if form == "json":
        say_json(crl.judged(shown, verdict))
    else:
        say(crl.verdict_human(shown, verdict))
    return FINDINGS if verdict.findings or verdict.status == "revoked" else 0


def _shown(session: Session, source: str) -> "Shown":
    from pkicode.revocation.check import LIMIT, show

    if source.lower().startswith(("http://", "https://")):
        from pkicode.adapters.fetch import fetch

        data = fetch(source, limit=LIMIT, seconds=_SECONDS).data
    else:
        data = octets(session.path(Path(source)), LIMIT)
    try:
        return show(data)
    except ValueError as error:
        raise PkicodeError(f"{source}: {error}", help="give a CRL, PEM or DER") from error


def _serial(text: str) -> int:
    match = _SERIAL.match(text)
    if not match:
        raise click.UsageError(f"--serial {text}: write it in hexadecimal, as `pkicode inventory` does")
    return int(match[1].replace(":", ""), 16)
