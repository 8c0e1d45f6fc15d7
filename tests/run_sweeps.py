"""Run every sweep at its smallest size, two runs at a time, and read its other sizes: all runs must end well, with numbers and a report."""
import sys
import tempfile
import time
from pathlib import Path

from dfm_nb.sweep.execute import run_sweep
from dfm_nb.sweep.plan import SIZES, read_sweep
from dfm_nb.sweep.report import metrics_of, write_sweep_report

SWEEPS = sorted((Path(__file__).resolve().parents[1] / "sweeps").glob("*.yaml"))


def run(path: Path, folder: Path) -> str:
    "Run one sweep; the empty string, or what went wrong."
    start = time.time()
    try:
        plans = {size: read_sweep(path, size) for size in SIZES}
        s, out = plans["smoke"], folder / path.stem
        t = run_sweep(s, out, workers=2, progress=False)
        if (t.status != "done").any() or len(t) != len(s): return f"{path.name}: {t[t.status != 'done'][['run', 'status', 'error']].to_dict('records')}"
        if not metrics_of(t, set(next(iter(s.runs.values())))): return f"{path.name}: no metric is a number"
        write_sweep_report(out)
    except Exception as error: return f"{path.name}: {type(error).__name__}: {error}"
    print(f"{path.name}: {len(t)} runs (laptop {len(plans['laptop'])}, full {len(plans['full'])}): {time.time() - start:.1f} s", flush=True)
    return ""


def main() -> int:
    with tempfile.TemporaryDirectory() as d: failures = [f for p in SWEEPS if (f := run(p, Path(d)))]
    print(f"{len(SWEEPS) - len(failures)} of {len(SWEEPS)} sweeps ran")
    for failure in failures: print(f"FAILED {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
