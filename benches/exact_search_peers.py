"""Exact search of f32 vectors by faiss (IndexFlatIP) and numpy, in alternation with this project's kernels.

    cargo bench -p sciembed-kernel --bench scan --no-run      # prints the path of the executable
    python benches/exact_search_peers.py --kernel PATH [--rows 1000000 --dim 384 --queries 64 --threads 2 --rounds 7]

In each round every program searches once (each after one search that is not counted). Printed are medians in milliseconds:
by the clock, and the processor's time divided by the threads, which tells more on a machine that is not quiet. That of the
kernels is the thread's that ran longest. All find the best 10.
"""

import argparse
import os
import statistics
import subprocess
import time

K = 10


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in [("rows", 1_000_000), ("dim", 384), ("queries", 64), ("threads", 2), ("rounds", 7)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--kernel", help="the executable of the bench `scan`")
    return parser.parse_args()


def timed(search):
    """Milliseconds by the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    search()
    return (time.perf_counter() - clock) * 1e3, (time.process_time() - processor) * 1e3


def kernel(given):
    """The same of this project's kernels, which measure themselves."""
    command = [given.kernel, "--bench", str(given.rows), str(given.dim), "1", "f32"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for line in told.splitlines():
        words = line.split()
        if words[:3] == ["f32", str(given.queries), str(given.threads)]:
            return float(words[3]), float(words[7]) * given.threads
    raise SystemExit(f"the bench measures no {given.queries} queries on {given.threads} threads")


def main():
    given = options()
    # A thread that waits must not be counted as running.
    os.environ.update(OMP_NUM_THREADS=str(given.threads), OPENBLAS_NUM_THREADS=str(given.threads), OMP_WAIT_POLICY="passive")
    import faiss
    import numpy

    random = numpy.random.default_rng(1)
    vectors = random.random((given.rows, given.dim), dtype=numpy.float32) - 0.5
    queries = random.random((given.queries, given.dim), dtype=numpy.float32) - 0.5
    faiss.omp_set_num_threads(given.threads)
    index = faiss.IndexFlatIP(given.dim)
    index.add(vectors)

    def by_numpy():
        scores = queries @ vectors.T
        best = numpy.argpartition(scores, -K, axis=1)[:, -K:]
        numpy.take_along_axis(scores, best, axis=1)

    def by_faiss(threshold):
        """From so many queries on it multiplies matrices by BLAS; with fewer by loops of its own."""
        faiss.cvar.distance_compute_blas_threshold = threshold
        index.search(queries, K)

    blas = faiss.cvar.distance_compute_blas_threshold
    programs = {
        f"faiss {faiss.__version__} IndexFlatIP": lambda: timed(lambda: by_faiss(blas)),
        "the same without BLAS": lambda: timed(lambda: by_faiss(given.queries + 1)),
        f"numpy {numpy.__version__} and argpartition": lambda: timed(by_numpy),
    }
    if given.kernel:
        programs["sciembed-kernel scan"] = lambda: kernel(given)
    for program in programs.values():
        program()
    measured = {name: [] for name in programs}
    for _ in range(given.rounds):
        for name, program in programs.items():
            measured[name].append(program())
    print(f"{given.rows} x {given.dim} f32, {given.queries} queries, {given.threads} threads, best {K}, medians of {given.rounds}")
    for name, times in measured.items():
        clock, processor = (statistics.median(column) for column in zip(*times))
        per_second = given.queries / clock * 1e3
        print(f"{name:36} {clock:9.1f} ms  {processor / given.threads:9.1f} ms of processor  {per_second:8.1f} queries/s")


if __name__ == "__main__":
    main()
