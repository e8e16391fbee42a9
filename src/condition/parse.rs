//! From a condition's text to its tree.
//!
//! ```text
//! condition  = all { "or" all }
//! all        = part { "and" part }
//! part       = "not" part | "(" condition ")" | field test
//! test       = ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) value
//!            | [ "not" ] "in" "(" value { "," value } ")"
//!            | "is" [ "not" ] "null"
//!            | "contains" text | "starts" "with" text
//! ```

use std::ops::Range;

use super::error::{ConditionError, Mistake};
use super::lexer::{Kind, Token, tokens};
use super::tree::{Fields, Literal, Node, Operator, Test};
use super::{Condition, MAX_DEPTH, print};

/// Words of other languages where a test belongs, and what is written here.
const FOREIGN_WORDS: [(&str, &str); 9] = [
    ("like", "`contains` or `starts with`"),
    ("matches", "`contains` or `starts with`"),
    ("startswith", "`starts with`"),
    ("starts_with", "`starts with`"),
    ("begins", "`starts with`"),
    ("between", "two comparisons: `year >= 2010 and year <= 2020`"),
    ("eq", "`=`"),
    ("equals", "`=`"),
    ("exists", "`is not null`"),
];

pub(super) fn parse(text: &str) -> Result<Condition, ConditionError> {
    let (tokens, stopped) = tokens(text);
    let mut parser = Parser { text, tokens, at: 0, stopped, fields: Fields::default() };
    if parser.tokens.is_empty() && parser.stopped.is_none() {
        return Err(ConditionError { span: 0..text.len(), mistake: Mistake::Empty });
    }
    let root = parser.condition(0)?;
    parser.finish()?;
    let paths = parser.fields.0;
    let fields = paths.iter().map(|path| print::path(path)).collect();
    Ok(Condition { root, paths, fields })
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    at: usize,
    /// What is wrong behind the last token.
    stopped: Option<ConditionError>,
    fields: Fields,
}

impl Parser<'_> {
    fn condition(&mut self, depth: usize) -> Result<Node, ConditionError> {
        let mut nodes = vec![self.all(depth)?];
        while self.take_word("or") {
            nodes.push(self.all(depth)?);
        }
        Ok(Node::any(nodes))
    }

    fn all(&mut self, depth: usize) -> Result<Node, ConditionError> {
        let mut nodes = vec![self.part(depth)?];
        while self.take_word("and") {
            nodes.push(self.part(depth)?);
        }
        Ok(Node::all(nodes))
    }

    fn part(&mut self, depth: usize) -> Result<Node, ConditionError> {
        let start = self.at;
        if self.take_word("not") {
            self.not_too_deep(start, depth)?;
            return Ok(Node::Not(Box::new(self.part(depth + 1)?)));
        }
        if !self.take(&Kind::Open) {
            let field = self.field()?;
            return Ok(Node::Test(field, self.test(start)?));
        }
        self.not_too_deep(start, depth)?;
        let node = self.condition(depth + 1)?;
        self.close(start, "`and`, `or` or `)`")?;
        Ok(node)
    }

    /// Every level is a level of this program's stack.
    fn not_too_deep(&self, token: usize, depth: usize) -> Result<(), ConditionError> {
        if depth < MAX_DEPTH { Ok(()) } else { Err(self.error(token, Mistake::TooDeep)) }
    }

    fn field(&mut self) -> Result<usize, ConditionError> {
        let at = self.at;
        let mistake = match self.next("a field")? {
            Kind::Path(path) => return Ok(self.fields.place(path)),
            Kind::Text(text) => Mistake::ValueFirst { text: Some(text) },
            Kind::Number(_) | Kind::Keyword("true" | "false") => Mistake::ValueFirst { text: None },
            Kind::Keyword(word) if self.peek().is_some_and(opens_test) => Mistake::Keyword { word: word.to_owned() },
            _ => Mistake::Unexpected { expected: "a field" },
        };
        Err(self.error(at, mistake))
    }

    /// What is asked of the field that was written from token `field` on.
    fn test(&mut self, field: usize) -> Result<Test, ConditionError> {
        let at = self.at;
        let alone = |parser: &Self| {
            let field = parser.slice(field).to_owned();
            parser.error(at - 1, Mistake::FieldAlone { field })
        };
        let Some(kind) = self.peek().cloned() else { return Err(self.stopped.clone().unwrap_or_else(|| alone(self))) };
        self.at += 1;
        match kind {
            Kind::Operator(operator) => self.comparison(operator),
            Kind::Keyword("in") => Ok(Test::In(self.values()?)),
            Kind::Keyword("not") if self.take_word("in") => Ok(Test::NotIn(self.values()?)),
            Kind::Keyword("not") => Err(self.error(at, Mistake::NotBehind)),
            Kind::Keyword("is") => self.null(),
            Kind::Keyword("contains") => Ok(Test::Contains(self.text_of("the text to look for")?)),
            Kind::Keyword("starts") => {
                self.word("with", "`with`")?;
                Ok(Test::StartsWith(self.text_of("the text it starts with")?))
            }
            Kind::Path(names) => Err(match foreign(&names) {
                Some(instead) => self.error(at, Mistake::Foreign { instead }),
                None => self.error(at, Mistake::Unexpected { expected: "an operator, such as `=`" }),
            }),
            Kind::Text(_) | Kind::Number(_) | Kind::Open => {
                Err(self.error(at, Mistake::Unexpected { expected: "an operator, such as `=`" }))
            }
            Kind::Keyword(_) | Kind::Close | Kind::Comma => Err(alone(self)),
        }
    }

    fn comparison(&mut self, operator: Operator) -> Result<Test, ConditionError> {
        let at = self.at;
        let literal = self.value()?;
        let ordered = !matches!(operator, Operator::Equal | Operator::NotEqual);
        if ordered && matches!(literal, Literal::Boolean(_)) {
            return Err(self.error(at, Mistake::BooleanOrder));
        }
        Ok(Test::Compare(operator, literal))
    }

    fn null(&mut self) -> Result<Test, ConditionError> {
        let negated = self.take_word("not");
        self.word("null", if negated { "`null`" } else { "`null` or `not null`" })?;
        Ok(if negated { Test::NotNull } else { Test::Null })
    }

    fn values(&mut self) -> Result<Vec<Literal>, ConditionError> {
        let open = self.at;
        match self.next("`(` and the values")? {
            Kind::Open => {}
            _ => return Err(self.error(open, Mistake::Unexpected { expected: "`(` and the values" })),
        }
        let mut values = vec![self.value()?];
        while self.take(&Kind::Comma) {
            values.push(self.value()?);
        }
        self.close(open, "`,` or `)`")?;
        Ok(values)
    }

    fn value(&mut self) -> Result<Literal, ConditionError> {
        let at = self.at;
        let mistake = match self.next("a value")? {
            Kind::Text(text) => return Ok(Literal::Text(text)),
            Kind::Number(number) => return Ok(Literal::Number(number)),
            Kind::Keyword("true") => return Ok(Literal::Boolean(true)),
            Kind::Keyword("false") => return Ok(Literal::Boolean(false)),
            Kind::Keyword("null") => Mistake::NullValue,
            Kind::Path(_) => Mistake::BareText { word: self.slice(at).to_owned() },
            _ => Mistake::Unexpected { expected: "a text in quotes, a number, `true` or `false`" },
        };
        Err(self.error(at, mistake))
    }

    fn text_of(&mut self, expected: &'static str) -> Result<String, ConditionError> {
        let at = self.at;
        match self.next(expected)? {
            Kind::Text(text) => Ok(text),
            _ => Err(self.error(at, Mistake::NeedsText)),
        }
    }

    fn word(&mut self, word: &'static str, expected: &'static str) -> Result<(), ConditionError> {
        let at = self.at;
        match self.next(expected)? {
            Kind::Keyword(found) if found == word => Ok(()),
            _ => Err(self.error(at, Mistake::Unexpected { expected })),
        }
    }

    /// The `)` of the `(` that is token `open`.
    fn close(&mut self, open: usize, expected: &'static str) -> Result<(), ConditionError> {
        if self.take(&Kind::Close) {
            return Ok(());
        }
        match (self.peek(), &self.stopped) {
            (Some(_), _) => Err(self.error(self.at, Mistake::Unexpected { expected })),
            (None, Some(error)) => Err(error.clone()),
            (None, None) => Err(self.error(open, Mistake::UnclosedParenthesis)),
        }
    }

    fn finish(&mut self) -> Result<(), ConditionError> {
        match (self.peek(), &self.stopped) {
            (Some(Kind::Close), _) => Err(self.error(self.at, Mistake::Unopened)),
            (Some(_), _) => Err(self.error(self.at, Mistake::Unexpected { expected: "`and`, `or` or the end" })),
            (None, Some(error)) => Err(error.clone()),
            (None, None) => Ok(()),
        }
    }

    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    /// The next token, which must be there.
    fn next(&mut self, expected: &'static str) -> Result<Kind, ConditionError> {
        let Some(kind) = self.peek().cloned() else {
            let ends = || self.error(self.at.saturating_sub(1), Mistake::Ends { expected });
            return Err(self.stopped.clone().unwrap_or_else(ends));
        };
        self.at += 1;
        Ok(kind)
    }

    fn take(&mut self, kind: &Kind) -> bool {
        let there = self.peek() == Some(kind);
        self.at += usize::from(there);
        there
    }

    fn take_word(&mut self, word: &'static str) -> bool {
        self.take(&Kind::Keyword(word))
    }

    fn span(&self, token: usize) -> Range<usize> {
        self.tokens.get(token).map_or(0..self.text.len(), |token| token.span.clone())
    }

    fn slice(&self, token: usize) -> &str {
        &self.text[self.span(token)]
    }

    fn error(&self, token: usize, mistake: Mistake) -> ConditionError {
        ConditionError { span: self.span(token), mistake }
    }
}

/// Whether a test may open so, save by `not`, which may also open a part.
fn opens_test(kind: &Kind) -> bool {
    matches!(kind, Kind::Operator(_) | Kind::Keyword("in" | "is" | "contains" | "starts"))
}

fn foreign(names: &[String]) -> Option<&'static str> {
    let [word] = names else { return None };
    FOREIGN_WORDS.into_iter().find(|(foreign, _)| foreign.eq_ignore_ascii_case(word)).map(|(_, instead)| instead)
}
