#!/usr/bin/env python3
"""Measures what a second run costs: `just reuse-campaign WHAT [ARGUMENTS]`. WHAT is one of

grow YEAR.json.gz MODEL  a real year grows from 90 % to 100 %: the seconds of that apply against those of embedding the new
                         tenth alone in an empty store, and of copying the year's table with `cp`; all three in turn
nights [NIGHTS] [ROWS]   a year that grows every night by so many rows (fake embedder): seconds of the first and last nights
again [YEARS] [ROWS]     `plan` and `apply` with nothing to do (fake embedder): seconds and peak memory

Told are medians. The seconds of `grow` are those of the embed step in the run's journal, of the others those of the whole
program. Everything happens in a temporary folder on the disk of TMPDIR, and goes away.
"""

import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FIRST_YEAR = 1000
ROUNDS = 5

WORKFLOW = """version = 1
name = "campaign"
store = "store"

[matrix]
year = {years}

[load.records]
input = "data/{{year}}.jsonl"
fields = ["title", "abstract"]

[prepare.texts]
from = "records"
fields = ["title", "abstract"]

[embed.vectors]
from = "texts"
model = "{model}"

[persist.yearly]
from = "vectors"
dir = "embeddings"
label = "years"
"""


def write_workflow(folder, years, model):
    text = WORKFLOW.format(years=json.dumps([str(year) for year in years]), model=model)
    (folder / "workflow.toml").write_text(text, encoding="utf-8")
    (folder / "data").mkdir(exist_ok=True)


def write_papers(folder, year, rows):
    lines = ('{"bibcode":"%dCampa%09d%sA","title":"Paper %d of %d","abstract":""}' % (year, n, n % 10, n, year) for n in range(rows))
    (folder / f"data/{year}.jsonl").write_text("\n".join(lines) + "\n", encoding="ascii")


def run(program, folder, *arguments):
    """Seconds and peak memory in bytes of one command."""
    begun = time.monotonic()
    process = subprocess.Popen([program, *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    told = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"reuse-campaign: sciembed {' '.join(arguments)} ended with {process.returncode}:\n{told}")
    return time.monotonic() - begun, used.ru_maxrss * 1024


def embed_step(folder):
    """The embed step of the last run: its seconds, and the counts of what it did."""
    journal = max((folder / "store/runs").glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    events = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    [ended] = [event for event in events if event.get("event") == "step_finished" and event["step"]["kind"] == "embed"]
    return ended["seconds"], ended["run_counts"]


def grow(program, folder, year, model):
    lines = gzip.open(year, "rt", encoding="utf-8").read().splitlines()
    # Every tenth, so that the new ones are as long as the old.
    tenth = lines[9::10]
    old = [line for n, line in enumerate(lines) if n % 10 != 9]
    model = str(Path(model).resolve()) if Path(model).is_dir() else model
    stands = folder / "stands"
    stands.mkdir()
    write_year(stands, old, model)
    run(program, stands, "apply", "workflow.toml")
    print(f"{len(lines):,} records; {len(old):,} of them stand in {embed_step(stands)[0]:.1f} s\n")
    print("round  grow s  rows  reused  alone s  cp s  grow/(alone+cp)")
    ratios = []
    for n in range(ROUNDS):
        grown, alone = folder / "grown", folder / "alone"
        shutil.copytree(stands, grown, symlinks=True)
        alone.mkdir()
        write_year(grown, lines, model)
        write_year(alone, tenth, model)
        for place in (grown, alone) if n % 2 == 0 else (alone, grown):
            run(program, place, "apply", "workflow.toml")
        (grown_seconds, counts), (alone_seconds, _) = embed_step(grown), embed_step(alone)
        cp = copy((grown / f"embeddings/embeddings_years_{FIRST_YEAR}.f16").resolve(), folder / "copy")
        ratios.append(grown_seconds / (alone_seconds + cp))
        print(
            f"{n + 1:5}  {grown_seconds:6.2f}  {counts['embedded']:4}  {counts['reused']:6}  {alone_seconds:7.2f}  {cp:4.2f}"
            f"  {ratios[-1]:15.3f}",
            flush=True,
        )
        shutil.rmtree(grown)
        shutil.rmtree(alone)
    print(f"\nmedian {statistics.median(ratios):.3f}")


def write_year(folder, lines, model):
    write_workflow(folder, [FIRST_YEAR], model)
    (folder / f"data/{FIRST_YEAR}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def copy(source, target):
    begun = time.monotonic()
    subprocess.run(["cp", str(source), str(target)], check=True)
    subprocess.run(["sync", str(target)], check=True)
    return time.monotonic() - begun


def nights(program, folder, count=365, rows=100):
    count, rows = int(count), int(rows)
    write_workflow(folder, [FIRST_YEAR], "fake://384")
    seconds = []
    for night in range(1, count + 1):
        write_papers(folder, FIRST_YEAR, rows * night)
        seconds.append(run(program, folder, "apply", "workflow.toml")[0])
        embedded = embed_step(folder)[1]["embedded"]
        if embedded != rows:
            sys.exit(f"reuse-campaign: night {night} embedded {embedded} rows, not {rows}")
    files = sum(1 for path in (folder / "store").rglob("*") if path.suffix in (".rows", ".seg"))
    week = min(7, count)
    print(f"{count} nights of {rows:,} rows: each embedded its own alone; {files} files of rows and segments stand")
    for name, some in (("first", seconds[:week]), ("middle", seconds[count // 2 :][:week]), ("last", seconds[-week:])):
        print(f"{name:6} {week} nights: {statistics.median(some):.2f} s a night")


def again(program, folder, years=30, rows=100_000):
    years = list(range(FIRST_YEAR, FIRST_YEAR + int(years)))
    write_workflow(folder, years, "fake://8")
    for year in years:
        write_papers(folder, year, int(rows))
    seconds, _ = run(program, folder, "apply", "workflow.toml")
    print(f"{4 * len(years):,} steps of {len(years):,} years of {int(rows):,} papers applied in {seconds:.0f} s")
    for verb in ("plan", "apply"):
        told = [run(program, folder, verb, "workflow.toml") for _ in range(ROUNDS)]
        first, later = told[0][0], statistics.median(second for second, _ in told[1:])
        print(f"{verb:5} with nothing to do: {later:.2f} s (the first {first:.2f} s), peak {max(peak for _, peak in told) / 1e6:.0f} MB")


CAMPAIGNS = {"grow": grow, "nights": nights, "again": again}


def main(program, what, *arguments):
    with tempfile.TemporaryDirectory(prefix="sciembed-campaign-", dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        CAMPAIGNS[what](str(Path(program).resolve()), Path(folder), *arguments)


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[2] not in CAMPAIGNS:
        sys.exit(f"usage: reuse_campaign.py SCIEMBED {'|'.join(CAMPAIGNS)} [ARGUMENTS]")
    main(*sys.argv[1:])
