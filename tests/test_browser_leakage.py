"The dashboard of leaks, swaps and traversals in a real browser."
import json
import shutil

import pandas as pd

from dfm_nb.audit.schema import read_audit, row, table, write_audit
from dfm_nb.core import Run
from dfm_nb.data.sources import open_data
from dfm_nb.data.store import write_npz
from dfm_nb.recipes.base import fingerprint

BAD = '<img src=x onerror="window.hit=1">'
PLOT = "[...document.querySelectorAll('.dfm-panel .js-plotly-plot')].find(e => e.offsetParent)"  # of the page in view
DRAWN = f"t => {{ const e = {PLOT}; return e && e.data.length && (!t || e.layout.annotations?.some(a => a.text.includes(t))) }}"
PANELS = f"() => {PLOT}.layout.annotations.map(a => a.text)"
FITS = f"() => {{ const p = {PLOT}; return Math.abs(p._fullLayout.width - p.parentElement.clientWidth) < 3 }}"  # as wide as its place
CURVE = f"JSON.stringify(Array.from({PLOT}.data.find((t, k) => t.meta === which || k === +which).y))"
REMEMBER, CHANGED = f"which => {{ window.was = {CURVE} }}", f"which => window.was !== {CURVE}"



def odd_run(runs, out):
    "The causal example with hostile names of stars and of a parameter, and with an audit that has few-shot rows."
    run = Run(shutil.copytree(runs / "causal", out / "odd"))
    obs = open_data(run.config["data"]["source"])
    obs.meta = obs.meta.assign(star=[f"{BAD} {s}" for s in obs.meta.star])
    write_npz(obs, out / "odd.npz")
    obs = open_data(str(out / "odd.npz"))
    data = dict(source=str(out / "odd.npz"), factors=list(obs.factors), options=[], name=obs.name, fingerprint=fingerprint(obs))
    (run / "config.json").write_text(json.dumps(dict(run.config, data=data)))
    about, rows, left = read_audit(run / "audit.json")
    made, near = [], lambda s: dict(score=s, low=s - .05, high=s + .05)
    for p, top in {BAD: .95, "log_amplitude": .9, "tmag": .8}.items():
        for b, share in dict(z_star=.9, features=.6).items():
            made += [row("few-shot", b, p, "R2", **near(share * top * (1 - 3 / n)), null=0., ceiling=top, labels=n, tested=200) for n in (10, 100, 1000)]
        made.append(row("leak", "z_instr", p, "R2", **near(.02), null=-.02, null_high=.01, ceiling=top, tested=200))
    write_audit(run / "audit.json", about, pd.concat([table(made), rows], ignore_index=True), left)
    return run


def check(page, label): return page.page.locator(".widget-checkbox", has_text=label).locator("input").first


def test_what_blocks_know(lab, tmp_path):
    odd_run(lab.folder / "runs", tmp_path)
    page = lab.run("leakage", runs=str(tmp_path))
    page.wait_for(DRAWN, "z_star")
    page.wait_for(FITS)
    assert page.page.evaluate(PANELS) == ["z_star", "z_instr", "features"]
    page.wait_text("z_instr is free of the star")  # the verdict, beside it
    assert page.page.evaluate(f"() => {PLOT}.data.some(t => (t.customdata || []).some(h => h.includes('nothing to find') && h.includes('oracle')))")
    check(page, "features").click()
    page.wait_for(f"() => ({PANELS})().length === 2")
    page.button("Few-shot").click()
    page.wait_for(DRAWN, "log amplitude")
    check(page, "tmag").click()
    page.wait_for(f"() => !({PANELS})().some(t => t.includes('tmag'))")
    page.wait_for(FITS)
    page.shot("leakage_few_shot")
    page.button("Leakage").click()  # and back: figures live on
    check(page, "features").click()
    page.wait_for(f"() => ({PANELS})().length === 3")
    assert page.page.evaluate("() => window.hit") is None and "<img" in page.page.locator(".dfm-panel").inner_text()
    page.fine()


def test_swap_and_traversal(lab, tmp_path):
    odd_run(lab.folder / "runs", tmp_path)
    page = lab.run("leakage", runs=str(tmp_path))
    page.button("Swap explorer").click()
    page.wait_for(DRAWN, "through", timeout=60)
    page.wait_text("never trained on")
    page.page.evaluate(REMEMBER, "1")
    page.button("Another pair").click()
    page.wait_for(CHANGED, "1")
    star = page.control("Star")
    old = star.input_value()
    star.fill("nobody")
    star.press("Tab")
    page.wait_text("there is no star 'nobody'")
    star.fill(old)
    star.press("Tab")
    page.wait_for("() => !document.querySelector('.dfm-error')")
    page.shot("leakage_swap")

    page.button("Traversal").click()
    page.wait_for(f"() => {PLOT}?.data.some(t => t.meta === 'chosen')", timeout=60)
    page.page.evaluate(REMEMBER, "chosen")
    page.slide("Position", "End")
    page.wait_for(CHANGED, "chosen")
    page.control("Block").select_option("free")
    page.wait_text("free, dimension")
    page.wait_for(f"() => {PLOT}.data.some(t => t.marker?.colorbar?.title?.text.startsWith('free'))")
    page.wait_for(FITS)
    page.shot("leakage_traversal")
    assert page.page.evaluate("() => window.hit") is None and "<img" in page.page.locator(".dfm-panel").inner_text()
    page.fine()


def test_other_runs(lab, tmp_path):
    "Runs of other recipes have pictures of their own; one that is not finished, and none at all, are messages."
    for name in ("scl", "align", "causal"): shutil.copytree(lab.folder / "runs" / name, tmp_path / name)
    (tmp_path / "causal" / "audit.json").unlink()
    (tmp_path / "causal" / "summary.md").unlink()
    page = lab.run("leakage", runs=str(tmp_path / "scl"))
    page.wait_text("swaps and traversals are for runs of causal")
    page.wait_for(DRAWN, "")
    run = page.control("Run")
    for name, says in (("causal", "has no audit yet"), ("nowhere", "is not a run folder"), ("align", "swaps and traversals are for runs of causal")):
        run.fill(str(tmp_path / name))
        run.press("Enter")
        page.wait_text(says)
    page.button("Single dimensions").click()
    page.wait_for(DRAWN, "")
    page.fine()
