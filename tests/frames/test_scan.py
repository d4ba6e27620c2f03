"""The frames of a scan: the same columns and dtypes whatever is in them, in memory, in Parquet, and in parts."""

import io
import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from attrs import evolve

import pkicode
from pkicode.frames.compare import diff
from pkicode.frames.parts import Manifest, OtherScan, begin, load
from pkicode.frames.scan import TABLES, scan
from pkicode.scanner.finding import Cipher, Endpoint, Finding, Grade, Group, Judged, Target
from tests.scan_pki.presented import TARGET, foreign, issuing, leaf, sent
from tests.x509.pki import NOW

ROOT = Path(__file__).parents[2]
DTYPES = {
    "endpoints": {
        "target": "string", "host": "string", "address": "string", "port": "Int64", "starttls": "string",
        "server_name": "string", "at": "datetime64[s, UTC]", "state": "category", "versions": "object",
        "letter": "category", "alpn": "string", "seconds": "float64", "connections": "Int64", "octets": "Int64",
        "scan": "string",
    },
    "findings": {
        "target": "string", "family": "category", "check": "string", "grade": "category", "value": "string",
        "detail": "string", "scan": "string",
    },
    "ciphers": {
        "target": "string", "version": "category", "rank": "Int64", "id": "Int64", "name": "string", "kx": "string",
        "bits": "Int64", "fs": "bool", "aead": "bool", "strength": "category",
    },
    "groups": {"target": "string", "version": "category", "rank": "Int64", "id": "Int64", "name": "string"},
    "certs": {
        "sha256": "string", "subject": "string", "issuer": "string", "serial_number": "string",
        "not_before": "datetime64[s, UTC]", "not_after": "datetime64[s, UTC]", "key_alg": "string", "key_bits": "Int64",
        "signature_hash": "string", "spki": "string", "sans": "object", "is_ca": "bool", "self_signed": "bool",
        "must_staple": "bool", "ocsp_urls": "object", "crl_urls": "object", "trouble": "object",
    },
    "chains": {"target": "string", "slot": "Int64", "position": "Int64", "sha256": "string", "role": "category"},
    "verdicts": {"target": "string", "slot": "Int64", "store": "string", "ok": "bool", "reason": "string"},
}  # fmt: skip

CLOSED = Endpoint(Target("10.0.0.9", "10.0.0.9", 443), NOW, "closed")
FULL = Endpoint(
    TARGET, NOW, "tls", versions=("TLSv1.2", "TLSv1.3"), letter="A-", alpn="h2", seconds=0.25, connections=31,
    octets=9000,
    findings=(Finding("PKI", "HostName", Grade.GOOD, "ok", "it"), Finding("HTTP", "HSTS", Grade.WARNING, "none", "")),
    ciphers=(
        Cipher("TLSv1.3", 1, 0x1301, "TLS_AES_128_GCM_SHA256", "any", 128, fs=True, aead=True, strength="strong"),
        Cipher("TLSv1.2", 1, 0x002F, "TLS_RSA_WITH_AES_128_CBC_SHA", "RSA", 128, fs=False, aead=False, strength="weak"),
    ),
    groups=(Group("TLSv1.3", 1, 29, "x25519"),), chains=sent(leaf(), issuing()) + sent(leaf(alg="rsa-2048"), slot=1),
    verdicts=(Judged(0, "own", True, ""), Judged(1, "own", False, "unknown-issuer: who")),
)  # fmt: skip


def dtypes(frame):
    return {name: str(dtype) for name, dtype in frame.dtypes.items()}


@pytest.mark.parametrize("endpoints", [[], [CLOSED], [FULL, CLOSED]], ids=["empty", "closed", "full"])
def test_every_table_has_its_columns_and_dtypes_even_when_empty(endpoints):
    found = scan(endpoints)
    assert {name: dtypes(getattr(found, name)) for name in TABLES} == DTYPES


@pytest.mark.parametrize("name", TABLES)
def test_a_frame_of_a_scan_survives_parquet_on_its_own(name, tmp_path):
    frame = getattr(scan([FULL, CLOSED]), name)
    frame.to_parquet(tmp_path / "frame.parquet")
    back = pkicode.read_frame(tmp_path / "frame.parquet")
    assert dtypes(back) == dtypes(frame)
    # A string of pandas 2 may be held in two ways.
    pd.testing.assert_frame_equal(back.astype(frame.dtypes), frame)


def test_a_row_is_what_was_recorded():
    found = scan([evolve(FULL, scan="edge"), CLOSED])
    assert found.findings["scan"].tolist() == ["edge", "edge"]
    row = found.endpoints.iloc[0].to_dict()
    assert row == {
        "target": "portal.corp.example (192.0.2.7):443", "host": "portal.corp.example", "address": "192.0.2.7",
        "port": 443, "starttls": "", "server_name": "portal.corp.example", "at": pd.Timestamp(NOW, unit="s", tz="UTC"),
        "state": "tls", "versions": ("TLSv1.2", "TLSv1.3"), "letter": "A-", "alpn": "h2", "seconds": 0.25,
        "connections": 31, "octets": 9000, "scan": "edge",
    }  # fmt: skip
    assert found.endpoints["letter"].isna().tolist() == [False, True]
    assert found.findings["grade"].max() == "Warning"
    assert found.ciphers["fs"].tolist() == [True, False]
    assert found.verdicts["reason"].tolist() == ["", "unknown-issuer: who"]


def test_scans_of_one_target_by_two_policies_are_compared_each_with_its_own():
    finding = Finding("TLSHandshake", "MinVersion", Grade.GOOD, "TLSv1.2", "")
    mild, strict = evolve(FULL, scan="mild", findings=(finding,)), evolve(FULL, scan="strict", findings=(finding,))
    worse = evolve(strict, findings=(evolve(finding, grade=Grade.BAD),))
    found = diff(scan([mild, strict]), scan([mild, worse]))
    assert found[["name", "before", "after"]].to_numpy().tolist() == [
        ["strict TLSHandshake MinVersion", "Good TLSv1.2", "Bad TLSv1.2"]
    ]


def test_a_certificate_stands_there_once_however_often_it_is_served():
    other = evolve(FULL, target=Target("10.0.0.8", "10.0.0.8", 443))
    found = scan([FULL, other])
    assert len(found.certs) == 3
    assert found.certs["sha256"].is_unique
    assert found.chains["role"].tolist() == ["leaf", "intermediate", "leaf"] * 2
    joined = found.chains.merge(found.certs, on="sha256")
    assert len(joined) == 6
    assert joined["sans"].map(len).tolist() == [1, 0, 1] * 2


def test_categories_sort_as_they_mean():
    found = scan([FULL])
    assert found.ciphers.sort_values("version")["version"].tolist() == ["TLSv1.2", "TLSv1.3"]
    assert list(found.findings["grade"].cat.categories) == ["Skipped", "Good", "Warning", "Unknown", "Bad"]


def test_a_posture_tells_what_is_not_known_before_what_could_be_better():
    grades = (Grade.GOOD, Grade.UNKNOWN, Grade.WARNING, Grade.SKIPPED)
    told = tuple(Finding("PKI", f"check {one}", one, "", "") for one in grades)
    posture = scan([evolve(FULL, findings=told)]).findings.pki.posture()
    posture["mine"] = "a column of the analyst's own"
    assert posture["PKI"].tolist() == ["Unknown"]


def test_texts_of_strangers_stay_data():
    hostile = "=cmd|' /C calc'!A0\x1b[31m" + chr(0x202E) + chr(0xDC80)
    odd = evolve(FULL, alpn=hostile, chains=sent(foreign(subject="=1+1\x1b[2J" + chr(0x202E))), findings=())
    found = scan([odd])
    assert found.endpoints["alpn"][0] == hostile.replace(chr(0xDC80), "\\udc80")
    assert found.certs["subject"][0] == "CN==1\\+1\x1b[2J" + chr(0x202E)


def test_a_certificate_that_cannot_be_read_has_a_row():
    found = scan([evolve(FULL, chains=sent(b"\x30\x03junk"))])
    (row,) = found.certs.to_dict("records")
    assert (row["subject"], row["trouble"]) == ("", ("it is no certificate",))
    assert pd.isna(row["not_after"])


@pytest.mark.parametrize("name", TABLES)
def test_a_table_survives_parquet(name):
    frame = getattr(scan([FULL, CLOSED]), name)
    stored = io.BytesIO()
    frame.to_parquet(stored)
    stored.seek(0)
    back = pd.read_parquet(stored)
    # Parquet knows lists and milliseconds, not tuples and seconds.
    for column in frame.columns[frame.dtypes == "object"]:
        back[column] = [tuple(one) for one in back[column]]
    # Where strings are kept is pandas's own: version 2 reads them into another place than version 3.
    back = back.astype(dict(frame.dtypes[frame.dtypes.astype(str).isin(["datetime64[s, UTC]", "string"])]))
    pd.testing.assert_frame_equal(back, frame)


def same(one, other):
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name))


MANIFEST = Manifest("a1", "00ff", 10, 4, NOW)


def endpoints_of(number):
    places = range(number * 4, min(number * 4 + 4, 10))
    return [evolve(FULL, target=Target(f"10.0.0.{at}", f"10.0.0.{at}", 443)) for at in places]


def test_parts_put_together_are_the_scan(tmp_path):
    parts = begin(tmp_path / "scan", MANIFEST)
    assert parts.missing() == [0, 1, 2]
    for number in (2, 0, 1):
        parts.write(number, endpoints_of(number))
    assert parts.missing() == []
    same(load(tmp_path / "scan").read(), scan([one for number in range(3) for one in endpoints_of(number)]))


def test_every_target_belongs_to_one_part():
    manifest = Manifest("a1", "00ff", 1003, 100, NOW)
    parts = [list(manifest.numbers(number)) for number in range(manifest.parts)]
    assert [len(one) for one in parts] == [100] * 10 + [3]
    assert sorted(number for one in parts for number in one) == list(range(1003))
    assert list(evolve(manifest, key="00").numbers(0)) != parts[0]


def test_no_parts_are_an_empty_scan_with_all_columns(tmp_path):
    same(begin(tmp_path / "scan", MANIFEST).read(), scan([]))


def test_what_is_not_marked_done_is_made_again(tmp_path):
    parts = begin(tmp_path / "scan", MANIFEST)
    parts.write(0, endpoints_of(1))
    (tmp_path / "scan/done/0000000").unlink()
    (tmp_path / "scan/endpoints/.0000001.parquet.77").write_bytes(b"half a f")
    again = begin(tmp_path / "scan", evolve(MANIFEST, key="another", begun=NOW + 1))
    assert again.manifest == MANIFEST, "it goes on in the first run's order"
    assert again.missing() == [0, 1, 2]
    same(again.read(), scan([]))
    for number in range(3):
        again.write(number, endpoints_of(number))
    same(again.read(), scan([one for number in range(3) for one in endpoints_of(number)]))


KILLED = """
import os, pickle, signal, sys
from pathlib import Path
from pkicode.frames.parts import begin
folder, limit, given = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
manifest, endpoints = pickle.loads(given.read_bytes())
parts = begin(folder, manifest)
switches = 0
def count(event, args):
    global switches
    if event == "os.rename":
        switches += 1
        if switches > limit:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
for number in parts.missing():
    parts.write(number, endpoints[number])
"""


@pytest.mark.parametrize("switches", [0, 3, 7, 8, 12, 23])
def test_a_scan_that_is_killed_at_any_file_goes_on_to_the_same_frames(tmp_path, switches):
    folder, given = tmp_path / "scan", tmp_path / "endpoints"
    given.write_bytes(pickle.dumps((MANIFEST, [endpoints_of(number) for number in range(3)])))

    def run(limit):
        return subprocess.run([sys.executable, "-c", KILLED, folder, str(limit), given], cwd=ROOT).returncode

    assert run(switches) == -signal.SIGKILL
    assert load(folder).missing() == list(range(switches // 8, 3))
    assert run(1000) == 0
    same(load(folder).read(), scan([one for number in range(3) for one in endpoints_of(number)]))


@pytest.mark.parametrize(
    "other", [evolve(MANIFEST, scan_id="b2"), evolve(MANIFEST, targets=11), evolve(MANIFEST, part_size=5)]
)
def test_another_scan_is_not_mixed_into_it(tmp_path, other):
    begin(tmp_path / "scan", MANIFEST)
    with pytest.raises(OtherScan, match="another scan"):
        begin(tmp_path / "scan", other)


@pytest.mark.parametrize(
    "manifest",
    [b"", b"{", b"[]", b"{}", b"[" * 4096, json.dumps({"format": "pkicode.scan.parts", "version": 2}).encode()],
)
def test_a_folder_of_something_else_is_left_alone(tmp_path, manifest):
    (tmp_path / "scan.json").write_bytes(manifest)
    with pytest.raises(OtherScan):
        begin(tmp_path, MANIFEST)
    assert [path.name for path in tmp_path.iterdir()] == ["scan.json"]


def test_a_manifest_that_never_ends_is_none(tmp_path):
    (tmp_path / "scan.json").symlink_to("/dev/zero")
    with pytest.raises(OtherScan):
        load(tmp_path)


def test_a_part_that_is_damaged_is_named(tmp_path):
    parts = begin(tmp_path / "scan", MANIFEST)
    parts.write(0, endpoints_of(0))
    (tmp_path / "scan/ciphers/0000000.parquet").write_bytes(b"PAR1")
    with pytest.raises(OtherScan, match="ciphers/0000000") as raised:
        parts.read()
    assert "done/0000000" in raised.value.help


def test_a_part_that_would_fill_the_memory_is_refused(tmp_path):
    """One text, named in every row: some thousand octets stand for terabytes."""
    parts = begin(tmp_path / "scan", MANIFEST)
    parts.write(0, endpoints_of(0))
    path = tmp_path / "scan/findings/0000000.parquet"
    there = pq.read_table(path)
    named = pa.array([0] * 200_000, pa.int32())
    text = pa.DictionaryArray.from_arrays(named, pa.array(["x" * 1_000_000]))
    rows = pa.table(
        {one.name: text if one.name == "detail" else pa.nulls(len(named), one.type) for one in there.schema}
    )
    pq.write_table(rows, path, compression="zstd")
    assert path.stat().st_size < 100_000
    with pytest.raises(OtherScan, match=r"findings/0000000\.parquet holds more than 1,073,741,824 octets"):
        parts.read()


def test_a_part_that_is_a_pipe_is_waited_for_by_nobody(tmp_path):
    parts = begin(tmp_path / "scan", MANIFEST)
    parts.write(0, endpoints_of(0))
    (tmp_path / "scan/findings/0000000.parquet").unlink()
    os.mkfifo(tmp_path / "scan/findings/0000000.parquet")
    with pytest.raises(OtherScan, match="is damaged or not there"):
        parts.read()


def test_two_scans_that_found_the_same_differ_in_nothing():
    later = evolve(FULL, at=NOW + 3600, seconds=9.0, octets=1)
    found = diff(scan([FULL, CLOSED]), scan([CLOSED, later]))
    assert found.empty
    assert dtypes(found) == {
        "target": "string", "what": "category", "name": "string", "before": "string", "after": "string",
    }  # fmt: skip


def test_a_diff_says_what_changed_and_what_came_and_went():
    after = evolve(
        FULL, versions=("TLSv1.3",), letter="A", ciphers=FULL.ciphers[:1], chains=sent(leaf(serial=5), issuing()),
        findings=(Finding("PKI", "HostName", Grade.BAD, "mismatch", "no"),),
    )  # fmt: skip
    found = diff(scan([FULL]), scan([after, CLOSED]))
    told = {(one.what, one.name): (one.before, one.after) for one in found.itertuples()}
    target = str(TARGET)
    assert told["endpoint", "letter"] == ("A-", "A")
    assert told["endpoint", "versions"] == ("TLSv1.2 TLSv1.3", "TLSv1.3")
    assert told["finding", "PKI HostName"] == ("Good ok", "Bad mismatch")
    assert told["finding", "HTTP HSTS"] == ("Warning none", pd.NA)
    assert told["cipher", "TLSv1.2 TLS_RSA_WITH_AES_128_CBC_SHA"] == ("rank 1", pd.NA)
    assert told["endpoint", "state"] == (pd.NA, "closed")
    assert set(found["target"]) == {target, str(CLOSED.target)}
    assert ("leaf", "slot 0") in told
    assert ("group", "TLSv1.3 x25519") not in told
