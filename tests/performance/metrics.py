"""Time our metrics against scib and scib-metrics, and against the number of cells.

Every measurement is a process of its own, cold start included, that reads one embedding from a file and scores it.
``compare`` alternates ours and theirs, so that whatever else the machine does falls on both, and prints ratios::

    python tests/performance/metrics.py compare --cells 1000 10000 --repeats 3
    python tests/performance/metrics.py scaling --cells 500 2000 10000 50000 100000
    python tests/performance/metrics.py floor

The embedding is simulated: 20 dimensions, 20 overlapping cell types of unequal size, 4 batches, one type in two
batches only. ``--write docs/performance.md`` also replaces the table in that page.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]

SCIB_SET = (
    "nmi_leiden",
    "ari_leiden",
    "asw_cell_type",
    "asw_batch",
    "isolated_label_asw",
    "isolated_label_f1",
    "graph_connectivity",
    "pcr_batch",
    "ilisi_graph",
    "clisi_graph",
)
"""Our names of what the scib process computes."""

SCIB_METRICS_SET = (
    "nmi_leiden",
    "ari_leiden",
    "nmi_kmeans",
    "ari_kmeans",
    "asw_cell_type",
    "asw_batch",
    "isolated_label_asw",
    "bras",
    "ilisi",
    "clisi",
    "kbet_per_label",
    "graph_connectivity_directed",
    "pcr_batch",
)
"""Our names of what the scib-metrics process computes."""


def simulate(n_cells: int, path: Path, split: float = 0.0, seed: int = 0) -> None:
    """Write an embedding with labels, batches and halves to ``path`` (.npz)."""
    rng = np.random.default_rng(seed)
    dimensions, types, batches = 20, 20, 4
    label = rng.choice(types, n_cells, p=rng.dirichlet(np.full(types, 3.0)))
    label[:types] = np.arange(types)
    batch = rng.integers(0, batches, n_cells)
    batch[label == 0] %= 2
    centres = 1.2 * rng.normal(size=(types, dimensions))
    values = (
        centres[label] + (0.3 * rng.normal(size=(batches, dimensions)))[batch] + rng.normal(size=(n_cells, dimensions))
    )
    group = np.zeros(n_cells, dtype=np.int8)
    cell = np.arange(n_cells)
    halves = int(n_cells * split / 2)
    if halves:
        # The first and second stretch of observations are halves of the same cells.
        first, second = slice(0, halves), slice(halves, 2 * halves)
        group[first], group[second] = 1, 2
        cell[second], label[second], batch[second] = cell[first], label[first], batch[first]
        values[second] = values[first] + 0.7 * rng.normal(size=(halves, dimensions))
    np.savez(path, values=values.astype(np.float32), label=label, batch=batch, group=group, cell=cell)


# -- one process ---------------------------------------------------------------------------------------------


def run_ours(data, names: tuple[str, ...] | None) -> dict[str, float]:
    """Score with this package; the given metrics, or everything that applies."""
    import pandas as pd

    from benchmarks.formats import Multimodal
    from benchmarks.metrics.context import Context
    from benchmarks.metrics.score import sampling_error, score

    groups = np.array(["paired", "rna", "atac"], dtype=object)
    obs = pd.DataFrame(
        {
            "cell": data["cell"].astype(str),
            "group": groups[data["group"]],
            "cell_type": np.char.add("type", data["label"].astype(str)),
            "batch": np.char.add("batch", data["batch"].astype(str)),
        }
    )
    context = Context(data["values"], Multimodal(obs, {}, {}))
    table, seconds = score(context, names)
    result = {row.metric: row.value for row in table.itertuples() if row.status == "ok"}
    result.update(
        {f"error:{name}": value for name, value in sampling_error(context).items()} if not context.exact else {}
    )
    result.update({f"seconds:{name}": value for name, value in seconds.items() if value > 0.05})
    return result


def run_scib(data, names: tuple[str, ...], search: str) -> dict[str, float]:
    """Score with scib on scanpy's graph; `search` is its compiled graph search, without which graph LISI is left out."""
    import anndata
    import scanpy
    import scib

    scanpy.settings.n_jobs = len(os.sched_getaffinity(0))
    adata = anndata.AnnData(data["values"], obsm={"X_emb": data["values"]})
    adata.obs["label"] = np.char.add("type", data["label"].astype(str))
    adata.obs["batch"] = np.char.add("batch", data["batch"].astype(str))
    adata.obs = adata.obs.astype("category")
    scanpy.pp.neighbors(adata, use_rep="X_emb", n_neighbors=15)
    result = {}
    scib.me.cluster_optimal_resolution(adata, "label", "cluster", verbose=False)
    result["nmi_leiden"] = scib.me.nmi(adata, "cluster", "label")
    result["ari_leiden"] = scib.me.ari(adata, "cluster", "label")
    result["asw_cell_type"] = scib.me.silhouette(adata, "label", "X_emb")
    result["asw_batch"] = scib.me.silhouette_batch(adata, "batch", "label", "X_emb", verbose=False)
    result["isolated_label_asw"] = scib.me.isolated_labels_asw(adata, "label", "batch", "X_emb", verbose=False)
    if "isolated_label_f1" in names:
        result["isolated_label_f1"] = scib.me.isolated_labels_f1(adata, "label", "batch", "X_emb", verbose=False)
    result["graph_connectivity"] = scib.me.graph_connectivity(adata, "label")
    result["pcr_batch"] = scib.me.pcr(adata, "batch", embed="X_emb", n_comps=20)
    if search:
        # scib looks for its search beside its own __init__.py; its wheel's needs a newer C library than Debian 12 has.
        scib.__file__ = str(Path(search).parents[1] / "__init__.py")
        cores = len(os.sched_getaffinity(0))
        result["ilisi_graph"] = scib.me.ilisi_graph(adata, "batch", "embed", "X_emb", n_cores=cores)
        result["clisi_graph"] = scib.me.clisi_graph(adata, "label", "embed", "X_emb", n_cores=cores)
    return result


def run_scib_metrics(data) -> dict[str, float]:
    """Score with scib-metrics' Benchmarker, every metric on."""
    import anndata
    import scib_metrics
    from scib_metrics.benchmark import BatchCorrection, Benchmarker, BioConservation

    adata = anndata.AnnData(data["values"], obsm={"X_emb": data["values"], "X_pca": data["values"]})
    adata.obs["label"] = np.char.add("type", data["label"].astype(str))
    adata.obs["batch"] = np.char.add("batch", data["batch"].astype(str))
    adata.obs = adata.obs.astype("category")
    bench = Benchmarker(
        adata,
        "batch",
        "label",
        ["X_emb"],
        bio_conservation_metrics=BioConservation(nmi_ari_cluster_labels_leiden=True),
        batch_correction_metrics=BatchCorrection(),
        pre_integrated_embedding_obsm_key="X_pca",
        n_jobs=len(os.sched_getaffinity(0)),
        progress_bar=False,
    )
    bench.benchmark()
    found = bench.get_results(min_max_scale=False, clean_names=False).loc["X_emb"]
    names = {
        "nmi_ari_cluster_labels_leiden_nmi": "nmi_leiden",
        "nmi_ari_cluster_labels_leiden_ari": "ari_leiden",
        "nmi_ari_cluster_labels_kmeans_nmi": "nmi_kmeans",
        "nmi_ari_cluster_labels_kmeans_ari": "ari_kmeans",
        "silhouette_label": "asw_cell_type",
        "isolated_labels": "isolated_label_asw",
        "bras": "bras",
        "ilisi_knn": "ilisi",
        "clisi_knn": "clisi",
        "kbet_per_label": "kbet_per_label",
        "graph_connectivity": "graph_connectivity_directed",
    }
    result = {ours: float(found[theirs]) for theirs, ours in names.items()}
    labels, batches = np.asarray(adata.obs["label"]), np.asarray(adata.obs["batch"])
    result["asw_batch"] = float(scib_metrics.silhouette_batch(data["values"], labels, batches))
    return result


def child(options: argparse.Namespace) -> None:
    """Body of one measured process; prints one line of JSON."""
    data = dict(np.load(options.input))
    names = tuple(options.names.split(",")) if options.names else None
    if options.tool == "ours":
        values = run_ours(data, names)
    elif options.tool == "scib":
        values = run_scib(data, names or SCIB_SET, options.search)
    else:
        values = run_scib_metrics(data)
    # The largest helper process is counted on top: an upper bound of what was held at once by two processes.
    peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    print("RESULT " + json.dumps({"values": {key: float(value) for key, value in values.items()}, "peak_rss_mb": peak}))


def measure(tool: str, path: Path, names: tuple[str, ...] | None = None, search: str = "") -> dict:
    """Run one process and return its values with ``wall_seconds``, ``cpu_seconds`` and ``peak_rss_mb``.

    On a busy machine the CPU seconds (of all its threads and helpers) say more than the wall seconds.
    """
    command = [sys.executable, str(Path(__file__).resolve()), "child", "--tool", tool, "--input", str(path)]
    command += ["--names", ",".join(names or ()), "--search", search]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        raise RuntimeError(f"{tool} failed:\n{done.stderr[-3000:]}")
    return {**json.loads(lines[-1].removeprefix("RESULT ")), "wall_seconds": seconds, "cpu_seconds": cpu_seconds}


def compile_search(folder: Path) -> str:
    """Compile scib's graph search; empty if there is no compiler."""
    import importlib.util

    compiler, found = shutil.which("g++"), importlib.util.find_spec("scib")
    if compiler is None or found is None:
        return ""
    source = Path(found.origin).parent / "knn_graph" / "knn_graph.cpp"
    target = folder / "knn_graph" / "knn_graph.o"
    target.parent.mkdir()
    subprocess.run([compiler, "-std=c++11", "-O2", str(source), "-o", str(target)], check=True)
    return str(target)


# -- commands ------------------------------------------------------------------------------------------------


def compare(options: argparse.Namespace) -> str:
    """Alternate ours and theirs; a Markdown table of medians and ratios."""
    rows = [
        "| cells | other | metrics | other (s) | ours (s) | ratio of each pair | CPU (s), other / ours | peak MB, other / ours |"
    ]
    rows.append("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        search = compile_search(folder) if "scib" in options.tools else ""
        for n_cells in options.cells:
            path = folder / f"{n_cells}.npz"
            simulate(n_cells, path)
            measure("ours", path)  # compiled code goes to the disk cache, as after any first run
            for tool in options.tools:
                names = SCIB_METRICS_SET
                if tool == "scib":
                    names = tuple(
                        one
                        for one in SCIB_SET
                        if (search or not one.endswith("lisi_graph"))
                        and (one != "isolated_label_f1" or n_cells <= 20_000)
                    )
                pairs = []
                for _ in range(options.repeats):
                    theirs = measure(tool, path, names, search)
                    ours = measure("ours", path, names)
                    pairs.append((theirs, ours))
                    print(
                        f"{n_cells} cells, {tool}: {theirs['wall_seconds']:.1f} s, ours {ours['wall_seconds']:.1f} s, "
                        f"ratio {theirs['wall_seconds'] / ours['wall_seconds']:.1f}",
                        file=sys.stderr,
                    )
                if options.values:
                    for metric in names:
                        print(
                            f"  {metric}: {tool} {pairs[0][0]['values'].get(metric)}, ours {pairs[0][1]['values'].get(metric)}",
                            file=sys.stderr,
                        )
                other = statistics.median(pair[0]["wall_seconds"] for pair in pairs)
                own = statistics.median(pair[1]["wall_seconds"] for pair in pairs)
                ratios = ", ".join(f"{pair[0]['wall_seconds'] / pair[1]['wall_seconds']:.1f}" for pair in pairs)
                memory = f"{pairs[0][0]['peak_rss_mb']:.0f} / {pairs[0][1]['peak_rss_mb']:.0f}"
                cpu = " / ".join(
                    f"{statistics.median(pair[side]['cpu_seconds'] for pair in pairs):.1f}" for side in (0, 1)
                )
                rows.append(
                    f"| {n_cells:,} | {tool} | {len(names)} | {other:.1f} | {own:.1f} | {ratios} | {cpu} | {memory} |"
                )
    return "\n".join(rows)


def scaling(options: argparse.Namespace) -> str:
    """Everything that applies, against the number of observations (half of them halves of split cells)."""
    rows = ["| observations | seconds | CPU seconds | peak MB | longest parts (s) |", "|---|---|---|---|---|"]
    points = []
    with tempfile.TemporaryDirectory() as name:
        for n_cells in options.cells:
            path = Path(name) / "embedding.npz"
            simulate(n_cells, path, split=0.5)
            found = measure("ours", path)
            points.append((n_cells, found["cpu_seconds"]))
            parts = {
                key.removeprefix("seconds:"): value
                for key, value in found["values"].items()
                if key.startswith("seconds:")
            }
            longest = sorted(parts.items(), key=lambda item: -item[1])[:4]
            recall = found["values"].get("error:neighbour_recall")
            note = f"; neighbour_recall {recall:.3f}" if recall is not None else ""
            text = ", ".join(f"{key} {value:.1f}" for key, value in longest)
            rows.append(
                f"| {n_cells:,} | {found['wall_seconds']:.1f} | {found['cpu_seconds']:.1f} | {found['peak_rss_mb']:.0f} | {text}{note} |"
            )
            print(rows[-1], file=sys.stderr)
    exact = [(n, seconds) for n, seconds in points if 10_000 <= n <= 100_000]
    if len(exact) > 1:
        slope = np.polyfit(np.log([n for n, _ in exact]), np.log([seconds for _, seconds in exact]), 1)[0]
        rows.append(
            f"\nFitted exponent from {exact[0][0]:,} to {exact[-1][0]:,} observations: CPU seconds ~ n^{slope:.2f}."
        )
    return "\n".join(rows)


def floor(options: argparse.Namespace) -> str:
    """What the machine can do: matrix product rate, square roots, bandwidth; and the least time of the pass over pairs."""
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(0)
    big = rng.normal(size=(1500, 1500))
    left, right = rng.normal(size=(100, 22)), rng.normal(size=(22, 10_000))
    block = np.abs(left @ right)
    stream = np.zeros(1 << 25)

    def best(function, repeats: int = 7) -> float:
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            function()
            times.append(time.perf_counter() - started)
        return min(times)

    with threadpool_limits(1):
        gemm = 2 * 1500**3 / best(lambda: big @ big) / 1e9
        thin = 2 * left.size * right.shape[1] / best(lambda: left @ right) / 1e9
        roots = block.size / best(lambda: np.sqrt(block, out=block)) / 1e9
        copy = 2 * stream.nbytes / best(lambda: np.copyto(stream, stream + 0.0)) / 1e9
    cores = len(os.sched_getaffinity(0))
    n = 50_000
    least = n * n * (2 * 22 / (thin * 1e9) + 1 / (roots * 1e9)) / cores
    return (
        f"One core, float64: square matrix product {gemm:.0f} GFLOP/s, product of the pass's shape (22 terms) {thin:.0f} GFLOP/s, "
        f"square roots {roots:.2f} G/s, copy {copy:.1f} GB/s. Least time of product and roots alone for all pairs of "
        f"{n:,} observations on {cores} cores: {least:.1f} s."
    )


def write_section(page: Path, name: str, text: str, command: str) -> None:
    """Replace the part of `page` between the markers of this table; a new one goes after the last of its command."""
    begin, end = f"<!-- begin metrics {name} -->", f"<!-- end metrics {name} -->"
    body = f"{begin}\n{text}\n\n`{command}`, {time.strftime('%Y-%m-%d')}, {len(os.sched_getaffinity(0))} cores, {platform.machine()}.\n{end}"
    old = page.read_text(encoding="utf-8") if page.is_file() else "# Performance\n\n## Metrics\n"
    if begin in old:
        start, stop = old.index(begin), old.index(end) + len(end)
        new = old[:start] + body + old[stop:]
    else:
        same = [match.end() for match in re.finditer(f"<!-- end metrics {name.split()[0]}[^>]*-->", old)]
        stop = same[-1] if same else len(old.rstrip("\n"))
        rest = old[stop:].lstrip("\n")
        new = old[:stop] + "\n\n" + body + "\n" + (f"\n{rest}" if rest else "")
    page.write_text(new, encoding="utf-8")


def main() -> None:
    """Read the command line and run one command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("child")
    one.add_argument("--tool", choices=["ours", "scib", "scib_metrics"], required=True)
    one.add_argument("--input", required=True)
    one.add_argument("--names", default="")
    one.add_argument("--search", default="")
    for name, cells in (("compare", [1000, 10_000]), ("scaling", [500, 2000, 10_000, 50_000]), ("floor", [])):
        command = commands.add_parser(name)
        command.add_argument("--write", type=Path)
        if cells:
            command.add_argument("--cells", type=int, nargs="+", default=cells)
        if name == "compare":
            command.add_argument("--repeats", type=int, default=3)
            command.add_argument(
                "--tools", nargs="+", choices=["scib", "scib_metrics"], default=["scib", "scib_metrics"]
            )
            command.add_argument("--values", action="store_true", help="also print both values of each metric")
    options = parser.parse_args()
    if options.command == "child":
        child(options)
        return
    text = {"compare": compare, "scaling": scaling, "floor": floor}[options.command](options)
    print(text)
    if options.write:
        shown = [argument for argument in sys.argv[1:] if argument not in ("--write", str(options.write))]
        tools = "" if options.command != "compare" else " " + " ".join(options.tools)
        cells = "" if options.command == "floor" else " " + " ".join(map(str, options.cells))
        write_section(
            options.write,
            options.command + cells + tools,
            text,
            "python tests/performance/metrics.py " + " ".join(shown),
        )


if __name__ == "__main__":
    main()
