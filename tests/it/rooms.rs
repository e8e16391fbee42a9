//! The order of the house: a room of `src/` uses only rooms that stand above it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::env::{file_name, files};

/// The rooms in the order in which data flows, as the crate's documentation lists them.
const ORDER: [&str; 21] = [
    // Ground floor: pure and synchronous.
    "digest",
    "manifest",
    "table",
    "graph",
    "fingerprint",
    "record",
    "plan",
    // Cellar: storage.
    "store",
    "source",
    "model",
    "published",
    "observe",
    // Engine room.
    "pool",
    "embedder",
    "index",
    "event",
    "node",
    "run",
    "dataset",
    // Doors.
    "error",
    "cli",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rooms that stand in `src/`, each with its files. `lib.rs` is the map, `main.rs` the front door.
fn rooms() -> Vec<(String, Vec<PathBuf>)> {
    let room = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let files = if path.is_dir() { files(&path) } else { vec![path] };
        (name, files)
    };
    let is_room = |path: &PathBuf| !["lib.rs", "main.rs"].contains(&&*file_name(path));
    files(&root().join("src")).into_iter().filter(is_room).map(room).collect()
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
    let place = |room: &str| ORDER.iter().position(|known| *known == room);
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

/// The list above is neither short nor long.
#[test]
fn every_room_has_its_place() {
    let there: BTreeSet<String> = rooms().into_iter().map(|(room, _)| room).collect();
    let listed: BTreeSet<String> = ORDER.map(str::to_owned).into();
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

/// The map of the code names rooms that exist: where a heading is a path or a name in backticks, it is there.
#[test]
fn the_map_names_rooms_that_exist() {
    let Ok(map) = fs::read_to_string(root().join("ARCHITECTURE.md")) else {
        eprintln!("SKIPPED: there is no ARCHITECTURE.md yet");
        return;
    };
    let there: BTreeSet<String> = rooms().into_iter().map(|(room, _)| room).collect();
    let mut named = BTreeSet::new();
    for heading in map.lines().filter(|line| line.starts_with('#')) {
        for name in heading.split('`').skip(1).step_by(2) {
            let name = name.trim_start_matches("src/").trim_end_matches('/').trim_end_matches(".rs");
            assert!(there.contains(name) || ["lib", "main"].contains(&name), "there is no room {name:?}: {heading}");
            named.insert(name.to_owned());
        }
    }
    let missing: Vec<&String> = there.difference(&named).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md has no heading for {missing:?}");
}
