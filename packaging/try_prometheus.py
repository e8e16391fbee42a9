"""Whether a real Prometheus reads what a run tells: `just try-prometheus`. Takes promtool and prometheus (Debian: apt install prometheus).

A run of 3,000 papers by the test embedder is scraped each second. What the last scrape saw, and what the file for node_exporter holds at
the end, are compared with the run's own summary.
"""

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

PAPERS = 3000
WORKFLOW = """version = 1
name = "scraped"
store = "store"

[load.records]
input = "papers.jsonl"
fields = ["title"]

[prepare.texts]
from = "records"
fields = ["title"]

[embed.vectors]
from = "texts"
model = "fake://16?delay_us=3000"

[persist.all]
from = "vectors"
dir = "embeddings"
"""


def main():
    program = sys.argv[1]
    for tool in ["prometheus", "promtool"]:
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: apt install prometheus")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "workflow.toml").write_text(WORKFLOW)
        paper = lambda n: json.dumps({"bibcode": f"2010Test..{n:05}A", "title": [f"Paper {n}"]}) + "\n"
        (folder / "papers.jsonl").write_text("".join(map(paper, range(PAPERS))))
        ours, theirs = free_port(), free_port()
        config = f"global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: sciembed\n    static_configs:\n      - targets: ['127.0.0.1:{ours}']\n"
        (folder / "prometheus.yml").write_text(config)
        server = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{theirs}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        try:
            check(program, folder, ours, theirs)
        finally:
            server.terminate()
            server.wait()


def check(program, folder, ours, theirs):
    command = [program, "apply", "workflow.toml", "--metrics-addr", f"127.0.0.1:{ours}", "--metrics-file", "run.prom"]
    told = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    summary = int(re.search(r"embedded +(\d+) new", told.stdout).group(1))
    text = (folder / "run.prom").read_text()
    subprocess.run(["promtool", "check", "metrics"], input=text, text=True, check=True)
    counted = int(re.search(r'^processed_records_total\{kind="embed",node="vectors"\} (\d+)$', text, re.M).group(1))
    time.sleep(1)
    scraped = ask(theirs, 'max_over_time(processed_records_total{kind="embed"}[10m])')
    scrapes = ask(theirs, "count_over_time(sciembed_run_info[10m])")
    print(f"the summary says {summary}, the file {counted}; in {scrapes:.0f} scrapes Prometheus saw up to {scraped:.0f}")
    assert summary == counted == PAPERS, "the counters are not the summary's"
    assert 0 < scraped <= PAPERS and scrapes >= 2, "Prometheus saw no run"


def ask(port, query):
    address = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    with urllib.request.urlopen(address) as answer:
        return float(json.load(answer)["data"]["result"][0]["value"][1])


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


main()
