"""Build the wheel, look into it, install it in an empty folder and import all of it from outside the tree."""
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("settings.ini", "setup.py", "pyproject.toml", "README.md", "LICENSE")

IMPORT_ALL = """
import importlib, pathlib, pkgutil, sys
import dfm_nb, dfm_nb.cli
home = pathlib.Path(sys.argv[1]).resolve()
names = ['dfm_nb', *(m.name for m in pkgutil.walk_packages(dfm_nb.__path__, 'dfm_nb.'))]
for name in names:
    file = pathlib.Path(importlib.import_module(name).__file__).resolve()
    if home not in file.parents: sys.exit(f'{name} was imported from {file}, not from the wheel')
print(f'{len(names)} modules of dfm_nb {dfm_nb.__version__} import from the wheel')
"""


def built(to: Path) -> Path:
    "The wheel, built from a copy of the sources so that nothing left in build/ gets into it."
    sources = to / "sources"
    shutil.copytree(ROOT / "dfm_nb", sources / "dfm_nb", ignore=shutil.ignore_patterns("__pycache__"))
    for name in SOURCES:
        if (ROOT / name).exists(): shutil.copy(ROOT / name, sources)
    build = subprocess.run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", to, sources],
                           capture_output=True, text=True)
    if build.returncode: sys.exit(f"The wheel does not build:\n{build.stdout}{build.stderr}")
    return next(to.glob("*.whl"))


def check_contents(wheel: Path):
    "Every file of dfm_nb and the `dfm` command are in the wheel."
    with ZipFile(wheel) as z:
        inside = set(z.namelist())
        entry = "".join(z.read(n).decode() for n in inside if n.endswith("entry_points.txt"))
    files = {p.relative_to(ROOT).as_posix() for p in (ROOT / "dfm_nb").rglob("*")
             if p.is_file() and "__pycache__" not in p.parts}
    if files - inside: sys.exit(f"The wheel lacks {', '.join(sorted(files - inside))}")
    if "dfm = dfm_nb.cli:main" not in entry: sys.exit("The wheel has no `dfm` command: see console_scripts in settings.ini")
    print(f"{wheel.name}: {len(files)} files of dfm_nb, {wheel.stat().st_size / 1000:.0f} kB")


def main():
    with tempfile.TemporaryDirectory() as folder:
        tmp, target = Path(folder), Path(folder) / "installed"
        wheel = built(tmp)
        check_contents(wheel)
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile",
                        "--disable-pip-version-check", "--target", target, wheel], check=True)
        env = {**os.environ, "PYTHONPATH": str(target)}
        return subprocess.run([sys.executable, "-c", IMPORT_ALL, target], cwd=tmp, env=env).returncode


if __name__ == "__main__":
    sys.exit(main())
