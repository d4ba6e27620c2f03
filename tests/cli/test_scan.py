"""pkicode scan and pkicode drift, against servers that this machine runs."""

import csv
import io
import json
import subprocess
import sys

import pytest

import pkicode
from tests.cli.running import environment
from tests.cli.test_crl import served
from tests.guards.tree import ROOT
from tests.scan import revoking
from tests.scan.servers import HOST, free_port, identity, openssl, started

CHECKS = ("--checks", "quick")


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    return identity(tmp_path_factory.mktemp("identity"), "ecdsa")


@pytest.fixture
def port(mine):
    with openssl(mine, "-www") as found:
        yield found


@pytest.fixture
def bare(folder):
    """A folder without a pki.toml."""
    (folder / "pki.toml").unlink()
    return folder


def test_scan_needs_no_pki_toml_and_says_what_is_there(run, bare, port):
    closed = free_port()
    ran = run("scan", f"{HOST}:{port}", f"{HOST}:{closed}")
    assert ran.code == 0, ran.err
    first, second = (line.split() for line in ran.out.splitlines()[1:3])
    assert first[:2] == [f"{HOST}:{port}", "tls"]
    assert second[:2] == [f"{HOST}:{closed}", "closed"]
    assert "Bad      Connectivity TCPDial closed" in ran.out
    assert "2 targets: 1 tls, 1 closed." in ran.out


def test_scan_loads_nothing_that_one_target_does_not_take(port):
    """What it costs to start is most of what it costs to scan one target."""
    unused = {
        "pandas", "multiprocessing", "rich.progress", "pkicode.ports", "pkicode.project", "pkicode.config.forms",
        "pkicode.x509.keys", "pkicode.revocation.ocsp_response", "cryptography.x509.ocsp",
    }  # fmt: skip
    code = f"""
import sys
from pkicode.cli import main
main(["-q", "-C", "/", "scan", "{HOST}:{port}"])
print(*sys.modules, file=sys.stderr)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"{HOST}:{port}" in ran.stdout
    assert unused & set(ran.stderr.split()) == set()


def test_scan_as_json_has_seven_tables(run, bare, port):
    told = run("scan", f"{HOST}:{port}", *CHECKS, "--format", "json").json
    assert list(told) == [
        "format", "version", "scan_id", "endpoints", "findings", "ciphers", "groups", "certs", "chains", "verdicts",
    ]  # fmt: skip
    (endpoint,) = told["endpoints"]
    assert (endpoint["state"], endpoint["versions"]) == ("tls", ["TLSv1.2", "TLSv1.3"])
    # The clock is frozen, and not only on paper.
    assert endpoint["at"] == "2026-11-23T09:00:00Z"
    assert endpoint["connections"] <= 4
    assert told["certs"][0]["sans"] == ["dns:scanned.example"]
    assert told["chains"] == [
        {"target": f"{HOST}:{port}", "slot": 0, "position": 0, "sha256": told["certs"][0]["sha256"], "role": "leaf"}
    ]


def test_scan_as_csv_has_a_line_for_each_finding(run, bare, port):
    ran = run("scan", f"{HOST}:{port}", *CHECKS, "--format", "csv", "--family", "Connectivity")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert [(row["check"], row["grade"]) for row in rows] == [("TCPDial", "Good"), ("TLSDial", "Good")]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--scanner", "CertsByCiphers"), {"CertsBySigAlgs"}),
        (("--scanner", "intermediatecas"), {"ChainOrder"}),
        (
            ("--family", "TLSSession"),
            {"SecureRenegotiation", "ClientRenegotiation", "SessionTickets", "SessionResume", "EarlyData"},
        ),
        (("--family", "PKI", "--scanner", "ChainExpiration"), {"ChainExpiration"}),
        (("--checks", "heartbleed,HSTS"), {"Heartbleed", "HSTS"}),
    ],
)
def test_scan_asks_only_what_is_named_also_by_the_names_of_cfssl(run, bare, port, options, told):
    found = run("scan", f"{HOST}:{port}", *options, "--format", "json").json
    assert {one["check"] for one in found["findings"]} == told
    assert found["endpoints"][0]["letter"] == "", "of a part there is no letter"


def test_scan_exits_3_when_a_finding_is_as_bad_as_fail_on_says(run, bare, port):
    assert run("scan", f"{HOST}:{port}", "--scanner", "TLSDial", "--fail-on", "warning").code == 0
    assert run("scan", f"{HOST}:{port}", "--scanner", "ChainValidation", "--fail-on", "bad").code in (0, 3)
    assert run("scan", f"{HOST}:{free_port()}", "--fail-on", "bad").code == 3


def test_scan_of_a_network_does_not_fail_on_addresses_where_nobody_is(run, bare):
    ran = run("scan", f"127.0.0.0/29:{free_port()}", "--fail-on", "warning")
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "6 targets: 6 closed.   Findings: 6 Skipped.")


def test_scan_says_the_same_by_copies_of_itself_as_alone(mine):
    code = "import sys; from pkicode.cli import main; sys.exit(main())"
    with openssl(mine, "-www", host="0.0.0.0") as port:
        asked = ["-q", "-C", "/", "scan", f"127.0.12.0/26:{port}", *CHECKS, "--rate", "100000", "--format", "csv"]
        alone, copies = (
            subprocess.run([sys.executable, "-c", code, *asked, "--jobs", jobs], capture_output=True, check=True)
            for jobs in ("1", "2")
        )
    assert (copies.stdout, copies.stderr) == (alone.stdout, b"")
    assert alone.stdout.count(b",TLSDial,Good,") == 62


def test_scan_trusts_the_roots_it_is_given(run, bare, port, mine):
    (bare / "roots.pem").write_bytes(mine.chain.read_bytes())
    found = run("scan", f"{HOST}:{port}", *CHECKS, "--trust", "roots.pem", "--format", "json").json
    stores = {one["store"]: one["reason"] for one in found["verdicts"]}
    # It is its own root, and no CA: the verifier says what it lacks, and not that nobody is known.
    assert stores["roots.pem"].startswith("refused: ")
    ran = run("scan", f"{HOST}:{port}", "--trust", "nowhere.pem")
    assert (ran.code, "nowhere.pem is no trust store" in ran.err) == (1, True)


def test_scan_tells_every_target_that_is_none_with_its_line(run, bare):
    (bare / "hosts.txt").write_text("127.0.0.1\n# nobody\nhttps://a.example\nb.example:99999\n")
    ran = run("scan", "@hosts.txt", "10.0.0.0/4", "@gone.txt", "cert.portal")
    assert ran.code == 1
    assert ran.err.count("error[") == 0, "cert.portal needs a pki.toml, which is told first"
    ran = run("scan", "@hosts.txt", "10.0.0.0/4", "@gone.txt")
    assert ran.err.count("error[E0350]") == 3
    assert ran.err.count("error[E0351]") == 1
    assert "hosts.txt:3" in ran.err
    assert "hosts.txt:4" in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("127.0.0.1", "--checks", "psychic"), 1, "`psychic` is no check"),
        (("127.0.0.1", "--family", "PKI", "--scanner", "TCPDial"), 1, "no check of the family"),
        (("127.0.0.1", "--format", "parquet"), 64, "give -o DIR"),
        (("127.0.0.1", "--rate", "0"), 64, "--rate"),
        ((), 1, "no pki.toml"),
    ],
)
def test_scan_refuses_what_it_cannot_do_and_says_how_to_mend_it(run, bare, arguments, code, said):
    ran = run("scan", *arguments)
    assert (ran.code, said in ran.err) == (code, True), ran.err


def test_scan_asks_who_is_revoked_only_where_it_is_told_to(run, bare, tmp_path):
    now = 1_795_424_400
    body = revoking.listed(revoking.REVOKED, since=now - 3600, until=now + 86400)
    root = revoking.write(bare, revoking.root(), "root").chain.name
    with (
        served(body) as url,
        openssl(revoking.write(tmp_path, revoking.leaf(revoking.REVOKED, crls=[url]), "leaf")) as port,
    ):
        asked = ("scan", f"{HOST}:{port}", "--trust", root, "--scanner", "CRL", "--format", "csv", "--fail-on", "bad")
        silent = run(*asked)
        private = run(*asked, "--revocation")
        told = run(*asked, "--revocation", "--allow-private")
    assert (silent.code, "Skipped,unasked" in silent.out) == (0, True)
    assert (private.code, "Unknown,private" in private.out) == (0, True)
    assert (told.code, "Bad,revoked" in told.out, "keyCompromise" in told.out) == (3, True, True)


def test_scan_shows_hostile_names_as_text(run, bare, tmp_path):
    made = tmp_path / "hostile.pem", tmp_path / "hostile.key"
    subject = "/CN=a\x1b[31m\u202e=cmd"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-utf8"]
    made_by = [*command, "-subj", subject, "-days", "1", "-out", made[0], "-keyout", made[1]]
    subprocess.run(made_by, check=True, capture_output=True)
    served = ["openssl", "s_server", "-accept", f"{HOST}:0", "-cert", made[0], "-key", made[1]]
    with started(served, "ACCEPT ") as line:
        port = line.split()[1].rpartition(":")[2]
        for form in ("table", "csv", "json"):
            # At NOW it is not valid: its name is in the sentence that says so.
            out = run("scan", f"{HOST}:{port}", *CHECKS, "--format", form).out
            assert "cmd" in out
            assert not {"\x1b", "\u202e"} & set(out)


def test_scan_goes_on_in_its_folder_and_refuses_another(run, bare, port):
    asked = ("scan", f"127.0.0.0/29:{port}", *CHECKS, "-o", "found")
    first = run(*asked, "--format", "parquet")
    assert (first.code, first.out) == (0, "")
    again = run(*asked)
    assert again.code == 0
    assert "6 targets" in again.out
    # What was mended since is not seen in there, and whoever asks has to know.
    assert first.err == ""
    since = "from a run that began 2026-11-23T09:00:00Z, and they are not asked again"
    assert f"/found has all targets {since}; give another folder to ask anew\n" in again.err
    other = run("scan", f"127.0.0.0/29:{port}", "-o", "found")
    assert (other.code, "holds another scan" in other.err) == (1, True)


def test_scan_of_a_chain_that_nobody_can_read_has_no_letter(run, bare, tmp_path, mine):
    """Else whoever sends one would hide everything that is wrong with its certificate."""
    (tmp_path / "many.pem").write_bytes(mine.chain.read_bytes() * 100)
    with openssl(mine, "-cert_chain", tmp_path / "many.pem") as port:
        found = run("scan", f"{HOST}:{port}", "--format", "json").json
        quick = run("scan", f"{HOST}:{port}", *CHECKS, "--format", "json").json
    for one in (found, quick):
        grades = {finding["check"]: finding["grade"] for finding in one["findings"]}
        assert (one["endpoints"][0]["letter"], grades["Certificates"]) == ("", "Unknown")


def test_scan_refuses_an_endless_trust_store_and_a_host_with_a_line_in_it(run, bare):
    ran = run("scan", HOST, "--trust", "/dev/zero")
    assert (ran.code, "/dev/zero is no trust store: it has more than" in ran.err) == (1, True)
    (bare / "hosts.csv").write_text('host\n"127.0\n.0.1"\n')
    ran = run("scan", "@hosts.csv")
    assert (ran.code, "is neither a host name nor an address" in ran.err) == (1, True), ran.err


def limited(folder, limit, *arguments):
    """In a process that may have no more than this."""
    return subprocess.run(
        ["bash", "-c", f'ulimit {limit}; exec "$@"', "-", ROOT / ".venv/bin/pkicode", "-q", "scan", *arguments],
        cwd=folder, capture_output=True, text=True,
        # Half of a compiled module would be found by everybody after us.
        env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip


def test_scan_says_which_file_has_no_room_and_goes_on_when_it_has(run, bare, port):
    asked = (f"127.0.0.0/29:{port}", *CHECKS, "-o", "found")
    ran = limited(bare, "-f 1", *asked)
    assert (ran.returncode, ran.stderr.splitlines()[0]) == (
        1,
        "error: found/endpoints/0000000.parquet cannot be written: File too large",
    )
    assert [*(bare / "found/endpoints").iterdir()] == []
    assert run("scan", *asked).code == 0


def test_scan_opens_as_many_sockets_as_it_may_and_not_as_many_as_usual(bare):
    ran = limited(bare, "-Sn 64", f"127.0.1.0/24:{free_port()}", "--rate", "100000")
    assert "254 targets: 254 closed." in ran.stdout, ran.stderr


@pytest.mark.parametrize(
    ("name", "value"), [("part_size", 0), ("targets", 10**12), ("targets", -1), ("key", "zz"), ("begun", "today")]
)
def test_a_scan_that_somebody_wrote_by_hand_is_none(run, bare, port, name, value):
    assert run("scan", f"{HOST}:{port}", *CHECKS, "-o", "found").code == 0
    manifest = bare / "found/scan.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), name: value}))
    ran = run("scan", f"{HOST}:{port}", *CHECKS, "-o", "found")
    assert (ran.code, "holds no scan" in ran.err) == (1, True), ran.err


@pytest.fixture
def portal(applied):
    """The applied project, which says where its portal is served; gives how to serve a chain there."""
    port = free_port()
    toml = applied / "pki.toml"
    text = toml.read_text().replace(
        'output = { chain = "out/portal.pem"', f'endpoints = ["{HOST}:{port}"]\noutput = {{ chain = "out/portal.pem"'
    )
    more = f'\n[scan.web]\ntargets = ["{HOST}:{port}"]\nexpect = ["cert.portal"]\n'
    toml.write_text(text + more + 'policy = { min_version = "TLSv1.3", forbid = ["CBC"] }\n')

    def serve(chain=applied / "out/portal.pem", key=applied / "out/portal.key"):
        files = ["-cert", chain, "-cert_chain", chain, "-key", key]
        return started(["openssl", "s_server", "-accept", f"{HOST}:{port}", *files], "ACCEPT")

    return serve


def test_scan_of_a_declared_certificate_trusts_the_roots_of_the_project(run, portal):
    with portal():
        found = run("scan", "cert.portal", *CHECKS, "--format", "json").json
    assert {one["store"]: one["ok"] for one in found["verdicts"]}["project"]


def test_scan_of_what_pki_toml_declares_holds_it_to_its_policy(run, portal):
    with portal():
        found = run("scan", "--format", "json").json
        named = run("scan", "scan.web", "--format", "json").json
    grades = {one["check"]: (one["grade"], one["value"]) for one in found["findings"]}
    assert grades["MinVersion"] == ("Bad", "TLSv1.2")
    assert grades["ForbiddenSuites"][0] == "Bad"
    assert named["scan_id"] == found["scan_id"]


def test_scan_of_a_quick_look_calls_no_suites_good_that_it_did_not_ask_for(run, portal):
    with portal():
        found = run("scan", *CHECKS, "--format", "json").json
    grades = {one["check"]: one["grade"] for one in found["findings"]}
    assert (grades["MinVersion"], grades["ForbiddenSuites"]) == ("Bad", "Unknown")


STRICT = """
[scan.strict]
targets = ["cert.portal"]
policy = { min_version = "TLSv1.3" }

[scan.mild]
targets = ["cert.portal"]
policy = { min_version = "TLSv1.2" }
"""


@pytest.fixture
def several(applied, portal):
    """Two scans of one server beside [scan.web]."""
    toml = applied / "pki.toml"
    toml.write_text(toml.read_text() + STRICT)
    return portal


def versions(found):
    return {one["scan"]: one["grade"] for one in found["findings"] if one["check"] == "MinVersion"}


def test_scan_of_several_declared_scans_says_which_policy_graded_what(run, several):
    with several():
        found = run("scan", *CHECKS, "--format", "json").json
        two = run("scan", "scan.strict", "scan.mild", *CHECKS)
    assert versions(found) == {"web": "Bad", "strict": "Bad", "mild": "Good"}
    assert [one["scan"] for one in found["endpoints"]] == ["web", "strict", "mild"]
    lines = two.out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["SCAN", "strict", "mild"]
    assert any(
        line.startswith("Bad      TLSHandshake MinVersion") and line.endswith("in scan.strict") for line in lines
    )


def test_scan_exits_3_when_one_of_several_scans_finds_what_is_as_bad(run, several):
    asked = ("--checks", "MinVersion", "--fail-on", "bad")
    with several():
        codes = [
            run("scan", *names, *asked).code for names in (["scan.mild"], ["scan.strict"], ["scan.mild", "scan.strict"])
        ]
    assert codes == [0, 3, 3]


def test_scan_of_several_goes_on_in_folders_of_their_names(run, several, applied):
    with several():
        first = run("scan", *CHECKS, "-o", "found", "--format", "json").json
    # Nobody is asked again: the server is gone.
    again = run("scan", *CHECKS, "-o", "found", "--format", "json").json
    assert again == first
    assert sorted(path.name for path in (applied / "found").iterdir()) == ["mild", "strict", "web"]
    assert sorted(pkicode.read_scan(applied / "found").findings["scan"].unique()) == ["mild", "strict", "web"]
    one = run("scan", "scan.mild", *CHECKS, "-o", "found")
    assert (one.code, "holds no scan" in one.err) == (1, True)
    alone = run("scan", "scan.mild", *CHECKS, "-o", "found/mild", "--format", "json").json
    assert versions(alone) == {"mild": "Good"}
    over = run("scan", *CHECKS, "-o", "found/mild")
    assert (over.code, "holds another scan" in over.err) == (1, True)


def test_scan_takes_no_other_targets_beside_declared_ones(run, several):
    ran = run("scan", "scan.mild", HOST)
    assert (ran.code, "has a policy of its own" in ran.err) == (1, True)


def test_scan_of_a_declared_scan_asks_third_parties_as_that_says(run, several, applied):
    toml = applied / "pki.toml"
    toml.write_text(toml.read_text() + "revocation = true\n")
    with several():
        found = run("scan", "scan.mild", "scan.strict", "--scanner", "CRL", "--format", "json").json
    # The certificate's CRL is on a name that nobody has here.
    assert {one["scan"]: one["value"] for one in found["findings"]} == {"mild": "unreachable", "strict": "unasked"}


def test_drift_is_nothing_while_what_was_issued_is_served(run, portal):
    with portal():
        ran = run("drift", "-e")
    assert (ran.code, ran.out) == (0, "No drift.\n"), ran.err


def test_drift_tells_what_is_served_and_unknown_and_what_is_issued_and_not_served(run, portal, mine, applied):
    with portal(mine.chain, mine.key):
        ran = run("drift", "-e", "--format", "json")
        table = run("drift").out
    assert ran.code == 2
    assert [(one["drift"], one["address"]) for one in ran.json["drift"]] == [
        ("unknown", None),
        ("not-served", "cert.portal"),
    ]
    assert "unknown" in table
    ran = run("drift", "cert.portal", "--format", "json")
    assert (ran.json["states"], [one["drift"] for one in ran.json["drift"]]) == ({"closed": 1}, ["not-served"])
    assert ran.err == "no TLS at 1 of 1 target: 1 closed\n"
    (where,) = ran.json["drift"][0]["targets"]
    assert where in (applied / "pki.toml").read_text()
    # A scan's own targets and a certificate's endpoints are one here.
    assert run("drift", "scan.web", "cert.portal", "--format", "csv").out.splitlines()[1].endswith(f",{where}")


def test_drift_without_anything_declared_says_what_to_declare_and_loads_no_pandas(folder):
    code = "import sys; from pkicode.cli import main; print(main(['drift']), 'pandas' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment(), capture_output=True, text=True)
    assert (ran.stdout, "add a [scan.X]" in ran.stderr) == ("1 False\n", True)
