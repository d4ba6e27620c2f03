"""The responder: an OCSP request's octets in, the octets of its answer out (RFC 6960, RFC 9919), from packs alone.

It cannot sign, so that a serial it holds no answer for is `unauthorized` and never `good`.  HTTP is http.py's.
"""

import hashlib
from collections.abc import Iterable, Sequence
from email.utils import formatdate
from functools import lru_cache

from attrs import define, field, frozen

from pkicode.revocation import ocsp_request
from pkicode.revocation.ocsp_request import HASHES, CertId, hashes_of
from pkicode.revocation.ocsp_response import MALFORMED, TRY_LATER, UNAUTHORIZED, Form
from pkicode.revocation.pack import Pack

_REMEMBERED = 20_000
"""Requests whose answers are kept ready: about 30 MB."""


@frozen(eq=False)
class Reply:
    """One answer, ready to be sent."""

    der: bytes
    next_update: int
    """0: an error, which nobody may keep."""
    etag: bytes
    headers: bytes
    """Those that do not depend on the instant of the request."""


def _error(der: bytes) -> Reply:
    return Reply(der, 0, b"", b"Content-Length: %d\r\n" % len(der))


_MALFORMED, _TRY_LATER, _UNAUTHORIZED = _error(MALFORMED), _error(TRY_LATER), _error(UNAUTHORIZED)


def _reply(der: bytes, this_update: int, next_update: int) -> Reply:
    etag = b'"%b"' % hashlib.sha256(der).hexdigest().encode()
    headers = b"Content-Length: %d\r\nETag: %b\r\n" % (len(der), etag)
    headers += b"Last-Modified: %b\r\nExpires: %b\r\n" % (_gmt(this_update), _gmt(next_update))
    return Reply(der, next_update, etag, headers)


@lru_cache(maxsize=256)
def _gmt(instant: int) -> bytes:
    """Most answers of a pack are of a few instants."""
    return formatdate(instant, usegmt=True).encode()


@define
class Responder:
    """Answers from the packs it was last given; a new set takes their place between two requests."""

    _issuers: dict[tuple[bytes, bytes], tuple[int, Pack, Form]] = field(factory=dict)
    """issuerNameHash and issuerKeyHash -> which of a record's signatures, and where the records are."""
    _ready: dict[bytes, Reply] = field(factory=dict, repr=False)
    _complete: bool = False

    def replace(self, packs: Sequence[Pack], *, complete: bool) -> None:
        """Answer from these, and no others, from now on; `complete` says that no source is missing."""
        self._issuers = dict(_by_issuer(packs))
        self._ready = {}
        self._complete = complete

    def answer(self, request: bytes, now: int) -> Reply:
        """The answer to a stranger's request; never an exception, whatever it holds."""
        found = self._ready.get(request)
        if found is None:
            found = self._found(request)
        return found if now < found.next_update or not found.next_update else _TRY_LATER

    def _found(self, request: bytes) -> Reply:
        try:
            asked = ocsp_request.parse(request)
        except ValueError:
            return _MALFORMED
        if len(asked.ids) != 1:
            return _UNAUTHORIZED
        reply = self._about(asked.ids[0])
        if not asked.extended and reply.next_update:
            if len(self._ready) >= _REMEMBERED:
                self._ready.clear()
            self._ready[request] = reply
        return reply

    def _about(self, asked: CertId) -> Reply:
        issuer = self._issuers.get((asked.issuer_name, asked.issuer_key))
        if issuer is None or not asked.hash:
            # While a source is missing nobody can say that a CA is not ours.
            return _UNAUTHORIZED if self._complete else _TRY_LATER
        which, pack, form = issuer
        record = pack.find(asked.serial)
        if record is None:
            return _UNAUTHORIZED
        dates = {"this_update": record.this_update, "next_update": record.next_update}
        tbs = form.tbs(asked.hash, record.serial, record.standing, **dates)
        return _reply(form.response(tbs, record.signatures[which]), **dates)


def _by_issuer(packs: Sequence[Pack]) -> Iterable[tuple[tuple[bytes, bytes], tuple[int, Pack, Form]]]:
    for pack in packs:
        issuer, form = pack.maker.issuer, pack.maker.form
        for which, algorithm in enumerate(HASHES):
            yield hashes_of(issuer, algorithm), (which, pack, form)


def newest(known: Sequence[Pack], found: Sequence[Pack]) -> tuple[list[Pack], list[str]]:
    """Of each CA the later pack, and what is wrong with those that are refused.

    Whoever owns the place where packs are published can put an old one there: it never takes the place of a later one.
    """
    best = {one.maker.ca: one for one in known}
    wrong = []
    for one in found:
        have = best.get(one.maker.ca)
        if have is not None and one.made < have.made:
            wrong.append(f"the pack of {one.maker.name} is older than the one in use, which stays")
            continue
        best[one.maker.ca] = one
    return list(best.values()), wrong
