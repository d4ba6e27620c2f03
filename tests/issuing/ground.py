"""A PKI on disk for the tests of issuance: the real SQLite store, sealed keystore and journal, and ways to crash it."""

import asyncio
import pickle
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define, evolve, field

from pkicode.adapters.journal import Journal
from pkicode.adapters.sealed import SealedKeyStore
from pkicode.adapters.sql import NewState
from pkicode.adapters.store import open_sqlite
from pkicode.issuing import Issued, Issuer, Order, Settle, Template, issue
from pkicode.model.faults import FaultPoint, nothing
from pkicode.model.instants import DAY, NO_EXPIRY, YEAR
from pkicode.model.names import SanType
from pkicode.model.problem import Problem, StateError
from pkicode.model.row import Held
from pkicode.ports import KeyStore, Mint, Store, World
from pkicode.x509 import der
from pkicode.x509.names import san, subject, subject_der
from pkicode.x509.profile import Profile
from pkicode.x509.tbs import self_issued
from tests.oracles import openssl_bytes
from tests.quick import PASSPHRASE

NOW = 1_795_424_400
"""2026-11-23T09:00:00Z."""
CA = Profile(is_ca=True, path_len=1, usage=("keyCertSign", "cRLSign"))
ISSUING = evolve(CA, path_len=0, crl_urls=("http://pki.test/crl/root-g1.crl",))
SERVER = Profile(eku=("serverAuth",), crl_urls=("http://pki.test/crl/issuing-g1.crl",))
ROOT_SUBJECT = subject([("o", "Test"), ("cn", "Test Root R1")])
ISSUING_SUBJECT = subject([("o", "Test"), ("cn", "Test Issuing A1")])


class Stopped(BaseException):
    """The process died here."""


def stop_at(point: FaultPoint) -> Callable[[FaultPoint], None]:
    def reach(here: FaultPoint) -> None:
        if here is point:
            raise Stopped(point)

    return reach


@define
class Ground:
    """One project folder; `open` may be called again and again, as a new process would."""

    folder: Path
    signed: list[bytes] = field(factory=list)
    """Every certificate that left the signing function, also in a world that then stopped."""

    @asynccontextmanager
    async def open(self, **changes: Any) -> AsyncIterator[World]:
        create = NewState(project="test", env="default", lineage="l", at=NOW)
        store = await open_sqlite(self.folder / "state.db", create=create)
        keystore = SealedKeyStore(self.folder / "keys.db", _passphrase)
        journal = Journal(self.folder / "journal.log")
        lease = await store.acquire("project", holder="test", now=NOW, ttl=600)
        world = World(
            store=store,
            lease=lease,
            publishing=_unused,
            keep=_unused,
            keystores={"soft": keystore},
            publishers={},
            journal=journal.append,
            journalled=journal.journalled,
            work=self.work,
            write_outputs=_unused,
            run_hook=_unused,
            secret=_unused,
            now=NOW,
            serials=lambda count: [secrets.randbits(158) | 1 << 158 for _ in range(count)],
            reach=nothing,
            emit=lambda event: None,
            project="test",
            plan_id="p1",
            session="s1",
            actor="test",
        )
        try:
            yield evolve(world, **changes)
        finally:
            await store.release(lease)
            await store.close()
            await keystore.close()

    async def work(self, function: Callable[..., Any], *args: object) -> Any:
        """Runs the function as a worker process would get it: through pickle."""
        given, values = pickle.loads(pickle.dumps((function, args)))
        found = pickle.loads(pickle.dumps(await asyncio.to_thread(given, *values)))
        if function.__name__ == "sign":
            self.signed.extend(found)
        return found


async def _passphrase() -> bytes:
    return PASSPHRASE


async def _unused(*args: object) -> Any:
    raise AssertionError("issuance does not come here")


def root_template(alg: str = "ec-p256", **changes: Any) -> tuple[Template, Order]:
    template = Template(
        profile_name="",
        profile=CA,
        issuer=Issuer("root", 1, ("soft", "ca.root@1")),
        validity=20 * YEAR,
        backdate=300,
        store="soft",
        crl_urls=(),
    )
    return evolve(template, **changes), Order("ca.root", 1, ROOT_SUBJECT, (), alg, "ca.root@1")


def below(issuer: Issued, ca: str, profile: Profile, **changes: Any) -> Template:
    """The template of what this CA signs."""
    facts = self_issued(subject_der(issuer.order.subject), issuer.spki)
    key = "soft", f"ca.{ca}@1"
    template = Template(
        profile_name="server",
        profile=profile,
        issuer=Issuer(ca, 1, key, facts, issuer.der, issuer.not_before, issuer.not_after),
        validity=90 * DAY,
        backdate=300,
        store="soft",
        crl_urls=profile.crl_urls,
    )
    return evolve(template, **changes)


def leaf(name: str, *, csr: bytes | None = None, generation: int = 1, **changes: Any) -> Order:
    label = "" if csr else f"cert.{name}@{generation}"
    order = Order(f"cert.{name}", generation, (), (san(SanType.DNS, f"{name}.corp.test"),), "ec-p256", label, csr)
    return evolve(order, **changes)


async def rows(world: World) -> Settle:
    """Settles every certificate into a resource row whose record is its serial."""
    number = await world.store.template('{"kind":"cert"}', lease=world.lease)

    def settle(issued: Sequence[Issued]) -> Sequence[tuple[Held, str]]:
        return [(_held(one, number), f'"{one.serial:x}"') for one in issued]

    return settle


def _held(issued: Issued, template: int) -> Held:
    kind, name = issued.order.address.split(".")
    return Held(kind, name, "", issued.order.generation, template, "[]", NO_EXPIRY, "", "ok", 0)


async def made(template: Template, order: Order, world: World) -> Issued:
    """One certificate that must succeed."""
    [answer] = await issue(template, [order], world, settle=await rows(world))
    assert isinstance(answer, Issued), answer
    return answer


async def authority(world: World, alg: str = "ec-p256") -> tuple[Issued, Issued]:
    """A root and an issuing CA below it."""
    root = await made(*root_template(alg), world)
    order = Order("ca.issuing", 1, ISSUING_SUBJECT, (), alg, "ca.issuing@1")
    return root, await made(below(root, "root", ISSUING, validity=5 * YEAR), order, world)


def problem(answer: object) -> str:
    assert isinstance(answer, Problem), answer
    return f"{answer.code} {answer.message}"


def tbs_of(certificate: bytes) -> bytes:
    return der.tlv(*der.children(der.only(certificate, der.SEQUENCE))[0])


def csr(alg: str = "ec-p256", *, sans: str = "") -> bytes:
    """A request as OpenSSL makes it."""
    options = {"ec-p256": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa-1024": ["rsa:1024"]}[alg]
    extra = ["-addext", f"subjectAltName={sans}"] if sans else []
    return openssl_bytes("req", "-new", "-nodes", "-newkey", *options, "-keyout", "/dev/null", "-subj", "/CN=x", *extra)


@define
class FaultyStore:
    """The store, whose n-th commit from now fails: before anything happened, or after everything did."""

    inner: Store
    countdown: int
    happened: bool

    async def commit(self, write: Any, lease: Any) -> int:
        self.countdown -= 1
        if self.countdown:
            return await self.inner.commit(write, lease)
        if self.happened:
            await self.inner.commit(write, lease)
        raise StateError("the disk went away", help="bring it back")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@define
class Token:
    """A keystore whose keys never leave it; what can go wrong there is `flaw`, applied to each signature."""

    inner: KeyStore
    deterministic: bool = False
    flaw: Callable[[bytes], bytes] = bytes

    async def mint(self) -> Mint | None:
        return None

    async def signer(self, label: str) -> Any:
        return TokenSigner(await self.inner.signer(label), self.deterministic, self.flaw)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@define
class TokenSigner:
    inner: Any
    deterministic: bool
    flaw: Callable[[bytes], bytes]

    @property
    def facts(self) -> Any:
        return self.inner.facts

    def sign(self, tbs: bytes) -> bytes:
        return self.flaw(self.inner.sign(tbs))

    def portable(self) -> None:
        return None


def on_token(world: World, **changes: Any) -> World:
    """The world with its keys on a token."""
    return evolve(world, keystores={"soft": Token(world.keystores["soft"], **changes)})
