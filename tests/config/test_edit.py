"""Formatting, templates, and the JSON Schema made from the types."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkicode.config.edit import TEMPLATES, fmt, init_files
from pkicode.config.jsonschema import schema
from pkicode.config.origin import resolved
from pkicode.config.reader import read
from pkicode.model.problem import ConfigError
from tests.config.told import problems

HERE = Path(__file__).parent
VALIDATOR = jsonschema.Draft202012Validator(schema())
EXAMPLE = (HERE / "example" / "pki.toml").read_text(encoding="utf-8")

UNTIDY = '''
   version=1   # keep
# above
[a]
x   =  { y=1,z = "a=b" }
  list = [ 1,   # one

   2 ]

\tname="""
  kept   = as is

"""
# for b
[b]
'''
TIDY = '''version = 1   # keep

# above
[a]
x = { y = 1,z = "a=b" }
list = [ 1,   # one

   2 ]

name = """
  kept   = as is

"""

# for b
[b]
'''


def test_formatting_settles_blanks_and_nothing_else() -> None:
    assert fmt(UNTIDY) == TIDY


@pytest.mark.parametrize("text", [UNTIDY, EXAMPLE, *(init_files(name)["pki.toml"] for name in TEMPLATES)])
def test_formatting_twice_changes_nothing_more(text: str) -> None:
    assert fmt(fmt(text)) == fmt(text)


@given(
    st.lists(st.sampled_from(UNTIDY.splitlines() + EXAMPLE.splitlines() + ["\r", "x = '''", "'''", "  "]), max_size=12)
)
def test_formatting_never_changes_what_is_read(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        before = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(ConfigError):
            fmt(text)
        return
    assert tomllib.loads(fmt(text)) == before
    assert [line.strip() for line in fmt(text).split("\n") if line.strip().startswith("#")] == [
        line.strip() for line in text.replace("\r\n", "\n").split("\n") if line.strip().startswith("#")
    ]


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_is_sound_tidy_and_fits_the_schema(tmp_path: Path, name: str) -> None:
    for file, text in init_files(name).items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    config = read(tmp_path / "pki.toml", environ={})
    assert (config.problems, problems(config)) == ((), ())
    text = init_files(name)["pki.toml"]
    assert fmt(text) == text
    assert not list(VALIDATOR.iter_errors(tomllib.loads(text)))


def test_the_schema_is_one_and_takes_the_example() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert not list(VALIDATOR.iter_errors(json.loads(json.dumps(tomllib.loads(EXAMPLE), default=str))))


@pytest.mark.parametrize(
    "case",
    [
        "unknown-key", "unknown-table", "unknown-key-nested", "unknown-subject-attribute", "unknown-action",
        "wrong-type-text-for-boolean", "wrong-type-number-for-duration", "wrong-type-text-for-list",
        "choice", "choice-algorithm", "duration-words", "secret-literal", "base-url-missing", "block-name",
        "later-tables", "later-keys", "profile-key-in-certificate", "certificate-key-in-profile", "https-base-url",
    ],
)  # fmt: skip
def test_an_editor_sees_what_the_types_know(case: str) -> None:
    data = tomllib.loads((HERE / "broken" / case / "pki.toml").read_text(encoding="utf-8"))
    assert list(VALIDATOR.iter_errors(data))


def test_every_value_says_where_it_comes_from() -> None:
    told = {path: (value, origin) for path, value, origin in resolved(read(HERE / "example" / "pki.toml", environ={}))}
    assert told["ca.root.key.alg"] == ("ec-p384", "pki.toml:30")
    assert told["ca.root.backdate"] == ("5m", "default")
    assert told["ca.issuing.base_urls"] == (["http://pki.corp.example"], "derived")
    assert told["cert.portal.validity"] == ("90d", "profile base at pki.toml:51")
    assert told["cert.team.dns"] == (["team.corp.example"], "teams/a.toml:3")
    assert told["state.lock_timeout"] == ("30s", "pki.toml:15")
    assert told["policy.deny.wildcard"] == (False, "default")
    assert told["keystore.soft.passphrase.env"] == ("PKICODE_KEY_PASSPHRASE", "pki.toml:21")


def test_a_value_of_an_overlay_says_so() -> None:
    told = {path: origin for path, _, origin in resolved(read(HERE / "example" / "pki.toml", environ={}, env="dev"))}
    assert told["ca.root.key.store"] == "pki.toml:104"
