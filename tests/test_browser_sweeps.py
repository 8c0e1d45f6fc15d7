"""The panel of sweeps in a real browser: started, watched while its table fills, stopped, gone on with, asked; texts stay text."""
import itertools

import nbformat
import numpy as np
import pandas as pd

from dfm_nb.core import write_json
from dfm_nb.sweep.report import metrics_of, on_front, settings_table, small_is_better, write_sweep_report
from lab import SHOTS

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


def test_any_two_metrics_on_the_page_of_a_sweep(lab):
    "The front that the page draws is the one that `on_front` finds; names are text, whatever they hold."
    g, out = np.random.default_rng(0), lab.folder / "page"
    metrics = ["r2", "leak", "found", f"error {TRAP}"]
    for k in range(24):
        v = {m: round(float(x), 2) for m, x in zip(metrics, g.normal(size=4))} | ({"r2": None} if k == 5 else {})
        for name, value in dict(parameters=dict(a=k, b=TRAP), metrics=v, result=dict(run=str(k), status="done", error="", seconds=1.0, memory_gb=0.1, version="0", host="h")).items():
            write_json(out / "runs" / str(k) / f"{name}.json", value)
    write_json(out / "sweep.json", dict(file="s.yaml", size="smoke", about=TRAP, varied=["a", "b"], runs=[str(k) for k in range(24)]))
    path = write_sweep_report(out)
    t = pd.read_parquet(out / "results.parquet")
    metrics = metrics_of(t, {"a", "b"})
    t = settings_table(t, ["a", "b"], metrics)
    page, wrong = lab.tab(), []
    page.on("pageerror", lambda e: wrong.append(str(e)))
    page.goto(path.as_uri())
    for x, y in itertools.permutations(range(4), 2):
        page.get_by_label("Across").select_option(str(x))
        page.get_by_label("Up").select_option(str(y))
        drawn = page.evaluate("() => { const d = document.querySelector('#trade').data; return [d[1].x.length, d[2].x, d[2].y]; }")
        pair = [metrics[x], metrics[y]]
        p = t[pair].dropna()
        front = p[on_front(p.to_numpy(), [small_is_better(m) for m in pair])]
        assert drawn[0] == len(p) - len(front) and sorted(zip(drawn[1], drawn[2])) == sorted(front.itertuples(index=False, name=None)), pair
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=str(SHOTS / "sweep_page.png"), full_page=True)
    assert not wrong and page.evaluate("() => window.hit") is None and page.locator("img").count() == 0
    page.close()
