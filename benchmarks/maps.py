"""t-SNE maps: a small one beside scikit-learn's, and `python -m benchmarks.maps`, which goes on where it stopped.

That command measures time and memory of large maps beside plain openTSNE.

Every map is made in a process of its own, so that the peak of its memory is its own. The points are normal, in 256
dimensions; both use openTSNE's default settings and all cores. The quality is the share of the ten nearest neighbours
that a map keeps.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.manifold import TSNE

from aelib.files import read_json, write_json
from aelib.maps import DEFAULTS, neighbours_kept, tsne_map
from aelib.record import RUNS
from aelib.threads import n_cores
from benchmarks.measure import Row, alternately, timed
from benchmarks.statistics import cloud

SIZES = (20_000, 80_000, 165_000)
GROUP, N_SMALL = "maps", 5_000


def rows() -> Iterator[Row]:
    """Measure a small map beside scikit-learn's with as many iterations: time, and the neighbours that both keep."""
    z, found = cloud(N_SMALL, d=32), {}
    settings = replace(DEFAULTS, iterations=750)  # scikit-learn's 1 000 hold the 250 with early exaggeration

    def ours() -> None:
        found["ours"] = tsne_map(z, settings).points

    def theirs() -> None:
        found["theirs"] = TSNE(random_state=0, n_jobs=n_cores()).fit_transform(z)

    figures = alternately([timed(ours), timed(theirs)], rounds=2)
    what = "t-SNE map, 5 000 × 32"
    yield Row(GROUP, what, "scikit-learn", tuple(figures[:, 1] / figures[:, 0]), "×", 1)
    kept = [100 * neighbours_kept(z, found[who]).share for who in ("ours", "theirs")]
    yield Row(
        GROUP, what, "neighbours kept, less scikit-learn's", (kept[0] - kept[1],), "points", -1
    )  # of 100


def main() -> None:
    """Measure what is missing and print the table, or make one map."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, metavar=("WHO", "N"), help=argparse.SUPPRESS)
    parser.add_argument("--points", type=int, choices=SIZES, nargs="*", default=list(SIZES))
    parser.add_argument("--alone", action="store_true", help="without openTSNE beside it")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(_one(asked.one[0], int(asked.one[1]))))
        return
    path = RUNS / "bench" / "maps.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    found = read_json(path) if path.exists() else {}
    for n in asked.points:
        for who in ("aelib",) if asked.alone else ("aelib", "openTSNE"):
            if f"{who}, {n}" not in found:
                command = [sys.executable, "-m", "benchmarks.maps", "--one", who, str(n)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                found[f"{who}, {n}"] = json.loads(done.stdout.splitlines()[-1])
                write_json(path, found)
    print(pd.DataFrame(found).T.round(2).to_string())


def _one(who: str, n: int) -> dict[str, float]:
    z = cloud(n, seed=n).astype(np.float32)
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    points = tsne_map(z).points if who == "aelib" else _plain(z)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": seconds,
        "CPU seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak MB": after.ru_maxrss / 1e3,
        "neighbours kept, %": 100 * neighbours_kept(z, points).share,
    }


def _plain(z: np.ndarray) -> np.ndarray:
    from openTSNE import TSNE

    return np.asarray(TSNE(n_jobs=n_cores(), random_state=0).fit(z))


if __name__ == "__main__":
    main()
