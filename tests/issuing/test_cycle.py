"""issuing.issue on the real store, keystore and journal; OpenSSL reads what comes out."""

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
from attrs import evolve
from cryptography import x509

from pkicode.adapters.workers import Workers
from pkicode.issuing import Issued, Order, issue, reserve, steps
from pkicode.issuing.batch import prepare
from pkicode.model.faults import FaultPoint
from pkicode.model.instants import DAY, YEAR
from pkicode.model.names import SanType
from pkicode.model.problem import LeaseLost, PkicodeError, StateError
from pkicode.ports import CertificateStatus, NewKey, Want, World
from pkicode.x509.constraints import Allow, Constraints
from pkicode.x509.names import san, subject
from tests.issuing.ground import (
    ISSUING,
    NOW,
    SERVER,
    FaultyStore,
    Ground,
    authority,
    below,
    csr,
    leaf,
    made,
    on_token,
    problem,
    root_template,
    rows,
    tbs_of,
)
from tests.oracles import assert_gnutls_verifies, assert_verifies, certificate_text, openssl_bytes


async def batch(world: World, *orders: Order, **changes: object) -> tuple[Issued, Issued, list[object]]:
    """Root, issuing CA, and what becomes of these orders below it."""
    root, issuing = await authority(world)
    template = below(issuing, "issuing", SERVER, **changes)
    return root, issuing, list(await issue(template, orders, world, settle=await rows(world)))


def test_root_intermediate_and_leaves_verify_in_openssl_and_gnutls(ground: Ground) -> None:
    async def main() -> None:
        async with ground.open() as world:
            root, issuing, leaves = await batch(world, leaf("made"), leaf("asked", csr=csr()))
            for one in leaves:
                assert_verifies(one.der, chain=[issuing.der], root=root.der, at=NOW, purpose="sslserver")
                assert_gnutls_verifies(one.der, chain=[issuing.der], root=root.der)
                assert one.sha256 == hashlib.sha256(one.der).hexdigest()

    asyncio.run(main())


@pytest.mark.parametrize("alg", ["ec-p256", "ec-p384", "ec-p521", "rsa-3072", "ed25519", "ed448"])
def test_a_ca_of_any_algorithm_issues(ground: Ground, alg: str) -> None:
    async def main() -> None:
        async with ground.open() as world:
            root, issuing = await authority(world, alg)
            one = await made(below(issuing, "issuing", SERVER), leaf("a", key_alg=alg), world)
            assert_verifies(one.der, chain=[issuing.der], root=root.der, at=NOW)

    asyncio.run(main())


@pytest.mark.parametrize("alg", ["ml-dsa-44", "ml-dsa-65", "ml-dsa-87"])
def test_a_ca_with_a_lattice_key_issues_for_keys_of_every_kind(ground: Ground, alg: str) -> None:
    async def main() -> None:
        async with ground.open() as world:
            root, issuing = await authority(world, alg)
            profiles = {"ml-kem-768": evolve(SERVER, usage=("keyEncipherment",))}
            certificates = [issuing.der]
            for key_alg in (alg, "ec-p256", "ml-kem-768"):
                template = below(issuing, "issuing", profiles.get(key_alg, SERVER))
                certificates.append((await made(template, leaf(key_alg, key_alg=key_alg), world)).der)
            certificates.append((await made(below(issuing, "issuing", SERVER), leaf("asked", csr=csr()), world)).der)
            by = {one.subject: one for one in map(x509.load_der_x509_certificate, (root.der, issuing.der))}
            for one in map(x509.load_der_x509_certificate, certificates):
                one.verify_directly_issued_by(by[one.issuer])
                assert one.signature_algorithm_oid.dotted_string.startswith("2.16.840.1.101.3.4.3.")
                assert one.signature_algorithm_parameters is None

    asyncio.run(main())


def test_a_batch_of_500_is_two_commits_and_every_certificate_has_its_row(ground: Ground) -> None:
    async def main() -> None:
        async with ground.open() as world:
            _, issuing = await authority(world)
            settle = await rows(world)
            before = (await world.store.about()).sequence
            orders = [leaf(f"n{number}") for number in range(500)]
            answers = await issue(below(issuing, "issuing", SERVER), orders, world, settle=settle)
            issued = [one for one in answers if isinstance(one, Issued)]
            assert (await world.store.about()).sequence == before + 2
            assert [one.order for one in issued] == orders
            assert len({one.serial for one in issued}) == len({one.spki for one in issued}) == 500
            assert {one.name for one in await world.store.held()} >= {f"n{number}" for number in range(500)}
            inventory = await world.store.certificates(Want(ca="issuing", statuses=(CertificateStatus.ISSUED,)))
            assert {row.der for row in inventory} == {one.der for one in issued}
            assert {one.der for one in issued} <= set((await world.journalled()).values())

    asyncio.run(main())


def test_a_bad_order_is_a_problem_in_its_slot_and_stops_nothing_else(ground: Ground) -> None:
    same, other = csr(), csr()
    forged = openssl_bytes("req", "-outform", "DER", stdin=same)[:-1] + b"\0"
    orders = [
        leaf("a"),
        leaf("forged", csr=forged),
        leaf("weak", csr=csr("rsa-1024")),
        leaf("first", csr=other),
        leaf("second", csr=other),
        leaf("nameless", sans=()),
        leaf("z"),
    ]

    async def main() -> None:
        async with ground.open() as world:
            _, _, answers = await batch(world, *orders)
            good = [one.order.address for one in answers if isinstance(one, Issued)]
            assert good == ["cert.a", "cert.first", "cert.z"]
            assert problem(answers[1]).startswith("E0521 cert.forged: the CSR is refused: no proof of possession")
            assert "1024" in problem(answers[2])
            assert problem(answers[4]) == "E0526 cert.second: its key is also cert.first's"
            assert "needs a subject or an alternative name" in problem(answers[5])
            assert not await world.store.intents()
            assert {one.name for one in await world.store.held()} == {"root", "issuing", "a", "first", "z"}
            assert "cert.nameless@1" not in await world.keystores["soft"].labels()

    asyncio.run(main())


def test_worker_processes_prepare_and_sign_batches_side_by_side(ground: Ground) -> None:
    async def main() -> None:
        async with Workers(2) as workers, ground.open(work=workers.run) as world:
            root, issuing = await authority(world)
            template, settle = below(issuing, "issuing", SERVER), await rows(world)
            batches = [[leaf(f"n{number}") for number in range(start, start + 20)] for start in range(0, 80, 20)]
            found = await asyncio.gather(*(issue(template, some, world, settle=settle) for some in batches))
            issued = [one for answers in found for one in answers if isinstance(one, Issued)]
            assert [one.order for one in issued] == [order for some in batches for order in some]
            assert_verifies(issued[-1].der, chain=[issuing.der], root=root.der, at=NOW)

    asyncio.run(main())


@pytest.mark.invariant(1)
@pytest.mark.invariant(3)
@pytest.mark.invariant(10)
def test_what_is_signed_is_what_was_linted_and_is_durable_with_its_keys(ground: Ground) -> None:
    linted: list[bytes] = []
    seen: list[tuple[bytes, str]] = []

    async def work(function: Callable[..., Any], *args: Any) -> Any:
        if function.__name__ == "sign":
            with sqlite3.connect(ground.folder / "state.db") as other:
                stored = dict(other.execute("SELECT der, key_label FROM certificates WHERE status = 'intent'"))
            with sqlite3.connect(ground.folder / "keys.db") as other:
                labels = {row[0] for row in other.execute("SELECT label FROM keys")}
            seen.extend((tbs, stored[tbs]) for tbs in args[-1])
            assert set(stored.values()) <= labels
        found = await ground.work(function, *args)
        if function.__name__ == "prepare":
            linted.extend(one.tbs for one in found)
        return found

    async def main() -> None:
        async with ground.open(work=work) as world:
            await batch(world, leaf("a"), leaf("b"))
            assert [tbs for tbs, _ in seen] == linted
            assert [label for _, label in seen] == ["ca.root@1", "ca.issuing@1", "cert.a@1", "cert.b@1"]
            assert [tbs_of(certificate) for certificate in ground.signed] == linted

    asyncio.run(main())


def test_only_bad_orders_write_nothing(ground: Ground) -> None:
    async def main() -> None:
        async with ground.open() as world:
            _, issuing = await authority(world)
            settle = await rows(world)
            before = (await world.store.about()).sequence
            answers = await issue(below(issuing, "issuing", SERVER), [leaf("a", csr=b"junk")], world, settle=settle)
            assert problem(answers[0]).startswith("E0521")
            assert (await world.store.about()).sequence == before

    asyncio.run(main())


def test_the_cas_own_key_in_a_csr_is_refused(ground: Ground) -> None:
    async def main() -> None:
        async with ground.open() as world:
            _, issuing = await authority(world)
            [pkcs8] = await world.keystores["soft"].export(["ca.issuing@1"])
            key = ground.folder / "ca.key"
            key.write_bytes(pkcs8)
            request = openssl_bytes("req", "-new", "-key", key, "-keyform", "DER", "-subj", "/CN=x")
            template = below(issuing, "issuing", SERVER)
            [answer] = await issue(template, [leaf("a", csr=request)], world, settle=await rows(world))
            assert "the CA's own key" in problem(answer)

    asyncio.run(main())


def test_names_outside_the_allow_list_are_refused_also_when_a_csr_brings_them(ground: Ground) -> None:
    request = csr(sans="DNS:evil.example,DNS:b.corp.test,IP:10.0.0.1")

    async def main() -> None:
        async with ground.open() as world:
            _, issuing, answers = await batch(
                world,
                leaf("a"),
                leaf("b", csr=request),
                leaf("c", sans=(san(SanType.IP, "10.0.0.1"),)),
                copy=("dns",),
                allow=Allow(dns=(".corp.test",)),
            )
            assert isinstance(answers[0], Issued)
            assert "evil.example" in problem(answers[1])
            assert problem(answers[2]).startswith("E0522")
            one = await made(below(issuing, "issuing", SERVER, copy=("dns",)), leaf("d", csr=request), world)
            assert "DNS:d.corp.test, DNS:evil.example, DNS:b.corp.test" in certificate_text(one.der)
            [row] = await world.store.certificates(Want(address="cert.d"))
            assert json.loads(row.sans) == ["dns:d.corp.test", "dns:evil.example", "dns:b.corp.test"]

    asyncio.run(main())


def test_names_outside_the_constraints_of_a_ca_above_are_refused(ground: Ground) -> None:
    async def main() -> None:
        async with ground.open() as world:
            constraints = (Constraints(permit_dns=("test",)), Constraints(permit_dns=("corp.test",)))
            outside = leaf("b", sans=(san(SanType.DNS, "b.other.test"),))
            _, _, answers = await batch(world, leaf("a"), outside, constraints=constraints)
            assert isinstance(answers[0], Issued)
            assert problem(answers[1]).startswith("E0522 cert.b: ")
            assert "b.other.test" in problem(answers[1])

    asyncio.run(main())


def test_what_lint_finds_in_the_exact_bytes_is_not_signed(ground: Ground) -> None:
    async def main() -> None:
        async with ground.open() as world:
            named = leaf("b", subject=subject([("cn", "other.corp.test")]))
            _, _, answers = await batch(world, leaf("a"), named)
            assert isinstance(answers[0], Issued)
            assert "E0524 cert.b: lint common_name_that_looks_like_a_host" in problem(answers[1])
            assert len(ground.signed) == 3

    asyncio.run(main())


def test_nothing_of_a_csr_but_its_key_is_taken_without_copy(ground: Ground) -> None:
    async def main() -> None:
        async with ground.open() as world:
            _, _, [one] = await batch(world, leaf("a", csr=csr(sans="DNS:evil.example")))
            text = certificate_text(one.der)
            assert "evil" not in text
            assert "CN=x" not in text

    asyncio.run(main())


def test_what_would_outlive_its_issuer_is_a_problem_and_nothing_is_written(ground: Ground) -> None:
    async def main() -> None:
        async with ground.open() as world:
            _, issuing, answers = await batch(world, leaf("a"), validity=6 * YEAR)
            assert "E0525 cert.a would outlive its issuer" in problem(answers[0])
            assert "cert.a@1" not in await world.keystores["soft"].labels()
            exact = issuing.not_after + 1 - issuing.not_before
            one = await made(below(issuing, "issuing", SERVER, validity=exact), leaf("a"), world)
            assert (one.not_before, one.not_after) == (issuing.not_before, issuing.not_after)

    asyncio.run(main())


def test_not_before_is_backdated_but_never_before_the_issuers(ground: Ground) -> None:
    async def main() -> None:
        async with ground.open() as world:
            _, issuing, [one] = await batch(world, leaf("a"), backdate=60)
            assert (one.not_before, one.not_after) == (NOW - 60, NOW - 60 + 90 * DAY - 1)
            early = await made(below(issuing, "issuing", SERVER, backdate=DAY), leaf("b"), world)
            assert early.not_before == issuing.not_before == NOW - 300

    asyncio.run(main())


@pytest.mark.invariant(2)
def test_a_taken_serial_is_drawn_again(ground: Ground) -> None:
    async def main() -> None:
        async with ground.open() as world:
            _, issuing, [first] = await batch(world, leaf("a"))
            template = below(issuing, "issuing", SERVER)
            drawn = iter([first.serial, 12345])
            second = await made(template, leaf("b"), evolve(world, serials=lambda count: [*islice(drawn, count)]))
            assert second.serial == 12345
            taken = iter([12345] * 4)
            with pytest.raises(StateError, match="every serial number drawn is taken"):
                await made(template, leaf("c"), evolve(world, serials=lambda count: [*islice(taken, count)]))
            assert not [*taken]
            assert not await world.store.intents()

    asyncio.run(main())


def test_a_serial_drawn_twice_in_one_batch_is_drawn_again(ground: Ground) -> None:
    async def main() -> None:
        async with ground.open() as world:
            _, issuing = await authority(world)
            drawn = iter([7, 7, 8])
            template, settle = below(issuing, "issuing", SERVER), await rows(world)
            unlucky = evolve(world, serials=lambda count: [*islice(drawn, count)])
            answers = await issue(template, [leaf("a"), leaf("b")], unlucky, settle=settle)
            assert {one.serial for one in answers if isinstance(one, Issued)} == {7, 8}

    asyncio.run(main())


@pytest.mark.invariant(11)
def test_intents_that_were_stored_although_the_store_failed_are_gone_on_with(ground: Ground) -> None:
    async def main() -> None:
        async with ground.open() as world:
            _, issuing = await authority(world)
            template, settle = below(issuing, "issuing", SERVER), await rows(world)
            shaky = evolve(world, store=FaultyStore(world.store, 1, happened=True))
            [answer] = await issue(template, [leaf("a")], shaky, settle=settle)
            assert isinstance(answer, Issued)
            dead = evolve(world, store=FaultyStore(world.store, 1, happened=False))
            before = len(ground.signed)
            with pytest.raises(StateError, match="disk went away"):
                await issue(template, [leaf("b")], dead, settle=settle)
            assert len(ground.signed) == before

    asyncio.run(main())


def test_a_key_that_is_at_hand_reserves_nothing(ground: Ground) -> None:
    async def main() -> None:
        async with ground.open() as world:
            _, issuing = await authority(world)
            with pytest.raises(ValueError, match="signs at once"):
                await reserve(below(issuing, "issuing", SERVER), [leaf("a")], world)
            assert not await world.store.intents()

    asyncio.run(main())


def test_a_key_that_is_gone_is_named(ground: Ground) -> None:
    async def main() -> None:
        async with ground.open() as world:
            _, issuing = await authority(world)
            wanted = steps.asked(leaf("a"), {}, 1, NOW, NOW + DAY)
            [answer] = prepare(below(issuing, "issuing", SERVER), [wanted], None)
            assert problem(answer) == "E0527 cert.a: the keystore holds no key cert.a@1"

    asyncio.run(main())


def test_a_key_that_is_there_is_used_again_and_never_replaced(ground: Ground) -> None:
    async def main() -> None:
        async with ground.open() as world:
            [facts] = await world.keystores["soft"].create([NewKey("cert.a@1", "ec-p256")])
            _, issuing, [one] = await batch(world, leaf("a"))
            assert one.spki == facts.spki
            order = leaf("b", key_label="cert.a@1", key_alg="rsa-3072")
            [answer] = await issue(below(issuing, "issuing", SERVER), [order], world, settle=await rows(world))
            assert problem(answer) == "E0527 cert.b: the key cert.a@1 is ec-p256, not rsa-3072"
            assert (await world.keystores["soft"].find(["cert.a@1"]))["cert.a@1"] == facts

    asyncio.run(main())


@pytest.mark.invariant(7)
def test_a_lease_taken_over_between_intent_and_signature_stops_the_signature(ground: Ground) -> None:
    def taken_over(point: FaultPoint) -> None:
        if point is FaultPoint.INTENTS_STORED:
            with sqlite3.connect(ground.folder / "state.db") as other:
                other.execute("UPDATE leases SET epoch = epoch + 1")

    async def main() -> None:
        async with ground.open() as world:
            _, issuing = await authority(world)
            before = len(ground.signed)
            with pytest.raises(LeaseLost):
                await made(below(issuing, "issuing", SERVER), leaf("a"), evolve(world, reach=taken_over))
            assert len(ground.signed) == before

    asyncio.run(main())


def test_a_key_that_is_not_the_certificates_signs_nothing(ground: Ground) -> None:
    async def main() -> None:
        async with ground.open() as world:
            _, issuing = await authority(world)
            await world.keystores["soft"].create([NewKey("other", "ec-p256")])
            template = below(issuing, "issuing", SERVER)
            template = evolve(template, issuer=evolve(template.issuer, key=("soft", "other")))
            with pytest.raises(PkicodeError, match="the key other in keystore soft is not the key"):
                await made(template, leaf("a"), world)
            assert not await world.store.intents()

    asyncio.run(main())


@pytest.mark.invariant(3)
@pytest.mark.parametrize("bad", [1, 2])
def test_a_signature_that_does_not_verify_goes_nowhere_and_the_serials_are_revoked(ground: Ground, bad: int) -> None:
    signed = []

    def flaw(signature: bytes) -> bytes:
        signed.append(signature)
        return signature[:-1] + bytes([signature[-1] ^ (len(signed) == bad)])

    async def main() -> None:
        async with ground.open() as world:
            _, issuing = await authority(world)
            before, token = len(await world.journalled()), on_token(world, flaw=flaw)
            template, orders, settle = below(issuing, "issuing", SERVER), [leaf("a"), leaf("b")], await rows(world)
            with pytest.raises(PkicodeError, match=r"what the key ca.issuing@1 signed was refused") as caught:
                await issue(template, orders, token, settle=settle)
            assert "serials count as issued and are revoked" in caught.value.help
            assert not await world.store.intents()
            assert len(await world.journalled()) == before
            burnt = [row for name in "ab" for row in await world.store.certificates(Want(address=f"cert.{name}"))]
            assert {row.status for row in burnt} <= {CertificateStatus.UNKNOWN, CertificateStatus.REVOKED}
            revoked = await world.store.revocations(burnt[0].issuer_key)
            assert {(one.serial, one.entry) for one in revoked} == {(row.serial, "unknown-intent") for row in burnt}
            assert {(one.reason, one.revoked_at, one.not_after) for one in revoked} == {
                ("unspecified", NOW, row.not_after) for row in burnt
            }
            assert not {"a", "b"} & {one.name for one in await world.store.held()}

    asyncio.run(main())


def test_the_second_verifier_stops_a_batch_that_its_issuer_may_not_sign(ground: Ground) -> None:
    async def main() -> None:
        async with ground.open() as world:
            root, issuing = await authority(world)
            order = Order("ca.deeper", 1, subject([("cn", "Deeper")]), (), "ec-p256", "ca.deeper@1")
            with pytest.raises(PkicodeError, match="path length"):
                await made(below(issuing, "issuing", ISSUING, validity=YEAR), order, world)
            again = evolve(order, generation=2, key_label="ca.deeper@2")
            assert await made(below(root, "root", ISSUING, validity=YEAR), again, world)

    asyncio.run(main())


def test_keys_that_never_leave_their_token_sign_one_by_one(ground: Ground) -> None:
    async def main() -> None:
        async with ground.open() as world:
            root, issuing, leaves = await batch(on_token(world), leaf("a"), leaf("b"))
            for one in leaves:
                assert_verifies(one.der, chain=[issuing.der], root=root.der, at=NOW)
            assert not ground.signed

    asyncio.run(main())


def test_the_audit_names_the_fingerprint_of_what_was_issued(ground: Ground) -> None:
    async def main() -> None:
        async with ground.open() as world:
            root = await made(*root_template(), world)
            events = await world.store.audit()
            assert [event.action for event in events] == ["issue.intent", "issue.issued"]
            assert json.loads(events[1].detail)["digest"] == root.sha256
            assert events[1].subject == "ca.root"

    asyncio.run(main())


def test_no_private_key_is_on_the_disk_in_the_clear(ground: Ground) -> None:
    async def main() -> list[bytes]:
        async with ground.open() as world:
            await batch(world, leaf("a"))
            return list(await world.keystores["soft"].export(["ca.root@1", "ca.issuing@1", "cert.a@1"]))

    exported = asyncio.run(main())
    written = b"".join(path.read_bytes() for path in ground.folder.iterdir())
    assert b"ca.root@1" in written
    for pkcs8 in exported:
        scalar = openssl_bytes("pkey", "-inform", "DER", "-outform", "DER", stdin=pkcs8)[7:39]
        assert scalar in openssl_bytes("pkey", "-inform", "DER", "-outform", "DER", "-traditional", stdin=pkcs8)
        assert scalar not in written


def test_a_self_signed_template_is_for_one_order(ground: Ground) -> None:
    async def main() -> None:
        async with ground.open() as world:
            template, order = root_template()
            with pytest.raises(ValueError, match="one order"):
                await issue(template, [order, order], world, settle=await rows(world))

    asyncio.run(main())


def test_the_repr_of_an_order_shows_no_request_and_no_context() -> None:
    shown = repr(leaf("a", csr=b"CSR BYTES", context={"secret": "hunter2"}))
    assert "hunter2" not in shown
    assert "CSR BYTES" not in shown
