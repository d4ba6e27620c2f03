"""Commands on the state store: state, audit.  Repair is by backup; nothing here edits rows."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pkicode.cli.options import allow_clock, confirm, formats
from pkicode.cli.session import Session, say, say_json
from pkicode.model.counted import counted
from pkicode.model.instants import rfc3339
from pkicode.model.problem import PkicodeError
from pkicode.views.table import listing, table
from pkicode.views.text import printable

if TYPE_CHECKING:
    from pkicode.project.adopting import Adoption

_SHOWN = 20
"""Certificates that are named one by one."""


@click.group("state")
def state_command() -> None:
    """What pkicode remembers."""


@state_command.command("info")
@formats("human", "json")
@click.pass_obj
def state_info(session: Session, *, form: str) -> None:
    """Whose state it is, where it is, how much is in it, and which leases are held."""
    facts = session.project().upkeep.info()
    about = facts.about
    told = {
        "path": facts.place,
        "project": about.project,
        "env": about.env,
        "lineage": about.lineage,
        "schema": about.schema,
        "sequence": about.sequence,
        "head": about.head,
        "newest": rfc3339(about.newest) if about.newest else None,
    }
    if form == "json":
        say_json({**told, "writing": list(facts.writing), "counts": dict(facts.counts)})
    else:
        told["writing"] = ", ".join(facts.writing) or "nobody"
        say(listing((name, str(value)) for name, value in {**told, **facts.counts}.items() if value is not None))


@state_command.command("verify")
@formats("human", "json")
@click.pass_obj
def state_verify(session: Session, *, form: str) -> int:
    """Check the database, its hash chain, and every certificate against the issuance journal."""
    return _findings(session.project().upkeep.verify(), form, sound="The state is sound.")


@state_command.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def state_backup(session: Session, *, file: Path) -> None:
    """Copy the state, consistent while others write.  Keystore and journal are not in it: copy them as well."""
    session.project().upkeep.backup(session.path(file))
    say(printable(f"State copied to {session.path(file)}; keystore and journal are files of their own, copy them too."))


@state_command.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@allow_clock
@click.pass_obj
def state_restore(session: Session, *, file: Path, allow_clock: bool) -> None:
    """Put a backup in place, unless that would lose a certificate, a revocation or a CRL number."""
    upkeep = session.writable(allow_clock=allow_clock).upkeep
    upkeep.restore(session.path(file))
    say(printable(f"State restored from {session.path(file)}."))
    if found := upkeep.verify():
        told = f"it does not agree with what lies beside it: {found[0]}"
        more = f" (and {len(found) - 1:,} more)" if len(found) > 1 else ""
        mend = "look at `pkicode state verify`; `pkicode state adopt` records what only the journal knows"
        click.echo(printable(f"warning: {told}{more}; {mend}"), err=True)


@state_command.command("adopt")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say what would be recorded.")
@allow_clock
@formats("human", "json")
@click.pass_obj
def state_adopt(session: Session, *, yes: bool, dry_run: bool, allow_clock: bool, form: str) -> None:
    """Record the certificates that only the issuance journal knows, after an older state was put back.

    They can be revoked then, and no number is used again; apply issues others in their place.  A newer backup knows
    more.  What published lists say is revoked is recorded too.
    """
    upkeep = session.writable(allow_clock=allow_clock or dry_run).upkeep
    if form == "human" or dry_run:
        going = upkeep.adoptable()
        if form == "human":
            say(_adoption(going, full=session.verbose))
        if dry_run or (form == "human" and going.is_empty):
            if form == "json":
                say_json(_told(going))
            return
    if not yes:
        confirm("Record this?", "give -y, or look with --dry-run")
    done = upkeep.adopt()
    if form == "json":
        say_json(_told(done))
    else:
        say("Recorded.  `pkicode plan` says what apply would do now.")


def _adoption(going: "Adoption", *, full: bool) -> str:
    """What the journal brings, for people."""
    if going.is_empty:
        return "Nothing to record: the state knows every certificate in the journal that its CAs signed."
    shown = going.certificates if full else going.certificates[:_SHOWN]
    rows = [
        (f"{one.address}@{one.generation}", one.serial, rfc3339(one.not_after), ", ".join(json.loads(one.sans)))
        for one in shown
    ]
    told = [f"Only the journal knows {counted(len(going.certificates), 'certificate')} of this state:"] if rows else []
    told += [table(("address", "serial_number", "not_after", "names"), rows).rstrip()] if rows else []
    if more := len(going.certificates) - len(shown):
        told.append(f"and {more:,} more (-v before the command shows all)")
    told += [f"{one.at} goes on: its key is at hand." for one in going.going_on]
    told += [
        f"{one.address}@{one.generation} does not: its key, or its name in pki.toml, is another."
        f"  What it signed can be revoked only with it, by serial {one.serial}."
        for one in going.keyless
    ]
    if going.revocations:
        told.append(f"Published lists revoke {counted(len(going.revocations), 'certificate')} of these: recorded too.")
    told += [f"A published list revokes {one}: declare it in [[revoke]]." for one in going.revoked_cas]
    return "\n".join(told)


def _told(going: "Adoption") -> dict[str, object]:
    """The same for scripts."""
    return {
        "certificates": [
            {
                "address": one.address,
                "generation": one.generation,
                "ca": f"{one.ca}@{one.ca_generation}" if one.ca else None,
                "serial_number": one.serial,
                "not_after": rfc3339(one.not_after),
                "sans": json.loads(one.sans),
            }
            for one in going.certificates
        ],
        "going_on": [one.at for one in going.going_on],
        "keyless": [one.serial for one in going.keyless],
        "revoked": [one.serial for one in going.revocations],
        "revoked_cas": list(going.revoked_cas),
    }


@state_command.command("migrate")
@click.pass_obj
def state_migrate(session: Session) -> None:
    """Make the state, or bring it up to what this pkicode needs; in PostgreSQL as the role that owns the tables."""
    before, after = session.project().upkeep.migrate()
    said = "was there already" if before == after else f"brought up from {before}" if before else "made"
    say(f"The state has schema {after}: {said}.")


@state_command.command("roles")
@click.pass_obj
def state_roles(session: Session) -> None:
    """Print the SQL that makes the PostgreSQL roles of planner, applier and responder, for psql."""
    say(session.project().upkeep.roles())


@state_command.command("copy")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@allow_clock
@click.pass_obj
def state_copy(session: Session, *, source: str, target: str, allow_clock: bool) -> None:
    """Carry the state from one [state] url to another where none is, and compare every row on arrival.

    Nothing is removed: write TO into pki.toml, and move the old state away.
    """
    session.writable(allow_clock=allow_clock).upkeep.copy(source, target)
    say(
        printable(f"State copied to {target}.  Write it into [state] url, and move the old one away: it would live on.")
    )


@state_command.command("prune")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say what would be moved.")
@allow_clock
@formats("human", "json")
@click.pass_obj
def state_prune(session: Session, *, yes: bool, dry_run: bool, allow_clock: bool, form: str) -> None:
    """Move certificates that ended longer ago than [state] keep says from the inventory into an archive (Parquet).

    What is managed now, or a CRL still lists, stays.  In PostgreSQL only the role that owns the tables may.
    """
    from pkicode.cli.progress import progress
    from pkicode.project.retention import Removable

    def told(going: Removable, files: Sequence[Path]) -> None:
        if form == "json":
            counts = {"certificates": len(going.ids), "statuses": dict(sorted(going.statuses.items()))}
            say_json({"ended_before": rfc3339(going.before), **counts, "archives": [str(one) for one in files]})
        elif files:
            say(printable(f"Archived in {', '.join(str(one) for one in files)}: copy it to where your backups are."))

    upkeep = session.writable(allow_clock=allow_clock or dry_run).upkeep
    if form == "human" or dry_run:
        going = upkeep.removable()
        if form == "human":
            say(_going(going.statuses, rfc3339(going.before)))
        if dry_run or (form == "human" and not going.ids):
            told(going, ())
            return
    if not yes:
        confirm("Move them into an archive?", "give -y, or look with --dry-run")
    with progress(session) as emit:
        told(*upkeep.prune(emit))


def _going(statuses: Mapping[str, int], before: str) -> str:
    """What leaves the inventory, in a sentence."""
    if not statuses:
        return f"Nothing to move: whatever ended before {before} is archived, or still needed."
    counts = ", ".join(f"{count:,} {status}" for status, count in sorted(statuses.items()))
    return f"To move, ended before {before} and needed by nothing: {counts}."


@state_command.group("lock")
def state_lock() -> None:
    """Who may write."""


@state_lock.command("show")
@formats("human", "json")
@click.pass_obj
def state_lock_show(session: Session, *, form: str) -> None:
    """The leases that are held, and what each of them guards."""
    from pkicode.project.leases import guards

    fields = ("name", "guards", "holder", "host", "pid", "epoch", "heartbeat", "expires")
    told = [
        {
            **{name: getattr(lease, name) for name in fields if name != "guards"},
            "guards": guards(lease.name),
            "heartbeat": rfc3339(lease.heartbeat),
            "expires": rfc3339(lease.expires),
        }
        for lease in session.project().upkeep.leases()
    ]
    if form == "json":
        say_json(told)
    elif told:
        say(table(fields, [[str(one[name]) for name in fields] for one in told]))
    else:
        say("No lease is held.")


@state_lock.command("break")
@click.argument("name", default="project")
@allow_clock
@click.pass_obj
def state_lock_break(session: Session, *, name: str, allow_clock: bool) -> None:
    """Take a lease away from a holder that is gone; whoever it was can commit nothing any more."""
    lease = session.writable(allow_clock=allow_clock).upkeep.break_lease(name)
    if lease is None:
        raise PkicodeError(
            f"nobody holds the lease `{name}`", help="`pkicode state lock show` lists those that are held"
        )
    say(printable(f"Lease {name} taken from {lease.holder} on {lease.host}."))


@click.group("audit")
def audit_command() -> None:
    """The hash-chained record of everything done."""


@audit_command.command("log")
@click.option("--after", type=click.IntRange(min=0), default=0, help="Only events after this sequence number.")
@click.option("--limit", type=click.IntRange(min=1), default=1000, show_default=True, help="At most so many.")
@formats("human", "json")
@click.pass_obj
def audit_log(session: Session, *, after: int, limit: int, form: str) -> None:
    """What was done, oldest first."""
    fields = ("sequence", "at", "actor", "action", "subject", "detail", "hash")
    events = session.project().upkeep.audit(after, limit)
    told = [{**{name: getattr(event, name) for name in fields}, "at": rfc3339(event.at)} for event in events]
    if form == "json":
        say_json([{**one, "detail": json.loads(one["detail"])} for one in told])
    else:
        shown = fields[:5]
        say(table(shown, [[str(one[name]) for name in shown] for one in told]))


@audit_command.command("verify")
@formats("human", "json")
@click.pass_obj
def audit_verify(session: Session, *, form: str) -> int:
    """Recompute the hash chain."""
    return _findings(session.project().upkeep.verify_audit(), form, sound="The audit chain is unbroken.")


def _findings(found: Sequence[str], form: str, *, sound: str) -> int:
    if form == "json":
        say_json({"sound": not found, "findings": list(found)})
        return int(bool(found))
    if not found:
        say(sound)
        return 0
    for finding in found:
        say(printable(finding))
    raise PkicodeError(
        counted(len(found), "finding"),
        help="apply nothing; bring back what is missing: a copy of the journal, or `pkicode state restore`; "
        "`pkicode state adopt` records what only the journal knows",
    )
