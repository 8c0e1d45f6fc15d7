"""The tables of the structured recipe, on real recordings, over several seeds. Run by `make table-scl`.

usage: python scripts/scl_table.py [ecg imu orientation device modalities allocation compound] [--data FOLDER] [--out runs/scl] [--seeds 0 1 2] [--set KEY=VALUE ...]

FOLDER holds ecg/ and imu/ (default: $DFM_DATA); without it the simulators are used. Each run is an ordinary run folder:
finished ones are not run again, stopped ones are resumed. Prints Markdown: mean and standard deviation over seeds.
"""
import argparse
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from dfm_nb.audit.schema import markdown, read_audit
from dfm_nb.core import Embeddings, change
from dfm_nb.data.sources import open_data
from dfm_nb.recipes.allocation import found_sizes
from dfm_nb.recipes.scl import resume, train
from dfm_nb.recipes.scl_model import setting
from dfm_nb.views.survival import overview

ORIENTATIONS = "back", "back_inv", "front", "front_inv"
SWEEP = 0, 32, 64, 96, 128
FEW = "task,augment,ratio,blind"


def experiments(name):
    "Task, reading options and settings of each run of an experiment, by name."
    one = lambda task, read=(), **kw: (task, read, kw)
    return {
        "ecg": {"ecg": one("ecg", tested=2000, baselines="task,augment,ratio,simclr,rocket")},
        "imu": {"imu": one("imu", baselines="task,augment,ratio,simclr,blind,rocket")},
        "orientation": {o: one("imu", ("device=phone",), split="orientation", held_names=o, baselines=FEW) for o in ORIENTATIONS},
        "device": {"phone to watch": one("imu", split="device", held_names="watch", baselines=FEW), "watch to phone": one("imu", split="device", held_names="phone", baselines=FEW)},
        "modalities": {"one encoder": one("imu", baselines=""), "an encoder each, one inv": one("imu", baselines="", devices="each")},
        "allocation": {**{f"d_inv={d}": one("ecg", baselines="", d_inv=d, d_var=min(32, 128 - d), d_free=128 - d - min(32, 128 - d), head="inv+free" if d < 128 else "inv", **(dict(loss="none") if not d else {})) for d in SWEEP},
                       "found": one("ecg", baselines="", allocation="auto", head="inv+free")},
        "compound": {f"{task}, {blocks}": one(task, baselines="", blocks=blocks, d_var=16 if blocks == "each" else 32, **kw) for blocks in ("one", "each")
                     for task, kw in dict(ecg=dict(gain=.5), imu=dict(stretch=.15)).items()},
    }[name]


def finished(folder, task, read, settings, seed, a):
    "A run of a seed, made if it is not there."
    if (folder / "config.json").exists(): return resume(folder)
    source = str(Path(a.data) / task) if a.data else f"sim:{task}" + (f",seed={seed}" if seed else "")
    obs = open_data(source, None, read if a.data else ())
    c = change(replace(setting("clean", task), seed=seed, **settings), a.set)
    return train(c, obs, folder, dict(source=source, factors=obs.factors, options=read if a.data else ()))


def numbers(run):
    "The lines of the overview as numbers: question x block."
    about, rows, _ = read_audit(run / "audit.json")
    t = overview(about, rows).set_index("")
    t = t.replace("", np.nan).astype(float)
    return pd.concat([t, more]) if (more := across(run)) is not None else t


def across(run):
    "What two devices that recorded the same moment have in common: each watch window asks the phone windows."
    e = Embeddings.load(run / "embeddings.parquet")
    if "moment" not in e.meta: return None
    e = e[(e.meta.condition == "as it is").to_numpy()]
    watch, phone = (e[(e.meta.device == d).to_numpy()] for d in ("watch", "phone"))
    if not len(watch) or not len(phone): return None
    s = watch.blocks["inv"] @ phone.blocks["inv"].T
    same = watch.meta.moment.to_numpy()[:, None] == phone.meta.moment.to_numpy()[None]
    near = s.argmax(1)
    rank = (s > (np.where(same, s, -9).max(1, keepdims=True))).sum(1)
    kept = watch.meta.activity.to_numpy() == phone.meta.activity.to_numpy()[near]
    lines = {"watch and phone of a moment: similarity": s[same].mean(), "of other moments: similarity": s[~same].mean(),
             "watch asks phone: the moment is among the nearest 10": (rank < 10).mean(), "the nearest has the same activity": kept.mean()}
    return pd.DataFrame({"inv": lines})


def over_seeds(tables, least=2):
    "Mean and standard deviation of equal tables."
    stack = pd.concat(tables, keys=range(len(tables)))
    mean, sd = (getattr(stack.groupby(level=1, sort=False), k)() for k in ("mean", "std"))
    say = lambda m, s: "" if np.isnan(m) else f"{m:.3f}" + (f" ± {s:.3f}" if len(tables) >= least else "")
    return pd.DataFrame({c: [say(m, s) for m, s in zip(mean[c], sd[c])] for c in mean}, index=mean.index).reset_index(names="")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("what", nargs="*", default=["ecg", "imu"])
    p.add_argument("--data", default=os.environ.get("DFM_DATA", ""))
    p.add_argument("--out", default="runs/scl")
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    p.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    a = p.parse_args()
    for what in a.what:
        for name, (task, read, settings) in experiments(what).items():
            runs = [finished(Path(a.out) / what / f"{name.replace(' ', '_').replace(',', '')}-{s}", task, read, settings, s, a) for s in a.seeds]
            print(f"\n## {what}: {name}, seeds {', '.join(map(str, a.seeds))}\n")
            if settings.get("allocation") == "auto": print("d_inv and d_var found:", ", ".join(str(found_sizes(r)) for r in runs), "\n")
            print(markdown(over_seeds([numbers(r) for r in runs])), flush=True)


if __name__ == "__main__":
    main()
