"""Readers and what is not a good file: an InputError that names the file, or observations that are valid. Never anything else.

Everything is cut off, overwritten or replaced from a fixed seed, so a failure can be repeated.
"""
import gzip
import importlib.util
import pickle
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from dfm_nb.core import InputError, Observations, batch
from dfm_nb.data import store, tess

ROOT = Path(__file__).resolve().parents[1]
SPOC, QLP = (ROOT / "data" / name for name in ("spoc_simulated_lc.fits.gz", "qlp_simulated_llc.fits.gz"))
CUTS = 60  # places at which each file is cut off


def some(n: int = 12, length: int = 16) -> Observations:
    "A set with everything that the contract has."
    g = np.random.default_rng(1)
    meta = pd.DataFrame(dict(star=np.arange(n) // 2, instrument=[f"s{k % 2}" for k in range(n)], period=g.random(n), kind=["a", "b"] * (n // 2)))
    return Observations(g.normal(size=(n, 1, length)).astype("float32"), meta, mask=g.random((n, length)) > .2, t=np.arange(float(length)))


def packed(path: Path) -> Observations:
    "What `pack` makes of a Parquet file."
    shutil.rmtree(path.parent / "packed", ignore_errors=True)
    return store.pack(path, path.parent / "packed")


def folder(path: Path) -> Observations:
    "What `read_folder` makes of a folder that holds this file alone."
    return tess.read_folder(path.parent, pattern=path.name, progress=False)


def npz(tmp): store.write_npz(some(), tmp / "a.npz"); return tmp / "a.npz"
def parquet(tmp): store.write_parquet(some(), tmp / "a.parquet", rows=5); return tmp / "a.parquet"
def spoc(tmp): (tmp / "a_lc.fits").write_bytes(gzip.decompress(SPOC.read_bytes())); return tmp / "a_lc.fits"
def spoc_gz(tmp): return Path(shutil.copy(SPOC, tmp / "a_lc.fits.gz"))
def qlp(tmp): return Path(shutil.copy(QLP, tmp / "a_llc.fits.gz"))


READERS = [(npz, store.read_npz), (parquet, store.read_parquet), (parquet, packed), (spoc, tess.read_curve), (spoc, folder),
           (spoc_gz, tess.read_curve), (qlp, folder)]
each_reader = pytest.mark.parametrize("make, read", READERS, ids=lambda f: f.__name__)


def answer(read, path: Path):
    "'read' or 'refused'; whatever else a reader does fails the test."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try: out = read(path)
        except InputError as e:
            assert str(path) in str(e) or str(path.parent) in str(e), f"the message does not name the file: {e}"
            return "refused"
    if isinstance(out, Observations): assert batch(out, np.arange(len(out))).x.dtype == np.float32
    else: assert len(out.time) == len(out.flux) >= 8 and np.isfinite(out.time).all() and np.isfinite(out.flux).all()
    return "read"


@each_reader
def test_the_whole_file_is_read(make, read, tmp_path):
    assert answer(read, make(tmp_path)) == "read"


@each_reader
def test_a_file_that_is_cut_off_is_refused(make, read, tmp_path):
    path = make(tmp_path)
    whole = path.read_bytes()
    for n in np.unique(np.linspace(0, len(whole) - 1, CUTS).astype(int)):
        path.write_bytes(whole[:n])
        assert answer(read, path) == "refused", f"cut at {n} of {len(whole)} bytes"


@each_reader
def test_damaged_bytes(make, read, tmp_path):
    path, g = make(tmp_path), np.random.default_rng(2)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    for k in range(CUTS):
        bad = whole.copy()
        near = len(bad) if k % 2 else min(len(bad), 6000)  # every other time in the header, where it hurts
        bad[g.integers(0, near, 1 + k % 7)] = g.integers(0, 256, 1 + k % 7)
        path.write_bytes(bad.tobytes())
        answer(read, path)


@each_reader
def test_random_bytes_are_refused(make, read, tmp_path):
    path, g = make(tmp_path), np.random.default_rng(3)
    magic = path.read_bytes()[:8]
    for n in (0, 1, 7, 100, 5000):
        for head in (b"", magic, b"\x93NUMPY\x01\x00", b"\x80\x04", b"SIMPLE  =                    T"):
            path.write_bytes(head + g.bytes(n))
            assert answer(read, path) == "refused"


@each_reader
def test_another_format_is_refused(make, read, tmp_path):
    path = make(tmp_path)
    for other in {m for m, _ in READERS} - {make}:
        (tmp_path / "other").mkdir(exist_ok=True)
        raw = other(tmp_path / "other").read_bytes()
        if raw[:6] == b"SIMPLE" and "fits" in path.name or raw[:2] == b"\x1f\x8b" and "fits" in path.name: continue
        path.write_bytes(raw)
        assert answer(read, path) == "refused"


class Bomb:
    "Would make a file, were it unpickled."
    def __init__(self, path): self.path = path
    def __reduce__(self): return Path.touch, (self.path,)


def test_no_pickle_is_run(tmp_path):
    mark = tmp_path / "ran"
    (tmp_path / "a.npz").write_bytes(pickle.dumps(Bomb(mark)))
    np.savez(tmp_path / "b.npz", x=np.zeros((3, 9)), star=np.array([Bomb(mark)] * 3, dtype=object), instrument=np.arange(3))
    with pytest.raises(InputError, match="not an NPZ file"): store.read_npz(tmp_path / "a.npz")
    with pytest.raises(InputError, match="'star' holds pickled"): store.read_npz(tmp_path / "b.npz")
    store.write_mmap(some(), tmp_path / "map")
    np.save(tmp_path / "map" / "x.npy", np.array([Bomb(mark)] * 12, dtype=object))
    with pytest.raises(InputError, match="x.npy cannot be read"): store.open_mmap(tmp_path / "map")
    assert not mark.exists()


@pytest.mark.parametrize("name", ["x.npy", "mask.npy", "t.npy", "meta.parquet"])
def test_a_memory_map_that_is_cut_off_is_refused(name, tmp_path):
    store.write_mmap(some(), tmp_path / "map")
    path = tmp_path / "map" / name
    whole = path.read_bytes()
    for n in np.unique(np.linspace(0, len(whole) - 1, CUTS).astype(int)):
        path.write_bytes(whole[:n])
        with pytest.raises(InputError, match=name): store.open_mmap(tmp_path / "map")


@pytest.mark.parametrize("seed", range(20))
def test_every_container_keeps_every_set(seed, tmp_path):
    "Random shapes, with and without mask, times, gaps, unknown parameters: three containers, one set."
    g = np.random.default_rng(seed)
    n, c, length = g.integers(1, 30), g.integers(1, 4), g.integers(8, 40)
    x = g.normal(size=(n, c, length)).astype("float32")
    x[g.random(x.shape) < .1] = np.nan
    meta = pd.DataFrame({"Stern": [f"β {k}" for k in g.integers(0, 5, n)], "instrument": g.integers(0, 3, n), "p": np.where(g.random(n) < .3, np.nan, g.random(n)),
                         "kind": pd.Series(g.choice(["a", "b,c", None], n), dtype="str"), "n": g.integers(-5, 5, n)})
    t = [None, np.sort(g.random(length)), np.sort(g.random((n, length)), axis=1)][seed % 3]
    obs = Observations(x, meta, ("Stern", "instrument"), mask=g.random((n, length)) > .3 if seed % 2 else None, t=t)
    store.write_npz(obs, tmp_path / "a.npz"); store.write_parquet(obs, tmp_path / "a.parquet", rows=7); store.write_mmap(obs, tmp_path / "map", rows=4)
    store.pack(tmp_path / "a.parquet", tmp_path / "packed", obs.factors, rows=5)
    for back in (store.read_npz(tmp_path / "a.npz", obs.factors), store.read_parquet(tmp_path / "a.parquet", obs.factors),
                 store.open_mmap(tmp_path / "map", obs.factors), store.open_mmap(tmp_path / "packed", obs.factors)):
        np.testing.assert_array_equal(back.x, obs.x)
        pd.testing.assert_frame_equal(back.meta, obs.meta, check_dtype=False)
        for a, b in ((back.mask, obs.mask), (back.t, obs.t)):
            assert (a is None) == (b is None)
            if a is not None: np.testing.assert_array_equal(a, b)


def test_a_thousand_files_with_one_bad(tmp_path, capsys):
    "The others are read; the bad one is reported once, with its name."
    g = np.random.default_rng(4)
    t = np.arange(0, 6.5, 6.5 / 64) + 1325.
    table = fits.BinTableHDU.from_columns([fits.Column("TIME", "D", array=t), fits.Column("FLUX", "E", array=100 + g.normal(size=64)),
                                           fits.Column("QUALITY", "J", array=np.zeros(64, int))])
    for k in range(1000):
        head = fits.PrimaryHDU(header=fits.Header(dict(TICID=k // 4, SECTOR=1 + k % 4)))
        fits.HDUList([head, table]).writeto(tmp_path / f"{k:04d}_lc.fits")
    bad = tmp_path / "0517_lc.fits"
    bad.write_bytes(bad.read_bytes()[:4000])
    obs = tess.read_folder(tmp_path, length=64)
    assert obs.meta.groupby(["star", "instrument"]).ngroups == 999 and obs.meta.star.nunique() == 250
    assert list(obs.skipped) == [str(bad)]
    said = capsys.readouterr().err
    assert said.count("0517_lc.fits") == 1 and "1 of 1000 files were skipped" in said


def test_a_target_pixel_file_is_no_light_curve(tmp_path):
    pixels = fits.BinTableHDU.from_columns([fits.Column("TIME", "D", array=np.arange(20.)), fits.Column("FLUX", "9E", dim="(3,3)", array=np.ones((20, 3, 3)))])
    fits.HDUList([fits.PrimaryHDU(), pixels]).writeto(tmp_path / "s0001_tp.fits")
    with pytest.raises(InputError, match="target pixel file"): tess.read_curve(tmp_path / "s0001_tp.fits")


def test_the_simulated_files_are_made_from_data_make(tmp_path):
    "The same bytes again: nothing in them depends on the day or on the folder."
    shutil.copy(ROOT / "data" / "make.py", tmp_path)
    spec = importlib.util.spec_from_file_location("make", tmp_path / "make.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    make.spoc(); make.qlp()
    for made in (SPOC, QLP): assert (tmp_path / made.name).read_bytes() == made.read_bytes(), made.name


def test_real_light_curves(data_dir):
    obs = tess.read_folder(data_dir / "tess" / "fits", progress=False)
    assert (len(obs), obs.meta.star.nunique(), obs.meta.instrument.nunique(), len(obs.skipped)) == (282, 22, 13, 0)
