"""init, validate, fmt, config, schema: commands on configuration alone."""

import json
import tomllib

import jsonschema
import pytest

from tests.cli.running import CONFIG

FROM_CSV = CONFIG.replace('values = ["api", "billing", "search"]', 'csv = "fleet.csv", key = "host"').replace(
    "${each.value}.${var.domain}", "${each.fqdn}"
)


@pytest.mark.parametrize("template", ["single", "two-tier", "mtls"])
def test_init_writes_a_project_that_validates_and_plans(run, tmp_path, template):
    new = tmp_path / "new"
    ran = run("init", new, "--template", template)
    assert ran.code == 0, ran.err
    assert "/.pkicode/" in (new / ".gitignore").read_text()
    assert (new / "pki.schema.json").is_file()
    assert run("-C", new, "validate", "--fail-on", "warning").code == 0
    assert "+ ca.root@1" in run("-C", new, "plan").out


def test_init_never_overwrites_a_pki_toml(run, folder):
    ran = run("init")
    assert ran.code == 1
    assert "is there already" in ran.err
    assert (folder / "pki.toml").read_text() == CONFIG


def test_init_keeps_the_lines_of_a_gitignore(run, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".gitignore").write_text("*.pyc\n/.pkicode/\n")
    assert run("init", tmp_path / "new").code == 0
    lines = (tmp_path / "new" / ".gitignore").read_text().splitlines()
    assert lines[:2] == ["*.pyc", "/.pkicode/"]
    assert len(lines) == len(set(lines))
    assert "/out/" in lines


def test_validate_says_valid(run):
    ran = run("validate")
    assert (ran.code, ran.out) == (0, "Valid: 0 errors, 0 warnings\n")


def test_validate_tells_all_mistakes_at_once_on_stdout(run, folder):
    broken = CONFIG.replace('profile = "server"\ndns', 'profile = "sever"\ndns').replace("eku =", "ekus =")
    (folder / "pki.toml").write_text(broken, "utf-8")
    ran = run("validate")
    assert ran.code == 1
    assert "sever" in ran.out
    assert "ekus" in ran.out
    assert ran.out.splitlines()[-1] == "Invalid: 2 errors, 0 warnings"


def test_validate_json_carries_codes_and_spans(run, folder):
    (folder / "pki.toml").write_text(CONFIG.replace('validity = "5y"', 'validty = "5y"'), "utf-8")
    ran = run("validate", "--format", "json")
    assert ran.code == 1
    (found,) = ran.json["diagnostics"]
    assert found["span"]["path"] == "pki.toml"
    assert CONFIG.splitlines()[found["span"]["start"]["line"] - 1] == 'validity = "5y"'
    assert ran.json["valid"] is False


def test_validate_reads_every_row_of_a_fan_out(run, folder):
    (folder / "fleet.csv").write_text("host,fqdn\na,a.corp.example\nb,bad name!\n", "utf-8")
    (folder / "pki.toml").write_text(FROM_CSV, "utf-8")
    ran = run("validate")
    assert ran.code == 1
    assert "bad name!" in ran.out


def test_fmt_check_exits_3_and_fmt_mends_it(run, folder):
    assert run("fmt", "--check").code == 0
    (folder / "pki.toml").write_text(CONFIG.replace("version = 1", "version   =  1"), "utf-8")
    ran = run("fmt", "--check")
    assert ran.code == 3
    assert "would be reformatted" in ran.out
    assert run("fmt").code == 0
    assert (folder / "pki.toml").read_text() == CONFIG
    assert run("fmt", "--check").code == 0
    assert [path.name for path in folder.iterdir()] == ["pki.toml"]


def test_config_show_says_where_each_value_comes_from(run):
    written = run("config", "show", "--origin")
    assert written.code == 0
    assert "# pki.toml:" in written.out
    assert "# default" not in written.out
    resolved = run("config", "show", "--resolved", "--origin")
    assert "# default" in resolved.out
    assert len(resolved.out.splitlines()) > len(written.out.splitlines())
    told = run("config", "show", "--resolved", "--origin", "--format", "json").json
    assert set(told[0]) == {"path", "value", "origin"}


def test_config_show_never_shows_a_secret(run, folder):
    (folder / ".pkicode").mkdir(mode=0o700)
    (folder / ".pkicode" / "passphrase").write_text("planted-secret\n")
    ran = run("config", "show", "--resolved", "--origin")
    assert ".pkicode/passphrase" in ran.out
    assert "planted-secret" not in ran.out + ran.err


def test_schema_config_is_the_schema_of_this_very_file(run):
    schema = run("schema", "config").json
    jsonschema.validate(tomllib.loads(CONFIG), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**tomllib.loads(CONFIG), "nonsense": 1}, schema)


def test_schema_plan_is_the_schema_of_a_plan(run, folder):
    schema = run("schema", "plan").json
    jsonschema.validate(run("plan", "--format", "json").json, schema)
    assert run("plan", "-o", "plan.json").code == 0
    jsonschema.validate(json.loads((folder / "plan.json").read_text()), schema)
