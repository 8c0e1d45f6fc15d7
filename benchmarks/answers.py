"""How fast controls answer while a training keeps both cores busy: python benchmarks/answers.py [times] [steps]

JupyterLab and Chromium on the machine that trains. A training of sim:quick is started from the dashboard *Train*. While it
runs, the seconds are taken from a key in a box of that dashboard until the command below it has changed, and from a key on a
slider of the dashboard *Simulate* until its figure has changed; both once more when nothing trains.
"""
import os
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from lab import CHROMIUM, FLAGS, Lab, server  # noqa: E402

WATCH = {  # what changes, as text
    "code": "() => document.querySelector('.dfm-panel code').textContent",
    "figure": "() => { const t = [...document.querySelectorAll('.dfm-panel .js-plotly-plot')][0].data.find(t => t.name === 'F'); return String(Array.from(t.y).slice(0, 50)); }",
}


def answer(page, what, key) -> float:
    "Seconds from a key until something is another, as the page sees both."
    page.page.evaluate(f"""() => {{ const f = {WATCH[what]}, old = f(); window.took = null; let began = null;
      document.addEventListener('keydown', () => {{ began = performance.now(); }}, {{once: true, capture: true}});
      const look = () => {{ if (began && f() !== old) requestAnimationFrame(() => {{ window.took = performance.now() - began; }}); else setTimeout(look, 5); }}; look(); }}""")
    page.page.keyboard.press(key)
    page.wait_for("() => window.took !== null", timeout=60)
    took = page.page.evaluate("() => window.took") / 1000
    page.page.wait_for_timeout(400)
    return took


def measure(train, simulate, times, when):
    for page, what, says, (there, back) in ((train, "code", "a box of Train", ("ArrowUp", "ArrowDown")), (simulate, "figure", "a slider of Simulate", ("ArrowRight", "ArrowLeft"))):
        page.page.bring_to_front()
        if page is train: page.control("Seed").focus()
        else: page.slide("amplitude", "ArrowRight", 0)
        took = [answer(page, what, back if k % 2 else there) for k in range(times)]
        print(f"{when}, {says} answers after {min(took):.2f} s at best, {statistics.median(took):.2f} in the median of {times}, {max(took):.2f} at worst", flush=True)


if __name__ == "__main__":
    times, steps = map(int, (sys.argv[1:] + ["20", "100000"][len(sys.argv) - 1:])[:2])
    from playwright.sync_api import sync_playwright
    os.environ["OMP_NUM_THREADS"] = str(os.cpu_count())  # the training takes what there is
    with tempfile.TemporaryDirectory() as d, sync_playwright() as p, server(Path(d)) as address:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        lab = Lab(address, d, browser)
        simulate, train = lab.run("simulate", size="tiny"), lab.run("train", runs="runs")
        simulate.wait_for("() => document.querySelectorAll('.dfm-panel .js-plotly-plot').length === 2")
        measure(train, simulate, times, "idle")
        train.page.bring_to_front()
        box = train.control("Steps")
        box.fill(str(steps)), box.press("Enter"), box.blur()
        train.wait_text(f"steps={steps}", selector=".dfm-panel code")
        train.button("Start").click()
        train.wait_text("training: step", 180)
        train.page.wait_for_timeout(15_000)
        simulate.page.bring_to_front()
        print(f"load while it trains: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        other = lab.run("train", runs="others")  # the first one shows the command that runs
        measure(other, simulate, times, "while it trains")
        train.page.bring_to_front()
        train.button("Stop").click()
        train.wait_text("stopped; what was learnt is saved", 60)
        browser.close()
