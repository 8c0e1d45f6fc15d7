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
import wfdb
from astropy.io import fits

from dfm_nb.core import InputError, Observations, batch
from dfm_nb.data import ecg, imu, sources, store, tess

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


def beats(n: int, rate: float, leads: int = 2):
    "A heart that beats every 0.8 s: (n, leads) mV, and the samples of its beats."
    r = np.arange(.5, n / rate - .5, .8)
    t = np.arange(n)[:, None] / rate
    wave = np.exp(-((t - r) / .02) ** 2).sum(1) + np.random.default_rng(5).normal(0, .02, n)
    return wave[:, None] * np.arange(1, leads + 1), np.round(r * rate).astype(np.int32)


def mitbih(tmp):
    arrays = {}
    for name in ("100", "101"):
        x, r = beats(4000, 360)
        arrays |= {f"{name}__adu": np.diff(np.round(200 * x + 1024).astype(np.int16), axis=0, prepend=np.int16(0)), f"{name}__beat_sample": r,
                   f"{name}__beat_symbol": np.array(["N", "V"] * 99)[:len(r)]}
    np.savez(tmp / "ecg.npz", **arrays)
    return tmp / "ecg.npz"


def spsw(tmp):
    g, arrays, rows = np.random.default_rng(6), {}, []
    for device in ("sp", "sw"):
        key = f"s01_01_{device}"
        arrays |= {f"{key}__imu": g.integers(-4000, 4000, (600, 6)).astype(np.int16), f"{key}__t": np.arange(0, 6000, 10, dtype=np.int32), f"{key}__y": np.full(600, 2, np.uint8)}
        rows.append(dict(key=key, subject="s01", execution="s01_01", device=device, t0=1_600_000_000_000, orientation="back"))
    np.savez(tmp / "imu.npz", **arrays)
    pd.DataFrame(rows).to_csv(tmp / "spsw_index.csv", index=False)
    return tmp / "imu.npz"


def physionet(tmp):
    "A record of a folder: its header. The other two files lie beside it."
    x, r = beats(5000, 250)
    wfdb.wrsamp("rec", 250, ["mV"] * 2, ["I", "II"], x, fmt=["16"] * 2, adc_gain=[200.] * 2, baseline=[0] * 2, comments=["age: 60", "sex: F"], write_dir=str(tmp))
    wfdb.wrann("rec", "atr", r, np.array(["N", "A"] * 99)[:len(r)], write_dir=str(tmp))
    return tmp / "rec.hea"


def samples(tmp): return physionet(tmp).with_suffix(".dat")
def annotations(tmp): return physionet(tmp).with_suffix(".atr")


def wisdm(tmp):
    "The raw text of WISDM 1.1, with its faults."
    lines = [f"{1 + k // 200},{'Walking' if k % 200 < 120 else 'Jogging'},{4910596232600000 + 50_000_000 * k},{np.sin(k):.6f},9.8,{np.cos(k):.6g};" for k in range(600)]
    lines[10] += lines.pop(11); lines[20] = ""; lines[30] = lines[30].replace(";", ",;"); lines[40] = "11,Walking,1867172313000,4.4,4.4,"; lines[50] = "2,Walking,0,0,0,0;"
    (tmp / "raw.txt").write_text("\n".join(lines))
    return tmp / "raw.txt"


def ts(tmp):
    g = np.random.default_rng(7)
    case = lambda k: ":".join(",".join(f"{v:.6f}" for v in g.normal(size=20)) for _ in range(6)) + f":{'Walking' if k % 2 else 'Standing'}\n"
    (tmp / "a_TRAIN.ts").write_text("#text\n@problemName BasicMotions\n@timeStamps false\n@univariate false\n@dimensions 6\n@equalLength true\n@seriesLength 20\n@classLabel true Standing Walking\n@data\n" + "".join(map(case, range(8))))
    return tmp / "a_TRAIN.ts"


def har(tmp):
    "One file of UCI HAR; all others lie where they belong."
    g = np.random.default_rng(8)
    for part, n in (("train", 5), ("test", 3)):
        (tmp / part / "Inertial Signals").mkdir(parents=True, exist_ok=True)
        for name in ("total_acc_x", "total_acc_y", "total_acc_z", "body_gyro_x", "body_gyro_y", "body_gyro_z"):
            np.savetxt(tmp / part / "Inertial Signals" / f"{name}_{part}.txt", g.normal(size=(n, 128)), fmt="%16.7e")
        np.savetxt(tmp / part / f"subject_{part}.txt", np.full(n, 1 + (part == "test")), fmt="%d")
        np.savetxt(tmp / part / f"y_{part}.txt", 1 + np.arange(n) % 2, fmt="%d")
    (tmp / "activity_labels.txt").write_text("1 WALKING\n2 SITTING\n")
    return tmp / "train" / "Inertial Signals" / "total_acc_y_train.txt"


def hearts(path): return ecg.read_wfdb(path.parent, progress=False)
def marked(path): return ecg.read_mitbih(path, progress=False)
def pockets(path): return imu.read_spsw(path, progress=False)
def waist(path): return imu.read_har(path.parents[2])


READERS = [(npz, store.read_npz), (parquet, store.read_parquet), (parquet, packed), (spoc, tess.read_curve), (spoc, folder),
           (spoc_gz, tess.read_curve), (qlp, folder), (mitbih, marked), (spsw, pockets)]
# Of text, and of samples without a header, a part may be a whole; what is left of them is read or refused.
LOOSE = [(physionet, hearts), (samples, hearts), (annotations, hearts), (wisdm, imu.read_wisdm), (ts, imu.read_ts), (har, waist)]
each_reader = pytest.mark.parametrize("make, read", READERS, ids=lambda f: f.__name__)
each_loose = pytest.mark.parametrize("make, read", LOOSE, ids=lambda f: f.__name__)


def answer(read, path: Path):
    "'read' or 'refused'; whatever else a reader does fails the test."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try: out = read(path)
        except InputError as e:
            assert any(str(p) in str(e) for p in (path, *path.parents[:3])), f"the message does not name the file: {e}"
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


@each_loose
def test_what_is_loose_is_read(make, read, tmp_path):
    assert answer(read, make(tmp_path)) == "read"


@each_loose
def test_what_is_loose_and_cut_off(make, read, tmp_path):
    path = make(tmp_path)
    whole = path.read_bytes()
    said = []
    for n in np.unique(np.linspace(0, len(whole) - 1, CUTS).astype(int)):
        path.write_bytes(whole[:n])
        said.append(answer(read, path))
    assert said[0] == "refused"
    if make in (samples, annotations, ts): assert set(said[:-1]) == {"refused"}  # the last cut takes the end of a line from the text


@each_loose
def test_what_is_loose_and_damaged(make, read, tmp_path):
    path, g = make(tmp_path), np.random.default_rng(9)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    for k in range(2 * CUTS):
        bad, n = whole.copy(), 1 + k % 9
        alphabet = np.frombuffer(b"0123456789,.;:-+eE \n@ax/\t", np.uint8) if k % 2 else np.arange(256, dtype=np.uint8)
        bad[g.integers(0, len(bad) if k % 4 < 2 else min(len(bad), 200), n)] = g.choice(alphabet, n)
        path.write_bytes(bad.tobytes() if k % 3 else np.delete(bad, slice(k, k + n)).tobytes())
        answer(read, path)


@each_loose
def test_what_is_loose_and_random(make, read, tmp_path):
    path, g = make(tmp_path), np.random.default_rng(10)
    for n in (0, 1, 7, 100, 5000):
        for head in (b"", b"@data\n", b"1,Walking,1,2,3,4;", b"rec 2 250 5000\n", bytes(200)):
            path.write_bytes(head + g.bytes(n))
            assert answer(read, path) == "refused" or make in (samples, annotations)


@pytest.mark.parametrize("gone", ["total_acc_x_train.txt", "body_gyro_z_test.txt", "subject_train.txt", "y_test.txt", "activity_labels.txt"])
def test_a_missing_file_of_uci_har_is_named(gone, tmp_path):
    har(tmp_path)
    next(tmp_path.rglob(gone)).unlink()
    with pytest.raises(InputError, match=gone): imu.read_har(tmp_path)


def test_a_record_without_its_samples(tmp_path, capsys):
    "The others are read; a folder without any other is refused."
    physionet(tmp_path)
    for suffix in (".hea", ".dat", ".atr"): shutil.copy(tmp_path / f"rec{suffix}", tmp_path / f"other{suffix}")
    (tmp_path / "other.hea").write_text((tmp_path / "rec.hea").read_text().replace("rec", "other"))
    (tmp_path / "rec.dat").unlink()
    obs = ecg.read_wfdb(tmp_path)
    assert set(obs.meta.patient) == {"other"} and [*obs.skipped] == ["rec"] and capsys.readouterr().err.count("skipped recording rec") == 1
    (tmp_path / "other.atr").unlink()
    with pytest.raises(InputError, match="none of 2 recordings can be used"): ecg.read_wfdb(tmp_path)
    assert len(ecg.read_wfdb(tmp_path, centre="regular")) and len(ecg.read_wfdb(tmp_path, centre="detect"))


@pytest.mark.parametrize("seed", range(10))
def test_windows_are_pieces_of_their_record(seed, tmp_path):
    "Random settings: every window is what the record holds around its time, whatever the file."
    g = np.random.default_rng(seed)
    rate, n, leads = int(g.integers(100, 400)), int(g.integers(4000, 9000)), int(g.integers(1, 5))
    x, r = beats(n, rate, leads)
    wfdb.wrsamp("a", rate, ["mV"] * leads, [f"L{k}" for k in range(leads)], x, fmt=["16"] * leads, adc_gain=[1000.] * leads, baseline=[0] * leads, write_dir=str(tmp_path))
    wfdb.wrann("a", "qrs", r, np.array(["N"] * len(r)), write_dir=str(tmp_path))
    window, margin, start = g.uniform(.5, 3), g.uniform(0, 1), g.choice([0, .02])
    obs = ecg.read_wfdb(tmp_path, annotation="qrs", window=window, margin=margin, centre=str(g.choice(["peak", "regular"])), step=g.uniform(.2, 2), start=start)
    at = np.round(obs.meta.seconds.to_numpy()[:, None] * rate + obs.t * rate).astype(int)
    assert at.min() >= round(start * 60 * rate) and at.max() < n and obs.x.shape[2] == round(window * rate) + 2 * round(margin * rate)
    np.testing.assert_allclose(obs.x, np.moveaxis(x[at], 2, 1), atol=.00051)


class Bomb:
    "Would make a file, were it unpickled."
    def __init__(self, path): self.path = path
    def __reduce__(self): return Path.touch, (self.path,)


def test_no_pickle_is_run(tmp_path):
    mark = tmp_path / "ran"
    (tmp_path / "a.npz").write_bytes(pickle.dumps(Bomb(mark)))
    np.savez(tmp_path / "b.npz", x=np.zeros((3, 9)), star=np.array([Bomb(mark)] * 3, dtype=object), instrument=np.arange(3))
    np.savez(tmp_path / "c.npz", **{"1__adu": np.array([Bomb(mark)] * 3, dtype=object), "1__beat_sample": np.arange(3), "1__beat_symbol": np.array(["N"] * 3)})
    np.savez(tmp_path / "d.npz", s01_01_sp__imu=np.array([Bomb(mark)] * 3, dtype=object))
    for name in ("c.npz", "d.npz"):
        with pytest.raises(InputError, match="cannot be read as NPZ"): sources.open_data(tmp_path / name)
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


def test_real_hearts(data_dir):
    "Every beat of the table is in a window, or too near the ends."
    index = pd.read_csv(data_dir / "ecg" / "mitbih_index.csv")
    obs = sources.open_data(data_dir / "ecg")
    assert len(obs) + obs.dropped["too near the ends of the recording"] == index.n_beats_window.sum() and obs.meta.patient.nunique() == 23 and not obs.skipped
    assert (obs.meta.groupby("patient").age.first().reindex(index.record.astype(str)).to_numpy() == index.age).all()
    regular = sources.open_data(data_dir / "ecg", options=("centre=regular", "step=2", "margin=0"))
    assert len(regular) == 23 * 240 and obs.x.shape[1:] == (2, 1332)


def test_real_motion(data_dir):
    obs = sources.open_data(data_dir / "imu")
    assert obs.factors == ("subject", "device") and obs.meta.subject.nunique() == 16 and (obs.meta.groupby("moment").activity.nunique() == 1).all()
    for part in ("TRAIN", "TEST"):
        basic = imu.read_ts(data_dir / "imu" / f"BasicMotions_{part}.ts")
        assert basic.x.shape == (40, 6, 100) and set(basic.meta.part) == {part.lower()} and np.isclose(basic.t[1] - basic.t[0], .1)
