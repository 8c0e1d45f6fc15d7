"""Anomalies in a real browser: marks that last, files that are read back, names that stay text."""
import io
import json
import re
import shutil
import urllib.request
from dataclasses import replace

import pandas as pd
from astropy.table import Table

from dfm_nb.core import Embeddings, Run
from dfm_nb.data.store import write_npz
from dfm_nb.recipes.base import fingerprint
from dfm_nb.sim.survey import SIZES, simulate
from dfm_nb.widgets.anomalies import AnomaliesState

TRAP = '<img src=x onerror="window.hit=1">'


def copied(lab, recipe, name):
    "A copy of an example run that nobody has marked yet; its path."
    shutil.copytree(lab.folder / "runs" / recipe, lab.folder / name / recipe)
    return lab.folder / name / recipe


def restart(page):
    "Restart the kernel of the notebook, as Kernel > Restart does."
    kernel = next(s["kernel"]["id"] for s in json.loads(urllib.request.urlopen(page.lab.address + "/api/sessions").read()) if s["path"] == page.path)
    urllib.request.urlopen(urllib.request.Request(f"{page.lab.address}/api/kernels/{kernel}/restart", data=b"", method="POST"))


def marks(run): return {k: (v["mark"], v["note"]) for k, v in json.loads((run / "marks.json").read_text())["marks"].items()}
def button(page, text): return page.page.locator(".dfm-odd button", has_text=re.compile(rf"^\s*{text}\s*$"))  # not "Keep pictures"
def listed(page): return page.page.locator(".dfm-panel select[size], .dfm-panel .widget-select select").first
def drawn(page, name): page.wait_for("n => [...document.querySelectorAll('.dfm-panel .js-plotly-plot')].some(p => p.layout && (p.layout.annotations || []).some(a => a.text.includes(n)))", name, timeout=90)


def test_marks_survive_a_restart(lab):
    run = copied(lab, "causal", "marked")
    names = pd.read_csv(run / "anomalies.csv").star.tolist()
    page = lab.run("anomalies", runs="marked")
    page.wait_text("0 of 100 seen")
    drawn(page, names[0])
    button(page, "Keep").click()
    page.wait_text("1 of 100 seen: 1 kept, 0 rejected")
    page.control("Note").fill("a flare, look again")
    page.wait_for("() => document.querySelector('.dfm-panel .widget-select select').options[0].textContent.includes('✓*')")
    button(page, "Next").focus()
    page.page.keyboard.press("Enter")  # as from the keyboard
    page.wait_text(f"2. {names[1]}")
    AnomaliesState(Run(run)).mark("rejected", "from elsewhere", names[4])  # another dashboard, at the same time
    button(page, "Reject").focus()
    page.page.keyboard.press("Space")
    page.wait_text("3 of 100 seen: 1 kept, 2 rejected")
    assert marks(run) == {names[0]: ("kept", "a flare, look again"), names[1]: ("rejected", ""), names[4]: ("rejected", "from elsewhere")}
    page.shot("anomalies_causal")

    table = pd.read_csv(run / "anomalies.csv")
    table.iloc[[2, 0, 1, *range(3, 100)]].to_csv(run / "anomalies.csv", index=False)  # an audit that was run anew
    restart(page)
    page.run_all()
    page.wait_text("3 of 100 seen: 1 kept, 2 rejected")
    listed(page).focus()
    page.page.keyboard.press("ArrowDown")  # which JupyterLab would take for a command
    page.wait_text(f"2. {names[0]}")
    page.wait_for("t => document.querySelector('.dfm-panel textarea').value == t", "a flare, look again")
    page.control("Show").select_option("rejected")
    page.wait_for("() => document.querySelector('.dfm-panel .widget-select select').options.length == 2")
    page.fine()


def test_files_are_read_back(lab):
    run = copied(lab, "align", "taken")
    page = lab.run("anomalies", runs="taken")
    table = pd.read_csv(run / "anomalies.csv", keep_default_na=False)
    page.wait_text(f"0 of {len(table)} seen")
    button(page, "Keep").click()
    page.wait_text(f"1 of {len(table)} seen")
    page.control("Note").fill('"quoted", and\na second line; é')
    page.wait_for("() => document.querySelector('.dfm-panel .widget-select select').options[0].textContent.includes('✓*')")
    page.wait_for("() => [...document.querySelectorAll('.dfm-panel .js-plotly-plot')].some(p => p.data && p.data.length > 3)", timeout=90)
    page.shot("anomalies_align")
    button(page, "Export list").click()
    page.wait_text("entries are written to")
    files = {}
    for end in ("csv", "vot"):
        with page.page.expect_download() as d: page.page.locator(f'.dfm-panel a.dfm-download[download$=".{end}"]').click()
        files[end] = open(d.value.path(), "rb").read()
        assert files[end] == (run / "exports" / d.value.suggested_filename).read_bytes()
    csv = pd.read_csv(io.BytesIO(files["csv"]), keep_default_na=False)
    vo = Table.read(io.BytesIO(files["vot"]), format="votable")
    for c in table: assert csv[c].tolist() == table[c].tolist() == [v.item() for v in vo[c]], c
    assert csv.note[0] == vo["note"][0] == '"quoted", and\na second line; é' and csv["mark"].tolist() == ["kept"] + [""] * (len(table) - 1)
    assert str(vo["exposure"].unit) == "s" and str(vo["edge"].unit) == "arcsec"
    page.fine()


def test_names_stay_text(lab):
    "A star, an instrument, a class, a reason, a neighbour, a note and a run whose names are HTML."
    obs = simulate(replace(SIZES["tiny"], n_stars=12))
    old = list(dict.fromkeys(obs.meta.star))
    names = {k: f"{TRAP}{n}" for n, k in enumerate(old)}
    obs.meta["star"], obs.meta["instrument"] = obs.meta.star.map(names), TRAP + obs.meta.instrument.astype(str)
    obs.meta["kind"] = obs.meta.star + obs.meta.kind.astype(str)
    folder = lab.folder / "trapped"
    folder.mkdir()
    write_npz(obs, folder / "data.npz")
    data = dict(source=str(folder / "data.npz"), factors=["star", "instrument"], options=[], name=TRAP, fingerprint=fingerprint(obs))
    run = Run.create(folder / "runs" / "<img src=x onerror=window.hit=1>", dict(recipe="causal", settings={}, data=data))
    Embeddings(dict(z_star=obs.x[:, 0, :2]), obs.meta.assign(planted=True, oddity=TRAP)).save(run / "embeddings.parquet")
    stars = list(names.values())
    table = pd.DataFrame(dict(star=stars, score=range(12, 0, -1), nearest=[", ".join(stars[-3:])] * 12, why=TRAP, reasons=TRAP, weight=1., **{"class": TRAP}))
    table.to_csv(run / "anomalies.csv", index=False)
    (run / "marks.json").write_text(json.dumps({"version": TRAP, "marks": {}}))
    page = lab.run("anomalies", runs="trapped/runs")
    page.wait_text("0 of 12 seen")
    page.wait_text("was written by another version")
    drawn(page, "&lt;img")
    page.shot("anomalies_hostile")
    button(page, "Keep").click()
    page.wait_text("put aside as")
    assert json.loads((run / "marks.aside-1.json").read_text())["version"] == TRAP
    page.control("Note").fill(TRAP)
    button(page, "Next").click()
    button(page, "Previous").click()
    button(page, "Export list").click()
    page.wait_text("entries are written to")
    with page.page.expect_download() as d: page.page.locator('.dfm-panel a.dfm-download[download$=".csv"]').click()
    csv = pd.read_csv(d.value.path())
    assert csv.star.tolist() == stars and csv.note[0] == TRAP and csv.oddity[0] == TRAP
    assert page.page.evaluate("() => window.hit") is None and page.page.locator(".dfm-panel img").count() == 0
    page.until(lambda: TRAP in page.page.locator(".dfm-card").inner_text())
    page.fine()


def test_what_cannot_be_shown_is_said(lab):
    page = lab.run("anomalies", runs="runs/scl")
    page.wait_text("has no list of anomalies")
    button(page, "Keep").click()
    run = copied(lab, "causal", "gone")
    (run / "marks.json").write_text('{"version": 1, "mar')
    config = json.loads((run / "config.json").read_text())
    config["data"]["source"] = "nowhere.npz"
    (run / "config.json").write_text(json.dumps(config))
    page.control("Run").fill("gone/causal")
    page.control("Run").press("Enter")
    page.wait_text("is damaged")
    drawn(page, "nowhere.npz does not exist")  # the list works without its data
    button(page, "Reject").click()
    page.wait_text("put aside as")
    assert (run / "marks.aside-1.json").read_text() == '{"version": 1, "mar' and len(marks(run)) == 1
    page.fine()
