"""The notebooks run from a clean kernel, from top to bottom, and are kept without their outputs."""

import nbformat
import pytest
from nbclient import NotebookClient

from tests.guards.tree import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECONDS = 240


def by_name(path):
    return path.stem


def read(path):
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=by_name)
def test_notebooks_are_kept_without_outputs(path):
    code = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


def played(name, folder):
    """The outputs of a notebook by the line that made them, run in an empty folder, and what it left there."""
    notebook = read(ROOT / f"notebooks/{name}.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        NotebookClient(
            notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": folder}}
        ).execute()
    left = {path.name for path in folder.iterdir()}
    found = {cell.source.splitlines()[-1]: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    return found, left


@pytest.fixture(scope="module")
def first_plan(tmp_path_factory):
    return played("01-first-plan", tmp_path_factory.mktemp("kernel"))


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    return played("02-scan-and-explore", tmp_path_factory.mktemp("kernel"))


def test_the_first_notebook_shows_its_plan_as_a_page(first_plan):
    shown = first_plan[0]["plan"][0].data
    assert {"text/plain", "text/html", "text/markdown", "application/vnd.pkicode.plan.v1+json"} <= set(shown)
    assert "5 to issue" in shown["text/html"]


def test_the_first_notebook_ends_with_nothing_to_do_after_apply(first_plan):
    outputs, _ = first_plan
    warned, shown = outputs["plan.apply()"]
    assert warned.text.startswith("keys: a new random secret was written to ")
    assert "Applied: 5 issued" in shown.data["text/plain"]
    assert "No changes." in outputs["pki.plan()"][0].data["text/plain"]
    assert "renew generation 2: due" in outputs['later.explain("cert.portal")'][0].data["text/plain"]


def test_the_first_notebook_looks_a_year_ahead(first_plan):
    assert "Signatures by week" in text(first_plan[0]['pki.forecast("+1y")'])


def test_the_first_notebook_tells_the_mistake_at_its_line(first_plan):
    (told,) = first_plan[0]['    print(*error.__notes__, sep="\\n")']
    assert "error[E0403]" in told.text
    assert "--> pki.toml:" in told.text


def test_the_first_notebook_leaves_nothing_in_the_folder_it_runs_in(first_plan):
    assert first_plan[1] <= {"ipython"}


def text(outputs):
    return outputs[0].data["text/plain"]


def test_the_scan_notebook_finds_its_four_servers_and_shows_them_as_a_page(explored):
    shown = explored[0]["scan"][0].data
    assert "4 targets: 4 tls." in shown["text/plain"]
    assert shown["text/html"].startswith('<div class="pkicode-scan">')


def test_the_scan_notebook_ends_in_a_posture_an_expiry_chart_a_diff_and_a_drift(explored):
    outputs, left = explored
    assert "Vulnerabilities" in text(outputs["scan.findings.pki.posture()"])
    drawn = outputs["chart"][0].data["text/html"]
    assert "vega-lite" in drawn
    assert drawn.count('"count": 1') == 4
    changes = text(outputs['changes[changes["what"].isin(["endpoint", "leaf"])]'])
    assert "TLSv1.2 TLSv1.3" in changes
    assert "leaf" in changes
    assert "not-served" in text(outputs["drift"])
    assert "cert.search" in text(outputs["drift"])
    assert left <= {"ipython"}
