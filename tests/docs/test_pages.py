"""The documentation is true: generated pages are current, links lead somewhere, console blocks run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pkicode.config.reader import read
from tests.docs.playing import FENCE, FIRST, play_page, write
from tests.guards.tree import ROOT, is_there

DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("examples/*/*.md")])
PLAYED = [page for page in PAGES if "```console" in page.read_text(encoding="utf-8") and "examples" not in page.parts]
"""The READMEs of the examples are played in tests/examples, which look closer at what they leave."""
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


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
@pytest.mark.parametrize("page", PLAYED, ids=name)
def test_console_blocks_do_what_the_page_says(page: Path, tmp_path: Path) -> None:
    """A page is played from top to bottom, beginning with the tutorial's pki.toml."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "pki.toml").write_text(FIRST["body"], encoding="utf-8")
    play_page(page, folder, tmp_path / "bin")


def files_of(page: Path) -> list[re.Match[str]]:
    return [fence for fence in FENCE.finditer(page.read_text(encoding="utf-8")) if fence["file"]]


@pytest.mark.parametrize("page", [page for page in PAGES if files_of(page)], ids=name)
def test_every_pki_toml_on_a_page_is_valid(page: Path, tmp_path: Path) -> None:
    for fence in files_of(page):
        write(fence, tmp_path)
    assert read(tmp_path / "pki.toml", environ={}).problems == ()
