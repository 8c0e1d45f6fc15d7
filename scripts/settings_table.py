"""The table of the README: both settings on both kinds of survey, several seeds. Run by `make table`.

usage: python scripts/settings_table.py [--out runs/table] [--seeds 0 1 2] [--size quick]

Each run is an ordinary run folder; finished ones are not run again and stopped ones are resumed. The seed is that of
the survey and of the training. Prints Markdown: mean and standard deviation over seeds.
"""
import argparse
from dataclasses import replace
from pathlib import Path
import pandas as pd
from dfm_nb.data.sources import open_data
from dfm_nb.recipes.causal import SETTINGS, resume, train
from dfm_nb.audit.table import markdown

QUESTIONS = { # line of the table: questions and block of a run's table, how to put several together
    'log period from `z_star`, 100 labels (R2)': ('log_period from few labels', 'z_star'),
    'log amplitude from `z_star`, 100 labels (R2)': ('log_amplitude from few labels', 'z_star'),
    'kind of star from `z_star`, 100 labels (balanced accuracy, chance 0.14)': ('kind from few labels', 'z_star'),
    'log period from principal components of the power spectrum': ('log_period from few labels', 'pca_power'),
    'log amplitude from principal components of the power spectrum': ('log_amplitude from few labels', 'pca_power'),
    'largest leak of a star parameter from `z_instr`, all labels (R2)': ('leak', 'z_instr'),
    'sector from `z_star` (balanced accuracy, chance 0.125)': ('instrument', 'z_star'),
    'sector from `z_instr`': ('instrument', 'z_instr'),
    'star found again in another sector, among 1,000 (chance 0.001)': ('same star in another instrument', 'z_star')}

def value(table, question, block):
    "One number of a run."
    rows = table[table.block == block]
    if question != 'leak': return rows[rows.question == question].score.iloc[0]
    return rows[rows.question.str.startswith('leak of') & rows.detail.str.startswith('R2')].score.max()

def finished(mode, setting, seed, a):
    "The table of a run, made if it is not there."
    out, source = a.out/f'{mode}-{setting}-{seed}', f'sim:{a.size},mode={mode},seed={seed}'
    if out.exists(): run = resume(out)
    else: run = train(replace(SETTINGS[setting], seed=seed), open_data(source), out, dict(source=source, factors=('star', 'instrument'), options=[]))
    if not run.finished: raise SystemExit(130)
    return pd.read_json(run/'table.json')

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--out', type=Path, default=Path('runs/table')); p.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2]); p.add_argument('--size', default='quick')
    a = p.parse_args()
    columns = {}
    for mode in ('sequential', 'synchronous'):
        for setting in SETTINGS:
            tables = [finished(mode, setting, s, a) for s in a.seeds]
            numbers = [pd.Series([value(t, *q) for t in tables]) for q in QUESTIONS.values()]
            columns[f'{mode}, {setting}'] = [f'{n.mean():.2f} ± {n.std():.2f}' if len(n) > 1 else f'{n.mean():.2f}' for n in numbers]
    print(markdown(pd.DataFrame({'question': list(QUESTIONS), **columns})))
