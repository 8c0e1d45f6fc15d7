"""The documentation site, from the notebooks and the package: python scripts/docs.py [FOLDER]

FOLDER (default _docs) gets a site of plain files that needs no network: the README, the architecture, dashboards,
tutorials and experiments with their stored pictures, every notebook of the package as an article, and a reference of everything public.
"""
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import yaml
from latex2mathml.converter import convert
from nbconvert import MarkdownExporter
from nbdev.showdoc import show_doc

from notebooks import directives, notebooks
from readme import readme, relinked

ROOT = Path(__file__).resolve().parents[1]
NBS = ROOT / "nbs"
SHOWN = ["text/html", "image/svg+xml", "image/png", "image/jpeg", "text/markdown", "text/plain"]
DECADES = {0: "Observations, figures, moves", 1: "Simulators", 2: "Readers", 3: "Models", 4: "Losses", 5: "Training and baselines", 6: "The audit", 7: "Views and the report",
           8: "Recipes", 9: "Commands and widgets"}


def math(text: str) -> str:
    "Formulas as MathML, which browsers draw by themselves; what stands in code is left alone."
    def inline(m): return m[0] if m[1].startswith("`") or m[2] is None else _mathml(m[2], "inline")
    parts = re.split(r"(```.*?```)", text, flags=re.S)
    for k in range(0, len(parts), 2):
        parts[k] = re.sub(r"\$\$(.+?)\$\$", lambda m: _mathml(m[1], "block"), parts[k], flags=re.S)
        parts[k] = re.sub(r"(`[^`\n]*`|\$([^$\s](?:[^$\n]*[^$\s])?)\$)", inline, parts[k])
    return "".join(parts)


def _mathml(latex: str, display: str) -> str:
    made = convert(" ".join(latex.split()), display=display)
    return f"\n\n<div class=\"formula\">{made}</div>\n\n" if display == "block" else made


def prepared(nb):
    "What a reader is to see of a notebook: no hidden cells, no lines for nbdev, one form of each output."
    cells = []
    for cell in nb.cells:
        marks = directives(cell.source) if cell.cell_type == "code" else {}
        if {"hide", "default_exp"} & marks.keys() or "nbdev_export(" in cell.source or not cell.source.strip(): continue
        if cell.cell_type == "markdown": cell.source = math(cell.source)
        else:
            cell.source = re.sub(r"^\s*#\s*\|.*\n?", "", cell.source, flags=re.M)
            cell.metadata["transient"] = {"remove_source": marks.get("echo") == "false"}
            for data in (out.data for out in cell.outputs if "data" in out):
                best = next((kind for kind in SHOWN if kind in data), None)
                for kind in set(data) - {best}: del data[kind]
            cell.outputs = [out for out in cell.outputs if out.get("data", True)]
        cells.append(cell)
    nb.cells, nb.metadata["language_info"] = cells, {"name": "python"}
    return nb


def pages() -> dict[str, str]:
    "The page of each notebook: its path below nbs/ -> its path in the site."
    place = lambda p: f"rooms/{p.stem}.md" if p.parent == NBS else p.relative_to(NBS).with_suffix(".md").as_posix()
    found = {p.relative_to(NBS).as_posix(): place(p) for p in [*notebooks(), *sorted((NBS / "experiments").glob("*.ipynb"))] if p.name != "index.ipynb"}
    return found | {"architecture.ipynb": "architecture.md"}


def linked(text: str, at: str, known: dict[str, str], folder: str = "") -> str:
    "Links between notebooks, as links between pages; other relative links lead to the project's files by name only."
    def link(m):
        target, _, mark = m[2].partition("#")
        if not target or re.match(r"[a-z]+:|/|data:", target): return m[0]
        path = os.path.normpath(os.path.join(folder, target))
        if path in known: return f"{m[1]}({os.path.relpath(known[path], os.path.dirname(at) or '.')}{'#' + mark if mark else ''}"
        return m[0]
    return re.sub(r"(\])\(([^)\s]+)", link, text)


def article(path: Path, out: Path, at: str, known: dict[str, str]) -> str:
    "Write one notebook as a page with its pictures; its title."
    name = Path(at).stem
    text, more = MarkdownExporter().from_notebook_node(prepared(nbformat.read(path, as_version=4)), {"output_files_dir": f"{name}_files", "unique_key": name})
    page = out / at
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(linked(text, at, known, os.path.dirname(path.relative_to(NBS).as_posix())), encoding="utf-8")
    for file, content in more["outputs"].items():
        (page.parent / file).parent.mkdir(exist_ok=True)
        (page.parent / file).write_bytes(content)
    title = re.search(r"^# (.+)$", text, re.M)
    return title[1].replace("`", "") if title else name


def own_methods(cls) -> list:
    "Public methods that a class of ours defines or was given."
    made = [v for k, v in vars(cls).items() if not k.startswith("_") and inspect.isfunction(v) and v.__doc__]
    return [v for v in made if (v.__module__ or "").startswith("dfm_nb")]


def reference(module: str) -> str:
    "Everything public of a module, as nbdev shows it."
    m = importlib.import_module(f"dfm_nb.{module}")
    lines = [f"# dfm_nb.{module}", "", (m.__doc__ or "").strip(), ""]
    for name in m.__all__:
        thing = getattr(m, name)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            lines += [shown(thing, 2)]
            if inspect.isclass(thing): lines += [shown(v, 3, f"{name}.{v.__name__}") for v in own_methods(thing)]
        else: lines += [f"## {name}", "", f"```python\n{name} = {clipped(thing)}\n```", ""]
    return "\n".join(lines)


def clipped(value, at_most=300) -> str:
    text = repr(value)
    return text if len(text) <= at_most else text[:at_most] + " ..."


def shown(thing, level: int, name: str = "") -> str:
    "A function or class with its signature, the comments on its parameters, and its docstring."
    title = f"{'#' * level} {name or thing.__name__}"
    try: text = show_doc(thing, title_level=level)._repr_markdown_().removeprefix("---").strip()
    except ValueError:  # a default that is an array
        head = re.split(r'\n\s*"', inspect.getsource(thing), maxsplit=1)[0]
        text = f"{title}\n\n```python\n{head}\n```\n\n*{inspect.getdoc(thing)}*"
    return re.sub(r"^#+ .*$", title, text, count=1, flags=re.M) + "\n"


def site(out: Path) -> dict:
    "Write all pages; the settings of mkdocs."
    known = pages()
    text, images = readme()
    (out / "index.md").write_text(linked(re.sub(r"<!--.*?-->\s*", "", text, flags=re.S), "index.md", {f"nbs/{k}": v for k, v in known.items()}).replace("](nbs/images/", "](images/"), encoding="utf-8")
    for file, content in images.items(): (out / file).parent.mkdir(exist_ok=True), (out / file).write_bytes(content)
    if (NBS / "images").is_dir(): shutil.copytree(NBS / "images", out / "images", dirs_exist_ok=True)
    for name in ("CONTRIBUTING.md", "CITATION.cff"):
        if (ROOT / name).is_file() and name.endswith(".md"): (out / name.lower()).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    titles = {at: article(NBS / path, out, at, known) for path, at in known.items()}
    of = lambda folder: [{titles[at]: at} for at in known.values() if at.startswith(folder)]
    rooms, api = {}, []
    for path, at in known.items():
        number = re.match(r"(\d+)_", path)
        if number: rooms.setdefault(DECADES[int(number[1]) // 10], []).append({f"{number[1]} {titles[at]}": at})
    (out / "reference").mkdir(exist_ok=True)
    for module in modules():
        (out / "reference" / f"{module}.md").write_text(reference(module), encoding="utf-8")
        api.append({module: f"reference/{module}.md"})
    (out / "site.css").write_text(CSS, encoding="utf-8")
    nav = [{"Start": "index.md"}, {"Dashboards": of("dashboards/")}, {"Tutorials": of("tutorials/")}, {"Experiments": of("experiments/")}, {"Architecture": "architecture.md"},
           {"The rooms": [{k: v} for k, v in rooms.items()]}, {"Reference": api}, {"Contributing": "contributing.md"}]
    return dict(site_name="dfm_nb", docs_dir=str(out), use_directory_urls=False, nav=[n for n in nav if list(n.values())[0]], extra_css=["site.css"],
                theme=dict(name="material", font=False, palette=dict(primary="blue"), features=["navigation.tabs", "navigation.top", "navigation.prune", "content.code.copy"]),
                markdown_extensions=["tables", "attr_list", "md_in_html", {"pymdownx.highlight": {}}, {"pymdownx.superfences": {}}, {"toc": {"permalink": True}}],
                plugins=["search"], validation=dict(links=dict(not_found="warn", unrecognized_links="info"), nav=dict(omitted_files="ignore")))


def modules() -> list[str]:
    "Modules of the package that have something public, in the order of their notebooks."
    found = []
    for p in sorted(NBS.glob("[0-9]*.ipynb")):
        cells = nbformat.read(p, as_version=4).cells
        name = next((m[1] for c in cells if (m := re.search(r"default_exp\s+([\w.]+)", c.source))), None)
        if name and getattr(importlib.import_module(f"dfm_nb.{name}"), "__all__", None): found.append(name)
    return found


CSS = """.formula { overflow-x: auto; margin: .6em 0; }
.md-typeset table:not([class]) { font-size: .62rem; }
.md-typeset .dataframe { font-size: .62rem; }
.md-grid { max-width: 66rem; }
"""


def main() -> int:
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "_docs").resolve()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "pages"
        out.mkdir()
        config = site(out) | dict(site_dir=str(target))
        (Path(folder) / "mkdocs.yml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "-f", str(Path(folder) / "mkdocs.yml")], env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    if done.returncode: return done.returncode
    print(f"{sum(1 for _ in target.rglob('*.html'))} pages in {target}; open {target / 'index.html'}")
    return 0


if __name__ == "__main__": sys.exit(main())
