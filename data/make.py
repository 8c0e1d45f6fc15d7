"""Makes the small simulated files that notebooks and tests read: `python data/make.py`.

Every number comes from a fixed seed and gzip writes no time, so a second run gives the same bytes (the Parquet file, for the same pyarrow). The light curves are one
spotted star, TIC 100000001, in the two forms that archives hand out: a SPOC file (sector 27) and a QLP file (sector 28). The names of
columns and headers, and their types, are those of the real products; the values are not of any real star.
"""
import gzip, io
from pathlib import Path
import numpy as np
from astropy.io import fits

HERE = Path(__file__).parent
STAR = dict(TICID=100000001, TESSMAG=10.5, TEFF=4210.0, LOGG=4.6, RADIUS=0.68) # a K dwarf
PERIOD = 4.2 # days of rotation
START = {27: 2036.28, 28: 2061.85} # BTJD, days: where these sectors begin

def spotted(t, g):
    "Relative flux (n,) of two spots at times t (days); their phases drift from sector to sector, as spots come and go."
    phase = 2 * np.pi * t / PERIOD + g.uniform(0, 2 * np.pi)
    return 1 - .012 * np.clip(np.cos(phase), 0, None) - .007 * np.clip(np.cos(phase + 2.1), 0, None)

def cadences(sector, minutes, days=26.2, gap=(12.9, 14.1)):
    "Times (n,) of a sector, BTJD days, and whether the spacecraft was sending data home."
    t = np.arange(0, days, minutes / 1440)
    return START[sector] + t, (t > gap[0]) & (t < gap[1])

def header(sector, camera, ccd, **more):
    "The primary header of a light-curve file."
    h = fits.Header()
    h['TELESCOP'], h['SIMDATA'] = 'TESS', (True, 'file is based on simulated data')
    h['OBJECT'], h['TICID'] = f'TIC {STAR["TICID"]}', STAR['TICID']
    h['SECTOR'], h['CAMERA'], h['CCD'] = sector, camera, ccd
    for k in ('TESSMAG', 'TEFF', 'LOGG', 'RADIUS'): h[k] = STAR[k]
    for k, v in more.items(): h[k] = v
    return h

def write(name, head, columns):
    "A gzip FITS file with a table LIGHTCURVE; columns = {name: (format, unit, values)}."
    table = fits.BinTableHDU.from_columns([fits.Column(k, f, u, array=v) for k, (f, u, v) in columns.items()], name='LIGHTCURVE')
    raw, out = io.BytesIO(), io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(header=head), table]).writeto(raw)
    with gzip.GzipFile('', 'wb', 9, out, mtime=0) as f: f.write(raw.getvalue())
    (HERE/name).write_bytes(out.getvalue())

def spoc():
    "A SPOC file of sector 27: NaN in the gap, a slow trend in SAP that PDCSAP has lost, outliers that are flagged."
    g = np.random.default_rng(27)
    t, gap = cadences(27, 10, days=24.4) # a short one, as it was
    n, level, sigma = len(t), 8000., 4. # e-/s
    true = level * spotted(t, g) + sigma * g.normal(size=n)
    quality = np.where(gap, 8 + 128, 0) # Earth pointing and manual exclude
    dumps = np.arange(100, n, 450); quality[dumps] |= 32 # the wheels are slowed: the star smears
    true[dumps] *= .97
    tweaks = np.flatnonzero(~gap)[:12]; quality[tweaks] |= 4; true[tweaks] *= 1.05 # coarse pointing at the start
    quality[g.choice(n, 15, replace=False)] |= 64 # cosmic rays that were corrected: the default keeps these
    sap = .9 * true * (1 + .004 * np.exp(-(t - t[0]) / 2) - .003 * np.exp(-np.clip(t - t[0] - 14.1, 0, None) / 1.5))
    true[gap] = sap[gap] = np.nan
    time = np.where(gap & (g.random(n) < .3), np.nan, t) # some rows of a gap have no time either
    err = np.where(gap, np.nan, sigma)
    write('spoc_simulated_lc.fits.gz', header(27, 2, 3, ORIGIN='dfm_nb'), dict(
        TIME=('D', 'BJD - 2457000, days', time), CADENCENO=('J', None, 620000 + 5 * np.arange(n)),
        SAP_FLUX=('E', 'e-/s', sap), SAP_FLUX_ERR=('E', 'e-/s', err),
        PDCSAP_FLUX=('E', 'e-/s', true), PDCSAP_FLUX_ERR=('E', 'e-/s', err), QUALITY=('J', None, quality)))

def qlp():
    "A QLP file of sector 28, 30 min: relative flux; KSPSAP_FLUX is high-pass filtered, so the rotation is gone from it."
    g = np.random.default_rng(28)
    t, gap = cadences(28, 30)
    t, n = t[~gap], int((~gap).sum()) # QLP leaves the gap out
    sap = spotted(t, g) + 3e-4 * g.normal(size=n) + .0015 * (t - t[0]) / 26
    quality = np.where(np.arange(n) < 20, 4096, 0) # scattered light: in SPOC's default set this bit counts as usable
    sap[quality > 0] -= .004 # badly subtracted
    smooth = np.array([np.median(sap[max(0, i - 12):i + 13]) for i in range(n)])
    write('qlp_simulated_llc.fits.gz', header(28, 1, 4, ORIGIN='MIT/QLP', MH=0.0), dict(
        TIME=('D', 'BJD - 2457000, days', t), CADENCENO=('J', None, 22000 + np.arange(n)),
        SAP_FLUX=('E', None, sap), KSPSAP_FLUX=('E', None, sap / smooth), KSPSAP_FLUX_ERR=('E', None, np.full(n, 3e-4)),
        QUALITY=('J', None, quality), ORBITID=('J', None, np.where(t < t[0] + 13.5, 61, 62)),
        SAP_X=('E', 'pixel', 500 + .02 * g.normal(size=n)), SAP_Y=('E', 'pixel', 700 + .02 * g.normal(size=n)),
        SAP_BKG=('E', None, np.zeros(n)), SAP_BKG_ERR=('E', None, np.full(n, 5.)),
        KSPSAP_FLUX_SML=('E', None, sap / smooth), KSPSAP_FLUX_LAG=('E', None, sap / smooth)))

def survey():
    "A simulated survey of 12 stars in 3 sectors, in the form of data.store; made by the package itself."
    from dfm_nb.data.store import write_parquet
    from dfm_nb.sim.survey import SurveyConfig, simulate
    write_parquet(simulate(SurveyConfig(n_stars=12, n_sectors=3, samples=64)), HERE / 'tiny_survey.parquet')

if __name__ == '__main__':
    spoc(); qlp(); survey()
