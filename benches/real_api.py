"""Embeds 1,000 records through a real server on loopback, and compares its vectors with those of the same model run here.

usage: real_api.py PROGRAM PYTHON, where PYTHON has infinity_emb (pip install "infinity-emb[torch,server]"). The server runs
models/all-MiniLM-L6-v2. Prints what sciembed printed, and the cosine between the two vectors of each paper.
"""

import glob
import gzip
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pyarrow as pa

ROOT = Path(__file__).resolve().parent.parent
MODEL = (ROOT / "models/all-MiniLM-L6-v2").resolve()
RECORDS = 1000

WORKFLOW = """version = 1
name  = "real-api"
store = "store"
[load.records]
input  = "records.json"
fields = ["title", "abstract"]
[prepare.texts]
from   = "records"
fields = ["title", "abstract"]
[embed.served]
from       = "texts"
model      = "openai://all-MiniLM-L6-v2"
dim        = 384
max_length = 256
[embed.served.api]
base_url  = "http://127.0.0.1:{port}"
tokenizer = "{model}/tokenizer.json"
max_inputs = 32
[embed.here]
from  = "texts"
model = "{model}"
[persist.shown]
from  = "served"
dir   = "out"
label = "served"
[persist.compared]
from  = "here"
dir   = "out"
label = "here"
"""


def records():
    """The examples' records, and some of them again under other names and titles."""
    lines = []
    for file in sorted(glob.glob(str(ROOT / "examples/data/ads_metadata_by_year_full/*.json.gz"))):
        with gzip.open(file, "rt") as year:
            lines += [json.loads(line) for line in year]
    for n, record in enumerate(lines[: RECORDS - len(lines)]):
        title = record.get("title") or ""
        title = title[0] if isinstance(title, list) else title
        lines.append({**record, "bibcode": f"2026Again{n:08d}X."[:19], "title": [f"Again: {title}"]})
    return lines[:RECORDS]


def started(python, port):
    """A server that answers, or none after five minutes."""
    command = [str(Path(python).with_name("infinity_emb")), "v2", "--model-id", str(MODEL), "--served-model-name",
               "all-MiniLM-L6-v2", "--engine", "torch", "--port", str(port), "--host", "127.0.0.1", "--no-bettertransformer"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1)
            return server
        except OSError:
            if server.poll() is not None:
                break
            time.sleep(1)
    server.kill()
    sys.exit("the server does not start")


def vectors(file):
    """Vectors by bibcode."""
    table = pa.ipc.open_file(file).read_all()
    return dict(zip(table["bibcode"].to_pylist(), table["embedding"].to_pylist()))


def main():
    program, python = sys.argv[1:3]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "workflow.toml").write_text(WORKFLOW.format(port=port, model=MODEL))
        (folder / "records.json").write_text("".join(json.dumps(record) + "\n" for record in records()))
        server = started(python, port)
        try:
            subprocess.run([program, "apply", "workflow.toml"], cwd=folder, check=True)
            subprocess.run([program, "apply", "workflow.toml"], cwd=folder, check=True)
        finally:
            server.kill()
        served, here = (vectors(folder / f"out/embeddings_{label}.f16") for label in ("served", "here"))
    assert served.keys() == here.keys(), "not the same papers"
    cosines = sorted(
        sum(a * b for a, b in zip(served[key], here[key]))
        / (sum(a * a for a in served[key]) * sum(b * b for b in here[key])) ** 0.5
        for key in served
    )
    print(f"{len(cosines)} papers; cosine with the same model here: least {cosines[0]:.6f}, median {cosines[len(cosines) // 2]:.6f}")
    assert cosines[0] > 0.99, "the server's vectors are others"


main()
