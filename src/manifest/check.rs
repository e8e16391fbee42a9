//! Checks of one section by itself: version, names, empty values, lists.
//!
//! What needs two nodes to be judged is in `graph/`.

use std::collections::BTreeMap;

use super::api::is_variable;
use super::config::{AddressFault, DEFAULT_KEY, Device, Exports, Long, server_address};
use super::fault::{Code, Fault};
use super::parse::Reading;
use super::spec::{Embed, Load, Prepare, VERSION, Workflow};
use super::text::{Span, Text};
use crate::condition::Condition;

/// Columns that the records table has besides the fields; see `table`.
const RESERVED_COLUMNS: [&str; 4] = ["_metadata_digest", "_source", "_line", "_aliases"];

/// Reports what is wrong within single sections.
pub(crate) fn check(workflow: &Workflow, reading: &Reading, text: &Text, faults: &mut Vec<Fault>) {
    let mut check = Check { reading, text, faults };
    check.version(workflow.version);
    check.name(&["name"], &workflow.name, "the workflow", true);
    check.filled(&["store"], &workflow.store);
    for (name, load) in &workflow.load {
        check.node("load", name);
        check.filled(&["load", name, "input"], &load.input);
        check.filled(&["load", name, "key"], &load.key);
        check.list(&["load", name, "fields"], "field", &load.fields);
        check.key_apart(name, load);
        check.paths(name, load);
        check.aliases(name, load);
        check.condition(name, load);
    }
    for (name, prepare) in &workflow.prepare {
        check.node("prepare", name);
        check.list(&["prepare", name, "fields"], "field", prepare.fields.as_deref().unwrap_or_default());
        check.layout(name, prepare);
        check.distinct(&["prepare", name, "clean"], &prepare.clean.iter().map(|step| step.name()).collect::<Vec<_>>());
    }
    for (name, embed) in &workflow.embed {
        check.node("embed", name);
        check.filled(&["embed", name, "model"], &embed.model);
        check.overlap(name, embed);
        check.provider(name, embed);
    }
    for (name, persist) in &workflow.persist {
        check.node("persist", name);
        check.filled(&["persist", name, "dir"], &persist.dir);
        check.label(&["persist", name, "label"], persist.label.as_deref());
        check.exports(&["persist", name, "export"], &persist.export);
    }
    for (name, merge) in &workflow.merge {
        check.node("merge", name);
        check.list(&["merge", name, "across"], "axis", &merge.across);
        check.filled(&["merge", name, "dir"], &merge.dir);
        check.label(&["merge", name, "label"], merge.label.as_deref());
        check.exports(&["merge", name, "export"], &merge.export);
    }
}

/// Whether a word can be the name of a node, a label or a workflow: it becomes part of file names.
pub(crate) fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    // File systems take 255 bytes a name, and a published name holds label, cells, kind and ending.
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(allowed)
        && !name.contains("..")
}

/// Longest name, in bytes.
const MAX_NAME_BYTES: usize = 100;

/// What [`is_name`] asks for, as help.
pub(crate) const NAME_FORM: &str =
    "letters, digits, `_`, `.` and `-`, 100 at most; a letter or digit first, and no `..`";

/// The fault of a label that was written at `span`.
pub(crate) fn bad_label(label: &str, span: Span) -> Fault {
    Fault::new(Code::InvalidName, format!("`{label}` cannot be the label of a dataset"))
        .at(span, "cannot be part of a file name")
        .help(NAME_FORM)
}

struct Check<'a> {
    reading: &'a Reading,
    text: &'a Text,
    faults: &'a mut Vec<Fault>,
}

impl Check<'_> {
    fn version(&mut self, version: u32) {
        let Some(span) = self.reading.places.value(&["version"]) else { return };
        if version != VERSION {
            self.faults.push(
                Fault::new(Code::Version, format!("the manifest is of version {version}"))
                    .at(span, format!("this program reads version {VERSION}")),
            );
        }
    }

    fn node(&mut self, section: &str, name: &str) {
        self.name(&[section, name], name, "a node", false);
    }

    fn name(&mut self, path: &[&str], name: &str, what: &str, in_value: bool) {
        let Some(place) = self.reading.places.get(path) else { return };
        if !is_name(name) {
            let span = if in_value { place.value } else { place.key };
            let fault = Fault::new(Code::InvalidName, format!("`{name}` cannot name {what}")).at(span, "not a name");
            self.faults.push(fault.help(NAME_FORM));
        }
    }

    /// A label with braces is judged in `graph/`, once they are filled in.
    fn label(&mut self, path: &[&str], label: Option<&str>) {
        let Some(label) = label.filter(|label| !label.contains(['{', '}'])) else { return };
        let Some(span) = self.reading.places.value(path) else { return };
        if !is_name(label) {
            self.faults.push(bad_label(label, span));
        }
    }

    fn filled(&mut self, path: &[&str], value: &str) {
        let Some(span) = self.reading.places.value(path) else { return };
        if value.trim().is_empty() {
            let message = format!("`{}` is empty", path.join("."));
            self.faults.push(Fault::new(Code::InvalidValue, message).at(span, "empty"));
        }
    }

    /// A path has a name before, between and behind its dots, and a record may have some bytes.
    fn paths(&mut self, node: &str, load: &Load) {
        let of = |key| self.reading.places.value(&["load", node, key]);
        let single = [("key", Some(&load.key)), ("records", load.records.as_ref()), ("aliases", load.aliases.as_ref())];
        let single = single.into_iter().filter_map(|(key, path)| Some((path?, of(key)?)));
        let fields = load.fields.iter().enumerate();
        let fields = fields.filter_map(|(n, field)| Some((field, self.element(&["load", node, "fields"], n)?)));
        let bad =
            |(path, _): &(&String, Span)| path.contains('.') && path.split('.').any(|name| name.trim().is_empty());
        let mut faults: Vec<Fault> = Vec::new();
        for (path, span) in single.chain(fields).filter(bad) {
            let message = format!("`{path}` is no path: names stand on both sides of each dot");
            faults.push(Fault::new(Code::InvalidValue, message).at(span, "a name is missing"));
        }
        if let Some(span) = of("records").filter(|_| load.records.as_ref().is_some_and(|path| path.trim().is_empty())) {
            let fault = Fault::new(Code::InvalidValue, format!("`load.{node}.records` is empty")).at(span, "empty");
            faults.push(fault.help("leave it out where each record stands by itself".to_owned()));
        }
        if let Some(span) = of("max_record_bytes").filter(|_| load.max_record_bytes == 0) {
            let message = format!("`load.{node}.max_record_bytes` lets no record pass");
            faults.push(Fault::new(Code::InvalidValue, message).at(span, "at least 1"));
        }
        self.faults.extend(faults);
    }

    /// No field is the key, nor has the name of the key's column: every record has them.
    fn key_apart(&mut self, node: &str, load: &Load) {
        for (n, field) in load.fields.iter().enumerate() {
            let Some(span) = self.element(&["load", node, "fields"], n) else { continue };
            if *field == load.key {
                let message = format!("`{field}` is always kept and is not listed");
                self.faults.push(Fault::new(Code::InvalidValue, message).at(span, "the key of every record"));
            } else if field == DEFAULT_KEY {
                let message = format!("`{field}` is the name of the key's column, which `{}` fills", load.key);
                let fault = Fault::new(Code::InvalidValue, message).at(span, "the name is taken");
                self.faults.push(fault.help(format!("leave it out, or read the key from it: `key = \"{field}\"`")));
            }
        }
    }

    /// A paper's own bibcode is no alias of it.
    fn aliases(&mut self, node: &str, load: &Load) {
        let (Some(field), path) = (&load.aliases, ["load", node, "aliases"]) else { return };
        self.filled(&path, field);
        let Some(span) = self.reading.places.value(&path).filter(|_| *field == load.key) else { return };
        let message = format!("`{field}` is the key of a record, and cannot list its aliases");
        let fault = Fault::new(Code::InvalidValue, message).at(span, "the key of every record");
        self.faults.push(fault.help("name the field with the other bibcodes of a paper, such as `identifier`"));
    }

    /// A `where` is read here for its mistakes, which are told at the very word, and again where steps are made.
    fn condition(&mut self, node: &str, load: &Load) {
        let (Some(condition), path) = (&load.condition, ["load", node, "where"]) else { return };
        let Some(span) = self.reading.places.value(&path) else { return };
        if condition.trim().is_empty() {
            return self.filled(&path, condition);
        }
        let Err(error) = Condition::parse(condition) else { return };
        let place = match self.text.start_of(span, condition) {
            Some(start) => Span::from(error.span()).shift(start),
            None => span,
        };
        let message = format!("`load.{node}.where` is no condition");
        self.faults.push(Fault::new(Code::Condition, message).at(place, error.to_string()).help(error.remedy()));
    }

    /// A text is made of fields one after the other, or by a template that has its own text between them.
    fn layout(&mut self, node: &str, prepare: &Prepare) {
        let (head, places) = (["prepare", node], &self.reading.places);
        let key = |key: &str| places.key(&["prepare", node, key]);
        if let Some(template) = key("template") {
            let both = |message: String, at: Span| {
                Fault::new(Code::InvalidValue, message).at(at, "not beside a template").at(template, "the template")
            };
            let fields = key("fields").map(|at| {
                let message = format!("`prepare.{node}` has both `fields` and `template`");
                both(message, at).help("keep one: a template names its fields, such as `{title}`")
            });
            let delimiter = key("delimiter").map(|at| {
                let message = format!("`prepare.{node}` has both `delimiter` and `template`");
                both(message, at).help("write it into the template, between the fields")
            });
            return self.faults.extend(fields.into_iter().chain(delimiter));
        }
        let lost = ["fields", "template"].iter().any(|key| self.reading.damaged(&["prepare", node, key]));
        if let (None, false, Some(at)) = (&prepare.fields, lost, places.key(&head)) {
            let fault =
                Fault::new(Code::MissingKey, format!("`prepare.{node}` has no `fields`")).at(at, "needs `fields`");
            self.faults.push(fault.help("or a `template`, such as `\"{title} [SEP] {abstract}\"`"));
        }
    }

    /// Windows overlap where there are any.
    fn overlap(&mut self, node: &str, embed: &Embed) {
        let Some(span) = self.reading.places.key(&["embed", node, "overlap"]) else { return };
        if embed.long != Long::Mean && !self.reading.damaged(&["embed", node, "long"]) {
            let message = format!("`embed.{node}` has `overlap` without `long = \"mean\"`");
            let fault = Fault::new(Code::InvalidValue, message).at(span, "there are no windows that could overlap");
            self.faults.push(fault.help("write `long = \"mean\"`, or leave `overlap` out"));
        }
    }

    /// There are GPUs, where it is said what drives them.
    fn provider(&mut self, node: &str, embed: &Embed) {
        let Some(span) = self.reading.places.key(&["embed", node, "onnx", "provider"]) else { return };
        if !matches!(embed.onnx.device, Device::Cuda(_)) && !self.reading.damaged(&["embed", node, "onnx", "device"]) {
            let message = format!("`embed.{node}.onnx` has `provider` without a `cuda` device");
            let fault = Fault::new(Code::InvalidValue, message).at(span, "there is no GPU that it could drive");
            self.faults.push(fault.help("write `device = \"cuda\"`, or leave `provider` out"));
        }
    }

    /// Folders, addresses and fields of exports.
    fn exports(&mut self, path: &[&str], exports: &Exports) {
        let mut dirs: BTreeMap<String, Span> = BTreeMap::new();
        for export in exports.each() {
            let of = |key| [path, &[export.format(), key]].concat();
            if let (Some(dir), Some(span)) = (export.dir(), self.reading.places.value(&of("dir"))) {
                let same = dirs.insert(dir.trim_end_matches('/').to_owned(), span);
                self.faults.extend(same.map(|first| {
                    let message = format!("two exports of `{}` go to one folder", path[..2].join("."));
                    let fault =
                        Fault::new(Code::DuplicateValue, message).at(span, "the second one").at(first, "the first one");
                    fault.help("each would replace the other's files: give each a folder of its own")
                }));
            }
            if let (Some(name), Some(span)) = (export.clash(), self.reading.places.value(&of("fields"))) {
                let message = format!("`{name}` is a name that the export gives itself");
                self.faults.push(Fault::new(Code::InvalidValue, message).at(span, "it would be there twice"));
            }
            if let Some(dir) = export.dir() {
                self.filled(&of("dir"), dir);
            }
            if let Some(server) = export.server() {
                self.address(&of("url"), &server.url);
                self.variable(&of("api_key_env"), server.api_key_env.as_deref());
            }
            if !export.fields().is_empty() {
                self.list(&of("fields"), "field", export.fields());
            }
        }
    }

    /// What is no name is a key written by mistake: it is not repeated.
    fn variable(&mut self, path: &[&str], name: Option<&str>) {
        let Some(span) = self.reading.places.value(path).filter(|_| name.is_some_and(|name| !is_variable(name))) else {
            return;
        };
        let message = format!("`{}` is not the name of an environment variable", path.join("."));
        let fault = Fault::new(Code::InvalidValue, message).at(span, "nothing secret stands in a workflow");
        self.faults.push(fault.help("put the key into a variable, and name that: `api_key_env = \"QDRANT_API_KEY\"`"));
    }

    fn address(&mut self, path: &[&str], url: &str) {
        let Some(span) = self.reading.places.value(path) else { return };
        let fault = |message: &str, label: &str| Fault::new(Code::InvalidValue, message).at(span, label);
        self.faults.extend(match server_address(url) {
            Ok(()) => None,
            Err(AddressFault::Secret) => Some(
                fault("an address that holds a name or password", "nothing secret stands in a workflow")
                    .help("name the environment variable that holds the key: `api_key_env = \"QDRANT_API_KEY\"`"),
            ),
            Err(AddressFault::NoAddress) => Some(
                fault(&format!("`{url}` is no address of a server"), "not an address")
                    .help("such as \"http://localhost:6333\""),
            ),
        });
    }

    /// No word is in a list twice.
    fn distinct(&mut self, path: &[&str], words: &[&str]) {
        let mut seen = BTreeMap::new();
        for (n, word) in words.iter().enumerate() {
            let Some(span) = self.element(path, n) else { continue };
            if let Some(first) = seen.insert(word, span) {
                let message = format!("`{word}` is twice in `{}`", path.join("."));
                let fault = Fault::new(Code::DuplicateValue, message).at(span, "the second time");
                self.faults.push(fault.at(first, "the first time"));
            }
        }
    }

    /// Where an element of a list was written, or the list itself.
    fn element(&self, list: &[&str], n: usize) -> Option<Span> {
        let places = &self.reading.places;
        places.value(&[list, &[&n.to_string()]].concat()).or_else(|| places.value(list))
    }

    /// A list of distinct words: fields, or axes.
    fn list(&mut self, path: &[&str], what: &str, words: &[String]) {
        let (whole_name, key) = (path.join("."), path.last().copied().unwrap_or_default());
        let Some(whole) = self.reading.places.value(path) else { return };
        if words.is_empty() && !self.reading.damaged(path) {
            let message = format!("`{whole_name}` is empty");
            self.faults.push(Fault::new(Code::InvalidValue, message).at(whole, format!("list at least one {what}")));
        }
        for (n, word) in words.iter().enumerate() {
            let span = self.element(path, n).unwrap_or(whole);
            if word.trim().is_empty() {
                let message = format!("an empty {what} name in `{whole_name}`");
                self.faults.push(Fault::new(Code::InvalidValue, message).at(span, "empty"));
            }
            if key == "fields" && RESERVED_COLUMNS.contains(&word.as_str()) {
                let message = format!("`{word}` is the name of a column that load makes itself");
                self.faults.push(Fault::new(Code::InvalidValue, message).at(span, "reserved"));
            }
        }
        self.distinct(path, &words.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_file_names() {
        for name in ["minilm", "all-MiniLM-L6-v2", "7b", "a_b.c"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".hidden", "a/b", "a..b", "-x", "_x", "é", "a b"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
