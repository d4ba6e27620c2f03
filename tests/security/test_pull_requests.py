"""A pull request may edit pki.toml and its includes: `plan` runs nothing and reads nothing outside (decisions 23)."""

import os
from collections.abc import Callable

import pytest

from pkicode.cli import main
from tests.cli.running import Ran
from tests.kinds.site import BASE, Site

SECRET = "planted-outside-5e0c"
COMMAND = 'sh", "-c", "touch RAN'
LEAF = '[cert.evil]\nprofile = "server"\ndns = ["evil.corp.example"]\n'
FLEET = '[cert.evil]\nprofile = "server"\ndns = ["${each.host}.corp.example"]\n'

ALLOWED = 'allow = { dns = [".corp.example"] }\n'

INCLUDED = {
    "a hook": LEAF + f'after = ["{COMMAND}"]\noutput = {{ chain = "out/evil.pem" }}\n',
    "a keystore": '[keystore.evil]\ntype = "file"\npassphrase = { command = ["touch", "RAN"] }\n',
    "a hook through the policy": f'[policy]\nhooks = [["{COMMAND}"]]\n',
    "a CA": '[ca.evil]\nsubject = { cn = "Evil" }\n',
    "a profile": '[profile.evil]\nissuer = "issuing"\n',
    "a publish target": '[publish.evil]\nurl = "/tmp"\nbase_url = "http://evil.example"\n',
    "another include": 'include = ["../outside/*.toml"]\n' + LEAF,
    "itself": 'include = ["evil.toml"]\n' + LEAF,
    "its root": 'include = ["../pki.toml"]\n' + LEAF,
    "an absolute output": LEAF + 'output = { chain = "/tmp/pkicode-evil.pem" }\n',
    "an output that climbs": LEAF + 'output = { chain = "../evil.pem" }\n',
    "an output over the keystore": LEAF + 'output = { chain = ".pkicode/keys.db" }\n',
    "a password read outside": LEAF
    + 'output = { p12 = "out/evil.p12", p12_password = { file = "../outside/secret" } }\n',
    "a password by command": LEAF
    + 'output = { p12 = "out/evil.p12", p12_password = { command = ["touch", "RAN"] } }\n',
    "a CSV that climbs": FLEET + 'for_each = { csv = "../outside/fleet.csv", key = "host" }\n',
    "an absolute CSV": FLEET + 'for_each = { csv = "OUTSIDE/fleet.csv", key = "host" }\n',
    "a CSV through a link": FLEET + 'for_each = { csv = "teams/link/fleet.csv", key = "host" }\n',
    "a JSONL that climbs": FLEET + 'for_each = { jsonl = "../outside/fleet.csv", key = "host" }\n',
    "a CSR that climbs": LEAF + 'csr = { dir = "../outside", file = "secret" }\n',
    "a CSR file that climbs": LEAF + 'csr = { dir = "teams", file = "../../outside/secret" }\n',
    "a CSR through a link": LEAF + 'csr = { dir = "teams/link", file = "secret" }\n',
    "an environment variable": LEAF.replace("evil.corp", "${env.PLANTED}.corp"),
    "an environment variable as a variable": LEAF.replace("evil.corp", "${var.PLANTED}.corp"),
    "a nested substitution": LEAF.replace("evil.corp", "${var.${var.x}}.corp"),
    "an overlay": f'[env.default.cert.evil]\nafter = ["{COMMAND}"]\n',
    "variables": '[vars]\nbase = "http://evil.example"\n',
    "a removal of what others protect": '[[forget]]\naddress = "cert.portal"\n[policy]\nmax_actions = {}\n',
}


@pytest.fixture
def run(repository: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """The command in the repository, in this process, with a secret in the environment."""
    monkeypatch.setenv("PLANTED", SECRET)
    monkeypatch.setenv("PKICODE_NOW", "2026-11-23T09:00:00Z")

    def call(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main(["-C", str(repository.root), *arguments])
        told = capsys.readouterr()
        return Ran(code, told.out, told.err)

    return call


@pytest.fixture
def repository(site: Site) -> Site:
    """A root pki.toml that includes teams/*.toml, and secrets in a folder outside."""
    outside = site.root.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_text(f"{SECRET}\n")
    (outside / "secret").chmod(0o600)
    (outside / "fleet.csv").write_text(f"host\n{SECRET}\n")
    (outside / "more.toml").write_text(f'[cert.{SECRET}]\nprofile = "server"\ndns = ["x.corp.example"]\n')
    (site.root / "teams").mkdir()
    (site.root / "teams/link").symlink_to(outside)
    return site.write('[cert.portal]\nprofile = "server"\ndns = ["portal.corp.example"]\n', base=_including())


PORTAL_WITH_FILES = """
[cert.portal]
profile = "server"
dns = ["portal.corp.example"]
output = { chain = "out/portal.pem" }
"""


def _including() -> str:
    return BASE.replace("version = 1\n", 'version = 1\ninclude = ["teams/*.toml"]\n') + ALLOWED


def assert_harmless(site: Site, ran: Ran) -> None:
    """Nothing ran, nothing was read from outside, nothing was written."""
    assert not list(site.root.parent.rglob("RAN"))
    assert SECRET not in ran.out + ran.err
    assert not (site.root / "out").exists()
    assert not (site.root / ".pkicode/state.db").exists()
    assert sorted(os.listdir(site.root.parent / "outside")) == ["fleet.csv", "more.toml", "secret"]
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("text", INCLUDED.values(), ids=INCLUDED)
def test_what_an_included_file_may_not_do_is_an_error_of_plan_and_nothing_else(
    text: str, repository: Site, run: Callable[..., Ran]
) -> None:
    outside = repository.root.parent / "outside"
    (repository.root / "teams/evil.toml").write_text(text.replace("OUTSIDE", str(outside)))
    for command in (["plan"], ["plan", "--format", "json"], ["validate"]):
        ran = run(*command)
        assert ran.code == 1, ran.out
        assert "error" in ran.err + ran.out
        assert_harmless(repository, ran)


@pytest.mark.parametrize(
    "more",
    [
        f'[cert.web]\nprofile = "server"\ndns = ["w.corp.example"]\noutput = {{ chain = "out/w.pem" }}\n'
        f'after = ["{COMMAND}"]\n',
        '[cert.web]\nprofile = "server"\ndns = ["w.corp.example"]\n[cert.web.output]\np12 = "out/w.p12"\n'
        'p12_password = { command = ["sh", "-c", "touch RAN; echo x"] }\n',
        '[keystore.other]\ntype = "file"\npath = ".pkicode/other.db"\n'
        'passphrase = { command = ["sh", "-c", "touch RAN; echo x"] }\n'
        '[cert.web]\nprofile = "server"\ndns = ["w.corp.example"]\nkey = { store = "other" }\n',
    ],
    ids=["hook", "password", "passphrase"],
)
def test_plan_and_validate_run_no_command_that_apply_would(
    more: str, repository: Site, run: Callable[..., Ran]
) -> None:
    base = repository.text.replace("[ca.root]\n", '[ca.root]\nkey = { store = "main" }\n')
    base = base.replace("[ca.issuing]\n", '[ca.issuing]\nkey = { store = "main" }\n')
    repository.write(more, base=base.replace("[cert.portal]\n", '[cert.portal]\nkey = { store = "main" }\n'))
    for command in (["plan", "--full"], ["validate"], ["config", "show", "--resolved"], ["graph"]):
        ran = run(*command)
        assert ran.code == 0, ran.err
        assert_harmless(repository, ran)


@pytest.mark.parametrize("over", ["pki.toml", "teams/good.toml", "public/index.json"])
def test_an_output_never_replaces_a_file_that_is_there(over: str, repository: Site, run: Callable[..., Ran]) -> None:
    (repository.root / "public").mkdir()
    (repository.root / "public/index.json").write_text("{}\n")
    (repository.root / "teams/good.toml").write_text(LEAF + f'output = {{ chain = "{over}" }}\n')
    before = (repository.root / over).read_bytes()
    ran = run("apply", "-y", "--allow-clock")
    assert ran.code in (1, 8)
    assert before == (repository.root / over).read_bytes() or over == "public/index.json"
    assert b"CERTIFICATE" not in (repository.root / over).read_bytes()


def test_a_link_put_where_an_output_goes_does_not_lead_out(repository: Site, run: Callable[..., Ran]) -> None:
    """The link is in the repository, the output in an included file: at apply it is refused, not followed."""
    (repository.root / "out").symlink_to(repository.root.parent / "outside")
    (repository.root / "teams/good.toml").write_text(LEAF + 'output = { chain = "out/evil.pem" }\n')
    ran = run("apply", "-y", "--allow-clock")
    assert ran.code in (1, 8)
    assert sorted(os.listdir(repository.root.parent / "outside")) == ["fleet.csv", "more.toml", "secret"]


def test_a_link_does_not_let_one_certificate_write_the_files_of_another(
    repository: Site, run: Callable[..., Ran]
) -> None:
    repository.write(PORTAL_WITH_FILES, base=_including())
    assert run("apply", "-y", "--allow-clock").code == 0
    before = (repository.root / "out/portal.pem").read_bytes()
    (repository.root / "teams/aside").symlink_to("../out")
    (repository.root / "teams/good.toml").write_text(LEAF + 'output = { chain = "teams/aside/portal.pem" }\n')
    ran = run("apply", "-y", "--allow-clock")
    assert ran.code == 8
    assert "goes through a link" in ran.err
    assert before == (repository.root / "out/portal.pem").read_bytes()


def test_an_included_file_may_declare_a_certificate(repository: Site, run: Callable[..., Ran]) -> None:
    """The corpus is refused for what it does, not for where it stands."""
    (repository.root / "teams/good.toml").write_text(LEAF)
    ran = run("plan")
    assert (ran.code, ran.err) == (0, "")
    assert "+ cert.evil " in ran.out
