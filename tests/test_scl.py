"""The recipe scl as its users meet it: what a run leaves, what is refused, and that a stopped run ends as one that nobody stopped.

Simulated hearts and movements, models of a few numbers: nothing here is learnt well, and nothing has to be.
"""
import importlib.util
import json
import re
import shutil
import signal
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from dfm_nb.data import sources
from dfm_nb.recipes.scl_model import LEAST, SCLConfig
from test_cli import CHECKPOINTS, TRAINED, audited, edit, files, fine, finite, message, refused, tree, weights, written  # refused is a fixture

TINY = "steps=12 width=8 batch=16 d_inv=8 d_var=4 d_free=4 tested=20 turns=1 at=0 checkpoint_every=5 device=cpu baselines=".split()
ECG = "sim:ecg,n_patients=4,minutes=.5,per_patient=30,rate=60"  # 111 windows of 2 leads x 222 samples
IMU = "sim:imu,n_subjects=4,seconds=8"  # 192 windows of 6 axes x 160 samples, half of them of each device
ENDS = {"audit.json", "report.html", "summary.md"}


def train(data, *settings, task="ecg", out="run", more=()):
    "The words of a tiny run."
    named = () if data.startswith("sim:") else ("--factors", dict(ecg="patient", imu="subject,device")[task])
    return "run", "scl", "--task", task, "--data", data, *named, "--out", out, "--quiet", *more, "--set", *TINY, *settings


def left(*baselines, allocation=False) -> set:
    "The files of a finished run."
    trained = {"", *(f"baselines/{b}/" for b in baselines if b != "rocket"), *(["allocation/"] if allocation else [])}
    return {"config.json", "embeddings.parquet", *ENDS, *(f"{f}{k}" for f in trained for k in TRAINED), *(f"baselines/{b}.parquet" for b in baselines), *(["allocation.json"] if allocation else [])}


def arrays_of(source) -> dict:
    "Simulated observations as named arrays."
    obs = sources.open_data(source, None)
    return dict(x=obs.x, t=obs.t, **{k: v.to_numpy(float if v.dtype.kind == "f" else str) for k, v in obs.meta.items()})


@pytest.fixture(scope="module")
def ecg() -> dict: return arrays_of(ECG)


@pytest.fixture(scope="module")
def imu() -> dict: return arrays_of(IMU)


def latents(path: Path, block="inv") -> np.ndarray: return np.stack(pq.read_table(path)[block].to_numpy())


def table(path: Path) -> pd.DataFrame: return pq.read_table(path).to_pandas()


# What a run is.

def sound(run: Path, expected: set):
    "Everything is there, can be read, and is a number where it should be one."
    assert files(run) == expected
    assert finite(run)
    for p in run.rglob("*.parquet"):
        kinds = pq.read_schema(p)
        for name in kinds.names:
            if str(kinds.field(name).type).startswith("fixed_size_list"): assert np.isfinite(latents(p, name)).all(), f"{p} {name}"
    for p in run.rglob("metrics.jsonl"):
        lines = [json.loads(k) for k in p.read_text().splitlines()]
        assert lines and all(np.isfinite([*k.values()]).all() for k in lines)
    rows = audited(run)
    assert {"told", "task", "collapse"} <= {*rows.question} and not rows.score.isna().all()
    said = (run / "summary.md").read_text()
    assert said.startswith("# scl, setting ") and len(re.findall(r"^- \[(yes|partly|no|unknown)\] ", said, re.M)) >= 6
    private(run / "report.html")


def private(page: Path):
    "The page asks nobody for anything: plotly's own words aside, it holds no address."
    text = page.read_text()
    assert "default-src 'none'" in text and "<script type=\"application/json\">" in text
    scripts = re.findall(r"<script(?! type=\"application/json\")[^>]*>", text)
    rest = "".join(k.split("</script>", 1)[-1] for k in ("</script>" + text).split("<script>"))
    assert all("src" not in s for s in scripts) and not re.search(r"https?://|url\(|@import|<(iframe|link|img)", rest)


RUNS = {  # task, settings, further words, baselines
    "ecg": ("ecg", ["at=0,.05,.3,.8333"], (), "task,augment"),
    "ecg published": ("ecg", ["negatives=hardest"], ("--setting", "published"), "ratio"),
    "ecg with a queue": ("ecg", ["loss=ratio", "negatives=queue", "queue=40"], (), "ratio,task"),
    "ecg with blocks of their own": ("ecg", ["blocks=each", "shift=.4", "stretch=.2", "gain=.3", "wander=.1", "noise=.1", "gap=.1"], (), "augment"),
    "ecg in a circle": ("ecg", ["circular=true", "window=3"], (), "simclr"),
    "ecg of other patients": ("ecg", ["split=patient", "target=rhythm", "held_names=p000,p002"], (), ""),  # nobody else has the rhythm of p002
    "imu": ("imu", ["turns=3"], (), "task,augment,ratio,simclr,blind"),
    "imu published": ("imu", [], ("--setting", "published"), ""),
    "imu with blocks of their own": ("imu", ["blocks=each", "shift=.2", "told=.1", "at=0,.1"], (), "blind"),
    "imu with an encoder for each device": ("imu", ["devices=each"], (), "simclr"),
    "imu with found sizes": ("imu", ["allocation=auto", "devices=each", "blocks=each", "gain=.2"], (), ""),
    "imu of named subjects": ("imu", ["held_names=s001, s003", "eyes=raw", "head=inv+free"], (), "")}


@pytest.fixture(scope="module")
def made(fork, tmp_path_factory):
    "made(name): the folder of a run of RUNS, made once. Not to be changed."
    done = {}

    def make(name) -> Path:
        if name not in done:
            task, settings, more, baselines = RUNS[name]
            folder = tmp_path_factory.mktemp("made")
            done[name] = folder / "run", fine(fork(*train(dict(ecg=ECG, imu=IMU)[task], *settings, f"baselines={baselines}", task=task, more=more), cwd=folder))
        return done[name]
    return make


@pytest.mark.parametrize("name", RUNS)
def test_what_a_run_leaves(name, made):
    task, settings, more, baselines = RUNS[name]
    run, said = made(name)
    names = [b for b in baselines.split(",") if b]
    sound(run, left(*names, allocation="allocation=auto" in settings))
    assert said == (run / "summary.md").read_text() + "\n"
    config, rows, e = json.loads((run / "config.json").read_text()), audited(run), table(run / "embeddings.parquet")
    assert config["recipe"] == "scl" and config["settings"]["task"] == task and config["settings"]["setting"] == ("published" if more else "clean")
    assert {*rows[rows.question == "task"].block} == {"inv", *names} and {*rows[rows.question == "told"].block} >= {"inv", *names}
    tested = e[e.condition == "as it is"]
    assert len(tested) == 20 and e.condition.value_counts().eq(20).all() and [*e.condition][-1] == "random" and {*e.guess} <= {*config["classes"]}
    moves = {k for k in ("shift", "stretch", "gain") if config["settings"][k]} | {f"rotation_{k}" for k in range(3) if config["settings"]["rotation"]}
    known = e.loc[e.condition == "random", sorted(moves)]
    assert np.isfinite(known).all(axis=None) and known.abs().max(axis=None) <= 1 + 1e-6 and e.loc[e.condition != "random", sorted(moves)].isna().all(axis=None)
    for b in names:
        z = table(run / f"baselines/{b}.parquet")
        assert z.drop(columns=[b, "guess"]).equals(e[[k for k in e if k in z.columns and k != "guess"]]), "the same windows at the same conditions"


def test_conditions_of_each_kind(made):
    conditions = lambda name: [*dict.fromkeys(table(made(name)[0] / "embeddings.parquet").condition)]
    assert conditions("ecg") == ["as it is", "50 ms", "300 ms", "833.3 ms", "random"]
    assert conditions("ecg with blocks of their own") == ["as it is", "stretch 0.82", "stretch 1.2", "gain 0.74", "gain 1.3", "random"]
    assert conditions("imu") == ["as it is", "turn 1", "turn 2", "turn 3", "random"]
    assert conditions("imu with blocks of their own") == ["as it is", "100 ms", "turn 1", "random"]


def test_parts_of_each_kind(made):
    parts = lambda name: {f.name: f.type.list_size for f in pq.read_schema(made(name)[0] / "embeddings.parquet") if hasattr(f.type, "list_size")}
    assert parts("ecg") == dict(inv=8, var=4, free=4)
    assert parts("ecg with blocks of their own") == dict(inv=8, var_shift=4, var_stretch=4, var_gain=4, free=4)
    found = json.loads((made("imu with found sizes")[0] / "allocation.json").read_text())
    sizes = dict(inv=found["d_inv"], var_gain=found["d_var"], var_rotation=found["d_var"], free=20 - found["d_inv"] - 2 * found["d_var"])
    assert parts("imu with found sizes") == {k: v for k, v in sizes.items() if v}


def test_what_holds_by_construction_is_said_to(made):
    "Of a network that cannot see turns, that it survives them is no finding."
    told = {name: (made(name)[0] / "summary.md").read_text() for name in RUNS if name.startswith("imu") or name == "ecg"}
    verdict = lambda name: [" ".join(k.split()) for k in told[name].split("\n- ")[1:]]
    said = lambda name, words: [k.partition("] ")[2].partition(". ")[0] for k in verdict(name) if f". {words}: inv is computed" in k]
    claims = ["inv survives and tells subjects apart", "The subject is found again after a move", "The task survives", "inv does not tell the move"]
    for name in ("imu", "imu with an encoder for each device"): assert said(name, "By construction") == claims
    assert said("imu with blocks of their own", "By construction, as far as turns go") == claims
    for name in ("ecg", "imu published", "imu of named subjects"): assert "By construction" not in told[name]
    assert "blind (the task alone" in " ".join(told["imu"].split())


def test_who_is_tested(made):
    e = table(made("imu of named subjects")[0] / "embeddings.parquet")
    assert {*e.subject} == {"s001", "s003"}
    assert table(made("imu")[0] / "embeddings.parquet").subject.nunique() == 1
    e = table(made("ecg")[0] / "embeddings.parquet")
    assert e.patient.nunique() == 4 and e.seconds.min() > 15, "the last part of each recording"


def test_as_a_user_types_it(dfm, forked, tmp_path):
    "In a process of its own, where nothing was imported before; with a simulation that was written first, and with random convolutions."
    rocket = ["baselines=rocket"] if importlib.util.find_spec("pyts") else []
    small = "n_patients=2,minutes=.5,per_patient=25,rate=60,window=.3,margin=.2"
    assert "curves of 2 x 42 samples, 2 patients" in fine(forked("simulate", f"ecg,{small}", "--out", "in.parquet"))
    words = train("in.parquet", "shift=.2", "told=.1", *rocket)
    said = fine(dfm(*words, NUMBA_DISABLE_JIT="1", CUDA_VISIBLE_DEVICES=""))  # to compile takes longer than a few windows do without
    assert said == (tmp_path / "run" / "summary.md").read_text() + "\n"
    sound(tmp_path / "run", left(*(["rocket"] if rocket else [])))
    assert "is finished" in fine(forked("resume", "run"))
    said = fine(forked("embed", "run", "--data", "in.parquet", "--out", "new.parquet", "--quiet"))
    assert re.fullmatch(r"new.parquet: \d+ observations, inv of 8 dimensions, var of 4 dimensions, free of 4 dimensions\n", said)


# Seeds and words.

def bits(run: Path) -> dict:
    "What has to be the same in two runs that are the same."
    return {p: v for p, v in tree(run).items() if p.endswith((".safetensors", ".parquet", "audit.json", "allocation.json"))}


def test_the_seed_decides_and_nothing_else(made, forked, tmp_path):
    first, (_, settings, _, baselines) = made("ecg")[0], RUNS["ecg"]
    words = lambda seed, out: train(ECG, *settings, f"baselines={baselines}", f"seed={seed}", out=out)
    fine(forked(*words(0, "again")))
    assert bits(tmp_path / "again") == bits(first)
    loud = forked(*[w for w in words(1, "other") if w != "--quiet"])
    assert loud.returncode == 0 and "train" in loud.stderr and "augment" in loud.stderr and "Warning" not in loud.stderr
    other = bits(tmp_path / "other")
    assert {*other} == {*bits(first)} and all(other[k] != v for k, v in bits(first).items())


# Data and words that cannot be used.

WORDS = {
    "an unknown task": (["eeg", "ecg, imu"], train(ECG, task="eeg")),
    "an unknown setting": (["dirty", "published"], train(ECG, more=("--setting", "dirty"))),
    "a task of another recipe": (["--task", "scl"], ("run", "causal", "--task", "ecg", "--data", "sim:tiny", "--out", "run")),
    "an unknown setting of a setting": ("shifts=3", train(ECG, "shifts=3")),
    "an unknown simulation": ("sim:eeg", train("sim:eeg")),
    "other factors": (["'star'", "--factors"], train(ECG, more=("--factors", "star"))),
    "an unknown target": (["target", "'rythm'", "rhythm"], train(ECG, "target=rythm")),
    "an unknown split": (["split", "'rythm'", "rhythm"], train(ECG, "split=rythm")),
    "an unknown name": (["held_names", "'p009'", "p001"], train(ECG, "split=patient", "target=beat", "held_names=p001,p009")),
    "nobody to learn from": ("split=patient", train(ECG, "split=patient", "target=beat", "held_names=p000,p001,p002,p003")),
    "targets that are never learnt": ("trained on", train(ECG, "split=patient")),
    "one class": (["patient", "1 value"], train("sim:ecg,n_patients=1,minutes=1,rate=60")),
    "little data": (["split=seconds", "windows"], train("sim:ecg,n_patients=2,minutes=.2,rate=60")),
    "a shift beyond the margin": (["shift", "5 s"], train(ECG, "shift=5")),
    "a window beyond the margin": (["window", "wider margin"], train(ECG, "window=3")),
    "a window of nothing": (["window", "0.1 s"], train(ECG, "window=.1")),
    "a shift of less than a sample": (["shift", "sample"], train(ECG, "shift=.001")),
    "a stretch beyond the margin": ("stretch", train(IMU, "shift=1.2", "stretch=1.5", task="imu")),
    "a turn of two leads": (["2 channels", "groups of three"], train(ECG, "rotation=true")),
    "blindness without turns": (["eyes", "rotation"], train(ECG, "eyes=blind")),
    "a blind baseline without turns": (["'blind'", "rotation"], train(ECG, "baselines=task,blind")),
    "a blind baseline of nothing": (["blind", "d_inv"], train(IMU, "d_inv=0", "loss=none", "head=all", "baselines=blind", task="imu")),
    "no moves": ("nothing happens", train(ECG, "shift=0")),
    "an nce of nothing": ("d_inv", train(ECG, "d_inv=0", "head=all")),
    "a head of nothing": (["head", "d_inv 0"], train(ECG, "d_inv=0", "loss=none")),
    "a head of even less": (["head", "d_free 0"], train(ECG, "d_inv=0", "d_free=0", "head=inv+free", "loss=none")),
    "an odd width": (["width", "12"], train(ECG, "width=12")),
    "no losses": ("w_", train(ECG, "w_task=0", "w_pull=0", "w_push=0", "w_tell=0")),
    "losses of nothing": ("w_", train(ECG, "views=none", "loss=none", "w_push=0", "w_tell=0")),
    "devices without a column": (["devices=each", "'device'"], train(ECG, "devices=each")),
    "one device for each": (["devices=each", "'moment'"], train(IMU + ",devices=1", "devices=each", task="imu")),
    "options of readers": ("window=2", train(ECG, more=("--read", "window=2")))}


@pytest.mark.parametrize("what", WORDS)
def test_words_that_cannot_be_obeyed(what, refused):
    words, command = WORDS[what]
    refused(words, *command)


def keep(rows):
    "Changes that leave some windows, channels or samples: rows is an index of x."
    return lambda a: a["x"][rows]


ARRAYS = {
    "no times": (dict(t=None), ["t in seconds"]),
    "times of one sample": (dict(t=lambda a: a["t"] * 0), ["regular times"]),
    "irregular times": (dict(t=lambda a: np.sign(a["t"]) * a["t"]**2), ["regular times"]),
    "times of two rates": (dict(t=lambda a: a["t"] * np.where(np.arange(len(a["x"])) > 90, 2, 1)[:, None]), ["regular times"]),
    "times of another unit": (dict(t=lambda a: a["t"] * 1000), ["shift"]),
    "short windows": (dict(x=lambda a: a["x"][..., :20], t=lambda a: a["t"][:20]), ["longer windows"]),
    "a window of NaN": (dict(x=lambda a: np.where(np.arange(len(a["x"]))[:, None, None] == 3, np.float32(np.nan), a["x"])), ["[3]"]),
    "a flat channel": (dict(x=lambda a: a["x"] * np.float32([[[1], [0]]])), ["channel 1", "flat"]),
    "values beyond all measure": (dict(x=lambda a: a["x"] * np.float32(1e30)), ["standard deviation"]),
    "no column of the target": (dict(patient=None, who=lambda a: a["patient"]), ["'patient'"]),
    "no seconds": (dict(seconds=None), ["seconds", "split=patient"]),
    "seconds that are words": (dict(seconds=lambda a: np.where(a["seconds"] > 9, "late", "early")), ["seconds", "numbers"]),
    "seconds that are unknown": (dict(seconds=lambda a: a["seconds"] * np.nan), ["split=seconds"]),
    "one patient": (dict(patient=lambda a: np.array(["p0"] * len(a["x"]))), ["1 value"]),
    "nobody's name": (dict(patient=lambda a: np.where(np.arange(len(a["x"])) == 3, "", a["patient"])), ["'patient'", "row 3"])}
TAKEN = ["guess", "condition", "inv", "var", "free", "task", "rocket", "shift"]


@pytest.mark.parametrize("what", [*ARRAYS, *TAKEN])
def test_arrays_that_cannot_be_used(what, ecg, refused, tmp_path):
    changes, words = ARRAYS.get(what) or ({what: ecg["rhythm"]}, [repr(what), "rename"])
    written(tmp_path / "in.npz", ecg, **changes)
    refused(["in.npz", *words], *train("in.npz"))


def test_columns_that_others_would_write(forked, ecg, tmp_path):
    "What this run does not write may have any name."
    written(tmp_path / "in.npz", ecg, rotation=ecg["rhythm"], stretch=ecg["heart_rate"], var_shift=ecg["rhythm"], gain=ecg["rhythm"])
    fine(forked(*train("in.npz")))
    assert {*table(tmp_path / "run" / "embeddings.parquet").gain} == {*ecg["rhythm"]}


def test_a_recording_may_be_the_subject(forked, imu, tmp_path):
    written(tmp_path / "in.npz", imu)
    fine(forked(*(w.replace("subject,device", "recording") for w in train("in.npz", "split=device", task="imu"))))
    assert json.loads((tmp_path / "run" / "audit.json").read_text())["about"]["factors"] == ["recording", "condition"]


def test_what_is_not_known_is_left_out(forked, ecg, tmp_path):
    "Windows without a label are not learnt, numbers and yes and no are labels too, and samples may be missing."
    n = len(ecg["x"])
    hole = np.where(np.arange(ecg["x"].shape[2]) % 50 < np.arange(n)[:, None, None] % 5, np.float32(np.nan), ecg["x"])
    kinds = dict(words=np.where(np.arange(n) % 5 == 0, "", ecg["rhythm"]), number=np.unique(ecg["patient"], return_inverse=True)[1] % 3, answer=ecg["patient"] < "p002")
    written(tmp_path / "in.npz", ecg, x=hole, **kinds)
    known = dict(words=sorted({*ecg["rhythm"]}), number=["0", "1", "2"], answer=["False", "True"])
    for (name, classes), answer in zip(known.items(), forked(*(train("in.npz", f"target={k}", out=k) for k in known))):
        fine(answer)
        assert json.loads((tmp_path / name / "config.json").read_text())["classes"] == [*map(str, classes)]
        sound(tmp_path / name, left())


KINDS = {int: ("-1", "0", "x"), float: ("-1", "0", "nan", "inf", "1e30", "x"), str: ("", "x"), bool: ("x",), tuple: ("", "nan", "-1", "1e30", "x")}
FIELDS = {f.name: type(f.default) for f in fields(SCLConfig)}


@pytest.mark.parametrize("name", FIELDS)
def test_values_of_each_setting(name, forked, tmp_path):
    "Every value of every setting is refused, with its name, or works: no traceback, no warning, nothing that is not a number."
    values = [v for v in KINDS[FIELDS[name]] if (v, LEAST.get(name)) != ("0", 0)]  # 0 is mostly nothing special
    allowed(forked, tmp_path, "ecg", *([f"{name}={v}"] for v in values))


def allowed(forked, folder: Path, task, *cases):
    "Each list of settings works, or is refused by name and leaves nothing."
    answers = forked(*(train(dict(ecg=ECG, imu=IMU)[task], "checkpoint_every=99", *settings, task=task, out=f"run{k}") for k, settings in enumerate(cases)))
    for k, (settings, answer) in enumerate(zip(cases, answers, strict=True)):
        if answer.returncode == 0: fine(answer); sound(folder / f"run{k}", left(allocation="allocation=auto" in settings)); continue
        said = message(answer)
        assert any(s.split("=")[0] in said for s in settings) or "w_*" in said or "became infinite or NaN" in said, f"{settings}: {said}"
        assert not (folder / f"run{k}").exists(), settings
    assert {p.name for p in folder.iterdir()} == {f"run{k}" for k, a in enumerate(answers) if a.returncode == 0}


TOGETHER = [["d_var=0", "d_free=0"], ["d_var=0", "blocks=each"], ["d_inv=0", "loss=none", "head=inv+free", "blocks=each"], ["d_inv=0", "loss=ratio", "head=all"], ["d_inv=1", "d_var=1", "d_free=1", "blocks=each", "stretch=.1"],
            ["allocation=auto", "d_inv=1", "d_var=0", "d_free=0"], ["allocation=auto", "d_var=0", "w_tell=0"], ["loss=simclr", "blocks=each"], ["told=0"], ["told=5", "at=.3,.3"], ["told=.001"], ["w_task=0", "w_pull=0", "w_push=0", "head=all"],
            ["w_task=0", "w_push=0", "w_tell=0", "beta=0"], ["lr=1", "steps=1"], ["batch=9999", "tested=9999", "checkpoint_every=1"], ["batch=4", "loss=ratio", "precision=bf16"], ["held=.9"], ["held=.05", "seed=123456789012345678901"]]
IMUS = [["devices=each", "d_var=0", "d_free=0"], ["devices=each", "eyes=raw", "shift=.1", "batch=4"], ["eyes=blind", "d_inv=0", "loss=none", "head=all"], ["loss=ratio", "negatives=queue", "devices=each", "queue=8"],
        ["split=device"], ["split=seconds"], ["target=step_frequency", "split=activity"], ["gain=5", "stretch=.1", "blocks=each"]]


@pytest.mark.parametrize("task, settings", [*(("ecg", s) for s in TOGETHER), *(("imu", s) for s in IMUS)], ids=lambda v: v if isinstance(v, str) else " ".join(v))
def test_settings_together(task, settings, forked, tmp_path): allowed(forked, tmp_path, task, settings)


# Crashes, signals and what comes after.

RUN = train("ecg.npz", "allocation=auto", "baselines=task,simclr", "at=0,.3")  # allocation: 6 steps
RESUME = "resume", "run", "--quiet"
LEFT = left("task", "simclr", allocation=True)
MOMENTS = [("allocation/metrics.jsonl", 2), "allocation/checkpoint/state.safetensors", "allocation/checkpoint/model.safetensors", "allocation.json", ("metrics.jsonl", 2), "checkpoint/state.safetensors", "embeddings.parquet",
           ("baselines/task/metrics.jsonl", 2), "baselines/task/checkpoint/model.safetensors", "baselines/task.parquet", ("baselines/simclr/checkpoint/state.safetensors", 3), "baselines/simclr.parquet", "audit.json", "report.html", "summary.md"]


@pytest.fixture(scope="module")
def whole(fork, ecg, tmp_path_factory) -> Path:
    "A run that nobody stopped, with its data beside it. Not to be changed."
    folder = tmp_path_factory.mktemp("whole")
    written(folder / "ecg.npz", ecg)
    fine(fork(*RUN, cwd=folder))
    return folder / "run"


@pytest.fixture
def path(whole, tmp_path) -> Path:
    "Where a run on the same data will be."
    shutil.copy(whole.parent / "ecg.npz", tmp_path)
    return tmp_path / "run"


@pytest.fixture
def run(whole, path) -> Path:
    "A copy of the run and its data."
    edit(shutil.copytree(whole, path) / "config.json", lambda c: c["data"].update(source=str(path.parent / "ecg.npz")))
    return path


def same(run: Path, whole: Path):
    "The end of a run that was stopped is the end of one that was not."
    assert files(run) == files(whole) == LEFT, "what a crash left half-written has to go"
    assert len(bits(whole)) == 13
    for name, content in bits(whole).items(): assert (run / name).read_bytes() == content, name
    for p in run.rglob("metrics.jsonl"):
        steps = lambda r: [json.loads(k)["step"] for k in (r / p.relative_to(run)).read_text().splitlines()]
        assert steps(run) == steps(whole)
    said = lambda r: (r / "summary.md").read_text().partition("\n\nReport with pictures: ")[0]
    assert said(run) == said(whole)


def test_a_run_without_accident(whole): sound(whole, LEFT)


def test_a_crash_at_some_changes(path, whole, forked, fork, tmp_path):
    "What is on the disk just before a change is what a crash there leaves."
    fine(forked(*RUN, crash=(path, 0, tmp_path / "at")))
    states = sorted((tmp_path / "at").iterdir(), key=lambda p: int(p.name))
    assert len(states) > 60
    for state in states[2::15]:
        fine(fork(*RESUME, cwd=state))
        same(state / "run", whole)


def test_crash_after_crash(path, whole, forked):
    "At each moment, one after the other."
    words = RUN
    for moment in MOMENTS:
        answer = forked(*words, crash=(path, moment, signal.SIGKILL))
        assert answer.returncode == -signal.SIGKILL, f"{moment}: {answer.stderr}"
        words = RESUME
    fine(forked(*words))
    same(path, whole)


def stopped(answer, moment=""):
    "It ended at once, and said how to go on."
    assert (answer.returncode, answer.stderr) == (130, "dfm: stopped and saved; continue with: dfm resume run\n"), f"{moment}: status {answer.returncode}\n{answer.stderr}"


def test_signal_after_signal(path, whole, forked):
    "The same with signals that ask for an end."
    words = RUN
    for k, moment in enumerate(MOMENTS):
        stopped(forked(*words, crash=(path, moment, (signal.SIGINT, signal.SIGTERM)[k % 2])), moment)
        assert not [p for p in files(path) if p.endswith(".tmp")]
        words = RESUME
    fine(forked(*words))
    same(path, whole)


@pytest.mark.parametrize("moment", ["allocation.json", "audit.json"])
def test_a_signal_in_the_first_run(moment, path, whole, forked):
    stopped(forked(*RUN, crash=(path, moment, signal.SIGTERM)))
    fine(forked(*RESUME))
    same(path, whole)


@pytest.mark.parametrize("moment", ["config.json", "allocation/checkpoint"])
def test_a_signal_before_there_is_anything_to_save(moment, path, forked, tmp_path):
    before = tree(tmp_path)
    answer = forked(*RUN, crash=(path, moment, signal.SIGINT))
    assert (answer.returncode, answer.stderr) == (130, "dfm: stopped\n") and tree(tmp_path) == before


def test_from_another_place(path, whole, forked, tmp_path):
    "The run was moved, and is resumed from somewhere else; the data are where they were."
    stopped(forked(*RUN, crash=(path, "baselines/task.parquet", signal.SIGTERM)))
    elsewhere = tmp_path / "else" / "where"
    elsewhere.mkdir(parents=True)
    path.rename(tmp_path / "else" / "moved")
    fine(forked("resume", "../moved", "--quiet", cwd=elsewhere))
    same(tmp_path / "else" / "moved", whole)


def test_a_finished_run_is_left_alone(whole, forked):
    before = tree(whole)
    assert "is finished" in fine(forked("resume", whole)) and tree(whole) == before


def test_what_is_gone_is_made_again(run, whole, forked):
    "What a run has is not done twice."
    gone = {"summary.md", "audit.json", "baselines/task.parquet", "embeddings.parquet"}
    for name in gone: (run / name).unlink()
    before = {k: (run / k).stat().st_mtime_ns for k in files(run)}
    fine(forked(*RESUME))
    same(run, whole)
    made = {k for k in files(run) if before.get(k) != (run / k).stat().st_mtime_ns}
    assert made - {"report.html", *TRAINED, *(f"baselines/task/{k}" for k in TRAINED)} == gone


CHANGES = {
    "values": dict(x=lambda a: a["x"] * np.float32(1.001)),
    "times": dict(t=lambda a: a["t"] * 1.01),
    "a mask": dict(mask=lambda a: np.arange(a["x"].shape[2]) > 3 + np.zeros((len(a["x"]), 1))),
    "names": dict(patient=lambda a: np.where(a["patient"] == "p001", "another", a["patient"])),
    "labels": dict(rhythm=lambda a: a["rhythm"][::-1]),
    "when": dict(seconds=lambda a: a["seconds"][::-1]),
    "recordings": dict(recording=lambda a: np.where(a["seconds"] > 9, "b", "a"))}


@pytest.fixture(scope="module")
def rhythms(fork, ecg, tmp_path_factory) -> Path:
    "A run that learns what is no factor."
    folder = tmp_path_factory.mktemp("rhythms")
    written(folder / "ecg.npz", ecg)
    fine(fork(*train("ecg.npz", "target=rhythm"), cwd=folder))
    (folder / "run" / "summary.md").unlink()
    return folder


@pytest.mark.parametrize("what", CHANGES)
def test_other_data_are_refused(what, ecg, rhythms, fork):
    written(rhythms / "ecg.npz", ecg, **CHANGES[what])
    before = tree(rhythms)
    for command in ("resume", "audit"):
        said = message(fork(command, "run", "--quiet", cwd=rhythms))
        assert "the data of run have changed" in said and "ecg.npz" in said and tree(rhythms) == before


def test_data_that_are_gone(run, refused, tmp_path):
    (run / "summary.md").unlink()
    (tmp_path / "ecg.npz").unlink()
    refused("ecg.npz does not exist", *RESUME)


CONFIGS = {
    "no settings": lambda c: c.pop("settings") and c,
    "an unknown setting": lambda c: c["settings"].update(wings=2),
    "a setting of another type": lambda c: c["settings"].update(steps="many"),
    "a setting that is out of range": lambda c: c["settings"].update(d_inv=-1),
    "a list of names": lambda c: c["settings"].update(baselines=["task"]),
    "no setting of one name": lambda c: c["settings"].pop("at") and c,
    "another recipe": lambda c: c.update(recipe="sieve"),
    "the other recipe": lambda c: c.update(recipe="causal")}
MODELS = {k: CONFIGS[k] for k in ("no settings", "a setting that is out of range", "another recipe", "the other recipe")} | {
    "no model": lambda c: c.pop("model") and c,
    "an unknown part": lambda c: c["model"].update(wings=2),
    "a part of another type": lambda c: c["model"].update(width="wide"),
    "another width": lambda c: c["model"].update(width=16),
    "no classes": lambda c: c.pop("classes") and c}


@pytest.mark.parametrize("what", {**CONFIGS, **MODELS})
def test_a_configuration_with(what, run, refused):
    (run / "summary.md").unlink()
    edit(run / "config.json", (CONFIGS | MODELS)[what])
    words = ["run", "'sieve'"] if what == "another recipe" else "config.json"
    if what in CONFIGS:
        for command in ("resume", "audit"): refused(words, command, "run", "--quiet")
    if what in MODELS: refused(words, "embed", "run", "--data", "ecg.npz", "--out", "new.parquet", "--quiet")


@pytest.mark.parametrize("what", ["cut off", "of another format", "with a broken header"])
def test_a_checkpoint_that_is(what, run, refused):
    for name in ("summary.md", "embeddings.parquet"): (run / name).unlink()
    for name in ("state", "model"): CHECKPOINTS[what](run / "checkpoint" / f"{name}.safetensors")
    refused("checkpoint/state.safetensors", *RESUME)
    refused("checkpoint/model.safetensors", "embed", "run", "--data", "ecg.npz", "--out", "new.parquet", "--quiet")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"d_inv": "x", "d_var": 3}', '{"d_inv": -3, "d_var": 3}', '{"d_inv": 9, "d_var": 3}'])
def test_an_allocation_that_is(content, run, refused):
    (run / "allocation.json").write_text(content)
    for name in ("summary.md", "embeddings.parquet"): (run / name).unlink()
    refused("", *RESUME)
    refused("", "embed", "run", "--data", "ecg.npz", "--out", "new.parquet", "--quiet")


def test_audits_anew(run, whole, forked, refused):
    (run / "report.html").unlink()
    assert fine(forked("report", "run")) == "run/report.html\n"
    private(run / "report.html")
    assert fine(forked("audit", "run", "--quiet")) == (run / "summary.md").read_text() + "\n"
    same(run, whole)
    fine(forked("audit", "run", "--quiet", "--labels", "30", "--draws", "3", "--seed", "5"))
    about = json.loads((run / "audit.json").read_text())["about"]
    assert (about["labels"], about["seed"]) == (30, 5)
    (run / "baselines/task.parquet").unlink()
    refused(["baselines/task.parquet", "dfm resume run"], "audit", "run", "--quiet")
    (run / "embeddings.parquet").unlink()
    refused(["not been trained", "dfm resume run"], "audit", "run", "--quiet")
    (run / "summary.md").unlink()
    refused(["not finished", "dfm resume run"], "report", "run")


# New windows.

@pytest.fixture
def embed(forked, ecg, tmp_path):
    "embed(run, changes): what `dfm embed` makes of changed data."
    def call(run, **changes) -> pd.DataFrame:
        (tmp_path / "new.parquet").unlink(missing_ok=True)
        written(tmp_path / "new.npz", ecg, **changes)
        fine(forked("embed", run, "--data", "new.npz", "--out", "new.parquet", "--quiet"))
        return table(tmp_path / "new.parquet")
    return call


def agree(new: pd.DataFrame, run: Path):
    "Latents and guesses are those that the run wrote of the windows that it tested."
    e = table(run / "embeddings.parquet")
    e = e[e.condition == "as it is"]
    both = e.merge(new, on=["patient", "seconds"], suffixes=("", "_new"))
    assert len(both) == len(e) == 20
    for part in ("inv", "var", "free"):
        if part in e: np.testing.assert_allclose(np.stack(both[part]), np.stack(both[f"{part}_new"]), atol=2e-6)
    assert (both.guess == both.guess_new).all()


def test_windows_of_the_run_embedded_again(whole, ecg, embed):
    new = embed(whole)
    assert len(new) == len(ecg["x"]) and [*new.patient] == [*ecg["patient"]] and np.isfinite(np.stack(new.inv)).all()
    agree(new, whole)


def test_windows_of_other_lengths(whole, ecg, embed):
    "What lies beyond the window is not looked at."
    g, n = np.random.default_rng(0), ecg["x"].shape[2]
    noise = g.normal(size=(*ecg["x"].shape[:2], 30)).astype("f4")
    t = lambda n: (np.arange(n) - n // 2) / 60
    agree(embed(whole, x=np.concatenate([noise, ecg["x"], noise], 2), t=t(n + 60)), whole)
    agree(embed(whole, x=ecg["x"][..., 50:-50], t=t(n - 100)), whole)  # exactly the window


def test_moved_runs_are_embedded_without_their_data(whole, ecg, embed, tmp_path):
    agree(embed(shutil.copytree(whole, tmp_path / "copy")), whole)


NEW = {
    "too short": (dict(x=keep(np.s_[..., 51:-50]), t=lambda a: a["t"][51:-50]), ["121 samples", "122"]),
    "of one channel": (dict(x=keep(np.s_[:, :1])), ["1 channel", "2"]),
    "of three channels": (dict(x=lambda a: a["x"][:, [0, 1, 1]]), ["3 channels", "2"]),
    "without times": (dict(t=None), ["t in seconds"]),
    "at another rate": (dict(t=lambda a: a["t"] * 2), ["a sample every 0.03333 s", "Resample"]),
    "with nothing in it": (dict(x=lambda a: np.where(np.arange(len(a["x"]))[:, None, None] == 3, np.float32(np.nan), a["x"])), ["[3]"]),
    "beyond all measure": (dict(x=lambda a: a["x"] * np.float32(1e30)), ["extreme"]),
    "without names": (dict(patient=None), ["'patient'"]),
    "with a column inv": (dict(inv=np.arange(111.)), ["'inv'", "rename"]),
    "with a column guess": (dict(guess=np.arange(111.)), ["'guess'", "rename"])}


@pytest.mark.parametrize("what", NEW)
def test_new_windows(what, whole, ecg, refused, tmp_path):
    changes, words = NEW[what]
    written(tmp_path / "new.npz", ecg, **changes)
    refused(["new.npz", *words], "embed", whole, "--data", "new.npz", "--out", "new.parquet", "--quiet")


def test_devices_that_are_not_known(made, imu, forked, refused, tmp_path):
    run = made("imu with an encoder for each device")[0]
    embed = "embed", run, "--data", "new.npz", "--out", "new.parquet", "--quiet"
    for changes, words in ((dict(device=lambda a: np.where(a["device"] == "phone", "ring", a["device"])), "'ring'"), (dict(device=None), "'device'")):
        written(tmp_path / "new.npz", imu, **changes)
        refused(["new.npz", words], *embed, *(("--factors", "subject") if changes["device"] is None else ()))
    one = imu["device"] == "watch"
    written(tmp_path / "new.npz", {k: v[one] if k != "t" else v for k, v in imu.items()})
    fine(forked(*embed))
    new, e = table(tmp_path / "new.parquet"), table(run / "embeddings.parquet")
    both = e[e.condition == "as it is"].merge(new, on=["moment", "device"], suffixes=("", "_new"))
    assert len(both) and {*both.device} == {"watch"}
    np.testing.assert_allclose(np.stack(both.inv), np.stack(both.inv_new), atol=2e-6)
