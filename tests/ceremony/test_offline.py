"""The machine with the keys: what it needs, shows, refuses and signs."""

import asyncio
import hashlib
import shutil
from pathlib import Path

import pytest
from attrs import evolve

from pkicode.adapters.sealed import SealedKeyStore
from pkicode.ceremony.bundle import LIFE, BundleError, encode
from pkicode.model.instants import DAY, rfc3339
from pkicode.model.problem import KeyStoreError, PkicodeError
from pkicode.ports import Want
from pkicode.project.offline import check_clock, transcript
from tests.ceremony.two import Two
from tests.quick import PASSPHRASE


def test_the_offline_machine_needs_nothing_of_the_project(two: Two, quick_path: Path) -> None:
    two.card()
    two.apply()
    request = two.export()
    shutil.move(two.site.root, quick_path / "away")
    assert len(two.sign(request).signatures) == 1


def test_the_offline_machine_lints_again_and_signs_nothing_if_anything_is_wrong(two: Two) -> None:
    two.card()
    two.apply()
    request = two.export()
    [item] = request.items
    # A lower keyUsage, in otherwise the same bytes: a CA that may not sign.
    weak = evolve(item, tbs=item.tbs.replace(bytes.fromhex("03020106"), bytes.fromhex("03020780")))
    assert weak.tbs != item.tbs
    with pytest.raises(BundleError, match=r"nothing of this is signed: ca\.root: key_usage_of_a_ca"):
        two.offline.answer(evolve(request, items=(weak,)), two.site.now)
    with pytest.raises(BundleError, match="cannot be read"):
        two.offline.answer(evolve(request, items=(evolve(item, tbs=b"0\x00"),)), two.site.now)


def test_a_clock_that_is_wrong_is_told(two: Two) -> None:
    two.card()
    two.apply()
    request = two.export()
    check_clock(request, two.site.now)
    for now in (two.site.now - 2 * DAY, two.site.now + LIFE + 1):
        with pytest.raises(BundleError, match=f"this clock says {rfc3339(now)}"):
            check_clock(request, now)


def test_the_transcript_says_everything_that_was_signed(two: Two) -> None:
    two.card()
    two.apply()
    two.round()
    two.apply()
    request = two.export()
    response = two.sign(request)
    text = "\n".join(transcript(request, response))
    [_, issuing] = two.site.open().inventory(Want())
    for part in (request.words, request.digest.hex(), issuing.serial, "CN=Site Issuing A1", "permit DNS corp.example"):
        assert part in text
    assert "a CA, at most 0 CAs below, critical" in text
    assert "number                 1" in text
    for signature in response.signatures:
        assert hashlib.sha256(signature).hexdigest() in text


def test_no_private_key_is_online_and_none_is_in_what_is_carried(ready: Two) -> None:
    store = SealedKeyStore(ready.vault / "keys.db", _passphrase)
    [pkcs8] = asyncio.run(store.export(["ca.root@1"]))
    ready.site.later(181)
    request = ready.export()
    carried = encode(request) + encode(ready.sign(request))
    scalar = pkcs8[-200:][:48]
    everything = b"".join(path.read_bytes() for path in ready.site.root.rglob("*") if path.is_file())
    assert pkcs8 not in everything + carried
    assert scalar not in everything + carried
    assert "ca.root@1" not in {one.label for one in ready.site.open().upkeep.keys("main")}
    with pytest.raises(KeyStoreError, match="offline"):
        ready.site.open().export("ca.root", with_key=True)


async def _passphrase() -> bytes:
    return PASSPHRASE


@pytest.mark.parametrize("label", ["ca.root", "cert.portal@1", "root@1", 'ca.root["x"]@1', "ca.root@0"])
def test_a_label_that_is_no_generation_of_a_ca_makes_no_key(two: Two, label: str) -> None:
    with pytest.raises(PkicodeError):
        two.offline.init(label, "ec-p384")
    assert asyncio.run(SealedKeyStore(two.vault / "keys.db", _passphrase).labels()) == []


def test_init_of_a_key_that_is_there_gives_its_card_again_and_no_other_key(two: Two) -> None:
    first = two.offline.init("ca.root@1", "ec-p384")
    assert two.offline.init("ca.root@1", "ec-p384") == first
    with pytest.raises(KeyStoreError, match="is there already, as ec-p384"):
        two.offline.init("ca.root@1", "ec-p256")
