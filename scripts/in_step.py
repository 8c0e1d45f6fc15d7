"""Are the modules what the notebooks export, and the notebooks clean? Looked up in a copy: nothing here is changed."""
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TREES = ("nbs", "dfm_nb")
FIXES = {"nbdev_export": "make export", "nbdev_clean": "make clean-notebooks"}


def files(root: Path) -> list[Path]:
    "Every notebook and module under `root`."
    found = (p for tree in TREES for ext in ("ipynb", "py") for p in (root / tree).rglob(f"*.{ext}"))
    return [p for p in found if not {".ipynb_checkpoints", "runs"} & {*p.relative_to(root).parts}]


def hashes(root: Path) -> dict[str, str]:
    "The digest of every notebook and module under `root`, by relative path."
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files(root)}


def copy(to: Path):
    "Copy what nbdev reads and writes into the folder `to`."
    for file in [ROOT / "settings.ini", *files(ROOT)]:
        target = to / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def out_of_step(command: str) -> list[str]:
    "The files that the nbdev `command` would change, make or remove."
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder)
        copy(there)
        before = hashes(there)
        env = {k: v for k, v in os.environ.items() if k != "IN_TEST"}  # where it is set, nbdev_export does nothing
        subprocess.run([Path(sys.executable).with_name(command)], cwd=there, check=True, env=env)
        after = hashes(there)
    return sorted(f for f in before.keys() | after.keys() if before.get(f) != after.get(f))


def main() -> int:
    changed = {command: out_of_step(command) for command in FIXES}
    for command, names in changed.items():
        if names: print(f"{command} would change:", *names, f"run `{FIXES[command]}`, look at the difference and commit it", sep="\n  ")
    if not any(changed.values()): print("nbdev_export and nbdev_clean leave no difference")
    return 1 if any(changed.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
