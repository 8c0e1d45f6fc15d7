"Words and spectra in a real browser: words find spectra, a spectrum finds texts, and what is no answer is a message."
import contextlib
import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

HOSTILE = '<img src=x onerror="window.hit=1">'
ABOUT = "() => document.querySelector('.dfm-panel').textContent"
# Where a point of a trace of the k-th figure stands in the page.
POINT = """([k, trace, i]) => {
  const p = document.querySelectorAll('.dfm-panel .js-plotly-plot')[k], l = p._fullLayout, d = p._fullData[trace], box = p.getBoundingClientRect();
  return [box.left + l._size.l + l.xaxis.d2p(d.x[i]), box.top + l._size.t + l.yaxis.d2p(d.y[i])]}"""


def ready(page):
    "The run is open, its spectra are read, and the first question is answered."
    page.wait_text("open for the whole", timeout=90)
    page.wait_for("() => [...document.querySelectorAll('.dfm-panel .js-plotly-plot')].filter(p => (p._fullData || []).length > 0).length == 3", timeout=90)
    return page


def ask(page, words):
    page.control("Describe a source").fill(words)
    page.control("Describe a source").press("Enter")


def names(page, k=0):
    "The sources of the k-th list."
    return [" ".join(t.split()) for t in page.page.locator(".dfm-list select").nth(k).locator("option").all_text_contents()]


def test_words_find_spectra_and_a_spectrum_finds_texts(lab):
    page = ready(lab.run("7_paired", runs="runs", words="coronal plasma of a star"))
    page.wait_text("Asked: “coronal plasma of a star”")
    before = names(page)
    page.until(lambda: len(before) == 10 and [t["n"] > 0 for t in page.plot_data(0)[-5:]] == [True] * 5)  # all marks are in the map
    ask(page, "obscured quasar with a zebra and N_H = 3e22")
    page.wait_text("Asked: “obscured quasar with a zebra and N_H = 3e22”")
    page.wait_text("left out: zebra")
    page.until(lambda: names(page) not in ([], before))  # the list comes after the words above it, and a key pressed before is pressed in the old one
    page.until(lambda: len([t for t in page.plot_data(1) if t["name"] == "counts"]) == 10)
    list_ = page.page.locator(".dfm-list select").first
    list_.focus()  # by keyboard alone
    for _ in range(3): page.page.keyboard.press("ArrowDown")
    third = names(page)[2].split()[3]
    page.wait_text(f"{third} ", timeout=20)
    page.wait_for("n => document.querySelector('.dfm-panel input[placeholder^=\"its name\"]').value.endsWith(n)", third)
    page.until(lambda: page.page.locator(".dfm-texts details[open]").count() == 1 or page.page.locator(".dfm-texts summary").first.click())  # texts come after the name
    page.plot(0).scroll_into_view_if_needed()
    there = page.page.evaluate("() => document.querySelectorAll('.dfm-panel .js-plotly-plot')[0]._fullData[0].text[0]")
    page.page.mouse.move(*page.page.evaluate(POINT, [0, 0, 0]))
    page.page.wait_for_timeout(600)
    page.page.mouse.click(*page.page.evaluate(POINT, [0, 0, 0]))
    page.wait_for("n => document.querySelector('.dfm-panel input[placeholder^=\"its name\"]').value != n", "2CXO " + third)
    assert there.startswith("2CXO ")
    page.control("Source").fill(before[4].split()[3])  # a part of its name
    page.control("Source").press("Enter")
    page.wait_for("n => document.querySelector('.dfm-panel input[placeholder^=\"its name\"]').value.endsWith(' ' + n)", before[4].split()[3])
    page.shot("paired")
    page.fine()


def test_what_is_no_answer_is_a_message(lab):
    page = ready(lab.run("7_paired", runs="runs"))
    shown = names(page)
    ask(page, "zzzz qqqq")
    page.wait_text("know none of the words in 'zzzz qqqq'")
    assert names(page) == shown
    ask(page, f"star {HOSTILE}")
    page.wait_text(f"Asked: “star {HOSTILE}”")
    page.control("Source").fill(HOSTILE)
    page.control("Source").press("Enter")
    page.wait_text(f"has no source '{HOSTILE}'")
    page.control("Run").fill("runs/causal")
    page.control("Run").press("Enter")
    page.wait_text("is a run of the recipe 'causal', not of align")
    page.control("Run").fill(f"runs/{HOSTILE}")
    page.control("Run").press("Enter")
    page.wait_text(f"runs/{HOSTILE} is not a run folder")
    assert page.page.evaluate("() => window.hit") is None and page.page.locator(".dfm-panel img").count() == 0
    page.fine()


def own_run(folder):
    "A run of a set that somebody made by hand, whose names, classes and texts are hostile."
    from dataclasses import replace

    from dfm_nb.data.sources import open_pairs
    from dfm_nb.recipes.align import train
    from dfm_nb.recipes.align_model import SETTINGS

    own, g, n = folder / "own", np.random.default_rng(0), 60
    own.mkdir()
    names_ = [f"{HOSTILE} {k}" for k in range(n)]
    table = pa.table(dict(source=names_, brightness=g.normal(size=n), kind=["a", "b"] * (n // 2), signal=list(g.normal(size=(n, 40)).astype(np.float32))))
    pq.write_table(table.append_column("class", pa.array([f"<b>{HOSTILE}</b>", "star"] * (n // 2))), own / "sources.parquet")
    pd.DataFrame(dict(source=names_, text=[f"a bright {HOSTILE} spectrum {'with a line ' * 20}", "a faint star"] * (n // 2))).to_csv(own / "texts.csv", index=False)
    small = replace(SETTINGS["clean"], steps_spectra=3, steps=3, batch=16, batch_spectra=16, baselines="", encoder="tfidf:d=8", width=8, layers=1, patch=10, device="cpu")
    with contextlib.redirect_stdout(io.StringIO()):
        train(small, open_pairs(str(own)), folder / "own_runs" / "hand", dict(source=str(own), factors=["source"], options=[]), progress=False)


def test_names_and_texts_of_files_stay_text(lab):
    own_run(lab.folder)
    page = ready(lab.run("7_paired", runs="own_runs", words="a bright spectrum"))
    page.wait_text("Asked: “a bright spectrum”")
    page.until(lambda: len([t for t in page.plot_data(1) if t["name"] == "signal"]) == 10)  # signals that are no counts
    page.control("Source").fill(f"{HOSTILE} 7")
    page.control("Source").press("Enter")
    page.wait_text(f"{HOSTILE} 7 ")
    page.page.locator(".dfm-texts summary").first.click()
    page.plot(0).scroll_into_view_if_needed()
    page.page.mouse.move(*page.page.evaluate(POINT, [0, 0, 0]))
    page.page.wait_for_timeout(1000)
    assert HOSTILE in page.page.evaluate(ABOUT)
    assert page.page.evaluate("() => window.hit") is None and page.page.locator(".dfm-panel img").count() == 0
    page.shot("paired_hostile")
    page.fine()
