"""`dfm audit` and `dfm report`: what is asked of every kind of data, what is said of the rest, and what survives damage and full disks.

What is refused is refused as in test_cli: in one message that names what to do, with status 2, and with all files as they were.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfm_nb.core import Embeddings, split
from dfm_nb.data import sources
from test_cli import NOISE, ORDER, SURVEY, TRAINED, audited, disk, edit, files, fine, message, refused, survey, train, trained, tree, written  # some are fixtures

ALL = "pca,features,autoencoder,oracle"
LEFT = {*ORDER, "baselines/features.parquet"} | {f"baselines/{k}{name}" for k in ("autoencoder", "oracle") for name in (".parquet", *(f"/{n}" for n in TRAINED))}
STUDY = train("study.npz", f"baselines={ALL}", "ks=1,3", "held_star=.6", "labels=10")
AUDIT = "audit", "run", "--quiet"
WRITTEN = {"audit.json", "report.html", "summary.md"}  # by an audit


@pytest.fixture(scope="module")
def study() -> dict:
    "A survey of 80 stars, some of them planted, with parameters of every kind; two of them are known of enough stars."
    obs = sources.open_data("sim:tiny,n_stars=80")
    one = np.unique(obs.meta.star, return_inverse=True)[1]  # number of the star
    return dict(x=obs.x[:, 0], mask=obs.mask, t=obs.t, star=obs.meta.star.to_numpy(str), instrument=obs.meta.instrument.to_numpy(str), planted=obs.meta.planted.to_numpy(),
                loud=np.where(one % 3, "quiet", "loud"), beyond=np.choose(one % 32, [*np.full(29, 0.), np.inf, -np.inf, np.nan]) + np.sin(one),
                log_period=obs.meta.log_period.to_numpy(), few=np.where(one < 30, one / 7, np.nan), one_value=np.ones(len(one)))


def some(arrays: dict, rows=slice(None), *names) -> dict:
    "Some rows of a survey without its parameters but for these."
    return {k: arrays[k] if k == "t" else arrays[k][rows] for k in ("x", "mask", "t", "star", "instrument", *names)}


@pytest.fixture(scope="module")
def full(fork, study, tmp_path_factory) -> Path:
    "A finished run with everything in it, on `study.npz` beside it. Not to be changed."
    folder = tmp_path_factory.mktemp("full")
    written(folder / "study.npz", study)
    fine(fork(*STUDY, cwd=folder))
    return folder / "run"


@pytest.fixture(scope="module")
def plain(fork, study, tmp_path_factory) -> Path:
    "A finished run with one parameter and no baselines. Not to be changed."
    folder = tmp_path_factory.mktemp("plain")
    written(folder / "study.npz", some(study, slice(None), "loud"))
    fine(fork(*train("study.npz", "baselines=", "held_star=.6", "labels=10"), cwd=folder))
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path) -> Path:
    "A copy of a finished run on a survey that is too small for most questions, so that its audit is quick."
    return moved(trained, tmp_path)


def moved(run: Path, folder: Path) -> Path:
    "A copy of a run, with its data beside it."
    data = shutil.copy(next(run.parent.glob("*.npz")), folder)
    shutil.copytree(run, folder / "run")
    edit(folder / "run" / "config.json", lambda c: c["data"].update(source=str(data)))
    return folder / "run"


def left(run: Path) -> dict: return {k["what"]: k["why"] for k in json.loads((run / "audit.json").read_text())["left_out"]}


def questions(run: Path, target: str) -> set: return {*audited(run).query("target == @target").question}


# What is asked.

def test_what_a_full_run_leaves(full, study):
    assert files(full) == LEFT
    rows, about = audited(full), json.loads((full / "audit.json").read_text())["about"]
    pair, blocks = ["z_star", "z_instr"], {"autoencoder", "features", "pca_waveform", "pca_power"}
    assert about["data"] == "study.npz" and [*about["blocks"].values()] == pair and (about["labels"], about["draws"], about["seed"]) == (10, 2, 0)
    assert about["counts"] == dict(observations=320, samples=128, star=80, instrument=4) | {"held star": 48, "unseen instrument": 1}
    assert {*rows.question} >= {"few-shot", "few-shot, pooled", "few-shot, unseen instrument", "leak", "leak, pooled", "leak, unseen instrument", "dependence", "factor",
                                "retrieval", "collapse", "rank correlation", "disentanglement", "anomaly", "oracle", "new instrument"}
    for p in ("beyond", "loud"): assert questions(full, p) >= {"few-shot", "few-shot, unseen instrument", "leak", "oracle", "new instrument"}
    assert {*rows.query("question == 'few-shot'").block} == {*rows.query("question == 'retrieval'").block} == {"z_star", *blocks}
    assert {*rows.query("question == 'factor'").block} == {*pair, *blocks} and {*rows.query("question == 'new instrument'").labels} == {0, 1, 3}
    score = rows.drop(columns=["question", "block", "target", "metric", "detail"]).astype(float)
    assert score.score.notna().mean() > .9 and not np.isinf(score).any(axis=None) and (score.low.isna() | (score.low <= score.high)).all()
    summary = (full / "summary.md").read_text()
    for word in ("320 observations", "48 never trained on", "| beyond ", "| loud ", "lanted", "Left out"): assert word in summary
    table = Embeddings.load(full / "baselines" / "oracle.parquet")
    assert table.blocks["oracle"].shape[0] == 320 and np.isfinite(table.blocks["oracle"]).all()


def test_what_cannot_be_asked_is_said(full):
    why = left(full)
    for p in ("few", "log_period"): assert re.fullmatch(r"\d+ stars to learn from and \d+ to test have a value; 20 and 10 are needed", why[p])
    assert "instrument" in why["factor, unseen instrument"], "one instrument was held out, which none can be told from"
    assert questions(full, "one_value") == questions(full, "few") == set() and "one_value" in "".join(why), "what is the same everywhere is said"
    assert audited(full).query("question == 'few-shot' and target == 'beyond'").tested.max() < 24, "stars whose value is infinite or unknown are left out"
    assert "- few: " in (full / "summary.md").read_text()


def test_without_parameters(forked, study, tmp_path):
    written(tmp_path / "study.npz", some(study))
    table = fine(forked(*train("study.npz", "baselines=oracle", "held_star=.5", "ks=1")))
    assert {*audited(tmp_path / "run").question} == {"retrieval", "factor", "collapse", "dependence", "disentanglement", "new instrument"}
    assert "oracle" in left(tmp_path / "run") and "[unknown] z_star knows the star" in table and not (tmp_path / "run" / "baselines").exists()


@pytest.mark.parametrize("value", [1., np.nan, np.inf, "a", ""])
def test_a_parameter_of_one_value(value, forked, survey, tmp_path):
    written(tmp_path / "in.npz", survey, p=np.full(96, value))
    fine(forked(*train("in.npz", "baselines=oracle", "held_star=.5")))
    assert questions(tmp_path / "run", "p") == set() and "oracle" in left(tmp_path / "run") and not (tmp_path / "run" / "baselines").exists()


def test_two_instruments(forked, survey, tmp_path):
    "None is held out: both are needed to train."
    two = np.isin(survey["instrument"], np.unique(survey["instrument"])[:2])
    written(tmp_path / "in.npz", some(survey, two))
    said = fine(forked(*train("in.npz", "held_star=.5", "held_instr=.5", "ks=1")))
    assert "through 2 instruments (0 never trained on)" in " ".join(said.split()) and "held out" in left(tmp_path / "run")["unseen instruments"]
    assert {"retrieval", "factor"} <= {*audited(tmp_path / "run").question} and not [q for q in audited(tmp_path / "run").question if "unseen" in q or "new" in q]


@pytest.mark.parametrize("stars", ["all that are held out", "one that is held out", "all that are trained on"])
def test_an_instrument_that_saw(stars, forked, survey, tmp_path):
    "And no other star."
    star, instrument, groups = survey["star"], survey["instrument"], split(sources.open_data(SURVEY), dict(star=.5, instrument=.2), 0)
    there, away = instrument == instrument[groups["train"][0]], np.isin(star, star[groups["star"]])
    saw = {"all that are held out": away, "one that is held out": star == star[groups["star"][0]], "all that are trained on": ~away}[stars]
    written(tmp_path / "in.npz", some(survey, ~there | saw))
    fine(forked(*train("in.npz", "held_star=.5", "ks=1")))
    assert {*pd.read_parquet(tmp_path / "run" / "embeddings.parquet").instrument} == {*instrument} and {"retrieval", "factor"} <= {*audited(tmp_path / "run").question} | {*left(tmp_path / "run")}


@pytest.mark.parametrize("stars", [4, 6, 12])
def test_few_stars(stars, forked, study, tmp_path):
    "However few can be trained on can be audited."
    here = np.isin(study["star"], np.unique(study["star"])[:stars])
    written(tmp_path / "study.npz", some(study, here, "loud", "beyond"), planted=np.arange(here.sum()) < 4)
    fine(forked(*train("study.npz", "baselines=pca,oracle", "ks=1")))
    assert left(tmp_path / "run").keys() >= {"beyond", "loud", "factor"}


# Another audit.

def test_labels_draws_nulls_and_seed(plain, forked, tmp_path):
    "The same words give the same bits, others do not; what was trained stays as it is."
    run = moved(plain, tmp_path)
    before = tree(run)
    fine(forked(*AUDIT))
    assert tree(run) == before
    for words, asked in (("--seed", 7), (10, 2, 7)), (("--nulls", 3), (10, 2, 0)), (("--labels", 20, "--draws", 3), (20, 3, 0)):
        table = fine(forked(*AUDIT, *words))
        about, after = json.loads((run / "audit.json").read_text())["about"], tree(run)
        assert (about["labels"], about["draws"], about["seed"]) == asked
        assert not audited(run).equals(audited(plain)) and {k for k, v in before.items() if v != after[k]} == WRITTEN, words
    assert 20 in {*audited(run).query("question == 'few-shot'").labels} and " 20 labels" in " ".join(table.split()), "they are asked for, so they are tried"


@pytest.mark.parametrize("words", ["--labels 1", "--labels 0", "--labels -5", "--draws 1", "--nulls 0", "--seed -1"])
def test_numbers_that_cannot_be(words, run, refused):
    refused([words.split()[0], words.split()[1]], *AUDIT, *words.split())


@pytest.mark.parametrize("words", ["--labels ten", "--labels 1e3", "--draws", "--nulls 2.5", "--seed x", "--banana"])
def test_words_that_are_not_known(words, run, forked, tmp_path):
    before = tree(tmp_path)
    answer = forked(*AUDIT, *words.split())  # argparse: its usage, then one message
    assert answer.returncode == 2 and answer.stderr.count("error: ") == 1 and words.split()[0] in answer.stderr and "Traceback" not in answer.stderr
    assert tree(tmp_path) == before


def test_an_audit_needs_the_data(run, survey, refused, tmp_path):
    (tmp_path / "survey.npz").unlink()
    refused("survey.npz does not exist", *AUDIT)
    written(tmp_path / "survey.npz", survey, x=-survey["x"])
    refused("the data of run have changed", *AUDIT)


def test_a_report_needs_the_run_alone(run, forked, tmp_path):
    before = tree(run)
    (tmp_path / "survey.npz").unlink()
    assert fine(forked("report", "run")) == "run/report.html\n" and tree(run) == before
    (run / "report.html").unlink()
    fine(forked("report", "run"))
    assert tree(run) == before


STOPPED = {"in training": ("metrics.jsonl", 2), "before its embeddings": "embeddings.parquet", "in a baseline": ("baselines/autoencoder/metrics.jsonl", 2),
           "before a baseline": "baselines/pca_power.parquet", "before its examples": "decoded.npz", "before its audit": "audit.json"}


@pytest.mark.parametrize("when", STOPPED)
def test_a_run_that_was_stopped(when, survey, forked, refused, tmp_path):
    "It is finished first: an audit of half of it would pass for the whole."
    written(tmp_path / "survey.npz", survey)
    answer = forked(*train("survey.npz", "baselines=pca,autoencoder"), crash=(tmp_path / "run", STOPPED[when], signal.SIGKILL))
    assert answer.returncode == -signal.SIGKILL
    refused("dfm resume run", "report", "run")
    if when != "before its audit": refused("dfm resume run", *AUDIT)
    else:
        fine(forked(*AUDIT))
        assert (tmp_path / "run" / "anomalies.csv").exists(), "whoever has a summary has everything"


def test_a_report_does_not_finish_a_run(survey, forked, refused, tmp_path):
    written(tmp_path / "survey.npz", survey)
    assert forked(*train("survey.npz"), crash=(tmp_path / "run", "anomalies.csv", signal.SIGKILL)).returncode == -signal.SIGKILL
    refused("dfm resume run", "report", "run")


# Files that were damaged.

def change(of): return lambda p: edit(p, of)


def last(**values): return change(lambda a: a["rows"][-1].update(values))


AUDITS = {
    "of a later version": change(lambda a: a.update(format=99)),
    "of an earlier version": change(lambda a: a.pop("format") and a),
    "cut off": lambda p: p.write_bytes(p.read_bytes()[:-300]),
    "empty": lambda p: p.write_text(""),
    "not JSON": lambda p: p.write_text("{'format': 1}"),
    "binary": lambda p: p.write_bytes(NOISE),
    "a list": lambda p: p.write_text("[]"),
    "nothing": lambda p: p.write_text("null"),
    "nested": lambda p: p.write_text("[" * 100_000),
    "a folder": lambda p: (p.unlink(), p.mkdir()),
    "gone": lambda p: p.unlink(),
    "without rows": change(lambda a: a.pop("rows") and a),
    "without a description": change(lambda a: a.pop("about") and a),
    "with a description of other types": change(lambda a: a["about"].update(blocks=["z_star"], factors=3, counts="many")),
    "with labels in words": change(lambda a: a["about"].update(labels="ten")),
    "with rows that are none": change(lambda a: dict(a, rows=[1, 2])),
    "with a row that lacks a column": change(lambda a: a["rows"][-1].pop("null") and a),
    "with words for numbers": last(score="high"),
    "with lists for numbers": last(score=[1, 2]),
    "with numbers for words": last(block=5, target=7, metric=8),
    "with nothing for words": last(block=None, target=None),
    "with a number beyond all measure": last(score=10**400),
    "with things left out that are none": change(lambda a: dict(a, left_out=[3, "x"])),
    "with nothing left out, as a number": change(lambda a: dict(a, left_out=5))}


@pytest.mark.parametrize("what", AUDITS)
def test_an_audit_that_is(what, run, refused):
    "No report is written from it, and the old one is not lost."
    AUDITS[what](run / "audit.json")
    refused(["run/audit.json", "dfm audit"], "report", "run")


@pytest.mark.parametrize("what", ["of a later version", "binary", "gone"])
def test_another_audit_mends_one_that_is(what, run, forked):
    before = tree(run)
    AUDITS[what](run / "audit.json")
    fine(forked(*AUDIT))
    assert tree(run) == before


DAMAGED = {"noise": lambda p: p.write_bytes(NOISE), "empty": lambda p: p.write_bytes(b""), "cut off": lambda p: p.write_bytes(p.read_bytes()[:-100])}


@pytest.mark.parametrize("name", ["embeddings.parquet", "baselines/pca_power.parquet", "baselines/oracle.parquet"])
@pytest.mark.parametrize("what", DAMAGED)
def test_latents_that_are(what, name, full, refused, tmp_path):
    DAMAGED[what](moved(full, tmp_path) / name)
    refused([f"run/{name}", "dfm resume"], *AUDIT)


def test_latents_of_other_rows(full, refused, tmp_path):
    path = moved(full, tmp_path) / "baselines" / "features.parquet"
    Embeddings.load(path)[:-4].save(path)
    refused(["run/baselines/features.parquet", "resume"], *AUDIT)


@pytest.mark.parametrize("name, section", [("embeddings.parquet", "Maps"), ("decoded.npz", "Reconstructions and swaps"), ("anomalies.csv", "Anomalies"), ("metrics.jsonl", "Training")])
@pytest.mark.parametrize("what", ["noise", "cut off", "gone"])
def test_a_report_without(what, name, section, run, forked):
    "What cannot be shown is said; the rest is shown."
    (DAMAGED | dict(gone=Path.unlink))[what](run / name)
    if what == "cut off" and name in ("anomalies.csv", "metrics.jsonl"): return  # of which the rest can be read
    fine(forked("report", "run"))
    page = Page((run / "report.html").read_text())
    assert section in page.left and {"Main numbers", "Maps", "Anomalies", "Training"} - {section} <= page.sections


# A disk that is full, or cannot be written to.

def on(disk, run, free=None):
    "The run on that disk."
    moved(run, disk(None))
    return disk(free) / "run"


@pytest.mark.parametrize("free, name", [(0, "audit.json"), (64, "report.html"), (3000, "report.html")])
def test_no_room_for_an_audit(free, name, run, forked, disk):
    there = on(disk, run, free)
    before = tree(there)
    said = message(forked("audit", there, "--quiet", "--seed", 3))
    assert str(there / name) in said and {k for k, v in tree(there).items() if v != before[k]} == ({"audit.json"} if name != "audit.json" else set())
    assert tree(there).keys() == before.keys(), "nothing half-written"
    disk(None)
    fine(forked("audit", there, "--quiet"))
    assert (there / "audit.json").read_bytes() == before["audit.json"]


@pytest.mark.parametrize("free", [0, 3000])
def test_no_room_for_a_report(free, run, forked, disk):
    there = on(disk, run, free)
    before = tree(there)
    said = message(forked("report", there))
    assert str(there / "report.html") in said and "dfm report" in said and tree(there) == before
    disk(None)
    fine(forked("report", there))


def test_a_run_that_cannot_be_written_to(run, forked, disk):
    there = on(disk, run)
    before = tree(there)
    remount = lambda how: subprocess.run(["mount", "-o", f"remount,{how}", there.parent], check=True)
    remount("ro")
    try:
        for words, name in (("audit", there, "--quiet"), "audit.json"), (("report", there), "report.html"):
            assert str(there / name) in message(forked(*words))
    finally: remount("rw")
    assert tree(there) == before


# Signals.

def unaudited(run: Path) -> Path:
    for name in (*WRITTEN, "anomalies.csv"): (run / name).unlink()
    return run


def test_ctrl_c_in_an_audit(full, forked, tmp_path):
    "After a second of many."
    run = unaudited(moved(full, tmp_path))
    answer = forked("resume", "run", "--quiet", during=lambda pid: (time.sleep(1), os.kill(pid, signal.SIGINT)))
    assert answer.returncode == 130 and answer.stderr == "dfm: stopped and saved; continue with: dfm resume run\n"
    assert files(run) == LEFT - WRITTEN - {"anomalies.csv"}
    fine(forked("resume", "run", "--quiet"))
    assert {k for k, v in tree(run).items() if v != tree(full)[k]} == {"config.json"}, "which says where the data are"


@pytest.mark.parametrize("moment", [*sorted(WRITTEN)])
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGKILL], ids=lambda s: s.name)
def test_a_signal_in_another_audit(which, moment, run, forked):
    "What there was is there, and the next audit leaves nothing of it behind."
    before = tree(run)
    answer = forked(*AUDIT, "--seed", 3, crash=(run, moment, which))
    assert answer.returncode == (130 if which == signal.SIGINT else -which) and "Traceback" not in answer.stderr
    assert tree(run)[moment] == before[moment] and all(v is None or v for v in tree(run).values())
    fine(forked(*AUDIT))
    assert tree(run) == before


# The page.

class Page(HTMLParser):
    "Tags of a page with their attributes, the text outside scripts and styles, and what it says of itself."
    def __init__(self, text: str):
        super().__init__()
        self.tags, self.words, self.styles, self.data, self.inside = [], [], [], [], None
        self.feed(text)
        self.close()
        self.text = " ".join(" ".join(self.words).split())
        self.sections = {*map(str.strip, re.findall(r"<h2 id=\"s\d+\">([^<]*)</h2>", text))}
        self.left = self.text.partition("Left out")[2].rpartition("Left out")[2]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag): self.inside = None

    def handle_data(self, data): (self.data if self.inside == "script" else self.styles if self.inside == "style" else self.words).append(data)

    def count(self, tag: str) -> int: return sum(t == tag for t, _ in self.tags)


def test_a_page_that_needs_nothing_else(full):
    text = (full / "report.html").read_text()
    page = Page(text)
    assert len(text) < 10e6
    links = [v for _, attrs in page.tags for k, v in attrs.items() if k in ("src", "href", "srcset", "data", "action", "poster", "xlink:href")]
    assert links and all(v.startswith("#") for v in links) and not page.count("link") and not page.count("iframe")
    assert not re.search(r"url\(|@import", "".join(page.styles)) and not [a for _, attrs in page.tags for a in attrs if a.startswith("on")]
    policy = [a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert len(policy) == 1 and "default-src 'none'" in policy[0] and "http" not in policy[0]
    assert page.sections == {"Main numbers", "What each block knows", "Few-shot curves", "A new instrument", "Maps", "Reconstructions and swaps", "Anomalies",
                             "Shape of the latents", "Training"} | page.sections
    drawn = [json.loads(d) for d in page.data if d.startswith('{"data":')]
    assert len(drawn) == sum("plot" in (a.get("class") or "").split() for _, a in page.tags) >= 8 and all(f["data"] for f in drawn)
    for word in ("log_period", "few", "z_star", "autoencoder", "dfm report run"): assert word in page.text


ILL = ["<img src=x onerror=alert(1)>", "</script><script>document.title='owned'</script>", "<svg onload=\"document.title='owned'\">", "a|b\n|c|", "{{7*7}}{0}%s", "<a href=javascript:alert(1)>a</a>",
       "</title></style><b>", "&lt;b&gt;", "`[x](javascript:1)`", "' onclick='alert(1)"]


@pytest.fixture(scope="module")
def ill(fork, study, tmp_path_factory) -> Path:
    "A run on data whose names would like to be a page."
    folder = tmp_path_factory.mktemp("ill")
    star, instrument = (np.unique(study[k], return_inverse=True)[1] for k in ("star", "instrument"))
    names = np.array([f"{ILL[k % len(ILL)]} {k}" for k in range(80)])[star]
    name = "<img src=x>|<b>.npz"
    written(folder / name, some(study), star=names, instrument=np.array(ILL)[instrument],
            **{ILL[0] + "|q": np.sin(star), ILL[1]: np.where(star % 2, ILL[3], ILL[1]), ILL[2]: study["few"]})
    fine(fork(*train(name, "held_star=.5", "baselines="), cwd=folder))
    return folder / "run"


def test_names_stay_names(ill):
    text = (ill / "report.html").read_text()
    page = Page(text)
    assert {t for t, _ in page.tags} <= set("html head meta title style body header h1 h2 p nav a main ul li span strong section div table caption thead tbody tr th td figure "
                                            "figcaption details summary pre noscript script".split())
    plots = sum("plot" in (a.get("class") or "").split() for _, a in page.tags)
    assert plots >= 4 and page.count("script") == plots + 2 and page.count("title") == page.count("style") == 1
    assert all(a["href"].startswith("#") for t, a in page.tags if t == "a") and not [k for _, a in page.tags for k in a if k.startswith("on")]
    for name in (ILL[0] + "|q", ILL[1], "<img src=x>|<b>.npz"): assert name in page.text, "as it was written"
    assert all("<" not in d for d in page.data if d.startswith('{"data":'))


def test_a_summary_is_a_table_whatever_the_names(ill):
    summary = (ill / "summary.md").read_text()
    assert not re.search(r"<(?!/?$)[a-z/]", summary), "nothing that Markdown would take for a tag"
    table = [k for k in summary.splitlines() if k.startswith("|")]
    cells = {len(re.findall(r"(?<!\\)\|", k)) for k in table}
    assert len(table) > 4 and len(cells) == 1 and any("\\|q" in k for k in table), table
    where = [n for n, k in enumerate(summary.splitlines()) if k.startswith("|")]
    assert where == [*range(where[0], where[0] + len(where))], "one table without a gap"


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(not CHROMIUM, reason="needs a browser: chromium, chromium-browser or google-chrome")
@pytest.mark.parametrize("which", ["full", "ill"])
def test_the_page_in_a_browser(which, request, tmp_path):
    "All pictures are drawn, and nothing that a name says is done."
    path = request.getfixturevalue(which) / "report.html"
    words = "--headless --no-sandbox --disable-gpu --no-first-run --enable-logging=stderr --virtual-time-budget=20000 --dump-dom".split()
    answer = subprocess.run([CHROMIUM, *words, f"--user-data-dir={tmp_path}", path.as_uri()], capture_output=True, text=True, timeout=120)
    written, drawn = Page(path.read_text()), Page(answer.stdout)
    plots = [a for _, a in written.tags if "plot" in (a.get("class") or "").split()]
    assert sum("js-plotly-plot" in (a.get("class") or "").split() for _, a in drawn.tags) == len(plots) and drawn.count("svg") >= 2 * len(plots)
    assert drawn.count("img") == drawn.count("iframe") == 0 and drawn.count("script") == written.count("script") and drawn.count("title") == 1
    assert "<title>owned" not in answer.stdout and "CONSOLE" not in answer.stderr, [k for k in answer.stderr.splitlines() if "CONSOLE" in k]
