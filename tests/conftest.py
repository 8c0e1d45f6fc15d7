"What the tests share."
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from queue import SimpleQueue

import pytest

from lab import CHROMIUM, FLAGS, Lab, server

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    "The folder of real recordings, or a skip that says how to get the test to run."
    folder = os.environ.get("DFM_DATA")
    if not folder: pytest.skip("needs real recordings: DFM_DATA=/folder/of/recordings make test")
    if not Path(folder).is_dir(): pytest.fail(f"DFM_DATA={folder} is not a folder")
    return Path(folder)


def environment(**more) -> dict:
    "Of a process that finds the package in this checkout and leaves the other cores to others."
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **more}


@pytest.fixture
def dfm(tmp_path):
    "Runs the `dfm` command as a user would: dfm('run', 'causal', '--out', folder). Returns the CompletedProcess."
    command = [sys.executable, "-c", "import sys; sys.argv[0] = 'dfm'; from dfm_nb.cli import main; sys.exit(main())"]

    def run(*args, timeout=300, cwd=tmp_path, **env):
        return subprocess.run([*command, *map(str, args)], cwd=cwd, timeout=timeout, capture_output=True, text=True, env=environment(**env))
    return run


FORK = """
import gc, json, os, shutil, sys, tempfile, traceback
gc.disable()  # while much is made and nothing thrown away; and what stays is not to be looked through in each child
import dfm_nb.recipes.causal, dfm_nb.recipes.scl, dfm_nb.recipes.search, dfm_nb.sim.catalogue, dfm_nb.sim.ecg, dfm_nb.sim.imu, dfm_nb.sim.texts
import astropy.io.fits, numpy, pandas, pyarrow.dataset, scipy.signal, sklearn.gaussian_process, sklearn.multiclass, torch._dynamo
from dfm_nb import core, plots, report
from dfm_nb.cli import main
from dfm_nb.views import maps, survival
# what is imported late, or is slow the first time, is paid once: pictures of each kind, the page, a file
report.harmless(plots.training(pandas.DataFrame(dict(step=[0], loss=[0.]))))
e = core.Embeddings(dict(z=numpy.eye(4)), pandas.DataFrame(dict(star=list('abab'), instrument=[0, 1, 2, 3])))
report.harmless(maps.latent_maps(e))
report.harmless(survival.told_bars(pandas.DataFrame(dict(question=['told'], block='inv', target='shift', score=0., low=0., high=0.))))
report.Environment(autoescape=True).from_string(report.PAGE), report.get_plotlyjs()
with tempfile.TemporaryDirectory() as folder: e.save(folder + '/e.parquet'); core.Embeddings.load(folder + '/e.parquet')
gc.freeze(); gc.enable()

def crash(folder, when, what):
    changes, when = [], [when, 1] if isinstance(when, str) else when
    def hook(event, args):
        if event == 'open' and not {'w', 'a'} & {*str(args[1])} or event not in ('open', 'os.rename', 'os.mkdir'): return
        path = os.path.abspath(str(args[1 if event == 'os.rename' else 0]))
        if not path.startswith(folder) or event == 'os.mkdir' and os.path.exists(path): return
        changes.append(os.path.relpath(path, folder))
        if isinstance(what, str): os.path.isdir(folder) and shutil.copytree(folder, os.path.join(what, str(len(changes)), os.path.basename(folder)))
        elif when in (len(changes), [changes[-1], changes.count(changes[-1])]): os.kill(os.getpid(), what)
    sys.addaudithook(hook)

def run(argv, out, err):
    for fd, path in enumerate((os.devnull, out, err)): os.dup2(os.open(path, os.O_RDWR), fd)
    sys.argv = ['dfm', *argv]
    try: status = main()
    except SystemExit as e: status = e.code
    except BaseException: traceback.print_exc(); status = 1
    sys.stdout.flush(); sys.stderr.flush()
    return status or 0

for line in sys.stdin:
    commands, cwd, at = json.loads(line)
    back, to = os.pipe()
    if pid := os.fork():
        os.close(to)
        print(pid, flush=True)
        with os.fdopen(back) as f: done = f.read()  # until the child ends
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(json.dumps(json.loads(done or '[]') or [status]), flush=True)
        continue
    os.chdir(cwd)
    if at: crash(*at)
    os.write(to, json.dumps([run(*c) for c in commands]).encode())
    os._exit(0)
"""


@contextmanager
def forking(said: Path):
    "A process that has seconds of imports behind it; gives the function that runs a command in a child of it. See `fork`."
    def run(*args, cwd, timeout=120, during=None, crash=None):
        commands = args if args and isinstance(args[0], tuple) else [args]
        files = [(said / f"{k}.out", said / f"{k}.err") for k in range(len(commands))]
        for out, err in files: out.write_text(""), err.write_text("")
        server.stdin.write(json.dumps([[([*map(str, c)], *f) for c, f in zip(commands, files)], cwd, crash], default=str) + "\n")
        server.stdin.flush()
        pid = int(server.stdout.readline())
        late = threading.Timer(timeout * len(commands), os.kill, (pid, signal.SIGKILL))
        late.start()
        try:
            if during: during(pid)
        finally:
            statuses = json.loads(server.stdout.readline())
            late.cancel()
        answers = [subprocess.CompletedProcess(c, s, out.read_text(), err.read_text()) for c, s, (out, err) in zip(commands, statuses, files)]
        return answers if commands is args else answers[0]

    with subprocess.Popen([sys.executable, "-c", FORK], env=environment(CUDA_VISIBLE_DEVICES=""), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        yield run
        server.stdin.close()


@pytest.fixture(scope="session")
def fork(tmp_path_factory):
    """As `dfm`, but imports are paid once: fork('run', 'causal', ..., cwd=folder).

    Given tuples, it runs several commands one after the other in one child, and returns a list; to copy a process takes longer
    than to refuse a setting.
    `during(pid)` is called while the command runs. `crash=(folder, when, signal)`: the command sends itself a signal just before
    it changes something in the folder: for the `when`-th time if that is a number, else the file of that name, or, with (name, n),
    that file for the n-th time. With a path instead of a signal the folder, as a crash would leave it, is copied there each time.
    """
    with forking(tmp_path_factory.mktemp("said")) as run: yield run


@pytest.fixture(scope="session")
def both(fork, tmp_path_factory):
    "Keeps two cores busy: both(function, things) calls function(fork, thing) for every thing, two at a time, and returns the list."
    with forking(tmp_path_factory.mktemp("said")) as other:
        idle = SimpleQueue()
        for f in (fork, other): idle.put(f)

        def call(function, thing):
            f = idle.get()
            try: return function(f, thing)
            finally: idle.put(f)

        def run(function, things):
            with ThreadPoolExecutor(2) as pool: return [*pool.map(call, repeat(function), things)]
        yield run


@pytest.fixture
def forked(fork, tmp_path):
    "`fork` in `tmp_path`."
    return lambda *args, **kw: fork(*args, **{"cwd": tmp_path, **kw})


@pytest.fixture(scope="session")
def example_runs(tmp_path_factory) -> Path:
    "A folder with one tiny run of each recipe: causal, scl, align. DFM_RUNS names one that is there already."
    if os.environ.get("DFM_RUNS"): return Path(os.environ["DFM_RUNS"]).resolve()
    folder = tmp_path_factory.mktemp("examples")
    subprocess.run([sys.executable, ROOT / "scripts" / "example_runs.py", folder], check=True, timeout=600, env=environment(), stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope="session")
def lab_session(tmp_path_factory, example_runs):
    "One JupyterLab and one browser for all tests."
    if not CHROMIUM: pytest.skip("needs Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright
    folder = tmp_path_factory.mktemp("lab")
    (folder / "runs").mkdir()
    for run in example_runs.iterdir():
        if (run / "config.json").exists(): shutil.copytree(run, folder / "runs" / run.name)
    with server(folder) as address, sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield Lab(address, folder, browser.new_context())
        browser.close()


@pytest.fixture
def lab(lab_session):
    "JupyterLab in a browser; see `lab.py`."
    yield lab_session
    lab_session.close()
