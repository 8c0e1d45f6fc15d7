"""Run every tutorial and dashboard with papermill at its smallest size, and what experiments answer.

A notebook with a cell tagged `parameters` gets the size of its folder as `size`, and as `runs` a folder with one tiny
run of each recipe; it must have one of the two. One without parameters runs as it is. Each runs in an empty folder of its own, two at a time, in a kernel that
has the imports of most of them behind it (`dfm_nb.sweep.kernel`). Cells are skipped by the rules of nbdev_test: those marked `slow`, `data` or `gpu` unless FLAGS
or DFM_DATA ask for them, and those with `#| eval: false`.

Of experiments only the cells tagged `answer` run here, which read kept tables; the others run in sweeps (run_sweeps.py). What they say must be what is stored.
"""
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nbformat
import papermill

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
from notebooks import KERNEL, flags_off, skipped  # noqa: E402
from dfm_nb.sweep.kernel import wait_for_kernel  # noqa: E402
from dfm_nb.sweep.plan import ANSWER  # noqa: E402

SIZES = {"tutorials": "tiny", "dashboards": "tiny", "experiments": ""}
TIMEOUT = 300  # seconds a cell
IMPORTED = ["papermill", "scipy.signal", "ipykernel.kernelapp", "torch._dynamo", "dfm_nb.recipes.causal", "dfm_nb.recipes.scl", "dfm_nb.recipes.align", "dfm_nb.recipes.process", "dfm_nb.widgets.base", "dfm_nb.sweep.report"]


def without_skipped(path: Path):
    "The notebook less the cells that are not to run."
    nb, off = nbformat.read(path, as_version=4), flags_off()
    only = path.parent.name == "experiments"
    nb.cells = [c for c in nb.cells if c.cell_type != "code" or not skipped(c.source, off) and (not only or ANSWER in c.metadata.get("tags", []))]
    return nb


def parameters(path: Path, **given) -> dict:
    "What papermill is to set; papermill itself only warns of a name that the notebook does not have."
    tagged = any("parameters" in c.metadata.get("tags", []) for c in nbformat.read(path, as_version=4).cells)
    if not tagged: return {}
    known = papermill.inspect_notebook(str(path))
    chosen = {k: v for k, v in given.items() if k in known}
    if not chosen: raise ValueError(f"its parameters are {', '.join(known) or 'none'}; it needs one called {' or '.join(given)}")
    return chosen


def answers(path: Path) -> list[str]:
    "What the answers of an experiment print."
    return ["".join(o.text for o in c.get("outputs", []) if o.output_type == "stream") for c in nbformat.read(path, as_version=4).cells if ANSWER in c.metadata.get("tags", [])]


def run(path: Path, size: str, runs: str) -> str:
    "Run one notebook; the empty string, or what went wrong."
    wait_for_kernel()
    name, start = path.relative_to(ROOT / "nbs"), time.time()
    try:
        given = parameters(path, size=size, runs=runs) if size else {}
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "source.ipynb"
            nbformat.write(without_skipped(path), source)
            work = Path(folder) / "work"
            work.mkdir()
            papermill.execute_notebook(str(source), str(Path(folder) / "ran.ipynb"), parameters=given,
                                       cwd=str(work), extra_arguments=KERNEL, kernel_name="python3", progress_bar=False, execution_timeout=TIMEOUT)
            if path.parent.name == "experiments" and answers(path) != answers(Path(folder) / "ran.ipynb"):
                return f"{name}: its stored answer is not what its code says of its table now; store it anew with: make answers NB={path.relative_to(ROOT)}"
    except Exception as error:
        return f"{name}: {error}"
    print(f"{name} ({', '.join(given) or 'no parameters'}): {time.time() - start:.1f} s", flush=True)
    return ""


def main() -> int:
    jobs = [(path, size) for folder, size in SIZES.items() for path in sorted((ROOT / "nbs" / folder).rglob("*.ipynb"))
            if not path.name.startswith(("_", ".")) and ".ipynb_checkpoints" not in path.parts]
    with tempfile.TemporaryDirectory() as runs:
        runs = os.environ.get("DFM_RUNS") or runs
        subprocess.run([sys.executable, ROOT / "scripts" / "example_runs.py", runs], check=True, stdout=subprocess.DEVNULL)
        there = multiprocessing.get_context("forkserver")
        there.set_forkserver_preload(IMPORTED)
        with ProcessPoolExecutor(2, there, max_tasks_per_child=1) as pool: failures = [f for f in pool.map(run, *zip(*jobs), [runs] * len(jobs)) if f]
    print(f"{len(jobs) - len(failures)} of {len(jobs)} notebooks ran")
    for failure in failures: print(f"FAILED {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
