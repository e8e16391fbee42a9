//! A condition as a tree.
//!
//! `and` and `or` have any number of operands, none of which is of their own kind: `a and (b and c)` is `a and b and c`,
//! so both have one printed form, and one key.

/// A node of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Joined by `or`: two or more.
    Any(Vec<Node>),
    /// Joined by `and`: two or more.
    All(Vec<Node>),
    Not(Box<Node>),
    /// A test of one field, by its place among the condition's fields.
    Test(usize, Test),
}

/// What is asked of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Compare(Operator, Literal),
    In(Vec<Literal>),
    NotIn(Vec<Literal>),
    Null,
    NotNull,
    Contains(String),
    StartsWith(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Literal {
    Text(String),
    /// As it is written; `number.rs` reads it.
    Number(String),
    Boolean(bool),
}

impl Node {
    /// These joined by `or`; one alone stays what it is.
    pub fn any(nodes: Vec<Self>) -> Self {
        let inner = |node| match node {
            Self::Any(inner) => inner,
            other => vec![other],
        };
        joined(nodes.into_iter().flat_map(inner).collect(), Self::Any)
    }

    /// These joined by `and`; one alone stays what it is.
    pub fn all(nodes: Vec<Self>) -> Self {
        let inner = |node| match node {
            Self::All(inner) => inner,
            other => vec![other],
        };
        joined(nodes.into_iter().flat_map(inner).collect(), Self::All)
    }
}

fn joined(mut nodes: Vec<Node>, join: fn(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(only) if nodes.is_empty() => only,
        last => {
            nodes.extend(last);
            join(nodes)
        }
    }
}

/// The fields of a condition, each once, in the order of first use.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(pub Vec<Vec<String>>);

impl Fields {
    /// The place of a field.
    pub fn place(&mut self, path: Vec<String>) -> usize {
        let known = self.0.iter().position(|known| *known == path);
        known.unwrap_or_else(|| {
            self.0.push(path);
            self.0.len() - 1
        })
    }
}
