"""One table of retrieval quality: vectors of every element type, every kind of index, words, and both fused.

    eval.py SCIEMBED PROJECT QUERIES QRELS

PROJECT holds what workflows/scifact_eval.toml published; QUERIES and QRELS are as BEIR has them. Every figure comes from
`sciembed search`, as anybody would ask it. The measures are those of trec_eval: see examples/eval_retrieval.rs. Time is what a
question takes within one process that asks all of them, the model included where there is one.
"""

import json
import math
import subprocess
import sys
import time
from pathlib import Path

RANKS = 10
DEPTH = 100
# What is asked: dataset, arguments, words for people.
ASKED = [
    ("f32", ["--exact"], "vector", "exact, f32"),
    ("f16", ["--exact"], "vector", "exact, f16"),
    ("bf16", ["--exact"], "vector", "exact, bf16"),
    ("i8", ["--exact"], "vector", "exact, i8"),
    ("binary", ["--exact"], "vector", "exact, binary"),
    ("f16_192", ["--exact"], "vector", "exact, f16, the first 192 components"),
    ("hnsw", [], "vector", "hnsw over f16"),
    ("ivf_sq8", [], "vector", "ivf_sq8 over f16"),
    ("ivf_pq", [], "vector", "ivf_pq over i8"),
    ("signs", [], "vector", "signs over i8"),
    ("f32", [], "bm25", "words"),
    ("f32", ["--exact"], "hybrid", "exact, f32, and words"),
]


def main():
    program, project, queries, qrels = sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    judged = judgements(qrels)
    texts = {it["_id"]: it["text"] for it in map(json.loads, open(queries, encoding="utf-8"))}
    asked = [query for query in judged if query in texts]
    exact = None
    print(f"{len(asked)} questions with judgements")
    print(f"{'mode':8}{'over':38}{'bytes':>7}{'index':>7}{'nDCG@10':>9}{'recall@100':>12}{'as f32@10':>11}{'ms':>7}")
    for dataset, arguments, mode, words in ASKED:
        begun = time.monotonic()
        found = search(program, project, dataset, mode, arguments, [texts[query] for query in asked])
        each = (time.monotonic() - begun) / len(asked) * 1000
        ranked = dict(zip(asked, found))
        exact = exact or ranked
        scores = [ndcg(ranked[query], judged[query]) for query in asked]
        recalls = [recall(ranked[query], judged[query]) for query in asked]
        same = [len(set(ranked[q][:RANKS]) & set(exact[q][:RANKS])) / max(1, len(exact[q][:RANKS])) for q in asked]
        row, index = bytes_each(project, dataset, mode, arguments)
        if mode == "vector" and not arguments and index == 0:
            words += ", not built: too few rows"
        print(
            f"{mode:8}{words:38}{row:7.0f}{index:7.0f}{mean(scores):9.4f}{mean(recalls):12.4f}"
            f"{mean(same):11.4f}{each:7.1f}",
            flush=True,
        )


def mean(values):
    return sum(values) / max(1, len(values))


def judgements(path):
    judged = {}
    for line in open(path, encoding="utf-8").read().splitlines()[1:]:
        query, document, grade = line.split("\t")
        judged.setdefault(query, {})[document] = max(0.0, float(grade))
    return judged


def search(program, project, dataset, mode, arguments, questions):
    """The bibcodes that each question finds, best first."""
    command = [program, "search", "--dir", str(project / "embeddings"), "--dataset", dataset, "--mode", mode]
    command += ["-k", str(DEPTH), "--format", "trec", *arguments]
    lines = "".join(" ".join(question.split()) + "\n" for question in questions)
    told = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
    if told.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {told.returncode}:\n{told.stderr}")
    found = [[] for _ in questions]
    for number, _, bibcode, *_ in map(str.split, told.stdout.splitlines()):
        found[int(number) - 1].append(bibcode)
    return found


def ndcg(ranked, grades):
    gain = lambda documents: sum(grades.get(it, 0.0) / math.log2(rank + 2) for rank, it in enumerate(documents))
    ideal = gain(sorted(grades, key=lambda it: -grades[it])[:RANKS])
    return gain(ranked[:RANKS]) / ideal if ideal else 0.0


def recall(ranked, grades):
    relevant = {it for it, grade in grades.items() if grade >= 1}
    return len(relevant & set(ranked[:DEPTH])) / len(relevant) if relevant else 0.0


def bytes_each(project, dataset, mode, arguments):
    """Bytes of a row of the dataset and of its index, or of its index of words."""
    folder = project / "embeddings"
    files = [it for it in (folder / ".sciembed/links" / dataset).iterdir() if it.is_file()]
    rows = json.loads((folder / f"manifest_{dataset}.json").read_text())["rows"]
    described = folder / (f"index_{dataset}.json" if mode == "vector" else f"words_{dataset}.json")
    index = json.loads(described.read_text())["bytes"] if described.is_file() and "--exact" not in arguments else 0
    if mode == "hybrid":
        index = json.loads(described.read_text())["bytes"]
    return sum(it.stat().st_size for it in files) / rows, index / rows


main()
