#!/usr/bin/env python3
"""Measures sciembed beside what people embed with now: `just bench-peers [YEAR.json.gz...]`.

All embed the same texts (title and abstract of real records, or the titles alone with TITLES=1) on the same cores, in
alternation, each in a process of its own that has its model loaded: sentence-transformers in f32 and bf16 and fastembed with
the best of several batch sizes, a plain loop over ONNX Runtime, and sciembed in f32 and int8. Told, and written to
benches/RESULTS.md, are medians over the rounds, their ratios to sentence-transformers in f32, and how near the vectors are to its
own. TEXTS and ROUNDS say how many of each; only the fastest peers take part with PEERS="st-fp32 int8".
"""

import datetime
import gzip
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from array import array
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
ORDER = ["st-fp32", "st-bf16", "fastembed", "ort-loop", "f32", "int8"]
NAMES = {
    "st-fp32": "sentence-transformers, f32",
    "st-bf16": "sentence-transformers, bf16",
    "fastembed": "fastembed, f32",
    "ort-loop": "ONNX Runtime in a loop, f32",
    "f32": "**sciembed, f32**",
    "int8": "**sciembed, int8**",
}


def texts(files, count, titles):
    """As `prepare` makes them, one in so many from all of the files."""
    made = []
    for file in files:
        for line in gzip.open(file, "rt"):
            record = json.loads(line)
            title, abstract = record.get("title") or [], record.get("abstract") or ""
            title = "; ".join(title) if isinstance(title, list) else title
            if title.strip() and (titles or abstract.strip()):
                made.append(title if titles else f"{title}\n\n{abstract}")
    return made[:: max(1, len(made) // count)][:count]


class Peer:
    def __init__(self, kind, command):
        self.kind, self.seconds = kind, []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout.readline().strip() == "ready", f"{kind} does not start: {' '.join(map(str, command))}"

    def ask(self, line):
        print(line, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()

    def run(self):
        self.seconds.append(float(self.ask("run")))

    def vectors(self, folder, dim):
        path = Path(folder) / self.kind
        print(f"save {path}", file=self.process.stdin, flush=True)
        self.process.stdin.close()
        self.process.wait()
        values = array("f", path.read_bytes())
        return [values[at : at + dim] for at in range(0, len(values), dim)]


def cosines(vectors, references):
    def cosine(a, b):
        product = sum(x * y for x, y in zip(a, b))
        return product / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5

    return [cosine(a, b) for a, b in zip(vectors, references)]


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor() or platform.machine()


def report(peers, made, rounds, titles, near):
    reference = statistics.median(peers["st-fp32"].seconds) if "st-fp32" in peers else None
    lines = [
        f"### {'Titles' if titles else 'Titles and abstracts'}: {len(made)} texts, {rounds} rounds",
        "",
        "| | papers/s | lowest - highest | / sentence-transformers f32 | cosine to it: least, mean |",
        "|---|---|---|---|---|",
    ]
    for kind, peer in peers.items():
        rates = sorted(len(made) / seconds for seconds in peer.seconds)
        # The median of ratios within a round: what else the machine did then touched both.
        ratios = [a / b for a, b in zip(peers["st-fp32"].seconds, peer.seconds)] if reference else []
        ratio = f"{statistics.median(ratios):.2f}" if ratios else ""
        cosine = f"{min(near[kind]):.6f}, {statistics.mean(near[kind]):.6f}" if kind in near else ""
        batch = f", {peer.about}" if peer.about else ""
        lines.append(
            f"| {NAMES[kind]}{batch} | {statistics.median(rates):.1f} | {rates[0]:.1f} - {rates[-1]:.1f} | {ratio} | {cosine} |"
        )
    return "\n".join(lines) + "\n"


def main(program, model, export, files):
    count, rounds = int(os.environ.get("TEXTS", "192")), int(os.environ.get("ROUNDS", "5"))
    titles = os.environ.get("TITLES") == "1"
    kinds = [kind for kind in ORDER if kind in os.environ.get("PEERS", " ".join(ORDER)).split()]
    made = texts(files, count, titles)
    cores = os.cpu_count()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.jsonl"
        path.write_text("".join(json.dumps(text) + "\n" for text in made))
        peers = {}
        for kind in kinds:
            of = export if kind in ("fastembed", "ort-loop") else model
            ours = kind in ("f32", "int8")
            command = [program, model, kind, path] if ours else [sys.executable, HERE / "peers/peer.py", kind, of, path, str(cores)]
            peers[kind] = Peer(kind, command)
            peers[kind].about = "" if ours else peers[kind].ask("about")
            print(f"{kind} is ready {peers[kind].about}", file=sys.stderr)
        for peer in peers.values():
            peer.ask("run")  # warms up
        for round in range(rounds):
            for peer in peers.values():
                peer.run()
            told = ", ".join(f"{kind} {len(made) / peer.seconds[-1]:.1f}" for kind, peer in peers.items())
            print(f"round {round + 1}: {told} papers/s", file=sys.stderr)
        dim = 384
        vectors = {kind: peer.vectors(folder, dim) for kind, peer in peers.items()}
        near = {kind: cosines(found, vectors["st-fp32"]) for kind, found in vectors.items()} if "st-fp32" in vectors else {}
    return report(peers, made, rounds, titles, near)


def heading():
    versions = ["sentence-transformers", "torch", "fastembed", "onnxruntime"]
    found = ", ".join(f"{name} {metadata.version(name)}" for name in versions)
    return (
        "# How fast, beside what people use now\n\n"
        "Written by `just bench-peers`. All embed the same real records with all-MiniLM-L6-v2 on the same cores, in alternation;\n"
        "medians, and ratios within one round.\n\n"
        f"{datetime.date.today()}, {processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()};\n"
        f"Python {platform.python_version()}, {found}.\n"
    )


if __name__ == "__main__":
    program, model, export, *files = sys.argv[1:]
    told = main(program, model, export, files)
    print(told)
    results = HERE / "RESULTS.md"
    fresh = os.environ.get("TITLES") != "1"
    before = heading() if fresh or not results.exists() else results.read_text()
    results.write_text(before + "\n" + told)
