"""The command as its users meet it: what a run leaves behind, and what is said to those who hand in something else.

Whatever cannot be used is refused in one message that names it, with status 2, and nothing is left behind.
"""
import gzip
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from conftest import environment
from dfm_nb.data import sources

TINY = "steps=20 width=32 bins=64 n_freq=64 n_star=8 n_instr=3 checkpoint_every=7 device=cpu baselines=pca draws=2 nulls=1 ks=".split()
SURVEY = "sim:tiny,n_stars=24,rare=0"  # 96 curves of 128 samples
TRAINED = ["metrics.jsonl", "checkpoint/state.safetensors", "checkpoint/model.safetensors"]  # each time something is trained
ORDER = ["config.json", *TRAINED, "embeddings.parquet", "baselines/pca_waveform.parquet", "baselines/pca_power.parquet", "decoded.npz",
         "audit.json", "anomalies.csv", "report.html", "summary.md"]  # as a tiny run writes them
LEFT = {*ORDER}


def train(data, *settings, out="run", more=()):
    "The words of a tiny run."
    return "run", "causal", "--data", data, "--out", out, "--quiet", *more, "--set", *TINY, *settings


def tree(folder: Path) -> dict:
    "Every file and folder in it, with contents, but for the lock of whoever worked on it last."
    return {p.relative_to(folder).as_posix(): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*")) if p.name != ".lock"}


def files(folder: Path) -> set: return {p for p, content in tree(folder).items() if content is not None}


def weights(run: Path) -> bytes: return (run / "checkpoint" / "model.safetensors").read_bytes()


def finite(run: Path) -> bool: return all(np.isfinite(v).all() for p in run.rglob("*.safetensors") for v in load_file(p).values())


def audited(run: Path) -> pd.DataFrame:
    "The rows of the audit, which are strict JSON."
    a = json.loads((run / "audit.json").read_text(), parse_constant=lambda v: pytest.fail(f"{v} is not JSON"))
    return pd.DataFrame(a["rows"])


def fine(answer):
    "An answer of a command that did what it was asked, without a word of warning."
    assert (answer.returncode, answer.stderr) == (0, ""), answer.stderr
    return answer.stdout


def message(answer) -> str:
    "The one line of a command that refused; notes on single files of a folder may stand before it."
    assert "Traceback" not in answer.stderr and answer.returncode == 2, f"status {answer.returncode}\n{answer.stderr[-3000:]}"
    lines = [k for k in answer.stderr.splitlines() if not k.startswith("skipped ") and not k.endswith("files were skipped")]
    assert len(lines) == 1 and lines[0].startswith("dfm: ") and answer.stdout == "", answer.stderr
    return lines[0]


@pytest.fixture
def refused(forked, tmp_path):
    "refused(words, *command): the command is refused, the message holds the words, and the folder is as before."
    def check(words, *command):
        before = tree(tmp_path)
        said = message(forked(*command))
        for word in [words] if isinstance(words, str) else words: assert word in said, said
        assert tree(tmp_path) == before, "something was left behind"
        return said
    return check


@pytest.fixture(scope="module")
def survey() -> dict:
    "A small survey as named arrays."
    obs = sources.open_data(SURVEY)
    return dict(x=obs.x[:, 0], mask=obs.mask, t=obs.t, star=obs.meta.star.to_numpy(str), instrument=obs.meta.instrument.to_numpy(str))


def written(path: Path, arrays: dict, **changes) -> Path:
    "The arrays as NPZ; a change is an array, a function of the arrays, or None to leave one out."
    changed = {k: v(arrays) if callable(v) else v for k, v in (arrays | changes).items()}
    np.savez(path, **{k: v for k, v in changed.items() if v is not None})
    return path


@pytest.fixture(scope="module")
def trained(fork, survey, tmp_path_factory) -> Path:
    "A finished run on `survey.npz` beside it. Not to be changed."
    folder = tmp_path_factory.mktemp("trained")
    written(folder / "survey.npz", survey)
    fine(fork(*train("survey.npz"), cwd=folder))
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path) -> Path:
    "A copy of that run, as if stopped before its embeddings were written."
    return stopped_before(shutil.copytree(trained, tmp_path / "run"), "embeddings.parquet")


def stopped_before(run: Path, name: str) -> Path:
    "The run as if stopped before this file was written."
    for later in ORDER[ORDER.index(name):]: (run / later).unlink()
    return run


# What a run is.

def test_simulate_run_resume_embed(dfm, tmp_path):
    "As a user types it, each in a process of its own. Some of the stars are planted."
    hidden = dict(CUDA_VISIBLE_DEVICES="")
    assert "96 curves of 1 x 128 samples, 24 stars, 4 instruments" in fine(dfm("simulate", "tiny,n_stars=24", "--out", "survey.npz"))
    table = fine(dfm(*train("survey.npz"), **hidden))
    assert "| z_star " in table and "planted stars are among the oddest" in table and "dfm embed run" in table
    assert fine(dfm("resume", "run")) == "run is finished; there is nothing to resume. Its table: run/summary.md\n"
    said = fine(dfm("embed", "run", "--data", "survey.npz", "--out", "new.parquet", "--quiet", **hidden))
    assert said == "new.parquet: 96 observations, z_star of 20 dimensions, z_instr of 20 dimensions\n"
    assert pq.read_table(tmp_path / "new.parquet").equals(pq.read_table(tmp_path / "run" / "embeddings.parquet"))


def test_what_a_run_leaves(trained, survey):
    assert files(trained) == LEFT
    config = json.loads((trained / "config.json").read_text())
    assert config["recipe"] == "causal" and config["settings"]["steps"] == 20 and config["data"]["source"] == str(trained.parent / "survey.npz")
    lines = [json.loads(k) for k in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [k["step"] for k in lines] == [10, 20]
    for k in lines: assert {*k} == {"step", "star", "instr", "wave", "spectrum", "shape", "grad_norm", "lr", "obs_per_s"} and np.isfinite([*k.values()]).all()
    table = pq.read_table(trained / "embeddings.parquet")
    for block in ("z_star", "z_instr"):
        assert table.schema.field(block).type == pa.list_(pa.float32(), 20)
        assert np.isfinite(np.stack(table[block].to_numpy())).all()
    assert table["star"].to_pylist() == survey["star"].tolist() and table["instrument"].to_pylist() == survey["instrument"].tolist()
    with safe_open(trained / "checkpoint" / "model.safetensors", "np") as f: assert "e_star.f" in f.keys() and f.metadata()
    for view in ("pca_waveform", "pca_power"):
        z = pq.read_table(trained / "baselines" / f"{view}.parquet")
        assert z.column_names == ["star", "instrument", view] and z["star"].equals(table["star"]) and np.isfinite(np.stack(z[view].to_numpy())).all()
    with np.load(trained / "decoded.npz") as f: d = dict(f)
    assert d["x"].shape == d["own"].shape == d["swapped"].shape == (9, 64) and d["p"].shape == (9, 64) and {*d["star"]} < {*survey["star"]}
    assert {*audited(trained).question} == {"retrieval", "collapse", "dependence"}, "these need neither parameters nor many stars"
    odd = pd.read_csv(trained / "anomalies.csv", dtype=str)
    assert sorted(odd.star) == sorted({*survey["star"]}) and odd.why.str.len().min() > 0
    assert (trained / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert (trained / "summary.md").read_text().startswith("# causal, setting clean: survey.npz\n")
    modes = {p.name: oct(p.stat().st_mode & 0o777) for p in trained.rglob("*") if p.is_file()}
    assert len({*modes.values()}) == 1, f"who may read one file of a run may read all: {modes}"


def test_three_containers_one_result(forked, tmp_path):
    for name in ("a.npz", "a.parquet", "map"):
        fine(forked("simulate", "tiny,n_stars=24", "--out", name))
        fine(forked(*train(name, out=f"run-{name}")))
    for name in ("a.parquet", "map"):
        one, other = tmp_path / "run-a.npz", tmp_path / f"run-{name}"
        assert weights(one) == weights(other)
        for kept in ORDER[ORDER.index("embeddings.parquet"):ORDER.index("decoded.npz")] + ["anomalies.csv"]: assert (one / kept).read_bytes() == (other / kept).read_bytes(), kept
        assert audited(one).equals(audited(other)) and "anomaly" in {*audited(one).question}, "it is known who is planted"


def test_the_seed_decides_and_nothing_else(forked, tmp_path):
    for name, seed in dict(a=3, b=3, c=4).items(): fine(forked(*train(SURVEY, f"seed={seed}", out=name)))
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")


def test_other_factors(forked, survey, tmp_path):
    written(tmp_path / "corn.npz", survey | dict(sample=survey["star"], spectrometer=survey["instrument"]), star=None, instrument=None)
    table = fine(forked(*train("corn.npz", more=("--factors", "sample,spectrometer"))))
    assert "24 samples (6 never trained on) through 4 spectrometers (1 never trained on)" in table and "| found again" in table
    assert "z_spectrometer" in table and "star" not in table.replace("z_star", "") and "star" not in pd.read_csv(tmp_path / "run" / "anomalies.csv")
    fine(forked("embed", "run", "--data", "corn.npz", "--out", "new.parquet", "--quiet"))
    for name in ("run/embeddings.parquet", "new.parquet"):
        assert {"z_sample", "z_spectrometer", "sample", "spectrometer"} <= {*pq.read_schema(tmp_path / name).names}


def test_the_published_setting(forked, tmp_path):
    fine(forked(*train(SURVEY, more=("--setting", "published"))))
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["settings"]["setting"] == "published" and config["model"]["free"] is None and config["model"]["geometry"] == "raw"


def test_a_large_table_without_a_warning(forked):
    "Parameters of every kind: numbers and classes that are asked for, and those that cannot be."
    table = fine(forked(*train("sim:tiny", "held_star=.5", "baselines=")))
    assert "| log_period " in table and "- eclipse_width: " in table


PARAMETERS = {"inf": lambda g: np.where(g.random(90) < .1, -np.inf, g.random(90)),  # log10(0), as catalogues have it
              "nan": lambda g: np.where(g.random(90) < .1, np.nan, g.random(90)),
              "names": lambda g: np.array([f"star {k}" for k in range(90)]),
              "a rare class": lambda g: np.array(["a"] * 45 + ["b"] * 43 + ["c", "d"]),
              "all but one": lambda g: np.array(["a"] * 89 + ["b"]),
              "yes and no": lambda g: g.random(90) < .5}


def wide(path: Path, parameter):
    "A survey of 90 stars with one parameter."
    obs = sources.open_data("sim:tiny,n_stars=90")
    p = parameter(np.random.default_rng(0))[np.unique(obs.meta.star, return_inverse=True)[1]]
    np.savez(path, x=obs.x, mask=obs.mask, t=obs.t, star=obs.meta.star.to_numpy(str), instrument=obs.meta.instrument.to_numpy(str), p=p)


@pytest.mark.parametrize("kind", PARAMETERS)
def test_parameters_of_every_kind(kind, forked, tmp_path):
    wide(tmp_path / "in.npz", PARAMETERS[kind])
    table = fine(forked(*train("in.npz", "held_star=.6", "baselines=")))
    asked = {*audited(tmp_path / "run").query("target == 'p'").question} >= {"few-shot", "leak"}
    assert asked != ("- p: " in table), "it is asked for, or it is said why not"
    assert asked == (kind in ("inf", "nan", "a rare class", "yes and no"))


def test_a_parameter_may_not_take_the_name_of_a_block(refused, survey, tmp_path):
    written(tmp_path / "in.npz", survey, z_star=np.arange(96.))
    refused("z_star", *train("in.npz"))


def test_infinite_samples_count_as_not_observed(forked, survey, tmp_path):
    hole = np.zeros(survey["x"].shape, bool)
    hole[3, 5:20] = hole[7] = hole[8, ::3] = True
    hole[7, :100] = False
    for name, value in dict(inf=np.inf, minus=-np.inf, nan=np.nan).items():
        written(tmp_path / f"{name}.npz", survey, x=np.where(hole, np.float32(value), survey["x"]))
        fine(forked(*train(f"{name}.npz", out=name)))
    assert weights(tmp_path / "inf") == weights(tmp_path / "minus") == weights(tmp_path / "nan")


@pytest.mark.parametrize("power", [-30, 20])
def test_the_unit_of_x_does_not_matter(power, forked, survey, tmp_path):
    "Times a power of two, nothing may change by a bit."
    written(tmp_path / "one.npz", survey)
    written(tmp_path / "other.npz", survey, x=survey["x"] * np.float32(2.**power))
    for name in ("one", "other"): fine(forked(*train(f"{name}.npz", out=f"run-{name}")))
    a, b = tmp_path / "run-one", tmp_path / "run-other"
    assert load_file(a / "checkpoint/model.safetensors").keys() and weights(a) == weights(b)
    pd.testing.assert_frame_equal(audited(a), audited(b), check_exact=False, rtol=1e-3)


@pytest.mark.parametrize("kind", ["all 1e30", "one 1e30", "all 1e19", "all 1e-30"])
def test_values_beyond_all_measure(kind, refused, survey, tmp_path):
    x = survey["x"].copy()
    if kind == "one 1e30": x[3, 5] = 1e30
    else: x *= np.float32(kind.split()[1])
    written(tmp_path / "in.npz", survey, x=x)
    refused("in.npz", *train("in.npz"))


def test_a_folder_of_light_curves(forked, tmp_path):
    light_curves(tmp_path / "fits")
    bad = tmp_path / "fits" / "05_lc.fits"
    bad.write_bytes(bad.read_bytes()[:4000])
    answer = forked(*train("fits", more=("--read", "column=SAP_FLUX", "length=64")))
    assert answer.returncode == 0 and "44 observations of 64 samples: 4 stars (1 never trained on) through 3 instruments (0 never trained on)" in " ".join(answer.stdout.split())
    assert len(answer.stderr.splitlines()) == 2 and "05_lc.fits" in answer.stderr and "1 of 12 files were skipped" in answer.stderr
    (tmp_path / "run" / "summary.md").unlink()
    assert forked("resume", "run", "--quiet").returncode == 0, "it reads with the same options"


def light_curves(folder: Path, stars: int = 4, sectors: int = 3):
    "Files of 26 days in 30 minutes each."
    folder.mkdir()
    g, t = np.random.default_rng(4), np.arange(0, 26, 1 / 48)
    for k in range(stars * sectors):
        star, sector = divmod(k, sectors)
        flux = 100 + np.sin(t * (1 + star)) + .1 * g.normal(size=len(t))
        columns = [fits.Column("TIME", "D", array=1325 + 27 * sector + t), fits.Column("SAP_FLUX", "E", array=flux), fits.Column("QUALITY", "J", array=0 * t.astype(int))]
        head = fits.PrimaryHDU(header=fits.Header(dict(TICID=star + 1, SECTOR=sector + 1)))
        fits.HDUList([head, fits.BinTableHDU.from_columns(columns)]).writeto(folder / f"{k:02d}_lc.fits")


# Data that cannot be used.

def flat(row, value):
    "x with one curve of nothing but this value."
    return lambda a: np.where(np.arange(96)[:, None] == row, np.float32(value), a["x"])


def gone(value): return lambda a: np.where(np.arange(96) == 7, value, a["star"])


ARRAYS = {
    "x of one dimension": (dict(x=np.zeros(96, "f4")), ["'x'", "(96,)"]),
    "x of four dimensions": (dict(x=np.zeros((96, 1, 1, 16), "f4")), ["'x'", "(96, 1, 1, 16)"]),
    "x of strings": (dict(x=lambda a: a["x"].astype(str)), ["'x'", "numbers"]),
    "x of 7 samples": (dict(x=lambda a: a["x"][:, :7], mask=None, t=None), ["7 samples", "8 samples"]),
    "no x": (dict(x=None), ["'x'"]),
    "other rows": (dict(star=lambda a: a["star"][:50]), ["'star'", "(50,)"]),
    "t of another length": (dict(t=np.arange(5.)), [" t ", "(5,)", "(128,)"]),
    "t of other rows": (dict(t=np.zeros((5, 128))), [" t ", "(5, 128)"]),
    "t unknown": (dict(t=lambda a: a["t"] * np.nan), [" t ", "finite"]),
    "t that stands": (dict(t=np.zeros(128)), [" t ", "rise"]),
    "t that falls": (dict(t=lambda a: a["t"][::-1]), [" t ", "rise"]),
    "mask of another length": (dict(mask=np.ones((96, 5), bool)), ["mask", "(96, 5)"]),
    "mask of integers": (dict(mask=lambda a: a["mask"].astype(int)), ["mask", "bool"]),
    "a curve of NaN": (dict(x=flat(3, np.nan)), ["1 of 96", "[3]"]),
    "a constant curve": (dict(x=flat(3, 1)), ["1 of 96", "[3]"]),
    "everything masked": (dict(mask=np.zeros((96, 128), bool)), ["96 of 96"]),
    "one star": (dict(star=np.array(["a"] * 96)), ["one star"]),
    "one instrument": (dict(instrument=np.array(["a"] * 96)), ["one instrument"]),
    "no star seen twice": (dict(star=np.arange(96)), ["'star'", "positives"]),
    "no instrument that saw two": (dict(instrument=np.arange(96)), ["'instrument'", "positives"]),
    "no column": (dict(star=None), ["'star'", "--factors"]),
    "an empty code": (dict(star=gone("")), ["'star'", "row 7"]),
    "a code of NaN": (dict(star=lambda a: np.where(np.arange(96) == 7, np.nan, np.arange(96) // 4)), ["'star'", "row 7"]),
    "codes that are floats": (dict(star=np.arange(96) / 4), ["'star'", "integers"]),
    "a pickled object": (dict(star=np.array(["a", None] * 48, dtype=object)), ["'star'", "pickled"]),
    "pickled signals": (dict(x=np.array([[1., None]] * 96, dtype=object)), ["'x'", "pickled"])}


@pytest.mark.parametrize("what", ARRAYS)
def test_arrays_that_cannot_be_used(what, refused, survey, tmp_path):
    changes, words = ARRAYS[what]
    written(tmp_path / "in.npz", survey, **changes)
    said = refused(words, *train("in.npz"))
    assert "in.npz" in said or "column" in said or what.startswith("one "), f"neither the file nor the column is named: {said}"


def test_whole_numbers_are_signals(forked, survey, tmp_path):
    written(tmp_path / "in.npz", survey, x=lambda a: (1000 * a["x"]).astype(int))
    fine(forked(*train("in.npz")))
    assert finite(tmp_path / "run")


COLUMNS = {
    "ragged": (dict(x=lambda a: [*a["x"][:-1].tolist(), [1., 2.]]), ["'x'", "row 95"]),
    "x of numbers": (dict(x=np.arange(96.)), ["'x'", "list"]),
    "x of strings": (dict(x=[["a"] * 9] * 96), ["'x'", "numbers"]),
    "t of another length": (dict(t=[[0., 1.]] * 96), [" t ", "(96, 2)"]),
    "mask of another length": (dict(mask=[[True]] * 96), ["mask", "(96, 1)"]),
    "no code": (dict(star=lambda a: [None if k == 7 else s for k, s in enumerate(a["star"])]), ["'star'", "row 7"]),
    "lists as codes": (dict(star=[[1]] * 96), ["'star'"]),
    "no column": (dict(star=None), ["'star'"]),
    "no x": (dict(x=None), ["'x'"]),
    "no rows": (dict.fromkeys(("x", "star", "instrument"), []), ["empty"])}


@pytest.mark.parametrize("what", COLUMNS)
def test_parquet_that_cannot_be_used(what, refused, survey, tmp_path):
    changes, words = COLUMNS[what]
    base = {k: survey[k] for k in ("x", "star", "instrument")}
    columns = {k: v(survey) if callable(v) else v for k, v in (base | changes).items()}
    pq.write_table(pa.table({k: v if isinstance(v, list) else v.tolist() for k, v in columns.items() if v is not None}), tmp_path / "in.parquet")
    refused(["in.parquet", *words], *train("in.parquet"))


MAPS = {
    "x of integers": ("x.npy", lambda a: (100 * a).astype(int), ["x ", "floating"]),
    "x of one dimension": ("x.npy", lambda a: a[:, 0], ["x ", "(96,)"]),
    "x of four dimensions": ("x.npy", lambda a: a[:, None, None], ["x ", "(96, 1, 1, 128)"]),
    "x of other rows": ("x.npy", lambda a: a[:50], ["50", "96"]),
    "mask of another length": ("mask.npy", lambda a: a[:, :5], ["mask", "(96, 5)"]),
    "t of another length": ("t.npy", lambda a: a[:5], [" t ", "(5,)"])}


@pytest.mark.parametrize("what", MAPS)
def test_memory_maps_that_cannot_be_used(what, refused, survey, tmp_path):
    name, change, words = MAPS[what]
    folder = tmp_path / "map"
    folder.mkdir()
    for k in ("x", "mask", "t"): np.save(folder / f"{k}.npy", change(survey[k]) if f"{k}.npy" == name else survey[k])
    pd.DataFrame({k: survey[k] for k in ("star", "instrument")}).to_parquet(folder / "meta.parquet")
    refused(["map", *words], *train("map"))


NOISE = np.random.default_rng(0).bytes(3000)
FILES = {"in.npz": NOISE, "in.parquet": NOISE, "empty.npz": b"", "empty.parquet": b"", "in.csv": b"a,b\n1,2\n", "in.fits": NOISE,
         "half.parquet": b"PAR1" + NOISE, "half.npz": b"PK\x03\x04" + NOISE, "x.npy": NOISE}


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_no_data(name, refused, tmp_path):
    (tmp_path / name).write_bytes(FILES[name])
    refused(name, *train(name))
    refused(name, "embed", name, "--data", SURVEY, "--out", "new.parquet")


def test_folders_that_are_no_data(refused, tmp_path):
    for name in ("empty", "text", "cut", "noise", "gone", "map"): (tmp_path / name).mkdir()
    (tmp_path / "text" / "notes.txt").write_text("no light curve")
    light_curves(tmp_path / "good")
    whole = (tmp_path / "good" / "00_lc.fits").read_bytes()
    (tmp_path / "cut" / "a_lc.fits").write_bytes(whole[:-3000])
    (tmp_path / "noise" / "a_lc.fits").write_bytes(NOISE)
    (tmp_path / "noise" / "b_lc.fits.gz").write_bytes(gzip.compress(whole)[:-100])
    (tmp_path / "map" / "x.npy").write_bytes(NOISE)
    refused("empty", *train("empty"))
    refused("text", *train("text"))
    refused(["a_lc.fits", "fetch it again"], *train("cut"))
    refused("a_lc.fits", *train("noise"))
    refused("map", *train("map"))
    refused(["NOPE", "SAP_FLUX"], *train("good", more=("--read", "column=NOPE")))
    refused("colum=NOPE", *train("good", more=("--read", "colum=NOPE")))
    refused("days=x", *train("good", more=("--read", "days=x")))
    refused("length", *train("good", more=("--read", "length=4")))
    refused("column=SAP_FLUX", *train(SURVEY, more=("--read", "column=SAP_FLUX")))
    refused("nowhere", *train("nowhere"))


@pytest.mark.parametrize("data, word", [("sim:huge", "sim:huge"), ("sim:tiny,stars=9", "stars=9"), ("sim:tiny,n_stars=x", "n_stars=x"), ("sim:tiny,n_stars=0", "0 stars"),
                                        ("sim:tiny,n_stars=1,rare=0", "one star"), ("sim:tiny,n_stars=3", "4 rare stars among 3"), ("sim:tiny,n_sectors=1", "one instrument"), ("sim:tiny,cameras=0", "0 cameras"),
                                        ("sim:tiny,overlap=nan", "overlap"), ("sim:tiny,white=nan", "white"), ("sim:tiny,gap_rate=nan", "gap_rate"), ("sim:tiny,gap_rate=inf", "gap_rate")])
def test_surveys_that_cannot_be(data, word, refused):
    refused(word, *train(data))
    if "one " not in word: refused(word, "simulate", data[4:], "--out", "survey.npz")


# Commands that cannot be obeyed.

def test_words_that_are_not_known(forked, refused, tmp_path):
    for settings, word in (["step=3"], "step=3"), (["steps"], "steps"), (["steps=many"], "steps=many"), (["steps=1e3"], "steps=1e3"), (["swap=maybe"], "swap=maybe"), (["tau_star=a"], "tau_star=a"):
        refused(word, *train(SURVEY, *settings))
    refused(["dirty", "published"], *train(SURVEY, more=("--setting", "dirty")))
    for factors, word in ("star", "two factors"), ("star,star", "'star'"), ("star,instrument,kind", "two factors"), ("", "--factors"), ("planet,instrument", "'planet'"):
        refused(word, *train(SURVEY, more=("--factors", factors)))
    for command in (["run", "magic", "--data", SURVEY, "--out", "run"], ["fly"], [], ["run", "causal"]):  # argparse: its usage, then one message
        answer = forked(*command)
        assert answer.returncode == 2 and answer.stderr.count("error: ") == 1 and "Traceback" not in answer.stderr
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("out", ["a file", "a folder", "a file/run", "/proc/none/run", "/proc/run", "."])
def test_a_run_that_cannot_be_put_there(out, refused, tmp_path):
    (tmp_path / "a file").write_text("mine")
    (tmp_path / "a folder").mkdir()
    refused(out, *train(SURVEY, out=out))


@pytest.mark.parametrize("out", ["a.npz", "a.parquet", "map", "a.npz/b.npz", "a.npz/b.parquet", "a.npz/map", "/proc/none/b.npz", "/proc/none/b.parquet", "/proc/map", "b.csv"])
def test_a_survey_that_cannot_be_put_there(out, refused, tmp_path):
    (tmp_path / "a.npz").write_text("mine")
    (tmp_path / "a.parquet").write_text("mine")
    (tmp_path / "map").mkdir()
    refused(out, "simulate", "tiny,n_stars=4", "--out", out)


@pytest.mark.parametrize("out", ["a.parquet", "b.npz", "a.parquet/b.parquet", "/proc/none/b.parquet", "/proc/b.parquet"])
def test_embeddings_that_cannot_be_put_there(out, run, refused, tmp_path):
    (tmp_path / "a.parquet").write_text("mine")
    refused(out, "embed", "run", "--data", SURVEY, "--out", out, "--quiet")


# Every one of these is refused, with the name of the setting, or it works: no traceback, no warning, no weight that is not a number.
VALUES = """steps=0 steps=-1 lr=nan lr=-1 lr=inf lr=1e30 lr=0 held_star=0 held_star=1 held_star=-.5 held_star=2 held_star=nan held_star=.04 held_star=.9
tau_star= tau_star=0 tau_star=-1 tau_star=nan tau_star=inf tau_star=.01 tau_star=1,1,1 tau_instr=0 tau_instr=-1 tau_instr=nan tau_instr=.01
noise_star=-1 noise_instr=-1 noise_instr=nan noise_instr=inf noise_instr=1 noise_free=-1 n_star=0 n_star=1 n_star=-1 n_star=2 n_star=9999 n_instr=0 n_instr=1 n_instr=-1 n_instr=2 n_instr=99
d_star=0 d_star=1 d_star=-1 d_star=100 d_instr=0 d_instr=1 d_instr=100 d_free=0 d_free=-1 width=0 width=1 width=2 width=-1 bins=0 bins=1 bins=-1 bins=1000 n_freq=0 n_freq=1 n_freq=-1
w_shape=nan w_shape=-1 w_shape=0 w_shape=inf fold=on fold=off fold=x held_instr=0 held_instr=1 held_instr=-1 held_instr=nan held_instr=.5 held_instr=.9
labels=0 labels=1 labels=-1 labels=10 labels=9999 draws=0 draws=1 draws=-1 draws=2 draws=nan nulls=0 nulls=-1 nulls=two ks=0 ks=-1 ks=nan ks=inf ks=a ks=1.5 ks=9999 ks=3,1,3
baselines= baselines=, baselines=x baselines=PCA baselines=pca,x baselines=pca,pca baselines=oracle baselines=simclr baselines=features checkpoint_every=0 checkpoint_every=-1 checkpoint_every=1 seed=-1 device=banana precision=banana precision=bf16 decoder=x denominator=x negatives=x negatives=anchor
geometry=x geometry=raw encoder_star=x encoder_instr=conformer conformer_width=0 conformer_depth=-1 w_star=nan w_star=-1 w_wave=-1 w_spectrum=-1 w_spectrum=inf w_hsic=1 w_star=0 learn_tau=true""".split()
TOGETHER = [["encoder_star=conformer", "conformer_width=5"], ["encoder_star=conformer", "bins=60"], ["w_star=0", "w_instr=0", "w_wave=0", "w_spectrum=0"], ["tau_star=0", "learn_tau=true"],
            ["lr=1e30", "steps=1"], ["lr=1e30", "checkpoint_every=1"], ["d_star=3", "tau_star=1,1,1,1"], ["w_spectrum=0", "w_shape=0", "baselines=autoencoder_views"],
            ["ks=1,3", "d_free=0"], ["ks=1,3", "encoder_star=mlp", "encoder_instr=conformer", "steps=3"]]


@pytest.fixture(scope="module")
def answers(both, request, tmp_path_factory) -> dict:
    "The folder and the answer of each choice of settings that is to be tested."
    ask = [k.callspec.params["settings"] for k in request.session.items if getattr(k, "originalname", "") == "test_values_of_settings"]
    folders = [tmp_path_factory.mktemp("values") for _ in ask]
    found = both(lambda fork, k: (folders[k], fork(*train(SURVEY, *ask[k]), cwd=folders[k])), range(len(ask)))
    return dict(zip(map(tuple, ask), found))


@pytest.mark.parametrize("settings", [[v] for v in VALUES] + TOGETHER, ids=" ".join)
def test_values_of_settings(settings, answers):
    folder, answer = answers[tuple(settings)]
    assert finite(folder)
    if answer.returncode == 0:
        fine(answer)
        assert np.isfinite(np.stack(pq.read_table(folder / "run" / "embeddings.parquet")["z_star"].to_numpy())).all()
        assert len(audited(folder / "run")) and (folder / "run" / "report.html").stat().st_size > 1e6
    else:
        said = message(answer)
        assert any(s.split("=")[0] in said for s in settings) or "w_*" in said or settings[0].startswith("held_star") and "hold out" in said, said
        assert tree(folder) == {}


# Runs that cannot be used.

def edit(path: Path, change):
    "Change a JSON file."
    value = json.loads(path.read_text())
    path.write_text(json.dumps(change(value) or value))


CONFIGS = {
    "empty": lambda p: p.write_text(""),
    "not JSON": lambda p: p.write_text("{'steps': 3}"),
    "not text": lambda p: p.write_bytes(NOISE),
    "a list": lambda p: p.write_text("[]"),
    "nothing": lambda p: p.write_text("null"),
    "another recipe": lambda p: edit(p, lambda c: c.update(recipe="sieve")),
    "the other recipe": lambda p: edit(p, lambda c: c.update(recipe="scl")),
    "no recipe": lambda p: edit(p, lambda c: c.pop("recipe") and c),
    "no settings": lambda p: edit(p, lambda c: c.pop("settings") and c),
    "an unknown setting": lambda p: edit(p, lambda c: c["settings"].update(wings=2)),
    "a setting of another type": lambda p: edit(p, lambda c: c["settings"].update(steps="many")),
    "a setting that is out of range": lambda p: edit(p, lambda c: c["settings"].update(n_star=-1)),
    "no data": lambda p: edit(p, lambda c: c.pop("data") and c),
    "no factors": lambda p: edit(p, lambda c: c["data"].pop("factors") and c),
    "no fingerprint": lambda p: edit(p, lambda c: c["data"].pop("fingerprint") and c),
    "data of another type": lambda p: edit(p, lambda c: dict(c, data=["survey.npz"])),
    "no ks": lambda p: edit(p, lambda c: c["settings"].pop("ks") == [] and c),
    "ks of another type": lambda p: edit(p, lambda c: c["settings"].update(ks=5)),
    "baselines of another type": lambda p: edit(p, lambda c: c["settings"].update(baselines=["pca"])),
    "another baseline": lambda p: edit(p, lambda c: c["settings"].update(baselines="pca,scl")),
    "another width": lambda p: edit(p, lambda c: c["settings"].update(width=48))}


@pytest.mark.parametrize("what", CONFIGS)
def test_resume_with_a_configuration_that(what, run, refused):
    CONFIGS[what](run / "config.json")
    words = "config.json" if what != "another recipe" else ["run", "'sieve'"]
    refused(words, "resume", "run", "--quiet")
    if what == "another width": return  # the latents are there, of whatever model
    (run / "embeddings.parquet").touch()
    refused(words, "audit", "run", "--quiet")


MODELS = {k: CONFIGS[k] for k in ("empty", "not text", "a list", "another recipe", "no data")} | {
    "no model": lambda p: edit(p, lambda c: c.pop("model") and c),
    "an unknown part": lambda p: edit(p, lambda c: c["model"].update(wings=2)),
    "an unknown part of a part": lambda p: edit(p, lambda c: c["model"]["star"].update(wings=2)),
    "another width": lambda p: edit(p, lambda c: c["model"]["star"].update(width=48))}


@pytest.mark.parametrize("what", MODELS)
def test_embed_with_a_configuration_that(what, run, refused):
    MODELS[what](run / "config.json")
    refused("config.json" if what != "another recipe" else ["run", "'sieve'"], "embed", "run", "--data", SURVEY, "--out", "new.parquet", "--quiet")


def header(path: Path, change):
    "Change what is said of the tensors in a safetensors file."
    with safe_open(path, "np") as f: about = f.metadata()
    about = change(about)
    save_file(load_file(path), path, about)


CHECKPOINTS = {
    "cut off": lambda p: p.write_bytes(p.read_bytes()[:-100]),
    "empty": lambda p: p.write_bytes(b""),
    "noise": lambda p: p.write_bytes(NOISE),
    "a folder": lambda p: (p.unlink(), p.mkdir()),
    "of another format": lambda p: header(p, lambda a: {k: json.dumps(dict(json.loads(v), format="2")) for k, v in a.items()}),
    "of another program": lambda p: header(p, lambda a: None),
    "with another header": lambda p: header(p, lambda a: dict(dfm_nb="3")),
    "with a broken header": lambda p: header(p, lambda a: dict(dfm_nb="{"))}


@pytest.mark.parametrize("what", CHECKPOINTS)
def test_a_checkpoint_that_is(what, run, refused):
    for name in ("state", "model"): CHECKPOINTS[what](run / "checkpoint" / f"{name}.safetensors")
    refused("state.safetensors", "resume", "run", "--quiet")
    refused("model.safetensors", "embed", "run", "--data", SURVEY, "--out", "new.parquet", "--quiet")


@pytest.mark.parametrize("what", ["cut off", "empty", "of another format"])
def test_a_model_that_cannot_be_decoded_with_is(what, trained, refused, tmp_path):
    run = stopped_before(shutil.copytree(trained, tmp_path / "run"), "decoded.npz")
    CHECKPOINTS[what](run / "checkpoint" / "model.safetensors")
    refused("model.safetensors", "resume", "run", "--quiet")


def test_folders_that_are_no_run(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("no run")
    for name in ("empty", "file", "nowhere", "."):
        for command in ("resume", "audit", "report"): refused([name, "config.json"], command, name)
        refused([name, "config.json"], "embed", name, "--data", SURVEY, "--out", "new.parquet")


def test_data_that_a_run_cannot_embed(run, survey, refused, tmp_path):
    def check(words, more=(), **changes):
        written(tmp_path / "new.npz", survey, **changes)
        refused(words, "embed", "run", "--data", "new.npz", "--out", "new.parquet", "--quiet", *more)
    check(["new.npz", "2 channels"], x=lambda a: np.stack([a["x"]] * 2, 1))
    check(["new.npz", "days"], t=lambda a: 3 * a["t"])
    check(["new.npz", "[3]"], x=flat(3, np.nan))
    check(["new.npz", "96 of 96"], x=lambda a: a["x"] * np.nan)
    check(["new.npz", "'star'"], star=None)
    check(["new.npz", "'sample'"], more=("--factors", "sample,instrument"))
    check(["new.npz", "z_star"], z_star=np.arange(96.))
    check("new.npz", x=lambda a: a["x"] * np.float32(1e30))
    check("new.npz", x=lambda a: np.where(np.arange(128) == 9, np.float32(1e30), a["x"]))
    shutil.rmtree(run / "checkpoint")
    check("model.safetensors")


# A disk that is full.

@pytest.fixture
def disk(tmp_path):
    "disk(k): a folder on a disk of its own with k kB free; disk(None): room again."
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("needs a small disk, which only root can mount: mount -t tmpfs")
    def fill(free):
        (folder / "ballast").unlink(missing_ok=True)
        if free is not None:
            room = os.statvfs(folder)
            (folder / "ballast").write_bytes(bytes(room.f_bavail * room.f_frsize - 1024 * free))  # in pages of 4 kB
        return folder
    try: yield fill
    finally: subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("name", ["a.npz", "a.parquet", "map"])
@pytest.mark.parametrize("free", [0, 16, 100])
def test_no_room_for_a_survey(name, free, forked, disk):
    folder = disk(free)
    said = message(forked("simulate", "tiny", "--out", folder / name))
    assert name in said and {*tree(folder)} == {"ballast"}


@pytest.mark.parametrize("last", ORDER)
def test_no_room_for_a_run(last, trained, forked, disk):
    "There is no room for this file: either there is no folder, or it can be continued to the same end."
    pages = [-(-(trained / name).stat().st_size // 4096) for name in ORDER[:ORDER.index(last) + 1]]
    folder = disk(4 * (sum(pages) - 1))
    words = train(trained.parent / "survey.npz", "checkpoint_every=20", out=folder / "run")
    said = message(forked(*words))
    assert str(folder / "run") in said and not [p for p in tree(folder) if p.endswith(".tmp")]
    assert (folder / "run").exists() == (ORDER.index(last) > 2), "a run without a checkpoint is not kept"
    if not (folder / "run").exists(): return
    disk(None)
    fine(forked("resume", folder / "run", "--quiet"))
    assert weights(folder / "run") == weights(trained) and files(folder / "run") == LEFT
    assert audited(folder / "run").equals(audited(trained))


@pytest.mark.parametrize("free", [0, 8])
def test_no_room_for_embeddings(free, run, forked, disk):
    folder = disk(free)
    said = message(forked("embed", run, "--data", SURVEY, "--out", folder / "new.parquet", "--quiet"))
    assert "new.parquet" in said and {*tree(folder)} == {"ballast"}


# Several processes.

def test_two_processes(tmp_path):
    "What `accelerate launch` does where there are two devices; here both are the CPU."
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    (tmp_path / "script.py").write_text("import sys\nfrom dfm_nb.cli import main\nsys.exit(main())\n")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_addr=127.0.0.1", f"--master_port={port}", "script.py"]
    env = environment(CUDA_VISIBLE_DEVICES="", ACCELERATE_USE_CPU="1")
    answer = subprocess.run([*launch, *train(SURVEY, "baselines=autoencoder,features", "ks=1")], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=200)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert answer.stdout.count("# causal") == 1 and "stopped" not in answer.stderr
    others = {f"baselines/{k}" for k in ("autoencoder.parquet", "features.parquet", *(f"autoencoder/{k}" for k in TRAINED))}
    assert files(tmp_path / "run") == {k for k in LEFT if not k.startswith("baselines/")} | others and {p.name for p in tmp_path.iterdir()} == {"run", "script.py"}
    for name in ("metrics.jsonl", "baselines/autoencoder/metrics.jsonl"):
        metrics = [json.loads(k) for k in (tmp_path / "run" / name).read_text().splitlines()]
        assert [k["step"] for k in metrics] == [10, 20] and all(np.isfinite([*k.values()]).all() for k in metrics)
    assert finite(tmp_path / "run")
    assert "autoencoder" in {*audited(tmp_path / "run").block}
