"""Whether a state is behind its journal: an older copy was put back, and certificates are out that it cannot revoke.

Asked before every apply, by plan and by status, so only the end of the journal is looked at.  What lies before a
certificate that the state knows is told by `state verify`; adopting.py mends it.
"""

import asyncio
import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice, repeat

from cryptography import x509

from pkicode.adapters.journal import DamagedJournal, Journal, Journalled, told
from pkicode.kinds.authority import from_record
from pkicode.model.instants import from_datetime
from pkicode.model.problem import Problem, StateError
from pkicode.ports import CertificateStatus, Store, Want
from pkicode.x509 import der
from pkicode.x509.descent import named, signer
from pkicode.x509.keys import digest
from pkicode.x509.tbs import IssuerFacts, facts_of

_Line = tuple[bytes, str, Sequence[str]]
"""A certificate, its serial number, and the keys of the CAs that it may name as its issuer."""
_AT_ONCE = 250
_HELP = "`pkicode state restore` a newer backup; where there is none, `pkicode state adopt` records what is not known"


async def warnings(journal: Journal, store: Store) -> tuple[Problem, ...]:
    """As a plan says it; nothing where whoever plans has no journal, or no leave to read it."""
    if not os.access(journal.path, os.R_OK):
        return ()
    try:
        await refuse(journal, store)
    except StateError as error:
        return (Problem("W0502", f"apply refuses: {error.message}", help=error.help),)
    return ()


async def refuse(journal: Journal, store: Store) -> None:
    """Before anything is signed: look for the newest certificate that the state's CAs signed and it does not know.

    Raises:
        StateError: there is one, or the journal is damaged or cannot be read.
    """
    cas = [from_record(*ca, record).facts for ca, record in (await store.authorities()).items()]
    if not cas:
        return
    # A CA that was still to be signed when the copy was made: a ceremony may take weeks.
    coming = await store.certificates(Want(statuses=[CertificateStatus.INTENT]))
    cas += chain.from_iterable(_facts(one.der) for one in coming if one.address.startswith("ca."))
    # Read before the state is asked: whatever is in the journal by now had its intent there before.
    lines = _of(cas, journal.backwards())
    # The newest is mostly known, and that is all there is to it.
    for count in chain([1], repeat(_AT_ONCE)):
        some = await asyncio.to_thread(_next, lines, count)
        if not some:
            return
        found = await store.certificates(Want(serials=[serial for _, serial, _ in some], with_der=False))
        rows = {(one.issuer_key, one.serial): one for one in found}
        for made, serial, issuers in some:
            row = next((rows[key, serial] for key in issuers if (key, serial) in rows), None)
            # An intent may be older than one that another batch has put into the journal before it.
            if row is not None and row.sha256:
                return
            if row is None and _is_signed(made, cas) and not await _is_archived(made, store):
                await _believed(journal, store, cas)
                raise StateError(
                    "an older state was put back: "
                    f"the journal {journal.path} holds a certificate that the state does not know: {told(made)}",
                    help=_HELP,
                )


async def _believed(journal: Journal, store: Store, cas: Sequence[IssuerFacts]) -> None:
    """What would keep `state adopt` from mending it is told at once.

    Raises:
        StateError: a line is damaged, or not to be believed.
    """
    sealed = await store.facts(Want(), ("sha256",), lambda rows: [row[0] for row in rows])
    try:
        await asyncio.to_thread(unknown, await journal.journalled(), frozenset(sealed), cas)
    except DamagedJournal as error:
        # Not as one: whoever goes on without the end of a journal does not do so with a state that is behind.
        raise StateError(error.message, help=error.help) from error
    except ValueError as error:
        raise not_to_be_believed(journal, error) from error


def unknown(journal: Journalled, sealed: Collection[str], cas: Sequence[IssuerFacts]) -> dict[str, IssuerFacts]:
    """The lines with none of these digests that the keys of these CAs signed, or of CAs that they signed; and who did.

    Raises:
        ValueError: a line is not to be believed; it says which.
    """
    lacking = (name for name, made in journal.items() if hashlib.sha256(made).hexdigest() not in sealed)
    return journal.ours(lacking, cas)


def not_to_be_believed(journal: Journal, error: ValueError) -> StateError:
    """Of a line that says it is a CA's, and is not."""
    return StateError(
        f"the journal {journal.path} holds what is not to be believed: {error}; nothing was done",
        help="compare it with a backup: it is only ever appended to, so an older copy is its beginning",
    )


def _facts(tbs: bytes) -> Iterator[IssuerFacts]:
    """Of what is to be signed; of bytes that are nothing of the kind, which whoever resumes refuses, there are none."""
    with suppress(ValueError):
        yield facts_of(der.tlv(der.SEQUENCE, tbs))


def _next(lines: Iterator[_Line], count: int) -> list[_Line]:
    return [*islice(lines, count)]


def _of(cas: Sequence[IssuerFacts], lines: Iterator[bytes]) -> Iterator[_Line]:
    """Those that name one of these CAs."""
    for made in lines:
        try:
            serial, issuers = named(made, cas)
        except ValueError:  # `state verify` tells of it
            continue
        if issuers:
            yield made, serial, [digest(one.spki) for one in issuers]


def _is_signed(made: bytes, cas: Sequence[IssuerFacts]) -> bool:
    """What only says that it is ours is somebody's line in a file, and stops no apply; `state verify` tells of it."""
    try:
        return signer(made, cas) is not None
    except ValueError:
        return False


async def _is_archived(made: bytes, store: Store) -> bool:
    """Whether it may have left the inventory in good order: it ended before the newest of what did."""
    ended = from_datetime(x509.load_der_x509_certificate(made).not_valid_after_utc)
    return any(ended <= one.newest for one in await store.archives())
