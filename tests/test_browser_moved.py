"The dashboard *Moved by hand* in JupyterLab: a slider moves a window, what follows follows, and names from files stay text."
import re
from dataclasses import asdict, replace

import numpy as np

NOW = "k => [...document.querySelectorAll('.dfm-panel .js-plotly-plot')][k].data.filter(t => t.meta === 'now').map(t => ({x: Array.from(t.x || []), y: Array.from(t.y || [])}))"
OPEN = "() => [...document.querySelectorAll('.dfm-panel .js-plotly-plot')].length === 4 && [...document.querySelectorAll('.dfm-panel .js-plotly-plot')].every(p => p.data.some(t => t.meta === 'now'))"


def now(page, k): return page.page.evaluate(NOW, k)
def size(page): return now(page, 2)[0]["x"][0]
def words(page): return page.page.locator(".dfm-panel div[role=status]").all_text_contents()
def table(page): return [r.split("|") for r in page.page.eval_on_selector_all(".dfm-panel table tr", "rs => rs.map(r => [...r.cells].map(c => c.textContent).join('|'))")[1:]]


def opened(page):
    page.wait_for(OPEN, timeout=90)
    return page


def until(page, k, old, what="y"):
    "Wait until a trace of the k-th figure that follows has changed."
    page.wait_for(f"([k, old]) => JSON.stringify(({NOW})(k)[0].{what}) !== JSON.stringify(old)", [k, old[0][what]])
    return now(page, k)


def test_what_follows_the_slider(lab):
    page = opened(lab.run("moved", runs="runs/scl"))
    wave, maps, curves, first = now(page, 0), now(page, 1), now(page, 2), size(page)
    page.slide("Shift", "ArrowRight", 3)
    page.wait_for(f"first => Math.abs(({NOW})(2)[0].x[0] - first - 50) < .1", first)  # three places of three samples
    page.wait_text("Shifted by 217 ms")
    assert until(page, 0, wave) and until(page, 1, maps, "x") and until(page, 2, curves)
    page.until(lambda: [f"{m['y'][0]:.2f}" for m in now(page, 2)[:3]] == [r[3] for r in table(page)])  # the table says the same
    lines = page.page.evaluate("() => [...document.querySelectorAll('.dfm-panel .js-plotly-plot')][2].data.filter(t => ['inv', 'var', 'free', 'true class'].includes(t.name)).map(t => [Array.from(t.x), Array.from(t.y)])")
    for (x, y), mark in zip(lines, now(page, 2)):  # the marker sits on its line
        np.testing.assert_allclose(mark["y"][0], np.interp(mark["x"][0], x, y), atol=1e-6)
    page.shot("moved")
    page.slide("Shift", "Home")
    page.wait_text("Shifted by -833 ms")
    page.until(lambda: round(size(page)) == -833)
    # somebody else, typed: the size stays
    map_of_inv = now(page, 1)
    page.control("Patient").fill("p003")
    page.control("Patient").press("Enter")
    page.wait_for(f"old => JSON.stringify(({NOW})(1)[0].x) !== JSON.stringify(old)", map_of_inv[0]["x"])
    page.wait_text("Shifted by -833 ms")
    page.until(lambda: "p003" in words(page)[-1] and round(size(page)) == -833)
    # what cannot be done is a message, and what is shown stays
    for label, text, why in (("Patient", "nobody", "no tested patient 'nobody'"), ("Run", "runs/causal", "a run of the recipe 'causal', not of scl"), ("Run", "runs/<img src=x onerror='window.hit=1'>", "is not a run folder")):
        page.control(label).fill(text)
        page.control(label).press("Enter")
        page.wait_text(why, selector=".dfm-panel [role=alert]")
    page.slide("Shift", "End")
    page.wait_text("Shifted by 833 ms")
    assert page.page.evaluate("() => window.hit") is None
    page.fine()


def made(folder):
    "A run that has learned nothing, of people and activities with names that want to be HTML."
    from dfm_nb.core import write_json
    from dfm_nb.data.sources import open_data
    from dfm_nb.data.store import write_parquet
    from dfm_nb.recipes.base import fingerprint
    from dfm_nb.recipes.scl_job import Job
    from dfm_nb.recipes.scl_model import setting, step_of
    from dfm_nb.train.checkpoint import save_state
    obs = open_data("sim:imu,n_subjects=5,seconds=8")
    bad = lambda v: f'<img src=x onerror="window.hit=1">{v}'
    obs.meta["subject"], obs.meta["activity"] = obs.meta.subject.map(bad), obs.meta.activity.map(bad)
    folder.mkdir()
    write_parquet(obs, folder / "people.parquet")
    obs = open_data(str(folder / "people.parquet"), ("subject",))
    c = replace(setting("clean", "imu"), steps=1, width=8, batch=16, held=.5, baselines="")
    save_state(Job(c, obs).loop, folder / "run" / "checkpoint")
    about = dict(source=obs.name, factors=["subject"], options=[], name=obs.name, fingerprint=fingerprint(obs))
    write_json(folder / "run" / "config.json", dict(recipe="scl", settings=asdict(c), step=step_of(obs), version="0", data=about))
    return folder / "run"


def test_turns_of_people_with_hostile_names(lab):
    made(lab.folder / "people")
    page = opened(lab.run("moved", runs="people"))
    page.wait_text("Turned by 35° about x")
    page.until(lambda: re.search(r"The task head says <img src=x onerror=\"window.hit=1\">\w+ \(\d+%\)", words(page)[-1]))
    page.until(lambda: page.control("Subject").input_value().startswith("<img src=x") and "<img" in page.control("Window").locator("option").first.text_content())
    assert "inv by less than" not in words(page)[-1] and "stands still by construction" in words(page)[-1]
    before = now(page, 0)
    page.control("About").select_option("z")
    page.wait_text("Turned by 35° about z")
    until(page, 0, before)
    page.until(lambda: now(page, 0)[2]["y"] != before[2]["y"])
    page.slide("Turn", "ArrowLeft", 7)
    page.wait_text("As it was recorded")
    page.wait_for(f"() => Math.abs(({NOW})(2)[1].y[0] - 1) < 1e-5")
    page.slide("Turn", "ArrowRight", 18)
    page.wait_text("Turned by 90° about z")
    page.plot(2).hover(position=dict(x=200, y=130))
    page.shot("moved_turns")
    assert page.page.evaluate("() => window.hit") is None
    page.fine()


def test_without_a_run(lab):
    (lab.folder / "empty").mkdir()
    page = lab.run("moved", runs="empty")
    page.wait_text("there is no run of scl in empty yet")
    assert not page.page.locator(".dfm-panel .noUi-handle").first.is_visible()
    page.fine()
