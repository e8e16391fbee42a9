"""Bars, Ctrl-C and watch in a real terminal, driven by tmux: `just try-terminal`. Takes tmux (Debian: apt install tmux).

An apply by the test embedder runs at 80 and at 120 columns. Its bars must fit, tell rows and time left, and be gone at the end; Ctrl-C
must end it in order, and a second apply go on from there; watch must show the run, follow it, and end with q.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAPERS = 4000
WORKFLOW = """version = 1
name = "terminal"
store = "store"

[load.records]
input = "papers.jsonl"
fields = ["title"]

[prepare.texts]
from = "records"
fields = ["title"]

[embed.vectors]
from = "texts"
model = "fake://16?delay_us=2000"

[persist.all]
from = "vectors"
dir = "embeddings"
"""


class Terminal:
    """A shell in tmux of so many columns."""

    def __init__(self, folder, columns):
        self.name, self.columns = f"sciembed-{os.getpid()}-{columns}", columns
        self.tmux("new-session", "-d", "-s", self.name, "-x", str(columns), "-y", "30", "-c", str(folder), "bash --norc")
        self.send("PS1='ready> '; clear")

    def tmux(self, *arguments):
        return subprocess.run(["tmux", *arguments], check=True, capture_output=True, text=True).stdout

    def send(self, line):
        self.tmux("send-keys", "-t", self.name, line, "Enter")

    def key(self, key):
        self.tmux("send-keys", "-t", self.name, key)

    def screen(self):
        return self.tmux("capture-pane", "-p", "-t", self.name)

    def wait(self, wanted, seconds=60):
        """The screen once `wanted` holds of it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            screen = self.screen()
            if wanted(screen):
                return screen
            time.sleep(0.1)
        sys.exit(f"at {self.columns} columns this never came:\n{self.screen()}")

    def close(self):
        self.tmux("kill-session", "-t", self.name)


def main():
    program = os.path.abspath(sys.argv[1])
    if not shutil.which("tmux"):
        sys.exit("tmux is missing: apt install tmux")
    for columns in [80, 120]:
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            (folder / "workflow.toml").write_text(WORKFLOW)
            paper = lambda n: json.dumps({"bibcode": f"2010Test..{n:05}A", "title": [f"Paper {n}"]}) + "\n"
            (folder / "papers.jsonl").write_text("".join(map(paper, range(PAPERS))))
            terminal = Terminal(folder, columns)
            try:
                drive(terminal, program)
            finally:
                terminal.close()
        print(f"{columns} columns: bars, Ctrl-C and watch are as they should be")


def bars(screen):
    return [line for line in screen.splitlines() if line.startswith("embed.vectors") and " of 4000" in line]


def drive(terminal, program):
    terminal.send(f"{program} apply workflow.toml; echo ended with $?")
    screen = terminal.wait(lambda screen: any("/s" in line and "left" in line for line in bars(screen)))
    assert len(bars(screen)) == 1, f"one bar, on one line:\n{screen}"
    assert all(len(line) <= terminal.columns for line in screen.splitlines()), screen
    time.sleep(1)
    later = bars(terminal.screen())
    assert later and later[0] != bars(screen)[0], f"the bar moves:\n{later}"
    terminal.key("C-c")
    screen = terminal.wait(lambda screen: "ended with 130" in screen)
    # The terminal writes ^C where the bar is, so its last frame may stay above what follows.
    _, _, after = screen.partition("interrupted after")
    assert after and not bars(after), f"ended in order, without a bar:\n{screen}"
    terminal.send(f"clear; {program} apply workflow.toml >/dev/null 2>&1 & sleep 1; {program} watch workflow.toml; echo watched: $?")
    first = terminal.wait(lambda screen: "journal, q ends the watch" in screen and "embed.vectors" in screen)
    assert "runs, process" in first, first
    terminal.wait(lambda screen: "persist.all" in screen and " done" in screen.splitlines()[0])
    terminal.key("q")
    screen = terminal.wait(lambda screen: "watched: 0" in screen)
    assert "journal, q ends" not in screen, f"the screen is given back:\n{screen}"
    terminal.send("clear; wait; " + f"{program} plan workflow.toml; echo fresh: $?")
    terminal.wait(lambda screen: "fresh: 0" in screen)


main()
