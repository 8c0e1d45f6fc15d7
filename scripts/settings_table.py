"""The tables of the README: both settings on both kinds of survey, several seeds. Run by `make table`.

usage: python scripts/settings_table.py [--out runs/table] [--seeds 0 1 2] [--size quick] [--set KEY=VALUE ...]

Each run is an ordinary run folder; finished ones are not run again and stopped ones are resumed. The seed is that of
the survey and of the training. Trained baselines are those of `clean` on sequential sectors with the first seed; features
are there for all its seeds. Prints Markdown: mean and standard deviation over seeds, and for the first setting a line per parameter.
"""
import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from dfm_nb.audit.schema import markdown, read_audit
from dfm_nb.core import change
from dfm_nb.data.sources import open_data
from dfm_nb.recipes.causal import SETTINGS, resume, train

SINGLE = ["autoencoder", "simclr", "pca_power"]
ALL = "pca,features,autoencoder,autoencoder_views,simclr,oracle"


def number(rows, question, block, target, labels=None, column="score"):
    "One number of an audit, NaN where it was not asked."
    r = rows[(rows.question == question) & (rows.block == block) & (rows.target == target)]
    if labels: r = r[r.labels == labels]
    return r[column].iloc[0] if len(r) else np.nan


def worst(rows, question, column="score"):
    "The largest value over numeric parameters."
    r = rows[(rows.question == question) & (rows.metric == "R2")]
    return r[column].max() if len(r) else np.nan


def excess(rows):
    "How far the largest leak is above its own null, over all parameters."
    r = rows[rows.question == "leak"]
    return (r.score - r.null.clip(lower=0)).max() if len(r) else np.nan


QUESTIONS = {  # line of the table: how to find its number in an audit
    "log period from `z_star`, 100 labels (R2)": lambda r: number(r, "few-shot", "z_star", "log_period", 100),
    "log amplitude": lambda r: number(r, "few-shot", "z_star", "log_amplitude", 100),
    "kind of star (balanced accuracy, chance 0.14)": lambda r: number(r, "few-shot", "z_star", "kind", 100),
    "log period through sectors never seen": lambda r: number(r, "few-shot, unseen instrument", "z_star", "log_period"),
    "log period, mean of a star's sectors": lambda r: number(r, "few-shot, pooled", "z_star", "log_period"),
    "the oracle's log period (all labels)": lambda r: number(r, "oracle", "oracle", "log_period"),
    "largest leak of a star parameter from `z_instr` (R2)": lambda r: worst(r, "leak"),
    "largest leak above its null, classes too": excess,
    "sector from `z_star` (balanced accuracy, chance 0.125)": lambda r: number(r, "factor", "z_star", "instrument"),
    "sector from `z_instr`": lambda r: number(r, "factor", "z_instr", "instrument"),
    "star found again in another sector, among 1,000": lambda r: r[(r.question == "retrieval") & (r.block == "z_star")].score.max(),
    "planted rarities in the top 1 %": lambda r: r[(r.question == "anomaly") & (r.block == "z_star")].score.max()}


def finished(mode, setting, seed, a):
    "The audit of a run, made if it is not there."
    out, source = a.out/f"{mode}-{setting}-{seed}", f"sim:{a.size},mode={mode},seed={seed}"
    if out.exists(): run = resume(out)
    else:
        c = change(replace(SETTINGS[setting], seed=seed, baselines=("pca,features" if seed != a.seeds[0] else ALL) if (mode, setting) == ("sequential", "clean") else "pca"), a.set)
        run = train(c, open_data(source), out, dict(source=source, factors=("star", "instrument"), options=[]))
    if not run.finished: raise SystemExit(130)
    return read_audit(run/"audit.json")[1]


def over_seeds(values, digits=2):
    v = np.array([x for x in values if np.isfinite(x)])
    return "" if not len(v) else f"{v.mean():.{digits}f} ± {v.std(ddof=1):.{digits}f}" if len(v) > 1 else f"{v[0]:.{digits}f}"


def efficiency(audits, target, blocks):
    "Label efficiency over the best of some baselines in each run: the smallest ratio, and whether it is only a bound."
    least = []
    for r in audits:
        part = r[(r.question == "label efficiency") & (r.target == target) & r.block.isin(blocks)]
        if len(part): k = part.score.idxmin(); least.append((part.score[k], part.detail[k][0] if part.detail[k][0] in "<>" else ""))
    if not least: return ""
    bound = ">" if all(b == ">" for _, b in least) else "<" if all(b == "<" for _, b in least) else "≥" if any(b == ">" for _, b in least) else ""
    return f"{bound}{np.median([v for v, _ in least]):.3g}"


def by_parameter(audits):
    "A line for each parameter that is asked."
    lines = []
    for p in audits[0][audits[0].question == "oracle"].target:
        of = lambda block, n, q="few-shot": over_seeds([number(r, q, block, p, n) for r in audits])
        lines.append({"parameter": p.replace("_", " "), "`z_star` 100": of("z_star", 100), "features + forest 100": of("features", 100, "few-shot, forest"), "1,000 or all": of("features", max((r[(r.question == "few-shot, forest") & (r.target == p)].labels.max() for r in audits), default=0), "few-shot, forest"), "features, best probe 100": of("features", 100),
                      "autoencoder 100": of("autoencoder", 100), "of views 100": of("autoencoder_views", 100), "SimCLR 100": of("simclr", 100), "PCA of power 100": of("pca_power", 100),
                      "oracle": of("oracle", None, "oracle"), "times the labels: single latents": efficiency(audits, p, SINGLE), "of views": efficiency(audits, p, ["autoencoder_views"]), "leak from `z_instr` - null": over_seeds([number(r, "leak", "z_instr", p) - max(0, number(r, "leak", "z_instr", p, column="null")) for r in audits])})
    return pd.DataFrame(lines)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, default=Path("runs/table"))
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    p.add_argument("--size", default="quick")
    p.add_argument("--set", nargs="+", default=[], help="settings for all runs")
    p.add_argument("--modes", nargs="+", default=["sequential", "synchronous"])
    a = p.parse_args()
    audits = {(m, s): [finished(m, s, seed, a) for seed in a.seeds] for m in a.modes for s in SETTINGS}
    columns = {f"{m}, {s}": [over_seeds([f(r) for r in rows]) for f in QUESTIONS.values()] for (m, s), rows in audits.items()}
    print(markdown(pd.DataFrame({"question": list(QUESTIONS), **columns})), "\n")
    print(markdown(by_parameter(audits["sequential", "clean"])))
