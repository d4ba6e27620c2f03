"""plan, apply, show, explain, graph: from an empty folder to certificates, and what people are told on the way."""

import json
import os
import pty
import re
import signal
import subprocess

import pytest

from tests.cli.running import COMMAND, CONFIG, NOW, ONE_MORE, environment, spawn
from tests.cli.test_files import FROM_CSV
from tests.oracles import openssl


def test_plan_of_an_empty_folder_is_a_screen_and_makes_nothing(run, folder):
    ran = run("plan")
    assert ran.code == 0
    assert ran.out.startswith(f"At {NOW}   env: default   state: empty (new lineage)   4 leaf certificates declared\n")
    assert "+ ca.root@1" in ran.out
    assert "api billing search" in ran.out
    assert "to issue (irreversible)" in ran.out
    assert [path.name for path in folder.iterdir()] == ["pki.toml"]


def test_plan_tells_by_its_exit_code_whether_there_is_something_to_do(run, applied):
    assert run("plan", "-e").code == 0
    (applied / "pki.toml").write_text(CONFIG + ONE_MORE)
    assert run("plan").code == 0
    assert run("plan", "-e").code == 2


def test_a_change_without_a_signature_shows_no_value_that_nobody_wrote(run, applied):
    (applied / "pki.toml").write_text(CONFIG.replace("[cert.portal]", '[cert.portal]\nnote = "front door"'))
    assert "~ cert.portal  because `note` changed, no signature\n" in run("plan").out
    (applied / "pki.toml").write_text(CONFIG.replace("[cert.portal]", '[cert.portal]\non_remove = "revoke"'))
    assert "~ cert.portal  on_remove revoke  because `on_remove` changed, no signature\n" in run("plan").out


def test_plan_denied_by_policy_exits_6_and_says_how_to_allow_it(run, folder):
    (folder / "pki.toml").write_text(CONFIG + "\n[policy]\nmax_actions = { issue = 2 }\n")
    ran = run("plan")
    assert ran.code == 6
    assert "--allow issue=" in ran.out
    assert run("plan", "--allow", "issue=100").code == 0
    assert run("plan", "--allow", "issue=many").code == 64


def test_plan_json_goes_to_stdout_alone_and_names_lines(run):
    ran = run("plan", "--format", "json")
    assert ran.err == ""
    portal = next(one for one in ran.json["actions"] if one["address"] == "cert.portal")
    assert portal["source"]["path"] == "pki.toml"
    assert CONFIG.splitlines()[portal["source"]["line"] - 1] == "[cert.portal]"


def test_plan_json_names_the_line_of_a_row(run, folder):
    (folder / "pki.toml").write_text(FROM_CSV, "utf-8")
    (folder / "fleet.csv").write_text("host,fqdn\na,a.corp.example\nb,b.corp.example\n", "utf-8")
    sources = {one["address"]: one["source"] for one in run("plan", "--format", "json").json["actions"]}
    assert sources['cert.app["b"]'] == {"path": "fleet.csv", "line": 3}


def test_plan_json_of_a_broken_configuration_is_json_too(run, folder):
    (folder / "pki.toml").write_text(CONFIG.replace("eku =", "ekus ="), "utf-8")
    ran = run("plan", "--format", "json")
    assert ran.code == 1
    assert ran.json["valid"] is False


def test_plan_markdown_and_html_are_for_pages(run):
    assert run("plan", "--format", "markdown").out.startswith("<!-- pkicode plan corp default -->\n")
    assert run("plan", "--format", "html").out.startswith('<div class="pkicode-plan">')


def test_plan_at_another_time_shows_what_will_be_due_then(run, applied):
    ran = run("plan", "--at", "+80d")
    assert "At 2027-02-11T09:00:00Z" in ran.out
    assert "+/- cert.portal@2" in ran.out
    assert run("plan", "--at", "whenever").code == 64


def test_plan_of_a_part_says_that_it_is_one(run):
    ran = run("plan", "--only", "ca.*")
    assert "cert." not in ran.out
    assert "only ca.*" in ran.out
    assert run("plan", "--only", "ca.*", "--format", "json").json["complete"] is False


def test_plan_full_lists_every_certificate(run):
    assert 'cert.app["billing"]' in run("plan", "--full").out


def test_apply_makes_certificates_that_openssl_reads_and_a_second_one_has_nothing_to_do(run, folder):
    ran = run("apply", "-y", "--allow-clock")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[-1].startswith("Applied: 6 issued, 2 CRLs signed")
    text = openssl("x509", "-in", folder / "out/portal.pem", "-noout", "-ext", "subjectAltName")
    assert "DNS:portal.corp.example" in text
    assert "Private-Key" in openssl("pkey", "-in", folder / "out/portal.key", "-noout", "-text")
    again = run("apply", "-y", "--allow-clock")
    assert again.code == 0
    assert "Applied: nothing to do." in again.out


def test_names_in_another_script_are_nothing_to_warn_of(folder):
    """64 characters are allowed (RFC 5280 appendix A.1), however many octets they take."""
    text = (
        (folder / "pki.toml")
        .read_text()
        .replace('cn = "Issuing A${generation}"', 'cn = "' + "Удостоверяющий центр " * 3 + 'А"')
    )
    (folder / "pki.toml").write_text(text)
    for arguments in (("apply", "-y", "--allow-clock"), ("status",)):
        done = spawn(folder, *arguments, PYTHONWARNINGS="always")
        assert "Attribute" not in done.err


def test_apply_warns_of_the_passphrase_it_made(run, folder):
    ran = run("apply", "-y", "--allow-clock")
    assert "warning: keys: " in ran.err
    assert "passphrase" in ran.err
    assert (folder / ".pkicode" / "passphrase").read_text().strip() not in ran.err + ran.out


def test_apply_without_a_terminal_needs_yes_or_a_saved_plan(folder):
    ran = spawn(folder, "apply", "--allow-clock", stdin="yes\n")
    assert ran.code == 64
    assert "-y" in ran.err
    assert not (folder / "out").exists()


@pytest.mark.parametrize(("answer", "code"), [("yes", 0), ("y", 130), ("", 130)])
def test_apply_on_a_terminal_asks_and_only_yes_will_do(folder, answer, code):
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    done = subprocess.run(
        [*COMMAND, "apply", "--allow-clock"],
        cwd=folder,
        env=environment(),
        stdin=theirs,
        capture_output=True,
        text=True,
        timeout=120,
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == code, done.stderr
    assert "Only `yes` will do" in done.stderr
    assert (folder / "out" / "portal.pem").exists() is (code == 0)


def test_apply_draws_a_bar_on_a_terminal(folder):
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [*COMMAND, "apply", "-y", "--allow-clock"],
        cwd=folder,
        env=environment(TERM="xterm"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        timeout=120,
    )
    os.close(theirs)
    drawn = os.read(ours, 65536)
    os.close(ours)
    assert done.returncode == 0
    assert b"\x1b[" in drawn
    assert b"\x1b" not in done.stdout


def test_apply_of_a_saved_plan_asks_nothing_and_works_once(folder):
    assert spawn(folder, "plan", "-o", "plan.json").code == 0
    ran = spawn(folder, "apply", "plan.json", "--allow-clock")
    assert ran.code == 0, ran.err
    again = spawn(folder, "apply", "plan.json", "--allow-clock")
    assert again.code == 4
    assert "stale" in again.err


def test_apply_of_an_edited_plan_is_refused(run, folder):
    run("plan", "-o", "plan.json")
    saved = folder / "plan.json"
    saved.write_text(saved.read_text().replace("portal.corp.example", "evil.corp.example"))
    ran = run("apply", "plan.json", "--allow-clock")
    assert ran.code == 4
    assert "edited" in ran.err


def test_apply_of_a_saved_plan_takes_no_other_scope(run):
    run("plan", "-o", "plan.json")
    assert run("apply", "plan.json", "--only", "ca.*", "--allow-clock").code == 64


def test_apply_denied_by_policy_exits_6_and_does_nothing(run, folder):
    (folder / "pki.toml").write_text(CONFIG + "\n[policy]\nmax_actions = { issue = 2 }\n")
    ran = run("apply", "-y", "--allow-clock")
    assert ran.code == 6
    assert not (folder / "out").exists()
    assert run("apply", "-y", "--allow-clock", "--allow", "issue=6").code == 0


def test_apply_unattended_does_only_what_its_reasons_allow(run, applied):
    (applied / "pki.toml").write_text(CONFIG + ONE_MORE)
    ran = run("apply", "--auto", "--only-reasons", "due,crl-due", "--allow-clock")
    assert ran.code == 7
    assert "nothing to do" in ran.out
    assert run("apply", "--auto", "--allow-clock").code == 64
    assert run("apply", "-y", "--only-reasons", "dew", "--allow-clock").code == 64


@pytest.mark.parametrize("form", ["human", "json"])
def test_apply_unattended_keeps_lists_fresh_where_the_rest_cannot_be_planned(run, applied, monkeypatch, form):
    before = crl_number(applied / "public/crl/root-g1.crl")
    monkeypatch.setenv("PKICODE_NOW", "2031-11-01T00:00:00Z")
    command = ["apply", "--only-reasons", "due,crl-due", "--allow-clock", "--format", form]
    assert (run(*command, "-y").code, crl_number(applied / "public/crl/root-g1.crl")) == (1, before)
    ran = run(*command, "--auto")
    assert (ran.code, "error[E0415]: cert.portal would outlive" in ran.err) == (1, True)
    assert ran.json["counts"] == {"sign": 2, "publish": 1} if form == "json" else "2 CRLs signed" in ran.out
    assert crl_number(applied / "public/crl/root-g1.crl") == before + 1


def test_apply_unattended_keeps_lists_fresh_where_policy_says_no(run, applied, monkeypatch):
    (applied / "pki.toml").write_text(CONFIG + "\n[policy]\nmax_actions = { issue = 2 }\n")
    monkeypatch.setenv("PKICODE_NOW", "2027-02-15T00:00:00Z")
    ran = run("apply", "--auto", "--only-reasons", "due,crl-due", "--allow-clock")
    assert (ran.code, "Applied: 2 CRLs signed, 1 published." in ran.out) == (6, True)
    assert run("plan", "--only", "crl.*", "-e").code == 0


def crl_number(path):
    return int(openssl("crl", "-in", path, "-noout", "-crlnumber").strip().partition("=")[2], 16)


def test_apply_interrupted_finishes_what_it_began_and_tells_only_that(folder):
    (folder / "pki.toml").write_text(FROM_CSV, "utf-8")
    hosts = [f"h{number},h{number}.corp.example\n" for number in range(3000)]
    (folder / "fleet.csv").write_text("host,fqdn\n" + "".join(hosts), "utf-8")
    process = subprocess.Popen(
        [*COMMAND, "-v", "apply", "-y", "--jobs", "1", "--allow-clock", "--format", "json"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if line.startswith("cert 500/3,000"):
            process.send_signal(signal.SIGINT)
            break
    out, told = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "stopped" in told
    applied = json.loads(out)
    assert applied["stopped"] is True
    assert 500 < applied["counts"]["issue"] < 3000
    held = spawn(folder, "inventory", "--format", "json").json
    assert len(held) == applied["counts"]["issue"]
    again = spawn(folder, "apply", "-y", "--allow-clock")
    assert again.code == 0, again.err
    assert len(spawn(folder, "inventory", "--format", "json").json) == 3003


def test_apply_json_is_json_alone(run):
    ran = run("apply", "-y", "--allow-clock", "--format", "json")
    assert ran.code == 0
    assert ran.json["format"] == "pkicode.applied"
    assert ran.json["counts"]["issue"] == 6


def test_apply_verbose_tells_each_step_on_stderr_and_quiet_none(run):
    assert "cert" in run("-v", "apply", "-y", "--allow-clock").err
    assert run("-q", "apply", "-y", "--allow-clock").err == ""


def test_show_of_a_plan_file_says_what_plan_said(run, folder):
    said = run("plan", "-o", "plan.json").out
    shown = run("show", "plan.json")
    assert shown.code == 0
    assert shown.out == said
    assert run("show", "-e", "plan.json").code == 2
    assert run("show", "--format", "json", "plan.json").json == json.loads((folder / "plan.json").read_text())


def test_show_of_an_address_gives_its_certificates(run, applied):
    ran = run("show", "cert.portal")
    assert "dns:portal.corp.example" in ran.out
    pem = ran.out[ran.out.index("-----BEGIN") :]
    serial = openssl("x509", "-noout", "-serial", stdin=pem).strip().removeprefix("serial=").lower()
    (one,) = run("show", "cert.portal", "--format", "json").json
    assert one["serial_number"] == serial
    assert one["status"] == "good"
    assert one["pem"] == pem


def test_show_of_nothing_says_what_it_looked_for(run, applied):
    assert "neither a file nor an address" in run("show", "nonsense").err
    assert "no certificate was ever signed for cert.absent" in run("show", "cert.absent").err


def test_explain_of_an_address_names_its_generation_and_line(run, applied):
    ran = run("explain", "cert.portal")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("cert.portal: generation 1, ")
    assert "declared at pki.toml:" in ran.out


def test_explain_tells_when_a_certificate_is_due_and_why_then_and_when_it_ends(run, applied):
    out = run("explain", "cert.portal").out
    due, earliest, declared = re.search(r"due (\S+), drawn between (\S+) and (\S+)", out).groups()
    assert earliest <= due <= declared == "2027-01-22T08:55:00Z"
    assert "valid 2026-11-23T08:55:00Z to 2027-02-21T08:54:59Z" in out


def test_explain_of_a_reason_and_of_a_mistake(run):
    assert run("explain", "due").out.startswith("due: ")
    assert "E0203" in run("explain", "E0203").out
    ran = run("explain", "E9999")
    assert ran.code == 1
    assert "no code E9999" in ran.err


def test_graph_draws_who_signs_whom(run):
    dot = run("graph").out
    assert dot.startswith("digraph pki {")
    assert '"ca.root" -> "ca.issuing" [label="signs"];' in dot
    assert '"ca.issuing" -> "cert.app" [label="signs"];' in dot
    assert '"ca.root" -> "publish.web" [label="publishes to"];' in dot
    mermaid = run("graph", "--format", "mermaid").out
    assert mermaid.startswith("flowchart LR\n")
    assert mermaid.count("-->") == dot.count("->")
