"""Plot the results of fit.py.

    python bench/fit.py --json results.json
    python bench/plot.py results.json [--folder .]

Writes ratios.svg (the times of other packages divided by ours) and roofline.svg (multiply-adds per
second, compared with what arithmetic and memory allow).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = {"ours": "#0b6e4f", "daal4py": "#e08e45", "scikit-learn": "#3d5a80", "numpy": "#8d99ae"}
LABELS = {"ours": "fusedgmm", "daal4py": "oneDAL (daal4py)", "numpy": "NumPy reference"}


def caption(report: dict) -> str:
    machine, core = report["machine"], report["machine"]["core"]
    return (
        f"{machine['processor']}, {core['instruction_set']}, {report['threads']} threads, float64; "
        f"scikit-learn {machine['scikit-learn']}"
    )


def draw_ratios(report: dict) -> plt.Figure:
    """Draw horizontal bars, one group per workload, on a logarithmic scale because they span two
    decades."""
    results = report["results"]
    peers = [p for p in ("daal4py", "scikit-learn", "numpy")
             if any(p in r["median"] for r in results)]  # fmt: skip
    figure, axes = plt.subplots(figsize=(8, 0.32 * len(results) * len(peers) / 2 + 1.6))
    height = 0.8 / len(peers)
    for row, result in enumerate(results):
        for i, peer in enumerate(peers):
            if peer not in result["median"]:
                continue
            ratio = result["median"][peer] / result["median"]["ours"]
            low, high = (s / result["median"]["ours"] for s in result["spread"][peer])
            at = row + (i - (len(peers) - 1) / 2) * height
            axes.barh(at, ratio, height * 0.9, color=COLOURS[peer],
                      xerr=[[ratio - low], [high - ratio]], ecolor="#00000060")  # fmt: skip
            axes.text(high * 1.08, at, f"{ratio:.3g}", va="center", fontsize=8)
    axes.axvline(1, color=COLOURS["ours"], linewidth=2)
    axes.set_xscale("log")
    axes.set_yticks(range(len(results)), [r["workload"] for r in results])
    axes.invert_yaxis()
    axes.set_xlabel("time of one EM iteration over fusedgmm's (1 = as fast; longer is slower)")
    handles = [plt.Rectangle((0, 0), 1, 1, color=COLOURS[p]) for p in peers]
    axes.legend(handles, [LABELS.get(p, p) for p in peers], frameon=False, ncols=len(peers),
                loc="lower right", bbox_to_anchor=(1, 1))  # fmt: skip
    return figure


def draw_roofline(report: dict) -> plt.Figure:
    limits = report["limits"][f"f64 {report['threads']}"]
    figure, axes = plt.subplots(figsize=(8, 5))
    results = report["results"]
    intensities = [r["fused multiply-adds"] / r["bytes"] for r in results]
    ends = min(intensities) / 2, max(intensities) * 2
    roof = [min(limits["fma"], limits["bytes"] * x) / 1e9 for x in ends]
    ridge = limits["fma"] / limits["bytes"]
    axes.plot([ends[0], ridge, ends[1]], [roof[0], limits["fma"] / 1e9, roof[1]], color="black",
              label="roof: memory, then multiply-adds")  # fmt: skip
    for name, marker in (("scikit-learn", "s"), ("daal4py", "^"), ("ours", "o")):
        points = [(x, r["fused multiply-adds"] / r["median"][name] / 1e9)
                  for x, r in zip(intensities, results, strict=True)
                  if name in r["median"]]  # fmt: skip
        if points:
            axes.plot(*zip(*points, strict=True), marker, color=COLOURS[name],
                      label=LABELS.get(name, name))  # fmt: skip
    axes.plot(intensities,
              [r["fused multiply-adds"] / r["floor"] / 1e9 for r in results],
              "_", color="black", markersize=14,
              label="floor: the roof and the exponentials")  # fmt: skip
    placed: list[tuple[float, float]] = []
    rates = [r["fused multiply-adds"] / r["median"]["ours"] / 1e9 for r in results]
    for x, y, r in sorted(zip(intensities, rates, results, strict=True), key=lambda p: -p[1]):
        at = y
        while any(abs(x / a - 1) < 0.6 and at / b > 0.78 for a, b in placed):
            at *= 0.95  # below the label before
        placed.append((x, at))
        axes.annotate(r["workload"], (x, y), xytext=(x * 0.88, at), fontsize=7, ha="right",
                      va="center")  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("multiply-adds per byte of data")
    axes.set_ylabel("G multiply-adds a second")
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--folder", type=Path, default=Path())
    args = parser.parse_args()
    report = json.loads(args.results.read_text())
    plt.rcParams.update({"svg.hashsalt": "fusedgmm", "svg.fonttype": "none",
                         "axes.spines.top": False, "axes.spines.right": False})  # fmt: skip
    for name, draw in (("ratios", draw_ratios), ("roofline", draw_roofline)):
        figure = draw(report)
        figure.suptitle(caption(report), fontsize=8, y=0.995)
        figure.tight_layout()
        figure.savefig(args.folder / f"{name}.svg", metadata={"Date": None})
        print(args.folder / f"{name}.svg")


if __name__ == "__main__":
    main()
