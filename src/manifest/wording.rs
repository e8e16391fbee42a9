//! serde's messages, read back into what went wrong and said again in the words of the manifest.
//!
//! serde hands out text only. Its wording has been stable since 1.0, and the snapshots under `tests/` would show a
//! change. What cannot be read is passed on as it is.

use super::fault::{Code, Fault};
use super::suggestion::{hint, listed, nearest};
use super::text::Span;
use super::tree::{Path, dotted};

/// What serde complains of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Complaint {
    Unknown { key: String, allowed: Vec<String> },
    Missing { key: String },
    Type { found: String, expected: String },
    Value { found: String, expected: String },
    Variant { found: String, allowed: Vec<String> },
    Other(String),
}

impl Complaint {
    pub fn read(message: &str) -> Self {
        let known = |rest: &str| (first_word(rest), words(rest).skip(1).collect());
        if let Some(rest) = message.strip_prefix("unknown field ") {
            let (key, allowed) = known(rest);
            Self::Unknown { key, allowed }
        } else if let Some(rest) = message.strip_prefix("unknown variant ") {
            let (found, allowed) = known(rest);
            Self::Variant { found, allowed }
        } else if let Some(rest) = message.strip_prefix("missing field ") {
            Self::Missing { key: first_word(rest) }
        } else if let Some((found, expected)) = parted(message, "invalid type: ") {
            Self::Type { found, expected }
        } else if let Some((found, expected)) = parted(message, "invalid value: ") {
            Self::Value { found, expected }
        } else if message == "wanted string or table" {
            Self::Type { found: String::new(), expected: "a string".to_owned() }
        } else {
            Self::Other(message.to_owned())
        }
    }

    /// The fault, for an entry at `path` and `span`.
    pub fn fault(&self, path: &Path, span: Span) -> Fault {
        let name = dotted(path);
        match self {
            Self::Unknown { key, allowed } => unknown_key(path, key, allowed, span),
            Self::Missing { key } => missing_key(path, key, span),
            Self::Type { found, expected } => {
                Fault::new(Code::WrongType, format!("`{name}` must be {}", plain_expected(expected)))
                    .at(span, plain_found(found))
            }
            Self::Value { found, expected } => {
                Fault::new(Code::InvalidValue, format!("`{name}` must be {}", plain_expected(expected)))
                    .at(span, plain_value(found))
            }
            Self::Variant { found, allowed } => {
                let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
                Fault::new(Code::InvalidValue, format!("`{name}` must be one of {}", listed(allowed.iter().copied())))
                    .at(span, "none of them")
                    .with_help(meant(found, &allowed).map(|near| format!("did you mean `{near}`?")))
            }
            Self::Other(message) => Fault::new(Code::InvalidValue, format!("`{name}`: {message}")).at(span, "here"),
        }
    }
}

/// Letters of a word at least that may stand for a longer one.
const MIN_PART_LETTERS: usize = 3;

/// The word that was probably meant: one that is near, or the only one that has it as a part, as `latex` has `tex`.
fn meant<'a>(found: &str, allowed: &[&'a str]) -> Option<&'a str> {
    let lower = found.to_lowercase();
    let has_it = |word: &&&str| lower.len() >= MIN_PART_LETTERS && word.contains(&lower);
    nearest(found, allowed.iter().copied()).or_else(|| {
        let mut longer = allowed.iter().filter(has_it);
        longer.next().filter(|_| longer.next().is_none()).copied()
    })
}

fn unknown_key(path: &Path, key: &str, allowed: &[String], span: Span) -> Fault {
    let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
    let parent = &path[..path.len().saturating_sub(1)];
    let (message, there) = match parent {
        [] => (format!("unknown section or key `{key}`"), "a manifest has".to_owned()),
        _ => (format!("unknown key `{key}` in `{}`", dotted(parent)), format!("`{}` has", dotted(parent))),
    };
    Fault::new(Code::UnknownKey, message)
        .at(span, "not known")
        .help(hint(key, &allowed, |allowed| format!("{there} {}", listed(allowed.iter().copied()))))
}

fn missing_key(table: &Path, key: &str, head: Span) -> Fault {
    match table.as_slice() {
        [] => Fault::new(Code::MissingKey, format!("the manifest has no `{key}`"))
            .at(head, format!("`{key} = ...` belongs at the top")),
        _ => Fault::new(Code::MissingKey, format!("`{}` has no `{key}`", dotted(table)))
            .at(head, format!("needs `{key}`")),
    }
}

/// The parts of "PREFIX found, expected what".
fn parted(message: &str, prefix: &str) -> Option<(String, String)> {
    let (found, expected) = message.strip_prefix(prefix)?.rsplit_once(", expected ")?;
    Some((found.to_owned(), expected.to_owned()))
}

/// The words in backticks.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// What stands between the first backtick and the one that closes it.
fn first_word(text: &str) -> String {
    words(text).next().unwrap_or_default()
}

fn plain_expected(expected: &str) -> &str {
    match expected {
        "a nonzero usize" | "a nonzero u64" => "a whole number, 1 or more",
        "u64" | "usize" => "a whole number, 0 or more",
        "u32" => "a whole number",
        "a boolean" => "`true` or `false`",
        "a sequence" => "a list of strings",
        other => other,
    }
}

fn plain_found(found: &str) -> &str {
    match found.split([' ', '`']).next() {
        Some("string") => "this is a string",
        Some("integer") => "this is an integer",
        Some("floating") => "this is a fraction",
        Some("boolean") => "this is `true` or `false`",
        Some("sequence") => "this is a list",
        Some("map") => "this is a table or a date",
        _ => "of another type",
    }
}

fn plain_value(found: &str) -> String {
    match words(found).next() {
        Some(value) => format!("this is {value}"),
        None => "not allowed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_serde_says() {
        let read = Complaint::read("unknown field `zz`, expected one of `a`, `b`");
        assert_eq!(read, Complaint::Unknown { key: "zz".into(), allowed: vec!["a".into(), "b".into()] });
        let read = Complaint::read("invalid type: string \"x, expected y\", expected a sequence");
        let found = "string \"x, expected y\"".into();
        assert_eq!(read, Complaint::Type { found, expected: "a sequence".into() });
        assert_eq!(Complaint::read("missing field `from`"), Complaint::Missing { key: "from".into() });
    }

    #[test]
    fn parts_of_words_stand_for_them() {
        let allowed = ["html", "entities", "latex", "unicode-nfc", "unicode-nfd"];
        let meant = |found| meant(found, &allowed);
        assert_eq!([meant("HTML"), meant("tex"), meant("TeX")], [Some("html"), Some("latex"), Some("latex")]);
        assert_eq!([meant("unicode"), meant("t"), meant("")], [None; 3], "of several none was meant more");
    }
}
