"""What one query takes, beside plain matrix-vector products (BLAS gemv) over the same rows in the same run.

    python tests/bench/bench_query.py [--rows 8000] [--syndromes 300] [--repeat 50]

Rows are random unit vectors around syndromes, of four owners. `member` is the answer to one of them, whose own quarter is
left out; `all` has no row left out. `gemv` is NumPy's product of all rows with the query alone: no answer can be faster that
looks at every row. OMP_NUM_THREADS=1 keeps BLAS from waiting for a core that others use.
"""

import argparse
import statistics
import time

import numpy as np

from fedgestalt.flake.index import GalleryIndex


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


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=8000)
    parser.add_argument("--syndromes", type=int, default=300)
    parser.add_argument("--repeat", type=int, default=50)
    parser.add_argument("--widths", type=int, nargs="+", default=[1536, 2048, 6144])
    arguments = parser.parse_args()
    n = arguments.rows
    print(f"{n} rows, {arguments.syndromes} syndromes; milliseconds: shortest / median of {arguments.repeat}")
    for width in arguments.widths:
        rng = np.random.default_rng(0)
        centres = unit(rng.standard_normal((arguments.syndromes, width)))
        labels = rng.integers(0, arguments.syndromes, n)
        rows = unit(0.6 * centres[labels] + unit(rng.standard_normal((n, width))))
        tokens = np.frombuffer(b"".join(int(k).to_bytes(16, "big") for k in labels), np.uint8).reshape(n, 16)
        handles = np.frombuffer(rng.bytes(16 * n), np.uint8).reshape(n, 16)
        index = GalleryIndex(width, bytes(16))
        for owner in range(4):
            index.put(str(owner), rows[owner::4], tokens[owner::4], handles[owner::4])
        query = unit(0.6 * centres[:1] + unit(rng.standard_normal((1, width))))[0]
        quick, small = rows.astype(np.float32), query.astype(np.float32)
        member = milliseconds(
            lambda index=index, query=query: index.query(query, exclude="0"), arguments.repeat
        )
        answer = milliseconds(lambda index=index, query=query: index.query(query), arguments.repeat)
        single = milliseconds(lambda quick=quick, small=small: quick @ small, arguments.repeat)
        double = milliseconds(lambda rows=rows, query=query: rows @ query, arguments.repeat)
        print(
            f"  width {width:5d}: member {member[0]:6.2f} / {member[1]:6.2f}   all {answer[0]:6.2f} / {answer[1]:6.2f}   "
            f"gemv float32 {single[0]:6.2f} / {single[1]:6.2f}, float64 {double[0]:6.2f} / {double[1]:6.2f}   "
            f"all : gemv float32 = {answer[0] / single[0]:.2f}, float64 = {answer[0] / double[0]:.2f}"
        )


if __name__ == "__main__":
    main()
