"""Reading a whole configuration: what one says is what one gets, and where it came from is remembered."""

import json
import shutil
from pathlib import Path

import pytest

from pkicode.config.reader import Config, read
from pkicode.config.rows import rows
from pkicode.model.problem import ConfigError, Part
from pkicode.model.version import VERSION

EXAMPLE = Path(__file__).parent / "example"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the example."""
    shutil.copytree(EXAMPLE, tmp_path / "p")
    return tmp_path / "p"


@pytest.fixture(scope="module")
def config() -> Config:
    return read(EXAMPLE / "pki.toml", environ={})


def test_blocks_stand_in_the_order_of_the_file_with_includes_last(config: Config) -> None:
    names = [f"{block.kind}.{block.name}" for block in config.blocks]
    assert names == ["ca.root", "ca.issuing", "cert.portal", "cert.mesh", "cert.fleet", "cert.team"]


def test_a_certificate_has_its_profiles_fields_and_its_own(config: Config) -> None:
    block = config.block("cert", "portal")
    assert block is not None
    assert block.spec.issuer == "issuing"
    assert block.spec.eku == ("serverAuth",)
    assert block.spec.validity == 90 * 86400
    assert block.spec.dns == ("portal.corp.example", "www.corp.example")
    assert block.spec.base_urls == ("http://pki.corp.example",)


def test_a_field_remembers_who_set_it(config: Config) -> None:
    block = config.block("cert", "portal")
    assert block is not None
    assert block.source.place("validity").keys == ("profile", "base", "validity")
    assert block.source.place("eku").keys == ("profile", "server", "eku")
    assert block.source.place("dns", 1).keys == ("cert", "portal", "dns", 1)
    assert block.source.place("after").part is Part.TABLE


def test_a_template_holds_every_field_and_names_the_defaulted(config: Config) -> None:
    block = config.block("ca", "issuing")
    assert block is not None
    body = json.loads(block.template)
    assert (body["kind"], body["version"]) == ("ca", 1)
    assert body["spec"]["subject"] == [["c", "FI"], ["o", "Corp"], ["cn", "Corp Issuing A${generation}"]]
    assert body["spec"]["own_base_urls"] == ["http://pki.corp.example"]
    assert "backdate" in body["defaulted"]
    assert "validity" not in body["defaulted"]


def test_the_order_of_tables_changes_no_template(project: Path, config: Config) -> None:
    text = (project / "pki.toml").read_text()
    head, *tables = text.split("\n\n")
    shuffled = "\n\n".join([head, *reversed(tables)]) + "\n"
    again = read(project / "pki.toml", environ={}, text=shuffled)
    assert {block.template_id for block in again.blocks} == {block.template_id for block in config.blocks}


def test_a_fan_out_has_a_row_for_each_combination(config: Config) -> None:
    block = config.block("cert", "mesh")
    assert block is not None
    assert [row.key for row in rows(config, block)] == [
        "api.eu", "billing.eu", "search.eu", "api.us", "billing.us", "search.us",
    ]  # fmt: skip


def test_inputs_are_every_file_that_was_read(config: Config) -> None:
    assert [path for path, _ in config.inputs] == ["fleet.csv", "pki.toml", "teams/a.toml"]
    assert all(digest.startswith("sha256:") for _, digest in config.inputs)


def test_a_variable_is_overridden_by_the_environment_and_that_by_the_command_line(project: Path) -> None:
    def first_name(**more: dict[str, str]) -> str:
        block = read(project / "pki.toml", **{"environ": {}, **more}).block("cert", "portal")
        assert block is not None
        return str(block.spec.cn)

    environ = {"PKICODE_VAR_DOMAIN": "env.example"}
    assert first_name(environ=environ) == "portal.env.example"
    assert first_name(environ=environ, variables={"domain": "line.example"}) == "portal.line.example"


def test_an_overlay_merges_deep_and_leaves_the_rest(project: Path) -> None:
    root = read(project / "pki.toml", environ={}, env="dev").block("ca", "root")
    assert root is not None
    assert root.spec.key.alg == "ec-p384"
    assert root.source.place("key", "store").keys == ("env", "dev", "ca", "root", "key", "store")
    assert read(project / "pki.toml", environ={"PKICODE_ENV": "prod"}).env == "prod"


def test_a_what_if_text_is_read_instead_of_the_file(project: Path) -> None:
    text = (project / "pki.toml").read_text().replace('validity = "5y"', 'validity = "4y"')
    issuing = read(project / "pki.toml", environ={}, text=text).block("ca", "issuing")
    assert issuing is not None
    assert issuing.spec.validity == 4 * 365 * 86400


def test_a_link_out_of_the_root_is_not_included(project: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.toml").write_text('[cert.x]\nprofile = "server"\ndns = ["x.corp.example"]\n')
    (project / "teams" / "b.toml").symlink_to(tmp_path / "outside.toml")
    with pytest.raises(ConfigError) as caught:
        read(project / "pki.toml", environ={})
    assert [problem.code for problem in caught.value.problems] == ["E0106"]


@pytest.mark.parametrize("pattern", ["a**b", ".", "nowhere.toml", "teams/"])
def test_an_include_that_can_match_nothing_is_an_error(project: Path, pattern: str) -> None:
    text = (project / "pki.toml").read_text().replace("teams/*.toml", pattern)
    with pytest.raises(ConfigError) as caught:
        read(project / "pki.toml", environ={}, text=text)
    assert [problem.code for problem in caught.value.problems] == ["E0105"]


def test_a_secret_behind_a_link_is_no_row(project: Path) -> None:
    (project / ".pkicode").mkdir()
    (project / ".pkicode" / "passphrase").write_text("hunter2\n")
    (project / "fleet.csv").unlink()
    (project / "fleet.csv").symlink_to(".pkicode/passphrase")
    with pytest.raises(ConfigError) as caught:
        read(project / "pki.toml", environ={})
    assert [problem.code for problem in caught.value.problems] == ["E0112"]


def test_a_ca_whose_revocations_nobody_sees_is_a_warning(project: Path) -> None:
    text = (project / "pki.toml").read_text()
    head, issuing = text.split("[ca.issuing]")
    text = head + "[ca.issuing]" + issuing.replace('publish = ["web"]\n', "", 1)
    config = read(project / "pki.toml", environ={}, text=text)
    assert [(problem.code, problem.address) for problem in config.problems] == [("W0301", "ca.issuing")]


def test_certificates_do_not_name_a_target_that_leaves_out_their_crl(project: Path) -> None:
    text = (project / "pki.toml").read_text().replace('"ca", "crl", "bundle"', '"bundle"')
    config = read(project / "pki.toml", environ={}, text=text)
    assert [problem.code for problem in config.problems] == ["W0301", "W0301"]
    assert {block.spec.base_urls for block in config.blocks} == {()}


def test_a_variable_that_nothing_uses_is_a_warning_unless_an_overlay_uses_it(project: Path) -> None:
    text = (project / "pki.toml").read_text().replace("[vars]\n", '[vars]\nlater = "x"\n')
    config = read(project / "pki.toml", environ={}, text=text)
    assert [problem.code for problem in config.problems] == ["W0302"]
    text += '\n[env.dev.cert.portal]\nnote = "${var.later}"\n'
    assert read(project / "pki.toml", environ={}, text=text).problems == ()


def test_the_only_keystore_is_the_one_meant(project: Path) -> None:
    text = (project / "pki.toml").read_text().replace(', store = "soft"', "")
    portal = read(project / "pki.toml", environ={}, text=text).block("cert", "portal")
    assert portal is not None
    assert portal.spec.key.store == "soft"
    assert "key.store" in json.loads(portal.template)["defaulted"]


def test_the_version_that_requires_is_checked_against_is_the_packages() -> None:
    import pkicode

    assert pkicode.__version__ == VERSION


def test_an_unreadable_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "pki.toml", environ={})
    assert "pki.toml: no such file" in caught.value.problems[0].message


def test_a_scan_has_its_targets_and_a_policy_with_safe_defaults(config: Config, project: Path) -> None:
    (edge,) = config.settings.scans
    assert edge.targets == ("cert.portal", "10.20.0.0/24:443", "@hosts.txt")
    assert edge.expect == ("cert.portal", "cert.fleet")
    assert (edge.rate, edge.policy.forbid, edge.policy.warn_expiry) == (200, ("RC4", "3DES"), 14 * 86400)
    more = '[scan.more]\ntargets = ["a.example"]\n'
    text = (project / "pki.toml").read_text()
    one = read(project / "pki.toml", environ={}, text=text + more).settings.scans[1]
    assert (one.policy.min_version, one.allow_private) == ("TLSv1.2", False)


def test_an_included_file_adds_scans(project: Path) -> None:
    (project / "teams" / "b.toml").write_text('[scan.team]\ntargets = ["cert.team"]\n')
    scans = read(project / "pki.toml", environ={}).settings.scans
    assert [one.name for one in scans] == ["edge", "team"]
    (project / "teams" / "c.toml").write_text('[scan.edge]\ntargets = ["a.example"]\n')
    with pytest.raises(ConfigError) as raised:
        read(project / "pki.toml", environ={})
    assert [(one.code, one.message) for one in raised.value.problems] == [("E0108", "scan.edge is declared twice")]
