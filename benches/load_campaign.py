#!/usr/bin/env python3
"""Measures load on a file of real records: `just load-campaign FILE.json.gz... [MEGABYTES]`.

Repeats the records of these files, each time under other bibcodes, until there are so many megabytes of JSON lines (1,000 by
default), plain and gzipped, and then, on one core and on two, in turn: load (the seconds of its step in the run's journal),
DuckDB's read_json of the same columns, and orjson in a loop; beside them the parts alone, decompressing and finding the
fields. Told are medians in MB of JSON a second, and load's peak memory. Everything happens in a temporary folder on the disk of
TMPDIR, and goes away. DuckDB and orjson are those of the Python that runs this.

Last comes what prepare costs beside load, in seconds of the processor of the whole program, user and system: medians of five
rounds, with no step of cleaning and with all of them.
"""

import gzip
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 3
PREPARE_ROUNDS = 5
STEPS = ["html", "entities", "latex", "whitespace", "unicode-nfc", "placeholder"]
BIBCODE = re.compile(r'"bibcode": ?"(....).....')

WORKFLOW = """version = 1
name = "campaign"
store = "store"

[load.records]
input = "{input}"
fields = ["title", "abstract"]
"""

PREPARE = """
[prepare.texts]
from = "records"
fields = ["title", "abstract"]
clean = {clean}
"""

DUCKDB = """
import duckdb, sys, time
db = duckdb.connect(config={{"threads": {threads}}})
begun = time.monotonic()
db.execute("SELECT sum(length(bibcode)), sum(length(title[1])), sum(length(abstract)) FROM read_json(?, format='newline_delimited',"
           " columns={{bibcode: 'VARCHAR', title: 'VARCHAR[]', abstract: 'VARCHAR'}}, maximum_object_size=33554432)", [sys.argv[1]]).fetchall()
print(time.monotonic() - begun)
"""

ORJSON = """
import gzip, orjson, sys, time
begun = time.monotonic()
opened = gzip.open(sys.argv[1]) if sys.argv[1].endswith("gz") else open(sys.argv[1], "rb")
total = 0
for line in opened:
    record = orjson.loads(line)
    total += len(record["bibcode"]) + len(record.get("abstract") or "")
print(time.monotonic() - begun)
"""


def write_records(sources, folder, megabytes):
    lines = [line for source in sources for line in gzip.open(source, "rt", encoding="utf-8").read().splitlines()]
    plain, size, turn = folder / "records.json", 0, 0
    with open(plain, "w", encoding="utf-8") as out:
        while size < megabytes * 1_000_000:
            for line in lines:
                line = BIBCODE.sub(lambda found: f'"bibcode": "{found[1]}{turn:05d}', line, count=1) if turn else line
                out.write(line + "\n")
                size += len(line) + 1
            turn += 1
    subprocess.run(["gzip", "--keep", "-6", str(plain)], check=True)
    return plain.stat().st_size


def load(program, folder, name, cores):
    """Seconds of the load step, and the program's peak memory in bytes."""
    subprocess.run(["rm", "-rf", str(folder / "store")], check=True)
    used = apply(program, folder, WORKFLOW.format(input=name), cores)
    [journal] = (folder / "store/runs").glob("*.jsonl")
    events = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    [seconds] = [event["seconds"] for event in events if event.get("event") == "step_finished"]
    return seconds, used.ru_maxrss * 1024


def apply(program, folder, workflow, cores):
    """What the program used of the machine."""
    (folder / "workflow.toml").write_text(workflow, encoding="utf-8")
    process = subprocess.Popen(pinned(cores, [program, "apply", "workflow.toml"]), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    told = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"load-campaign: sciembed apply failed:\n{told}")
    return used


def prepare(program, folder, name):
    """Medians of the processor's seconds: load, prepare as values are, prepare with every step of cleaning."""
    rounds = []
    for _ in range(PREPARE_ROUNDS):
        subprocess.run(["rm", "-rf", str(folder / "store")], check=True)
        workflow = WORKFLOW.format(input=name)
        turns = [workflow, *(workflow + PREPARE.format(clean=json.dumps(clean)) for clean in ([], STEPS))]
        used = [apply(program, folder, turn, cores=2) for turn in turns]
        rounds.append([turn.ru_utime + turn.ru_stime for turn in used])
    return [statistics.median(turn) for turn in zip(*rounds)]


def pinned(cores, command):
    return ["taskset", "-c", ",".join(map(str, range(cores))), *command]


def timed(cores, code, path):
    told = subprocess.run(pinned(cores, [sys.executable, "-c", code, str(path)]), check=True, capture_output=True, text=True)
    return float(told.stdout)


def parts(program, path):
    told = subprocess.run(pinned(1, [program, str(path)]), check=True, capture_output=True, text=True).stdout
    return {name: float(value) for name, value in (line.split() for line in told.splitlines())}


def main(program, parts_program, *arguments):
    megabytes = int(arguments[-1]) if arguments[-1].isdigit() else 1000
    sources = [argument for argument in arguments if not argument.isdigit()]
    with tempfile.TemporaryDirectory(prefix="sciembed-campaign-", dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        campaign(str(Path(program).resolve()), str(Path(parts_program).resolve()), Path(folder), sources, megabytes)


def campaign(program, parts_program, folder, sources, megabytes):
    size = write_records(sources, folder, megabytes)
    speed = lambda seconds: size / 1e6 / seconds
    print(f"{size / 1e6:,.0f} MB of JSON lines; MB/s of JSON\n")
    print("file              cores   load  DuckDB  orjson  load/DuckDB  peak MB")
    one_core = {}
    for name in ("records.json.gz", "records.json"):
        for cores in (1, 2):
            loads, ducks, loops, peaks = [], [], [], []
            for _ in range(ROUNDS):
                seconds, peak = load(program, folder, name, cores)
                loads.append(seconds)
                peaks.append(peak)
                ducks.append(timed(cores, DUCKDB.format(threads=cores), folder / name))
                loops.append(timed(cores, ORJSON, folder / name))
            ours, duck, loop = map(statistics.median, (loads, ducks, loops))
            one_core[name, cores] = ours
            print(
                f"{name:16}  {cores:5}  {speed(ours):5.0f}  {speed(duck):6.0f}  {speed(loop):6.0f}  {duck / ours:11.2f}  {max(peaks) / 1e6:7.0f}",
                flush=True,
            )
    for name in ("records.json.gz", "records.json"):
        alone = parts(parts_program, folder / name)
        limit = alone["decompress"] + alone["parse"]
        print(
            f"\n{name}: decompress {speed(alone['decompress']):.0f}, parse {speed(alone['parse']):.0f}, both {speed(limit):.0f} MB/s on one core;"
            f" load is at {limit / one_core[name, 1]:.2f} of that on one core, {limit / one_core[name, 2]:.2f} on two"
        )
    for name in ("records.json.gz", "records.json"):
        load_time, plain, cleaned = prepare(program, folder, name)
        print(
            f"\n{name}: {load_time:.2f} s of the processor for load; prepare {plain:.2f} s ({plain / load_time:.0%}),"
            f" cleaned {cleaned:.2f} s ({cleaned / load_time:.0%})"
        )


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: load_campaign.py SCIEMBED LOAD_PARTS FILE.json.gz... [MEGABYTES]")
    main(*sys.argv[1:])
