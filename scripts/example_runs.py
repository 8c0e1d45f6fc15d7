"""Train one tiny run of each recipe, in seconds: python scripts/example_runs.py FOLDER

FOLDER/causal, FOLDER/scl and FOLDER/align are what tests and dashboards look at where nobody has trained anything. They
are whole runs with audit and report, of models that have learned almost nothing.
"""
import io
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path

from dfm_nb.cli import main

RUNS = {
    "causal": ["--data", "sim:tiny", "--set", "steps=30", "baselines=features,oracle"],
    "scl": ["--task", "ecg", "--data", "sim:ecg,n_patients=12", "--set", "steps=20", "baselines="],
    "align": ["--data", "sim:tiny", "--set", "steps=20", "steps_spectra=20"],
}


def train(recipe: str, out: Path) -> int:
    "The run of one recipe, unless it is there; the status of its command."
    if (out / "summary.md").exists(): return 0
    with redirect_stdout(io.StringIO()): return main(["resume", str(out), "--quiet"] if (out / "config.json").exists() else ["run", recipe, *RUNS[recipe], "--out", str(out), "--quiet"])


def make(folder: Path) -> list[Path]:
    "The runs that are not there yet, two at a time; their paths."
    folders = [folder / recipe for recipe in RUNS]
    if all((f / "summary.md").exists() for f in folders): return folders
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool: status = max(pool.map(train, RUNS, folders))
    if status: sys.exit(status)
    return folders


if __name__ == "__main__":
    if len(sys.argv) != 2: sys.exit(__doc__)
    print(*make(Path(sys.argv[1])), sep="\n")
