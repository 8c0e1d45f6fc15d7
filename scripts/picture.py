"""The picture of the README, from a run on the simulated survey: python scripts/picture.py runs/quick"""
import sys
from pathlib import Path
from dfm_nb.core import Embeddings, Run
from dfm_nb.views.maps import latent_maps

run = Run(sys.argv[1])
out = Path(__file__).resolve().parents[1]/'nbs'/'images'/'maps.png'
out.parent.mkdir(exist_ok=True)
fig = latent_maps(Embeddings.load(run/'embeddings.parquet'), colour=['log_period', 'instrument'], at_most=2500)
fig.write_image(out, scale=1.3)
print(f'{out}: {out.stat().st_size//1000} kB')
