"""What masking costs a silo: nanoseconds a parameter, beside the raw speed of AES-256-CTR in the same run.

    python tests/bench/bench_masking.py [--parameters 43600000] [--peers 4]

A silo with p peers applies p pair streams, its self mask and its blind: p + 2 streams of 4 bytes a parameter. The
checksum takes two streams of 8 bytes and two multiplications a parameter.
"""

import argparse
import resource
import time

import numpy as np

from fedgestalt.crypto.checksum import checksum
from fedgestalt.crypto.masks import BLOCK, Keystream, Mask, apply
from fedgestalt.secagg.quantise import quantise
from fedgestalt.secagg.vector import masked


def best(function, repeat=3):
    """The shortest of some runs, in seconds: what the machine can do when nobody disturbs it."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def raw_speed():
    """Bytes a second of AES-256-CTR into a buffer of one block."""
    stream, buffer = Keystream(bytes(32)), memoryview(bytearray(4 * BLOCK))
    rounds = 1000

    def run():
        for _ in range(rounds):
            stream.into(buffer)

    return rounds * len(buffer) / best(run)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parameters", type=int, default=43_600_000)
    parser.add_argument("--peers", type=int, default=4)
    arguments = parser.parse_args()
    size, streams = arguments.parameters, arguments.peers + 2
    speed = raw_speed()
    masks = [Mask(bytes([i]) * 32, 1 if i % 2 else -1) for i in range(streams)]
    delta = {"x": np.random.default_rng(0).standard_normal(size)}
    parts = {}
    vector = np.zeros(size, dtype=np.uint32)

    def quantised():
        vector[:] = quantise(delta, {"x": 10.0}, weight=1, total_weight=5, n=5)

    parts["quantise"] = best(quantised)
    parts["checksum"] = best(lambda: checksum(vector, (b"a" * 32, b"b" * 32)))
    lanes = np.zeros(2, dtype=np.uint64)
    parts["masks"] = best(lambda: apply(vector, lanes, masks))
    parts["masks + checksum, as bytes"] = best(lambda: masked(vector, b"k" * 32, b"c" * 32, masks))
    print(
        f"{size / 1e6:.1f} M parameters, {arguments.peers} peers; AES-256-CTR alone: {speed / 1e9:.2f} GB/s"
    )
    for name, seconds in parts.items():
        print(f"  {name:28s} {seconds / size * 1e9:6.2f} ns/parameter   {seconds:6.2f} s")
    raw = streams * 4 * size / speed
    print(f"  masks take {parts['masks'] / raw:.2f} times the raw keystream of the same {streams} streams")
    print(f"  peak resident memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
