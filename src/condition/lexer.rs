//! A condition's text, cut into words, paths, values and signs, each with its place.

use std::ops::Range;

use super::error::{ConditionError, Mistake};
use super::number::is_number;
use super::tree::Operator;

/// The words of the language. A field of such a name stands in backquotes.
const KEYWORDS: [&str; 11] = ["and", "or", "not", "in", "is", "null", "contains", "starts", "with", "true", "false"];

/// Operators of other languages, longest first, and what is written here.
const FOREIGN: [(&str, &str); 9] = [
    ("===", "`=`"),
    ("==", "`=`"),
    ("=~", "`contains` or `starts with`"),
    ("=>", "`>=`"),
    ("=<", "`<=`"),
    ("<>", "`!=`"),
    ("&&", "`and`"),
    ("||", "`or`"),
    ("!", "`not`"),
];

/// The operators, longest first.
const OPERATORS: [(&str, Operator); 6] = [
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    pub span: Range<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword, in lower case.
    Keyword(&'static str),
    /// The names of a path.
    Path(Vec<String>),
    Text(String),
    Number(String),
    Operator(Operator),
    Open,
    Close,
    Comma,
}

/// The tokens up to the first mistake, and that mistake.
pub(super) fn tokens(text: &str) -> (Vec<Token>, Option<ConditionError>) {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        match lexer.next() {
            Ok(Some(token)) => tokens.push(token),
            Ok(None) => return (tokens, None),
            Err(error) => return (tokens, Some(error)),
        }
    }
}

/// Whether a name may open with this character without backquotes.
pub(super) fn opens_name(character: char) -> bool {
    character.is_alphabetic() || character == '_'
}

/// Whether a name may hold this character without backquotes.
pub(super) fn is_name_character(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

pub(super) fn is_keyword(word: &str) -> bool {
    keyword(word).is_some()
}

fn keyword(word: &str) -> Option<&'static str> {
    KEYWORDS.into_iter().find(|keyword| keyword.eq_ignore_ascii_case(word))
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    fn next(&mut self) -> Result<Option<Token>, ConditionError> {
        self.take(char::is_whitespace);
        let start = self.at;
        let Some(first) = self.rest().chars().next() else { return Ok(None) };
        let kind = match first {
            '\'' | '"' => Kind::Text(self.quoted(first)?),
            '(' => self.sign(Kind::Open),
            ')' => self.sign(Kind::Close),
            ',' => self.sign(Kind::Comma),
            '-' | '.' | '0'..='9' => self.number()?,
            _ if first == '`' || opens_name(first) => self.path()?,
            _ => self.operator(first)?,
        };
        Ok(Some(Token { kind, span: start..self.at }))
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// Takes the characters that are so.
    fn take(&mut self, so: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|character| !so(character)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn sign(&mut self, kind: Kind) -> Kind {
        self.at += 1;
        kind
    }

    /// What stands between two quotes, in which a quote is written twice.
    fn quoted(&mut self, quote: char) -> Result<String, ConditionError> {
        let start = self.at;
        let mut inner = String::new();
        self.at += 1;
        loop {
            inner.push_str(self.take(|character| character != quote));
            if self.rest().is_empty() {
                return Err(ConditionError { span: start..start + 1, mistake: Mistake::UnclosedQuote { quote } });
            }
            self.at += 1;
            if !self.rest().starts_with(quote) {
                return Ok(inner);
            }
            inner.push(quote);
            self.at += 1;
        }
    }

    fn number(&mut self) -> Result<Kind, ConditionError> {
        let start = self.at;
        let part = |character| is_name_character(character) || character == '.';
        self.at += usize::from(self.rest().starts_with('-'));
        let digits = self.take(part);
        // The sign of an exponent.
        if digits.ends_with(['e', 'E']) && self.rest().starts_with(['+', '-']) {
            self.at += 1;
            self.take(part);
        }
        let number = &self.text[start..self.at];
        match is_number(number) {
            true => Ok(Kind::Number(number.to_owned())),
            false => Err(ConditionError { span: start..self.at, mistake: Mistake::Number }),
        }
    }

    /// Names joined by dots. One that stands alone, and in no backquotes, may be a keyword.
    fn path(&mut self) -> Result<Kind, ConditionError> {
        let start = self.at;
        let mut names = vec![self.name()?];
        let word = &self.text[start..self.at];
        while self.rest().starts_with('.') {
            self.at += 1;
            if !self.rest().starts_with(|next| next == '`' || is_name_character(next)) {
                return Err(ConditionError { span: self.at - 1..self.at, mistake: Mistake::PathEnds });
            }
            names.push(self.name()?);
        }
        Ok(match keyword(word).filter(|_| names.len() == 1) {
            Some(keyword) => Kind::Keyword(keyword),
            None => Kind::Path(names),
        })
    }

    fn name(&mut self) -> Result<String, ConditionError> {
        if self.rest().starts_with('`') { self.quoted('`') } else { Ok(self.take(is_name_character).to_owned()) }
    }

    fn operator(&mut self, first: char) -> Result<Kind, ConditionError> {
        let start = self.at;
        let rest = self.rest();
        let error = |bytes: usize, mistake| Err(ConditionError { span: start..start + bytes, mistake });
        let foreign = FOREIGN.into_iter().find(|(sign, _)| rest.starts_with(sign) && !rest.starts_with("!="));
        if let Some((sign, instead)) = foreign {
            return error(sign.len(), Mistake::Foreign { instead });
        }
        match OPERATORS.into_iter().find(|(sign, _)| rest.starts_with(sign)) {
            Some((sign, operator)) => {
                self.at += sign.len();
                Ok(Kind::Operator(operator))
            }
            None => error(first.len_utf8(), Mistake::Character { character: first }),
        }
    }
}
