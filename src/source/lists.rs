//! Where lists of objects are in an answer that holds its records somewhere inside, so that people can be told.
//!
//! Looks at a beginning of a text, and through objects alone: a list inside a list is nobody's records.

use super::layout::{End, object_end, string_end};
use super::members::members;

/// Names of a path at most.
const MAX_NAMES: usize = 3;
/// Lists that are told of.
const MAX_LISTS: usize = 8;

/// The paths to lists of objects, as `records` names them.
pub fn lists(text: &[u8]) -> Vec<String> {
    walk(text).into_iter().map(|(path, _)| path).collect()
}

/// The path to the first list whose objects have this key.
pub fn list_with(text: &[u8], key: &str) -> Option<String> {
    let name = key.split('.').next().unwrap_or(key);
    walk(text).into_iter().find(|(_, first)| has(first, name)).map(|(path, _)| path)
}

/// Whether the object that a text begins with has a member of this name; of one that is cut off, whether it may have.
fn has(text: &[u8], name: &str) -> bool {
    match object_end(text) {
        End::At(end) => {
            let object = str::from_utf8(&text[..end]).ok();
            object.and_then(|object| members(object, &[name]).ok()).is_some_and(|found| found[0].is_some())
        }
        End::Open | End::Broken => memchr::memmem::find(text, format!("\"{name}\"").as_bytes()).is_some(),
    }
}

/// Paths to lists of objects, each with the text from its first object on.
fn walk(text: &[u8]) -> Vec<(String, &[u8])> {
    let mut found: Vec<(String, &[u8])> = Vec::new();
    // The names of the objects that the walk is in; how many brackets deep it is in something that it does not look into.
    let (mut names, mut key, mut beside) = (Vec::new(), None, 0usize);
    let mut at = 0;
    while at < text.len() && found.len() < MAX_LISTS {
        match text[at] {
            b'"' => {
                let End::At(end) = string_end(text, at + 1) else { break };
                key = if beside == 0 { name(&text[at + 1..end - 1], &text[end..]) } else { key };
                at = end - 1;
            }
            b'{' if beside == 0 && names.len() <= MAX_NAMES => names.push(key.take()),
            b'[' if beside == 0 => {
                let first = text[at + 1..].trim_ascii_start();
                let path: Option<Vec<&str>> = names.iter().skip(1).copied().chain([key.take()]).collect();
                if let Some(path) = path.filter(|path| first.starts_with(b"{") && path.len() <= MAX_NAMES) {
                    let path = path.join(".");
                    if found.iter().all(|(other, _)| *other != path) {
                        found.push((path, first));
                    }
                }
                beside = 1;
            }
            b'{' | b'[' => beside += 1,
            b'}' | b']' if beside > 0 => beside -= 1,
            b'}' => drop(names.pop()),
            b',' if beside == 0 => key = None,
            _ => {}
        }
        at += 1;
    }
    found
}

/// What a string names, if it is a name that a path can hold: a colon follows it.
fn name<'t>(inside: &'t [u8], behind: &[u8]) -> Option<&'t str> {
    let name = str::from_utf8(inside).ok().filter(|name| !name.contains(['\\', '.']))?;
    behind.trim_ascii_start().starts_with(b":").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_objects_are_found_in_answers() {
        let answer = br#"{"header":{"q":"[{","l":[1]},"response":{"n":1,"docs":[ {"bibcode":"b","x":[{}]}]},"f":[[{}]],"e":[{}]}"#;
        assert_eq!(lists(answer), ["response.docs", "e"]);
        assert_eq!(list_with(answer, "bibcode").as_deref(), Some("response.docs"));
        assert_eq!(list_with(answer, "id"), None);
        // However much of it there is.
        for end in 0..answer.len() {
            list_with(&answer[..end], "bibcode");
        }
        let begun = &answer[..answer.len() - 36];
        assert_eq!(list_with(begun, "bibcode.0").as_deref(), Some("response.docs"));
        assert_eq!(lists(br#"{"a":{"b":{"c":[{}],"d":{"e":[{}]}}},"x.y":[{}]}"#), ["a.b.c"]);
        assert!(lists(br#"[{"a":[{}]}]"#).is_empty() && lists(b"}]\"").is_empty());
    }
}
