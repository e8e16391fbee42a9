#!/usr/bin/env python3
"""Writes docs/src/reference/workflow.md and commands.md from what the program says of itself.

Usage: docs/reference.py SCIEMBED [--check]

Keys of workflows come from the program's schema, which schemas/workflow.schema.json is a copy of, commands from `sciembed help`.
`--check` writes nothing. Exits with 1 if that copy is stale, or with `--check` if a page is.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
CHECKOUT = DOCS.parent
SCHEMA = CHECKOUT / "schemas" / "workflow.schema.json"
REFERENCE = DOCS / "src" / "reference"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

# Sections in the order of the data, and the definition of each.
SECTIONS = [
    ("[load.NAME]", "Load"),
    ("[prepare.NAME]", "Prepare"),
    ("[embed.NAME]", "Embed"),
    ("[embed.NAME.onnx]", "Onnx"),
    ("[embed.NAME.api]", "Api"),
    ("[persist.NAME]", "Persist"),
    ("[merge.NAME]", "Merge"),
]
OF_EVERY_COMMAND = ("--color", "--log-level", "--log-format", "-h, --help")
TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}


def program_says(program, *arguments):
    """What the program prints for these arguments."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(CHECKOUT / "lib"), "NO_COLOR": "1"}
    done = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{program} {' '.join(arguments)} exits with {done.returncode}: {done.stderr}")
    return ESCAPES.sub("", done.stdout)


class Keys:
    """The keys of workflows, as Markdown."""

    def __init__(self, schema):
        self.schema = schema
        self.definitions = schema["$defs"]

    def definition(self, value):
        """The definition that a value refers to, and its name."""
        for part in [value, *value.get("anyOf", [])]:
            if "$ref" in part:
                name = part["$ref"].removeprefix("#/$defs/")
                return name, self.definitions[name]
        return None, None

    def type_of(self, value):
        """What a value may be, in words."""
        name, referred = self.definition(value)
        if referred is not None:
            return self.type_of_definition(name, referred)
        kinds = value.get("type", "any value")
        kinds = [kind for kind in (kinds if isinstance(kinds, list) else [kinds]) if kind != "null"]
        if kinds == ["array"]:
            return f"list of {plural(self.type_of(value['items']))}"
        if kinds == ["object"]:
            return "table"
        return " or ".join(TYPES.get(kind, kind) for kind in kinds)

    def type_of_definition(self, name, definition):
        values = constants(definition)
        if values:
            return "one of " + ", ".join(f"`{json.dumps(value)}`" for value, _ in values)
        if name == "Index" or definition.get("type") == "object":
            return "[table](#" + anchor(self.heading(name)) + ")"
        if "anyOf" in definition:
            return " or ".join(dict.fromkeys(self.type_of(each) for each in definition["anyOf"]))
        return self.type_of(definition) if "type" in definition else "text"

    @staticmethod
    def heading(name):
        for heading, known in SECTIONS:
            if known == name:
                return heading
        return {"Index": "index", "Exports": "export"}.get(name, name)

    def table(self, definition):
        """The keys of a definition, required ones first."""
        required = definition.get("required", [])
        rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
        keys = sorted(definition.get("properties", {}).items(), key=lambda item: (item[0] not in required, item[0]))
        for key, value in keys:
            meaning, default = split_default(value.get("description", ""))
            if key in required:
                default = "required"
            elif default is None:
                default = literal(value.get("default"))
            elif default in ("true", "false"):
                default = f"`{default}`"
            cells = [f"`{key}`", self.type_of(value), default, meaning]
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        return "\n".join(rows)

    def choices(self, definition):
        """What each value of an enumerated key means, for keys whose values explain themselves."""
        told = []
        for key, value in sorted(definition.get("properties", {}).items()):
            name, referred = self.definition(value.get("items", value))
            values = [(value, words) for value, words in constants(referred or {}) if words]
            if name and values:
                told.append(f"{'Each step' if 'items' in value else 'The value'} of `{key}` is one of:\n")
                told += [f"- `{json.dumps(value)}`: {one_line(words)}" for value, words in values]
                told.append("")
        return "\n".join(told)

    def section(self, heading, definition):
        parts = [f"## {heading}", paragraph(definition.get("description", "")), self.table(definition)]
        return "\n\n".join(part for part in [*parts, self.choices(definition).rstrip()] if part)

    def alternatives(self, heading, name, words):
        """A section whose keys are tables themselves, such as the kinds of an index."""
        definition = self.definitions[name]
        parts = [f"## {heading}", words]
        kinds = definition.get("properties", {}).items()
        kinds = list(kinds) or [item for each in definition["oneOf"] for item in each["properties"].items()]
        texts = {key: each.get("description", "") for each in definition.get("oneOf", []) for key in each["properties"]}
        for key, value in kinds:
            meaning = texts.get(key) or value.get("description", "")
            parts += [f"### {heading}.{key}", paragraph(meaning)]
            _, inner = self.definition(value)
            if inner and "properties" in inner:
                parts.append(self.table(inner))
        return "\n\n".join(parts)

    def page(self):
        """The whole page."""
        top = {key: value for key, value in self.schema["properties"].items() if "additionalProperties" not in value}
        parts = [
            "# Workflows",
            "<!-- Written by docs/reference.py from `sciembed schema`: do not edit. -->",
            paragraph(self.schema["description"]),
            "`workflows/2015-2020.toml` is an example for production with a comment at every key. `sciembed check` tells "
            "all mistakes in a workflow at once, `sciembed schema` prints the JSON schema for editors, and "
            "`--set KEY=VALUE` overrides a value for one command, as in `--set embed.minilm.precision=int8`.",
            "## At the top",
            self.table({"properties": top, "required": self.schema["required"]}),
            "## [matrix]",
            paragraph(self.schema["properties"]["matrix"]["description"])
            + " Each key is the name of an axis. Its value is a range of whole numbers, `\"2015..=2020\"`, or without its end, "
            "`\"2015..2021\"`, or a list of numbers or texts. By default there is no axis, and every node runs once.",
        ]
        parts += [self.section(heading, self.definitions[name]) for heading, name in SECTIONS]
        parts.append(
            self.alternatives(
                "index",
                "Index",
                "An approximate index beside a dataset: `[persist.NAME.index.KIND]` or `[merge.NAME.index.KIND]`, one kind. "
                "See [Search](../howto/search.md).",
            )
        )
        if "Exports" in self.definitions:
            parts.append(
                self.alternatives(
                    "export",
                    "Exports",
                    "What a dataset is handed on as: `[persist.NAME.export.FORMAT]` or `[merge.NAME.export.FORMAT]`, each format "
                    "at most once. See [Export](../howto/export.md).",
                )
            )
        return "\n\n".join(parts) + "\n"


def constants(definition):
    """The values of an enumeration, each with its words."""
    values = []
    for each in definition.get("oneOf", []):
        if "const" in each:
            values.append((each["const"], each.get("description", "")))
        values += [(value, "") for value in each.get("enum", [])]
    return values or [(value, "") for value in definition.get("enum", [])]


def literal(default):
    """A default as it would be written in a workflow; a table has those of its keys."""
    return "none" if default is None or isinstance(default, dict) else f"`{json.dumps(default)}`"


def split_default(description):
    """A description without the sentence that tells the default, and that default."""
    meaning, found, default = one_line(description).partition("Default: ")
    return meaning.strip(), default.strip().removesuffix(".") if found else None


def one_line(text):
    return " ".join(text.split())


def paragraph(text):
    return "\n\n".join(one_line(part) for part in text.split("\n\n"))


def plural(kind):
    return {"text": "texts", "whole number": "whole numbers"}.get(kind, kind)


def anchor(heading):
    """The anchor that mdBook gives a heading."""
    return re.sub(r"[^a-z0-9_-]", "", heading.lower().replace(" ", "-"))


def commands_page(program):
    """Every command, with its help."""
    parts = [
        "# Commands",
        "<!-- Written by docs/reference.py from `sciembed help`: do not edit. -->",
        "This is what `sciembed help COMMAND` prints. Results go to standard output, progress and errors to standard error. "
        "What exit codes mean stands in [Run in CI](../howto/ci.md). `--color`, `--log-level`, `--log-format` and `--help` belong to every command, and are "
        "shown here once.",
    ]
    for path in [(), *below(program, ())]:
        text = program_says(program, "help", *path).strip()
        text = own_options(text) if path else text
        parts += [f"## {' '.join(['sciembed', *path])}", f"```text\n{text}\n```"]
    return "\n\n".join(parts) + "\n"


def own_options(text):
    """A command's help without the options that every command has."""
    kept, is_left_out = [], False
    for line in text.splitlines():
        option = line.strip()
        if option.startswith("-") and len(line) - len(option) <= 6:
            is_left_out = option.startswith(OF_EVERY_COMMAND)
        elif line and not line.startswith(" "):
            is_left_out = False
        if not is_left_out:
            kept.append(line.rstrip())
    text = "\n".join(kept)
    return re.sub(r"Options:\s*(?=\Z|^\S)", "", text, flags=re.MULTILINE).strip()


def below(program, path):
    """The commands below one, in the order of its help, each with those below it."""
    text = program_says(program, "help", *path)
    listed = re.search(r"^Commands:\n((?:[ ]+.*\n|\n)+)", text, re.MULTILINE)
    for name in re.findall(r"^  ([a-z][a-z0-9-]*)(?:  |$)", listed.group(1) if listed else "", re.MULTILINE):
        if name != "help" or not path:
            yield (*path, name)
            yield from below(program, (*path, name))


def main(arguments):
    check = "--check" in arguments
    arguments = [argument for argument in arguments if argument != "--check"]
    if len(arguments) != 1:
        sys.exit(__doc__)
    program = str(Path(arguments[0]).resolve())
    schema = json.loads(program_says(program, "schema"))
    is_stale = schema != json.loads(SCHEMA.read_text(encoding="utf-8"))
    if is_stale:
        print(f"{SCHEMA.relative_to(CHECKOUT)} is stale: write it anew (just schemas)")
    pages = {"workflow.md": Keys(schema).page(), "commands.md": commands_page(program)}
    for name, text in pages.items():
        path = REFERENCE / name
        differs = not path.exists() or path.read_text(encoding="utf-8") != text
        is_stale = is_stale or (check and differs)
        if differs:
            print(f"{path.relative_to(CHECKOUT)} {'is stale' if check else 'is written'}")
        if differs and not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return 1 if is_stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
