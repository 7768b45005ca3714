"""What one query takes, beside plain matrix-vector products (BLAS gemv) over the same rows in the same run.

    python tests/bench/bench_query.py [--rows 8000] [--syndromes 300] [--repeat 50]

Rows are of four owners and lie around syndromes, in two kinds. `faces` are made like an ensemble's embeddings: four
views of each of three networks whose directions weaken as 1 / k (`left out`: the median length of what a row has
outside its 512 leading directions; a demonstration's gallery has 0.06 of 2,048). `round` are random in all
directions, the worst case. `member` is the answer to one of the owners, whose own quarter is left out; `all` leaves
nothing out. `gemv` is NumPy's product of all rows with the query alone. OMP_NUM_THREADS=1 keeps BLAS from waiting for
a core that others use.
"""

import argparse
import itertools
import statistics
import time

import numpy as np

from fedgestalt.flake.index import GalleryIndex
from fedgestalt.flake.sketch import Sketch


def milliseconds(function, repeat):
    """Shortest and median time of some runs."""
    function()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - start))
    return min(times), statistics.median(times)


def unit(rows):
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def faces(rng, labels, width):
    """Embeddings [n, width]: 12 encodings, those of a network differing by a little noise."""
    size = width // 12
    scale = 1.0 / (1.0 + np.arange(size))
    parts = []
    for _ in range(3):
        centres = rng.standard_normal((labels.max() + 1, size)) * scale
        person = 0.6 * centres[labels] + rng.standard_normal((len(labels), size)) * scale
        mixing, _ = np.linalg.qr(rng.standard_normal((size, size)))
        for _ in range(4):
            view = unit(person + 0.15 * rng.standard_normal(person.shape) * scale) @ mixing
            parts.append(view / np.sqrt(12))
    return unit(np.concatenate(parts, axis=1))


def around(rng, labels, width):
    """Random unit rows around syndromes, in all directions."""
    centres = unit(rng.standard_normal((labels.max() + 1, width)))
    return unit(0.6 * centres[labels] + unit(rng.standard_normal((len(labels), width))))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=8000)
    parser.add_argument("--syndromes", type=int, default=300)
    parser.add_argument("--repeat", type=int, default=50)
    parser.add_argument("--widths", type=int, nargs="+", default=[1536, 6144])
    arguments = parser.parse_args()
    n = arguments.rows
    print(f"{n} rows, {arguments.syndromes} syndromes; milliseconds: shortest / median of {arguments.repeat}")
    for width, (kind, make) in itertools.product(arguments.widths, {"faces": faces, "round": around}.items()):
        rng = np.random.default_rng(0)
        labels = rng.integers(0, arguments.syndromes, n + 10)
        rows = make(rng, labels, width)
        queries, query = itertools.cycle(rows[n:]), rows[n]
        rows, labels = np.ascontiguousarray(rows[:n]), labels[:n]
        tokens = np.frombuffer(b"".join(int(k).to_bytes(16, "big") for k in labels), np.uint8).reshape(n, 16)
        handles = np.frombuffer(rng.bytes(16 * n), np.uint8).reshape(n, 16)
        index = GalleryIndex(width, bytes(16))
        for owner in range(4):
            index.put(str(owner), rows[owner::4], tokens[owner::4], handles[owner::4])
        start = time.perf_counter()
        index.prepare()
        prepared = time.perf_counter() - start
        quick, small = rows.astype(np.float32), query.astype(np.float32)
        member = milliseconds(
            lambda index=index, queries=queries: index.query(next(queries), exclude="0"), arguments.repeat
        )
        answer = milliseconds(
            lambda index=index, queries=queries: index.query(next(queries)), arguments.repeat
        )
        single = milliseconds(lambda quick=quick, small=small: quick @ small, arguments.repeat)
        double = milliseconds(lambda rows=rows, query=query: rows @ query, arguments.repeat)
        _, rest = Sketch.fit(rows[:1024], 512).project(rows[1024:])
        print(f"  {width} {kind}: left out {np.median(rest):.2f}, prepared in {prepared:.1f} s")
        for name, (shortest, median) in {
            "member": member,
            "all": answer,
            "gemv float32": single,
            "gemv float64": double,
        }.items():
            ratio = f"   all : {name} = {answer[0] / shortest:.2f}" if name.startswith("gemv") else ""
            print(f"    {name:13s} {shortest:6.2f} / {median:6.2f}{ratio}")


if __name__ == "__main__":
    main()
