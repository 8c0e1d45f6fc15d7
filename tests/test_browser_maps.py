"""Latent maps in a real browser: a lasso that lights up all maps, a click that opens a card, names that stay text."""
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from dfm_nb.core import Embeddings, Run, write_json
from dfm_nb.views.layouts import keep, place
from dfm_nb.widgets.maps import MapsState

TRAP = '<img src=x onerror="window.hit=1">'
LIT = """() => document.querySelector('.dfm-panel .js-plotly-plot').data.filter(t => t.type == 'scattergl').map(t => t.selectedpoints ? [...t.selectedpoints] : null)"""
SUM = """() => { const p = document.querySelector('.dfm-panel .js-plotly-plot'), s = a => p.data.filter(t => t.type == 'scattergl' && (t.xaxis || 'x') == a).reduce((n, t) => n + (t.selectedpoints || []).length, 0);
  return s('x') > 0 && s('x') == s('x2') && !(p.layout.selections || []).length; }"""


def copied(lab, recipe, name):
    "A copy of an example run in a folder of its own; its path."
    shutil.copytree(lab.folder / "runs" / recipe, lab.folder / name / recipe)
    return lab.folder / name / recipe


def opened(lab, runs):
    "The dashboard, with its maps drawn."
    page = lab.run("maps", runs=runs)
    page.wait_for("() => { const p = document.querySelector('.dfm-panel .js-plotly-plot'); return p && p.calcdata && p.querySelector('.gl-canvas') && p._ev && p._ev.listeners('plotly_selected').length; }", timeout=90)
    page.page.locator(".dfm-panel .nsewdrag").first.scroll_into_view_if_needed()
    page.page.wait_for_timeout(500)
    return page


def lasso(page, panel=0, x=.5, y=.5, r=.3):
    "Draw a circle in a map, with the mouse."
    box = page.page.locator(".dfm-panel .nsewdrag").nth(panel).bounding_box()
    at = lambda a: (box["x"] + box["width"] * x + r * box["height"] * math.cos(a), box["y"] + box["height"] * y + r * box["height"] * math.sin(a))
    page.page.mouse.move(*at(0))
    page.page.mouse.down()
    for k in range(1, 16):
        page.page.mouse.move(*at(2 * math.pi * k / 15))
        page.page.wait_for_timeout(20)
    page.page.mouse.up()


def enter(page, label, text):
    page.control(label).fill(text)
    page.page.keyboard.press("Enter")


def test_a_lasso_lights_up_all_maps_and_becomes_a_table(lab):
    run = copied(lab, "causal", "lassoed")
    page, s = opened(lab, "lassoed"), MapsState().open(Run(run))
    rows = lambda lit: np.sort(np.concatenate([s.rows_of(k, i) for k, i in enumerate(lit, 1) if i]))
    lit = None
    for panel in (0, 1):  # in either map
        lasso(page, panel)
        page.until(lambda: page.page.evaluate(LIT) != lit and page.page.evaluate(SUM))
        page.wait_text("observations selected (")
        lit = page.page.evaluate(LIT)
        n = len(lit) // 2
        assert lit[:n] == lit[n:]
        inside = rows(lit[:n])
        page.wait_text(f"{len(inside)} of 480 observations selected")
    page.shot("maps_lasso")
    page.until(lambda: page.page.locator(".dfm-panel table tbody tr").count() >= 10)

    page.control("Save as").fill("mine")
    page.button("Save CSV").click()
    page.wait_text(f"{len(inside)} observations are in")
    saved = pd.read_csv(run / "selections" / "mine.csv")
    assert saved.row.tolist() == inside.tolist()
    pd.testing.assert_frame_equal(saved[["star", "instrument", "log_amplitude"]], s.e.meta.iloc[inside][["star", "instrument", "log_amplitude"]].reset_index(drop=True), check_dtype=False)
    with page.page.expect_download() as d: page.page.locator("a.dfm-download").click()
    assert Path(d.value.path()).read_bytes() == (run / "selections" / "mine.csv").read_bytes() and d.value.suggested_filename == "mine.csv"
    page.control("Save as").fill("mine")
    page.button("Save CSV").click()
    page.wait_text("is there already; choose another name")

    page.button("Clear selection").click()
    page.wait_for(f"() => ({LIT})().every(v => v === null)")
    page.wait_text("Nothing is selected")
    page.fine()


def test_a_click_and_the_keyboard_open_a_card(lab):
    copied(lab, "causal", "clicked")
    page = opened(lab, "clicked")
    x, y, name = page.page.evaluate("""() => {
      const p = document.querySelector('.dfm-panel .js-plotly-plot'), f = p._fullLayout, box = p.getBoundingClientRect();
      p.on('plotly_click', e => { window.clicked = e.points[0].customdata; });
      const t = p._fullData.find(t => t.type == 'scattergl' && t.x.length);
      return [box.left + f.xaxis._offset + f.xaxis.d2p(t.x[0]), box.top + f.yaxis._offset + f.yaxis.d2p(t.y[0]), t.customdata[0]];
    }""")
    page.page.mouse.move(x, y)
    page.page.wait_for_timeout(300)
    page.page.mouse.click(x, y)
    page.wait_for("() => window.clicked")
    page.wait_text("siblings beside it", timeout=60)
    star = page.page.evaluate("() => window.clicked").split("<br>")[0]
    assert star in page.page.locator(".dfm-panel h4").text_content()
    page.wait_for("() => document.querySelectorAll('.dfm-panel .js-plotly-plot')[1]?.data.length >= 4")
    page.until(lambda: page.page.evaluate("() => document.querySelector('.dfm-panel .js-plotly-plot').layout.shapes.length") == 2 * 4)  # rings around it and three siblings, in two maps

    enter(page, "Row or name", "5")  # one of those whose reconstruction was kept
    page.wait_text("with its reconstruction")
    page.wait_text("Row 5: star000001, s0002")
    page.wait_text("1 of 480 observations selected")
    page.wait_for("() => document.querySelectorAll('.dfm-panel .js-plotly-plot')[1]?.data.some(t => t.name == 'from its own latents')")
    page.shot("maps_card")
    enter(page, "Row or name", "nobody")
    page.wait_text("there is no star 'nobody'")

    page.page.get_by_label("features (baseline)").focus()
    page.page.keyboard.press("Space")
    page.wait_for("() => document.querySelectorAll('.dfm-panel .nsewdrag').length >= 3 && [...document.querySelector('.dfm-panel .js-plotly-plot').layout.annotations].some(a => a.text.startsWith('features'))")
    page.control("Colour").select_option("anomaly score")
    page.wait_for("() => document.querySelector('.dfm-panel .js-plotly-plot').data[0].marker.showscale")
    page.fine()


def test_umap_that_was_kept(lab):
    run = copied(lab, "causal", "umap")
    e = Embeddings.load(run / "embeddings.parquet")
    for k, z in e.blocks.items(): keep(place(run / "layouts", k, z), z[:, 2:4] * 100)
    page = opened(lab, "umap")
    page.page.get_by_label("UMAP").check()
    page.wait_for("() => document.querySelector('.dfm-panel .js-plotly-plot').layout.xaxis.title.text == 'UMAP 1'")
    high = page.page.evaluate("() => Math.max(...document.querySelector('.dfm-panel .js-plotly-plot').data.filter(t => t.type == 'scattergl' && (t.xaxis || 'x') == 'x').flatMap(t => [...t.x]))")
    assert math.isclose(high, 100 * e.blocks["z_star"][:, 2].max(), rel_tol=1e-5)
    page.page.get_by_label("PCA").check()
    page.wait_for("() => document.querySelector('.dfm-panel .js-plotly-plot').layout.xaxis.title.text == 'component 1'")
    page.fine()


def test_names_from_files_stay_text(lab):
    run = copied(lab, "causal", "hostile")
    e = Embeddings.load(run / "embeddings.parquet")
    first = e.meta.star.iloc[0]
    e.meta = e.meta.assign(star=e.meta.star.replace(first, TRAP), kind=e.meta.kind.replace(e.meta.kind.iloc[0], TRAP), **{TRAP: np.arange(len(e)) % 3})
    Embeddings({f"z {TRAP}": e.blocks["z_star"], "z_instr": e.blocks["z_instr"]}, e.meta, e.factors).save(run / "embeddings.parquet")
    shutil.rmtree(run / "baselines")
    page = opened(lab, "hostile")
    page.control("Colour").select_option("kind")
    page.wait_text("<img src=x", selector=".dfm-panel .legend")
    enter(page, "Row or name", TRAP)
    page.wait_text("4 of 480 observations selected")
    page.wait_text(f"Row 0: {TRAP}, ")
    page.wait_text("cannot be found in the data", timeout=60)
    page.page.locator(".dfm-panel .nsewdrag").first.hover()
    page.control("Colour").select_option(TRAP)
    page.wait_for("() => document.querySelector('.dfm-panel .js-plotly-plot').data[0].marker.showscale")
    enter(page, "Run", "hostile/" + TRAP.replace("/", ""))
    page.wait_text("is not a run folder")
    page.shot("maps_hostile")
    assert page.page.evaluate("() => window.hit") is None and page.page.locator(".dfm-panel img").count() == 0
    page.fine()


def test_what_cannot_be_opened_is_a_message(lab):
    copied(lab, "causal", "odd")
    other = copied(lab, "scl", "odd")
    copied(lab, "align", "odd")
    page = opened(lab, "odd")
    for path, blocks in (("odd/scl", 3), ("odd/align", 5), ("odd/causal", 2)):  # runs of all recipes
        enter(page, "Run", path)
        page.wait_for("n => document.querySelector('.dfm-panel .js-plotly-plot').layout.annotations.length == n", blocks)
    enter(page, "Run", "odd")
    page.wait_text("is not a run folder")
    e = pd.read_parquet(other / "embeddings.parquet")
    e.to_parquet(other / "embeddings.parquet")  # as no version writes it
    enter(page, "Run", "odd/scl")
    page.wait_text("is missing or no embeddings of dfm_nb")
    write_json(lab.folder / "odd" / "begun" / "config.json", dict(recipe="causal", settings={}, data={}))
    enter(page, "Run", "odd/begun")
    page.wait_text("has no embeddings.parquet yet")
    config = json.loads((lab.folder / "odd" / "align" / "config.json").read_text())
    write_json(lab.folder / "odd" / "align" / "config.json", config | dict(data=config["data"] | dict(source="gone")))
    enter(page, "Run", "odd/align")
    page.wait_for("() => document.querySelector('.dfm-panel .js-plotly-plot').layout.annotations.length == 5")
    enter(page, "Row or name", "7")
    page.wait_text("no curve can be shown: gone is no folder", timeout=60)
    page.fine()
