"""The command on a state in PostgreSQL: made, copied there and back, looked at, backed up and restored."""

import shutil
from pathlib import Path

import pytest

from tests.cli.running import CONFIG, ONE_MORE, spawn
from tests.postgres import Postgres
from tests.quick import quick_keystore

SECRET = 'password = { env = "PKI_DB" }\n'


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.url(schema=postgres.schema().schema)


def written(folder: Path, url: str, more: str = "") -> None:
    (folder / "pki.toml").write_text(f'{CONFIG}\n[state]\nurl = "{url}"\n{more}', "utf-8")


@pytest.fixture
def there(run, folder: Path, url: str) -> str:
    """A state in PostgreSQL with everything in CONFIG applied."""
    quick_keystore(folder)
    written(folder, url)
    assert run("state", "migrate").code == 0
    assert run("apply", "-y", "--allow-clock").code == 0
    return url


def test_state_migrate_makes_a_state_that_apply_and_plan_use(run, folder, url):
    quick_keystore(folder)
    written(folder, url)
    assert run("plan", "-e").code == 2  # there is none yet: everything is to be made
    ran = run("apply", "-y", "--allow-clock")
    assert (ran.code, "state migrate" in ran.err) == (1, True)
    assert run("state", "migrate").out == "The state has schema 3: made.\n"
    assert run("state", "migrate").out == "The state has schema 3: was there already.\n"
    assert run("apply", "-y", "--allow-clock").code == 0
    assert run("plan", "-e").code == 0
    assert run("state", "verify").code == 0
    assert run("audit", "verify").code == 0
    assert not (folder / ".pkicode" / "state.db").exists()
    assert run("state", "info", "--format", "json").json["path"].startswith("postgresql://127.0.0.1:")


def test_state_verify_names_all_that_is_planted_where_nothing_else_opens_the_state(run, there, postgres):
    schema = there.rpartition("schema=")[2]
    for name in ("one", "two"):
        postgres.sql(f"CREATE RULE {name} AS ON INSERT TO {schema}.revocations DO INSTEAD NOTHING")
    ran = run("plan")
    assert (ran.code, "`pkicode state verify` names all that does not belong" in ran.err) == (1, True)
    ran = run("state", "verify")
    assert ran.code != 0
    assert all(f"schema: rule {name} does not belong here" in ran.out + ran.err for name in ("one", "two"))


def test_state_migrate_of_a_file_makes_it(run, folder):
    assert run("state", "migrate").out == "The state has schema 3: made.\n"
    assert run("state", "migrate").out == "The state has schema 3: was there already.\n"


def test_state_roles_prints_sql_for_the_schema(run, folder, postgres):
    schema = postgres.schema().schema
    written(folder, postgres.url(schema=schema))
    assert run("state", "migrate").code == 0
    ran = run("state", "roles")
    assert f"GRANT SELECT ON {schema}.meta" in ran.out
    postgres.sql(ran.out)
    (folder / "pki.toml").write_text(CONFIG, "utf-8")
    assert run("state", "roles").code == 1


def test_state_copy_carries_a_state_there_and_back(run, applied, url, postgres):
    before = run("inventory", "--format", "json").json
    assert run("state", "copy", "sqlite:///.pkicode/state.db", url, "--allow-clock").code == 0
    (applied / ".pkicode" / "state.db").rename(applied / "old.db")
    written(applied, url)
    assert run("inventory", "--format", "json").json == before
    assert run("plan", "-e").code == 0
    assert run("state", "verify").code == 0
    (applied / "pki.toml").write_text((applied / "pki.toml").read_text() + ONE_MORE)
    assert run("apply", "-y", "--allow-clock").code == 0

    more = run("inventory", "--format", "json").json
    assert len(more) == len(before) + 1
    assert run("state", "copy", url, "sqlite:///.pkicode/back.db", "--allow-clock").code == 0
    (applied / "pki.toml").write_text(f'{CONFIG}{ONE_MORE}\n[state]\nurl = "sqlite:///.pkicode/back.db"\n')
    assert run("inventory", "--format", "json").json == more
    assert run("plan", "-e").code == 0
    assert run("state", "verify").code == 0
    told = [one["action"] for one in run("audit", "log", "--format", "json").json]
    assert told.count("copy") == 2


def test_state_copy_overwrites_nothing(run, there, applied, url):
    for target in (url, "sqlite:///.pkicode/state.db"):
        source = "sqlite:///.pkicode/state.db" if target == url else url
        ran = run("state", "copy", source, target, "--allow-clock")
        assert ran.code == 1
        assert "there is a state in" in ran.err
    assert run("state", "copy", url, url, "--allow-clock").code == 1
    assert run("state", "copy", url, "mysql://x", "--allow-clock").code == 1


def test_a_server_that_was_set_back_is_told_by_the_journal_of_who_signed(run, folder, there, postgres):
    """Its own backups go round `state restore`."""
    schema = there.rpartition("=")[2]
    old = ["certificates", "resources", "events", "meta", "templates"]
    for name in old:
        postgres.sql(f"CREATE TABLE public.{schema}_{name} AS TABLE {schema}.{name}")
    (folder / "pki.toml").write_text((folder / "pki.toml").read_text() + ONE_MORE)
    assert run("apply", "-y", "--allow-clock").code == 0
    [lost] = [one for one in run("inventory", "--format", "json").json if one["address"] == "cert.new"]
    postgres.sql(f"TRUNCATE {', '.join(f'{schema}.{name}' for name in old)}")
    for name in reversed(old):
        postgres.sql(f"INSERT INTO {schema}.{name} OVERRIDING SYSTEM VALUE SELECT * FROM public.{schema}_{name}")
    ran = run("apply", "-y", "--allow-clock")
    assert (ran.code, f"does not know: serial {lost['serial_number']}" in ran.err) == (1, True)
    (folder / ".pkicode/journal.log").rename(folder / "elsewhere")
    assert "W0502" not in run("plan").out  # as on another machine, which has signed nothing
    (folder / "elsewhere").rename(folder / ".pkicode/journal.log")
    assert "W0502" in run("plan").out
    assert run("state", "adopt", "-y", "--allow-clock").code == 0
    assert run("state", "verify").code == 0
    assert run("apply", "-y", "--allow-clock").code == 0
    found = [one["generation"] for one in run("inventory", "--format", "json").json if one["address"] == "cert.new"]
    assert found == [1, 2]


def test_a_backup_of_the_server_is_restored_there_and_refused_where_it_knows_less(run, folder, there, postgres):
    assert run("state", "backup", folder / "first.db").code == 0
    (folder / "pki.toml").write_text((folder / "pki.toml").read_text() + ONE_MORE)
    assert run("apply", "-y", "--allow-clock").code == 0
    ran = run("state", "restore", folder / "first.db", "--allow-clock")
    assert ran.code == 1
    assert "does not know 1 certificate" in ran.err
    assert run("state", "backup", folder / "second.db").code == 0
    before = run("inventory", "--format", "json").json
    assert run("state", "restore", folder / "second.db", "--allow-clock").code == 0
    assert run("state", "lock", "show").out == "No lease is held.\n"

    schema = there.rpartition("=")[2]
    postgres.sql(f"DROP SCHEMA {schema} CASCADE")
    lost = run("plan")
    assert (lost.code, "is gone" in lost.err, "pkicode state copy OLD-URL NEW-URL" in lost.err) == (1, True, True)
    assert run("state", "restore", folder / "second.db", "--allow-clock").code == 0
    assert run("inventory", "--format", "json").json == before
    assert run("plan", "-e").code == 0
    assert run("state", "verify").code == 0
    assert not [one for one in (folder / ".pkicode").iterdir() if one.name.startswith(".")]


def test_verify_sees_what_was_altered_on_the_server(run, there, postgres):
    schema = there.rpartition("=")[2]
    postgres.sql(f"UPDATE {schema}.events SET actor = 'mallory' WHERE sequence = 2")
    ran = run("state", "verify")
    assert ran.code == 1
    assert "event 2 was altered" in ran.out + ran.err
    assert run("audit", "verify").code == 1


def test_two_machines_sign_into_one_state_and_each_has_the_journal_of_what_it_signed(run, folder, there, tmp_path):
    other = tmp_path / "other"
    (other / ".pkicode").mkdir(parents=True, mode=0o700)
    for name in ("pki.toml", ".pkicode/keys.db", ".pkicode/passphrase"):
        shutil.copy2(folder / name, other / name)
    (other / "pki.toml").write_text((folder / "pki.toml").read_text() + ONE_MORE)
    ran = spawn(other, "apply", "-y", "--allow-clock", "--only", "cert.new")
    assert ran.code == 0, ran.err
    assert len((other / ".pkicode" / "journal.log").read_bytes().splitlines()) == 1
    assert run("state", "verify").code == 0
    assert spawn(other, "state", "verify").code == 0
    assert len(run("inventory", "--format", "json").json) == 7


def test_the_password_is_in_nothing_that_is_told_and_a_plan_runs_no_command(run, folder, there, monkeypatch):
    written(folder, there, SECRET)
    assert "PKI_DB is not set" in run("plan").err
    monkeypatch.setenv("PKI_DB", "planted-4c11")
    assert run("plan", "-e").code == 0
    for command in (("state", "info"), ("plan", "--format", "json"), ("config", "show")):
        ran = run(*command)
        assert "planted" not in ran.out + ran.err
    written(folder, there, 'password = { command = ["touch", "ran"] }\n')
    for command in (("plan",), ("explain", "cert.portal"), ("forecast", "--until", "+1d")):
        ran = run(*command)
        assert (ran.code, "a plan runs none" in ran.err) == (1, True)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("postgresql://pki:hunter2@db.example/pki", "E0207"),
        ("postgresql://pki@db.example/pki?password=hunter2", "E0207"),
        ("postgresql://pki@db.example/pki?sslmode=require", "E0214"),
        ("postgresql://pki@db.example/pki?sslmode=disable", "E0214"),
        ("postgresql://pki@db.example/pki?connect_timeout=3", "E0206"),
        ("postgresql://db.example/pki", "E0206"),
        ("postgresql://pki@db.example", "E0206"),
        ("postgresql://pki@db.example/pki?schema=Robert'); DROP", "E0206"),
        ("postgresql://pki@db.example:port/pki", "E0206"),
        ("postgresql://pki:hunter2@db.example:port/pki", "E0206"),
        ("mysql://pki@db.example/pki", "E0206"),
    ],
)
def test_a_url_that_is_unsafe_or_unclear_is_refused_at_its_line(run, folder, url, code):
    written(folder, url)
    ran = run("validate")
    assert ran.code == 1
    assert f"error[{code}]" in ran.err + ran.out
    assert "hunter2" not in ran.out + ran.err
