"""Run every sweep at its smallest size, and read its other sizes: all runs must end well, with numbers and a report.

One Dask cluster of two processes serves all sweeps, two of which are worked on at once, so that no core waits for the end of one.
"""
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
from distributed import LocalCluster

from dfm_nb.core import InputError
from dfm_nb.sweep.execute import run_sweep
from dfm_nb.sweep.plan import SIZES, read_sweep
from dfm_nb.sweep.report import metrics_of, write_sweep_report

SWEEPS = sorted((Path(__file__).resolve().parents[1] / "sweeps").glob("*.yaml"))


def runs_of(path: Path, size: str) -> str:
    "How many runs a size has."
    try: return str(len(read_sweep(path, size)))
    except InputError as e:
        if "is not set" in str(e): return "needs data"
        raise


def run(path: Path, folder: Path, scheduler: str) -> str:
    "Run one sweep; the empty string, or what went wrong."
    try:
        s, out = read_sweep(path, "smoke"), folder / path.stem
        sizes = ", ".join(f"{size} {runs_of(path, size)}" for size in SIZES if size != "smoke")
        t = run_sweep(s, out, scheduler=scheduler, progress=False)
        if (t.status != "done").any() or len(t) != len(s): return f"{path.name}: {t[t.status != 'done'][['run', 'status', 'error']].to_dict('records')}"
        if not metrics_of(t, set(next(iter(s.runs.values())))): return f"{path.name}: no metric is a number"
        write_sweep_report(out)
    except Exception as error: return f"{path.name}: {type(error).__name__}: {error}"
    print(f"{path.name}: {len(t)} runs of {', '.join(f'{v:.1f}' for v in t.seconds)} s ({sizes})", flush=True)
    return ""


def main(names) -> int:
    start, sweeps = time.time(), [p for p in SWEEPS if not names or p.stem in names]
    dask.config.set({"distributed.worker.daemon": False})  # its processes start others
    with tempfile.TemporaryDirectory() as d, LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", memory_limit=0) as cluster, ThreadPoolExecutor(2) as pool:
        failures = [f for f in pool.map(lambda p: run(p, Path(d), cluster.scheduler_address), sweeps) if f]
    print(f"{len(sweeps) - len(failures)} of {len(sweeps)} sweeps ran in {time.time() - start:.0f} s")
    for failure in failures: print(f"FAILED {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
