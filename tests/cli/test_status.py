"""status: what monitoring is told when all is well, when something is late, and when somebody meddled."""

import re
import shutil
from pathlib import Path

import pytest

from pkicode.adapters import loop
from pkicode.model.instants import DAY, rfc3339
from pkicode.project import open_project
from tests.cli.running import CONFIG
from tests.kinds.site import NOW
from tests.kinds.test_revocation import SECOND

WAITING = """
[cert.host]
profile = "server"
dns = ["h.corp.example"]
csr = { dir = "csr", file = "h.csr" }
"""
SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>[^\n]*)\})? (?P<value>-?[0-9]+)\Z")
LABEL = re.compile(r'(?P<name>[a-zA-Z_][a-zA-Z0-9_]*)="(?P<value>(?:[^"\\]|\\["\\n])*)"(?:,|\Z)')
PUBLISHED = ("--refresh", "published", "--format", "json")


def exposed(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], int]:
    """The text exposition format, read strictly: each name has HELP and TYPE once, then its samples, none twice."""
    assert text.endswith("\n")
    found: dict[tuple[str, frozenset[tuple[str, str]]], int] = {}
    typed: list[str] = []
    helped: list[str] = []
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped.append(line.split(" ", 3)[2])
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert kind == "gauge"
            typed.append(name)
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample, line
            assert sample["name"] == typed[-1] == helped[-1], line
            labels = [(one["name"], one["value"]) for one in LABEL.finditer(sample["labels"] or "")]
            assert ",".join(f'{name}="{value}"' for name, value in labels) == (sample["labels"] or "")
            key = sample["name"], frozenset(labels)
            assert key not in found
            found[key] = int(sample["value"])
    assert len(set(typed)) == len(typed)
    assert typed == helped
    return found


@pytest.fixture
def at(run, monkeypatch):
    """status, so many days after everything was applied."""

    def call(days: float, *arguments: str):
        monkeypatch.setenv("PKICODE_NOW", rfc3339(NOW + int(days * DAY)))
        return run("status", *arguments)

    return call


def test_status_of_what_was_just_applied_is_ok_in_every_format(at, applied):
    assert at(0).out.startswith("corp at 2026-11-23T09:00:00Z: OK\nlevel  check")
    nagios = at(0, "--format", "nagios")
    assert (nagios.code, nagios.out.splitlines()[0]) == (0, "PKICODE OK - 6 checks")
    told = at(0, "--refresh", "published", "--format", "json").json
    assert (told["format"], told["version"], told["level"]) == ("pkicode.status", "1.0", "ok")
    assert {one["level"] for one in told["checks"]} == {"ok"}
    read = {one["labels"]["path"]: one["value"] for one in told["figures"] if one["name"] == "published_ok"}
    assert read["crl/issuing-g1.crl"] == read["bundle/trust.pem"] == 1


def test_status_in_prometheus_format_is_read_by_a_strict_parser(at, applied):
    found = exposed(at(0, "--format", "prometheus", "--refresh", "published").out)
    assert found["pkicode_level", frozenset()] == 0
    assert found["pkicode_rows", frozenset({("kind", "cert")})] == 4
    labels = frozenset({("kind", "crl"), ("name", "issuing-g1"), ("scope", "")})
    assert found["pkicode_list_next_update_timestamp_seconds", labels] == NOW + 7 * DAY
    assert found["pkicode_next_due_timestamp_seconds", frozenset()] == NOW + DAY
    late = exposed(at(80, "--format", "prometheus").out)
    assert late["pkicode_level", frozenset()] == 2
    assert late["pkicode_certificates_due", frozenset({("block", "cert.app")})] == 3


@pytest.mark.parametrize(
    ("days", "code", "word"), [(0.9, 0, "OK"), (2.4, 0, "OK"), (2.6, 1, "WARNING"), (4.1, 2, "CRITICAL")]
)
def test_a_crl_that_nobody_refreshes_is_told_before_clients_refuse_it(at, applied, days, code, word):
    ran = at(days, "--format", "nagios")
    assert (ran.code, ran.out.split()[1]) == (code, word)


def test_status_says_since_when_clients_refuse_a_crl(at, applied):
    out = at(7.5).out
    assert re.search(r"^critical +list +crl issuing-g1 ", out, re.MULTILINE)
    assert "was refused from 2026-11-30T09:00:00Z" in out


def test_a_certificate_that_was_not_renewed_is_told_with_the_end_of_the_first(at, applied):
    checks = at(80, "--format", "json").json["checks"]
    (app,) = [one for one in checks if one["subject"] == "cert.app"]
    assert (app["check"], app["level"]) == ("renewal", "critical")
    assert app["message"] == "3 due and not renewed; the first ends 2027-02-21T08:54:59Z"


def test_what_waits_for_a_person_is_a_warning(at, applied, folder):
    (folder / "pki.toml").write_text(CONFIG + WAITING, "utf-8")
    ran = at(0, "--format", "nagios")
    assert ran.code == 1
    assert ran.out.splitlines()[0] == "PKICODE WARNING - waiting cert.host: waits: no CSR yet: csr/h.csr"


def test_a_plan_that_policy_refuses_and_one_that_cannot_be_made_are_critical(at, applied, folder):
    (folder / "pki.toml").write_text(
        CONFIG.replace('"billing", ', "").replace('"api", ', "") + "\n[policy]\nmax_actions = { forget = 1 }\n"
    )
    ran = at(0, "--format", "nagios")
    assert (ran.code, "apply is refused: max_actions: 2 forget exceed forget = 1" in ran.out) == (2, True)
    (folder / "pki.toml").write_text(
        CONFIG.replace('["${each.value}.${var.domain}"]', '["-${each.value}.${var.domain}"]')
    )
    ran = at(0, "--format", "nagios")
    assert ran.code == 2
    assert "no plan can be made, nothing is renewed: [E0401]" in ran.out


def test_a_pki_toml_that_cannot_be_read_is_unknown_to_nagios_and_an_error_else(at, folder):
    (folder / "pki.toml").write_text("version = 1\n[project\n")
    ran = at(0, "--format", "nagios")
    assert (ran.code, ran.out.startswith("PKICODE UNKNOWN - ")) == (3, True)
    assert at(0).code == 1


def test_nothing_applied_yet_is_a_warning_and_no_date_is_told(at):
    assert at(0, "--format", "nagios").code == 1
    assert ("nothing was applied yet" in (told := at(0).out), "1970" in told) == (True, False)


@pytest.mark.parametrize("meddled", ["crl/issuing-g1.crl", "crl/root-g1.crl", "bundle/trust.pem", "ca/root-g1.cer"])
def test_status_reads_what_is_published_only_when_asked_and_says_what_is_wrong_with_it(at, applied, meddled):
    path = applied / "public" / meddled
    path.write_bytes(b"something else")
    assert at(0, "--format", "nagios").code == 0
    ran = at(0, "--format", "nagios", "--refresh", "published")
    assert (ran.code, f"published web {meddled}" in ran.out.splitlines()[0]) == (2, True)
    path.unlink()
    gone = f"published web {meddled}: is gone; `pkicode apply --refresh published` puts it back"
    assert gone in at(0, "--format", "nagios", "--refresh", "published").out


def test_an_older_crl_put_back_by_somebody_is_told(at, applied, run, monkeypatch):
    path = applied / "public/crl/issuing-g1.crl"
    older = path.read_bytes()
    monkeypatch.setenv("PKICODE_NOW", rfc3339(NOW + 2 * DAY))
    assert run("apply", "-y", "--allow-clock").code == 0
    path.write_bytes(older)
    out = at(2, "--refresh", "published").out
    assert "number 1, good until 2026-11-30T09:00:00Z, is not what was published" in out


def test_a_newer_list_is_not_said_to_be_put_back(at, applied, run, monkeypatch):
    """A state put back by hand: the list that came after it may say more, and stays."""
    state = applied / ".pkicode/state.db"
    before = state.read_bytes()
    monkeypatch.setenv("PKICODE_NOW", rfc3339(NOW + 2 * DAY))
    assert run("apply", "-y", "--allow-clock").code == 0
    state.write_bytes(before)
    told = [one for one in at(2, "--refresh", "published").out.splitlines() if "crl/issuing-g1.crl" in one]
    assert any("it is number 2, which the state does not know, and stays" in one for one in told), told
    assert not any("puts it back" in one for one in told)


def test_a_target_that_cannot_be_read_is_unknown(at, applied):
    shutil.rmtree(applied / "public")
    (applied / "public").write_text("a file")
    ran = at(0, "--format", "nagios", "--refresh", "published")
    assert (ran.code, "UNKNOWN: published web: cannot be read" in ran.out) == (3, True)


def test_a_lease_whose_holder_is_gone_is_told_and_one_that_is_alive_is_well(at, applied):
    project = open_project(applied / "pki.toml", environ={}, now=NOW)

    async def acquire():
        store = await project.state.open()
        await store.acquire("project", holder="somebody@host", now=NOW, ttl=60)
        await store.close()

    loop.run(acquire())
    assert re.search(r"^ok +lease +project +held by somebody@host", at(0).out, re.MULTILINE)
    ran = at(1, "--format", "nagios")
    assert ran.code == 1
    assert "held by somebody@host, last heard of 2026-11-23T09:00:00Z; it is gone" in ran.out


def test_a_clock_that_is_behind_and_a_journal_that_is_gone_are_critical(at, applied):
    assert "state clock: this clock is behind" in at(-1, "--format", "nagios").out
    (applied / ".pkicode/journal.log").unlink()
    ran = at(0, "--format", "nagios")
    assert (ran.code, "the issuance journal is gone" in ran.out) == (2, True)


def test_a_ca_that_ends_soon_with_nothing_after_it_is_told(at, applied):
    ran = at(5 * 365 - 40, "--format", "json")
    levels = {one["subject"]: one["level"] for one in ran.json["checks"] if one["check"] == "ca"}
    assert levels == {"ca.root@1": "ok", "ca.issuing@1": "warning"}


def test_status_needs_no_key_and_writes_nothing(at, applied):
    (applied / ".pkicode/keys.db").unlink()
    (applied / ".pkicode/passphrase").unlink()
    before = contents(applied)
    assert at(0, "--refresh", "published").code == 0
    assert contents(applied) == before


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file but those in which SQLite's readers keep their locks."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal")))
    return {path: path.read_bytes() for path in files}


@pytest.fixture
def answered(folder, run):
    """The same with OCSP, applied."""
    text = CONFIG.replace('base_url = "', 'content = ["ca", "crl", "ocsp", "bundle"]\nbase_url = "')
    ocsp = 'validity = "5y"\nocsp = { url = "http://ocsp.corp.example", validity = "5d", refresh = "1d" }'
    (folder / "pki.toml").write_text(text.replace('validity = "5y"', ocsp))
    assert run("apply", "-y", "--allow-clock").code == 0
    return folder


@pytest.mark.parametrize(
    ("days", "level"), [(0, "ok"), (1.9, "ok"), (2.1, "warning"), (3.1, "critical"), (30, "critical")]
)
def test_ocsp_answers_that_nobody_refreshes_are_told_before_clients_refuse_them(at, answered, days, level):
    (found,) = [one for one in at(days, "--format", "json").json["checks"] if one["subject"] == "ocsp issuing-g1"]
    assert (found["check"], found["level"]) == ("list", level)


def test_a_published_pack_is_read_and_verified(at, answered):
    path = answered / "public/ocsp/issuing-g1.pack"
    (found,) = [one for one in at(0, *PUBLISHED).json["checks"] if one["subject"] == "web ocsp/issuing-g1.pack"]
    assert (found["level"], "good until 2026-11-28T09:00:00Z" in found["message"]) == ("ok", True)
    path.write_bytes(path.read_bytes()[:-1])
    (found,) = [one for one in at(0, *PUBLISHED).json["checks"] if one["subject"] == "web ocsp/issuing-g1.pack"]
    assert (found["level"], "is no pack of ca.issuing@1" in found["message"]) == ("critical", True)


def test_keystores_are_looked_into_when_asked_and_a_lost_one_is_critical(at, applied: Path):
    (applied / ".pkicode/passphrase").unlink()
    ran = at(1, "--refresh", "keystores")
    assert re.search(r"^ok +keystore +soft +holds the keys of 2 CAs on duty$", ran.out, re.MULTILINE)
    assert "keystore" not in at(1).out
    (applied / ".pkicode/keys.db").unlink()
    ran = at(1, "--refresh", "keystores", "--format", "nagios")
    assert ran.code == 2
    lost = "keystore soft: does not hold the key of ca.root@1, ca.issuing@1; until it does, nothing revokes"
    assert f"{lost} the 5 valid certificates that they signed" in ran.out


def test_a_ca_that_was_let_go_of_is_named_while_what_it_signed_is_valid(at, applied, run):
    (applied / "pki.toml").write_text(CONFIG + SECOND, "utf-8")
    assert run("apply", "-y", "--allow-clock").code == 0
    forget = '\n[[forget]]\naddress = "ca.second"\n[[forget]]\naddress = "cert.two"\n'
    (applied / "pki.toml").write_text(CONFIG + forget, "utf-8")
    assert run("apply", "-y", "--allow-clock").code == 0
    told = "was let go of: nothing here revokes the 1 valid certificate that it signed"
    assert re.search(rf"^ok +ca +ca.second@1 +{told}$", at(0).out, re.MULTILINE)
    assert "ca.second" not in at(91).out


HOOKED = CONFIG.replace('"out/portal.key" }', '"out/portal.key" }\nafter = ["test", "-e", "ready"]')


@pytest.mark.parametrize(("days", "code"), [(0, 1), (14, 1), (20, 2)])
def test_a_deploy_hook_that_failed_is_told_until_it_succeeds(at, applied, run, days, code):
    (applied / "pki.toml").write_text(HOOKED, "utf-8")
    ran = run("apply", "-y", "--allow-clock")
    assert (ran.code, ran.err.count("the deploy hook failed")) == (8, 1)
    ran = at(days, "--format", "nagios")
    told = "output output.portal: the deploy hook of 1 certificate failed; mend it: each `pkicode apply` tries again"
    assert (ran.code, told in ran.out) == (2 if days else code, True)
    (found,) = [one for one in at(days, "--format", "json").json["checks"] if one["check"] == "output"]
    assert found["level"] == ("warning", "critical")[code - 1]
    labels = frozenset({("block", "output.portal")})
    assert exposed(at(days, "--format", "prometheus").out)["pkicode_outputs_pending", labels] == 1
    (applied / "ready").touch()
    assert run("apply", "-y", "--allow-clock").code == 0
    assert "output" not in at(0).out


def test_files_that_could_not_be_written_are_told(at, applied, run):
    (applied / "pki.toml").write_text(CONFIG.replace("out/portal.key", "out/other.key"), "utf-8")
    (applied / "out/other.key").write_text("somebody's")
    assert run("apply", "-y", "--allow-clock").code == 8
    told = "the files of 1 certificate are not as declared: `pkicode apply` writes them"
    assert re.search(rf"^warning +output +output.portal +{told}", at(0).out, re.MULTILINE)


def test_outputs_of_what_is_declared_anew_are_only_planned(at, applied):
    more = '\n[cert.more]\nprofile = "server"\ndns = ["m.corp.example"]\noutput = { chain = "out/more.pem" }\n'
    (applied / "pki.toml").write_text(CONFIG + more, "utf-8")
    assert at(0, "--format", "nagios").code == 0


@pytest.mark.parametrize(("reason", "code"), [("superseded", 1), ("keyCompromise", 2)])
def test_an_entry_that_no_apply_acted_on_is_told_and_a_compromise_is_critical(at, applied, run, reason, code):
    entry = f'\n[[revoke]]\nid = "I-1"\nreason = "{reason}"\ncert = "cert.portal"\ngeneration = 1\n'
    (applied / "pki.toml").write_text(CONFIG + entry, "utf-8")
    ran = at(0, "--format", "nagios")
    assert (ran.code, "revocation revoke.I-1: 1 certificate not revoked yet: `pkicode apply`" in ran.out) == (
        code,
        True,
    )
    assert (
        exposed(at(0, "--format", "prometheus").out)["pkicode_revocations_pending", frozenset({("entry", "I-1")})] == 1
    )
    assert run("apply", "-y", "--allow-clock").code == 0
    assert at(0, "--format", "nagios").code == 0


def test_a_revocation_that_no_list_tells_of_is_told(at, applied, run):
    """The store has it and the CA's key is gone: clients go on trusting the certificate."""
    entry = '\n[[revoke]]\nid = "I-1"\nreason = "keyCompromise"\ncert = "cert.app[\'api\']"\ngeneration = 1\n'
    entry = entry.replace("'", '\\"')
    (applied / "pki.toml").write_text(CONFIG + entry, "utf-8")
    (applied / ".pkicode/keys.db").rename(applied / "away")
    assert run("apply", "-y", "--allow-clock").code != 0
    told = "the newest CRL lacks what was revoked since: `pkicode apply` signs one"
    assert re.search(rf"^warning +revocation +crl.issuing +{told}", at(0).out, re.MULTILINE)
