#!/bin/sh
# The steps of `make test`, in order; the first that fails ends it. Run by `make test`, which installs first.
#   DFM_DATA  the folder of real recordings: cells marked `data` and the tests that read it run only when it is set
#   FLAGS     further marks of cells to run, out of: slow data gpu
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
# One thread a process: several notebooks run at once. Figures are kept as text: no browser draws them.
export PATH OMP_NUM_THREADS=1 PLOTLY_RENDERER=json

FLAGS=${FLAGS:-}
if [ -n "${DFM_DATA:-}" ]; then
    if [ ! -d "$DFM_DATA" ]; then echo "DFM_DATA=$DFM_DATA is not a folder." >&2; exit 1; fi
    DFM_DATA=$(cd "$DFM_DATA" && pwd)
    FLAGS="$FLAGS data"
    echo "DFM_DATA=$DFM_DATA: what needs real recordings runs too."
else
    echo "DFM_DATA is not set: what needs real recordings is skipped."
fi
export FLAGS DFM_DATA="${DFM_DATA:-}"

count=0
heading() { count=$((count + 1)); printf '\n== %s. %s\n' "$count" "$1"; }
step() {
    heading "$1"; shift
    start=$(date +%s)
    "$@" || { echo "== step $count failed" >&2; exit 1; }
    echo "-- $(($(date +%s) - start)) s"
}

# One tiny run of each recipe, for tutorials, dashboards and browser tests.
DFM_RUNS=$(mktemp -d)
export DFM_RUNS
trap 'rm -rf "$DFM_RUNS"' EXIT

step "Notebooks and modules are in step" python scripts/in_step.py
step "The notebooks of the package run" \
    nbdev_test --n_workers 2 --flags "$FLAGS" --skip_folder_re '^([_.]|(tutorials|dashboards|experiments)$)'
step "Example runs are trained" python scripts/example_runs.py "$DFM_RUNS"
step "Tutorials and dashboards run at their smallest size, and what experiments answer" python tests/run_tutorials.py
step "Sweeps run at their smallest size" python tests/run_sweeps.py
step "The wheel holds everything and works outside the tree" python scripts/wheel.py
heading "Tests"
python -m pytest tests -q -n 2 --dist loadfile --durations 15
