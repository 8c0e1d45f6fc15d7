"""Run notebooks in place and keep their outputs: python scripts/notebooks.py [--answers] [NOTEBOOK ...]

Without a name: all of them but nbs/experiments, which go with their kept tables (make experiment). Cells that are marked with a flag
of settings.ini (slow data gpu) run when FLAGS names it, `data` also when DFM_DATA is set; the others keep what they show.
With --answers: what experiments answer, from their kept tables, and nothing else in them.
"""
import base64
import configparser
import io
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
NBS = ROOT / "nbs"
ROOM = 280_000  # bytes of a notebook, beyond which its pictures are made lighter
KERNEL = ["--IPKernelApp.log_level=ERROR"]  # every kernel warns that it listens on a local port
WIDGET = "application/vnd.jupyter.widget-view+json"


def flags_off() -> set[str]:
    "Flags of settings.ini whose cells are skipped now."
    config = configparser.ConfigParser()
    config.read(ROOT / "settings.ini", encoding="utf-8")
    on = set(os.environ.get("FLAGS", "").split()) | ({"data"} if os.environ.get("DFM_DATA") else set())
    return set(config["DEFAULT"]["tst_flags"].split()) - on


def directives(source: str) -> dict[str, str]:
    "The `#|` lines of a cell: `#| eval: false` gives {'eval': 'false'}, `#| export` gives {'export': ''}."
    return {k: v.strip() for k, v in re.findall(r"^\s*#\s*\|\s*(\w+):?(.*)$", source, re.M)}


def skipped(source: str, off: set[str]) -> bool:
    "Whether a code cell is left out, by the rules of nbdev_test."
    marks = directives(source)
    return "nbdev_export(" in source or marks.get("eval", "").lower() == "false" or bool(off & marks.keys())


class Client(NotebookClient):
    "Runs a notebook but for the cells that are skipped, and for those without a tag where only that one is asked for."
    only = ""

    async def async_execute_cell(self, cell, cell_index, *args, **kwargs):
        if cell.cell_type == "code" and (skipped(cell.source, flags_off()) or self.only and self.only not in cell.metadata.get("tags", [])): return cell
        return await super().async_execute_cell(cell, cell_index, *args, **kwargs)


def notebooks() -> list[Path]:
    "The notebooks whose outputs are kept, in order."
    kept = lambda parts: not any(p.startswith((".", "_")) for p in parts) and parts[0] not in ("experiments", "runs")
    return sorted(p for p in NBS.rglob("*.ipynb") if kept(p.relative_to(NBS).parts))


def lighter(nb):
    "The notebook with pictures of 128 colours, which takes half the room and is hardly seen."
    for out in (out for c in nb.cells for out in c.get("outputs", []) if "image/png" in out.get("data", {})):
        picture = Image.open(io.BytesIO(base64.b64decode(out.data["image/png"]))).convert("RGB").quantize(128, dither=Image.Dither.NONE)
        small = io.BytesIO()
        picture.save(small, "PNG", optimize=True)
        out.data["image/png"] = base64.b64encode(small.getvalue()).decode()
    return nb


def run(path: Path, only: str = ""):
    "Run one notebook in its own folder, or, where it writes the numbers of a run, in an empty one; clean it and save it."
    from nbdev.clean import nbdev_clean
    start = time.time()
    nb = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as empty:
        client = Client(nb, timeout=1800, kernel_name="python3", store_widget_state=False, extra_arguments=KERNEL,
                        resources={"metadata": {"path": empty if path.parent.name == "experiments" else str(path.parent)}})
        client.only = only
        client.execute()
    for cell in nb.cells:  # a widget is nothing without its kernel, and has another name in every run
        # nor is what the browser that draws pictures (choreographer) says to itself part of an answer
        if "outputs" in cell: cell.outputs = [o for o in cell.outputs if WIDGET not in o.get("data", {}) and not (o.get("name") == "stderr" and "choreographer" in o.text)]
    nb.metadata.pop("widgets", None)
    nbformat.write(nb, path)
    if path.stat().st_size > ROOM: nbformat.write(lighter(nb), path)
    nbdev_clean(str(path))
    print(f"{path.relative_to(ROOT)}: {time.time() - start:.0f} s, {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    answers = "--answers" in sys.argv
    named = [Path(a).resolve() for a in sys.argv[1:] if a != "--answers"]
    for path in named or (sorted((NBS / "experiments").glob("*.ipynb")) if answers else notebooks()): run(path, "answer" if answers else "")
