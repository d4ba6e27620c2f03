"""Revocation looked up for a scan: each list fetched once for all who name it, each certificate asked about once.

What an answer is worth is judged by scanner/revocation.py; how it is fetched, by guarded.py.
"""

import asyncio
from collections import ChainMap
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import define, evolve, field

from pkicode.adapters.guarded import Guarded, NotFetchedError
from pkicode.model.event import Event
from pkicode.revocation.ocsp_response import LIMIT
from pkicode.scanner import grade, revocation
from pkicode.scanner.certificate import MALFORMED, short
from pkicode.scanner.choice import Choice
from pkicode.scanner.finding import Endpoint, Finding, Grade
from pkicode.scanner.pki import THIRD_PARTIES
from pkicode.scanner.revocation import URLS_MOST, Answers, Subject
from pkicode.scanner.told import Told
from pkicode.scanner.trust import TrustStore

LIST_MOST: Final = 32 * 1024 * 1024
"""Octets of one list: half a million entries."""
_LISTS_AT_ONCE: Final = 8
_ASKED: Final = "application/ocsp-request"

Key = tuple[str, str, bytes]
"""Check, certificate (SHA-256), issuer (DER)."""


@define
class Lookups:
    """What third parties say, for one scan."""

    fetch: Guarded
    stores: Sequence[TrustStore] = field(repr=False)
    emit: Callable[[Event], None] = field(repr=False)
    _known: dict[Key, Told] = field(factory=dict, repr=False)
    _lists: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(_LISTS_AT_ONCE), repr=False)
    _reading: asyncio.Lock = field(factory=asyncio.Lock, repr=False)
    """One list is taken apart at a time: in memory it is several times what it was on the way."""

    async def of(self, endpoints: Sequence[Endpoint], choice: Choice, *, now: int) -> list[Endpoint]:
        """The records with their findings OCSP and CRL, and a letter that knows of them."""
        asked = [revocation.subjects(one, self.stores) if one.chains else () for one in endpoints]
        staples = [revocation.stapled(one, self.stores, now=now) if one.staple else {} for one in endpoints]
        for staple in staples:
            # That it is revoked, holds for whoever serves it.  That it is good, a server says for itself alone: to send
            # somebody else's certificate, and an answer of last week, takes no key.
            self._known |= {key: told for key, told in staple.items() if told.value == "revoked"}
        for check in THIRD_PARTIES:
            if not choice.keeps or check in choice.keeps:
                lacking = zip(asked, staples, strict=True)
                open_ = (one for those, own in lacking for one in those if _key(check, one) not in own)
                await self._look(check, dict.fromkeys(one for one in open_ if not one.is_beyond), now)
        return [
            _with(one, revocation.findings(subjects, self._known_beside(staple)), choice) if one.chains else one
            for one, subjects, staple in zip(endpoints, asked, staples, strict=True)
        ]

    def _known_beside(self, staple: Mapping[Key, Told]) -> Answers:
        """What is known to who has this staple; what somebody was told to be revoked is not good by it."""
        worse = [one for one in staple if one in self._known and self._known[one].value == "revoked"]
        return ChainMap({one: self._known[one] for one in worse}, dict(staple), self._known)

    async def _look(self, check: str, subjects: Iterable[Subject], now: int) -> None:
        """By the first URL of each, and by the next where that gave no answer."""
        left = [one for one in subjects if _key(check, one) not in self._known]
        for attempt in range(URLS_MOST):
            named: dict[str, list[Subject]] = {}
            for one in left:
                if len(urls := one.urls(check)) > attempt:
                    named.setdefault(urls[attempt], []).append(one)
            works = [work for url, those in named.items() for work in self._work(check, url, those, now)]
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(work) for work in works]
                for done, task in enumerate(asyncio.as_completed(tasks), 1):
                    self.emit(Event("revocation", check, done, len(tasks), await task))
            left = [one for one in left if self._is_open(_key(check, one))]

    def _work(self, check: str, url: str, subjects: list[Subject], now: int) -> Iterable[Coroutine[Any, Any, str]]:
        """A list is for all of them; a responder is asked about each.  Each gives its URL back."""
        return [self._list(url, subjects, now)] if check == "CRL" else [self._ask(url, one, now) for one in subjects]

    def _is_open(self, key: Key) -> bool:
        return key not in self._known or self._known[key].grade is Grade.UNKNOWN

    async def _ask(self, url: str, about: Subject, now: int) -> str:
        try:
            asked = revocation.question(about)
            response = await self.fetch.post(url, asked, kind=_ASKED, limit=LIMIT)
            told = revocation.of_responder(about, url, response, now=now)
        except NotFetchedError as error:
            told = _untold(about, url, error.word, error)
        except MALFORMED as error:
            told = _untold(about, url, "unverified", error)
        self._known[_key("OCSP", about)] = told
        return url

    async def _list(self, url: str, subjects: Sequence[Subject], now: int) -> str:
        async with self._lists:
            try:
                data = await self.fetch.get(url, limit=LIST_MOST)
                async with self._reading:
                    listed = await asyncio.to_thread(revocation.read_list, data, subjects, now=now)
                told = [revocation.of_list(one, url, listed) for one in subjects]
            except NotFetchedError as error:
                told = [_untold(one, url, error.word, error) for one in subjects]
            except MALFORMED as error:
                told = [_untold(one, url, "invalid", error) for one in subjects]
        self._known |= zip((_key("CRL", one) for one in subjects), told, strict=True)
        return url


def _untold(about: Subject, url: str, word: str, why: Exception) -> Told:
    return Told(Grade.UNKNOWN, word, f"`{about.facts.called}`: nothing is known from {short(url)}: {short(str(why))}")


def _key(check: str, about: Subject) -> Key:
    return check, about.sha256, about.issuer


def _with(endpoint: Endpoint, told: Iterable[Finding], choice: Choice) -> Endpoint:
    found = evolve(endpoint, findings=(*endpoint.findings, *choice.kept(told)))
    return evolve(found, letter=grade.rate(found).letter) if found.letter else found
