//! Whether a condition holds. What a comparison means is said in `mod.rs`.

use std::cmp::Ordering;

use super::tree::{Literal, Node, Operator, Test};
use super::{Value, number};

pub(super) fn holds(node: &Node, values: &[Value<'_>]) -> bool {
    match node {
        Node::Any(nodes) => nodes.iter().any(|node| holds(node, values)),
        Node::All(nodes) => nodes.iter().all(|node| holds(node, values)),
        Node::Not(node) => !holds(node, values),
        Node::Test(field, test) => passes(test, values.get(*field).unwrap_or(&Value::Missing)),
    }
}

fn passes(test: &Test, value: &Value<'_>) -> bool {
    match test {
        Test::Null => is_null(value),
        Test::NotNull => !is_null(value),
        Test::Compare(Operator::NotEqual, literal) => !is_null(value) && !equals(value, literal),
        Test::Compare(operator, literal) => {
            some(value, &|value| compare(value, literal).is_some_and(|ordering| operator.admits(ordering)))
        }
        Test::In(literals) => literals.iter().any(|literal| equals(value, literal)),
        Test::NotIn(literals) => !is_null(value) && !literals.iter().any(|literal| equals(value, literal)),
        Test::Contains(part) => some(value, &|value| text(value).is_some_and(|text| text.contains(part.as_str()))),
        Test::StartsWith(part) => some(value, &|value| text(value).is_some_and(|text| text.starts_with(part.as_str()))),
    }
}

fn is_null(value: &Value<'_>) -> bool {
    matches!(value, Value::Missing | Value::Null)
}

/// Whether a value, or an element of a list, passes.
fn some(value: &Value<'_>, passes: &dyn Fn(&Value<'_>) -> bool) -> bool {
    match value {
        Value::List(values) => values.iter().any(|value| some(value, passes)),
        value => passes(value),
    }
}

fn equals(value: &Value<'_>, literal: &Literal) -> bool {
    some(value, &|value| compare(value, literal) == Some(Ordering::Equal))
}

/// How a value that is no list compares with a literal; none where it cannot be read as what the literal is.
fn compare(value: &Value<'_>, literal: &Literal) -> Option<Ordering> {
    match literal {
        Literal::Text(wanted) => text(value).map(|text| text.cmp(wanted)),
        Literal::Number(wanted) => match value {
            Value::Number(number) => number::compare(number, wanted),
            Value::Text(text) => number::compare(text, wanted),
            _ => None,
        },
        Literal::Boolean(wanted) => match value {
            Value::Bool(value) => Some(value.cmp(wanted)),
            Value::Text(text) => text.parse::<bool>().ok().map(|value| value.cmp(wanted)),
            _ => None,
        },
    }
}

/// The text of a value: of a number or boolean its JSON text, which is also what a load keeps of it.
fn text<'a>(value: &'a Value<'_>) -> Option<&'a str> {
    match value {
        Value::Text(text) => Some(text),
        Value::Number(number) => Some(number),
        Value::Bool(true) => Some("true"),
        Value::Bool(false) => Some("false"),
        Value::Missing | Value::Null | Value::Object | Value::List(_) => None,
    }
}

impl Operator {
    fn admits(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}
