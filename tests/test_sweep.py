"""Sweeps as a user runs them: from YAML to the table, through kills, on a scheduler of one's own, and with bad input."""
import json
import subprocess
import sys
import time

import nbformat
import pandas as pd
import pytest
import torch

import dfm_nb.sweep.execute as engine
from conftest import environment
from dfm_nb.sweep.plan import read_sweep
from sweep_kills import kill_and_resume, wrong, write

CELLS = ["a = 1\nfast = True\nrate = .1\nseed = 0", "import json\nif a == 3: raise ValueError('three is too much')\njson.dump(dict(double=2*a), open('metrics.json', 'w'))"]


@pytest.fixture
def folder(tmp_path):
    "A template, and the function that writes a sweep of it."
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS], metadata=dict(kernelspec=dict(name="python3", display_name="python3", language="python")))
    nb.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nb, tmp_path / "t.ipynb")
    return tmp_path


def sweep(folder, text, name="s.yaml"): (folder / name).write_text("template: t.ipynb\n" + text); return name


def test_it_runs_reports_and_goes_on(dfm, folder):
    name = sweep(folder, "grid: {a: [1, 2, 3]}\n")
    answer = dfm("sweep", name, "--out", "out", "--workers", "2", "--quiet")
    assert answer.returncode == 1 and "three is too much" in answer.stderr and "2 of 3 runs are done, 1 failed" in answer.stdout
    t = pd.read_parquet(folder / "out" / "results.parquet").set_index("a")
    assert t.loc[[1, 2], "double"].to_list() == [2, 4] and t.loc[3, "status"] == "failed"
    page = (folder / "out" / "report.html").read_text()
    assert "2 done, 1 failed" in page and "https://" not in page.split("<script>")[0]
    before = {p: p.stat().st_mtime_ns for p in (folder / "out" / "runs").rglob("*") if p.is_file()}
    again = dfm("sweep", name, "--out", "out", "--quiet")
    assert again.returncode == 1 and {p: p.stat().st_mtime_ns for p in (folder / "out" / "runs").rglob("*") if p.is_file()} == before
    assert dfm("sweep", "report", "out").stdout.strip().endswith("report.html")


def test_a_dry_run_does_nothing(dfm, folder):
    answer = dfm("sweep", sweep(folder, "grid: {a: [1, 2]}\nseeds: [0, 1]\n"), "--dry-run", "--out", "out")
    assert answer.returncode == 0 and answer.stdout.startswith("4 runs of t.ipynb") and not (folder / "out").exists()


BAD = {"grid: [": "not YAML", "grid: {b: [1]}": "no parameter 'b'", "grid: {a: []}": "at least one value", "grid: {a: [x]}": "'x'", "grid: {a: [1, 1]}": "the same", "budget: {gpu: 3}": "gpu", "size: smoke": "'size'"}


@pytest.mark.parametrize("text", BAD)
def test_a_file_that_is_wrong(forked, folder, text):
    answer = forked("sweep", sweep(folder, text), "--out", "out", cwd=folder)
    assert answer.returncode == 2 and BAD[text] in answer.stderr and answer.stderr.count("\n") == 1 and not (folder / "out").exists()


def test_other_things_that_are_wrong(forked, folder):
    good = sweep(folder, "grid: {a: [1]}\n")
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("a = 1")]), folder / "bare.ipynb")
    (folder / "bare.yaml").write_text("template: bare.ipynb\n")
    (folder / "file").write_text("mine")
    for words, says in {("sweep", "none.yaml"): "cannot read", ("sweep", "bare.yaml"): "tagged parameters", ("sweep", good, "--out", "file"): "cannot write", ("sweep", good, "--size", "huge"): "'huge'",
                        ("sweep", "report"): "report DIR", ("sweep", "report", "."): "no sweep.json", ("sweep", good, "--workers", "-1"): "--workers is -1",
                        ("sweep", good, "--out", "new", "--scheduler", "tcp://127.0.0.1:9"): "no scheduler answers"}.items():
        answer = forked(*words, cwd=folder)
        assert answer.returncode == 2 and says in answer.stderr and "Traceback" not in answer.stderr, answer.stderr
    assert (folder / "file").read_text() == "mine" and not (folder / "new").exists()


def test_the_table_holds_the_runs_of_now(dfm, folder):
    "And what is drawn without a seed differs between runs of one worker, which are forked from one process."
    nb = nbformat.read(folder / "t.ipynb", as_version=4)
    nb.cells[-1].source = "import json, numpy as np, pandas as pd\njson.dump(dict(drawn=np.random.rand()), open('metrics.json', 'w'))"
    nbformat.write(nb, folder / "t.ipynb")

    def table(text):
        assert dfm("sweep", sweep(folder, text), "--out", "out", "--workers", "1", "--quiet").returncode == 0
        return pd.read_parquet(folder / "out" / "results.parquet")
    first = table("grid: {a: [1, 2]}\n")
    assert sorted(first.a) == [1, 2] and first.drawn.nunique() == 2
    last = table("grid: {a: [2, 4]}\n")
    assert sorted(last.a) == [2, 4] and len(list(folder.glob("out/runs/*"))) == 3  # what was measured stays


def test_kills_lose_nothing(tmp_path):
    killed = kill_and_resume(write(tmp_path, 8), tmp_path / "out", 3, 2, pause=(3., 5.), say=lambda *a, **k: None)
    assert wrong(tmp_path / "out", 8) == "" and 1 <= len(killed) <= 3


def test_a_scheduler_of_ones_own_gives_the_same_table(dfm, folder):
    name, found = sweep(folder, "grid: {a: [1, 2]}\nseeds: [0, 1]\n"), folder / "scheduler.json"
    start = lambda *words: subprocess.Popen([sys.executable, "-m", "distributed.cli.dask_scheduler" if words[0] == "scheduler" else "distributed.cli.dask_worker", *words[1:]],
                                            cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    apart = [start("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", found, "--host", "127.0.0.1")]
    try:
        for _ in range(300):
            if found.exists(): break
            time.sleep(.1)
        address = json.loads(found.read_text())["address"]
        apart += [start("worker", address, "--nworkers", "2", "--nthreads", "1", "--no-dashboard")]
        there = dfm("sweep", name, "--out", "there", "--scheduler", address, "--quiet")
        assert there.returncode == 0, there.stderr
    finally:
        for p in reversed(apart): p.terminate(); p.wait(20)
    assert dfm("sweep", name, "--out", "here", "--workers", "2", "--quiet").returncode == 0
    table = lambda out: pd.read_parquet(folder / out / "results.parquet").drop(columns=["seconds", "memory_gb"])
    pd.testing.assert_frame_equal(table("there"), table("here"))


def test_a_sweep_for_gpus(dfm, folder, monkeypatch):
    "Without a card it is refused before anything is written; with two each worker has its own. (The names of cards are invented: there are none here.)"
    name = sweep(folder, "grid: {a: [1, 2, 4, 5]}\nbudget: {gpu: true}\n")
    if not torch.cuda.is_available():
        answer = dfm("sweep", name, "--out", "out")
        assert answer.returncode == 2 and "asks for a GPU" in answer.stderr and not (folder / "out").exists()
    nb = nbformat.read(folder / "t.ipynb", as_version=4)
    nb.cells[-1].source = "import json, os, time\ntime.sleep(1)\njson.dump(dict(card=int(os.environ['CUDA_VISIBLE_DEVICES'])), open('metrics.json', 'w'))"
    nbformat.write(nb, folder / "t.ipynb")
    monkeypatch.setattr(engine, "_cards", lambda s: ["3", "7"])
    t = engine.run_sweep(read_sweep(folder / name), folder / "out", workers=4, progress=False)
    assert (t.status == "done").all() and {*t.card} == {3, 7}
