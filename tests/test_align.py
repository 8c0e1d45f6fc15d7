"""The recipe align as its users meet it: what a run leaves, what can be asked of it, what is refused, and that a stopped run ends as one that nobody stopped.

Sixty simulated sources, models of a few numbers: nothing here is learnt well, and nothing has to be.
"""
import json
import re
import shutil
import signal
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from dfm_nb.data import sources
from dfm_nb.recipes.align_model import LEAST, MOST, ONE_OF, AlignConfig
from dfm_nb.response import acis
from test_cli import CHECKPOINTS, NOISE, TRAINED, audited, edit, files, fine, finite, message, refused, tree  # refused is a fixture

TINY = "steps_spectra=6 steps=6 batch=16 batch_spectra=16 width=16 layers=1 hidden=16 d=8 d_spectrum=8 encoder=tfidf:d=16 checkpoint_every=2 device=cpu".split()
SKY = "sim:tiny,n=60"
ENDS = ["decoded.npz", "audit.json", "anomalies.csv", "report.html", "summary.md"]
SIDE = [*TRAINED, "spectra/latents.parquet", *(f"spectra/{k}" for k in TRAINED)]  # of each setting that was trained


def train(data, *settings, out="run", more=()):
    "The words of a tiny run."
    return "run", "align", "--data", data, "--out", out, "--quiet", *more, "--set", *TINY, *settings


def left(*baselines, given=False) -> set:
    "The files of a finished run."
    texts = {"texts/vectors.safetensors", "texts/shared.parquet"} | (set() if given else {"texts/encoder/encoder.safetensors"})
    return {"config.json", "embeddings.parquet", *ENDS, *SIDE, *texts, *(f"baselines/{b}/{k}" for b in baselines for k in SIDE), *(f"baselines/{b}.parquet" for b in baselines)}


def kept(run: Path) -> set:
    "Files of a run, without the cache of vectors, whose name is a hash."
    return {p for p in files(run) if not p.startswith("texts/cache/")}


def table(path: Path) -> pd.DataFrame: return pq.read_table(path).to_pandas()


@pytest.fixture(scope="module")
def pairs(): return sources.open_pairs(SKY)


def tables(folder: Path, pairs, texts=None, csv=True, known=None, **columns) -> Path:
    "A user's folder: signals as lists, with what is known of them, and texts."
    folder.mkdir(exist_ok=True)
    known = pairs.obs.meta if known is None else known
    signal = pa.array(pairs.obs.x.astype("f4").tolist(), pa.list_(pa.list_(pa.float32())))
    pq.write_table(pa.Table.from_pandas(known.assign(**columns), preserve_index=False).append_column("signal", signal), folder / "sources.parquet")
    texts = pairs.texts[["source", "text"]] if texts is None else texts
    texts.to_csv(folder / "texts.csv", index=False) if csv else texts.to_parquet(folder / "texts.parquet")
    return folder


# Files as telescopes leave them: 192 channels of 50 eV.

R = acis(.2, .05).to(np.linspace(.2, 9.8, 193))
E, C = len(R.area), len(R.channels) - 1


def fits_table(name, *columns, **header):
    h = fits.BinTableHDU.from_columns([fits.Column(n, f, "keV" if n[:2] == "E_" or n[:5] == "ENERG" else None, array=v) for n, f, v in columns], name=name)
    h.header.update({k.upper(): v for k, v in header.items()})
    return h


def write_fits(path: Path, *hdus): fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path, overwrite=True)


def responses(folder: Path):
    "s.arf, s.rmf and the background b.pi."
    lo, hi, ones = R.energies[:-1], R.energies[1:], np.ones(E, int)
    write_fits(folder / "s.arf", fits_table("SPECRESP", ("ENERG_LO", "E", lo), ("ENERG_HI", "E", hi), ("SPECRESP", "E", R.area)))
    matrix = fits_table("MATRIX", ("ENERG_LO", "E", lo), ("ENERG_HI", "E", hi), ("N_GRP", "I", ones), ("F_CHAN", "I", ones), ("N_CHAN", "I", ones * C), ("MATRIX", f"{C}E", R.matrix.toarray().T), tlmin4=1)
    write_fits(folder / "s.rmf", matrix, fits_table("EBOUNDS", ("CHANNEL", "J", np.arange(C) + 1), ("E_MIN", "E", R.channels[:-1]), ("E_MAX", "E", R.channels[1:])))
    spectrum(folder / "b.pi", np.random.default_rng(1).poisson(10., C), exposure=2e4, backscal=2e-5, backfile="none", ancrfile="none", respfile="none", object="none")


def spectrum(path: Path, counts, drop=(), **header):
    "A PI file beside its responses."
    cards = dict(hduclas1="SPECTRUM", exposure=1e4, backscal=1e-6, areascal=1., detchans=C, chantype="PI", instrume="ACIS", object=path.stem, backfile="b.pi", ancrfile="s.arf", respfile="s.rmf") | header
    write_fits(path, fits_table("SPECTRUM", ("CHANNEL", "J", np.arange(C) + 1), ("COUNTS", "J", counts), **{k: v for k, v in cards.items() if k not in drop}))


def sky(folder: Path, n: int, texts=True) -> Path:
    "A folder of n spectra, with a table of them and of texts."
    folder.mkdir()
    responses(folder)
    g = np.random.default_rng(0)
    names, index = [f"S {k:02d}" for k in range(n)], g.uniform(1, 3, n)
    for name, slope in zip(names, index):
        law = R.fold(np.diff(R.energies**(1 - slope)) / (1 - slope + 1e-9))
        spectrum(folder / f"{name.replace(' ', '')}.pi", g.poisson(500 * law / law.sum() + .25), object=name)
    if texts:
        pd.DataFrame(dict(source=names, spectrum=[f"{k.replace(' ', '')}.pi" for k in names], powlaw_gamma=index, note="seen, once")).to_csv(folder / "sources.csv", index=False)
        said = [f"The {'soft' if s > 2 else 'hard'} source, of photon index {s:.2f}; \"{'steep' if s > 2 else 'flat'}\"." for s in index]
        pd.DataFrame(dict(source=names * 2, text=said + [f"A power law with index {s:.1f} fits." for s in index])).to_csv(folder / "texts.csv", index=False)
    return folder


# What a run is.

@pytest.fixture(scope="module")
def made(fork, pairs, tmp_path_factory) -> Path:
    "A finished run, with its data beside it as a user has them. Not to be changed."
    folder = tmp_path_factory.mktemp("made")
    tables(folder / "data", pairs)
    said = fine(fork(*RUN, cwd=folder))
    assert said == (folder / "run" / "summary.md").read_text() + "\n"
    return folder / "run"


RUN = train("data")


@pytest.fixture
def path(made, tmp_path) -> Path:
    "Where a run on the same data will be."
    shutil.copytree(made.parent / "data", tmp_path / "data")
    return tmp_path / "run"


@pytest.fixture
def run(made, path) -> Path:
    "A copy of the run and its data."
    edit(shutil.copytree(made, path) / "config.json", lambda c: c["data"].update(source=str(path.parent / "data")))
    return path


def sound(run: Path, expected: set):
    "Everything is there, can be read, and is a number where it should be one."
    assert kept(run) == expected and finite(run)
    for p in run.rglob("*.parquet"):
        for f in pq.read_schema(p):
            if str(f.type).startswith("fixed_size_list"): assert np.isfinite(np.stack(pq.read_table(p)[f.name].to_numpy())).all(), f"{p} {f.name}"
    for p in run.rglob("metrics.jsonl"):
        lines = [json.loads(k) for k in p.read_text().splitlines()]
        assert lines and all(np.isfinite([*k.values()]).all() for k in lines)
    rows = audited(run)
    assert {"cross retrieval"} <= {*rows.question} and rows.score.notna().any()
    said = (run / "summary.md").read_text()
    assert said.startswith("# align, setting ") and len(re.findall(r"^- \[(yes|partly|no|unknown)\] ", said, re.M)) >= 4
    private(run / "report.html")


def private(page: Path):
    "The page asks nobody for anything: plotly's own words aside, it holds no address."
    text = page.read_text()
    assert "default-src 'none'" in text and "<script type=\"application/json\">" in text
    assert all("src" not in s for s in re.findall(r"<script(?! type=\"application/json\")[^>]*>", text))
    assert not re.search(r"https?://|url\(|@import|<(iframe|link|img)", re.sub(r"<script>.*?</script>", "", text, flags=re.S))


def test_what_a_run_leaves(made, pairs):
    sound(made, left("published"))
    config, rows, e, t = json.loads((made / "config.json").read_text()), audited(made), table(made / "embeddings.parquet"), table(made / "texts/shared.parquet")
    assert config["recipe"] == "align" and config["settings"]["steps"] == 6 and config["told"] == ["exposure"] and config["data"]["source"] == str(made.parent / "data")
    assert {f.name: f.type.list_size for f in pq.read_schema(made / "embeddings.parquet") if hasattr(f.type, "list_size")} == dict(spectrum=8, text=16, tuned=8, shared_spectrum=8, shared_text=8)
    assert [*e.source] == [*pairs.obs.meta.source] and [*t.text] == [*pairs.texts.text] and e.split.value_counts().to_dict() == dict(train=41, calibrate=1, validate=9, test=9)
    assert {"cross retrieval", "regression", "gain", "correlation", "compression", "published regression", "generation"} <= {*rows.question}
    assert {"shared", "published"} <= {*rows[rows.question == "cross retrieval"].block}
    assert np.allclose(np.linalg.norm(np.stack(e.shared_text), axis=1), 1, atol=1e-5) and np.allclose(np.linalg.norm(np.stack(e.shared_spectrum), axis=1), 1, atol=1e-5)
    b = table(made / "baselines/published.parquet")
    assert [*b.source] == [*e.source] and {"published_spectrum", "published_shared_spectrum", "published_shared_text"} < {*b}
    odd = pd.read_csv(made / "anomalies.csv")
    assert sorted(odd.source) == sorted(e.source[e.split == "test"])
    with np.load(made / "decoded.npz") as f: assert {*f["source"]} <= {*odd.source} and f["x"].shape[1:] == (2, 400) and len(f["own"]) == len(f["text"]) == len(f["x"])
    for p in ("spectra/metrics.jsonl", "metrics.jsonl"): assert json.loads((made / p).read_text().splitlines()[-1])["step"] == 6


def test_as_a_user_types_it(dfm, tmp_path):
    "In a process of its own, where nothing was imported before: the published setting on a simulation."
    said = fine(dfm(*train(SKY, "seed=3", more=("--setting", "published")), CUDA_VISIBLE_DEVICES=""))
    run = tmp_path / "run"
    assert said == (run / "summary.md").read_text() + "\n" and "setting published" in said
    sound(run, left())
    config = json.loads((run / "config.json").read_text())["settings"]
    assert (config["setting"], config["scaling"], config["texts"], config["fine"], config["baselines"]) == ("published", "minmax", 0, False, "")
    assert {"ceiling", "shared"} <= {*audited(run).block} and "published" not in {*audited(run).block}, "a simulation knows what was stated"


def bits(run: Path) -> dict:
    "What has to be the same in two runs that are the same."
    return {p: v for p, v in tree(run).items() if p.endswith((".safetensors", ".parquet", "audit.json", ".csv"))}


def test_the_seed_decides_and_nothing_else(made, path, forked, tmp_path):
    loud = forked(*[w for w in train("data", out="again") if w != "--quiet"])
    assert loud.returncode == 0 and "Warning" not in loud.stderr, loud.stderr
    assert bits(tmp_path / "again") == bits(made)
    fine(forked(*train("data", "seed=1", "baselines=", out="other")))
    other = bits(tmp_path / "other")
    assert {*other} < {*bits(made)} and all(bits(made)[k] != v for k, v in other.items())


# Crashes, signals and what comes after.

MOMENTS = ["texts/vectors.safetensors", ("spectra/metrics.jsonl", 2), "spectra/checkpoint/model.safetensors", "spectra/latents.parquet", "checkpoint/state.safetensors", ("checkpoint/state.safetensors", 2), "embeddings.parquet",
           ("baselines/published/spectra/checkpoint/state.safetensors", 2), "baselines/published/spectra/latents.parquet", ("baselines/published/metrics.jsonl", 2), "baselines/published.parquet", "decoded.npz", "audit.json",
           "anomalies.csv", "report.html", "summary.md"]
RESUME = "resume", "run", "--quiet"


def same(run: Path, whole: Path):
    "The end of a run that was stopped is the end of one that was not."
    assert files(run) == files(whole), "what a crash left half-written has to go"
    assert len(bits(whole)) == 17
    for name, content in bits(whole).items(): assert (run / name).read_bytes() == content, name
    for p in run.rglob("metrics.jsonl"):
        steps = lambda r: [json.loads(k)["step"] for k in (r / p.relative_to(run)).read_text().splitlines()]
        assert steps(run) == steps(whole)
    said = lambda r: (r / "summary.md").read_text().partition("\n\nReport with pictures: ")[0]
    assert said(run) == said(whole)


def begun(words, path): return RESUME if any(path.rglob("state.safetensors")) else words


def test_crash_after_crash(path, made, forked):
    "At each moment, one after the other."
    words = RUN
    for moment in MOMENTS:
        answer = forked(*words, crash=(path, moment, signal.SIGKILL))
        assert answer.returncode == -signal.SIGKILL, f"{moment}: {answer.stderr}"
        words = RESUME
    fine(forked(*words))
    same(path, made)


def test_signal_after_signal(path, made, forked):
    "The same with signals that ask for an end."
    words = RUN
    for k, moment in enumerate(MOMENTS[1:]):
        answer = forked(*words, crash=(path, moment, (signal.SIGINT, signal.SIGTERM)[k % 2]))
        assert (answer.returncode, answer.stderr) == (130, "dfm: stopped and saved; continue with: dfm resume run\n"), f"{moment}: status {answer.returncode}\n{answer.stderr}"
        assert not [p for p in files(path) if p.endswith(".tmp")]
        words = RESUME
    fine(forked(*words))
    same(path, made)


@pytest.mark.parametrize("moment", ["config.json", "texts/vectors.safetensors"])
def test_a_signal_before_there_is_anything_to_save(moment, path, forked, tmp_path):
    before = tree(tmp_path)
    answer = forked(*RUN, crash=(path, moment, signal.SIGINT))
    assert (answer.returncode, answer.stderr) == (130, "dfm: stopped\n") and tree(tmp_path) == before


def test_a_finished_run_is_left_alone(made, forked):
    before = tree(made)
    assert "is finished" in fine(forked("resume", made)) and tree(made) == before


CHANGES = {
    "a text": lambda d: texts_of(d, lambda t: t.text.replace({t.text[0]: "It is soft."})),
    "the last text": lambda d: texts_of(d, lambda t: t.text.where(t.index < len(t) - 1, t.text + ".")),
    "a text less": lambda d: pd.read_csv(d / "texts.csv")[1:].to_csv(d / "texts.csv", index=False),
    "whose texts": lambda d: pd.read_csv(d / "texts.csv").assign(source=lambda t: t.source.to_numpy()[::-1]).to_csv(d / "texts.csv", index=False),
    "a spectrum": lambda d: signals_of(d, lambda x: np.where(np.arange(60)[:, None, None] == 59, x + 1, x)),
    "the order": lambda d: pq.write_table(pq.read_table(d / "sources.parquet").take(np.arange(60)[::-1]), d / "sources.parquet")}


def texts_of(data: Path, change): pd.read_csv(data / "texts.csv").assign(text=change).to_csv(data / "texts.csv", index=False)


def signals_of(data: Path, change):
    t = pq.read_table(data / "sources.parquet")
    x = change(np.stack([np.stack(k) for k in t["signal"].to_numpy()]))
    pq.write_table(t.drop_columns(["signal"]).append_column("signal", pa.array(x.tolist(), pa.list_(pa.list_(pa.float32())))), data / "sources.parquet")


@pytest.mark.parametrize("what", CHANGES)
def test_other_data_are_refused(what, run, refused):
    (run / "summary.md").unlink()
    CHANGES[what](run.parent / "data")
    for command in ("resume", "audit"): refused("of run have changed", command, "run", "--quiet")


def test_data_that_are_gone(run, refused):
    (run / "summary.md").unlink()
    shutil.rmtree(run.parent / "data")
    refused("data", *RESUME)


# What can be asked of a run.

def test_search(made, forked, tmp_path):
    name = table(made / "embeddings.parquet").source[7]
    said = fine(forked("search", made, "an obscured", "AGN"))
    assert len(said.splitlines()) == 11 and "similarity" in said.splitlines()[0]
    fine(forked("search", made, "a soft star", "--top", "3", "--out", "a.csv"))
    a = pd.read_csv(tmp_path / "a.csv")
    assert [*a["rank"]] == [1, 2, 3] and {*a.found} == {"spectrum"} and a.similarity.is_monotonic_decreasing and {*a.source} <= {*table(made / "embeddings.parquet").source}
    said = fine(forked("search", made, "--like", name, "--top", "4", "--out", "b.csv"))
    b = pd.read_csv(tmp_path / "b.csv")
    assert said == "b.csv: 12 rows\n" and b.found.value_counts().to_dict() == {"spectrum like its own": 4, "text that fits its spectrum": 4, "spectrum that fits its texts": 4}
    assert name not in {*b.source[b.found == "spectrum like its own"]} and b.text[b.found == "text that fits its spectrum"].notna().all()
    assert len(fine(forked("search", made, "a soft star", "--top", "9999")).splitlines()) == 61, "not more than there are"


SEARCHES = {
    "nothing": ([], ["words", "--like"]),
    "both": (["soft", "--like", "2CXO"], ["words", "--like"]),
    "spaces": (["  "], ["words"]),
    "words that nobody knows": (["xyzzy", "qwrtz"], ["xyzzy qwrtz", "others"]),
    "no source of that name": (["--like", "M 31"], ["no source 'M 31'", "2CXO"]),
    "a part of a name": (["--like", "2CXO J"], ["no source '2CXO J'"]),
    "none of them": (["soft", "--top", "0"], ["--top is 0"]),
    "another ending": (["soft", "--out", "a.txt"], ["a.txt", ".csv"]),
    "a table that is there": (["soft", "--out", "there.csv"], ["there.csv exists"])}


@pytest.mark.parametrize("what", SEARCHES)
def test_searches_that_are_refused(what, made, refused, tmp_path):
    (tmp_path / "there.csv").write_text("mine")
    words, says = SEARCHES[what]
    refused(says, "search", made, *words)


def test_search_in_what_is_no_run_of_pairs(run, refused, tmp_path):
    refused(["nowhere", "config.json"], "search", "nowhere", "soft")
    edit(run / "config.json", lambda c: c.update(recipe="causal"))
    for words in (["soft"], ["--like", "2CXO"]): refused(["run", "causal", "align"], "search", "run", *words)
    edit(run / "config.json", lambda c: c.update(recipe="align"))
    for name in ("summary.md", "embeddings.parquet"): (run / name).unlink()
    refused("dfm resume run", "search", "run", "soft")
    refused("dfm resume run", "audit", "run", "--quiet")
    refused("dfm resume run", "report", "run")


def test_embed(made, forked, tmp_path):
    "The spectra of the run again, those of a simulation, and files of a telescope."
    embed = lambda data, out, *more: (forked("embed", made, "--data", data, "--out", out, "--quiet", *more), tmp_path / out)
    answer, out = embed(made.parent / "data", "own.parquet")
    assert fine(answer) == "own.parquet: 60 observations, tuned of 8 dimensions, shared_spectrum of 8 dimensions\n"
    new, e = table(out), table(made / "embeddings.parquet")
    assert [*new.source] == [*e.source]
    for k in ("tuned", "shared_spectrum"): np.testing.assert_allclose(np.stack(new[k]), np.stack(e[k]), atol=2e-6)
    answer, out = embed(SKY, "sim.parquet")
    fine(answer)
    np.testing.assert_allclose(np.stack(table(out).tuned), np.stack(e.tuned), atol=2e-6)
    sky(tmp_path / "pi", 3, texts=False)
    spectrum(tmp_path / "pi" / "dark.pi", np.ones(C, int), exposure=0.)
    answer, out = embed("pi", "pi.parquet")
    assert answer.returncode == 0 and "EXPOSURE is 0" in answer.stderr and len(answer.stderr.splitlines()) == 2, answer.stderr
    assert [*table(out).source] == ["S 00", "S 01", "S 02"] and np.isfinite(np.stack(table(out).shared_spectrum)).all()


def test_what_a_run_cannot_embed(made, pairs, refused, tmp_path):
    embed = lambda data, out="new.parquet", *more: ("embed", made, "--data", data, "--out", out, "--quiet", *more)
    sky(tmp_path / "pi", 1, texts=False)
    spectrum(tmp_path / "pi" / "S00.pi", np.ones(C, int), exposure=0.)
    refused(["EXPOSURE is 0"], *embed("pi"))
    refused("nowhere", *embed("nowhere"))
    refused("sim:magic", *embed("sim:magic"))
    refused("new.txt", *embed(SKY, "new.txt"))
    refused("'planet'", *embed(SKY, "new.parquet", "--factors", "planet"))
    tables(tmp_path / "none", pairs, known=pairs.obs.meta[["source", "class"]])
    refused("exposure", *embed("none"))
    tables(tmp_path / "taken", pairs, tuned=1.)
    refused("'tuned'", *embed("taken"))
    refused(["2 of 400"], *embed("sim:hearts,n_patients=60"))


def test_audits_anew(run, made, forked, refused):
    (run / "report.html").unlink()
    assert fine(forked("report", "run")) == "run/report.html\n"
    private(run / "report.html")
    assert fine(forked("audit", "run", "--quiet")) == (run / "summary.md").read_text() + "\n"
    same(run, made)
    fine(forked("audit", "run", "--quiet", "--draws", "7", "--seed", "5"))
    assert audited(run).score.notna().any() and (run / "audit.json").read_bytes() != (made / "audit.json").read_bytes()
    for word, value in (("labels", "30"), ("nulls", "3"), ("draws", "1")): refused(f"--{word}", "audit", "run", "--quiet", f"--{word}", value)
    (run / "baselines/published.parquet").unlink()
    refused(["baselines/published.parquet", "dfm resume run"], "audit", "run", "--quiet")


# A user's own folder.

def test_files_of_a_telescope(forked, tmp_path):
    "sources.csv and texts.csv beside PI files with their responses; two sources have no partner, one file cannot be read."
    folder = sky(tmp_path / "sky", 31)
    extra = "S 98,,2.,no spectrum\nS 99,S00.pi,2.,no text\n"
    with open(folder / "sources.csv", "a") as f: f.write(extra)
    with open(folder / "texts.csv", "a") as f: f.write("M 31,A galaxy.\n")
    said = fine(forked(*train("sky", "baselines=")))
    assert "31 spectra of 31 sources with 62 texts" in " ".join(said.split()), said[:300]
    run = tmp_path / "run"
    sound(run, left())
    e = table(run / "embeddings.parquet")
    assert {"powlaw_gamma", "exposure", "counts", "background", "response"} <= {*e} and e.exposure.eq(1e4).all() and (e.background > 0).all()
    assert "powlaw_gamma" in {*audited(run).query("question == 'regression'").target}
    (run / "summary.md").unlink()
    fine(forked(*RESUME))
    fine(forked("embed", "run", "--data", "sky", "--out", "new.parquet", "--quiet"))
    both = e.merge(table(tmp_path / "new.parquet"), on="source", suffixes=("", "_new"))
    assert len(both) == 31
    np.testing.assert_allclose(np.stack(both.shared_spectrum), np.stack(both.shared_spectrum_new), atol=2e-6)


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}"


@pytest.fixture(scope="module")
def given(fork, pairs, tmp_path_factory) -> Path:
    "A run on signals that are no counts, with vectors that came along, and names and texts as nobody should have them."
    folder = tmp_path_factory.mktemp("given")
    g, n = np.random.default_rng(0), 60
    know = g.normal(size=(n, 3))
    x = np.repeat(know @ g.normal(size=(3, 20)), 2, 1) + .1 * g.normal(size=(n, 40))
    names = [f"{k} {HOSTILE}" for k in range(n)]
    data = folder / "data"
    data.mkdir()
    known = pd.DataFrame({"source": names, f"a{HOSTILE}": know[:, 0], "class": [f"{HOSTILE}{k % 2}" for k in range(n)]})
    pq.write_table(pa.Table.from_pandas(known).append_column("signal", pa.array(x.tolist(), pa.list_(pa.float32()))), data / "sources.parquet")
    pd.DataFrame(dict(source=names, text=[f"Text {HOSTILE} \0 | *a* _b_ {k}" for k in range(n)])).to_parquet(data / "texts.parquet")
    pq.write_table(pa.table(dict(text=np.arange(n)[::-1], vector=pa.array(know[::-1].astype("f4").tolist(), pa.list_(pa.float32())))), data / "vectors.parquet")
    fine(fork(*train("data", "encoder=given", "patch=10"), cwd=folder))
    return folder / "run"


def test_signals_and_vectors(given, forked, refused, tmp_path):
    sound(given, left("published", given=True))
    assert json.loads((given / "audit.json").read_text())["about"]["align"]["scaling"] == "standard"
    text = np.stack(table(given / "embeddings.parquet").text)
    assert text.shape == (60, 3)
    refused(["--like"], "search", given, "soft")
    fine(forked("search", given, "--like", f"3 {HOSTILE}", "--out", "a.csv"))
    assert len(pd.read_csv(tmp_path / "a.csv")) == 30
    fine(forked("embed", given, "--data", given.parent / "data", "--out", "new.parquet", "--quiet"))
    np.testing.assert_allclose(np.stack(table(tmp_path / "new.parquet").shared_spectrum), np.stack(table(given / "embeddings.parquet").shared_spectrum), atol=2e-6)


def test_names_and_texts_are_no_markup(given, made):
    "Nothing of them is a tag in the page, and the pictures hold as many scripts as those of others."
    page = (given / "report.html").read_text()
    assert "alert(1)" in page, "the test is empty unless the names are shown"
    assert "<script>alert" not in page and "<img" not in page and "{{7*7}}" in page or "49" not in re.findall(r"onerror=alert\(2\)&gt;(\S{0,7})", page)
    bare = re.sub(r"<script type=\"application/json\">.*?</script>", "", page, flags=re.S)
    assert "alert(1)</script>" not in page and bare.count("<script") == re.sub(r"<script type=\"application/json\">.*?</script>", "", (made / "report.html").read_text(), flags=re.S).count("<script")


# Data that cannot be used.

def broken(folder: Path, pairs, what):
    "A small folder with one thing wrong."
    few = type(pairs)(pairs.obs[:12], pairs.texts)
    tables(folder, few)
    BROKEN[what][0](folder)


def lines(name, change):
    "A change of the text of a file."
    def apply(folder): (folder / name).write_bytes(change((folder / name).read_bytes()))
    return apply


def columns(change):
    "A change of the table of sources."
    def apply(folder): pq.write_table(change(pq.read_table(folder / "sources.parquet")), folder / "sources.parquet")
    return apply


def put(name, values):
    "Another column of the table of sources."
    return columns(lambda t: t.drop_columns([name] if name in t.column_names else []).append_column(name, pa.array(values(t) if callable(values) else values)))


def vectors(*lists, **more):
    def apply(folder):
        n = len(pd.read_csv(folder / "texts.csv"))
        v = [lists[min(k, len(lists) - 1)] for k in range(n)]
        pq.write_table(pa.table(dict(text=np.arange(n), vector=pa.array(v, pa.list_(pa.float32()))) | more), folder / "vectors.parquet")
    return apply


BROKEN = {
    "no sources": (lambda d: (d / "sources.parquet").unlink(), ["sources.csv"]),
    "no texts": (lambda d: (d / "texts.csv").unlink(), ["texts.csv"]),
    "no tables": (lambda d: [p.unlink() for p in d.iterdir()], ["texts.csv"]),
    "two tables": (lambda d: (d / "sources.csv").write_text("source\na\n"), ["sources.csv", "sources.parquet"]),
    "an empty table": (lines("texts.csv", lambda b: b""), ["texts.csv", "empty"]),
    "a table of no rows": (lines("texts.csv", lambda b: b"source,text\n"), ["texts.csv"]),
    "an empty text": (lambda d: texts_of(d, lambda t: t.text.where(t.index != 3, "  ")), ["texts.csv", "row 3"]),
    "no column text": (lines("texts.csv", lambda b: b.replace(b"source,text", b"source,words")), ["texts.csv", "'text'"]),
    "not UTF-8": (lines("texts.csv", lambda b: b.replace(b"source,text\n", b"source,text\nM 31,caf\xe9\n")), ["texts.csv", "line 2", "UTF-8"]),
    "UTF-16": (lines("texts.csv", lambda b: b.decode().encode("utf-16")), ["texts.csv", "UTF-8"]),
    "wrong quotes": (lines("texts.csv", lambda b: b + b'a,"b\n'), ["texts.csv", "quotes"]),
    "noise": (lines("sources.parquet", lambda b: NOISE), ["sources.parquet"]),
    "cut off": (lines("sources.parquet", lambda b: b[:-200]), ["sources.parquet"]),
    "a source twice": (put("source", ["a", "b", "a", *"cdefghijk"]), ["sources.parquet", "'a'"]),
    "sets that do not join": (put("source", [*"abcdefghijkl"]), ["'a'", "spelt"]),
    "signals of mixed lengths": (put("signal", [[1., 2.] * (20 + (k == 5)) for k in range(12)]), ["sources.parquet", "row 5"]),
    "short signals": (put("signal", [[1., 2.]] * 12), ["data", "8 samples"]),
    "signals of words": (put("signal", [["a"] * 40] * 12), ["sources.parquet", "numbers"]),
    "a flat signal": (put("signal", [[float(i) for i in range(40)]] * 11 + [[1.] * 40]), ["data", "[11]"]),
    "a signal of NaN": (put("signal", [[float(i) for i in range(40)]] * 11 + [[float("nan")] * 40]), ["data", "[11]"]),
    "no signals": (columns(lambda t: t.drop_columns(["signal"])), ["sources.parquet", "spectrum"]),
    "a column of the recipe": (put("split", ["test"] * 12), ["'split'", "rename"]),
    "a column of the signals": (put("mask", [1] * 12), ["'mask'", "rename"]),
    "vectors of mixed widths": (vectors([1., 2.], [1., 2., 3.]), ["vectors.parquet", "mixed lengths"]),
    "vectors of NaN": (vectors([1., float("nan")]), ["vectors.parquet", "NaN"]),
    "numbers of texts twice": (lambda d: vectors([1., 2.], text=np.zeros(len(pd.read_csv(d / "texts.csv")), int))(d), ["vectors.parquet"]),
    "a file for vectors that is none": (lambda d: (d / "vectors.parquet").write_bytes(NOISE), ["vectors.parquet"]),
    "too few sources": (lambda d: None, "at least 8")}


@pytest.mark.parametrize("what", BROKEN)
def test_tables_that_cannot_be_used(what, pairs, refused, tmp_path):
    broken(tmp_path / "data", pairs, what)
    refused(BROKEN[what][1], *RUN)


SPECTRA = {
    "no response": (dict(respfile="none", ancrfile="none"), ["no response"]),
    "a response that is not there": (dict(respfile="lost.rmf"), ["no response", "lost.rmf"]),
    "EXPOSURE 0": (dict(exposure=0.), ["EXPOSURE is 0"]),
    "no EXPOSURE": (dict(drop=("exposure",)), ["EXPOSURE is missing"]),
    "negative counts": (dict(counts=np.where(np.arange(C) == 40, -3, 9)), ["-3"]),
    "no counts": (dict(counts=np.zeros(C, int)), ["0 counts"]),
    "another response": (dict(detchans=200), ["200 channels"]),
    "noise": (None, ["S00.pi"]),
    "no such file": ("", ["S00.pi"])}


@pytest.mark.parametrize("what", SPECTRA)
def test_spectra_that_cannot_be_used(what, refused, tmp_path):
    folder, (changes, words) = sky(tmp_path / "data", 3), SPECTRA[what]
    bad = folder / "S00.pi"
    if changes == "": bad.unlink()
    elif changes is None: bad.write_bytes(NOISE)
    else: spectrum(bad, **(dict(counts=np.ones(C, int)) | changes))
    refused(["S00.pi", *words], *RUN)
    if what not in ("no such file",): refused(["more sources"], *train("data", more=("--read", "leave=true")))


def test_data_that_are_no_pairs(refused, tmp_path):
    (tmp_path / "file.npz").write_bytes(NOISE)
    for data, words in (("nowhere", "nowhere"), ("file.npz", "file.npz"), ("sim:ecg", "sim:ecg"), ("sim:", "sim:"), ("sim:tiny,n=5", "n is 5"), ("sim:tiny,stars=5", "stars=5"), ("sim:tiny,n=25,most=0", "most")): refused(words, *train(data))
    refused("leave=true", *train(SKY, more=("--read", "leave=true")))
    refused("--task", *train(SKY, more=("--task", "ecg")))
    refused(["dirty", "published"], *train(SKY, more=("--setting", "dirty")))


# Settings.

OUT = {k: [str(v - 1 if isinstance(v, int) and not isinstance(getattr(AlignConfig(), k), float) else v - 1e-3 if v else -.1)] for k, v in LEAST.items()}
for k, v in MOST.items(): OUT[k] = OUT.get(k, []) + [str(v + 1)]
for k in ONE_OF: OUT[k] = ["", "x"]
for f in fields(AlignConfig):
    if isinstance(f.default, float): OUT[f.name] += ["nan", "inf", "x"]
    elif isinstance(f.default, bool): OUT[f.name] = ["x", ""]
    elif isinstance(f.default, int): OUT[f.name] += ["1.5", "x"]
OUT |= dict(encoder=["", "x", "tfidf:d=0", "tfidf:d=x", "tfidf:wings=2", "sentence:nowhere", "given"], baselines=["x", "published,x"], setting=[]) | dict(patch=[*OUT["patch"], "7", "401"], width=[*OUT["width"], "20"])


@pytest.mark.parametrize("name", [f.name for f in fields(AlignConfig)])
def test_values_that_are_refused(name, path, fork, tmp_path):
    "Each with the name of the setting, and nothing is left."
    before = tree(tmp_path)
    for value in OUT[name]:
        said = message(fork(*train("data", f"{name}={value}"), cwd=tmp_path))
        assert name in said or name == "encoder" and value.split(":")[0] in said, f"{name}={value}: {said}"
        assert tree(tmp_path) == before, f"{name}={value}"


ALLOWED = [["texts=64", "hard=1", "ignore=.5", "batch=9999", "baselines=published"], ["fine=false", "scaling=minmax", "subtract=true", "texts=0", "k=9999"],
           ["d=1", "d_spectrum=1", "width=8", "hidden=1", "patch=400", "steps=1", "steps_spectra=1", "dropout=0", "checkpoint_every=99"], ["scaling=standard", "w_pair=0", "tau=10", "precision=no", "lr=1", "lr_spectra=1"]]


@pytest.mark.parametrize("settings", ALLOWED, ids=" ".join)
def test_values_that_work_or_are_refused(settings, path, forked, tmp_path):
    answer = forked(*train("data", "baselines=", *settings))
    if answer.returncode == 0: fine(answer); sound(path, left(*(["published"] if "baselines=published" in settings else []))); return
    said = message(answer)
    assert any(s.split("=")[0] in said for s in settings) or "became infinite or NaN" in said, said


# Files of a finished run that are damaged.

ASKED = dict(search=("search", "run", "a soft star"), like=("search", "run", "--like", "2CXO"), embed=("embed", "run", "--data", "data", "--out", "new.parquet", "--quiet"), audit=("audit", "run", "--quiet", "--draws", "2"), report=("report", "run"))
DAMAGED = {  # file: what needs it
    "config.json": "search like embed audit report",
    "embeddings.parquet": "search like audit",
    "texts/shared.parquet": "search like",
    "texts/vectors.safetensors": "search embed",
    "texts/encoder/encoder.safetensors": "search",
    "checkpoint/model.safetensors": "search embed",
    "baselines/published.parquet": "audit",
    "audit.json": "report"}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("how", ["cut off", "noise"])
def test_a_damaged_file(how, name, run, refused):
    "Whoever needs it names it; whoever does not, works."
    CHECKPOINTS[how](run / name)
    for command in DAMAGED[name].split(): refused(name.rpartition("/")[2], *ASKED[command])


@pytest.mark.parametrize("name", ["texts/vectors.safetensors", "spectra/latents.parquet", "spectra/checkpoint/model.safetensors", "checkpoint/state.safetensors"])
def test_a_damaged_file_of_a_run_that_was_stopped(name, run, refused):
    for later in ("summary.md", "embeddings.parquet"): (run / later).unlink()
    CHECKPOINTS["noise"](run / name)
    refused(name.rpartition("/")[2], *RESUME)
