"""How fast maps of 40,000 points are in a browser: python benchmarks/maps.py [points] [times]

JupyterLab and Chromium without a graphics card, as in the tests. Prints, as minimum and median over several times, the
seconds from the call of `maps_panel` to the first pixels of two maps, the memory of JavaScript in the page, and the
seconds from the end of a lasso of some 5,000 points in the left map until they are lit in the right one.
"""
import os
import statistics
import sys
import tempfile
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from lab import CHROMIUM, FLAGS, Lab, server  # noqa: E402

from dfm_nb.core import Embeddings, Run  # noqa: E402

LOOK = """() => { // tells when each figure has pixels
  window.painted = []; const seen = new WeakSet();
  const look = () => {
    for (const g of document.querySelectorAll('.dfm-panel .js-plotly-plot')) {
      const c = g.querySelector('canvas.gl-canvas-context');
      if (seen.has(g) || !g.calcdata || !c) continue;
      const gl = c.getContext('webgl'), p = new Uint8Array(4 * c.width * c.height);
      if (!gl) continue;
      gl.readPixels(0, 0, c.width, c.height, gl.RGBA, gl.UNSIGNED_BYTE, p);
      if (p.some(v => v)) { seen.add(g); painted.push(Date.now()); }
    }
    requestAnimationFrame(look);
  };
  look();
}"""
LISTEN = """() => { // tells when a selection is known, and when it is lit in the other map
  const g = document.querySelector('.dfm-panel .js-plotly-plot'), sum = a => g.data.filter(t => t.type == 'scattergl' && (t.xaxis || 'x') == a).reduce((s, t) => s + (t.selectedpoints || []).length, 0);
  window.lassos = []; let now = null;
  g.on('plotly_selected', e => { if (e && e.points && e.points.length) now = {n: e.points.length, t: performance.now()}; });
  g.on('plotly_afterplot', () => {
    if (!now || sum('x2') != now.n || sum('x') != now.n) return;
    const l = {n: now.n, known: performance.now() - now.t}; const t = now.t; now = null;
    requestAnimationFrame(() => { for (const c of g.querySelectorAll('canvas')) { const gl = c.getContext('webgl'); gl && gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4)); } l.seen = performance.now() - t; lassos.push(l); });
  });
}"""


def made_up(folder: Path, n: int) -> Run:
    "A run of n observations with two blocks of 20 dimensions."
    g = np.random.default_rng(0)
    star, sector = np.divmod(np.arange(n), 10)
    period = g.normal(size=star.max() + 1)
    meta = pd.DataFrame(dict(star=[f"star{k:06d}" for k in star], instrument=[f"s{k:04d}" for k in sector], log_period=period[star], kind=np.array(["pulsator", "rotator", "eclipsing", "quiet"])[star % 4], tmag=g.uniform(6, 14, n)))
    z = {"z_star": np.c_[period[star], g.normal(size=(n, 19)) * .5], "z_instr": np.c_[np.eye(10)[sector] + .3 * g.normal(size=(n, 10)), .1 * g.normal(size=(n, 10))]}
    run = Run.create(folder, dict(recipe="causal", settings={}, data={}))
    Embeddings(z, meta).save(run / "embeddings.parquet")
    return run


def notebook(path: Path):
    cell = nbformat.v4.new_code_cell
    nbformat.write(nbformat.v4.new_notebook(cells=[
        cell("import time\nfrom dfm_nb.widgets.maps import maps_panel\nmaps_panel('nowhere').close()"),
        cell("if 'panel' in globals(): panel.close()\nbegan = time.time()\npanel = maps_panel('run')\nprint('began', began, 'made', time.time() - began)\npanel")],
        metadata=dict(kernelspec=dict(name="python3", display_name="Python 3", language="python"))), path)


def heap(page) -> float:
    "Megabytes of JavaScript in the page, after a collection."
    c = page.page.context.new_cdp_session(page.page)
    c.send("HeapProfiler.collectGarbage")
    c.send("Performance.enable")
    return next(m["value"] for m in c.send("Performance.getMetrics")["metrics"] if m["name"] == "JSHeapUsedSize") / 1e6


def paint(page) -> tuple:
    "Run the second cell; seconds to the first pixels, seconds in Python."
    page.page.evaluate("() => { painted.length = 0 }")
    page.page.locator(".jp-CodeCell .jp-InputArea-editor").nth(1).click()
    page.page.keyboard.press("Control+Enter")
    page.wait_for("() => painted.length", timeout=120)
    page.idle()
    _, began, _, made = next(t for t in page.page.locator(".jp-OutputArea-output").all_text_contents() if t.startswith("began")).split()[:4]
    return page.page.evaluate("() => painted[0]") / 1000 - float(began), float(made)


def lasso(page, x, y, r):
    "Draw a circle in the left map as a hand would, within a second."
    box = page.page.locator(".dfm-panel .nsewdrag").first.bounding_box()
    at = lambda a: (box["x"] + box["width"] * x + r * np.cos(a), box["y"] + box["height"] * y + r * np.sin(a))
    before = page.page.evaluate("() => lassos.length")
    page.page.mouse.move(*at(0))
    page.page.mouse.down()
    for a in np.linspace(0, 2 * np.pi, 20)[1:]:
        page.page.mouse.move(*at(a))
        page.page.wait_for_timeout(50)
    page.page.mouse.up()
    page.wait_for("n => lassos.length > n", before, timeout=60)
    page.page.wait_for_timeout(1500)
    return page.page.evaluate("() => lassos[lassos.length - 1]")


def say(what, values, unit="s"): print(f"{what}: {min(values):.2f} {unit} at best, {statistics.median(values):.2f} in the median of {len(values)}", flush=True)


if __name__ == "__main__":
    n, times = map(int, (sys.argv[1:] + ["40000", "7"][len(sys.argv) - 1:])[:2])
    from playwright.sync_api import sync_playwright
    print(f"{n:,} points in each of 2 maps; load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as d, sync_playwright() as p:
        made_up(Path(d) / "run", n)
        notebook(Path(d) / "bench.ipynb")
        with server(Path(d)) as address:
            browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = Lab(address, d, browser).open("bench.ipynb")
            empty = heap(page)
            page.run_all()  # imports, and what is compiled once
            page.page.evaluate(LOOK)
            first = [paint(page) for _ in range(times)]
            say("first pixels after the call", [a for a, _ in first])
            say("  of which in Python", [b for _, b in first])
            page.page.wait_for_timeout(1500)
            print(f"memory of JavaScript: {heap(page):.0f} MB in the whole page, {empty:.0f} MB before the maps")
            page.page.locator(".dfm-panel .nsewdrag").first.scroll_into_view_if_needed()
            page.page.evaluate(LISTEN)
            size = page.page.locator(".dfm-panel .nsewdrag").first.bounding_box()
            found = [lasso(page, .42 + .02 * k, .5, min(size["width"], size["height"]) * .07) for k in range(times)]
            print("points in the lassos:", ", ".join(f"{f['n']:,}" for f in found))
            say("lit in the other map after the lasso", [f["known"] / 1000 for f in found])
            say("  and drawn", [f["seen"] / 1000 for f in found])
            browser.close()
    print(f"load of the machine after: {os.getloadavg()[0]:.1f}")
