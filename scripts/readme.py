"""README.md from nbs/index.ipynb: python scripts/readme.py

Cells marked `#| hide` are left out, as are the `#|` lines themselves; `#| echo: false` keeps only what a cell shows.
Pictures go to README_files/. Links of the notebook are relative to nbs/, those of the README to the root.
"""
import posixpath
import re
import shutil
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

from notebooks import directives

ROOT = Path(__file__).resolve().parents[1]
INDEX, README, IMAGES = ROOT / "nbs" / "index.ipynb", ROOT / "README.md", "README_files"
NOTE = "<!-- Made from nbs/index.ipynb by `make readme`: change it there. -->\n\n"
SHOWN = ["image/png", "image/jpeg", "image/svg+xml", "text/markdown", "text/plain"]  # tables as text, no HTML


def relinked(markdown: str, folder: str = "nbs") -> str:
    "Relative links of a page in `folder`, seen from the root."
    def link(match):
        target = match[2]
        if re.match(r"[a-z]+:|#|/", target): return match[0]
        return f"{match[1]}({posixpath.normpath(posixpath.join(folder, target))}"
    return re.sub(r"(\])\(([^)\s]+)", link, markdown)


def prepared(nb):
    "The notebook with only what a reader of the README is to see."
    cells = []
    for cell in nb.cells:
        marks = directives(cell.source) if cell.cell_type == "code" else {}
        if "hide" in marks or "nbdev_export(" in cell.source or not cell.source.strip(): continue
        if cell.cell_type == "markdown": cell.source = relinked(cell.source)
        if cell.cell_type == "code":
            cell.source = re.sub(r"^\s*#\s*\|.*\n?", "", cell.source, flags=re.M)
            if marks.get("echo") == "false": cell.metadata["transient"] = {"remove_source": True}
            for data in (out.data for out in cell.outputs if "data" in out):
                best = next((kind for kind in SHOWN if kind in data), None)
                for kind in set(data) - {best}: del data[kind]
        cells.append(cell)
    nb.cells = cells
    nb.metadata["language_info"] = {"name": "python"}
    return nb


def readme(index: Path = INDEX) -> tuple[str, dict[str, bytes]]:
    "The text of the README and its pictures by relative path."
    text, resources = MarkdownExporter().from_notebook_node(
        prepared(nbformat.read(index, as_version=4)), {"output_files_dir": IMAGES, "unique_key": "figure"})
    text = re.sub(r"\n{3,}", "\n\n", re.sub(r"^[ \t]+$", "", text, flags=re.M)).strip() + "\n"
    return NOTE + text, resources["outputs"]


def main():
    text, images = readme()
    shutil.rmtree(ROOT / IMAGES, ignore_errors=True)
    for name, data in images.items():
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_bytes(data)
    README.write_text(text, encoding="utf-8")
    print(f"README.md: {len(text.splitlines())} lines, {len(images)} pictures")


if __name__ == "__main__":
    main()
