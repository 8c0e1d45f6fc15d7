"""Train one tiny run of each recipe, in seconds: python scripts/example_runs.py FOLDER

FOLDER/causal, FOLDER/scl and FOLDER/align are what tests and dashboards look at where nobody has trained anything. They
are whole runs with audit and report, of models that have learned almost nothing.
"""
import io
import sys
from contextlib import redirect_stdout
from pathlib import Path

from dfm_nb.cli import main

RUNS = {
    "causal": ["--data", "sim:tiny", "--set", "steps=30", "baselines=features,oracle"],
    "scl": ["--task", "ecg", "--data", "sim:ecg,n_patients=12", "--set", "steps=20", "baselines="],
    "align": ["--data", "sim:tiny", "--set", "steps=20", "steps_spectra=20"],
}


def make(folder: Path) -> list[Path]:
    "The runs that are not there yet; their paths."
    for recipe, more in RUNS.items():
        out = folder / recipe
        if (out / "summary.md").exists(): continue
        with redirect_stdout(io.StringIO()): status = main(["resume", str(out), "--quiet"] if (out / "config.json").exists() else ["run", recipe, *more, "--out", str(out), "--quiet"])
        if status: sys.exit(status)
    return [folder / recipe for recipe in RUNS]


if __name__ == "__main__":
    if len(sys.argv) != 2: sys.exit(__doc__)
    print(*make(Path(sys.argv[1])), sep="\n")
