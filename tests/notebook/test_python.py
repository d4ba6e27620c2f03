"""The Python face: from `import pkicode` to certificates, in scripts, in event loops and in notebooks."""

import asyncio
import json
import pickle
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from IPython.core.formatters import DisplayFormatter

import pkicode
from tests.cli.running import CONFIG, ONE_MORE
from tests.guards.tree import ROOT
from tests.quick import quick_keystore

LATE = """
[cert.late]
profile = "server"
dns = ["late.corp.example"]
csr = { dir = "csr", file = "late.csr" }
"""
VENDOR = "application/vnd.pkicode.plan.v1+json"


@pytest.fixture
def folder(quick_path):
    quick_keystore(quick_path)
    (quick_path / "pki.toml").write_text(CONFIG, encoding="utf-8")
    return quick_path


@pytest.fixture
def pki(folder):
    return pkicode.open(folder / "pki.toml")


@pytest.fixture(scope="module")
def applied(tmp_path_factory):
    """A project with everything applied, which tests only read."""
    root = tmp_path_factory.mktemp("applied")
    quick_keystore(root)
    (root / "pki.toml").write_text(CONFIG, encoding="utf-8")
    found = pkicode.open(root / "pki.toml")
    found.apply()
    return found


def test_a_plan_is_applied_and_the_next_one_is_empty(pki, folder):
    plan = pki.plan()
    assert plan.has_changes
    assert plan.apply().counts["issue"] == 6
    assert not pki.plan().has_changes
    assert (folder / "out/portal.key").stat().st_mode & 0o777 == 0o600


def test_a_date_is_its_first_instant_and_a_folder_its_pki_toml(applied):
    pki = pkicode.open(applied.path.parent)
    assert pki.path == applied.path
    day = datetime.now(UTC).date() + timedelta(days=90)
    assert str(pki.plan(at=day)) == str(pki.plan(at=f"{day}"))
    assert str(pki.plan(at=day)).startswith(f"At {day}T00:00:00Z ")
    assert pki.forecast(until=day).forecast.until == pki.forecast(until=f"{day}").forecast.until


def test_a_forecast_is_shown_and_taken_apart(applied):
    foretold = applied.forecast(until="+60d")
    assert "Signatures by day" in repr(foretold)
    renewals = foretold.df.query("action == 'renew'")
    assert renewals["count"].sum() == 4
    assert set(renewals["reason"]) == {"due"}
    again = asyncio.run(applied.aforecast(datetime.now(UTC) + timedelta(days=60)))
    assert len(again.forecast.rows) >= len(renewals)


def test_the_async_methods_do_the_same_in_a_running_loop(pki):
    async def story():
        plan = await pki.aplan(only=["ca.*"])
        first = await plan.aapply()
        second = await pki.aapply()
        told = await pki.aexplain("cert.portal")
        return first.counts["issue"], second.counts["issue"], len(await pki.ainventory()), told

    issued, more, signed, told = asyncio.run(story())
    assert (issued, more, signed) == (2, 4, 6)
    assert "nothing to do" in told


def test_the_blocking_methods_work_inside_a_running_loop(applied):
    async def cell():
        return len(applied.inventory()), applied.plan().has_changes

    assert asyncio.run(cell()) == (6, False)


def test_the_frame_of_a_plan_has_a_row_per_change(pki):
    frame = pki.plan().df
    issued = frame[frame["action"] == "issue"]
    assert sorted(issued["address"]) == [
        "ca.issuing", "ca.root", 'cert.app["api"]', 'cert.app["billing"]', 'cert.app["search"]', "cert.portal",
    ]  # fmt: skip
    assert set(frame["kind"]) == {"ca", "cert", "crl", "publish", "output"}


def test_the_inventory_is_a_frame_of_everything_signed(applied):
    frame = applied.inventory()
    assert set(frame["status"]) == {"good"}
    assert frame.set_index("address")["sans"]["cert.portal"] == ("dns:portal.corp.example",)


def test_there_is_an_empty_inventory_before_the_first_apply(pki):
    assert list(pki.inventory().columns)[:2] == ["address", "generation"]
    assert pki.inventory().empty


def _moments():
    then = datetime.now(UTC) + timedelta(days=100)
    return ["+100d", then.date().isoformat(), then.isoformat(), then]


@pytest.mark.parametrize("at", _moments(), ids=["relative", "date", "text", "datetime"])
def test_a_plan_for_later_renews_what_is_due_then(applied, at):
    frame = applied.plan(at=at).df
    renewed = frame[(frame["action"] == "renew") & (frame["kind"] == "cert")]
    assert len(renewed) == 4
    assert set(renewed["reason"]) == {"due"}


@pytest.mark.parametrize("at", ["tomorrow", datetime(2027, 1, 11)], ids=["word", "local"])  # noqa: DTZ001 - refused
def test_a_moment_that_means_nothing_or_two_things_is_refused(applied, at):
    with pytest.raises(ValueError, match="time"):
        applied.plan(at=at)


def test_the_same_pki_is_one_key_of_a_cache(applied):
    again = pkicode.open(applied.path, variables={"domain": "corp.example"})
    assert {applied, pkicode.open(applied.path)} == {applied}
    assert {applied, again} != {applied}


def test_one_glob_needs_no_tuple(applied):
    assert set(applied.plan("+100d", only="cert.app*").df["block"]) == {"cert.app"}
    assert "cert.app" not in set(applied.plan("+100d", except_="cert.app*").df["block"])


def test_a_plan_explains_by_its_own_instant(applied):
    assert "renew generation 2: due" in applied.plan("+100d").explain("cert.portal")
    assert "nothing to do" in applied.explain("cert.portal")


def test_an_explanation_shows_without_quotes(applied):
    told = applied.explain("cert.portal")
    assert repr(told) == str(told)
    assert told.startswith("cert.portal: generation 1")


def test_pki_toml_is_read_anew_by_every_plan(pki, folder):
    before = len(pki.plan().df)
    (folder / "pki.toml").write_text(CONFIG + ONE_MORE, encoding="utf-8")
    assert len(pki.plan().df) == before + 1


def test_a_plan_of_an_edited_pki_toml_is_stale(pki, folder):
    plan = pki.plan()
    (folder / "pki.toml").write_text(CONFIG + ONE_MORE, encoding="utf-8")
    with pytest.raises(pkicode.StalePlan, match=r"pki\.toml changed"):
        plan.apply()
    assert pki.inventory().empty


def test_a_plan_for_later_is_not_applied_today(pki):
    with pytest.raises(pkicode.StalePlan, match="ahead"):
        pki.plan("+60d").apply()


def test_an_error_carries_every_mistake_with_its_line(folder):
    (folder / "pki.toml").write_text(CONFIG.replace("eku =", "ekus =").replace('"server"', '"sever"'), encoding="utf-8")
    with pytest.raises(pkicode.ConfigError) as caught:
        pkicode.open(folder / "pki.toml")
    (note,) = caught.value.__notes__
    assert "pki.toml:30:1" in note
    assert "did you mean `server`?" in note


def test_an_error_carries_its_mend_once(tmp_path):
    (tmp_path / ".git").mkdir()
    with pytest.raises(pkicode.PkicodeError) as caught:
        pkicode.open(tmp_path / "pki.toml").plan()
    assert len(caught.value.__notes__) == 1


def test_a_mistake_travels_between_processes_with_all_that_it_tells(folder):
    (folder / "pki.toml").write_text(CONFIG.replace("eku =", "ekus ="), encoding="utf-8")
    with pytest.raises(pkicode.ConfigError) as caught:
        pkicode.open(folder / "pki.toml")
    there = pickle.loads(pickle.dumps(caught.value))
    assert (str(there), there.problems) == (str(caught.value), caught.value.problems)
    assert there.__notes__ == caught.value.__notes__


def test_a_plan_travels_between_processes_and_is_applied_there(pki):
    plan = pki.plan()
    there = pickle.loads(pickle.dumps(plan))
    assert repr(there) == repr(plan)
    assert there.df.equals(plan.df)
    done = there.apply()
    assert done.counts["issue"] == 6
    assert repr(pickle.loads(pickle.dumps(done))) == repr(done)


def test_a_process_that_is_forked_after_the_first_call_can_call_too(applied):
    code = (
        "import os, sys, pkicode; pki = pkicode.open(sys.argv[1]); pki.inventory(); child = os.fork()\n"
        "if not child: os._exit(len(pki.inventory()))\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, applied.path], cwd=ROOT, capture_output=True, timeout=120)
    assert done.returncode == 6, done.stderr


@pytest.mark.parametrize("ask", [pkicode.Pki.plan, pkicode.Pki.inventory, pkicode.Pki.apply])
def test_a_state_that_cannot_be_looked_at_is_our_error_whoever_looks(folder, ask):
    text = CONFIG + f'\n[state]\nurl = "sqlite:///.pkicode/{"x" * 300}.db"\n'
    (folder / "pki.toml").write_text(text, encoding="utf-8")
    with pytest.raises(pkicode.StateError, match="cannot be read: File name too long"):
        ask(pkicode.open(folder / "pki.toml"))


@pytest.mark.parametrize("jobs", [0, -1])
def test_no_workers_are_refused_and_not_taken_for_some(pki, jobs):
    with pytest.raises(pkicode.PkicodeError, match="worker processes do nothing"):
        pki.apply(jobs=jobs)
    assert pki.inventory().empty


def test_an_error_without_a_mend_has_no_notes_and_not_no_list_of_them(applied):
    with pytest.raises(pkicode.PkicodeError) as caught:
        applied.explain("portal")
    assert caught.value.__notes__ == []


def test_a_brake_is_lifted_by_allow(folder):
    (folder / "pki.toml").write_text(CONFIG + "\n[policy]\nmax_actions = { issue = 3 }\n", encoding="utf-8")
    pki = pkicode.open(folder / "pki.toml")
    with pytest.raises(pkicode.Denied):
        pki.apply()
    assert pki.plan(allow={"issue": 6}).apply().counts["issue"] == 6


def test_a_brake_that_is_none_is_refused(pki):
    with pytest.raises(pkicode.PkicodeError, match="isue"):
        pki.plan(allow={"isue": 6})


def test_steps_are_told_while_they_happen(pki):
    told = []
    pki.apply(only="ca.root", emit=told.append)
    assert told
    assert isinstance(told[0], pkicode.Event)


def test_ipython_shows_where_the_caller_was_and_the_mend_and_no_line_of_ours(applied, tmp_path):
    code = "import pkicode, sys\ndef ask():\n    pkicode.open('.').plan(refresh='nope')\nask()"
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "-c", code],
        cwd=applied.path.parent,
        env={"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.rstrip().splitlines() == [
        "<module>, line 4: ask()",
        "ask, line 3: pkicode.open('.').plan(refresh='nope')",
        "",
        "pkicode.model.problem.PkicodeError: only `endpoints` and `published` can be refreshed, and for no other day",
        "help: leave `at` out",
    ], done.stderr


def test_what_somebody_has_to_know_is_logged_unless_somebody_listens(tmp_path, caplog):
    """The first apply makes a secret without which there are no keys: it may not be made without a word."""
    (tmp_path / "pki.toml").write_text(CONFIG, encoding="utf-8")
    pki = pkicode.open(tmp_path / "pki.toml")
    pki.apply(only="ca.root")
    (logged,) = caplog.records
    assert (logged.name, logged.levelname) == ("pkicode", "WARNING")
    assert logged.getMessage().startswith("keys: a new random secret was written to ")
    shutil.rmtree(tmp_path / ".pkicode")
    told = []
    pki.apply(only="ca.root", emit=told.append)
    assert told[0].failed
    assert caplog.records == [logged]


def test_a_listener_that_fails_is_told_of_and_stops_nothing(pki, caplog):
    def broken(event):
        raise ValueError(event.stage)

    assert pki.apply(emit=broken).counts["issue"] == 6
    (logged,) = caplog.records
    assert "hears no more" in logged.getMessage()
    assert isinstance(logged.exc_info[1], ValueError)


def test_a_notebook_gets_every_form_of_a_plan(pki):
    plan = pki.plan()
    bundle, _ = DisplayFormatter().format(plan)
    assert bundle["text/plain"] == repr(plan)
    assert bundle["text/html"].startswith("<div")
    assert len(bundle["text/html"].encode()) <= 64 * 1024
    assert bundle["text/markdown"].startswith("<!-- pkicode plan corp")
    assert json.loads(json.dumps(bundle[VENDOR]))["format"] == "pkicode.plan"
    assert bundle[VENDOR]["actions"][0]["source"]["path"] == "pki.toml"


def test_what_was_done_shows_as_the_command_line_tells_it(applied):
    assert repr(applied.apply()).startswith("Applied: nothing to do.   Next wake: ")


def test_what_was_not_done_shows_with_the_reason(folder):
    (folder / "pki.toml").write_text(CONFIG + LATE, encoding="utf-8")
    (folder / "out/portal.pem").mkdir(parents=True)
    done = pkicode.open(folder / "pki.toml").apply()
    waits, failed, summed_up = repr(done).splitlines()
    assert waits == "  ? cert.late  server  90d  DNS late.corp.example  no CSR yet: csr/late.csr"
    assert failed.startswith("error[E0530]: output.portal: ")
    assert summed_up.startswith("Applied: 6 issued, 2 CRLs signed, 1 published, 1 failed.   Next wake: ")
    assert [one.address for one in done.problems] == ["output.portal"]
    assert done.exit_code == 8


def test_what_failed_for_one_reason_is_told_once_and_all_of_it_is_counted(folder):
    fleet = (
        LATE.replace("late", "fleet").replace('["fleet.', '["${each.value}.').replace("fleet.csr", "${each.value}.csr")
    )
    (folder / "pki.toml").write_text(CONFIG + fleet + 'for_each = { values = ["a", "b"] }\n', encoding="utf-8")
    (folder / "csr").mkdir()
    for name in "ab":
        (folder / f"csr/{name}.csr").write_bytes(b"no request")
    told = repr(pkicode.open(folder / "pki.toml").apply())
    assert "(and 1 more row of cert.fleet: b)" in told
    assert ", 2 failed.   Next wake: " in told


def test_every_public_name_is_there_and_no_other():
    assert all(getattr(pkicode, name) for name in pkicode.__all__)
    assert set(pkicode.__all__) <= set(dir(pkicode))
    with pytest.raises(AttributeError, match="opne"):
        pkicode.opne  # noqa: B018 - the access is the test


def test_opening_and_planning_needs_no_pandas(folder):
    code = "import sys, pkicode; print(pkicode.open().plan()); print('pandas' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.stdout.endswith("False\n"), done.stderr


@pytest.mark.parametrize("frame", ["plan().df", "inventory()"])
def test_a_frame_without_pandas_says_what_to_install(folder, frame):
    code = f"import sys; sys.modules['pandas'] = sys.modules['numpy'] = None\nimport pkicode; pkicode.open().{frame}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert "which is not installed" in done.stderr
    assert "help: pip install 'pkicode[notebook]', or in a clone: .venv/bin/pip install -e '.[notebook]'" in done.stderr
