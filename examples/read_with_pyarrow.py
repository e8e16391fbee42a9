#!/usr/bin/env python3
"""Reads what `sciembed apply` published, with nothing of sciembed: pyarrow and numpy are enough.

Usage: read_with_pyarrow.py [FOLDER [BIBCODE]]

Memory-maps every FOLDER/embeddings_*.f16 (an Arrow IPC file), makes sure that nothing was copied, that every row has the check
(CRC-32) that it was published with and that row n is line n of bibcodes_*.txt, and shows the papers nearest to BIBCODE. A merge that is a view has no vectors of its own: those of
its parts stand in `parts/` beside its manifest, one below the other. Exits with 1, and says why, if anything is off.
"""

import json
import sys
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa

COLUMNS = ["bibcode", "embedding", "metadata_digest", "row_key", "check"]
ALLOWED_BYTES = 1 << 20  # for the file's footer and schema; vectors must stay in the map


class Unsound(Exception):
    """What was published is not what it should be."""


def require(condition, message):
    if not condition:
        raise Unsound(message)


def read_dataset(path):
    """Maps one dataset. Returns its bibcodes and its vectors, a float16 matrix (rows x dim) with a row for each."""
    allocated = pa.total_allocated_bytes()
    source = pa.memory_map(str(path))
    try:
        table = pa.ipc.open_file(source).read_all()
    except pa.ArrowException as error:
        raise Unsound(f"{path}: {error}") from error

    names = table.schema.names
    require(set(COLUMNS) <= set(names), f"{path}: columns {COLUMNS} are wanted, found {names}")
    kind = table.schema.field("embedding").type
    require(
        pa.types.is_fixed_size_list(kind) and pa.types.is_float16(kind.value_type),
        f"{path}: the embedding column is {kind}, not a fixed-size list of halffloat",
    )
    for name in COLUMNS:
        require(table[name].null_count == 0, f"{path}: {table[name].null_count} nulls in {name}")

    whole = source.read_buffer(source.size())  # of a map, this is an address, not a copy
    matrices = []
    for chunk in table["embedding"].chunks:
        matrix = chunk.flatten().to_numpy(zero_copy_only=True).reshape(-1, kind.list_size)
        first = matrix.ctypes.data - whole.address
        inside = 0 <= first and first + matrix.nbytes <= whole.size
        require(inside or matrix.size == 0, f"{path}: vectors were copied out of the file")
        matrices.append(matrix)
    copied = pa.total_allocated_bytes() - allocated
    require(copied <= ALLOWED_BYTES, f"{path}: {copied:,} bytes were copied, so this is not a memory map")

    # One record batch is used where it lies; several are gathered here, after the check that none was copied above.
    matrix = matrices[0] if len(matrices) == 1 else np.concatenate([np.empty((0, kind.list_size), "f2"), *matrices])
    check_rows(path, table, matrix)
    return table["bibcode"].to_pylist(), matrix


def check_rows(path, table, matrix):
    """Requires that each row has its check: the CRC-32 of bibcode, vector as it lies, metadata digest and row key."""
    columns = (table[name].to_pylist() for name in ["bibcode", "metadata_digest", "row_key", "check"])
    for row, (bibcode, digest, key, check) in enumerate(zip(*columns)):
        found = zlib.crc32(bibcode.encode() + matrix[row].tobytes() + digest + key)
        require(found == check, f"{path}: row {row} ({bibcode}) is not what was published")


def check_lines(path, bibcodes):
    """Requires that line n of the dataset's bibcodes_*.txt is row n of its vectors."""
    listed = path.with_name(path.name.replace("embeddings_", "bibcodes_", 1)).with_suffix(".txt")
    text = listed.read_text(encoding="utf-8")
    require(not text or text.endswith("\n"), f"{listed}: the last line has no end")
    lines = text.split("\n")[:-1]
    require(len(lines) == len(bibcodes), f"{listed}: {len(lines)} lines for {len(bibcodes)} rows of {path.name}")
    for number, (line, bibcode) in enumerate(zip(lines, bibcodes), start=1):
        require(line == bibcode, f"{listed}: line {number} is {line!r}, but row {number} is {bibcode!r}")


def read_view(path, manifest):
    """Maps the parts of a view, in order. Returns the bibcodes of all and a matrix a part: row n of them all is line n."""
    folder = path.resolve().parent  # the set that is shown now, with everything that belongs to it
    bibcodes, matrices = [], []
    for part in manifest["parts"]:
        require(part["offset"] == len(bibcodes), f"{path}: {part['dataset']} does not begin at row {len(bibcodes)}")
        codes, matrix = read_dataset(folder / "parts" / f"embeddings_{part['dataset']}.{manifest['dtype']}")
        bibcodes += codes
        matrices.append(matrix)
    check_lines(folder / f"embeddings_{manifest['dataset']}.{manifest['dtype']}", bibcodes)
    return bibcodes, matrices


def read_views(folder):
    """Reads every view of half floats that the folder shows; says how many rows of how many parts."""
    for path in sorted(Path(folder).glob("manifest_*.json")):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest.get("view") and manifest["dtype"] == "f16":
            bibcodes, matrices = read_view(path, manifest)
            print(f"{path.name}: a view of {len(matrices)} datasets, {len(bibcodes):,} rows where they stand, as listed")


def nearest(datasets, bibcode, count):
    """The `count` papers nearest to one, by cosine, best first, among the datasets of its own label."""
    found = next(((label, m[codes.index(bibcode)]) for label, codes, m in datasets if bibcode in codes), None)
    require(found is not None, f"{bibcode}: no dataset holds it")
    own_label, query = found[0], found[1].astype(np.float32)
    hits = []
    for label, codes, vectors in datasets:
        if label != own_label:
            continue
        vectors = vectors.astype(np.float32)
        norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
        scores = vectors @ query / np.maximum(norms, np.finfo(np.float32).tiny)
        best = np.argsort(-scores, kind="stable")[: count + 1]
        hits += [(float(scores[row]), codes[row]) for row in best if codes[row] != bibcode]
    return sorted(hits, reverse=True)[:count]


def main(folder="embeddings", bibcode=None):
    paths = sorted(Path(folder).glob("embeddings_*.f16"))
    require(paths, f"{folder}: no embeddings_*.f16 here; run `just quickstart` first")
    datasets = []
    for path in paths:
        bibcodes, matrix = read_dataset(path)
        check_lines(path, bibcodes)
        require(np.isfinite(matrix).all(), f"{path}: a vector holds NaN or infinity")
        print(f"{path.name}: {len(matrix):,} rows x {matrix.shape[1]}, mapped with no copy, row n is line n of its .txt")
        datasets.append((path.stem.rpartition("_")[0], bibcodes, matrix))

    read_views(folder)

    bibcode = bibcode or next((bibcodes[0] for _, bibcodes, _ in datasets if bibcodes), None)
    require(bibcode is not None, f"{folder}: every dataset is empty")
    print(f"\nnearest to {bibcode}:")
    for score, other in nearest(datasets, bibcode, 3):
        print(f"  {score:.3f}  {other}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:3])
    except (Unsound, OSError) as error:
        sys.exit(f"read_with_pyarrow: {error}")
