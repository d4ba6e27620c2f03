"""The PKI that the crash tests interrupt, five occasions to interrupt it, and what must hold of it afterwards."""

import base64
import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from attrs import frozen
from cryptography import x509

from pkicode.adapters import loop
from pkicode.model.faults import FaultPoint as At
from pkicode.model.instants import DAY, rfc3339
from pkicode.ports import Certificate, Want
from pkicode.project import Project, open_project
from pkicode.revocation import pack
from pkicode.revocation.ocsp_request import cert_id
from pkicode.revocation.ocsp_response import verified
from tests.kinds import site
from tests.kinds.site import NOW, Site
from tests.oracles import Refused, assert_key_matches, openssl, pem, revoked_serials
from tests.postgres import Postgres
from tests.quick import quick_keystore
from tests.state.postgres import States, empty

LEAVES = """
[cert.portal]
profile = "server"
dns = ["portal.corp.example"]
output = { chain = "out/portal.pem", key = "out/portal.key" }
after = ["sh", "-c", "cat out/portal.pem > deployed"]
[cert.app]
profile = "server"
for_each = { values = ["api", "search"] }
dns = ["${each.value}.corp.example"]
"""
OLD = """
[cert.old]
profile = "server"
dns = ["old.corp.example"]
on_remove = "revoke"
output = { chain = "out/old.pem" }
"""
ISSUING = (At.KEYS_MADE, At.INTENTS_STORED, At.SIGNED, At.JOURNALLED, At.ISSUED)
SIGNING = (At.CRL_SIGNED, At.CRL_STORED, At.OCSP_SIGNED, At.OCSP_STORED)
LISTING = (At.LISTS_LEASED, *SIGNING, At.PUBLISH_STAGED, At.PUBLISHED)
LISTED = (At.REVOKED, *LISTING)
BASE = site.BASE.replace(
    'base_url = "http://pki.corp.example"',
    'base_url = "http://pki.corp.example"\ncontent = ["ca", "crl", "ocsp", "bundle"]',
).replace("path_len = 0", 'path_len = 0\nocsp = { url = "http://ocsp.corp.example" }')
HANDING_OUT = (At.OUTPUT_STAGED, At.OUTPUT_SWITCHED, At.HOOK_RUN)


@frozen
class Occasion:
    """An apply to interrupt."""

    name: str
    text: str
    days: float
    """Since the first apply; 0 is the first apply."""
    points: tuple[At, ...]
    """Which fault points it passes."""

    @property
    def now(self) -> int:
        return NOW + int(self.days * DAY)


FIRST = Occasion("first-apply", BASE + LEAVES + OLD, 0, (*ISSUING, *LISTING, *HANDING_OUT))
RENEWAL = Occasion("renewal", BASE + LEAVES + OLD, 61, (*ISSUING, *LISTING, *HANDING_OUT))
REMOVAL = Occasion("removal", BASE + LEAVES, 0.5, LISTED)
OUTPUT = Occasion("output", BASE + LEAVES.replace("portal.pem", "front.pem") + OLD, 0.5, HANDING_OUT)
SHARDS = BASE.replace("path_len = 0", "path_len = 0\ncrl = { shards = 3 }")
SHARDED = Occasion("shards", SHARDS + LEAVES, 61, (*ISSUING, *LISTED, *HANDING_OUT))
"""Certificates that name shards, the shards themselves, and a revocation in one apply."""
STOLEN = f"""
[[revoke]]
id = "INC-1"
cert = "cert.portal"
issued_before = {rfc3339(NOW + 60)}
reason = "keyCompromise"
"""
TAKING = (At.REVOKED, *LISTING, *ISSUING, *HANDING_OUT)
COMPROMISE = Occasion("compromise", BASE + LEAVES + OLD + STOLEN, 0.5, TAKING)
SUPERSEDED = Occasion("superseded", COMPROMISE.text.replace("keyCompromise", "superseded"), 0.5, TAKING)
DELEGATE = Occasion("delegate", BASE + LEAVES + OLD, 16, (*ISSUING, *LISTING))
OCCASIONS = (FIRST, RENEWAL, REMOVAL, SHARDED, OUTPUT, COMPROMISE, SUPERSEDED, DELEGATE)


@frozen
class Ground:
    """Where FIRST was applied, to be copied: a folder, and the states before and after where they are not in it."""

    folder: Path
    nothing: States | None
    done: States | None

    def state(self, occasion: Occasion) -> str:
        """The URL of a state as an occasion finds it, "" for the file in the folder."""
        states = self.nothing if occasion is FIRST else self.done
        return states.new() if states else ""


def built(folder: Path, postgres: Postgres | None) -> Ground:
    """The ground of all occasions."""
    folder.mkdir(parents=True)
    quick_keystore(folder)
    ground = Ground(folder, None, None)
    if postgres is not None:
        nothing = empty(postgres, "site")
        ground = Ground(folder, nothing, States(postgres, postgres.kept(nothing.database)))
    state = postgres.url(ground.done.database) if postgres and ground.done else ""
    if Site(folder, now=NOW, state=state).write(base=FIRST.text).apply().exit_code:
        raise AssertionError("the first apply failed")
    return ground


def before(occasion: Occasion, folder: Path, applied: Ground) -> Site:
    """The PKI at the beginning of an occasion."""
    if occasion is FIRST:
        folder.mkdir(parents=True)
        quick_keystore(folder)
    else:
        shutil.copytree(applied.folder, folder, symlinks=True)
    return Site(folder, now=occasion.now, state=applied.state(occasion)).write(base=occasion.text)


def opened(site: Site, reach: Callable[[At], None]) -> Project:
    return open_project(site.root / "pki.toml", environ={}, now=site.now, reach=reach)


def inventory(site: Site) -> Sequence[Certificate]:
    return site.open().inventory(Want())


def end_state(site: Site) -> dict[str, Sequence[object]]:
    """Everything two histories must agree in: not dates, keys and serials, but what there is and how it stands."""
    rows, numbers, keys = loop.run(_stored(site.open()))
    return {
        "rows": rows,
        "inventory": sorted((one.address, one.generation, one.status, one.ca) for one in inventory(site)),
        "crl numbers": numbers,
        "keys": keys,
        "published": sorted(str(one.relative_to(site.root)) for one in _files(site.root / "public")),
        "declared files": sorted(one.name for one in (site.root / "out").iterdir() if one.name != ".gen"),
    }


async def _stored(project: Project) -> tuple[list[object], list[object], list[object]]:
    keystore = project.keystore("main")
    keys = await keystore.labels()
    await keystore.close()
    async with project.state.reading() as store:
        if store is None:
            raise AssertionError("there is no state")
        rows = sorted((str(one.address), one.generation, one.status, one.needs) for one in await store.held())
        numbers = sorted((one.name, one.scope, one.number) for one in await store.artefacts())
        return rows, numbers, list(keys)


def assert_sound(site: Site, occasion: Occasion) -> None:
    """Nothing was lost, nothing was doubled, and OpenSSL accepts what is in force."""
    there = inventory(site)
    signed = journal(site)
    serials = Counter((one.issuer.rfc4514_string(), one.serial_number) for one in map(_loaded, signed))
    assert max(serials.values()) == 1, f"a serial was signed twice: {serials}"
    # No certificate without a record, and no record without its certificate.
    assert {one.der for one in there} == signed
    assert {one.status for one in there} <= {"issued", "revoked"}
    assert site.open().upkeep.verify() == []
    assert not site.plan().changes
    _assert_published(site, there)
    _assert_answered(site, there)
    _assert_verified(site, there)
    key = (site.root / "out/portal.key").read_bytes()
    chain = (site.root / _paths(occasion)).read_bytes()
    assert_key_matches(key, chain)
    assert chain == site.chain("cert.portal")
    assert (site.root / "deployed").read_bytes() == chain


def _paths(occasion: Occasion) -> str:
    return "out/front.pem" if "front.pem" in occasion.text else "out/portal.pem"


def journal(site: Site) -> set[bytes]:
    """Every certificate ever signed, as the journal has it."""
    lines = (site.root / ".pkicode/journal.log").read_bytes().splitlines(keepends=True)
    # A torn last line was never promised to anybody.
    return {base64.b64decode(line) for line in lines if line.endswith(b"\n")}


def _loaded(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def _assert_published(site: Site, there: Sequence[Certificate]) -> None:
    known = {hashlib.sha256(one.der).hexdigest() for one in there}
    for path in (site.root / "public/ca").glob("*.cer"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in known
    listed = sorted(serial for crl in site.crls() for serial in revoked_serials(crl))
    assert listed == sorted(one.serial for one in there if one.status == "revoked")
    assert not [one for one in _files(site.root / "public") if one.name.endswith(".draft")]


def _assert_answered(site: Site, there: Sequence[Certificate]) -> None:
    """Every certificate that ca.issuing signed has an answer that a client accepts, and it is the right one."""
    found = pack.read((site.root / "public/ocsp/issuing-g1.pack").read_bytes())
    owed = {one.serial: one for one in there if one.ca == "issuing" and one.not_after >= site.now}
    assert found.count == len(owed)
    for serial, certificate in owed.items():
        record = found.find(int(serial, 16))
        assert record is not None
        dates = {"this_update": record.this_update, "next_update": record.next_update}
        tbs = found.maker.form.tbs("sha1", record.serial, record.standing, **dates)
        answer = found.maker.form.response(tbs, record.signatures[0])
        asked = cert_id(found.maker.issuer, record.serial, "sha1")
        status = verified(answer, asked, found.maker.ca, now=site.now).status
        assert status == ("revoked" if certificate.status == "revoked" else "good")


def _assert_verified(site: Site, there: Sequence[Certificate]) -> None:
    """`openssl verify` of all that is valid, with all CRLs; a revoked one, and no other, is refused."""
    folder = site.root / "verifying"
    folder.mkdir()
    (folder / "crls.pem").write_bytes(b"".join(pem(one, label="X509 CRL") for one in site.crls()))
    args: list[str | Path] = ["-x509_strict", "-no-CApath", "-no-CAstore", "-attime", str(site.now)]
    args += ["-CAfile", site.root / "public/bundle/trust.pem", "-untrusted", site.root / "public/ca/issuing-g1.pem"]
    args += ["-crl_check", "-crl_check_all", "-CRLfile", folder / "crls.pem"]
    for one in there:
        (folder / f"{one.serial}.pem").write_bytes(pem(one.der))
    good = [folder / f"{one.serial}.pem" for one in there if one.status == "issued" and one.not_after >= site.now]
    openssl("verify", *args, *good)
    for one in there:
        if one.status == "revoked":
            with pytest.raises(Refused, match="certificate revoked"):
                openssl("verify", *args, folder / f"{one.serial}.pem")
    shutil.rmtree(folder)


def _files(folder: Path) -> list[Path]:
    return [one for one in folder.rglob("*") if one.is_file()]
