"The dashboard *Simulate* in JupyterLab: sliders move curves, and a survey is saved."
import numpy as np

from dfm_nb.data.store import read_npz, read_parquet

VALUES = "([k, name]) => Array.from([...document.querySelectorAll('.dfm-panel .js-plotly-plot')][k].data.find(t => t.name === name).y)"


def opened(lab):
    "The dashboard, with both figures drawn."
    page = lab.run("simulate", size="tiny")
    page.wait_for("() => { const p = [...document.querySelectorAll('.dfm-panel .js-plotly-plot')]; return p.length === 2 && p.every(e => e.data && e.data.length > 5) }")
    return page


def values(page, name, k=0):
    "The values of a trace of the k-th figure as the browser has them."
    return np.array(page.page.evaluate(VALUES, [k, name]), float)


def settled(page, name="observed", k=0):
    "The values of a trace once the kernel has answered every key."
    last = None
    for _ in range(60):
        page.page.wait_for_timeout(400)
        page.idle()
        now = values(page, name, k)
        if last is not None and np.array_equal(now, last, equal_nan=True): return now
        last = now
    raise AssertionError(f"{name} does not come to rest")


def moved(page, name, old, k=0):
    "Wait until a trace has changed and come to rest; its values."
    page.wait_for(f"([k, name, old]) => {{ const y = ({VALUES})([k, name]); return y.length != old.length || y.some((v, i) => Math.abs((v || 0) - (old[i] || 0)) > 1e-6) }}",
                  [k, name, [None if np.isnan(v) else v for v in old.tolist()]])
    return settled(page, name, k)


def back(page, name, old):
    "Wait until a trace is again what it was."
    page.wait_for(f"([k, name, old]) => ({VALUES})([k, name]).every((v, i) => Math.abs((v || 0) - (old[i] || 0)) < 1e-6)", [0, name, [None if np.isnan(v) else v for v in old.tolist()]])


def choose(page, label, value): page.control(label).select_option(label=value)


def test_layers_follow_the_sliders(lab):
    page = opened(lab)
    page.wait_text("120 stars through 4 instruments: 480 curves")
    other = settled(page, "F")
    choose(page, "kind", next(t for t in page.control("kind").locator("option").all_text_contents() if t.startswith("rrlyrae")))
    page.wait_text("rrlyrae: period")
    assert page.page.locator('.widget-label:text-is("rise")').is_visible() and not page.page.locator('.widget-label:text-is("flares per day")').is_visible()
    moved(page, "F", other)  # what the panel says comes before what it draws
    F, S, O, x = (values(page, k) for k in ("F", "S", "O", "observed"))
    page.slide("amplitude", "ArrowRight", 5)
    louder = moved(page, "F", F)
    np.testing.assert_allclose(values(page, "S"), S), np.testing.assert_allclose(values(page, "O"), O)  # the instrument is as it was
    assert np.nanmax(np.abs(moved(page, "observed", x))) <= 1 and np.abs(louder).max() > np.abs(F).max()
    page.slide("gain", "ArrowRight", 15)
    assert moved(page, "S", S).mean() > S.mean()
    page.slide("offset", "ArrowLeft", 10)
    assert moved(page, "O", O).mean() < O.mean()
    page.wait_text("2 changed by hand")
    page.wait_for("() => [...document.querySelectorAll('.dfm-panel .js-plotly-plot')].every(p => p.clientWidth > .9*p.closest('.widget-vbox, .jupyter-widget-vbox').clientWidth)")
    page.shot("simulate")
    page.button("Undo changes").click()
    for name, old in (("F", F), ("S", S), ("O", O), ("observed", x)): back(page, name, old)
    page.wait_for("() => [...document.querySelectorAll('.dfm-panel .js-plotly-plot')].every(p => p.clientWidth > .9*p.closest('.widget-vbox, .jupyter-widget-vbox').clientWidth)")
    page.shot("simulate")
    page.fine()


def test_the_survey_follows_the_settings(lab):
    page = opened(lab)
    names = lambda: [t["name"] for t in page.plot_data(1)]
    before, F = names(), values(page, "F")
    choose(page, "mode", "synchronous")
    choose(page, "samples", "256") if page.control("samples").evaluate("e => e.tagName") == "SELECT" else page.slide("samples", "ArrowRight")
    page.wait_for(f"() => ({VALUES})([0, 'F']).length === 256")
    assert names() == before and len(F) == 128
    page.slide("sectors", "ArrowRight", 3)
    page.wait_text("840 curves of 256 samples")
    x = settled(page)
    page.slide("white noise", "ArrowRight", 10)
    assert np.nanstd(moved(page, "observed", x) - values(page, "without noise")) > .03
    choose(page, "instrument", "s0007")
    page.wait_for("() => [...document.querySelectorAll('.dfm-panel .js-plotly-plot')][1].textContent.includes('s0007')")
    page.slide("stars", "ArrowLeft", 2)
    page.wait_text("100 stars through 7 instruments: 700 curves")
    page.fine()


def test_a_survey_is_saved_once(lab):
    page = opened(lab)
    page.slide("gain", "ArrowRight", 20)
    page.wait_text("1 changed by hand")
    shown, star = settled(page), page.plot_data(1)[0]["name"].split()
    save = lambda name: (page.control("File").fill(name), page.control("File").press("Tab"), page.button("Save the survey").click())
    for bad, why in (("nowhere/survey.npz", "there is no folder nowhere"), ("survey.csv", "written as .npz or .parquet"), (" ", "type the name"), ("<img src=x onerror='window.hit=1'>.npz", "onerror")):
        save(bad)
        page.wait_text(why)
    page.page.wait_for_timeout(300)
    assert page.page.evaluate("() => window.hit") is None
    for name, read in (("kept.npz", read_npz), ("kept.parquet", read_parquet)):
        save(name)
        page.wait_text(f"480 curves of 120 stars through 4 instruments are in {lab.folder / name}")
        obs = read(lab.folder / name)
        row = ((obs.meta.star == star[0]) & (obs.meta.instrument == star[1])).to_numpy()
        np.testing.assert_allclose(np.where(obs.mask[row], obs.x[row, 0], np.nan)[0], shown, atol=1e-6)
    size = (lab.folder / "kept.npz").stat().st_mtime_ns
    save("kept.npz")
    page.wait_text("kept.npz exists already and is left as it is")
    assert (lab.folder / "kept.npz").stat().st_mtime_ns == size
    page.shot("simulate_saved")
    page.fine()
