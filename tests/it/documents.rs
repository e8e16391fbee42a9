//! What the documents tell people to type is what continuous integration runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::env::{TestEnv, json_lines, papers};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Recipes that continuous integration leaves out, and why.
const LEFT_OUT: [(&str, &str); 13] = [
    (
        "fuzz-bytes",
        "all that the program stands on is compiled once more, and what it may find changes from run to run",
    ),
    ("real-api", "it installs a gigabyte of other people's programs"),
    ("bench-peers", "it installs gigabytes of other people's programs, and takes a quiet machine for half an hour"),
    ("bench-ann", "it measures beside other people's programs, for an hour"),
    ("lookups", "it measures what the merge campaign makes"),
    ("try-prometheus", "it takes Debian's prometheus"),
    ("test-otlp", "it compiles program and tests once more; lint looks at the feature's code"),
    ("try-chroot", "it takes debootstrap and root"),
    ("try-report", "it takes a browser"),
    ("try-terminal", "it takes tmux"),
    ("deny", "it takes cargo-deny, which is compiled for minutes"),
    ("eval", "it takes a collection of thousands, which is not shipped: indexes cannot be trained on eight documents"),
    ("bench-search", "it measures beside other people's programs, which takes a quiet machine"),
];

/// The recipes of the justfile that people may call: `name arguments: what it needs`.
fn recipes() -> BTreeSet<String> {
    let text = read("justfile");
    let heads = text.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()));
    let heads = heads.filter_map(|line| line.split_once(':')).filter(|(_, after)| !after.starts_with('='));
    let names = heads.filter_map(|(head, _)| head.split_whitespace().next()).filter(|name| *name != "default");
    names.map(str::to_owned).collect()
}

/// The recipes after `just` in a text, with its options passed over.
fn called(text: &str) -> BTreeSet<String> {
    let is_word = |character: char| character == '-' || character.is_ascii_lowercase();
    let after = text.match_indices("just ").map(|(at, just)| &text[at + just.len()..]);
    let words = after.filter_map(|rest| rest.split(' ').find(|word| !word.starts_with('-')));
    words.map(|word| word.split(|end| !is_word(end)).next().unwrap_or_default().to_owned()).collect()
}

/// What continuous integration runs.
fn integration() -> String {
    [".ci/run", ".ci/tour", ".ci/clean-outputs"].map(read).concat()
}

#[test]
fn every_recipe_is_run_by_continuous_integration() {
    let (recipes, called) = (recipes(), called(&integration()));
    assert!(recipes.contains("quickstart") && recipes.len() > 10, "{recipes:?}");
    let is_left_out = |name: &String| LEFT_OUT.iter().any(|(left_out, _)| left_out == name);
    let missing: Vec<&String> =
        recipes.difference(&called).filter(|name| *name != "ci" && !is_left_out(name)).collect();
    assert!(missing.is_empty(), ".ci/run calls no {missing:?}");
    for (name, why) in LEFT_OUT {
        assert!(recipes.contains(name), "{name}, which is left out ({why}), is no recipe");
        assert!(!called.contains(name), "{name} is called, though it is left out ({why})");
    }
}

/// Each target of `just fuzz-bytes` is built, begins with seeds, has its words, and is named where people look for it.
#[test]
fn every_fuzz_target_can_be_run() {
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let targets = names("targets");
    assert!(targets.len() > 4 && targets == names("seeds") && targets == names("words"), "{targets:?}");
    let (manifest, wrapper, recipes) = (read("fuzz/Cargo.toml"), read("fuzz/watched"), read("justfile"));
    let comment = recipes.lines().find(|line| line.starts_with("# feed any bytes")).unwrap();
    for target in targets {
        assert!(manifest.contains(&format!("name = \"{target}\"")), "{target}");
        assert!(wrapper.contains(&format!("| {target}")) && comment.contains(&target), "{target}");
        assert!(!names(&format!("seeds/{target}")).is_empty(), "{target}");
    }
}

/// README's `$ just run …` lines are run as they stand; its other blocks name recipes, and those are all run.
#[test]
fn every_command_of_the_readme_is_run_by_continuous_integration() {
    let readme = read("README.md");
    assert!(readme.matches("\n    $ just run ").count() > 4, "the tour's commands stand behind `    $ `");
    assert!(integration().contains("stage tour '.ci/tour'"));
    let commands = readme.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| line.contains("just "));
    for command in commands {
        assert!(called(command).iter().all(|name| name.is_empty() || recipes().contains(name)), "{command}");
    }
}

/// The smallest workflow that README shows does what it says.
#[test]
fn the_smallest_workflow_of_the_readme() {
    let readme = read("README.md");
    let block = readme.lines().skip_while(|line| *line != "    version = 1");
    let block = block.take_while(|line| line.is_empty() || line.starts_with("    "));
    let workflow: String = block.map(|line| format!("{}\n", line.trim_start())).collect();
    let env = TestEnv::empty();
    env.write("workflow.toml", workflow);
    env.edit("../models/all-MiniLM-L6-v2", "fake://16");
    env.write("papers.jsonl", json_lines(&papers(2010, 3)));
    env.applied(&[]);
    assert_eq!(env.run(&["get", "2010Test..00001A"]).code, Some(0));
}
