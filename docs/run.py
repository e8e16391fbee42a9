#!/usr/bin/env python3
"""Runs the commands of the book, and compares what they print with what the pages show.

Usage: docs/run.py [--keep] SCIEMBED [PAGE...]

SCIEMBED is the program; a PAGE is a file below docs/src, or a part of its name. By default all pages are run. Each page has a
project folder of its own, with copies of workflows/ and examples/, and models/ by links. A page that says
`<!-- begins with: quickstart -->` starts with the quickstart applied, which is done once for all of them.

In blocks that are fenced with ```console, a line that begins with `$ ` is a command: it goes on in the next line after a `\\` at its
end, and after `<<'END'` up to the line END. It is run by bash, with `pipefail`, and must exit with 0, or with what a comment at its
end says: `# exits with 2`, `# exits with 0 or 130`. The lines below it are what it prints: each must occur, in standard output or
standard error, once times, rates, sizes, digests and run ids are taken out of both; `…` stands for anything. They are not compared
where the command says `# for example`, nor where it exits with another code than the first one that its comment names.

Exits with 1 if anything differs, with the page, the line and the output. `--keep` leaves the folders, and says where they are.
"""

import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

DOCS = Path(__file__).resolve().parent
CHECKOUT = DOCS.parent
PAGES = DOCS / "src"
BEGINS_WITH = re.compile(r"<!-- begins with: (\w+) -->")
FOR_EXAMPLE = re.compile(r"\s+# for example\s*$")
EXITS_WITH = re.compile(r"\s+# exits with (\d+(?: or \d+)*)\s*$")
HERE_DOCUMENT = re.compile(r"<<'(\w+)'")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# A command that takes longer than this hangs.
TIMEOUT_SECONDS = 300

# What differs from run to run, in the order in which it is taken out.
UNSTABLE = [
    (re.compile(r"\b\d{8}T\d{6}(?:\.\d+)?Z?(?:-[0-9a-z]+)*\b"), "*"),  # run ids
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z| UTC)?"), "*"),  # times
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "*"),
    (re.compile(r"\b\d+:\d\d\b(?=\s)"), "*"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,64}\b"), "*"),  # digests
    (re.compile(r"\b[\d,]+(?:\.\d+)? ?[\w-]+/s\b"), "*/s"),  # rates
    (re.compile(r"\b[\d,]+(?:\.\d+)? ?(?:ms|s|min|minutes?|seconds?|hours?|h|days?)\b(?: \d+ ?(?:s|min|h)\b)?"), "* s"),
    (re.compile(r"\b[\d,]+(?:\.\d+)? ?(?:KB|MB|GB|KiB|MiB|GiB)\b"), "* MB"),  # sizes of files
    (re.compile(r"\bprocess \d+ on \S+"), "process * on *"),
]


@dataclass
class Command:
    """A command of a page, and what it is to print."""

    line: int
    text: str
    codes: list = field(default_factory=lambda: [0])
    is_example: bool = False
    shown: list = field(default_factory=list)


def commands_of(page):
    """The commands of the console blocks of a page, in order."""
    commands, is_inside = [], False
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        if line.startswith("```"):
            is_inside = line.strip() == "```console"
        elif is_inside and line.startswith("$ "):
            commands.append(command_at(number, line[2:], lines))
        elif is_inside:
            if not commands:
                sys.exit(f"{page}:{number}: output without a command before it")
            commands[-1].shown.append((number, line))
    return commands


def command_at(number, text, lines):
    """A command that begins in this line, with the lines that belong to it."""
    here = HERE_DOCUMENT.search(text)
    if here:
        for _, line in lines:
            text += "\n" + line
            if line == here.group(1):
                break
    while text.endswith("\\"):
        text += "\n" + next(lines)[1].removeprefix("> ")
    exits = EXITS_WITH.search(text)
    codes = [int(code) for code in exits.group(1).split(" or ")] if exits else [0]
    is_example = bool(FOR_EXAMPLE.search(text))
    return Command(number, FOR_EXAMPLE.sub("", EXITS_WITH.sub("", text)), codes, is_example)


def normal(line):
    """A line without what differs from run to run."""
    line = ESCAPES.sub("", line)
    for pattern, instead in UNSTABLE:
        line = pattern.sub(instead, line)
    return " ".join(line.split())


def occurs(shown, printed):
    """Whether a line of a page is among those that were printed; `…` is anything."""
    shown = normal(shown)
    if shown in printed or not shown.replace("…", "").strip():
        return True
    pattern = re.compile(".*".join(re.escape(part.strip()) for part in shown.split("…")))
    return "…" in shown and any(pattern.fullmatch(line) for line in printed)


class Projects:
    """Project folders, each a fresh one, below one temporary folder."""

    def __init__(self, program):
        self.root = Path(tempfile.mkdtemp(prefix="sciembed-docs-"))
        self.cached = {}
        wrapper = self.root / "bin" / "sciembed"
        wrapper.parent.mkdir()
        libraries = CHECKOUT / "lib"
        wrapper.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}" exec "{program}" "$@"\n', encoding="utf-8")
        wrapper.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{wrapper.parent}:{os.environ['PATH']}",
            "XDG_CACHE_HOME": str(self.root / "cache"),
            "SCIEMBED_ONNXRUNTIME": str(libraries / "libonnxruntime.so"),
            "NO_COLOR": "1",
            "LC_ALL": "C.UTF-8",
        }
        # What these would change is not what the pages show.
        for name in ["SCIEMBED_LOG", "OPENAI_API_KEY"]:
            self.environment.pop(name, None)

    def fresh(self, name):
        """A project that nothing was done in."""
        project = self.root / name
        project.mkdir(parents=True)
        for folder in ["workflows", "examples"]:
            shutil.copytree(CHECKOUT / folder, project / folder)
        (project / "models").mkdir()
        for model in (CHECKOUT / "models").iterdir():
            (project / "models" / model.name).symlink_to(model.resolve())
        return project

    def begun(self, name, state):
        """A project with a workflow applied, which is done once."""
        if state not in self.cached:
            project = self.fresh(f"cached/{state}")
            done = self.bash(project, f"sciembed apply workflows/{state}.toml")
            if done.returncode != 0:
                sys.exit(f"workflows/{state}.toml could not be applied:\n{done.stdout}")
            self.cached[state] = project
        project = self.root / name
        project.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", "--reflink=auto", self.cached[state], project], check=True)
        return project

    def bash(self, project, command):
        """Runs a command; standard output and standard error come together, as on a terminal."""
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_SECONDS,
            text=True,
            errors="replace",
            check=False,
        )


def exit_code(done):
    """As a shell tells it: 128 and its number where a signal ended the command."""
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def faults_of(command, done):
    """What is wrong with a command that was run: line and words."""
    if exit_code(done) not in command.codes:
        expected = " or ".join(map(str, command.codes))
        yield command.line, f"exits with {exit_code(done)} instead of {expected}"
    if command.is_example or exit_code(done) != command.codes[0]:
        return
    printed = [normal(line) for line in done.stdout.splitlines()]
    for number, shown in command.shown:
        if not occurs(shown, printed):
            near = difflib.get_close_matches(normal(shown), printed, n=1, cutoff=0.4)
            yield number, f"is not printed: {shown}" + (f"\n    nearest to it: {near[0]}" if near else "")


def run(page, projects):
    """Runs a page. Returns how many commands it has and how many things are wrong."""
    name = str(page.relative_to(PAGES).with_suffix(""))
    commands = commands_of(page)
    if not commands:
        return 0, 0
    begins = BEGINS_WITH.search(page.read_text(encoding="utf-8"))
    project = projects.begun(name, begins.group(1)) if begins else projects.fresh(name)
    count = 0
    for command in commands:
        done = projects.bash(project, command.text)
        faults = list(faults_of(command, done))
        for line, words in faults:
            print(f"{page.relative_to(CHECKOUT)}:{line}: {words}")
        if faults:
            print(f"    of: {command.text}\n    it printed:")
            print("".join(f"    | {line}\n" for line in done.stdout.splitlines()[:80]), end="")
        count += len(faults)
        if exit_code(done) not in command.codes:
            # What follows rests on it.
            break
    return len(commands), count


def main(arguments):
    keep = "--keep" in arguments
    arguments = [argument for argument in arguments if argument != "--keep"]
    if not arguments or arguments[0].startswith("-"):
        sys.exit(__doc__)
    program, wanted = Path(arguments[0]).resolve(), arguments[1:]
    pages = sorted(page for page in PAGES.rglob("*.md") if page.name != "SUMMARY.md")
    if wanted:
        pages = [page for page in pages if any(part in str(page.relative_to(CHECKOUT)) for part in wanted)]
    projects = Projects(program)
    commands = faults = 0
    began = time.monotonic()
    try:
        for page in pages:
            page_began = time.monotonic()
            done, wrong = run(page, projects)
            commands, faults = commands + done, faults + wrong
            if done:
                told = f"{wrong} wrong" if wrong else "as shown"
                seconds = time.monotonic() - page_began
                print(f"{page.relative_to(PAGES)}: {done} commands, {told}, {seconds:.0f} s", flush=True)
    finally:
        if keep:
            print(f"the projects are in {projects.root}")
        else:
            shutil.rmtree(projects.root, ignore_errors=True)
    print(f"{commands} commands, {faults} wrong, {time.monotonic() - began:.0f} s")
    return 1 if faults or not commands else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
