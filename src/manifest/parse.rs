//! From text to the structs of `spec.rs`, finding every fault on the way.
//!
//! serde stops at the first error. So the tree is peeled: the entry that serde refuses is reported and taken out, and
//! the rest is read again, until all of it reads. What a required key should have said is filled with a stand-in, so
//! that one missing key does not hide the faults that come after it; stand-ins have no place, and nobody judges them.

use std::collections::BTreeSet;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, ValueDeserializer};

use super::fault::{Code, Fault};
use super::overrides;
use super::spec::Workflow;
use super::suggestion::nearest;
use super::text::{Span, Text};
use super::tree::{self, Path, Places};
use super::wording::Complaint;

/// The sections whose entries are nodes.
pub(crate) const NODE_SECTIONS: [&str; 5] = ["load", "prepare", "embed", "persist", "merge"];

/// Spans from here on are stand-ins: no text is this long.
const NOWHERE: usize = usize::MAX / 2;

/// What was read, and all that was wrong with it.
#[derive(Debug)]
pub(crate) struct Reading {
    /// Absent when the text is so broken that nothing further can be said about it.
    pub workflow: Option<Workflow>,
    pub places: Places,
    pub faults: Vec<Fault>,
    /// The entries that were taken out: what depends on them cannot be judged.
    pub removed: BTreeSet<Path>,
}

impl Reading {
    /// Whether something at or below the path was taken out, so that what is left does not tell the whole.
    pub fn damaged(&self, path: &[&str]) -> bool {
        let below = |removed: &Path| removed.iter().zip(path).filter(|(a, b)| a == b).count();
        self.removed.iter().any(|removed| below(removed) == path.len().min(removed.len()))
    }
}

/// Syntax faults told at once.
const MAX_SYNTAX_FAULTS: usize = 3;

/// Reads the combined text.
pub(crate) fn read(text: &Text) -> Reading {
    let (root, errors) = DeTable::parse_recoverable(text.manifest());
    // After the first slip the parser guesses: of a file that is no TOML at all it would tell every line.
    let syntax: Vec<Fault> = errors.iter().take(MAX_SYNTAX_FAULTS).map(|error| syntax_fault(text, error)).collect();
    let mut peeler = Peeler::new(text, root.into_inner());
    overrides::apply(text, &mut peeler.root, &mut peeler.raw, &mut peeler.faults);
    let workflow = peeler.peel();
    if !syntax.is_empty() {
        let faults = beside(text, syntax, peeler.faults);
        return Reading { workflow: None, places: Places::default(), faults, removed: peeler.removed };
    }
    let places = Places::of(&peeler.root, |span| span.start < NOWHERE);
    Reading { workflow, places, faults: peeler.faults, removed: peeler.removed }
}

fn syntax_fault(text: &Text, error: &toml::de::Error) -> Fault {
    let span = visible(text, error.span().map_or(Span::new(0, 0), Span::from));
    if error.message() == "duplicate key" {
        let key = text.slice(span);
        return Fault::new(Code::Syntax, format!("`{key}` is written twice")).at(span, "the second time");
    }
    let label = error.message().trim_end_matches(", expected nothing");
    Fault::new(Code::Syntax, "the manifest is not TOML here").at(span, label)
}

/// The span, or the last character where it lies behind the end and no caret could stand.
fn visible(text: &Text, span: Span) -> Span {
    let manifest = text.manifest();
    match manifest.char_indices().next_back() {
        Some((last, _)) if span.start >= manifest.len() => Span::new(last, manifest.len()),
        _ => span,
    }
}

/// The syntax faults, and of the others those that a slip in the syntax cannot have caused: what is missing may stand
/// on a line that could not be read, and a value on such a line may be cut short.
fn beside(text: &Text, mut syntax: Vec<Fault>, others: Vec<Fault>) -> Vec<Fault> {
    let line = |fault: &Fault| text.manifest()[..fault.span().start].matches('\n').count();
    // What follows the first slip on a line is mostly its echo.
    syntax.sort_by_key(Fault::span);
    syntax.dedup_by_key(|fault| line(fault));
    let broken: BTreeSet<usize> = syntax.iter().map(line).collect();
    let independent = |fault: &Fault| {
        text.piece(fault.span()) != 0
            || (fault.code != Code::MissingKey && fault.span() != Span::new(0, 0) && !broken.contains(&line(fault)))
    };
    let others: Vec<Fault> = others.into_iter().filter(independent).collect();
    syntax.into_iter().chain(others).collect()
}

struct Peeler<'t> {
    text: &'t Text,
    root: DeTable<'t>,
    /// Values of overrides that were taken as plain strings and may turn out to be something else.
    raw: BTreeSet<Span>,
    stand_ins: usize,
    removed: BTreeSet<Path>,
    faults: Vec<Fault>,
}

impl<'t> Peeler<'t> {
    fn new(text: &'t Text, root: DeTable<'t>) -> Self {
        Self { text, root, raw: BTreeSet::new(), stand_ins: 0, removed: BTreeSet::new(), faults: Vec::new() }
    }

    /// Every turn takes out, converts or fills in one entry, so this ends.
    fn peel(&mut self) -> Option<Workflow> {
        loop {
            self.straighten();
            let whole = Spanned::new(0..0, DeValue::Table(self.root.clone()));
            let error = match Workflow::deserialize(ValueDeserializer::from(whole)) {
                Ok(workflow) => return Some(workflow),
                Err(error) => error,
            };
            let span = error.span().map_or(Span::new(0, 0), Span::from);
            if !self.settle(&Complaint::read(error.message()), span) {
                self.faults.push(Fault::new(Code::InvalidValue, error.message().to_owned()).at(span, "here"));
                return None;
            }
        }
    }

    /// Takes out what is no table and should be: serde would read a list as a struct, field by field.
    fn straighten(&mut self) {
        for section in NODE_SECTIONS {
            let path = vec![section.to_owned()];
            let head = format!("`{section}` must be a table of nodes");
            self.want_table(&path, &head, &format!("write `[{section}.NAME]`"));
            for node in self.keys(&path) {
                let path = vec![section.to_owned(), node.clone()];
                let head = format!("`{section}.{node}` is no node");
                let help = format!("keys belong to a node, and a node has a name: `[{section}.NAME]`");
                if !self.want_table(&path, &head, &help) {
                    self.take_out_strays(section);
                }
                if section == "embed" {
                    for table in ["onnx", "api"] {
                        let head = format!("`embed.{node}.{table}` must be a table");
                        let path = [&path[..], &[table.to_owned()]].concat();
                        self.want_table(&path, &head, &format!("write `[embed.{node}.{table}]`"));
                    }
                }
            }
        }
    }

    fn keys(&mut self, path: &Path) -> Vec<String> {
        let table = tree::table_mut(&mut self.root, path);
        table.map(|table| table.keys().map(|key| key.get_ref().to_string()).collect()).unwrap_or_default()
    }

    /// Reports and takes out what is there and is no table.
    fn want_table(&mut self, path: &Path, message: &str, help: &str) -> bool {
        let Some(value) = tree::value_mut(&mut self.root, path) else { return true };
        let span = Span::from(value.span());
        if value.get_ref().is_table() || self.unfold(path, span) {
            return true;
        }
        let tables = self.text.slice(span).starts_with("[[");
        let (label, help) =
            if tables { ("a list of tables", "write it in single brackets") } else { ("a value", help) };
        self.faults.push(Fault::new(Code::WrongType, message).at(span, label).help(help));
        self.take_out(path);
        false
    }

    /// Takes out the other keys that stand in a section without a node: one fault says it for all.
    fn take_out_strays(&mut self, section: &str) {
        for key in self.keys(&vec![section.to_owned()]) {
            let path = vec![section.to_owned(), key];
            let stray = tree::value_mut(&mut self.root, &path).is_some_and(|value| !value.get_ref().is_table());
            if stray {
                self.take_out(&path);
            }
        }
    }

    fn settle(&mut self, complaint: &Complaint, span: Span) -> bool {
        if let Complaint::Missing { key } = complaint {
            return self.stand_in(complaint, key, span);
        }
        let Some(path) = tree::find(&self.root, span) else { return false };
        if span.start >= NOWHERE {
            return self.next_stand_in(&path);
        }
        if self.unfold(&path, span) {
            return true;
        }
        let written = self.as_written(&path);
        if !self.was_emptied(&path, &written) {
            self.faults.push(complaint.fault(&written, span));
        }
        match complaint {
            Complaint::Unknown { key, allowed } if self.rename(&path, key, allowed) => true,
            _ => self.take_out(&path),
        }
    }

    /// Whether all that stood in a table was taken out: then that it holds nothing is no fault of its own.
    fn was_emptied(&mut self, path: &Path, written: &Path) -> bool {
        let is_empty = tree::table_mut(&mut self.root, path).is_some_and(|table| table.is_empty());
        is_empty && self.removed.iter().any(|gone| gone.len() > written.len() && gone.starts_with(written))
    }

    fn take_out(&mut self, path: &Path) -> bool {
        let written = self.as_written(path);
        self.removed.insert(written);
        tree::remove(&mut self.root, path)
    }

    /// The path by which an entry was written: elements of a list that were taken out stood before others.
    fn as_written(&mut self, path: &Path) -> Path {
        let Some((last, list)) = path.split_last() else { return path.clone() };
        let is_list = tree::value_mut(&mut self.root, list).is_some_and(|value| value.get_ref().is_array());
        let (true, Ok(mut number)) = (is_list, last.parse::<usize>()) else { return path.clone() };
        let gone = self.removed.iter().filter(|gone| gone.len() == path.len() && gone.starts_with(list));
        let mut gone: Vec<usize> = gone.filter_map(|gone| gone.last()?.parse().ok()).collect();
        gone.sort_unstable();
        gone.iter().for_each(|gone| number += usize::from(*gone <= number));
        [list, &[number.to_string()]].concat()
    }

    /// Moves a misspelt key to where it was meant, so that what it says is read as well.
    fn rename(&mut self, path: &Path, key: &str, allowed: &[String]) -> bool {
        let Some((_, parent)) = path.split_last() else { return false };
        let Some(meant) = nearest(key, allowed.iter().map(String::as_str)) else { return false };
        let Some(table) = tree::table_mut(&mut self.root, parent) else { return false };
        if table.contains_key(meant) {
            return false;
        }
        let Some((old, value)) = table.remove_entry(key) else { return false };
        table.insert(tree::key(meant, old.span().into()), value);
        true
    }

    /// Reads the value of an override as TOML, if so far it was only taken as a string.
    fn unfold(&mut self, path: &Path, span: Span) -> bool {
        if !self.raw.remove(&span) {
            return false;
        }
        let text: &'t Text = self.text;
        let Ok(parsed) = DeValue::parse(text.slice(span)) else { return false };
        let Some(value) = tree::value_mut(&mut self.root, path) else { return false };
        *value = tree::shifted(parsed, span.start);
        true
    }

    fn stand_in(&mut self, complaint: &Complaint, key: &str, head: Span) -> bool {
        let path = tree::find(&self.root, head).unwrap_or_default();
        let whole = [path.as_slice(), &[key.to_owned()]].concat();
        if !self.removed.contains(&whole) {
            self.faults.push(complaint.fault(&path, head));
            self.removed.insert(whole);
        }
        self.stand_ins += 1;
        let nowhere = Span::new(NOWHERE + self.stand_ins, NOWHERE + self.stand_ins);
        let Some(table) = tree::table_mut(&mut self.root, &path) else { return false };
        let value = Spanned::new(nowhere.range(), DeValue::String("".into()));
        table.insert(tree::key(key, nowhere), value).is_none()
    }

    /// The key is no string: a list then, or at last a number.
    fn next_stand_in(&mut self, path: &Path) -> bool {
        let Some(value) = tree::value_mut(&mut self.root, path) else { return false };
        let next = match value.get_ref() {
            DeValue::String(_) => DeValue::Array(DeArray::new()),
            DeValue::Array(_) => DeValue::Integer(toml::de::DeInteger::default()),
            _ => return false,
        };
        *value.get_mut() = next;
        true
    }
}
