"""pkicode.scan and pki.scan: a scan in the hands of Python, its frames, and what is asked of them."""

import asyncio
import inspect
import subprocess
import sys

import pandas as pd
import pytest

import pkicode
from pkicode.config.reader import read
from pkicode.notebook.pki import Pki
from tests.cli.running import CONFIG
from tests.guards.tree import ROOT
from tests.quick import quick_keystore
from tests.scan.servers import HOST, free_port, identity, openssl, started

VENDOR = "application/vnd.pkicode.scan.v1+json"


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    return identity(tmp_path_factory.mktemp("identity"), "ecdsa")


@pytest.fixture(scope="module")
def port(mine):
    with openssl(mine, "-www") as found:
        yield found


@pytest.fixture(scope="module")
def found(port):
    """A deep scan of a server, and of a port where nobody is."""
    return pkicode.scan([f"{HOST}:{port}", f"{HOST}:{free_port()}"])


def test_a_scan_has_seven_frames(found, port):
    assert found.endpoints["state"].tolist() == ["tls", "closed"]
    assert found.endpoints["versions"][0] == ("TLSv1.2", "TLSv1.3")
    assert set(found.ciphers["version"]) == {"TLSv1.2", "TLSv1.3"}
    assert "x25519" in set(found.groups["name"])
    assert found.certs["sans"].tolist() == [("dns:scanned.example",)]
    assert found.chains["sha256"].tolist() == found.certs["sha256"].tolist()
    assert set(found.verdicts["target"]) <= {f"{HOST}:{port}"}
    assert found.findings.groupby("target").size().min() == 1, "a closed port has one finding"


def test_a_scan_in_a_loop_is_the_same(found, port):
    again = asyncio.run(pkicode.ascan(f"{HOST}:{port}"))
    differences = found.diff(again)
    assert set(differences["target"]) == {found.endpoints["target"][1]}, "the closed port was not asked again"


def test_a_scan_comes_back_from_parquet_as_it_was(found, tmp_path):
    found.to_parquet(tmp_path / "scan")
    back = pkicode.read_scan(tmp_path / "scan")
    assert back.scan_id == found.scan_id
    assert repr(back) == repr(found)
    for name in ("endpoints", "findings", "ciphers", "groups", "certs", "chains", "verdicts"):
        pd.testing.assert_frame_equal(getattr(back, name), getattr(found, name))


def test_a_folder_without_a_scan_is_refused(tmp_path):
    with pytest.raises(pkicode.PkicodeError, match="holds no scan"):
        pkicode.read_scan(tmp_path)


def test_a_notebook_shows_a_scan_as_a_page_without_a_script(found):
    shown = found._repr_mimebundle_()
    assert list(shown) == ["text/plain", "text/html", "text/markdown", VENDOR]
    assert shown["text/plain"] == repr(found)
    assert "<script" not in shown["text/html"]
    assert shown[VENDOR]["states"] == {"tls": 1, "closed": 1}


def test_a_page_of_many_targets_is_at_most_64_kib():
    closed = free_port()
    many = pkicode.scan([f"127.0.{one}.{two}:{closed}" for one in range(5) for two in range(1, 201)], rate=100_000)
    assert len(many.endpoints) == 1000
    assert len(many._repr_mimebundle_()["text/html"].encode()) <= 64 * 1024


def test_progress_is_told_of_every_target(port):
    told = []
    pkicode.scan([f"{HOST}:{port}", f"{HOST}:{free_port()}"], checks="quick", emit=told.append)
    assert [(one.done, one.total) for one in told] == [(1, 2), (2, 2)]
    assert {one.message for one in told} == {"tls", "closed"}


def test_what_is_no_target_is_an_error_and_no_row():
    with pytest.raises(pkicode.ConfigError) as raised:
        pkicode.scan(["https://www.example.org", "10.0.0.0/2"])
    assert len(raised.value.problems) == 2
    assert "write the host and port" in "\n".join(raised.value.__notes__)


def test_what_is_not_asked_again_is_logged(tmp_path, caplog):
    target = f"{HOST}:{free_port()}"
    pkicode.scan(target, checks="quick", output=tmp_path / "one")
    assert not caplog.records
    pkicode.scan(target, checks="quick", output=tmp_path / "one")
    assert "all targets from a run that began" in caplog.text


@pytest.mark.parametrize("rate", [0, 0.5, -1, float("nan")])
def test_a_rate_that_is_none_is_refused_and_not_taken_for_another(rate):
    with pytest.raises(pkicode.PkicodeError, match="a rate of"):
        pkicode.scan(f"{HOST}:{free_port()}", rate=rate)


def test_no_workers_are_refused():
    with pytest.raises(pkicode.PkicodeError, match="worker processes do nothing"):
        pkicode.scan(f"{HOST}:{free_port()}", jobs=0)


@pytest.mark.parametrize("how", [str, lambda path: path, lambda path: [path]], ids=["text", "path", "list"])
def test_one_trust_store_needs_no_list(mine, port, how):
    found = pkicode.scan(f"{HOST}:{port}", checks="PKI", trust=how(mine.chain))
    assert mine.chain.name in set(found.verdicts["store"])


def test_posture_is_the_worst_grade_of_each_family(found):
    posture = found.findings.pki.posture()
    assert posture.index.name == "target"
    assert posture.loc[found.endpoints["target"], "Connectivity"].tolist() == ["Good", "Bad"]
    assert list(posture["PKI"].cat.categories) == ["Skipped", "Good", "Warning", "Unknown", "Bad"]
    assert posture["PKI"].isna().sum() == 1


def test_the_grade_table_counts_every_finding_once(found):
    table = found.findings.pki.grade_table()
    assert list(table.columns) == ["Skipped", "Good", "Warning", "Unknown", "Bad"]
    assert int(table.to_numpy().sum()) == len(found.findings)
    assert table.loc[("Connectivity", "TCPDial")].tolist() == [0, 1, 0, 0, 1]


def test_expiring_looks_ahead_and_not_back(found):
    ends = found.certs["not_after"][0]
    before = ends - pd.Timedelta(days=10)
    assert len(found.certs.pki.expiring("10d", now=before.to_pydatetime())) == 1
    assert len(found.certs.pki.expiring("9d", now=before.to_pydatetime())) == 0
    assert len(found.certs.pki.expiring("9d", now=(ends + pd.Timedelta(seconds=1)).to_pydatetime())) == 0


def test_the_timeline_counts_what_ends_each_week(found):
    line = found.certs.pki.timeline()
    assert line["count"].tolist() == [1]
    assert line["not_after"][0] <= found.certs["not_after"][0]
    assert str(line.dtypes["not_after"]) == "datetime64[s, UTC]"
    assert found.certs[:0].pki.timeline().empty


def test_alternative_names_come_apart(found):
    (row,) = found.certs.pki.explode_sans().to_dict("records")
    assert (row["san_type"], row["san"]) == ("dns", "scanned.example")


@pytest.fixture
def pki(quick_path):
    quick_keystore(quick_path)
    port = free_port()
    text = CONFIG.replace('dns = ["portal', f'endpoints = ["{HOST}:{port}"]\ndns = ["portal')
    (quick_path / "pki.toml").write_text(text, encoding="utf-8")
    made = pkicode.open(quick_path / "pki.toml")
    made.apply()
    return made


def serving(pki):
    """What `pki` issued for its portal, where it is declared."""
    out = pki.path.parent / "out"
    where = read(pki.path, environ={}).block("cert", "portal").spec.endpoints[0]
    files = ["-cert", out / "portal.pem", "-cert_chain", out / "portal.pem", "-key", out / "portal.key"]
    return started(["openssl", "s_server", "-accept", where, *files], "ACCEPT")


def test_a_project_trusts_its_own_roots_and_knows_where_its_certificates_are(pki):
    with serving(pki):
        found = pki.scan("cert.portal", checks="PKI")
        drift = pki.drift()
    own = found.verdicts[found.verdicts["store"] == "project"]
    assert own["ok"].tolist() == [True]
    assert found.expect == ("cert.portal",)
    assert found.drift(pki).empty
    assert drift.empty


def test_several_declared_scans_are_one_result(pki):
    with pki.path.open("a", encoding="utf-8") as toml:
        for name, least in (("mild", "TLSv1.2"), ("strict", "TLSv1.3")):
            toml.write(f'\n[scan.{name}]\ntargets = ["cert.portal"]\nexpect = ["cert.portal"]\n')
            toml.write(f'policy = {{ min_version = "{least}" }}\n')
    with serving(pki):
        found = pki.scan(checks="MinVersion")
        one = pki.scan("scan.strict", checks="MinVersion")
    grades = found.findings.set_index("scan")["grade"].to_dict()
    assert grades == {"mild": "Good", "strict": "Bad"}
    assert found.expect == ("cert.portal",)
    assert one.findings["scan"].tolist() == ["strict"]
    assert one.scan_id != found.scan_id


def test_what_is_issued_and_not_served_is_drift_in_python_too(pki):
    found = pki.scan("cert.portal", checks="quick")
    told = [(one.drift, one.address) for one in found.drift(pki).itertuples()]
    assert told == [("not-served", "cert.portal")]
    assert pki.drift("cert.portal")["drift"].tolist() == ["not-served"]
    everything = found.drift(pki, expect=("cert.app", "cert.portal"))
    assert len(everything) == 4


def test_an_inventory_becomes_entries_that_revoke_it(pki):
    inventory = pki.inventory()
    leaving = inventory[inventory["address"] == "cert.portal"]
    with pki.path.open("a", encoding="utf-8") as toml:
        toml.write("\n" + leaving.pki.to_toml(reason="cessationOfOperation"))
    counted = pki.plan().df.groupby("action", observed=True).size()
    assert counted["revoke"] == 1


def test_pkicode_is_light_until_something_is_scanned():
    script = (
        "import sys, pkicode; assert callable(pkicode.scan); "
        "sys.exit(any(name in sys.modules for name in ('pandas', 'pyarrow', 'pkicode.project')))"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == 0


def test_the_blocking_and_the_async_scan_take_the_same():
    for blocking, awaited in ((pkicode.scan, pkicode.ascan), (Pki.scan, Pki.ascan), (Pki.drift, Pki.adrift)):
        assert inspect.signature(blocking).parameters == inspect.signature(awaited).parameters
