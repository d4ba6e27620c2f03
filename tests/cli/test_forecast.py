"""forecast: what people and scripts are told of days to come."""

import csv
import io

from tests.cli.running import CONFIG, NOW


def test_forecast_shows_the_load_of_each_day_and_what_no_plan_will_do(run, folder, applied):
    (folder / "pki.toml").write_text(
        CONFIG + '\n[cert.host]\nprofile = "server"\ndns = ["h.corp.example"]\ncsr = { dir = "csr", file = "h.csr" }\n',
        "utf-8",
    )
    ran = run("forecast", "--until", "+40d")
    assert ran.code == 0
    assert ran.out.startswith(f"{NOW} to 2027-01-02T09:00:00Z, 41 days with an apply each: ")
    lines = ran.out.splitlines()
    assert lines[2] == "Signatures by day"
    assert [line.split()[0] for line in lines[3:44]] == sorted({line.split()[0] for line in lines[3:44]})
    assert "Waits for a person" in lines
    assert f"  {NOW}  cert.host@1  new no CSR yet: csr/h.csr" in lines


def test_forecast_names_the_first_day_on_which_a_leaf_would_outlive_its_issuer(run, folder, applied):
    ran = run("forecast", "--until", "+6y")
    assert "From then on a certificate would outlive its issuer" in ran.out
    assert "  2031-08-24T09:00:01Z  cert.portal  ca.issuing@1 ends 2031-11-22T08:54:59Z" in ran.out
    assert "No plan can be made from then on" in ran.out
    assert "and no plan can be made from " in ran.out.splitlines()[0]
    assert "Signatures by year (and on the busiest day)" in ran.out


def test_forecast_json_has_the_documented_fields_and_groups_fan_outs(run, folder, applied):
    told = run("forecast", "--until", "+90d", "--format", "json").json
    assert (told["format"], told["version"], told["at"]) == ("pkicode.forecast", "1.0", NOW)
    assert set(told) == {"format", "version", "at", "until", "rows", "crls"}
    fields = {"at", "address", "kind", "action", "reasons", "generation", "count", "status"}
    assert {frozenset(one) for one in told["rows"]} == {frozenset(fields)}
    full = run("forecast", "--until", "+90d", "--format", "json", "--full").json
    assert len(full["rows"]) == sum(one["count"] for one in told["rows"])
    assert {one["count"] for one in full["rows"]} == {1}
    renewed = [one["address"] for one in full["rows"] if one["action"] == "renew"]
    assert sorted(renewed) == ['cert.app["api"]', 'cert.app["billing"]', 'cert.app["search"]', "cert.portal"]
    assert told["crls"] == [
        {"name": "issuing-g1", "entries": 0, "entries_until": 0},
        {"name": "root-g1", "entries": 0, "entries_until": 0},
    ]


def test_forecast_csv_has_a_line_for_each_row(run, folder, applied):
    text = run("forecast", "--until", "+90d", "--format", "csv").out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == len(run("forecast", "--until", "+90d", "--format", "json").json["rows"])
    assert {one["reasons"] for one in rows if one["action"] == "renew"} == {"due"}


def test_forecast_of_the_past_and_of_no_time_at_all_is_refused(run):
    past = run("forecast", "--until", "2020-01-01")
    assert (past.code, past.err.splitlines()[0]) == (1, "error: a forecast ends between now and in a hundred years")
    assert run("forecast", "--until", "soon").code == 64
    assert run("forecast").code == 64
    assert run("forecast", "--until", "9000-01-01").code == 1


def test_forecast_needs_no_state_and_writes_nothing(run, folder):
    before = sorted(folder.iterdir())
    ran = run("forecast", "--until", "+1d")
    assert "6 to issue" in ran.out
    assert sorted(folder.iterdir()) == before


def test_forecast_says_what_crls_will_shrink_to(run, folder, applied):
    (folder / "pki.toml").write_text(
        CONFIG.replace('eku = ["serverAuth"]', 'eku = ["serverAuth"]\non_remove = "revoke"')
    )
    assert run("apply", "-y", "--allow-clock").code == 0
    (folder / "pki.toml").write_text((folder / "pki.toml").read_text().replace('"billing", ', ""))
    assert run("apply", "-y", "--allow-clock").code == 0
    out = run("forecast", "--until", "+1d").out
    assert "  issuing-g1  1 now, 1 at the end" in out.splitlines()
    assert "  issuing-g1  1 now, 0 at the end" in run("forecast", "--until", "+100d").out.splitlines()
