"""What all dashboards have in common, in a real browser: JupyterLab, Notebook 7 and voila show them; pictures are stored.

What each of them does is tested in test_browser_NAME.py. Pictures of what the tests saw are left in `_shots`.
"""
import shutil
from pathlib import Path

import nbformat
import pytest

from lab import Page, server

ROOT = Path(__file__).resolve().parents[1]
DASHBOARDS = sorted((ROOT / "nbs" / "dashboards").glob("[0-9]*.ipynb"))
every_dashboard = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda p: p.stem)


@every_dashboard
def test_a_reader_without_a_kernel_sees_pictures(path):
    nb = nbformat.read(path, as_version=4)
    shown = [o for c in nb.cells if c.cell_type == "code" for o in c.outputs]
    assert any({"image/png", "image/svg+xml"} & o.get("data", {}).keys() for o in shown), "run it with pictures: make notebooks NB=" + path.name
    assert not any("widget-view" in kind for o in shown for kind in o.get("data", {})), "a widget without its kernel is an error message"


@every_dashboard
def test_a_dashboard_is_a_few_lines(path):
    lines = [l for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code" for l in c.source.splitlines() if l.strip() and not l.lstrip().startswith("#")]
    assert len(lines) <= 12


def test_the_overview_leads_everywhere(lab):
    text = "\n".join(c.source for c in nbformat.read(ROOT / "nbs" / "dashboards" / "overview.ipynb", as_version=4).cells)
    for path in DASHBOARDS: assert f"({path.name})" in text
    page = lab.run("overview", runs="runs")
    page.wait_text("finished", selector=".jp-RenderedHTMLCommon")
    page.shot("overview", whole=True)
    page.fine()


def test_notebook_7_and_voila_show_them(lab):
    where = lab.folder / "apps"
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir()
    shutil.copytree(lab.folder / "runs" / "causal", where / "runs" / "causal")
    name = lab.copy("3_maps", runs="runs")
    shutil.move(lab.folder / name, where / name)
    with server(where, "notebook") as address:
        page = Page(lab, lab.tab(1300, 1200), name)
        page.listen()
        page.page.goto(f"{address}/notebooks/{name}")
        page.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        page.page.wait_for_timeout(3000)
        for _ in range(4):
            page.page.get_by_role("menuitem", name="Run", exact=True).click()
            page.page.get_by_role("menuitem", name="Run All Cells").first.click()
            try:
                page.page.wait_for_selector(".dfm-panel .js-plotly-plot .main-svg", timeout=40_000)
                break
            except Exception: page.page.keyboard.press("Escape")
        assert page.plot_data()
        page.page.close()
    with server(where, "voila", name) as address:
        page = Page(lab, lab.tab(1300, 1200), name)
        page.listen()
        page.page.goto(address, timeout=120_000)
        page.page.wait_for_selector(".dfm-panel .js-plotly-plot .main-svg", timeout=120_000)
        page.wait_for("() => document.querySelector('.dfm-panel .js-plotly-plot').data.length > 0")
        page.shot("voila", whole=True)
        page.fine()
        page.page.close()
