#!/usr/bin/env python3
"""What a whole apply costs beside the model alone: `just apply-campaign [COUNT] [YEAR.json.gz...]`.

In alternation: a loop over texts that are ready, in a process that has its model loaded, and an apply over the same records in a
new store, from the compressed file to the published dataset. Told are medians of their rates, their ratio within a round, the
apply's height of memory, and, where the count is large, the same for a fiftieth of the records. PRECISION is int8 or f32, ROUNDS
how many of each.
"""

import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORKFLOW = """version = 1
name = "campaign"
store = "store"

[load.records]
input = "records.json.gz"
fields = ["title", "abstract"]

[prepare.texts]
from = "records"
fields = ["title", "abstract"]

[embed.vectors]
from = "texts"
model = "{model}"
precision = "{precision}"

[persist.published]
from = "vectors"
dir = "embeddings"
label = "campaign"
"""


def records(files, count):
    """Records with a text, each under a bibcode of its own; the files again and again until there are enough."""
    kept, turn = [], 0
    while len(kept) < count:
        before = len(kept)
        for file in files:
            for line in gzip.open(file, "rt"):
                record = json.loads(line)
                title, abstract = record.get("title") or [], record.get("abstract")
                title = "; ".join(title) if isinstance(title, list) else title
                if not title.strip() or not abstract:
                    continue
                # Another text each turn, or it would be embedded once for all.
                title = title if turn == 0 else f"{title} {turn}"
                kept.append({"bibcode": f"{len(kept):019}", "title": [title], "abstract": abstract})
                if len(kept) == count:
                    return kept
        assert len(kept) > before, "the files hold no record with title and abstract"
        turn += 1
    return kept


def text(record):
    return " ".join(record["title"][0].split()) + "\n\n" + " ".join(record["abstract"].split())


class Loop:
    def __init__(self, peer, model, precision, kept, folder):
        path = folder / "texts.jsonl"
        path.write_text("".join(json.dumps(text(record)) + "\n" for record in kept))
        self.process = subprocess.Popen([peer, model, precision, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline().strip() == "ready"

    def seconds(self):
        print("run", file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def apply(program, folder):
    """A new store, but the converted model, which a second run would find."""
    subprocess.run(["rm", "-rf", folder / "store/blobs", folder / "store/records", folder / "store/refs", folder / "store/vectors", folder / "embeddings"])
    begun = time.monotonic()
    done = subprocess.run(["/usr/bin/env", "time", "-f", "%M", program, "apply", folder / "workflow.toml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return time.monotonic() - begun, int(done.stderr.strip().splitlines()[-1]) / 1024


def campaign(program, peer, model, precision, kept, rounds):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        with gzip.open(folder / "records.json.gz", "wt") as file:
            file.writelines(json.dumps(record) + "\n" for record in kept)
        (folder / "workflow.toml").write_text(WORKFLOW.format(model=model, precision=precision))
        loop = Loop(peer, model, precision, kept, folder)
        apply(program, folder)
        pairs = [(loop.seconds(), *apply(program, folder)) for _ in range(rounds)]
        loop.end()
    alone, whole, megabytes = zip(*pairs)
    ratio = statistics.median(a / b for a, b in zip(alone, whole))
    print(
        f"{len(kept):7} texts, {precision}: model alone {len(kept) / statistics.median(alone):.1f}/s, "
        f"apply {len(kept) / statistics.median(whole):.1f}/s, ratio {ratio:.3f}, at most {max(megabytes):.0f} MB",
        flush=True,
    )


if __name__ == "__main__":
    program, peer, model, count, *files = sys.argv[1:]
    precision, rounds, count = os.environ.get("PRECISION", "int8"), int(os.environ.get("ROUNDS", "3")), int(count)
    kept = records(files, count)
    if count >= 5000:
        campaign(program, peer, model, precision, kept[: count // 50], rounds)
    campaign(program, peer, model, precision, kept, rounds)
