"""pkicode approve: an approver's signature over a saved plan.  Needs pki.toml and the plan; no state, no keystore."""

from pathlib import Path

import click

from pkicode.cli.options import at_most, confirm, secret, written
from pkicode.cli.plan import rendered
from pkicode.cli.session import Session, say
from pkicode.model.instants import rfc3339
from pkicode.model.problem import PkicodeError


@click.command("approve")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--key", metavar="KEY", type=click.Path(path_type=Path), required=True, help="The approver's private key, PEM."
)
@click.option(
    "--passphrase-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Its first line opens the key; asked for if absent and the key is enciphered.",
)
@click.option("--out", metavar="APPROVAL", type=click.Path(path_type=Path), help="FILE.approval if not given.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def approve_command(
    session: Session, *, file: Path, key: Path, passphrase_file: Path | None, out: Path | None, yes: bool
) -> None:
    """Show the plan in FILE, and sign its name with the key of an [approver.X]."""
    from pkicode.plan import approval
    from pkicode.project.approving import SUFFIX, approve
    from pkicode.views.saved import plan_of

    project = session.project()
    saved = project.load(session.path(file))
    out = out or file.with_name(file.name + SUFFIX)
    if session.path(out).exists():
        raise PkicodeError(f"{out} is there already", help="remove it, or name another file")
    say(rendered(session, plan_of(saved.document), full=True))
    if not yes:
        confirm("Approve this plan?", "give -y")
    pem = at_most(session.path(key), approval.LIMIT)
    is_sealed = b"ENCRYPTED" in pem
    passphrase = secret(session, passphrase_file, "Passphrase of the key", is_new=False) if is_sealed else None
    made = approve(saved, approval.private_key(pem, passphrase), project.config, now=project.clock())
    written(session, out, made.encode(), private=False)
    say(f"Approved by {made.approver} until {rfc3339(made.expires_at)}.")
