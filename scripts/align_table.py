"""The table of the recipe `align` on a simulated catalogue, over several seeds. Run by `make table-align`.

usage: python scripts/align_table.py [--data sim:full] [--out runs/align] [--seeds 0 1 2] [--set KEY=VALUE ...]

The catalogue stays the same; a seed changes the split, the weights and the batches. Each run is an ordinary run folder
with the published setting beside ours: finished ones are not run again, stopped ones are resumed. Prints Markdown:
mean and standard deviation over seeds.
"""
import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from dfm_nb.audit.schema import markdown, read_audit
from dfm_nb.core import Run, change
from dfm_nb.data.sources import open_pairs
from dfm_nb.recipes.align import resume, train
from dfm_nb.recipes.align_model import SETTINGS

FOUND = ("text to spectrum", "spectrum to text")


def finished(folder, pairs, source, seed, a):
    "A run of a seed, made if it is not there."
    if (folder / "config.json").exists(): return resume(folder, None if Run(folder).finished else pairs())
    c = change(replace(SETTINGS["clean"], seed=seed), a.set)
    return train(c, pairs(), folder, dict(source=source, factors=("source",), options=()))


def lines(run):
    "Numbers of a run: question -> (published, ours, what bounds them)."
    _, rows, _ = read_audit(run / "audit.json")

    def of(question, block, target="", metric=None):
        part = rows[(rows.question == question) & (rows.block == block) & (rows.target == target)]
        part = part if metric is None else part[part.metric == metric]
        return part.score.iloc[0] if len(part) else np.nan

    out = {}
    for target in FOUND:
        for metric in ("recall@1%", "recall@5%", "recall@10%", "median rank"):
            out[f"{metric}, {target}"] = [of("cross retrieval", b, target, metric) for b in ("published", "shared", "ceiling of spectra")]
    for block in ("experts", "gate", "experts, 1 %"):
        for target in ("mean", "hardness", "N_H", "variability"):
            out[f"gain of {block}, {target}"] = [of("published gain", block, target), of("gain", block, target), np.nan]
    for block in ("spectrum", "text", "tuned", "shared"):
        out[f"best correlation of a dimension, {block}"] = [of("published correlation", block), of("correlation", block), np.nan]
    out["128 dimensions against all: error ratio"] = [of("published compression", "shared", metric="MAE ratio"), of("compression", "shared", metric="MAE ratio"), np.nan]
    for block in ("photons", "forest", "texts"):
        for more in ("", ", priors"):
            for target in ("planted", "artefacts"): out[f"{target} in the top 1% by {block}{more}"] = [np.nan, of("odd sources", block + more, target, "in the top 1%"), np.nan]
    generation = rows[rows.question == "generation"]
    for r in generation.itertuples(): out[f"{r.block}: {r.metric} (chance {r.null:.2f})"] = [np.nan, r.score, np.nan]
    return pd.DataFrame(out, index=["published", "clean", "ceiling"]).T


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--data", default="sim:full")
    p.add_argument("--out", default="runs/align")
    p.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    p.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    a = p.parse_args()
    opened = []
    pairs = lambda: opened[0] if opened else opened.append(open_pairs(a.data)) or opened[0]
    runs = [lines(finished(Path(a.out) / f"seed{s}", pairs, a.data, s, a)) for s in a.seeds]
    name = lambda q: q.split(" (chance")[0]
    runs = [t.set_axis([name(q) for q in t.index]) for t in runs]
    values = np.stack([t.reindex(runs[0].index).to_numpy(float) for t in runs])
    say = lambda v: "" if np.isnan(v).all() else f"{v.mean():.3f}" + (f" ± {v.std(ddof=1):.3f}" if len(v) > 1 else "")
    table = [[q, *(say(values[:, i, j]) for j in range(3))] for i, q in enumerate(runs[0].index)]
    print(markdown(pd.DataFrame(table, columns=["question", "published", "clean", "ceiling"])))


if __name__ == "__main__":
    main()
