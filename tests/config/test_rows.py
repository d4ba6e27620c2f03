"""Rows of fan-outs: which there are, what they hold, and what a row makes of its block."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkicode.config.csr import CsrFiles
from pkicode.config.reader import Config, read
from pkicode.config.rows import filler, place_of, rows
from pkicode.model.problem import ConfigError
from pkicode.model.row import Block, Row

HEAD = """\
version = 1
[project]
name = "t"
[keystore.soft]
type = "file"
[publish.web]
url = "public"
base_url = "http://pki.example.org"
[ca.root]
subject = { cn = "Root" }
publish = ["web"]
[profile.server]
issuer = "root"
[cert.fleet]
profile = "server"
"""


def fleet(folder: Path, body: str) -> tuple[Config, Block]:
    config = read(folder / "pki.toml", environ={}, text=HEAD + body)
    block = config.block("cert", "fleet")
    assert block is not None
    return config, block


def listed(folder: Path, body: str) -> list[Row]:
    return list(rows(*fleet(folder, body)))


CSV = 'for_each = { csv = "f.csv", key = "host" }\ndns = ["${each.fqdn}"]\n'


def test_values_are_the_used_columns_in_the_order_of_the_block(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("fqdn,host,unused\na.example.org,a,x\nb.example.org,b,y\n")
    config, block = fleet(tmp_path, CSV + 'output = { chain = "out/${each.host}.pem" }\n')
    assert block.columns == ("fqdn", "host")
    assert list(rows(config, block)) == [Row("a", '["a.example.org","a"]', 2), Row("b", '["b.example.org","b"]', 3)]


def test_an_unused_column_may_change_without_changing_a_row(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("fqdn,host,unused\na.example.org,a,x\n")
    before = listed(tmp_path, CSV)
    (tmp_path / "f.csv").write_text("host,unused,fqdn\na,CHANGED,a.example.org\n")
    assert listed(tmp_path, CSV) == before


def test_excels_mark_quotes_and_line_ends_are_read(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_bytes('\ufeffhost,fqdn\r\n"a, b","x""y\r\nz"\r\n\r\nc,d\r\n'.encode())
    found = listed(tmp_path, CSV)
    assert [(row.key, json.loads(row.values), row.line) for row in found] == [
        ("a, b", ['x"y\r\nz'], 3),
        ("c", ["d"], 5),
    ]


@pytest.mark.parametrize(("where", "keys"), [('"on"', ["a", "c"]), ('["on", "new"]', ["a", "b", "c"]), ('["x"]', [])])
def test_where_keeps_rows_by_equality_or_membership(tmp_path: Path, where: str, keys: list[str]) -> None:
    (tmp_path / "f.csv").write_text("host,fqdn,state\na,a.x,on\nb,b.x,new\nc,c.x,on\nd,d.x,off\n")
    body = CSV.replace('key = "host"', f'key = "host", where = {{ state = {where} }}')
    assert [row.key for row in listed(tmp_path, body)] == keys


def test_an_empty_file_with_a_header_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("host,fqdn\n")
    assert listed(tmp_path, CSV) == []


def test_json_lines_are_rows_too(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text('{"host": "a", "fqdn": "ä.x", "n": 5}\n\n{"fqdn": "b.x", "host": "b"}\n')
    found = listed(tmp_path, CSV.replace('csv = "f.csv"', 'jsonl = "f.jsonl"'))
    assert found == [Row("a", '["ä.x"]', 1), Row("b", '["b.x"]', 3)]


def test_values_are_their_own_keys(tmp_path: Path) -> None:
    config, block = fleet(tmp_path, 'for_each = { values = ["a", "b"] }\ndns = ["${each.value}.example.org"]\n')
    assert [(row.key, filler(block)(row).dns) for row in rows(config, block)] == [
        ("a", ("a.example.org",)),
        ("b", ("b.example.org",)),
    ]


def test_a_block_without_fan_out_is_one_row(tmp_path: Path) -> None:
    config, block = fleet(tmp_path, 'dns = ["a.example.org"]\n')
    assert list(rows(config, block)) == [Row("", "[]")]
    assert filler(block)(Row("", "[]")) is block.spec


def test_filling_reaches_every_field_that_may_vary_and_shares_the_rest(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text('host,fqdn\na,"100%s $${each.host}"\n')
    body = CSV + (
        'cn = "${each.host}"\nsubject = { ou = "team ${each.host}" }\nuri = ["x:y", "x:${each.host}/${each.fqdn}"]\n'
        'output = { chain = "out/${each.host}.pem", mode = "0640" }\n'
        'after = ["reload", "${each.host}", "$${each.host} 5%"]\n'
        'csr = { dir = "csr", file = "${each.host}.csr" }\n'
    )
    config, block = fleet(tmp_path, body)
    [row] = rows(config, block)
    spec = filler(block)(row)
    assert (spec.cn, spec.subject) == ("a", (("ou", "team a"),))
    assert spec.dns == ("100%s $${each.host}",)
    assert spec.uri == ("x:y", "x:a/100%s $${each.host}")
    assert spec.output is not None
    assert (spec.output.chain, spec.output.mode) == ("out/a.pem", "0640")
    assert spec.after == ("reload", "a", "${each.host} 5%")
    assert spec.csr is not None
    assert spec.csr.file == "a.csr"
    assert spec.renew is block.spec.renew


def test_a_row_ends_with_the_digest_of_its_csr(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("host,fqdn\na,a.x\nb,b.x\n")
    (tmp_path / "csr").mkdir()
    (tmp_path / "csr" / "a.csr").write_bytes(b"request")
    config, block = fleet(tmp_path, CSV + 'csr = { dir = "csr", file = "${each.host}.csr" }\n')
    found = list(rows(config, block))
    assert [json.loads(row.values)[-1] for row in found] == [hashlib.sha256(b"request").hexdigest(), ""]
    assert [CsrFiles(config.root).read("csr", f"{row.key}.csr") for row in found] == [b"request", None]


def test_csrs_behind_a_link_out_of_the_project_are_refused(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "a.csr").write_bytes(b"secret")
    (root / "f.csv").write_text("host,fqdn\na,a.x\n")
    (root / "csr").symlink_to(outside)
    with pytest.raises(ConfigError) as caught:
        listed(root, CSV + 'csr = { dir = "csr", file = "${each.host}.csr" }\n')
    assert [problem.code for problem in caught.value.problems] == ["E0112"]


def test_a_csv_behind_a_link_out_of_the_project_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "f.csv").write_text("host,fqdn\na,a.x\n")
    (tmp_path / "root" / "f.csv").symlink_to(tmp_path / "f.csv")
    with pytest.raises(ConfigError) as caught:
        fleet(tmp_path / "root", CSV)
    assert [problem.code for problem in caught.value.problems] == ["E0112"]


def test_a_line_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("host,fqdn\na," + "x" * 200_000 + "\n")
    with pytest.raises(ConfigError) as caught:
        listed(tmp_path, CSV)
    assert [problem.code for problem in caught.value.problems] == ["E0320"]


def test_a_file_that_is_wrong_everywhere_tells_a_hundred_problems(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("host,fqdn\n" + "only-one\n" * 5000)
    with pytest.raises(ConfigError) as caught:
        listed(tmp_path, CSV)
    assert len(caught.value.problems) == 100


def test_a_row_knows_its_line(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("host,fqdn\na,a.x\nb,b.x\n")
    config, block = fleet(tmp_path, CSV)
    place = place_of(block, list(rows(config, block))[1])
    assert (place.path, place.line) == ("f.csv", 3)


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=20)


@settings(max_examples=40)
@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=6))
def test_values_are_what_json_would_write(pairs: list[tuple[str, str]]) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        lines = [json.dumps({"host": f"h{number}", "a": a, "b": b}) for number, (a, b) in enumerate(pairs)]
        (Path(folder) / "f.jsonl").write_text("\n".join(lines))
        body = 'for_each = { jsonl = "f.jsonl", key = "host" }\ndns = ["${each.a}", "${each.b}"]\n'
        config, block = fleet(Path(folder), body)
        found = list(rows(config, block))
        assert [row.values for row in found] == [
            json.dumps(pair, ensure_ascii=False, separators=(",", ":")) for pair in map(list, pairs)
        ]
        assert [filler(block)(row).dns for row in found] == pairs


def test_a_matrix_is_too_large_whatever_where_leaves_of_it(tmp_path: Path) -> None:
    """All of it would be looked through: twelve columns of ten keep a plan busy for days."""
    many = json.dumps([str(number) for number in range(101)])
    body = f'for_each = {{ matrix = {{ a = {many}, b = {many}, c = {many} }}, key = "a", where = {{ a = "x" }} }}\n'
    with pytest.raises(ConfigError) as caught:
        listed(tmp_path, body + 'dns = ["x.example.org"]\n')
    assert [one.code for one in caught.value.problems] == ["E0321"]
