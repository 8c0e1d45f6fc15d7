"""Kill a sweep, its workers its kernels and what runs them at random moments, and see whether every result is there, once, and right.

    python scripts/sweep_kills.py FOLDER [--runs 200] [--kills 10] [--workers 2] [--seed 0]

Runs are notebooks that sleep a little and write what follows from their parameters. Ends with exit status 1 if a result is
missing, doubled or wrong.
"""
import argparse
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil

CELLS = ["a = 0\nseed = 0", "import json, time\ntime.sleep(.1)\njson.dump(dict(product=a*1000 + seed), open('metrics.json', 'w'))"]
COMMAND = [sys.executable, "-c", "import sys; sys.argv[0] = 'dfm'; from dfm_nb.cli import main; sys.exit(main())"]


def write(folder: Path, runs: int) -> Path:
    "A template and a sweep of so many runs."
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS], metadata=dict(kernelspec=dict(name="python3", display_name="python3", language="python")))
    nb.cells[0].metadata["tags"] = ["parameters"]
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(nb, folder / "template.ipynb")
    seeds = 10 if runs % 10 == 0 else 1
    (folder / "kills.yaml").write_text(f"template: template.ipynb\ngrid: {{a: {list(range(runs // seeds))}}}\nseeds: {list(range(seeds))}\nbudget: {{run_minutes: 2}}\n")
    return folder / "kills.yaml"


def victims(process) -> dict[str, list]:
    "Processes below a sweep, by what they do: a worker has a server from which runs are forked, a run is papermill's process and the kernel below it."
    def forked(p): return "forkserver" in " ".join(p.cmdline())
    found = {"sweep": [psutil.Process(process.pid)], "worker": [], "kernel": [], "papermill": []}
    for p in psutil.Process(process.pid).children(recursive=True):
        try:
            if "ipykernel_launcher" in " ".join(p.cmdline()) or forked(p) and forked(p.parent()) and forked(p.parent().parent()): found["kernel"].append(p)
            elif forked(p): found["papermill"].append(p)
            elif "spawn_main" in " ".join(p.cmdline()): found["worker"].append(p)
        except (psutil.Error, AttributeError): continue
    return found


def kill_and_resume(sweep: Path, out: Path, kills: int, workers: int, seed: int = 0, pause=(2., 8.), say=print) -> list[str]:
    "Run a sweep to its end while parts of it are killed; what was killed."
    dice, killed = random.Random(seed), []
    kinds = ["sweep", "worker", "kernel", "papermill"]
    while True:
        process = subprocess.Popen([*COMMAND, "sweep", str(sweep), "--out", str(out), "--workers", str(workers), "--quiet", "--retry-failed"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            if len(killed) >= kills: process.wait(); break
            time.sleep(dice.uniform(*pause))
            kind = kinds[len(killed) % len(kinds)]
            try: there = victims(process)[kind]
            except psutil.Error: continue
            if not there: continue
            try: dice.choice(there).send_signal(signal.SIGKILL)
            except psutil.Error: continue
            killed.append(kind)
            say(f"killed {kind} ({len(killed)} of {kills})", flush=True)
        if process.returncode == 0: return killed


def wrong(out: Path, runs: int) -> str:
    "What is not as it should be; empty if all is well."
    import pandas as pd
    t = pd.read_parquet(out / "results.parquet")
    if len(t) != runs or t.run.nunique() != runs: return f"{len(t)} rows, {t.run.nunique()} runs, {runs} wanted"
    if (t.status != "done").any(): return f"not done: {t[t.status != 'done'][['run', 'status', 'error']].to_dict('records')}"
    if (t["product"] != t.a * 1000 + t.seed).any(): return "wrong results"
    left = [p.name for p in (out / "runs").iterdir() if p.name.startswith(".")]
    folders = [p for p in (out / "runs").iterdir() if not p.name.startswith(".")]
    if any(not json.loads((p / "metrics.json").read_text()) for p in folders) or len(folders) != runs: return f"{len(folders)} folders"
    return f"left behind: {left}" if left else ""


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    for name, default in dict(runs=200, kills=10, workers=2, seed=0).items(): p.add_argument(f"--{name}", type=int, default=default)
    a = p.parse_args()
    start = time.time()
    killed = kill_and_resume(write(a.folder, a.runs), a.folder / "out", a.kills, a.workers, a.seed)
    trouble = wrong(a.folder / "out", a.runs)
    print(trouble or f"{a.runs} results, none twice, none wrong, after {len(killed)} kills ({', '.join(f'{killed.count(k)} {k}' for k in sorted(set(killed)))}) in {time.time() - start:.0f} s")
    return 1 if trouble else 0


if __name__ == "__main__": sys.exit(main())
