"""The panel of sweeps in a real browser: started, watched while its table fills, stopped, gone on with, asked; texts stay text."""
import nbformat
import pandas as pd

CELLS = ["a = 1\nb = 'x'\nseed = 0", "import json, time\ntime.sleep(1)\njson.dump(dict(r2=a + .1*seed, leak=a*a), open('metrics.json', 'w'))"]
TRAP = "<img src=x onerror='window.hit=1'>"


def notebook(cells, path, tag=False):
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells], metadata=dict(kernelspec=dict(name="python3", display_name="Python 3", language="python")))
    if tag: nb.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nb, path)


def test_a_sweep_from_a_notebook(lab):
    folder = lab.folder / "swept"
    folder.mkdir()
    notebook(CELLS, folder / "t.ipynb", True)
    (folder / "s.yaml").write_text(f'template: t.ipynb\nabout: "What is {TRAP} worth?"\ngrid: {{a: [1, 2, 3], b: ["{TRAP}", y]}}\nseeds: [0, 1]\n')
    notebook(["from dfm_nb.widgets.sweeps import sweep_panel\nsweep_panel('swept/s.yaml', out='swept/out')"], lab.folder / "sweep.ipynb")
    page = lab.open("sweep.ipynb").run_all()
    page.wait_text("0 of 12 runs are done")
    page.button("Start").click()
    page.wait_text(" s each", 120)  # some are done, and the others go on
    page.button("Stop").click()
    page.wait_text("all of it is in", 60)
    page.button("Start").click()
    page.wait_text("12 of 12 runs are done", 120)
    page.wait_text("all of it is in", 60)
    t = pd.read_parquet(folder / "out" / "results.parquet")
    assert len(t) == 12 and (t.status == "done").all() and (t.leak == t.a**2).all()
    page.wait_for("() => document.querySelectorAll('.dfm-panel .js-plotly-plot')[0].data.length == 2")
    page.control("Metric").select_option("leak")
    page.wait_for("() => document.querySelectorAll('.dfm-panel .js-plotly-plot')[0].layout.yaxis.title.text == 'leak'")
    page.control("Table").select_option("all runs")
    page.wait_for("() => document.querySelectorAll('.dfm-panel tbody tr').length == 12")
    page.shot("sweep")
    assert page.page.evaluate("() => window.hit") is None and page.page.locator(".dfm-panel img").count() == 0
    page.fine()
