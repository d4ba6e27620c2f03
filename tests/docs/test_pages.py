"""The documentation is true: generated pages are current, links lead somewhere, console blocks run."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pkicode.config.reader import read
from tests.guards.tree import ROOT, is_there

DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
FENCE = re.compile(r"^```(?P<language>\w+)[ ]*(?P<file>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
FIRST = next(FENCE.finditer((DOCS / "tutorials/first-pki.md").read_text(encoding="utf-8")))
"""The pki.toml of the tutorial."""
SECONDS = 120


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_generated_pages_are_current() -> None:
    done = subprocess.run([sys.executable, DOCS / "generate.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        aim = (page.parent / path).resolve() if path else page
        assert aim.exists(), f"{target} is not there"
        assert not anchor or anchor in anchors(aim), f"{target}: no such heading"


def test_every_page_is_reached_from_the_index() -> None:
    index = DOCS / "README.md"
    known = {(DOCS / target.partition("#")[0]).resolve() for target in LINK.findall(prose(index))}
    missing = [name(page) for page in DOCS.rglob("*.md") if page.resolve() not in {*known, index}]
    assert not missing, f"not in docs/README.md: {missing}"


def prose(page: Path) -> str:
    """A page without its code."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub links them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.skipif(not (is_there("cli") and is_there("project")), reason="the command is not there yet")
@pytest.mark.parametrize("page", [page for page in PAGES if "```console" in page.read_text(encoding="utf-8")], ids=name)
def test_console_blocks_do_what_the_page_says(page: Path, tmp_path: Path) -> None:
    """A page is played from top to bottom, beginning with the tutorial's pki.toml; blocks that name a file write it."""
    folder, bin_ = tmp_path / "folder", tmp_path / "bin"
    folder.mkdir()
    (folder / "pki.toml").write_text(FIRST["body"], encoding="utf-8")
    bin_.mkdir()
    command = bin_ / "pkicode"
    command.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -c "import sys, pkicode.cli; sys.exit(pkicode.cli.main())" "$@"\n'
    )
    command.chmod(0o755)
    environ = {
        **os.environ,
        "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "NO_COLOR": "1",
    }
    for fence in FENCE.finditer(page.read_text(encoding="utf-8")):
        write(fence, folder)
        if fence["language"] == "console":
            play(fence["body"], folder, environ)


def write(fence: re.Match[str], folder: Path) -> None:
    """Write the file that a block names; `+pki.toml` is the tutorial's, with the block at its end."""
    file = fence["file"].lstrip("+")
    if file:
        before = FIRST["body"] + "\n" if fence["file"].startswith("+") else ""
        (folder / file).write_text(before + fence["body"], encoding="utf-8")


def files_of(page: Path) -> list[re.Match[str]]:
    return [fence for fence in FENCE.finditer(page.read_text(encoding="utf-8")) if fence["file"]]


@pytest.mark.parametrize("page", [page for page in PAGES if files_of(page)], ids=name)
def test_every_pki_toml_on_a_page_is_valid(page: Path, tmp_path: Path) -> None:
    for fence in files_of(page):
        write(fence, tmp_path)
    assert read(tmp_path / "pki.toml", environ={}).problems == ()


def play(block: str, folder: Path, environ: dict[str, str]) -> None:
    """Run each `$ command` and compare what it prints with the lines below; `...` stands for anything."""
    for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, expected = step.partition("\n")
        code = re.search(r"# exit (\d+)$", command)
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=environ, capture_output=True, text=True, timeout=SECONDS
        )
        said = done.stdout + done.stderr
        assert done.returncode == (int(code[1]) if code else 0), f"$ {command}\n{said}"
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        assert doctest.OutputChecker().check_output(expected, said, flags), (
            f"$ {command}\n{said}\nexpected:\n{expected}"
        )
