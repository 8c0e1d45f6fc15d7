"""A run that is stopped, killed or crashes at any moment continues to the same bits.

Time is not to be trusted on a busy machine, so most signals are sent at a change of the run's folder: just before a file or
folder in it is made, opened for writing, or put in its place.
"""
import json
import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from test_cli import CHECKPOINTS, ORDER, TRAINED, files, fine, message, survey, train, tree, written  # survey is a fixture

AE = "baselines/autoencoder"
RUN = train("survey.npz", "baselines=pca,autoencoder")  # 20 steps each, metrics after 10 and 20, checkpoints after 7, 14 and 20
SHORT = train("survey.npz", "baselines=pca,autoencoder", "steps=11")  # metrics after 10 and 11, checkpoints after 7 and 11
RESUME = "resume", "run", "--quiet"
LEFT = {*ORDER, f"{AE}.parquet", *(f"{AE}/{name}" for name in TRAINED)}
SAME = sorted(k for k in LEFT if k.endswith((".safetensors", ".parquet", ".csv", "audit.json")))
TERMS = {"": ("star", "instr", "wave", "spectrum", "shape"), AE: ("wave",)}


def ran(fork, survey, tmp_path_factory, words) -> Path:
    "A run with its data beside it."
    folder = tmp_path_factory.mktemp("whole")
    written(folder / "survey.npz", survey)
    fine(fork(*words, cwd=folder))
    return folder / "run"


@pytest.fixture(scope="module")
def whole(fork, survey, tmp_path_factory) -> Path:
    "A run that nobody stopped."
    return ran(fork, survey, tmp_path_factory, RUN)


@pytest.fixture(scope="module")
def short(fork, survey, tmp_path_factory) -> Path:
    "A shorter one."
    return ran(fork, survey, tmp_path_factory, SHORT)


@pytest.fixture
def path(whole, tmp_path) -> Path:
    "Where a run on the same data will be."
    shutil.copy(whole.parent / "survey.npz", tmp_path)
    return tmp_path / "run"


@pytest.fixture
def half(path, forked) -> Path:
    "A run that crashed at step 10."
    killed(forked(*RUN, crash=(path, ("metrics.jsonl", 2), signal.SIGKILL)))  # the first time it is emptied
    return path


def killed(answer): assert answer.returncode == -signal.SIGKILL, answer.stderr


def metrics(run: Path, folder: str = "") -> list: return [json.loads(k) for k in (run / folder / "metrics.jsonl").read_text().splitlines()]


def arrays(path: Path) -> dict:
    "Those of an NPZ file, in which the time is written too."
    with np.load(path) as f: return {k: (v.dtype, v.shape, v.tobytes()) for k, v in f.items()}


def same(run: Path, whole: Path):
    "The end of a run that was stopped is the end of one that was not."
    for name in SAME: assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    assert arrays(run / "decoded.npz") == arrays(whole / "decoded.npz")
    assert files(run) == LEFT, "what a crash left half-written has to go"
    for folder, terms in TERMS.items():
        a, b = metrics(run, folder), metrics(whole, folder)
        assert [k["step"] for k in a] == [k["step"] for k in b]
        for one, other in zip(a, b):  # a mean may be over fewer steps, those after the checkpoint
            for term in terms: assert one[term] == pytest.approx(other[term], rel=.3), f"{folder} {term} at step {one['step']}"
    said = lambda r: (r / "summary.md").read_text().partition("\n\nReport with pictures: ")[0]
    assert said(run) == said(whole)


def test_a_crash_at_every_change(path, short, forked, both, tmp_path):
    "What is on the disk just before a change is what a crash there leaves."
    fine(forked(*SHORT, crash=(path, 0, tmp_path / "at")))
    states = sorted((tmp_path / "at").iterdir(), key=lambda p: int(p.name))
    assert len(states) > 40 and not (states[0] / "run" / "config.json").exists() and not (states[-1] / "run" / "summary.md").exists()

    def check(fork, state):
        answer = fork(*RESUME, cwd=state)
        if not (state / "run" / "config.json").exists(): assert "config.json" in message(answer); return  # it had not begun
        fine(answer)
        same(state / "run", short)
    both(check, states)


def test_crashes_after_crashes(path, whole, forked):
    g, crashes = np.random.default_rng(0), 1
    answer = forked(*RUN, crash=(path, 8, signal.SIGKILL))
    while answer.returncode == -signal.SIGKILL and crashes < 50:
        answer = forked(*RESUME, crash=(path, int(g.integers(1, 25)), signal.SIGKILL))
        crashes += 1
    fine(answer)
    assert crashes > 3
    same(path, whole)


def test_kill_at_any_time(path, whole, forked):
    g, words = np.random.default_rng(1), RUN
    for _ in range(6):
        delay = g.uniform(.05, .8)
        forked(*words, during=lambda pid: kill_after(pid, delay))
        if (path / "config.json").exists(): words = RESUME
        else: shutil.rmtree(path, ignore_errors=True)
    fine(forked(*words))
    same(path, whole)


def kill_after(pid: int, delay: float):
    time.sleep(delay)
    with suppress(ProcessLookupError): os.kill(pid, signal.SIGKILL)  # unless it has ended


MOMENTS = [("metrics.jsonl", 2), "checkpoint/state.safetensors", ("checkpoint/state.safetensors", 3), "checkpoint/model.safetensors", "embeddings.parquet",
           (f"{AE}/metrics.jsonl", 2), f"{AE}/checkpoint/state.safetensors", f"{AE}.parquet", "decoded.npz", "audit.json", "anomalies.csv", "report.html", "summary.md"]


STOPS = [*((signal.SIGINT, k) for k in MOMENTS), *((signal.SIGTERM, k) for k in MOMENTS[::2])]


@pytest.fixture(scope="module")
def stopped(both, survey, request, tmp_path_factory) -> dict:
    "Of each signal that is to be tested: what was said, what was left, what was said when that was resumed, and the run."
    def stop(fork, stop):
        folder = tmp_path_factory.mktemp("stopped")
        written(folder / "survey.npz", survey)
        answer, there = fork(*RUN, cwd=folder, crash=(folder / "run", *stop[::-1])), files(folder / "run")
        return answer, there, fork(*RESUME, cwd=folder), folder / "run"
    ask = [(p["which"], p["moment"]) for k in request.session.items if getattr(k, "originalname", "") == "test_a_signal_stops_and_saves" for p in [k.callspec.params]]
    return dict(zip(ask, both(stop, ask)))


@pytest.mark.parametrize("which, moment", STOPS, ids=lambda v: getattr(v, "name", str(v)))
def test_a_signal_stops_and_saves(which, moment, stopped, whole):
    answer, there, resumed, run = stopped[which, moment]
    assert answer.returncode == 130 and "Traceback" not in answer.stderr, f"status {answer.returncode}\n{answer.stderr}"
    assert len(answer.stderr.splitlines()) == 1 and "dfm resume run" in answer.stderr
    assert {p.split("/")[-1] for p in there if "." == p.split("/")[-1][0]} == set()
    fine(resumed)
    same(run, whole)


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_a_signal_before_there_is_anything_to_save(which, path, forked, tmp_path):
    before = tree(tmp_path)
    answer = forked(*RUN, crash=(path, "config.json", which))
    assert (answer.returncode, answer.stderr) == (130, "dfm: stopped\n") and tree(tmp_path) == before


def test_from_another_place(half, whole, forked, tmp_path):
    "The run was moved, and is resumed from somewhere else; the data are where they were."
    elsewhere = tmp_path / "else" / "where"
    elsewhere.mkdir(parents=True)
    half.rename(tmp_path / "else" / "moved")
    fine(forked("resume", "../moved", "--quiet", cwd=elsewhere))
    same(tmp_path / "else" / "moved", whole)


def test_a_line_that_was_cut_off(half, whole, forked):
    with open(half / "metrics.jsonl", "a") as f: f.write('{"step": 10, "star": 2.0')
    fine(forked(*RESUME))
    same(half, whole)


@pytest.mark.parametrize("what", ["cut off", "of another format"])
def test_a_checkpoint_of_a_baseline_that_is(what, path, forked, tmp_path):
    killed(forked(*RUN, crash=(path, (f"{AE}/metrics.jsonl", 3), signal.SIGKILL)))
    CHECKPOINTS[what](path / AE / "checkpoint" / "state.safetensors")
    before = tree(tmp_path)
    assert f"{AE}/checkpoint/state.safetensors" in message(forked(*RESUME)) and tree(tmp_path) == before


def test_a_finished_run_is_left_alone(whole, forked):
    before = tree(whole)
    assert "is finished" in fine(forked("resume", whole)) and tree(whole) == before


def test_what_is_gone_is_made_again(path, whole, forked):
    "Without its summary a run is not finished; what it has is not done twice."
    shutil.copytree(whole, path)
    gone = "summary.md", "decoded.npz", "baselines/pca_power.parquet", f"{AE}.parquet"
    for name in gone: (path / name).unlink()
    before = {k: (path / k).stat().st_mtime_ns for k in files(path)}
    fine(forked(*RESUME))
    same(path, whole)
    made = {k for k in files(path) if before.get(k) != (path / k).stat().st_mtime_ns}
    assert made - {"report.html", *(f"{AE}/{k}" for k in TRAINED)} == {*gone}


CHANGES = {
    "all values": dict(x=lambda a: a["x"] * np.float32(1.001)),
    "the last curve": dict(x=lambda a: np.where(np.arange(96)[:, None] == 95, -a["x"], a["x"])),
    "the mask": dict(mask=lambda a: a["mask"][::-1]),
    "no mask": dict(mask=None),
    "times": dict(t=lambda a: 2 * a["t"]),
    "no times": dict(t=None),
    "a name": dict(star=lambda a: np.where(a["star"] == a["star"][0], "another", a["star"])),
    "fewer rows": dict.fromkeys(("x", "mask", "star", "instrument"))}


@pytest.mark.parametrize("what", CHANGES)
def test_other_data_are_refused(what, half, survey, forked, tmp_path):
    changes = {k: (lambda a, k=k: a[k][:-4]) for k in CHANGES[what]} if what == "fewer rows" else CHANGES[what]
    written(tmp_path / "survey.npz", survey, **changes)
    before = tree(tmp_path)
    said = message(forked(*RESUME))
    assert "the data of run have changed" in said and "survey.npz" in said and tree(tmp_path) == before


def test_data_that_are_gone(half, forked, tmp_path):
    (tmp_path / "survey.npz").unlink()
    assert "survey.npz does not exist" in message(forked(*RESUME))
