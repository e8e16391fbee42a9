//! The canonical form of a condition: what it means decides how it is printed, not how it was written.
//!
//! It is in the keys of load steps. A change here makes every load with a `where` stale.

use std::fmt::{self, Display, Formatter};

use super::Condition;
use super::lexer::{is_keyword, is_name_character, opens_name};
use super::tree::{Literal, Node, Operator, Test};

impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Printed { node: &self.root, fields: &self.fields }.fmt(f)
    }
}

/// A path as it is written in a condition.
pub(super) fn path(names: &[String]) -> String {
    let name = |(at, name): (usize, &String)| {
        let opens = at > 0 || name.starts_with(opens_name);
        let plain = !name.is_empty() && opens && !is_keyword(name) && name.chars().all(is_name_character);
        if plain { name.clone() } else { quoted(name, '`') }
    };
    names.iter().enumerate().map(name).collect::<Vec<_>>().join(".")
}

fn quoted(text: &str, quote: char) -> String {
    format!("{quote}{}{quote}", text.replace(quote, &format!("{quote}{quote}")))
}

/// A node and the condition's fields.
struct Printed<'a> {
    node: &'a Node,
    fields: &'a [String],
}

impl Printed<'_> {
    /// The operands of `and` and `or`, and `not`: in parentheses where they would be read otherwise.
    fn operand(&self, node: &Node, f: &mut Formatter<'_>) -> fmt::Result {
        let printed = Printed { node, fields: self.fields };
        let parentheses =
            matches!((self.node, node), (Node::All(_), Node::Any(_)) | (Node::Not(_), Node::All(_) | Node::Any(_)));
        if parentheses { write!(f, "({printed})") } else { printed.fmt(f) }
    }

    fn joined(&self, nodes: &[Node], word: &str, f: &mut Formatter<'_>) -> fmt::Result {
        for (at, node) in nodes.iter().enumerate() {
            if at > 0 {
                f.write_str(word)?;
            }
            self.operand(node, f)?;
        }
        Ok(())
    }
}

impl Display for Printed<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.node {
            Node::Any(nodes) => self.joined(nodes, " or ", f),
            Node::All(nodes) => self.joined(nodes, " and ", f),
            Node::Not(node) => {
                f.write_str("not ")?;
                self.operand(node, f)
            }
            Node::Test(field, test) => write!(f, "{} {test}", self.fields[*field]),
        }
    }
}

impl Display for Test {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compare(operator, literal) => write!(f, "{operator} {literal}"),
            Self::In(literals) => write!(f, "in ({})", listed(literals)),
            Self::NotIn(literals) => write!(f, "not in ({})", listed(literals)),
            Self::Null => f.write_str("is null"),
            Self::NotNull => f.write_str("is not null"),
            Self::Contains(text) => write!(f, "contains {}", quoted(text, '\'')),
            Self::StartsWith(text) => write!(f, "starts with {}", quoted(text, '\'')),
        }
    }
}

fn listed(literals: &[Literal]) -> String {
    literals.iter().map(Literal::to_string).collect::<Vec<_>>().join(", ")
}

impl Display for Operator {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        })
    }
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quoted(text, '\'')),
            Self::Number(number) => f.write_str(number),
            Self::Boolean(boolean) => boolean.fmt(f),
        }
    }
}
