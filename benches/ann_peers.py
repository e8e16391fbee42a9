"""Approximate search beside others: recall@10, queries a second, bytes a row and seconds of building, on the same vectors.

    ann_peers.py VECTORS [--queries 1000] [--only faiss,hnswlib,usearch]

VECTORS is what `cargo bench -p sciembed-faiss --bench recall` leaves in its folder: f16, n x 384, row-major; the last rows are the
queries. That bench tells our own figures; run it in the same hour. Recall is by exact search over the same f16 vectors as f32.
Queries go in one batch on all cores, as that bench asks them.
"""

import argparse
import os
import resource
import tempfile
import time

import numpy as np

DIM, K = 384, 10


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("vectors")
    arguments.add_argument("--queries", type=int, default=1000)
    arguments.add_argument("--only", default="faiss,usearch,hnswlib")
    options = arguments.parse_args()
    everything = np.memmap(options.vectors, dtype=np.float16, mode="r").reshape(-1, DIM)
    rows = np.ascontiguousarray(everything[: -options.queries], dtype=np.float32)
    queries = np.ascontiguousarray(everything[-options.queries :], dtype=np.float32)
    truth = exact(rows, queries)
    print(f"{len(rows)} rows of {DIM}, {len(queries)} queries, {os.cpu_count()} threads")
    print(f"{'index':44}{'bytes':>8}{'built s':>9}{'recall@10':>11}{'queries/s':>11}")
    for name in options.only.split(","):
        for told in PEERS[name](rows, queries, truth):
            print(told, flush=True)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB, the vectors as f32 included")


def exact(rows, queries):
    import faiss

    index = faiss.IndexFlatIP(DIM)
    index.add(rows)
    return index.search(queries, K)[1]


def line(name, size, built, found, truth, seconds):
    recall = np.mean([len(set(a) & set(b)) / K for a, b in zip(found, truth)])
    return f"{name:44}{size:8.0f}{built:9.1f}{recall:11.4f}{len(truth) / seconds:11.0f}"


def timed(search):
    search()
    begun = time.monotonic()
    found = search()
    return found, time.monotonic() - begun


def with_faiss(rows, queries, truth):
    import faiss

    # As many lists as ours has for so many rows.
    lists = 4096 if len(rows) > 500_000 else 2048
    for factory, settings in [(f"IVF{lists},PQ96", [16, 64, 128]), (f"IVF{lists},SQ8", [16, 64]), ("HNSW32", [32, 64, 128])]:
        index = faiss.index_factory(DIM, factory, faiss.METRIC_INNER_PRODUCT)
        begun = time.monotonic()
        index.train(rows[np.random.default_rng(1).choice(len(rows), min(len(rows), 64 * lists), replace=False)])
        index.add(rows)
        built = time.monotonic() - begun
        with tempfile.NamedTemporaryFile() as file:
            faiss.write_index(index, file.name)
            size = os.path.getsize(file.name) / len(rows)
        for setting in settings:
            knob = "efSearch" if "HNSW" in factory else "nprobe"
            faiss.ParameterSpace().set_index_parameter(index, knob, setting)
            (_, found), seconds = timed(lambda: index.search(queries, K))
            yield line(f"faiss {factory}, {knob} {setting}", size, built, found, truth, seconds)
        if "PQ" in factory:
            # As ours: candidates by their codes, scored anew by vectors that are kept in memory as f32.
            refined = faiss.IndexRefineFlat(index, faiss.swig_ptr(rows))
            for setting in settings:
                index.nprobe, refined.k_factor = setting, 20
                (_, found), seconds = timed(lambda: refined.search(queries, K))
                yield line(f"faiss {factory}, nprobe {setting}, 200 refined", size, built, found, truth, seconds)


def with_usearch(rows, queries, truth):
    from usearch.index import Index

    for dtype in ["f16", "i8"]:
        index = Index(ndim=DIM, metric="ip", dtype=dtype, connectivity=16, expansion_add=128)
        begun = time.monotonic()
        index.add(np.arange(len(rows)), rows)
        built = time.monotonic() - begun
        for expansion in [64, 128, 256]:
            index.expansion_search = expansion
            found, seconds = timed(lambda: index.search(queries, K).keys)
            yield line(f"usearch {dtype}, expansion {expansion}", index.serialized_length / len(rows), built, found, truth, seconds)


def with_hnswlib(rows, queries, truth):
    import hnswlib

    index = hnswlib.Index(space="ip", dim=DIM)
    index.init_index(max_elements=len(rows), ef_construction=200, M=16)
    begun = time.monotonic()
    index.add_items(rows)
    built = time.monotonic() - begun
    with tempfile.NamedTemporaryFile() as file:
        index.save_index(file.name)
        size = os.path.getsize(file.name) / len(rows)
    for ef in [32, 64, 128, 256]:
        index.set_ef(ef)
        (found, _), seconds = timed(lambda: index.knn_query(queries, k=K))
        yield line(f"hnswlib M 16, ef {ef}", size, built, found, truth, seconds)


PEERS = {"faiss": with_faiss, "usearch": with_usearch, "hnswlib": with_hnswlib}

if __name__ == "__main__":
    main()
