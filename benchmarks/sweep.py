"""What the engine of sweeps costs, and what a second worker gains: python benchmarks/sweep.py [--runs 4] [--work 20]

Runs of a template that computes for about 20 seconds on one thread (the same arithmetic each time, not a clock). The overhead of
a run is the time of the sweep with one worker, less the time of the cells as the template itself takes it, divided by the number
of runs; beside it, what starting the sweep costs once. The gain is the time with one worker against that with two.
"""
import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import nbformat

from dfm_nb.sweep.execute import run_sweep
from dfm_nb.sweep.plan import read_sweep

CELLS = ["rounds = 10\nk = 0", "import json, time\nbegan = time.time()\nimport numpy as np\na = np.random.default_rng(k).normal(size=(400, 400))\nfor _ in range(rounds): b = a @ a; c = np.sin(b).sum()\n"
         "json.dump(dict(own=time.time() - began), open('metrics.json', 'w'))"]


def timed(folder: Path, rounds: int, runs: int, workers: int) -> tuple:
    "Seconds of a sweep, and of the cells of its runs."
    (folder / "s.yaml").write_text(f"template: t.ipynb\nfixed: {{rounds: {rounds}}}\ngrid: {{k: {list(range(runs))}}}\n")
    out, began = folder / f"out-{rounds}-{runs}-{workers}", time.time()
    t = run_sweep(read_sweep(folder / "s.yaml", "smoke"), out, workers=workers, progress=False)
    took = time.time() - began
    assert (t.status == "done").all()
    return took, t.own.sum()


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--runs", type=int, default=4)
    p.add_argument("--work", type=float, default=20, help="seconds of computing a run")
    a = p.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(f"{os.cpu_count()} cores, load before: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as d:
        folder = Path(d)
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS], metadata=dict(kernelspec=dict(name="python3", display_name="python3", language="python")))
        nb.cells[0].metadata["tags"] = ["parameters"]
        nbformat.write(nb, folder / "t.ipynb")
        _, quick = timed(folder, 100, 1, 1)
        short, own_short = timed(folder, 1, a.runs, 1)
        shorter, _ = timed(folder, 1, 2 * a.runs, 1)
        each = (shorter - short) / a.runs
        rounds = max(1, int(100 * a.work / quick))
        one, own_one = timed(folder, rounds, a.runs, 1)
        two, own_two = timed(folder, rounds, a.runs, 2)
        print(f"overhead of a run: {each:.2f} s beyond its cells; starting and ending a sweep: {short - own_short - a.runs * each:.2f} s once")
        print(f"{a.runs} runs of {own_one / a.runs:.1f} s, one worker: {one:.1f} s, {(one - own_one) / a.runs:.2f} s a run beyond the cells, all included")
        print(f"two workers: {two:.1f} s (cells {own_two / a.runs:.1f} s each); gain {one / two:.2f}")
