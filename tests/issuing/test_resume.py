"""issuing.resume after a stop at every instant: no serial signed twice, no certificate without a record."""

import asyncio
import hashlib
import sqlite3
from collections.abc import Callable, Sequence

import pytest
from attrs import evolve

from pkicode.issuing import Issued, Order, Remade, Template, issue, resume
from pkicode.model.faults import FaultPoint
from pkicode.model.instants import DAY
from pkicode.model.names import SanType
from pkicode.model.problem import Problem, StateError
from pkicode.ports import Blocked, Certificate, CertificateStatus, Want, World, Write
from pkicode.x509 import der
from pkicode.x509.names import san
from tests.issuing.ground import (
    NOW,
    SERVER,
    FaultyStore,
    Ground,
    Stopped,
    authority,
    below,
    csr,
    leaf,
    made,
    on_token,
    root_template,
    rows,
    stop_at,
    tbs_of,
)
from tests.oracles import assert_verifies

POINTS = [
    FaultPoint.KEYS_MADE,
    FaultPoint.INTENTS_STORED,
    FaultPoint.SIGNED,
    FaultPoint.JOURNALLED,
    FaultPoint.ISSUED,
]
REQUEST = csr()
ORDERS = (leaf("a"), leaf("b", csr=REQUEST), leaf("c"))


async def resumed(world: World, remake: Callable[[Certificate], Remade | None]) -> Sequence[Certificate]:
    """Every open intent, settled."""
    return await resume(world, await world.store.intents(), remake)


async def says(template: Template, orders: tuple[Order, ...], world: World) -> Callable[[Certificate], Remade | None]:
    """Configuration: these orders under this template, and nothing else."""
    settle, known = await rows(world), {one.address: one for one in orders}

    def remake(intent: Certificate) -> Remade | None:
        order = known.get(intent.address)
        return (template, order, settle) if order else None

    return remake


async def stopped(
    ground: Ground, point: FaultPoint, orders: tuple[Order, ...] = ORDERS, alg: str = "ec-p256", **changes: int
) -> Template:
    """A project whose apply stopped here; the template it was about."""
    async with ground.open() as world:
        _, issuing = await authority(world, alg)
        template = below(issuing, "issuing", SERVER)
        with pytest.raises(Stopped):
            await issue(template, orders, evolve(world, reach=stop_at(point), **changes), settle=await rows(world))
    return template


def tampered(ground: Ground, column: str, value: object) -> None:
    """Somebody who can write to the database changes every open intent."""
    with sqlite3.connect(ground.folder / "state.db") as other:
        other.execute(f"UPDATE certificates SET {column} = ? WHERE status = 'intent'", (value,))


async def only_unknown(world: World, ended: list[Certificate]) -> None:
    """Nothing of these is a certificate; each is revoked."""
    assert {one.status for one in ended} == {CertificateStatus.UNKNOWN}
    assert not await world.store.intents()
    revoked = {one.serial: one for one in await world.store.revocations(ended[0].issuer_key)}
    assert set(revoked) == {one.serial for one in ended}
    assert {(one.entry, one.reason) for one in revoked.values()} == {("unknown-intent", "unspecified")}


@pytest.mark.invariant(4)
@pytest.mark.invariant(5)
@pytest.mark.parametrize("point", POINTS)
def test_stopped_anywhere_resume_and_apply_again_reach_the_same_end(ground: Ground, point: FaultPoint) -> None:
    async def main() -> None:
        template = await stopped(ground, point)
        before = list(ground.signed)
        async with ground.open(session="s2", plan_id="p2", now=NOW + 3600) as world:
            intents = {one.serial: one.der for one in await world.store.intents()}
            ended = await resumed(world, await says(template, ORDERS, world))
            assert {one.status for one in ended} <= {CertificateStatus.ISSUED}
            for one in ended:
                assert tbs_of(one.der) == intents[one.serial]
                assert_verifies(one.der, chain=[template.issuer.certificate], root=before[0], at=NOW)
            held = {one.name for one in await world.store.held()}
            left = [one for one in ORDERS if one.address.removeprefix("cert.") not in held]
            assert len(left) == (3 if point is FaultPoint.KEYS_MADE else 0)
            await issue(template, left, world, settle=await rows(world)) if left else None
            assert not await resumed(world, lambda intent: None)
            inventory = await world.store.certificates(Want(ca="issuing"))
            assert sorted(one.address for one in inventory) == ["cert.a", "cert.b", "cert.c"]
            assert {one.status for one in inventory} == {CertificateStatus.ISSUED}
            records = await world.store.records("cert", "a")
            assert records["", 1] == f'"{next(one.serial for one in inventory if one.address == "cert.a")}"'
            # One serial, one certificate, whoever may have seen the first signature.
            assert len({tbs_of(one) for one in ground.signed}) == len(set(ground.signed)) == 2 + 3
            assert {one.der for one in inventory} <= set((await world.journalled()).values())

    asyncio.run(main())


@pytest.mark.parametrize("point", POINTS)
def test_a_root_stopped_anywhere_is_finished_as_the_same_certificate(ground: Ground, point: FaultPoint) -> None:
    template, order = root_template()

    async def main() -> None:
        async with ground.open(reach=stop_at(point)) as world:
            with pytest.raises(Stopped):
                await made(template, order, world)
        async with ground.open(now=NOW + 60) as world:
            await resumed(world, await says(template, (order,), world))
            if point is FaultPoint.KEYS_MADE:
                await made(template, order, world)
            [root] = await world.store.certificates(Want(ca="root"))
            assert root.status == CertificateStatus.ISSUED
            assert len(set(ground.signed)) == 1
            assert ("", 1) in await world.store.records("ca", "root")

    asyncio.run(main())


@pytest.mark.parametrize("commit", [1, 2])
@pytest.mark.parametrize("happened", [False, True])
def test_a_commit_that_fails_or_only_seems_to_loses_nothing(ground: Ground, commit: int, happened: bool) -> None:
    async def main() -> None:
        async with ground.open() as world:
            _, issuing = await authority(world)
            template, settle = below(issuing, "issuing", SERVER), await rows(world)
            shaky = evolve(world, store=FaultyStore(world.store, commit, happened))
            try:
                await issue(template, ORDERS, shaky, settle=settle)
            except StateError as error:
                assert "disk went away" in str(error)  # noqa: PT017 - with commit 1 it may well succeed
        async with ground.open() as world:
            await resumed(world, await says(template, ORDERS, world))
            inventory = await world.store.certificates(Want(ca="issuing"))
            assert len(inventory) == (0 if (commit, happened) == (1, False) else 3)
            assert {one.status for one in inventory} <= {CertificateStatus.ISSUED}
            assert len(set(ground.signed)) == 2 + len(inventory)

    asyncio.run(main())


def test_an_intent_nobody_asked_for_is_never_signed(ground: Ground) -> None:
    async def main() -> None:
        template = await stopped(ground, FaultPoint.INTENTS_STORED)
        before = len(ground.signed)
        async with ground.open() as world:
            [one, *_] = await world.store.intents()
            evil = evolve(one, serial="666", address="cert.evil", spki="00" * 32)
            await world.store.commit(
                Write(at=NOW, actor="evil", action="plant", subject="x", intents=[evil]), world.lease
            )
            ended = await resumed(world, await says(template, (), world))
            assert len(ended) == 4
            await only_unknown(world, list(ended))
            assert len(ground.signed) == before

    asyncio.run(main())


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("der", b"0\x03\x02\x01\x05"),
        ("not_before", NOW + 1),
        ("not_before", NOW - 400 * DAY),
        ("not_after", NOW + 4000 * DAY),
        ("issuer_key", "ab" * 32),
        ("spki", "ab" * 32),
        ("subject", "CN=somebody else"),
        ("sans", '["dns:evil.example"]'),
        ("duty", "[]"),
        ("profile", "client"),
        ("ca", "root"),
        ("key_label", "cert.b@1"),
    ],
)
def test_an_intent_altered_in_the_database_is_never_signed(ground: Ground, column: str, value: object) -> None:
    async def main() -> None:
        template = await stopped(ground, FaultPoint.INTENTS_STORED, ORDERS[:1])
        tampered(ground, column, value)
        before = len(ground.signed)
        async with ground.open() as world:
            ended = await resumed(world, await says(template, ORDERS, world))
            await only_unknown(world, list(ended))
            assert len(ground.signed) == before

    asyncio.run(main())


def test_an_intent_that_begins_in_the_future_is_never_signed(ground: Ground) -> None:
    async def main() -> None:
        template = await stopped(ground, FaultPoint.INTENTS_STORED, ORDERS[:1], now=NOW + 100 * DAY)
        before = len(ground.signed)
        async with ground.open() as world:
            await only_unknown(world, list(await resumed(world, await says(template, ORDERS, world))))
            assert len(ground.signed) == before

    asyncio.run(main())


def test_an_intent_that_would_outlive_the_issuer_is_never_signed(ground: Ground) -> None:
    async def main() -> None:
        template = await stopped(ground, FaultPoint.INTENTS_STORED, ORDERS[:1])
        before = len(ground.signed)
        ends_earlier = evolve(template, issuer=evolve(template.issuer, not_after=NOW + DAY))
        async with ground.open() as world:
            await only_unknown(world, list(await resumed(world, await says(ends_earlier, ORDERS, world))))
            assert len(ground.signed) == before

    asyncio.run(main())


def test_of_two_intents_for_one_generation_neither_is_signed(ground: Ground) -> None:
    async def main() -> None:
        template = await stopped(ground, FaultPoint.INTENTS_STORED, ORDERS[:1])
        before = len(ground.signed)
        async with ground.open() as world:
            [one] = await world.store.intents()
            other = evolve(one, serial="abcdef", der=one.der + b"x")
            write = Write(at=NOW, actor="evil", action="plant", subject="x", intents=[other])
            await world.store.commit(write, world.lease)
            await only_unknown(world, list(await resumed(world, await says(template, ORDERS, world))))
            assert len(ground.signed) == before

    asyncio.run(main())


def test_what_configuration_no_longer_says_is_not_signed_but_what_exists_is_kept_without_a_row(ground: Ground) -> None:
    changed = (evolve(ORDERS[0], sans=(san(SanType.DNS, "changed.corp.test"),)),)

    async def ends(point: FaultPoint, says_now: tuple[Order, ...]) -> tuple[str, bool]:
        folder = ground.folder / f"{point}-{len(says_now)}"
        folder.mkdir(mode=0o700)
        other = Ground(folder)
        template = await stopped(other, point, ORDERS[:1])
        async with other.open() as world:
            [ended] = await resumed(world, await says(template, says_now, world))
            return ended.status, "a" in {one.name for one in await world.store.held()}

    async def main() -> None:
        for now in (changed, ()):
            assert await ends(FaultPoint.INTENTS_STORED, now) == (CertificateStatus.UNKNOWN, False)
            assert await ends(FaultPoint.JOURNALLED, now) == (CertificateStatus.ISSUED, False)

    asyncio.run(main())


def test_a_forged_certificate_in_the_journal_settles_nothing(ground: Ground) -> None:
    async def main() -> None:
        await stopped(ground, FaultPoint.INTENTS_STORED, ORDERS[:1])
        async with ground.open() as world:
            [one] = await world.store.intents()
            parts = der.children(der.only(ground.signed[-1], der.SEQUENCE))
            forged = der.tlv(der.SEQUENCE, one.der, der.tlv(*parts[1]), der.tlv(*parts[2]))
            await world.journal([forged])
            assert hashlib.sha256(one.der).hexdigest() in await world.journalled()
            await only_unknown(world, list(await resumed(world, lambda intent: None)))

    asyncio.run(main())


def test_a_journal_line_that_is_no_certificate_and_a_serial_that_is_none_stop_with_the_mend(ground: Ground) -> None:
    async def main() -> None:
        template = await stopped(ground, FaultPoint.INTENTS_STORED, ORDERS[:1])
        async with ground.open() as world:
            [one] = await world.store.intents()
            await world.journal([der.tlv(der.SEQUENCE, one.der, der.tlv(der.NULL))])
            with pytest.raises(StateError, match="not a certificate") as caught:
                await resumed(world, await says(template, ORDERS, world))
            assert "state verify" in caught.value.help
        tampered(ground, "serial", "zz")
        async with ground.open() as world:
            with pytest.raises(StateError, match="`zz`, which is none of ours"):
                await resumed(world, await says(template, ORDERS, world))

    asyncio.run(main())


def test_a_key_that_does_not_sign_the_same_twice_burns_the_serial(ground: Ground) -> None:
    async def main() -> None:
        template = await stopped(ground, FaultPoint.SIGNED)
        async with ground.open() as world:
            await only_unknown(world, list(await resumed(on_token(world), await says(template, ORDERS, world))))
        async with ground.open() as world:
            again = [evolve(one, generation=2) for one in ORDERS]
            answers = await issue(template, again, world, settle=await rows(world))
            assert all(isinstance(one, Issued) for one in answers)

    asyncio.run(main())


@pytest.mark.invariant(4)
@pytest.mark.invariant(5)
@pytest.mark.parametrize("point", POINTS)
def test_what_an_ml_dsa_key_may_have_signed_is_burnt_and_revoked_and_never_signed_again(
    ground: Ground, point: FaultPoint
) -> None:
    async def main() -> None:
        template = await stopped(ground, point, alg="ml-dsa-44")
        before = list(ground.signed)
        async with ground.open(session="s2", plan_id="p2", now=NOW + 3600) as world:
            ended = list(await resumed(world, await says(template, ORDERS, world)))
            if point in {FaultPoint.INTENTS_STORED, FaultPoint.SIGNED}:
                await only_unknown(world, ended)
            else:
                assert {one.status for one in ended} <= {CertificateStatus.ISSUED}
            assert ground.signed == before
            burnt = [one for one in ended if one.status == CertificateStatus.UNKNOWN]
            left = [] if point in {FaultPoint.JOURNALLED, FaultPoint.ISSUED} else list(ORDERS)
            again = [evolve(one, generation=1 + len(burnt) // 3) for one in left]
            await issue(template, again, world, settle=await rows(world)) if again else None
            issued = await world.store.certificates(Want(ca="issuing", statuses=(CertificateStatus.ISSUED,)))
            assert sorted(one.address for one in issued) == ["cert.a", "cert.b", "cert.c"]
            assert not {one.serial for one in issued} & {one.serial for one in burnt}
            # One serial, one signature.
            assert len({tbs_of(one) for one in ground.signed}) == len(set(ground.signed))

    asyncio.run(main())


def test_a_key_lost_since_the_intent_is_not_made_again(ground: Ground) -> None:
    async def main() -> None:
        template = await stopped(ground, FaultPoint.INTENTS_STORED, ORDERS[:1])
        moved = evolve(ORDERS[0], key_label="cert.gone@1")
        async with ground.open() as world:
            await only_unknown(world, list(await resumed(world, await says(template, (moved,), world))))
            assert "cert.gone@1" not in await world.keystores["soft"].labels()

    asyncio.run(main())


def test_resume_stopped_anywhere_is_resumed(ground: Ground) -> None:
    async def main() -> None:
        template = await stopped(ground, FaultPoint.INTENTS_STORED)
        for point in (FaultPoint.SIGNED, FaultPoint.JOURNALLED, FaultPoint.ISSUED):
            async with ground.open(reach=stop_at(point)) as world:
                with pytest.raises(Stopped):
                    await resumed(world, await says(template, ORDERS, world))
        async with ground.open() as world:
            assert not await resumed(world, await says(template, ORDERS, world))
            inventory = await world.store.certificates(Want(ca="issuing", statuses=(CertificateStatus.ISSUED,)))
            assert len(inventory) == 3
            assert len(set(ground.signed)) == 2 + 3

    asyncio.run(main())


@pytest.mark.parametrize("which", ["the key", "the issuer"])
def test_what_was_blocked_after_the_crash_is_not_signed_by_resume(ground: Ground, which: str) -> None:
    async def main() -> None:
        template = await stopped(ground, FaultPoint.INTENTS_STORED)
        before = list(ground.signed)
        async with ground.open(session="s2", plan_id="p2", now=NOW + 3600) as world:
            intents = await world.store.intents()
            spkis = [one.spki for one in intents] if which == "the key" else [intents[0].issuer_key]
            blocked = [Blocked(one, NOW, "keyCompromise", "INC-1") for one in spkis]
            await world.store.commit(Write(NOW, "test", "revoke", "x", blocked=blocked), world.lease)
            await only_unknown(world, [*await resumed(world, await says(template, ORDERS, world))])
            assert ground.signed == before
            answers = await issue(template, ORDERS, world, settle=await rows(world))
            assert [one.code for one in answers if isinstance(one, Problem)] == ["E0528"] * len(ORDERS)

    asyncio.run(main())
