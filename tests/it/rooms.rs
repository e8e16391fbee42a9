//! The order of the house: a room of `src/` uses only rooms that stand above it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::env::{file_name, files};

/// The rooms in the order in which data flows, as the crate's documentation lists them: the first word of each line of
/// its map that is set in under a floor's name.
fn order() -> Vec<String> {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let map = text.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("lib.rs has a map");
    let rooms = map.lines().filter_map(|line| line.strip_prefix("//!   ").and_then(word));
    let rooms: Vec<String> = rooms.collect();
    assert!(rooms.len() > 10, "{rooms:?}");
    rooms
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rooms that stand in `src/`, each with its files. `lib.rs` is the map, `main.rs` the front door.
fn rooms() -> Vec<(String, Vec<PathBuf>)> {
    let room = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let files = files_below(path);
        (name, files)
    };
    let is_room = |path: &PathBuf| !["lib.rs", "main.rs"].contains(&&*file_name(path));
    files(&root().join("src")).into_iter().filter(is_room).map(room).collect()
}

/// A file itself, or all files in a folder and its folders.
fn files_below(path: PathBuf) -> Vec<PathBuf> {
    if path.is_dir() { files(&path).into_iter().flat_map(files_below).collect() } else { vec![path] }
}

/// The rooms that a text names: in `crate::room`, and in `use crate::{room, other::{..}}`.
fn used(text: &str) -> BTreeSet<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = code.flat_map(|line| [line, "\n"]).collect();
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        // `$crate` and names that merely end so are no paths into this crate.
        if code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == '$') {
            continue;
        }
        match code[at + "crate::".len()..].strip_prefix('{') {
            Some(group) => rooms.extend(heads(group)),
            None => rooms.extend(word(&code[at + "crate::".len()..])),
        }
    }
    rooms
}

/// The first words of the paths in a braced group, up to the brace that ends it.
fn heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut start) = (0, Vec::new(), 0);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                heads.extend(word(group[start..at].trim()));
                start = at + 1;
                if character == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    heads
}

fn word(path: &str) -> Option<String> {
    let word: String = path.chars().take_while(|letter| letter.is_ascii_lowercase() || *letter == '_').collect();
    (!word.is_empty()).then_some(word)
}

/// A room uses itself and those above it. Every breach is told, not the first one alone.
#[test]
fn a_room_uses_only_rooms_above_it() {
    let order = order();
    let place = |room: &str| order.iter().position(|known| known == room);
    let mut breaches = Vec::new();
    for (room, files) in rooms() {
        for file in files {
            for other in used(&fs::read_to_string(&file).unwrap()) {
                if place(&other) > place(&room) || place(&other).is_none() {
                    breaches.push(format!("{} uses crate::{other}", file.strip_prefix(root()).unwrap().display()));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "{} uses of a room that stands below:\n{}", breaches.len(), breaches.join("\n"));
}

/// The map shows every room that stands, and none that does not.
#[test]
fn every_room_has_its_place() {
    let there: BTreeSet<String> = rooms().into_iter().map(|(room, _)| room).collect();
    let listed: BTreeSet<String> = order().into_iter().collect();
    assert_eq!(there, listed);
}

/// What this file looks for is found, in every form that it is written in.
#[test]
fn uses_are_read_in_every_form() {
    let text = "
        use crate::store::{Store, blob};
        use crate::{graph, node::{load, error::NodeError}, run};
        // not crate::comment
        let failed = crate::pool::Panicked; $crate::other; subcrate::thing
    ";
    let rooms: Vec<String> = used(text).into_iter().collect();
    assert_eq!(rooms, ["graph", "node", "pool", "run", "store"]);
}

/// ARCHITECTURE.md has a chapter on every room, in the order of the house: a line that begins with its name in bold.
#[test]
fn the_architecture_has_a_chapter_on_every_room() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let chapters = text.lines().filter_map(|line| line.strip_prefix("**")?.split_once("**"));
    let chapters: Vec<&str> = chapters.map(|(name, _)| name).collect();
    assert_eq!(chapters, order());
}
