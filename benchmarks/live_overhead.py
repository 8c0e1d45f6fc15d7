"""What it costs a training to be watched: python benchmarks/live_overhead.py [--pairs 3] [--steps 300] [--data sim:quick] [--set key=value ...]

The same training (same data, same seed, without baselines) runs by turns unwatched and watched by the panel of the dashboard
*Train* in a real Jupyter kernel, which looks every second, draws the curves and embeds the observations of the map each time weights
are saved. Time is that of the training loop alone, from the throughput in metrics.jsonl. The ratio is that of the two times of a pair;
beside it stands the processor time of the kernel, which is the same on a busy machine. What a browser needs to draw is not in it:
it is another process, and often another machine.
"""
import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import psutil
from jupyter_client.manager import start_new_kernel

from dfm_nb.recipes.process import Plan, Training


def seconds(t: Training, batch: int) -> float:
    "Of the training loop."
    m = t.run.metrics()
    return float((m.step.diff().fillna(m.step.iloc[0]) * batch / m.obs_per_s).sum())


def trained(folder: Path, name: str, args, ask, watch: bool) -> tuple:
    "Seconds of one training, and of the kernel's processor meanwhile."
    t = Training(folder / name)
    if watch: ask(f"panel = train_panel({str(folder)!r}, {str(t.path)!r})")
    before = ask.used()
    t.start(Plan(data=args.data, out=str(t.path), settings=(f"steps={args.steps}", "baselines=", f"checkpoint_every={args.every}", *args.set)))
    while not (t.path / "embeddings.parquet").exists():
        if t.status not in ("starting", "working"): raise SystemExit(t.said())
        time.sleep(.5)
    used = ask.used() - before
    t.stop()
    while t.status in ("starting", "working"): time.sleep(.2)
    if watch: ask("panel.close()")
    c = t.run.config["settings"]
    return seconds(t, c["n_star"] * c["n_instr"]), used


class Kernel:
    "A Jupyter kernel that has imported the panel."
    def __init__(self):
        self.manager, self.client = start_new_kernel()
        self.process = psutil.Process(self.manager.provisioner.process.pid)
        self("from dfm_nb.widgets.train import train_panel")
    def __call__(self, code):
        reply = self.client.execute_interactive(code, timeout=300, output_hook=lambda m: None)["content"]
        if reply["status"] != "ok": raise SystemExit("\n".join(reply["traceback"]))
    def used(self): c = self.process.cpu_times(); return c.user + c.system
    def close(self): self.client.stop_channels(); self.manager.shutdown_kernel(now=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--pairs", type=int, default=3)
    p.add_argument("--steps", type=int, default=300)
    p.add_argument("--every", type=int, default=100, help="steps between two checkpoints, each of which draws the map anew (default: 100, as in a run)")
    p.add_argument("--data", default="sim:quick")
    p.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    args = p.parse_args()
    os.environ.pop("PLOTLY_RENDERER", None)  # pictures would be drawn at once, not beside the kernel
    kernel, ratios = Kernel(), []
    try:
        with tempfile.TemporaryDirectory() as d:
            for k in range(args.pairs):
                order = (False, True) if k % 2 == 0 else (True, False)  # neither always comes first
                found = {watch: trained(Path(d), f"{k}{'watched' if watch else 'alone'}", args, kernel, watch) for watch in order}
                (alone, idle), (watched, used) = found[False], found[True]
                ratios.append(watched / alone)
                print(f"pair {k + 1}: alone {alone:.1f} s, watched {watched:.1f} s, ratio {watched / alone:.3f}; kernel {used:.1f} s of a processor ({100 * used / watched:.1f} % of the training's time; {idle:.1f} s unwatched)", flush=True)
    finally: kernel.close()
    print(f"median ratio of {len(ratios)} pairs: {statistics.median(ratios):.3f} on {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__": main()
