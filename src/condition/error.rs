//! What can be wrong with a condition, where, and what to write instead.

use std::ops::Range;

use super::MAX_DEPTH;

/// A mistake in a condition, at its place. It prints as the mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{mistake}")]
pub struct ConditionError {
    pub(super) span: Range<usize>,
    pub(super) mistake: Mistake,
}

impl ConditionError {
    /// Where the mistake is: bytes of the condition's text, at least one unless the text is empty.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// What is wrong.
    pub fn mistake(&self) -> &Mistake {
        &self.mistake
    }

    /// What to write instead.
    pub fn remedy(&self) -> String {
        self.mistake.remedy()
    }
}

/// What can be wrong. Each fits beneath the place that it is about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// There is no condition.
    #[error("no condition")]
    Empty,
    /// The text ends too early.
    #[error("{expected} belongs after this")]
    Ends { expected: &'static str },
    /// Something else was to stand here.
    #[error("{expected} belongs here")]
    Unexpected { expected: &'static str },
    /// A quote without its other half.
    #[error("never closed")]
    UnclosedQuote { quote: char },
    /// A parenthesis without its other half.
    #[error("never closed")]
    UnclosedParenthesis,
    /// A closing parenthesis that closes nothing.
    #[error("closes nothing")]
    Unopened,
    /// A character that no condition has outside quotes.
    #[error("no part of a condition")]
    Character { character: char },
    /// An operator of another language.
    #[error("not of this language")]
    Foreign { instead: &'static str },
    /// A word or path where a value belongs.
    #[error("a name, and no value")]
    BareText { word: String },
    /// A comparison with null.
    #[error("nothing compares with null")]
    NullValue,
    /// A value where a field belongs.
    #[error("a value, and no field")]
    ValueFirst { text: Option<String> },
    /// A word of the language where a field belongs.
    #[error("a word of the language, and no field")]
    Keyword { word: String },
    /// A field that is compared with nothing.
    #[error("compared with nothing")]
    FieldAlone { field: String },
    /// `<` and the like with true or false.
    #[error("`true` and `false` have no order")]
    BooleanOrder,
    /// `contains` or `starts with` without a text.
    #[error("not a text")]
    NeedsText,
    /// `not` behind the field, where only `not in` stands.
    #[error("no `not` here")]
    NotBehind,
    /// Digits that are no number.
    #[error("not a number")]
    Number,
    /// A dot that joins nothing.
    #[error("the path ends with a dot")]
    PathEnds,
    /// Too many levels of `not` and parentheses.
    #[error("more than {MAX_DEPTH} levels deep")]
    TooDeep,
}

impl Mistake {
    /// What to write instead.
    pub fn remedy(&self) -> String {
        let remedy = match self {
            Self::Empty | Self::Ends { .. } | Self::Unexpected { .. } => {
                "a condition is such as `doctype in ('article', 'eprint') and year >= 2010`"
            }
            Self::UnclosedQuote { quote } => {
                return format!("write {quote} at the end, or {quote}{quote} where {quote} belongs to what is quoted");
            }
            Self::UnclosedParenthesis => "write `)` where it ends",
            Self::Unopened => "leave it out, or write `(` before",
            Self::Character { character } => return character_remedy(*character),
            Self::Foreign { instead } => return format!("write {instead}"),
            Self::BareText { word } => return format!("a text stands in quotes: '{}'", word.replace('\'', "''")),
            Self::NullValue => "write `is null` or `is not null`",
            Self::ValueFirst { text: Some(text) } => {
                return format!(
                    "the field comes first: `year >= 2010`; quotes are for texts, and a field of this name is `{}`",
                    super::print::path(std::slice::from_ref(text))
                );
            }
            Self::ValueFirst { text: None } => "the field comes first: `year >= 2010`",
            Self::Keyword { word } => return format!("a field of this name stands in backquotes: `{word}`"),
            Self::FieldAlone { field } => {
                return format!("write such as `{field} = true`, `{field} >= 2010` or `{field} is not null`");
            }
            Self::BooleanOrder => "write `=` or `!=`",
            Self::NeedsText => "write it in quotes: 'text'",
            Self::NotBehind => "put `not` before the field: `not title contains 'erratum'`",
            Self::Number => "numbers are such as 12, -1.5 or 1e-3; a text stands in quotes",
            Self::PathEnds => "write the name or number that follows, or leave the dot out",
            Self::TooDeep => "leave out parentheses that change nothing, or write `in (..)` for many values",
        };
        remedy.to_owned()
    }
}

fn character_remedy(character: char) -> String {
    match character {
        '\u{2018}'..='\u{201f}' => "write straight quotes: 'text'".to_owned(),
        '{' | '}' => "a condition takes no axes; a text with braces stands in quotes".to_owned(),
        _ => "a text stands in quotes, and a field with such a character in backquotes".to_owned(),
    }
}
