"""crl show and crl check: any CRL, whoever made it, without a project."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from pkicode.adapters.fetch import fetch
from pkicode.model.instants import DAY, as_datetime
from pkicode.model.problem import PkicodeError
from pkicode.revocation import crl
from pkicode.x509 import keys
from tests.cli.running import CONFIG
from tests.oracles import openssl

NOW = 1_795_424_400
KEY = keys.generate("ec-p256")
HOSTILE = "\x1b[31m\u202eevil"


@contextmanager
def served(*chunks: bytes, status: int = 200, endless: bool = False) -> Iterator[str]:
    """An HTTP server on a free port that answers everything with these octets."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            try:
                for chunk in chunks:
                    self.wfile.write(chunk)
                while endless:
                    self.wfile.write(b"x")
            except OSError:
                return  # the client has had enough

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/list.crl"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def ca(folder: Path, cn: str = "Other CA", **usage: bool) -> Path:
    """A CA of somebody else with KEY, and an SKI of its own making."""
    bits = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    )
    bits |= {"key_cert_sign": True, "crl_sign": True, "encipher_only": False, "decipher_only": False, **usage}
    made = (
        x509.CertificateBuilder()
        .subject_name(name(cn))
        .issuer_name(name(cn))
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(as_datetime(NOW - DAY))
        .not_valid_after(as_datetime(NOW + 100 * DAY))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**bits), critical=True)
        .add_extension(x509.SubjectKeyIdentifier(b"\x07" * 20), critical=False)
        .sign(KEY, hashes.SHA256())
    )
    path = folder / f"{len(list(folder.iterdir()))}.pem"
    path.write_bytes(made.public_bytes(Encoding.PEM))
    return path


def listed(
    folder: Path,
    *extensions: tuple[x509.ExtensionType, bool],
    cn: str = "Other CA",
    since: int = NOW,
    until: int = NOW + DAY,
) -> Path:
    """A list of that CA as another library makes it, with serial abc revoked and on hold."""
    entry = x509.RevokedCertificateBuilder().serial_number(0xABC).revocation_date(as_datetime(NOW - 60))
    entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags.certificate_hold), critical=False)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(name(cn))
        .last_update(as_datetime(since))
        .next_update(as_datetime(until))
        .add_revoked_certificate(entry.build())
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    path = folder / f"{len(list(folder.iterdir()))}.crl"
    path.write_bytes(builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER))
    return path


def test_crl_show_of_what_was_published_says_number_dates_issuer_and_key(run, applied):
    path = applied / "public/crl/issuing-g1.crl"
    ran = run("crl", "show", path)
    assert ran.code == 0, ran.err
    facts = crl.read(path.read_bytes(), limit=10_000)
    assert ran.out.splitlines()[:5] == [
        "issuer       CN=Issuing A1",
        "number       1",
        "this update  2026-11-23T09:00:00Z",
        "next update  2026-11-30T09:00:00Z",
        f"key          {facts.aki.hex()}",
    ]
    assert "entries      0" in ran.out


def test_crl_show_reads_pem_and_der_of_another_library_alike(run, folder, tmp_path):
    path = listed(tmp_path)
    pem = tmp_path / "list.pem"
    pem.write_text("some words before it\n" + openssl("crl", "-inform", "DER", "-in", path))
    shown = run("crl", "show", path, "--format", "json").json
    assert shown == run("crl", "show", pem, "--format", "json").json
    assert (shown["format"], shown["number"], shown["issuer"], shown["count"]) == (
        "pkicode.crl",
        None,
        "CN=Other CA",
        1,
    )
    assert shown["entries"] == [
        {
            "serial_number": "abc",
            "revoked_at": "2026-11-23T08:59:00Z",
            "reason": "certificateHold",
            "invalidity": None,
        }
    ]
    assert "abc     2026-11-23T08:59:00Z  certificateHold" in run("crl", "show", path).out


def test_crl_show_lists_a_few_entries_and_all_when_asked(run, folder, tmp_path):
    from pkicode.x509.tbs import self_issued

    issuer = self_issued(name("Many").public_bytes(), keys.spki(KEY))
    entries = [crl.Entry(serial, NOW) for serial in range(1, 51)]
    tbs = crl.tbs(issuer, entries, number=1, this_update=NOW, next_update=NOW + DAY)
    (tmp_path / "many.crl").write_bytes(crl.crl(tbs, "ec-p256", keys.sign(KEY, tbs)))
    few, full = run("crl", "show", tmp_path / "many.crl"), run("crl", "show", tmp_path / "many.crl", "--full")
    assert few.out.endswith("... and 30 more (--full lists all)\n")
    assert "\n32 " not in few.out
    assert "\n32 " in full.out


def test_crl_show_lets_no_hostile_name_play_with_the_terminal(run, folder, tmp_path):
    path = listed(tmp_path, cn=HOSTILE)
    for arguments in (
        ("show", path),
        ("show", path, "--format", "json"),
        ("check", path, "--issuer", ca(tmp_path, HOSTILE)),
        ("check", path, "--issuer", ca(tmp_path)),
    ):
        ran = run("crl", *arguments)
        assert not {"\x1b", "\u202e"} & set(ran.out + ran.err)
        assert "evil" in ran.out


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is not a CRL"),
        (b"<html>", "it is not a CRL"),
        (b"-----BEGIN X509 CRL-----\nAAAA\n", "has no end line"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no PEM block X509 CRL"),
    ],
)
def test_crl_show_of_something_else_is_one_error(run, folder, tmp_path, data, words):
    (tmp_path / "x").write_bytes(data)
    ran = run("crl", "show", tmp_path / "x")
    assert ran.code == 1
    assert words in ran.err
    assert "= help:" in ran.err


def test_crl_show_of_a_truncated_list_two_lists_a_folder_and_nothing_is_one_error(run, folder, tmp_path):
    path = listed(tmp_path)
    (tmp_path / "cut").write_bytes(path.read_bytes()[:-30])
    text = openssl("crl", "-inform", "DER", "-in", path)
    (tmp_path / "two").write_text(text + text)
    for what, words in (("cut", "not a CRL"), ("two", "2 CRLs"), (".", "not a file"), ("gone", "No such file")):
        ran = run("crl", "show", tmp_path / what)
        assert ran.code == 1
        assert words in ran.err


def test_crl_show_and_crl_check_fetch_a_url(run, applied):
    with served((applied / "public/crl/issuing-g1.crl").read_bytes()) as url:
        assert run("crl", "show", url).code == 0
        assert run("crl", "check", url, "--issuer", applied / "public/ca/issuing-g1.cer").code == 0
    with served(b"gone", status=404) as url:
        ran = run("crl", "show", url)
    assert ran.code == 1
    assert "HTTP status 404" in ran.err
    ran = run("crl", "show", url)
    assert ran.code == 1
    assert "cannot be reached" in ran.err


def test_what_is_fetched_has_a_limit_of_size_and_of_time():
    with served(b"x" * 100) as url:
        assert fetch(url, limit=100, seconds=30).data == b"x" * 100
        with pytest.raises(PkicodeError, match="more than 99 octets"):
            fetch(url, limit=99, seconds=30)
    with served(endless=True) as url, pytest.raises(PkicodeError, match="more than 1000 octets"):
        fetch(url, limit=1000, seconds=30)
    with served(endless=True) as url, pytest.raises(PkicodeError, match="it takes too long"):
        fetch(url, limit=1 << 40, seconds=0.2)
    with pytest.raises(PkicodeError, match="is not an http URL"):
        fetch("file:///etc/passwd", limit=10, seconds=1)


def test_crl_check_accepts_what_is_in_force_and_finds_a_certificate_good(run, applied):
    arguments = (
        "crl",
        "check",
        applied / "public/crl/issuing-g1.crl",
        "--issuer",
        applied / "public/ca/issuing-g1.pem",
    )
    ran = run(*arguments, "--cert", applied / "out/portal.pem")
    assert ran.code == 0, ran.out
    assert "The list is signed by this CA and in force.\ngood: the certificate is not on it\n" in ran.out
    told = run(*arguments, "--serial", "0A:bc", "--format", "json").json
    assert (told["format"], told["status"], told["findings"], told["entry"]) == ("pkicode.crl-check", "good", [], None)
    assert run(*arguments, "--format", "json").json["status"] is None


def test_crl_check_of_a_revoked_certificate_ends_with_3_and_says_since_when(run, applied):
    (applied / "pki.toml").write_text(CONFIG.replace("[profile.server]", '[profile.server]\non_remove = "revoke"'))
    assert run("apply", "-y", "--allow-clock").code == 0
    leaf = (applied / "out/portal.pem").read_bytes()
    (applied / "leaf.pem").write_bytes(leaf)
    without = CONFIG.replace("[profile.server]", '[profile.server]\non_remove = "revoke"').split("[cert.portal]")
    (applied / "pki.toml").write_text(without[0] + "[cert.app]" + without[1].split("[cert.app]")[1])
    assert run("apply", "-y", "--allow-clock").code == 0
    arguments = (
        "crl",
        "check",
        applied / "public/crl/issuing-g1.crl",
        "--issuer",
        applied / "public/ca/issuing-g1.cer",
    )
    ran = run(*arguments, "--cert", applied / "leaf.pem")
    assert ran.code == 3
    assert "since 2026-11-23T09:00:00Z, cessationOfOperation" in ran.out
    told = run(*arguments, "--cert", applied / "leaf.pem", "--format", "json").json
    assert told["status"] == "revoked"
    assert told["entry"]["reason"] == "cessationOfOperation"


def test_crl_check_takes_lists_and_key_identifiers_of_other_makers(run, folder, tmp_path):
    aki = x509.AuthorityKeyIdentifier(b"\x07" * 20, None, None)
    path = listed(tmp_path, (aki, False), (x509.CRLNumber(5), False))
    ran = run("crl", "check", path, "--issuer", ca(tmp_path), "--serial", "abc")
    assert ran.code == 3
    assert "The list is signed by this CA and in force." in ran.out
    assert "revoked: abc" in ran.out
    ran = run("crl", "check", listed(tmp_path), "--issuer", ca(tmp_path), "--serial", "abd")
    assert ran.code == 0
    assert "~ it has no number" in ran.out
    assert "~ it has no authority key identifier" in ran.out


POINT = {"relative_name": None, "only_contains_ca_certs": False, "only_some_reasons": None}
POINT |= {"indirect_crl": False, "only_contains_attribute_certs": False, "only_contains_user_certs": False}
URL = x509.UniformResourceIdentifier("http://pki.corp.example/crl/issuing-g1/3.crl")


@pytest.mark.parametrize(
    ("extensions", "dates", "words"),
    [
        ([], {"since": NOW + 60}, "it is not in force yet: its thisUpdate is 2026-11-23T09:01:00Z"),
        ([], {"since": NOW - DAY, "until": NOW - 1}, "it is stale: its nextUpdate was 2026-11-23T08:59:59Z"),
        ([], {"cn": "Somebody"}, "it is of `CN=Somebody`, not of `CN=Other CA`"),
        ([(x509.AuthorityKeyIdentifier(b"\x08" * 20, None, None), False)], {}, "it is signed with the key 0808"),
        ([(x509.DeltaCRLIndicator(7), True)], {}, "it is not a complete list: a delta of number 7"),
        (
            [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)],
            {},
            "it has a critical extension that is not understood: 1.2.3.4",
        ),
        (
            [(x509.IssuingDistributionPoint(full_name=[URL], **{**POINT, "only_contains_ca_certs": True}), True)],
            {},
            "it is not a complete list: CA certificates only",
        ),
        (
            [(x509.IssuingDistributionPoint(full_name=None, **{**POINT, "indirect_crl": True}), True)],
            {},
            "it is not a complete list: indirect",
        ),
    ],
)
def test_crl_check_says_why_a_list_may_not_be_relied_on(run, folder, tmp_path, extensions, dates, words):
    path = listed(tmp_path, *extensions, **dates)
    ran = run("crl", "check", path, "--issuer", ca(tmp_path), "--serial", "abd")
    assert ran.code == 3, ran.err
    assert f"x {words}" in ran.out
    assert "unknown: the certificate is not on it, but the list may not be relied on" in ran.out


def test_crl_check_refuses_another_key_an_altered_list_and_a_ca_that_may_not_sign_lists(run, folder, applied, tmp_path):
    altered = tmp_path / "altered.crl"
    altered.write_bytes(listed(tmp_path).read_bytes().replace(b"\x02\x02\x0a\xbc", b"\x02\x02\x0a\xbd"))
    ran = run("crl", "check", altered, "--issuer", ca(tmp_path))
    assert ran.code == 3
    assert "x its signature is not by the key of this certificate" in ran.out
    ran = run("crl", "check", listed(tmp_path), "--issuer", ca(tmp_path, crl_sign=False))
    assert ran.code == 3
    assert "x this certificate may not sign CRLs" in ran.out
    ran = run(
        "crl", "check", applied / "public/crl/root-g1.crl", "--issuer", applied / "public/ca/issuing-g1.cer",
        "--cert", applied / "out/portal.pem",
    )  # fmt: skip
    assert ran.code == 3
    assert "x it is of `CN=Root R1`, not of `CN=Issuing A1`" in ran.out


def test_crl_check_knows_that_a_shard_is_of_other_certificates(run, applied, tmp_path):
    shard = listed(tmp_path, (x509.IssuingDistributionPoint(full_name=[URL], **POINT), True))
    issuer, leaf = ca(tmp_path), applied / "out/portal.pem"
    assert "shard        http://pki.corp.example/crl/issuing-g1/3.crl" in run("crl", "show", shard).out
    ran = run("crl", "check", shard, "--issuer", issuer, "--serial", "1")
    assert ran.code == 0, ran.out
    ran = run("crl", "check", shard, "--issuer", issuer, "--cert", leaf)
    assert "x the certificate asked about was not issued by this CA" in ran.out
    own = run("crl", "check", shard, "--issuer", issuer, "--cert", issuer)
    assert own.code == 3
    assert "x it is a shard of other certificates" in own.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--serial", "xyz"],
        ["--serial", "-1"],
        ["--serial", ""],
        ["--serial", "ab" * 21],
        ["--serial", "1", "--cert", "c"],
    ],
)
def test_crl_check_of_a_serial_that_is_none_is_a_usage_error(run, folder, tmp_path, arguments):
    ran = run("crl", "check", listed(tmp_path), "--issuer", ca(tmp_path), *arguments)
    assert ran.code == 64
    assert "Traceback" not in ran.err


def test_crl_check_of_a_certificate_that_is_none_is_one_error(run, folder, tmp_path):
    (tmp_path / "x.pem").write_bytes(b"not a certificate")
    ran = run("crl", "check", listed(tmp_path), "--issuer", tmp_path / "x.pem")
    assert ran.code == 1
    assert "a certificate cannot be read" in ran.err
