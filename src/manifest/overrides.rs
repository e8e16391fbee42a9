//! `--set section.node.key=value`: changes to the manifest that are not written into it.
//!
//! An override enters the tree before anything is read, with its position in the override's own text, so it is judged
//! exactly as if it stood in the manifest. It may change or add a key of a node that is there; it cannot add a node.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Code, Fault};
use super::parse::NODE_SECTIONS;
use super::suggestion::{hint, listed};
use super::text::{Span, Text};
use super::tree;

/// One segment of an override's key, and where it stands.
type Segment = (String, Span);

/// Puts every override into the tree. Values that are not quoted go in as strings and are noted in `raw`: if the key's
/// type refuses the string, the value is read as TOML instead.
pub(crate) fn apply<'t>(text: &'t Text, root: &mut DeTable<'t>, raw: &mut BTreeSet<Span>, faults: &mut Vec<Fault>) {
    for span in text.overrides() {
        if let Err(fault) = apply_one(text, *span, root, raw) {
            faults.push(fault);
        }
    }
}

fn apply_one<'t>(text: &'t Text, span: Span, root: &mut DeTable<'t>, raw: &mut BTreeSet<Span>) -> Result<(), Fault> {
    let (key, value) = split(text, span)?;
    let path = segments(text, key)?;
    target_exists(root, &path)?;
    let value = parse_value(text, value, raw)?;
    insert(root, &path, value);
    Ok(())
}

/// Cuts at the first `=` outside quotes.
fn split(text: &Text, span: Span) -> Result<(Span, Span), Fault> {
    let mut quote = None;
    for (at, c) in text.slice(span).char_indices() {
        match quote {
            None if c == '=' => {
                let at = span.start + at;
                return Ok((Span::new(span.start, at), Span::new(at + 1, span.end)));
            }
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
    }
    Err(Fault::new(Code::Override, "an override needs a key and a value")
        .at(span, "no `=`")
        .help("write it as `embed.minilm.model=value`"))
}

/// The key's segments; a name with a dot in it is quoted, as in TOML.
fn segments(text: &Text, key: Span) -> Result<Vec<Segment>, Fault> {
    let refused = || Fault::new(Code::Override, "the key of an override is a dotted path").at(key, "not a dotted path");
    let line = format!("{} = 0", text.slice(key));
    let parsed = DeTable::parse(&line).map_err(|_| refused())?;
    let mut path = Vec::new();
    let mut table = parsed.get_ref();
    while let Some((segment, value)) = table.iter().next().filter(|_| table.len() == 1) {
        path.push((segment.get_ref().to_string(), Span::from(segment.span()).shift(key.start)));
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            DeValue::Integer(_) => return Ok(path),
            _ => break,
        }
    }
    Err(refused())
}

/// Refuses a path that leads to no node, no axis and no key at the top.
fn target_exists(root: &DeTable<'_>, path: &[Segment]) -> Result<(), Fault> {
    let (section, span) = &path[0];
    match section.as_str() {
        "version" | "name" | "store" if path.len() == 1 => Ok(()),
        "matrix" if path.len() == 2 => entry_exists(root, section, &path[1], "axis"),
        "matrix" => Err(shape(path, "matrix.AXIS=value")),
        _ if NODE_SECTIONS.contains(&section.as_str()) && path.len() >= 3 => {
            entry_exists(root, section, &path[1], "node")
        }
        _ if NODE_SECTIONS.contains(&section.as_str()) => Err(shape(path, &format!("{section}.NODE.KEY=value"))),
        _ => {
            let known = ["version", "name", "store", "matrix", "load", "prepare", "embed", "persist", "merge"];
            Err(Fault::new(Code::Override, format!("a manifest has no `{section}`")).at(*span, "not known").help(hint(
                section,
                &known,
                |known| format!("it has {}", listed(known.iter().copied())),
            )))
        }
    }
}

fn entry_exists(root: &DeTable<'_>, section: &str, (name, span): &Segment, what: &str) -> Result<(), Fault> {
    let entries: Vec<&str> = match root.get(section).map(Spanned::get_ref) {
        Some(DeValue::Table(table)) => table.keys().map(|key| key.get_ref().as_ref()).collect(),
        _ => Vec::new(),
    };
    if entries.contains(&name.as_str()) {
        return Ok(());
    }
    let there = |entries: &[&str]| match entries {
        [] => format!("the manifest has no `{section}` at all"),
        _ => format!("`{section}` has {}", listed(entries.iter().copied())),
    };
    Err(Fault::new(Code::Override, format!("the manifest has no {what} `{section}.{name}`"))
        .at(*span, "not in the manifest")
        .help(hint(name, &entries, there)))
}

fn shape(path: &[Segment], form: &str) -> Fault {
    let span = Span::new(path[0].1.start, path[path.len() - 1].1.end);
    Fault::new(Code::Override, "an override sets one key")
        .at(span, "this is not one key")
        .help(format!("write `{form}`"))
}

fn parse_value<'t>(text: &'t Text, span: Span, raw: &mut BTreeSet<Span>) -> Result<Spanned<DeValue<'t>>, Fault> {
    let written = text.slice(span);
    if !written.trim_start().starts_with(['"', '\'']) {
        raw.insert(span);
        return Ok(Spanned::new(span.range(), DeValue::String(written.into())));
    }
    match DeValue::parse(written) {
        Ok(value) => Ok(tree::shifted(value, span.start)),
        Err(error) => {
            let message = "a value that starts with a quote must be a TOML string";
            Err(Fault::new(Code::Override, message).at(span, error.message()))
        }
    }
}

fn insert<'t>(root: &mut DeTable<'t>, path: &[Segment], value: Spanned<DeValue<'t>>) {
    let Some(((last, span), tables)) = path.split_last() else { return };
    let mut table = root;
    for (segment, span) in tables {
        let entry = table
            .entry(tree::key(segment, *span))
            .or_insert_with(|| Spanned::new(span.range(), DeValue::Table(DeTable::new())));
        match entry.get_mut() {
            DeValue::Table(inner) => table = inner,
            // The manifest has a value where a table belongs; that is reported on its own.
            _ => return,
        }
    }
    // Removed first, so that the key's place becomes the override's as well.
    table.remove(last.as_str());
    table.insert(tree::key(last, *span), value);
}
