"The dashboard that trains, in a real browser: see `lab.py`."
import json
import re
import shutil
import time
import urllib.request

import pytest

from dfm_nb.core import Embeddings, Run
from dfm_nb.recipes.process import Training

HOSTILE = '<img src=x onerror="window.hit=1">'
QUICK = "baselines= n_star=8 n_instr=2 width=16 checkpoint_every=20"  # for tests that wait for it


def put(page, label, text):
    "Type into a box and leave it."
    box = page.control(label)
    box.fill(text)
    box.press("Enter")
    box.blur()
    if label in ("Data", "Run folder"): page.wait_text(text.split("/")[-1], selector=".dfm-panel code")  # the command that is shown is the new one, and nothing moves any more


def until(true, what, seconds=90):
    end = time.time() + seconds
    while not true():
        assert time.time() < end, what
        time.sleep(.2)


def kernel(lab, page, ask):
    "Interrupt or restart the kernel of a notebook, as its menu does."
    sessions = json.loads(urllib.request.urlopen(lab.address + "/api/sessions").read())
    k = next(s["kernel"]["id"] for s in sessions if s["path"] == page.path)
    urllib.request.urlopen(urllib.request.Request(f"{lab.address}/api/kernels/{k}/{ask}", method="POST", data=b"")).read()


@pytest.fixture
def begin(lab):
    "Start a training of sim:tiny in a folder of that name; whatever still trains in the end is stopped."
    started = []

    def start(name, steps):
        page = lab.run("train", runs="runs")
        put(page, "Data", "sim:tiny")
        put(page, "Steps", str(steps))
        put(page, "More settings", QUICK)
        put(page, "Run folder", f"runs/{name}")
        t = Training(lab.folder / "runs" / name)
        started.append(t)
        page.button("Start").click()
        page.wait_text("training: step", 120)
        return page, t
    yield start
    for t in started:
        if t.find(): t.stop(), until(lambda: t.status not in ("starting", "working", "paused"), "stops")


def lines(t): return len(t.run.metrics()) if t.run else 0
def grows(t): before = lines(t); until(lambda: lines(t) > before, "metrics grow")


def test_start_pause_resume_stop(begin):
    page, t = begin("mine", 400)
    page.until(lambda: "dfm run causal --data sim:tiny --set steps=400 baselines=" in page.page.locator(".dfm-panel code").text_content())
    points = "n => document.querySelectorAll('.dfm-panel .js-plotly-plot')[0].data[0]?.x.length > n"
    page.wait_for(points, 0)
    page.wait_for(points, page.plot_data(0)[0]["n"])  # curves grow
    page.until(lambda: {"star", "instr", "observations / s"} <= {d["name"] for d in page.plot_data(0)})

    page.button("Pause").click()
    page.wait_text("paused: training: step")
    before = lines(t)
    page.page.wait_for_timeout(1500)
    assert lines(t) == before and t.status == "paused"
    page.button("Resume").click()
    grows(t)
    page.wait_for("() => document.querySelectorAll('.dfm-panel .js-plotly-plot')[1].data.length > 0")  # the map, of saved weights
    page.shot("train_going_on")

    page.button("Stop").click()
    page.wait_text("stopped; what was learnt is saved", 60)
    page.until(lambda: (t.path / "checkpoint" / "state.safetensors").exists() and not (t.path / ".lock").exists() and t.find() is None)
    page.until(lambda: "dfm resume" in page.page.locator(".dfm-panel code").text_content())

    page.button("Resume").click()
    page.wait_text("done; the report is", 150)
    assert Run(t.path).finished and Run(t.path).metrics().step.iloc[-1] == 400
    page.until(lambda: page.button("Stop").is_disabled() and not t.log.exists())
    page.shot("train")
    page.fine()


def test_training_needs_no_kernel(lab, begin):
    page, t = begin("alone", 100_000)
    kernel(lab, page, "interrupt")
    grows(t)
    other = lab.run("train", runs="runs")  # opened twice: sees the training that goes on
    other.until(lambda: other.control("Run folder").input_value() == "runs/alone" and other.control("Steps").input_value() == "100000")
    other.wait_text("training: step")
    other.button("Start").click()
    other.wait_text("is being worked on by process")
    kernel(lab, page, "restart")
    grows(t)
    other.button("Pause").click()
    other.wait_text("paused: training: step")
    other.button("Stop").click()  # a halted process hears, too
    other.wait_text("stopped; what was learnt is saved", 60)
    other.until(lambda: (t.path / "checkpoint" / "state.safetensors").exists() and not (t.path / ".lock").exists())
    other.fine()


def test_what_cannot_work_is_a_message(lab):
    page = lab.run("train", runs="runs")
    put(page, "Data", f"nowhere/{HOSTILE}.npz")
    page.button("Start").click()
    page.wait_text(f"{HOSTILE}.npz does not exist")
    put(page, "Data", "sim:tiny")
    put(page, "More settings", "widht=3")
    page.button("Start").click()
    page.wait_text("'widht=3' is not a setting")
    put(page, "More settings", "")
    put(page, "Run folder", "runs/causal")
    page.wait_text("done; the report is")
    page.button("Start").click()
    page.wait_text("runs/causal exists already")
    put(page, "Data", "sim:huge")  # only the command knows what can be simulated
    put(page, "Run folder", "runs/huge")
    page.button("Start").click()
    page.wait_text("no simulated survey is called", 90)
    assert not (lab.folder / "runs" / "huge").exists()
    page.fine()


def test_names_from_files_are_text(lab):
    folder = lab.folder / "runs" / HOSTILE
    shutil.copytree(lab.folder / "runs" / "causal", folder)
    e = Embeddings.load(folder / "embeddings.parquet")
    e.meta["instrument"] = [f"{HOSTILE} {v}" for v in e.meta.instrument]
    e.save(folder / "embeddings.parquet")
    rows = [json.loads(r) | {HOSTILE: 1.} for r in (folder / "metrics.jsonl").read_text().splitlines()]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    page = lab.run("train", runs="runs")
    put(page, "Run folder", f"runs/{HOSTILE}")
    page.wait_text(f"done; the report is runs/{HOSTILE}")
    page.wait_for("() => document.querySelectorAll('.dfm-panel .js-plotly-plot')[1].data.length > 0")
    page.control("Colour of the map").select_option("instrument")
    page.wait_for("() => document.querySelectorAll('.dfm-panel .js-plotly-plot')[1].data.length > 4")
    page.page.wait_for_timeout(500)
    assert page.page.evaluate("() => window.hit") is None and page.page.locator(".dfm-panel img").count() == 0
    page.until(lambda: any(re.search("img src=x", t) for t in page.plot(1).locator(".legendtext").all_text_contents()))
    page.shot("train_hostile")
    shutil.rmtree(folder)
    page.fine()
