"""The documentation is true: generated pages are current, links lead somewhere, console blocks run."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pkicode.config.reader import read
from pkicode.config.scans import ScanPolicy
from pkicode.frames.compare import diff, drift
from pkicode.frames.inventory import inventory_frame
from pkicode.frames.plan import plan_frame
from pkicode.frames.scan import TABLES, scan
from pkicode.scanner import policy, trust
from pkicode.scanner.finding import Endpoint
from pkicode.views.json import plan_schema
from tests.docs.playing import FENCE, FIRST, play_page, write
from tests.guards.tree import ROOT
from tests.quick import quick_keystore
from tests.scan_pki.presented import TARGET, issuing, judged, leaf
from tests.views.plans import plan_of

DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("examples/*/*.md")])
PLAYED = [
    page
    for page in PAGES
    if re.search("^```(console|python)", page.read_text(encoding="utf-8"), re.MULTILINE)
    and "examples" not in page.parts
]
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


@pytest.mark.parametrize("page", PLAYED, ids=name)
def test_console_blocks_do_what_the_page_says(page: Path, tmp_path: Path) -> None:
    """A page is played from top to bottom, beginning with the tutorial's pki.toml.

    Its keystore opens at once, unless the page shows how one is made.
    """
    folder = tmp_path / "folder"
    folder.mkdir()
    if "a new random secret" not in page.read_text(encoding="utf-8"):
        quick_keystore(folder)
    (folder / "pki.toml").write_text(FIRST["body"], encoding="utf-8")
    play_page(page, folder, tmp_path / "bin")


def files_of(page: Path) -> list[re.Match[str]]:
    return [fence for fence in FENCE.finditer(page.read_text(encoding="utf-8")) if fence["file"]]


@pytest.mark.parametrize("page", [page for page in PAGES if files_of(page)], ids=name)
def test_every_pki_toml_on_a_page_is_valid(page: Path, tmp_path: Path) -> None:
    for fence in files_of(page):
        write(fence, tmp_path)
    assert read(tmp_path / "pki.toml", environ={}).problems == ()


def first_cells(page: str, heading: str) -> list[str]:
    """The names in the first column of the table below a heading."""
    text = (DOCS / page).read_text(encoding="utf-8").partition(heading)[2]
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert table
    return [name for row in table[0].splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]


def test_the_page_of_frames_names_every_column_in_order() -> None:
    columns = plan_frame(plan_of([])).columns
    assert first_cells("reference/frames.md", "`plan.df`") == list(columns)
    columns = inventory_frame([], now=0).columns
    assert sorted(first_cells("reference/frames.md", "`pki.inventory()`")) == sorted(columns)


@pytest.mark.parametrize("table", [*TABLES, "diff", "drift"])
def test_the_page_of_frames_names_every_column_of_a_scan(table: str) -> None:
    frames = scan([])
    made = {"diff": diff(frames, frames), "drift": drift(frames, inventory_frame([], now=0))}
    frame = made[table] if table in made else getattr(frames, table)
    told = prose_of_groups() if table == "groups" else first_cells("reference/frames.md", f"**`{table}`**")
    assert told == list(frame.columns)


def prose_of_groups() -> list[str]:
    text = (DOCS / "reference/frames.md").read_text(encoding="utf-8").partition("**`groups`**")[2]
    return re.findall(r"`(\w+)`", text.partition(".")[0])


def test_the_page_of_checks_names_every_check_verdict_and_letter() -> None:
    page = (DOCS / "reference/scan-checks.md").read_text(encoding="utf-8")
    findings, _ = judged(leaf(), issuing())
    endpoint = Endpoint(TARGET, 0, "tls", versions=("TLSv1.2",))
    checks = [*findings, *(one.check for one in policy.findings(endpoint, ScanPolicy()))]
    words = re.findall(r'"([a-z-]+): ', Path(trust.__file__).read_text(encoding="utf-8"))
    words += re.findall(r'f"([a-z-]+): ', Path(trust.__file__).read_text(encoding="utf-8"))
    assert len(set(words)) == 9
    missing = [one for one in (*checks, *words) if f"`{one}`" not in page]
    assert not missing


def test_the_page_of_plans_names_every_field() -> None:
    schema: Any = plan_schema()
    fields = schema["properties"]
    assert sorted(first_cells("reference/plan-json.md", "# The plan as JSON")) == sorted(fields)
    actions = fields["actions"]["items"]["properties"]
    assert sorted(first_cells("reference/plan-json.md", "An action:")) == sorted(actions)
