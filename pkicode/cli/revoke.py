"""pkicode revoke: break-glass.  Revokes now, publishes it, and writes the [[revoke]] block back."""

import click

from pkicode.cli.options import addresses, allow_clock, allowing, formats, instant
from pkicode.cli.progress import progress
from pkicode.cli.session import Session, say, say_json
from pkicode.model.counted import counted
from pkicode.model.problem import PkicodeError
from pkicode.model.reason import REASONS


@click.command("revoke")
@click.argument("selector", shell_complete=addresses)
@click.option("--reason", required=True, metavar="REASON", help=f"One of {', '.join(REASONS)} (RFC 5280).")
@click.option("--id", "name", metavar="ID", help="The id of the entry; made of the selector and the time if not given.")
@click.option("--note", metavar="TEXT", default="", help="For people, in the file and in the audit.")
@click.option("--ca", metavar="NAME", help="With a serial number: who issued it.")
@click.option("--all-keys", is_flag=True, help="Every row of the fan-out is meant.")
@click.option("--compromised-at", metavar="WHEN", help="Since when, for invalidityDate in the CRL.")
@allowing
@allow_clock
@formats("human", "json")
@click.pass_obj
def revoke_command(
    session: Session,
    *,
    selector: str,
    reason: str,
    name: str | None,
    note: str,
    ca: str | None,
    all_keys: bool,
    compromised_at: str | None,
    allow: dict[str, str],
    allow_clock: bool,
    form: str,
) -> int:
    """Revoke now, publish the CRLs, and write the block into pki.toml.  It cannot be taken back.

    SELECTOR is an address (cert.portal, cert.portal@2, ca.issuing@1), a serial number in hexadecimal, or spki:SHA256.
    """
    from pkicode.project.breakglass import Asked
    from pkicode.views.text import printable

    project = session.writable(allow_clock=allow_clock)
    since = instant(project, compromised_at) if compromised_at else None
    asked = Asked(selector, reason, id=name, note=note, ca=ca, all_keys=all_keys, compromised_at=since)
    with progress(session) as emit:
        done = project.revoke(asked, allow=allow, emit=emit)
    if form == "json":
        told = {"id": done.entry.id, "revoked": list(done.addresses), "written_to": str(done.written_to or "")}
        say_json({"format": "pkicode.revoked", "version": "1.0", **told, "counts": dict(done.counts)})
    else:
        lists = done.counts.get("sign", 0)
        fresh = ", ".join(one for one in done.addresses if one not in done.already)
        before = ", ".join(done.already)
        kept = f"{before} already before, with the first date and reason" if before else ""
        what = "; ".join(filter(None, (fresh, kept))) or "nothing yet; the key is block-listed"
        say(printable(f"Revoked: {what}.   {counted(lists, 'list')} signed."))
    if done.problems:
        raise PkicodeError(
            f"revoked, but not everything was published: {done.problems[0].message}",
            help="mend that and run `pkicode apply`; the revocation itself is durable",
        )
    if done.written_to is None:
        raise PkicodeError(f"revoked and published, but {done.why_not}\n{done.block}", help="add the block by hand")
    session.note(f"wrote the entry {done.entry.id} into {done.written_to}; commit it")
    return 0
