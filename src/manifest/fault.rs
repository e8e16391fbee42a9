//! What can be wrong with a manifest, and how it is told.
//!
//! A [`Fault`] is found anywhere in reading or resolving; its spans count in the combined text of manifest and
//! overrides (`text.rs`). [`Faults`] is what leaves the library: every fault, sorted, each seen in its own source. It
//! carries miette's traits and nothing of its rendering, which is the business of `cli/`.

use std::fmt;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, Severity, SourceCode};

use super::text::{Span, Text};

/// The kind of a fault. Its text is stable: scripts may match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The text is not TOML.
    Syntax,
    /// A key or section that the manifest does not have.
    UnknownKey,
    /// A required key is not there.
    MissingKey,
    /// A value of the wrong type.
    WrongType,
    /// A value of the right type that is not allowed.
    InvalidValue,
    /// The manifest is of a version that this program does not read.
    Version,
    /// A name or label that cannot be part of a file name.
    InvalidName,
    /// One value twice in a list.
    DuplicateValue,
    /// A matrix range that is badly written, reversed or empty.
    Range,
    /// Braces that enclose no axis name.
    Template,
    /// `{word}`, and the matrix has no such axis.
    UnknownAxis,
    /// An axis that no node uses.
    UnusedAxis,
    /// A `where` that cannot be read.
    Condition,
    /// An override that cannot be applied.
    Override,
    /// The workflow has no node.
    NoNodes,
    /// One name on two nodes.
    DuplicateName,
    /// `from` names no node.
    UnknownNode,
    /// `from` names a node of a kind that cannot stand there.
    WrongUpstream,
    /// Nodes that read from each other in a circle.
    Cycle,
    /// A field that the load upstream does not keep.
    UnknownField,
    /// Vectors cannot be widened when they are published.
    Widened,
    /// A merge across an axis that it cannot be across.
    Across,
    /// Two steps publish under one name.
    DuplicateDataset,
    /// The matrix makes more steps than a run may have.
    TooManySteps,
}

impl Code {
    /// The code as it is printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "sciembed::manifest::syntax",
            Self::UnknownKey => "sciembed::manifest::unknown_key",
            Self::MissingKey => "sciembed::manifest::missing_key",
            Self::WrongType => "sciembed::manifest::wrong_type",
            Self::InvalidValue => "sciembed::manifest::invalid_value",
            Self::Version => "sciembed::manifest::version",
            Self::InvalidName => "sciembed::manifest::invalid_name",
            Self::DuplicateValue => "sciembed::manifest::duplicate_value",
            Self::Range => "sciembed::manifest::range",
            Self::Template => "sciembed::manifest::template",
            Self::UnknownAxis => "sciembed::manifest::unknown_axis",
            Self::UnusedAxis => "sciembed::manifest::unused_axis",
            Self::Condition => "sciembed::manifest::condition",
            Self::Override => "sciembed::manifest::override",
            Self::NoNodes => "sciembed::graph::no_nodes",
            Self::DuplicateName => "sciembed::graph::duplicate_name",
            Self::UnknownNode => "sciembed::graph::unknown_node",
            Self::WrongUpstream => "sciembed::graph::wrong_upstream",
            Self::Cycle => "sciembed::graph::cycle",
            Self::UnknownField => "sciembed::graph::unknown_field",
            Self::Widened => "sciembed::graph::widened",
            Self::Across => "sciembed::graph::across",
            Self::DuplicateDataset => "sciembed::graph::duplicate_dataset",
            Self::TooManySteps => "sciembed::graph::too_many_steps",
        }
    }
}

/// One fault, as it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub code: Code,
    pub message: String,
    /// The first is where the fault is; the others are what it has to do with.
    pub marks: Vec<(Span, String)>,
    pub help: Option<String>,
}

impl Fault {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), marks: Vec::new(), help: None }
    }

    pub fn at(mut self, span: Span, label: impl Into<String>) -> Self {
        self.marks.push((span, label.into()));
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub fn with_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    /// Where the fault is.
    pub fn span(&self) -> Span {
        self.marks.first().map_or(Span::new(0, 0), |(span, _)| *span)
    }
}

/// Everything that is wrong with a manifest, in the order of its text; faults of `--set` come last.
#[derive(Debug)]
pub struct Faults {
    name: String,
    diagnoses: Vec<Diagnosis>,
}

impl Faults {
    pub(crate) fn new(text: &Text, mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| (fault.span(), fault.code));
        faults.dedup();
        let diagnoses = faults.into_iter().map(|fault| Diagnosis::new(text, fault)).collect();
        Self { name: text.manifest_name().to_owned(), diagnoses }
    }

    /// Each fault, with its source, labels, code and help.
    pub fn diagnostics(&self) -> &[Diagnosis] {
        &self.diagnoses
    }

    /// Each fault by value, for whoever renders them one by one.
    pub fn into_diagnostics(self) -> Vec<Diagnosis> {
        self.diagnoses
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.diagnoses.len() {
            1 => write!(f, "{} has 1 fault", self.name),
            n => write!(f, "{} has {n} faults", self.name),
        }
    }
}

impl std::error::Error for Faults {}

impl Diagnostic for Faults {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.diagnoses.iter().map(|diagnosis| diagnosis as &dyn Diagnostic)))
    }
}

/// One fault, seen in the source it belongs to.
#[derive(Debug)]
pub struct Diagnosis {
    code: Code,
    message: String,
    help: Option<String>,
    severity: Severity,
    source: NamedSource<Arc<str>>,
    labels: Vec<LabeledSpan>,
    /// Labels that lie in another source, which one snippet cannot show.
    elsewhere: Vec<Diagnosis>,
}

/// Words of a line whose quoted values may be keys, written by mistake where only their variables' names belong.
const SECRET_WORDS: [&str; 6] = ["api_key", "apikey", "header", "authorization", "password", "secret"];

/// A source as it may be shown: what may be a key is covered, byte by byte, so that places stay what they are.
fn without_keys(text: &str) -> Arc<str> {
    let lines = text.split_inclusive('\n').map(|line| {
        let lower = line.to_lowercase();
        let is_secret = SECRET_WORDS.iter().any(|word| lower.contains(word));
        let has_password = lower.contains("base_url") && line.contains('@');
        if is_secret || has_password || line.contains("sk-") { covered(line) } else { line.to_owned() }
    });
    Arc::from(lines.collect::<String>())
}

/// A line with stars in its quotes, but for names of variables.
fn covered(line: &str) -> String {
    let is_name =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    let (mut shown, mut rest) = (String::new(), line);
    while let Some(open) = rest.find(['"', '\'']) {
        let quote = &rest[open..=open];
        let inside = &rest[open + 1..];
        let length = inside.find(quote).unwrap_or(inside.trim_end().len());
        shown.push_str(&rest[..=open]);
        let value = &inside[..length];
        shown.push_str(&if is_name(value) { value.to_owned() } else { "*".repeat(length) });
        rest = &inside[length..];
        if let Some(behind) = rest.strip_prefix(quote) {
            shown.push_str(quote);
            rest = behind;
        }
    }
    shown + rest
}

impl Diagnosis {
    fn new(text: &Text, fault: Fault) -> Self {
        let home = text.piece(fault.span());
        let mut diagnosis = Self {
            code: fault.code,
            message: fault.message,
            help: fault.help,
            severity: Severity::Error,
            source: NamedSource::new(text.name(home), without_keys(&text.content(home))),
            labels: Vec::new(),
            elsewhere: Vec::new(),
        };
        for (n, (span, label)) in fault.marks.into_iter().enumerate() {
            let piece = text.piece(span);
            let local = text.local(piece, span);
            let labelled = if n == 0 { LabeledSpan::new_primary_with_span } else { LabeledSpan::new_with_span };
            if piece == home {
                diagnosis.labels.push(labelled(Some(label), local));
            } else {
                let source = NamedSource::new(text.name(piece), without_keys(&text.content(piece)));
                diagnosis.elsewhere.push(Self {
                    code: fault.code,
                    message: label,
                    help: None,
                    severity: Severity::Advice,
                    source,
                    labels: vec![LabeledSpan::new_with_span(None, local)],
                    elsewhere: Vec::new(),
                });
            }
        }
        diagnosis
    }

    /// What kind of fault it is.
    pub fn fault_code(&self) -> Code {
        self.code
    }

    /// The source it is in: the manifest's name, or `--set`.
    pub fn source_name(&self) -> &str {
        self.source.name()
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnosis {}

impl Diagnostic for Diagnosis {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        // What lies elsewhere belongs to the fault above it and is not counted as another.
        let own = self.severity == Severity::Error;
        own.then(|| Box::new(self.code.as_str()) as Box<dyn fmt::Display>)
    }

    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.elsewhere.iter().map(|other| other as &dyn Diagnostic)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_written_is_not_shown() {
        let text = "a = \"x\"\napi_key_env = [\"KEY_A\", 'sk-é']\nheaders = { A = \"Bearer abc\" }\nbase_url = \"https://u:p@h/v1\"\nmodel = \"sk-1";
        let shown = without_keys(text);
        let expected = "a = \"x\"\napi_key_env = [\"KEY_A\", '*****']\nheaders = { A = \"**********\" }\nbase_url = \"****************\"\nmodel = \"****";
        assert_eq!((&*shown, shown.len()), (expected, text.len()));
    }
}
