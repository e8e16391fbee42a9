//! What makes a step stale: the list of its inputs, their hash, and the story of what changed.
//!
//! | value | in the key? | why |
//! |---|---|---|
//! | node kind and its REVISION | yes | a changed algorithm gives other bytes |
//! | load: fields | yes | they decide the records' columns |
//! | load: key | yes, where it is not `bibcode` | it decides which record a row is of |
//! | load: aliases | yes, where it is set | it decides a column of the records |
//! | load: records | yes, where it is set | it says where the records are |
//! | load: max_record_bytes | yes, where it is not the default | it decides which records are too long |
//! | load: where, sample, limit | yes, where they are set | they decide which records there are; `where` in its printed form |
//! | load: content digests of the source files, in order | yes | they are the input |
//! | load: paths, sizes, times of the source files | no | a moved or touched file is the same file |
//! | prepare: fields and delimiter, or template; prefix, suffix, list_delimiter, lowercase, truncate | yes | they make the text |
//! | prepare: clean, each step with its version | yes, where there is one | a step makes other text of the same value |
//! | prepare: truncate_at | yes, where it is not `character` | it decides where a text ends |
//! | embed: model files, graph, precision, prompt, pooling, normalize, max_length, dim, numerics class | yes | through the embedder's ingredients |
//! | embed: store_dtype | yes | it decides the bytes of the vectors table |
//! | embed: device | as the numerics class it resolves to | `auto` must not hide a change of hardware |
//! | embed: sessions, threads, max_batch_tokens | no | vectors do not depend on them: tests say so |
//! | embed: an API's identity, model, dim, tokenizer where texts are cut, extra fields | yes | through the embedder's ingredients |
//! | embed: an API's address, keys, pace, limits and prices | no | the same model behind another door gives the same vectors |
//! | embed: the model's path | no | its files' digests say what it is |
//! | persist: label, cells, dtype, dim where it is given | yes | the set's files carry them |
//! | persist: what the embed step says of its embedder | yes | the set's manifest states it |
//! | persist: the papers whose texts could not be embedded, where some were left out | yes | the set's manifest lists them |
//! | persist: dir | no | publishing is reconciled at every plan |
//! | merge: label, cells | yes | the set's files carry them |
//! | merge: view | yes, where it is one | a view has other files than a copy |
//! | merge: the manifest of each set that is merged, in order | yes | it names every file of the set by digest, and its embedder |
//! | merge: dir | no | as for persist |
//! | merge: dtype | no | it is that of the sets |
//! | digests of the upstream outputs a node **consumes** | yes | not their keys: an equal output stops the change there |
//!
//! Config structs are destructured without `..`, so a new field does not compile until somebody has decided.
//! Read next: `plan.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clean;
use crate::digest::{Digest, KeyHasher, NodeKey};
use crate::graph::{NodeKind, StepId};
use crate::manifest::config::{
    DEFAULT_KEY, DEFAULT_MAX_RECORD_BYTES, EmbedConfig, Layout, LoadConfig, MergeConfig, OnnxConfig, PersistConfig,
    PrepareConfig, TruncateAt,
};

/// The role of what a merge consumes.
const SET: &str = "set";
/// Changed sets that a reason names one by one.
const SETS_TOLD: usize = 4;

/// The revision of each node kind's algorithm. Raise it when the same inputs would give other bytes.
pub const fn revision(kind: NodeKind) -> u32 {
    match kind {
        NodeKind::Embed => 1,
        // 2: a line may hold several records; rows with too few cells and what is beside the records are set aside.
        NodeKind::Load => 2,
        // 2: a filled template ends without blanks, and what is cut to blanks is no text.
        NodeKind::Prepare => 2,
        // 2: key indexes hold every row that lists an alias. 3: every row has a check, and
        // manifests are sealed.
        NodeKind::Persist => 3,
        // 2: manifests are sealed.
        NodeKind::Merge => 2,
    }
}

/// Everything that decides a step's outputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The node's kind.
    pub kind: NodeKind,
    /// The revision of the kind's algorithm.
    pub revision: u32,
    /// Result-changing configuration: name -> value, as it is shown to people.
    pub config: BTreeMap<String, String>,
    /// Content digests of what is consumed, in order, each with the role it plays (`texts`, `source`).
    pub inputs: Vec<(String, Digest)>,
    /// Names for people, beside the inputs and the configuration: source paths, the model's path. Not in the key.
    pub names: BTreeMap<String, String>,
}

impl Fingerprint {
    /// The key of these inputs.
    pub fn key(&self) -> NodeKey {
        let Self { kind, revision, config, inputs, names: _ } = self;
        let mut hasher = KeyHasher::new("sciembed 2026 node key v1");
        hasher.text(&kind.to_string()).count(u64::from(*revision)).count(config.len() as u64);
        for (name, value) in config {
            hasher.text(name).text(value);
        }
        hasher.count(inputs.len() as u64);
        for (role, digest) in inputs {
            hasher.text(role).bytes(digest.as_bytes());
        }
        hasher.node_key()
    }

    /// Of a load step over these files, in order.
    pub fn of_load(config: &LoadConfig, sources: &[(String, Digest)]) -> Self {
        let LoadConfig { input, key, fields, aliases, records, max_record_bytes, missing: _, condition, sample, limit } =
            config;
        let mut fingerprint = Self::empty(NodeKind::Load);
        fingerprint.set("fields", list(fields));
        // Every record's key was `bibcode` once: those steps' keys stay what they were.
        if key != DEFAULT_KEY {
            fingerprint.set("key", quoted(key));
        }
        if let Some(aliases) = aliases {
            fingerprint.set("aliases", quoted(aliases));
        }
        if let Some(records) = records {
            fingerprint.set("records", quoted(records));
        }
        if *max_record_bytes != DEFAULT_MAX_RECORD_BYTES {
            fingerprint.set("max_record_bytes", max_record_bytes.to_string());
        }
        // In its printed form: spaces and parentheses that change nothing make no step stale.
        if let Some(condition) = condition {
            fingerprint.set("where", quoted(&condition.to_string()));
        }
        if let Some(sample) = sample {
            fingerprint.set("sample", sample.to_string());
        }
        if let Some(limit) = limit {
            fingerprint.set("limit", limit.to_string());
        }
        fingerprint.names.insert("input".into(), quoted(input));
        for (index, (name, digest)) in sources.iter().enumerate() {
            fingerprint.inputs.push(("source".into(), *digest));
            fingerprint.names.insert(format!("source {index}"), name.clone());
        }
        fingerprint
    }

    /// Of a prepare step over this records table.
    pub fn of_prepare(config: &PrepareConfig, records: Digest) -> Self {
        let PrepareConfig { layout, clean, prefix, suffix, list_delimiter, lowercase, truncate, truncate_at } = config;
        let mut fingerprint = Self::empty(NodeKind::Prepare);
        match layout {
            Layout::Fields { fields, delimiter } => {
                fingerprint.set("fields", list(fields));
                fingerprint.set("delimiter", quoted(delimiter));
            }
            Layout::Template(template) => fingerprint.set("template", quoted(template.text())),
        }
        // Nothing was cleaned once, and everything cut at a character: those steps' keys stay what they were.
        if !clean.is_empty() {
            fingerprint.set("clean", clean::versions(clean));
        }
        if *truncate_at != TruncateAt::Character {
            fingerprint.set("truncate_at", truncate_at.to_string());
        }
        fingerprint.set("prefix", quoted(prefix));
        fingerprint.set("suffix", quoted(suffix));
        fingerprint.set("list_delimiter", quoted(list_delimiter));
        fingerprint.set("lowercase", lowercase.to_string());
        fingerprint.set("truncate", truncate.to_string());
        fingerprint.inputs.push(("records".into(), records));
        fingerprint
    }

    /// Of an embed step over this texts table, under an embedder made of these ingredients.
    pub fn of_embed(config: &EmbedConfig, ingredients: &BTreeMap<String, String>, texts: Digest) -> Self {
        // All that decides a vector is in the ingredients, as it resolved.
        let EmbedConfig {
            model,
            max_length: _,
            pooling: _,
            normalize: _,
            prompt: _,
            query_prompt: _,
            dim: _,
            long: _,
            overlap: _,
            precision: _,
            graph: _,
            store_dtype,
            onnx,
            // What of it decides a vector is among the ingredients; the rest is pace and money.
            api: _,
        } = config;
        let OnnxConfig { device: _, provider: _, sessions: _, threads: _, max_batch_tokens: _ } = onnx;
        let mut fingerprint = Self::empty(NodeKind::Embed);
        fingerprint.config.clone_from(ingredients);
        fingerprint.set("store_dtype", store_dtype.to_string());
        fingerprint.inputs.push(("texts".into(), texts));
        fingerprint.names.insert("model".into(), quoted(model));
        fingerprint
    }

    /// Of a persist step over these vectors, the records that they come from, what is said of their embedder, and which
    /// rows were left out.
    pub fn of_persist(
        config: &PersistConfig,
        cells: &BTreeMap<String, String>,
        vectors: Digest,
        records: Digest,
        description: Digest,
        failed: Option<Digest>,
    ) -> Self {
        // Derived things are made of what is published.
        let PersistConfig { dir, label, dtype, dim, derived: _ } = config;
        let mut fingerprint = Self::empty(NodeKind::Persist);
        fingerprint.set("label", quoted(label));
        fingerprint.set("dtype", dtype.to_string());
        // Sets with all components are older: their keys stay what they were.
        if let Some(dim) = dim {
            fingerprint.set("dim", dim.to_string());
        }
        for (axis, value) in cells {
            fingerprint.set(&format!("cell {axis}"), quoted(value));
        }
        fingerprint.inputs.push(("vectors".into(), vectors));
        fingerprint.inputs.push(("records".into(), records));
        fingerprint.inputs.push(("description".into(), description));
        fingerprint.inputs.extend(failed.map(|failed| ("failed".into(), failed)));
        fingerprint.names.insert("dir".into(), quoted(dir));
        fingerprint
    }

    /// Of a merge step over these sets: the name and the manifest's digest of each, in order.
    pub fn of_merge(config: &MergeConfig, cells: &BTreeMap<String, String>, sets: &[(String, Digest)]) -> Self {
        let MergeConfig { dir, label, dtype: _, view, derived: _ } = config;
        let mut fingerprint = Self::empty(NodeKind::Merge);
        fingerprint.set("label", quoted(label));
        // Copies are older than views: their keys stay what they were.
        if *view {
            fingerprint.set("view", view.to_string());
        }
        for (axis, value) in cells {
            fingerprint.set(&format!("cell {axis}"), quoted(value));
        }
        for (index, (name, manifest)) in sets.iter().enumerate() {
            fingerprint.inputs.push((SET.into(), *manifest));
            fingerprint.names.insert(format!("{SET} {index}"), name.clone());
        }
        fingerprint.names.insert("dir".into(), quoted(dir));
        fingerprint
    }

    fn empty(kind: NodeKind) -> Self {
        Self { kind, revision: revision(kind), config: BTreeMap::new(), inputs: Vec::new(), names: BTreeMap::new() }
    }

    fn set(&mut self, name: &str, value: String) {
        self.config.insert(name.to_owned(), value);
    }

    /// What differs from an older fingerprint of the same step, in the order people look for it.
    pub fn changes_since(&self, old: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.revision != old.revision {
            changes.push(Change::new("node revision", Some(old.revision.to_string()), Some(self.revision.to_string())));
        }
        let names: BTreeSet<&String> = self.config.keys().chain(old.config.keys()).collect();
        for name in names {
            let (before, after) = (old.config.get(name), self.config.get(name));
            if before != after {
                changes.push(Change::new(name, before.cloned(), after.cloned()));
            }
        }
        changes.extend(if self.kind == NodeKind::Merge { self.set_changes(old) } else { self.input_changes(old) });
        if !changes.is_empty() && self.names.get("model") != old.names.get("model") {
            let change = Change::new("model", old.names.get("model").cloned(), self.names.get("model").cloned());
            changes.insert(0, change);
        }
        changes
    }

    fn input_changes(&self, old: &Self) -> Vec<Change> {
        let longest = self.inputs.len().max(old.inputs.len());
        let mut changes = Vec::new();
        for index in 0..longest {
            let (before, after) = (old.inputs.get(index), self.inputs.get(index));
            if before.map(|(_, digest)| digest) != after.map(|(_, digest)| digest) {
                let owner = if after.is_some() { self } else { old };
                let short = |input: Option<&(String, Digest)>| input.map(|(_, digest)| digest.short());
                changes.push(Change::new(&owner.input_name(index), short(before), short(after)));
            }
        }
        changes
    }

    /// As [`Self::input_changes`], but by name: a year that is new in front must not make all others look changed.
    fn set_changes(&self, old: &Self) -> Vec<Change> {
        let by_name = |of: &Self| -> BTreeMap<String, String> {
            of.inputs.iter().enumerate().map(|(at, (_, digest))| (of.input_name(at), digest.short())).collect()
        };
        let (before, after) = (by_name(old), by_name(self));
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let differing = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
        let changes: Vec<Change> =
            differing.map(|name| Change::new(name, before.get(name).cloned(), after.get(name).cloned())).collect();
        match changes.len() {
            0 if self.inputs != old.inputs => vec![Change::new("set order", None, None)],
            count if count > SETS_TOLD => {
                vec![Change::new(&format!("sets ({count} of {})", by_name(self).len()), None, None)]
            }
            _ => changes,
        }
    }

    /// The name of an input for people: a source's path, a set's name, or the role of an upstream output.
    fn input_name(&self, index: usize) -> String {
        let role = self.inputs.get(index).map_or("input", |(role, _)| role.as_str());
        match self.names.get(&format!("{role} {index}")) {
            Some(path) => format!("{role} {path}"),
            None => role.to_owned(),
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

fn list(values: &[String]) -> String {
    serde_json::to_string(values).expect("a list of strings is always JSON")
}

/// One input that differs: its name, and how it was and is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What differs: `prefix`, `texts`, `source 2010.json.gz`.
    pub what: String,
    /// How it was; none where it was not there. With none on both sides only the fact of a change is told.
    pub old: Option<String>,
    /// How it is; none where it is no longer there.
    pub new: Option<String>,
    /// Whether the old value was an override of an earlier run's command line.
    pub old_was_override: bool,
}

impl Change {
    fn new(what: &str, old: Option<String>, new: Option<String>) -> Self {
        Self { what: what.to_owned(), old, new, old_was_override: false }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if (&self.old, &self.new) == (&None, &None) {
            return write!(f, "{} changed", self.what);
        }
        let side = |value: &Option<String>| value.as_deref().map_or("(none)".to_owned(), shorten);
        let overridden = if self.old_was_override { " (by --set)" } else { "" };
        write!(f, "{} {}{} -> {}", self.what, side(&self.old), overridden, side(&self.new))
    }
}

/// Long values are cut in the middle, where prompts differ least; digests keep eight digits.
fn shorten(value: &str) -> String {
    const SHOWN: usize = 60;
    if value.len() == 2 * Digest::LEN && value.bytes().all(|b| b.is_ascii_hexdigit()) {
        return value[..8].to_owned();
    }
    let characters: Vec<char> = value.chars().collect();
    if characters.len() <= SHOWN {
        return value.to_owned();
    }
    let head: String = characters[..SHOWN / 2].iter().collect();
    let tail: String = characters[characters.len() - SHOWN / 2..].iter().collect();
    format!("{head}…{tail}")
}

/// Why a step must run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StaleReason {
    /// This workflow never applied this step, and the store holds no record of the same inputs.
    NeverApplied,
    /// Inputs differ from those last applied.
    Changed(Vec<Change>),
    /// The inputs are those last applied, but their record is gone from the store.
    RecordGone,
    /// A recorded output is missing from the store or has another size.
    OutputDamaged {
        /// The output's name.
        output: String,
    },
    /// It stands without rows that could not be embedded, which was accepted then and is not now.
    RowsFailed {
        /// How many rows.
        rows: u64,
    },
    /// The dataset's outputs are whole, but its directory does not show them.
    NotPublished {
        /// What the directory shows instead.
        fault: PublishFault,
    },
}

/// How a published directory differs from the set that it should show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishFault {
    /// Nothing is published under this name.
    Absent,
    /// Another set is published under this name.
    OtherSet {
        /// The first digits of the set that is shown.
        shown: String,
    },
    /// A file is missing.
    FileMissing {
        /// Its name.
        file: String,
    },
    /// A file has other content.
    FileDiffers {
        /// Its name.
        file: String,
    },
    /// A name that only an earlier set of the dataset had is there still: whoever published this one was killed.
    NameLeft {
        /// The name.
        file: String,
    },
}

impl fmt::Display for PublishFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => write!(f, "nothing is published yet"),
            Self::OtherSet { shown } => write!(f, "set {shown} is published instead"),
            Self::FileMissing { file } => write!(f, "published {file} is missing"),
            Self::FileDiffers { file } => write!(f, "published {file} was changed"),
            Self::NameLeft { file } => write!(f, "{file} of an earlier set is shown still"),
        }
    }
}

impl StaleReason {
    /// The reason in words, for a step of this identity: changed configuration is named by its full path.
    pub fn describe(&self, step: &StepId) -> String {
        match self {
            Self::NeverApplied => "never applied".to_owned(),
            Self::Changed(changes) => {
                let told: Vec<String> = changes.iter().map(|change| describe_change(step, change)).collect();
                told.join("; ")
            }
            Self::RecordGone => "its record is gone from the store".to_owned(),
            Self::OutputDamaged { output } => format!("{output} is missing or damaged in the store"),
            Self::RowsFailed { rows } => format!("{rows} rows failed and were left out: they are tried again"),
            Self::NotPublished { fault } => format!("publish only: {fault}"),
        }
    }
}

fn describe_change(step: &StepId, change: &Change) -> String {
    let roles = ["source", "records", "texts", "vectors", "description", "failed", SET];
    let is_input = roles.iter().any(|role| change.what.starts_with(role));
    if is_input { change.to_string() } else { format!("{}.{}.{change}", step.kind, step.node) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clean::Step;

    fn prepare(prefix: &str) -> PrepareConfig {
        PrepareConfig { prefix: prefix.into(), ..PrepareConfig::of(&["title"]) }
    }

    fn load(key: &str) -> LoadConfig {
        let fields = vec!["title".into()];
        let (input, key) = ("a/*.json".into(), key.into());
        LoadConfig {
            input,
            key,
            fields,
            aliases: None,
            records: None,
            max_record_bytes: DEFAULT_MAX_RECORD_BYTES,
            missing: Default::default(),
            condition: None,
            sample: None,
            limit: None,
        }
    }

    #[test]
    fn a_changed_prefix_is_told_with_old_and_new() {
        let old = Fingerprint::of_prepare(&prepare(""), Digest::of(b"r"));
        let new = Fingerprint::of_prepare(&prepare("You are an astrophysicist. "), Digest::of(b"r"));
        assert_ne!(old.key(), new.key());
        let id = StepId { kind: NodeKind::Prepare, node: "texts".into(), cells: BTreeMap::new() };
        let reason = StaleReason::Changed(new.changes_since(&old));
        assert_eq!(reason.describe(&id), r#"prepare.texts.prefix "" -> "You are an astrophysicist. ""#);
    }

    #[test]
    fn paths_of_sources_are_named_but_enter_no_key() {
        let config = load("bibcode");
        let here = Fingerprint::of_load(&config, &[("a/x.json".into(), Digest::of(b"x"))]);
        let there = Fingerprint::of_load(&config, &[("b/x.json".into(), Digest::of(b"x"))]);
        let edited = Fingerprint::of_load(&config, &[("b/x.json".into(), Digest::of(b"y"))]);
        assert_eq!(here.key(), there.key());
        assert_ne!(here.key(), edited.key());
        assert_eq!(edited.changes_since(&here)[0].what, "source b/x.json");
    }

    /// Every value that the table above calls result-changing changes the key.
    #[test]
    fn each_prepare_field_enters_the_key() {
        let key = |config: &PrepareConfig| Fingerprint::of_prepare(config, Digest::of(b"r")).key();
        let base = prepare("");
        let variants = [
            PrepareConfig::of(&["abstract"]),
            PrepareConfig {
                layout: Layout::Fields { fields: vec!["title".into()], delimiter: "p".into() },
                ..base.clone()
            },
            PrepareConfig { clean: vec![Step::Html, Step::Whitespace], ..base.clone() },
            PrepareConfig { clean: vec![Step::Whitespace, Step::Html], ..base.clone() },
            PrepareConfig { truncate_at: TruncateAt::Word, ..base.clone() },
            PrepareConfig { prefix: "p".into(), ..base.clone() },
            PrepareConfig { suffix: "p".into(), ..base.clone() },
            PrepareConfig { list_delimiter: "p".into(), ..base.clone() },
            PrepareConfig { lowercase: true, ..base.clone() },
            PrepareConfig { truncate: 1, ..base.clone() },
        ];
        let keys: BTreeSet<_> = variants.iter().chain([&base]).map(key).collect();
        assert_eq!(keys.len(), variants.len() + 1);
    }

    /// A key of another name is told and changes the step; the default is as if no load had ever had a choice.
    #[test]
    fn the_key_field_of_a_load_enters_where_it_is_not_the_default() {
        let of = |key: &str| Fingerprint::of_load(&load(key), &[("a/x.json".into(), Digest::of(b"x"))]);
        let (old, new) = (of("bibcode"), of("_id"));
        assert_eq!(old.key().to_string(), "01dece0f0906f6a2121458f717560c4f64d4cfd587ff5af5ccce2bdc76e2ade4");
        assert_ne!(old.key(), new.key());
        let id = StepId { kind: NodeKind::Load, node: "records".into(), cells: BTreeMap::new() };
        let reason = StaleReason::Changed(new.changes_since(&old));
        assert_eq!(reason.describe(&id), r#"load.records.key (none) -> "_id""#);
    }

    #[test]
    fn the_aliases_of_a_load_enter_where_they_are_set() {
        let of = |aliases: Option<&str>| {
            let config = LoadConfig { aliases: aliases.map(str::to_owned), ..load("bibcode") };
            Fingerprint::of_load(&config, &[("a/x.json".into(), Digest::of(b"x"))])
        };
        let keys: BTreeSet<_> = [None, Some("identifier"), Some("alternate_bibcode")].map(|of_| of(of_).key()).into();
        assert_eq!(keys.len(), 3);
        assert_eq!(of(None).key().to_string(), "01dece0f0906f6a2121458f717560c4f64d4cfd587ff5af5ccce2bdc76e2ade4");
        let id = StepId { kind: NodeKind::Load, node: "records".into(), cells: BTreeMap::new() };
        let reason = StaleReason::Changed(of(Some("identifier")).changes_since(&of(None)));
        assert_eq!(reason.describe(&id), r#"load.records.aliases (none) -> "identifier""#);
    }

    /// Which records are taken enters where it is said; how a condition is written does not.
    #[test]
    fn the_selection_of_a_load_enters_where_it_is_set() {
        use crate::condition::{Condition, Fraction};
        let of = |change: &dyn Fn(&mut LoadConfig)| {
            let mut config = load("bibcode");
            change(&mut config);
            Fingerprint::of_load(&config, &[("a/x.json".into(), Digest::of(b"x"))])
        };
        let condition = |text: &str| {
            let condition = Condition::parse(text).unwrap();
            of(&move |config| config.condition = Some(condition.clone()))
        };
        let base = of(&|_| {});
        let all = [
            base.clone(),
            condition("year >= 2010"),
            condition("year >= 2011"),
            of(&|config| config.sample = Fraction::new(0.5)),
            of(&|config| config.sample = Fraction::new(0.25)),
            of(&|config| config.limit = std::num::NonZeroU64::new(5)),
            of(&|config| config.limit = std::num::NonZeroU64::new(6)),
        ];
        let keys: BTreeSet<_> = all.iter().map(Fingerprint::key).collect();
        assert_eq!(keys.len(), all.len());
        assert_eq!(base.key().to_string(), "01dece0f0906f6a2121458f717560c4f64d4cfd587ff5af5ccce2bdc76e2ade4");
        assert_eq!(condition("(year>=2010)").key(), all[1].key());
        let told: Vec<String> = all[1..].iter().map(|new| new.changes_since(&base)[0].to_string()).collect();
        assert_eq!(told[0], r#"where (none) -> "year >= 2010""#);
        assert_eq!((told[2].as_str(), told[4].as_str()), ("sample (none) -> 0.5", "limit (none) -> 5"));
    }

    #[test]
    fn one_node_key_is_pinned() {
        let key = Fingerprint::of_prepare(&prepare(""), Digest::of(b"r")).key();
        assert_eq!(key.to_string(), "21d17999bc98b0a1a283a418bb88378e8b6fad2faf8bc37af8a6c8439c440a05");
    }
}
