"""What holds for the house as a whole: which way imports run, how big things get, what is made from what.

The rooms are the numbered notebooks; CONTRIBUTING.md says what each decade holds.
"""
import ast
import configparser
import json
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from IPython.core.inputtransformer2 import TransformerManager
from packaging.requirements import Requirement
from packaging.version import Version

from notebooks import directives
from readme import IMAGES, INDEX, readme, relinked

ROOT = Path(__file__).resolve().parents[1]
NBS, LIB = ROOT / "nbs", ROOT / "dfm_nb"

READERS, MODELS, LOSSES, AUDITS = range(20, 30), range(30, 40), range(40, 46), range(61, 68)
PANELS = {89, *range(92, 99)}


def beyond(number: int) -> set[int]:
    "The lower rooms that the room `number` may not import all the same."
    if number == 28: return set()  # the door to all data: the one room that knows the readers
    if number in READERS: return {*READERS}  # a reader knows the core, not another reader
    if number in LOSSES or number in AUDITS: return {*MODELS, *LOSSES, *AUDITS}  # arrays in, numbers out
    return set()


def parsed(source: str) -> ast.Module:
    "The syntax tree of a cell; magics and shell lines become calls."
    return compile(TransformerManager().transform_cell(source), "cell", "exec",
                   ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def imports(source: str, within: str = "") -> set[str]:
    "Dotted names below dfm_nb that `source` imports; `within` is the module that it stands in, for relative imports."
    found = set()
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import): found |= {a.name for a in node.names}
        if isinstance(node, ast.ImportFrom):
            package = ["dfm_nb", *within.split(".")][:-node.level] if node.level else []
            base = ".".join([*package, *filter(None, [node.module])])
            found |= {base, *(f"{base}.{a.name}" for a in node.names)}
    return {name.removeprefix("dfm_nb.") for name in found if name.startswith("dfm_nb.")}


@dataclass(frozen=True)
class Room:
    "A notebook: its path, its number and module (None beside the rooms), its code cells and those it exports."
    path: Path
    number: int | None
    module: str | None
    cells: tuple
    exported: tuple


def room(path: Path) -> Room:
    "Read one notebook."
    cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    code = tuple("".join(c["source"]) for c in cells)
    exported = tuple(s for s in code if {"export", "exporti", "exports"} & directives(s).keys())
    module = next((m[1] for s in code if (m := re.search(r"^#\s*\|\s*default_exp\s+([\w.]+)", s, re.M))), None)
    number = re.match(r"\d+", path.name) if path.parent == NBS else None
    return Room(path, int(number[0]) if number else None, module, code, exported)


@cache
def house() -> tuple[Room, ...]:
    "All notebooks."
    kept = lambda p: not any(part.startswith((".", "_")) or part == "runs" for part in p.relative_to(NBS).parts)
    return tuple(room(p) for p in sorted(NBS.rglob("*.ipynb")) if kept(p))


@cache
def numbers() -> dict[str, int]:
    "The number of the notebook that exports each module."
    return {r.module: r.number for r in house() if r.module and r.number is not None}


def name(r: Room) -> str: return r.path.relative_to(NBS).as_posix()
every_notebook = pytest.mark.parametrize("r", house(), ids=name)
every_room = pytest.mark.parametrize("r", [r for r in house() if r.module], ids=name)
every_module = pytest.mark.parametrize("path", sorted(LIB.rglob("*.py")), ids=lambda p: p.relative_to(LIB).as_posix())


def test_imports_are_found():
    source = "from dfm_nb.audit import probes, embed as e\nimport dfm_nb.core as c, numpy.linalg\n!ls\n%time from dfm_nb import cli"
    assert imports(source) >= {"audit.probes", "audit.embed", "core"} and not any("numpy" in n for n in imports(source))
    assert "core" in imports("from ..core import Run", "audit.embed")
    assert "audit.probes" in imports("def f():\n    from .probes import probe", "audit.embed")
    assert "core" in imports("from .core import Run", "plots") and "core" in imports("from . import core", "plots")


def test_modules_and_notebooks_match():
    made = {".".join(p.relative_to(LIB).with_suffix("").parts) for p in LIB.rglob("*.py")} - {"_modidx"}
    made = {m for m in made if m.split(".")[-1] != "__init__"}
    named = [r.module for r in house() if r.module]
    assert made - set(named) == set(), "modules that no notebook exports: remove them, or write their notebook"
    assert set(named) - made == set(), "notebooks whose module is missing: run `make export`"
    assert sorted(named) == sorted(set(named)), "two notebooks export to one module"


@every_notebook
def test_only_rooms_export(r):
    if r.number is None: assert not r.module and not r.exported, "only nbs/NN_name.ipynb exports"
    else: assert r.module, "a numbered notebook names its module: #| default_exp name"


@every_room
def test_imports_run_one_way(r):
    taken = {m: numbers()[m] for cell in r.cells for m in imports(cell, r.module) if m in numbers() and m != r.module}
    assert {m: n for m, n in taken.items() if n >= r.number} == {}, f"{r.number} imports lower numbers only"
    exported = {m for cell in r.exported for m in imports(cell, r.module)}
    assert {m: n for m, n in taken.items() if m in exported and n in beyond(r.number)} == {}, "see `beyond` in this file"


@every_notebook
def test_panels_are_for_dashboards(r):
    panels = {m for m, n in numbers().items() if n in PANELS}
    if r.number in PANELS or r.path.parent.name in ("dashboards", "tutorials"): return
    assert not panels & {m for cell in r.cells for m in imports(cell, r.module or "")}


@every_notebook
def test_notebooks_stay_small(r):
    assert r.path.stat().st_size <= 300_000, "over 300 kB: drop outputs, or draw fewer points"
    code = ["\n".join(line for line in c.splitlines() if line.strip() and not re.match(r"\s*#\s*\|", line)) for c in r.exported]
    assert [c[:60] for c in code if len(c.splitlines()) > 40] == [], "exported cells of more than 40 lines"


@every_module
def test_no_file_of_data_can_run_code(path):
    unsafe = {"pickle.load", "pickle.loads", "pickle.Unpickler", "torch.load", "joblib.load", "pd.read_pickle"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute): assert ast.unparse(node) not in unsafe, f"line {node.lineno}"
        if isinstance(node, ast.ImportFrom): assert not {f"{node.module}.{a.name}" for a in node.names} & unsafe, f"line {node.lineno}"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle": assert ast.unparse(node.value) == "False", f"line {node.value.lineno}"


def test_links_are_seen_from_the_root():
    assert relinked("[a](tutorials/a.ipynb) [b](../LICENSE#x) ![c](c.png)") == "[a](nbs/tutorials/a.ipynb) [b](LICENSE#x) ![c](nbs/c.png)"
    assert relinked("[a](https://x.org/a) [b](#b)") == "[a](https://x.org/a) [b](#b)"


def test_readme_is_made_from_index():
    assert (ROOT / "README.md").exists(), "run `make readme`"
    text, images = readme(INDEX)
    written = (ROOT / "README.md").read_text(encoding="utf-8")
    assert written == text, "README.md is not what nbs/index.ipynb says: run `make readme`"
    assert images == {f"{IMAGES}/{p.name}": p.read_bytes() for p in (ROOT / IMAGES).glob("*")}, "run `make readme`"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "data/README.md"])
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)\s#]+)", (ROOT / page).read_text(encoding="utf-8"))
    missing = [t for t in targets if not re.match(r"[a-z]+:", t) and not (ROOT / page).parent.joinpath(t).exists()]
    assert missing == []


def test_nothing_big_is_tracked():
    git = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if git.returncode: pytest.skip("not a git checkout")
    files = [ROOT / f for f in git.stdout.split("\0") if f and (ROOT / f).is_file()]
    assert {f.relative_to(ROOT).as_posix(): f.stat().st_size for f in files if f.stat().st_size > 1_000_000} == {}


def test_requirements_are_pinned():
    cfg = configparser.ConfigParser()
    cfg.read(ROOT / "settings.ini", encoding="utf-8")
    wanted = [Requirement(r) for k, v in cfg["DEFAULT"].items() if k.endswith("requirements") for r in v.split()]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert {str(r): pins.get(r.name) for r in wanted if r.name not in pins or Version(pins[r.name]) not in r.specifier} == {}


def test_the_command_answers(dfm):
    answer = dfm("--help")
    assert answer.returncode == 0 and "usage" in answer.stdout.lower(), answer.stderr
