"""Lint inside the plan: what would be refused at apply is refused while it can still be mended."""

import pytest

from pkicode.model.problem import ConfigError
from tests.kinds.site import Site


def codes(site: Site) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        site.plan()
    return [one.code for one in caught.value.problems]


def test_a_leaf_that_may_sign_certificates_is_refused_at_plan(site: Site) -> None:
    leaf = '[cert.a]\nprofile = "bad"\ndns = ["a.corp.example"]\n'
    site.write(leaf + '[profile.bad]\nissuer = "issuing"\nusage = ["keyCertSign"]\n')
    assert set(codes(site)) <= {"E0404", "E0417"}


def test_a_subject_that_cannot_be_encoded_is_one_error(site: Site) -> None:
    site.write(base=site.text.replace('o = "Site" }\nvalidity = "10y"', 'c = "Finland" }\nvalidity = "10y"'))
    assert codes(site) == ["E0405"]


def test_constraints_wider_than_those_above_are_refused(site: Site) -> None:
    wider = '[ca.below]\nissuer = "issuing"\nsubject = { cn = "B" }\nvalidity = "1y"\npublish = ["web"]\n'
    wider += 'name_constraints = { permit_dns = ["other.test"] }\n'
    base = site.text.replace("path_len = 1", "path_len = 2").replace("path_len = 0", "path_len = 1")
    site.write(wider, base=base)
    assert codes(site) == ["E0406"]


@pytest.mark.parametrize(
    "junk", ["", " x", "bad name!", "a\\u0000b", "a\\u202Eb.corp.example", "../..", "xn--zzzz.corp.example"]
)
def test_junk_in_a_name_is_one_error_at_its_line(site: Site, junk: str) -> None:
    site.write(f'[cert.a]\nprofile = "server"\ndns = ["{junk}"]\n')
    with pytest.raises(ConfigError) as caught:
        site.plan()
    (problem,) = caught.value.problems
    assert problem.code == "E0401"
    assert problem.span is not None
    assert problem.span.line == len(site.text.splitlines())


def test_a_misspelt_purpose_is_shown_where_the_profile_has_it(site: Site) -> None:
    leaf = '[cert.a]\nprofile = "bad"\ndns = ["a.corp.example"]\n'
    site.write(leaf + '[profile.bad]\nissuer = "issuing"\neku = ["serverauth"]\n')
    with pytest.raises(ConfigError) as caught:
        site.plan()
    (problem,) = caught.value.problems
    assert problem.span is not None
    assert "serverauth" in problem.span.text


@pytest.mark.parametrize(
    ("field", "mend"),
    [('ip = ["10.0.0.1"]', "add `permit_ip` there"), ('rid = ["1.2.3"]', "use a CA without permit_*")],
)
def test_a_type_of_name_that_is_shut_because_it_is_not_permitted_says_how_to_open_it(
    field: str, mend: str, site: Site
) -> None:
    site.write(f'[cert.a]\nprofile = "server"\ndns = ["a.corp.example"]\n{field}\n')
    with pytest.raises(ConfigError) as caught:
        site.plan()
    (problem,) = caught.value.problems
    assert problem.code == "E0408"
    assert problem.help.endswith(f"permit other types only, which shuts this one: drop the name, or {mend}")


@pytest.mark.parametrize(
    ("field", "mend"),
    [
        ('dns = ["*.a.corp.example"]', "or add wildcard = true to the `allow` of profile narrow"),
        ('dns = ["corp.example"]', '`dns` in the `allow` of profile narrow what covers it, as "corp.example" does'),
        ('ip = ["10.0.0.1"]', '`ip` in the `allow` of profile narrow what covers it, as "10.0.0.1/32" does'),
        ('rid = ["1.2.3"]', "or follow a profile without `allow`"),
    ],
)
def test_a_name_that_a_profile_does_not_allow_says_what_would_allow_it(field: str, mend: str, site: Site) -> None:
    profile = '[profile.narrow]\nissuer = "issuing"\neku = ["serverAuth"]\nallow = { dns = [".a.corp.example"] }\n'
    site.write(profile + f'[cert.a]\nprofile = "narrow"\n{field}\n')
    with pytest.raises(ConfigError) as caught:
        site.plan()
    assert [one.help.endswith(mend) for one in caught.value.problems if one.code == "E0403"] == [True]


def test_a_common_name_of_one_word_outside_the_constraints_says_that_it_is_the_common_name(site: Site) -> None:
    person = '[cert.a]\nprofile = "person"\ncn = "anna"\nemail = ["anna@corp.example"]\n'
    base = site.text.replace(
        'permit_dns = ["corp.example"]', 'permit_dns = ["corp.example"], permit_email = ["corp.example"]'
    )
    site.write(person + '[profile.person]\nissuer = "issuing"\neku = ["clientAuth"]\n', base=base)
    with pytest.raises(ConfigError) as caught:
        site.plan()
    (problem,) = caught.value.problems
    assert problem.code == "E0408"
    assert "in the common name, `dns:anna` is outside" in problem.message
    assert "two words" in problem.help
