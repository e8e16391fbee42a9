#!/usr/bin/env python3
"""Measures a merge against `cp` of what it merges: `just merge-campaign [YEARS] [ROWS]`.

Makes synthetic papers, embeds them with the fake embedder (384 half floats), and then, for a few years and for all of them:
merges again and again under new labels, so that only the merge runs, and copies the published vectors of the years with
`cp` in turn, with and without a sync. Told are medians; the merge's seconds are those of the run's journal, until all is on
the disk. Its memory is the program's peak: anonymous, as looked at every 10 ms, and with the mapped pages of its files. Everything happens in a temporary folder on the disk of TMPDIR, and goes away.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

FIRST_YEAR = 1990
ROUNDS = 3

WORKFLOW = """version = 1
name = "campaign"
store = "store"

[matrix]
year = "{first}..={last}"

[load.records]
input = "data/{{year}}.jsonl"
fields = ["title"]

[prepare.texts]
from = "records"
fields = ["title"]

[embed.fake]
from = "texts"
model = "fake://384"

[persist.yearly]
from = "fake"
dir = "embeddings"
label = "years"

[merge.all]
from = "yearly"
across = ["year"]
dir = "embeddings"
label = "{label}"
view = {view}
"""


def paper(year, n):
    return '{"bibcode":"%dCampa%09d%sA","title":"Paper %d of %d"}' % (year, n, n % 10, n, year)


def write_papers(folder, years, rows):
    """One paper in a thousand of a year is in the next one too, so that rows are superseded."""
    folder.mkdir()
    for year in years:
        is_moved = lambda n: n % 1000 == 0 and year > years[0]
        lines = (paper(year - 1 if is_moved(n) else year, n) for n in range(rows))
        (folder / f"{year}.jsonl").write_text("\n".join(lines) + "\n", encoding="ascii")


def apply(program, folder, *arguments):
    """Applies the workflow. Returns the merge's seconds, and the program's peaks of anonymous and of all memory in bytes."""
    command = [program, "apply", "workflow.toml", *arguments]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    anonymous = []
    watcher = threading.Thread(target=watch, args=(process.pid, anonymous))
    watcher.start()
    told = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    watcher.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"merge-campaign: sciembed apply ended with {process.returncode}:\n{told}")
    journal = max((folder / "store/runs").glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    events = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    ended = [event for event in events if event.get("event") == "step_finished" and event["step"]["kind"] == "merge"]
    return (ended[-1]["seconds"] if ended else None), max(anonymous, default=0), used.ru_maxrss * 1024


def watch(process, anonymous):
    """Notes how much anonymous memory a process has, until it ends."""
    while True:
        try:
            status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
        except OSError:
            return
        sizes = [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon:")]
        if not sizes:
            return
        anonymous += sizes
        time.sleep(0.01)


def copy(folder, years, sync):
    """Seconds that `cp` takes for the vectors of these years; with `sync` until they are on the disk."""
    into = folder / "copies"
    into.mkdir()
    sources = [str((folder / f"embeddings/embeddings_years_{year}.f16").resolve()) for year in years]
    begun = time.monotonic()
    subprocess.run(["cp", *sources, str(into)], check=True)
    if sync:
        subprocess.run(["sync", *map(str, into.iterdir())], check=True)
    seconds = time.monotonic() - begun
    shutil.rmtree(into)
    os.sync()
    return seconds


def disk_bytes(folder, name):
    """What the set behind a dataset takes on disk, as du counts it: a file with several names once."""
    shown = (folder / "embeddings/.sciembed/links" / name).resolve()
    told = subprocess.run(["du", "--block-size=1", "--summarize", str(shown)], check=True, capture_output=True, text=True)
    return int(told.stdout.split()[0])


def own_bytes(folder, name):
    """The same without files that other sets hold too."""
    shown = (folder / "embeddings/.sciembed/links" / name).resolve()
    files = [path for path in shown.rglob("*") if path.is_file()]
    return sum(path.stat().st_blocks * 512 for path in files if path.stat().st_nlink == 1)


def main(program, years=30, rows=100_000):
    years, rows = int(years), int(rows)
    with tempfile.TemporaryDirectory(prefix="sciembed-campaign-", dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        campaign(Path(program).resolve(), Path(folder), years, rows)


def campaign(program, folder, years, rows):
    every = list(range(FIRST_YEAR, FIRST_YEAR + years))
    begun = time.monotonic()
    write_papers(folder / "data", every, rows)
    write_workflow(folder, every, "merged")
    apply(program, folder, "--target", "persist.yearly")
    print(f"{years} years of {rows:,} papers made, embedded and published in {time.monotonic() - begun:.0f} s\n")
    print("years  merge s    cp s  cp+sync s  cp/merge  cp+sync/merge  anonymous MB  peak MB  bytes a row, du")
    for some in sorted({max(1, years // 6), max(1, years // 3), years}):
        print(measure(program, folder, every[:some]), flush=True)
    print("\n" + measure_view(program, folder, every))


def write_workflow(folder, years, label, view="false"):
    text = WORKFLOW.format(first=years[0], last=years[-1], label=label, view=view)
    (folder / "workflow.toml").write_text(text, encoding="ascii")


def measure(program, folder, years):
    """One line of the table: merge, cp and cp with sync in turn, since a shared disk has its moods."""
    merges, plain, synced, own, peaks = [], [], [], [], []
    for n in range(ROUNDS):
        label = f"merged{len(years)}-{n}"
        write_workflow(folder, years, label)
        os.sync()
        seconds, anonymous, peak = apply(program, folder)
        merges.append(seconds)
        own.append(anonymous)
        peaks.append(peak)
        size = disk_bytes(folder, label) / row_count(folder, label)
        forget(folder, label)
        plain.append(copy(folder, years, sync=False))
        synced.append(copy(folder, years, sync=True))
    merge, cp, cp_sync = map(statistics.median, (merges, plain, synced))
    return (
        f"{len(years):5}  {merge:7.2f}  {cp:6.2f}  {cp_sync:9.2f}  {cp / merge:8.2f}  {cp_sync / merge:13.2f}"
        f"  {max(own) / 1e6:12.0f}  {max(peaks) / 1e6:7.0f}  {size:15.0f}"
    )


def measure_view(program, folder, years):
    write_workflow(folder, years, "view", view="true")
    seconds, anonymous, peak = apply(program, folder)
    size = own_bytes(folder, "view") / row_count(folder, "view")
    return f"a view of {len(years)} years: {seconds:.2f} s, anonymous {anonymous / 1e6:.0f} MB, peak {peak / 1e6:.0f} MB, {size:.0f} bytes a row of its own"


def row_count(folder, name):
    return json.loads((folder / f"embeddings/manifest_{name}.json").read_text(encoding="utf-8"))["rows"]


def forget(folder, name):
    """Takes a merged dataset away, from the directory and from the store, so that the disk holds one at a time."""
    shown = (folder / "embeddings/.sciembed/links" / name).resolve()
    record_path = folder / "store/records" / f"{shown.name}.json"
    record = json.loads(record_path.read_text(encoding="utf-8"))
    for output in record["outputs"].values():
        digest = output["digest"]
        (folder / "store/blobs" / digest[:2] / digest[2:]).unlink(missing_ok=True)
    record_path.unlink()
    for path in (folder / "embeddings").glob(f"*_{name}.*"):
        path.unlink()
    shutil.rmtree(shown)
    (folder / "embeddings/.sciembed/links" / name).unlink()
    os.sync()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: merge_campaign.py SCIEMBED [YEARS] [ROWS]")
    main(*sys.argv[1:4])
