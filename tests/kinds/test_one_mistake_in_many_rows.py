"""One mistake below a fan-out is told once, however many rows have it; other causes in the same block come each."""

import pytest

from pkicode.model.problem import ConfigError, Problem
from pkicode.views.json import diagnostics_json
from pkicode.views.problems import human
from tests.kinds.site import Site

FLEET = """
[cert.fleet]
profile = "server"
for_each = { csv = "fleet.csv", key = "host" }
"""
HOSTS = [f"h{number}" for number in range(300)]


def refused(site: Site) -> list[Problem]:
    """What `plan` says, which is what `validate` says."""
    with pytest.raises(ConfigError) as caught:
        site.plan()
    assert [one.message for one in site.open().validate()] == [one.message for one in caught.value.problems]
    return list(caught.value.problems)


def rows(site: Site, *more: str) -> None:
    (site.root / "fleet.csv").write_text("\n".join(["host,ip", *(f"{one},10.0.0.1" for one in HOSTS), *more, ""]))


def test_constraints_that_forbid_what_all_rows_ask_for_are_one_error(site: Site) -> None:
    rows(site)
    site.write(FLEET + 'dns = ["${each.host}.test"]\n')
    (problem,) = refused(site)
    assert problem.code == "E0408"
    assert problem.message.startswith('cert.fleet["h0"]: `dns:h0.test` is outside')
    assert problem.message.endswith("(and 299 more rows of cert.fleet)")
    assert problem.span is not None
    assert (problem.span.path, problem.span.line) == ("fleet.csv", 2)
    (told,) = diagnostics_json([problem])["diagnostics"]
    assert told["rows"] == [{"address": f'cert.fleet["{one}"]', "line": 2 + place} for place, one in enumerate(HOSTS)]
    assert "\n   = rows: lines 2-301\n" in human([problem])


def test_rows_that_fail_in_apply_can_be_found(site: Site) -> None:
    """By key: apply does not look into the file again."""
    rows(site)
    (site.root / "csr").mkdir()
    for one in HOSTS:
        (site.root / f"csr/{one}.csr").write_bytes(b"none")
    site.write(FLEET + 'dns = ["${each.host}.corp.example"]\ncsr = { dir = "csr", file = "${each.host}.csr" }\n')
    failed = site.open().config.located(site.apply().problems)
    assert [len(one.rows) for one in failed] == [300]
    said = human(failed)
    assert f"\n   = rows: {', '.join(HOSTS[:100])}, and more: `--format json` lists them\n" in said


def test_of_very_many_rows_a_thousand_are_listed(site: Site) -> None:
    keys = [f"k{number}" for number in range(1500)]
    (site.root / "fleet.csv").write_text("\n".join(["host", *keys, ""]))
    site.write(FLEET + 'dns = ["${each.host}.test"]\n')
    (problem,) = refused(site)
    assert problem.message.endswith("(and 1,499 more rows of cert.fleet)")
    assert problem.rows[-1] == ('cert.fleet["k999"]', 1001)
    assert len(problem.rows) == 1000
    assert "\n   = rows: lines 2-1001, and more\n" in human([problem])


def test_each_entry_and_each_reason_comes_by_itself_and_few_rows_are_named(site: Site) -> None:
    rows(site, "h_,10.0.0.1", "h-,10.0.0.1", "g_,10.0.0.1")
    site.write(
        FLEET + 'dns = ["${each.host}.corp.example", "${each.host}.test", "${each.host}.x"]\nip = ["${each.ip}"]\n'
    )
    assert [(one.code, one.message.partition(" (and ")[2]) for one in refused(site)] == [
        *[("E0408", "299 more rows of cert.fleet)")] * 3,
        *[("E0401", "1 more row of cert.fleet: line 304)")] * 3,
        *[("E0401", "")] * 3,
    ]


def test_rows_of_a_list_are_named_by_their_keys(site: Site) -> None:
    fleet = (
        '[cert.{0}]\nprofile = "server"\nfor_each = {{ values = ["a", "b", "c"] }}\ndns = ["${{each.value}}.test"]\n'
    )
    site.write(fleet.format("one") + fleet.format("two"))
    assert [one.message.partition("permits ")[2] for one in refused(site)] == [
        "(and 2 more rows of cert.one: b, c)",
        "(and 2 more rows of cert.two: b, c)",
    ]


def test_an_allow_list_that_lets_nothing_of_a_fleet_through_is_one_error(site: Site) -> None:
    rows(site)
    profile = '[profile.narrow]\nissuer = "issuing"\neku = ["serverAuth"]\nallow = { dns = [".other.corp.example"] }\n'
    site.write(profile + FLEET.replace("server", "narrow") + 'dns = ["${each.host}.corp.example"]\n')
    assert [one.code for one in refused(site)] == ["E0403"]


def test_attributes_of_a_subject_are_told_apart_each_in_its_place(site: Site) -> None:
    long = "x" * 65
    (site.root / "fleet.csv").write_text(f"host,o,ou\na,{long},Ops\nb,Corp,{long}\nc,{long},Ops\n")
    one = '[cert.one]\nprofile = "server"\ncn = "one"\ndns = ["one.corp.example"]\n'
    one += f'subject = {{ o = "{long}", ou = "{long}" }}\n'
    site.write(one + FLEET + 'subject = { o = "${each.o}", ou = "${each.ou}" }\ndns = ["${each.host}.corp.example"]\n')
    told = [(one.address, one.message.partition(": ")[2], one.place and one.place.keys[-1]) for one in refused(site)]
    said = "at most 64 characters, not 65"
    assert told == [
        ("cert.one", f"`o`: {said}", "o"),
        ("cert.one", f"`ou`: {said}", "ou"),
        ('cert.fleet["a"]', f"`o`: {said} (and 1 more row of cert.fleet: line 4)", "o"),
        ('cert.fleet["b"]', f"`ou`: {said}", "ou"),
    ]


def test_requests_that_cannot_be_read_are_all_counted(site: Site) -> None:
    rows(site)
    (site.root / "csr").mkdir()
    for one in HOSTS:
        (site.root / f"csr/{one}.csr").symlink_to("../pki.toml")
    site.write(FLEET + 'dns = ["${each.host}.corp.example"]\ncsr = { dir = "csr", file = "${each.host}.csr" }\n')
    (problem,) = site.plan().problems
    assert problem.message == (
        'cert.fleet["h0"]: the CSR `csr/h0.csr` is a link or cannot be read (and 299 more rows of cert.fleet)'
    )
