"""JupyterLab in a real browser, for the tests of the dashboards. Without Chromium or playwright those tests are skipped.

    def test_it(lab):
        page = lab.run("maps", runs="runs")       # a copy of nbs/dashboards/*maps*.ipynb with other parameters, all cells run
        page.slide("cell size", "ArrowRight", 3)
        page.shot("maps")
        page.fine()                               # nothing in the console, no traceback in the notebook
"""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import nbformat
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

try: from playwright.sync_api import Error as PlaywrightError
except ImportError: PlaywrightError = Exception

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SHOTS = ROOT / "_shots"  # pictures of what the tests saw, for people; git ignores them
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
# What JupyterLab itself says without a network or a collaborator, which no notebook can change.
NOISE = re.compile(r"favicon|ERR_INTERNET_DISCONNECTED|net::ERR_NAME|Extension not found|source ?map|react-i18next|Failed to load resource.*404|deprecat|service worker|WebGL|"
                   r"RUNTIME-012", re.I)  # voila offers no document manager to extensions of JupyterLab that want one, and goes on without them


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextmanager
def server(folder: Path, kind: str = "lab", *more):
    "A JupyterLab (or notebook, or voila) server whose root is the folder; gives its address."
    port = free_port()
    own = {"lab": ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate"]}.get(kind, [])
    common = [f"--ServerApp.port={port}", f"--ServerApp.root_dir={folder}", "--ServerApp.token=", "--ServerApp.password=", "--ServerApp.allow_root=True",
              "--ServerApp.open_browser=False", "--ServerApp.disable_check_xsrf=True"]
    if kind == "voila": common = [f"--port={port}", "--no-browser", f"--Voila.ip=127.0.0.1"]
    home = folder / ".jupyter_home"
    env = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": str(ROOT), "JUPYTER_CONFIG_DIR": str(home), "JUPYTER_RUNTIME_DIR": str(home / "run"),
           "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"), "IPYTHONDIR": str(home / "ipython")}
    env.pop("PLOTLY_RENDERER", None)  # panels are for people here
    shown = home / "settings" / "@jupyterlab" / "notebook-extension"
    shown.mkdir(parents=True, exist_ok=True)  # all cells are in the page, also those that are out of sight
    (shown / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    news = home / "settings" / "@jupyterlab" / "apputils-extension"
    news.mkdir(parents=True, exist_ok=True)  # or a question about news lies over the panel
    (news / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    module = {"lab": "jupyterlab", "notebook": "notebook", "voila": "voila"}[kind]
    with open(folder / f"{kind}.log", "wb") as log:
        process = subprocess.Popen([sys.executable, "-m", module, *common, *own, *map(str, more)], cwd=folder, env=env, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            if process.poll() is not None: raise RuntimeError((folder / f"{kind}.log").read_text()[-2000:])
            try:
                urllib.request.urlopen(address + ("/api" if kind != "voila" else "/api/kernels"), timeout=2)
                break
            except OSError: time.sleep(.2)
        yield address
    finally:
        process.terminate()
        try: process.wait(15)
        except subprocess.TimeoutExpired: process.kill()


class Page:
    "An open notebook."
    def __init__(self, lab, page, path): self.lab, self.page, self.path, self.said = lab, page, path, []

    def listen(self):
        self.page.on("console", lambda m: self.said.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.said.append(str(e)))

    def idle(self, timeout=120):
        "Wait until the kernel has nothing to do."
        self.page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', timeout=timeout * 1000, state="attached")

    def connected(self, timeout=60):
        "Wait until the page talks to a kernel: cells that are run before ask which one to start."
        deadline = time.time() + timeout
        while time.time() < deadline:
            kernels = [s["kernel"] for s in json.loads(urllib.request.urlopen(self.lab.address + "/api/sessions").read()) if s["path"] == self.path]
            if any(k and k["connections"] and k["execution_state"] == "idle" for k in kernels): return
            self.page.wait_for_timeout(200)

    def run_all(self, timeout=180):
        "Run every cell, as Run > Run All Cells does."
        self.connected()
        self.idle()
        for _ in range(5):  # a menu that is opened while the page still settles closes again
            if (asked := self.page.locator(".jp-Dialog .jp-mod-accept")).count(): asked.first.click()
            self.page.get_by_role("menuitem", name="Run", exact=True).click()
            item = self.page.get_by_role("menuitem", name=re.compile("^Run All Cells")).first
            try:
                item.click(timeout=3000)
                self.wait_for("() => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].some(e => /[0-9*]/.test(e.textContent))", timeout=5)
                break
            except PlaywrightError: self.page.keyboard.press("Escape")
        deadline = time.time() + timeout
        while time.time() < deadline:  # every code cell has a number, and none waits
            prompts = self.page.eval_on_selector_all(".jp-CodeCell .jp-InputPrompt", "es => es.map(e => e.textContent)")
            if prompts and all(re.search(r"\d", p) for p in prompts) and "*" not in "".join(prompts): break
            self.page.wait_for_timeout(200)
        else: raise AssertionError(f"cells of {self.path} are not done after {timeout} s")
        self.idle()
        return self

    def control(self, label: str):
        "The control with this label: its input, select, or handle of a slider."
        box = self.page.locator(".widget-inline-hbox, .jupyter-widget-inline-hbox", has=self.page.locator(f'.widget-label:text-is("{label}")')).first
        return box.locator("input, select, textarea, .noUi-handle").first

    def button(self, text: str): return self.page.locator("button.jupyter-button", has_text=text).first

    def slide(self, label: str, key: str = "ArrowRight", times: int = 1):
        "Move a slider by the keyboard."
        self.page.locator(".widget-inline-hbox, .jupyter-widget-inline-hbox", has=self.page.locator(f'.widget-label:text-is("{label}")')).first.locator(".noUi-handle").first.focus()
        for _ in range(times): self.page.keyboard.press(key)

    def wait_text(self, text: str, timeout=30, selector=".dfm-panel"):
        "Wait until a panel shows a text."
        self.page.wait_for_function("([s, t]) => [...document.querySelectorAll(s)].some(e => e.textContent.includes(t))", arg=[selector, text], timeout=timeout * 1000)

    def wait_for(self, script: str, arg=None, timeout=30):
        "Wait until a JavaScript expression or function is true."
        return self.page.wait_for_function(script, arg=arg, timeout=timeout * 1000)

    def until(self, true, timeout=30):
        "Ask again and again: what a panel says, and what it draws, do not come at once."
        deadline = time.time() + timeout
        while not true():
            assert time.time() < deadline, f"not so after {timeout} s"
            self.page.wait_for_timeout(100)

    def plot(self, k: int = 0): return self.page.locator(".dfm-panel .js-plotly-plot").nth(k)

    def plot_data(self, k: int = 0):
        "Traces of the k-th figure as the browser has them: type, number of points, selected points."
        return self.page.evaluate("k => [...document.querySelectorAll('.dfm-panel .js-plotly-plot')][k].data.map(t => ({type: t.type, name: t.name, n: (t.x || t.z || []).length, selected: t.selectedpoints ? t.selectedpoints.length : null}))", k)

    def shot(self, name: str, whole=False):
        "Keep a picture of the panel, or of the whole page."
        SHOTS.mkdir(exist_ok=True)
        target = self.page if whole else self.page.locator(".dfm-panel").first
        target.screenshot(path=str(SHOTS / f"{name}.png"))

    def save(self):
        self.page.keyboard.press("Control+s")
        self.page.wait_for_timeout(800)

    def fine(self):
        "Nothing went wrong that a person would see."
        errors = [t for t in self.said if not NOISE.search(t)]
        assert not errors, errors[:5]
        trouble = self.page.locator('.jp-RenderedText[data-mime-type="application/vnd.jupyter.stderr"], .jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]').all_text_contents()
        assert not trouble, trouble[:3]

    def close(self):
        self.page.close()
        for s in json.loads(urllib.request.urlopen(self.lab.address + "/api/sessions").read()):
            if s["path"] == self.path: urllib.request.urlopen(urllib.request.Request(f"{self.lab.address}/api/sessions/{s['id']}", method="DELETE"))


class Lab:
    "A server and a browser (one context of it); `folder` is the root of the server, and holds the example runs in `runs/`."
    def __init__(self, address, folder, browser): self.address, self.folder, self.browser, self.pages, self.opened = address, Path(folder), browser, [], 0

    def copy(self, name: str, **parameters) -> str:
        "A copy of a dashboard or tutorial whose file name contains `name`, with these parameters; its path below the root."
        found = sorted(p for d in ("dashboards", "tutorials") for p in (ROOT / "nbs" / d).glob("*.ipynb") if name in p.stem)
        assert found, f"no dashboard is called {name}"
        nb = parameterize_notebook(load_notebook_node(str(found[0])), parameters) if parameters else nbformat.read(found[0], 4)
        for c in nb.cells: c.get("outputs", []).clear()
        self.opened += 1
        path = f"{found[0].stem}_{self.opened}.ipynb"
        nbformat.write(nb, self.folder / path)
        return path

    def tab(self, width=1400, height=1300):
        "An empty page of the browser. All share one cache, as a person's do: JupyterLab's scripts are loaded and compiled once."
        page = self.browser.new_page()
        page.set_viewport_size(dict(width=width, height=height))
        return page

    def open(self, path: str, width=1400, height=1300) -> Page:
        "Open a notebook below the root in a fresh workspace."
        self.opened += 1
        page = self.tab(width, height)
        p = Page(self, page, path)
        p.listen()
        page.goto(f"{self.address}/lab/workspaces/w{self.opened}/tree/{path}?reset")
        page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
        self.pages.append(p)
        return p

    def run(self, name: str, **parameters) -> Page:
        "Open a copy of a dashboard and run all of it."
        return self.open(self.copy(name, **parameters)).run_all()

    def close(self):
        for p in self.pages:
            try: p.close()
            except Exception: pass
        self.pages.clear()
