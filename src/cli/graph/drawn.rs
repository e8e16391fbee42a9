//! What is drawn of a plan: a box for each node, with the states of its instances.

use std::collections::BTreeMap;

use crate::graph::Graph;
use crate::plan::{Plan, Rows, State};

/// A workflow's nodes, upstreams first.
pub struct Drawn {
    /// The workflow.
    pub name: String,
    /// Its nodes.
    pub boxes: Vec<Node>,
}

/// A node with all its instances.
pub struct Node {
    /// `embed.minilm`.
    pub id: String,
    /// The boxes that it reads from.
    pub upstreams: Vec<usize>,
    /// How many boxes are above it, on the longest way.
    pub depth: usize,
    /// Instances that are fresh, stale, pending and blocked.
    pub counts: [usize; 4],
    /// Rows of all instances, where all are known.
    pub rows: Option<u64>,
}

/// The worst state among a node's instances, by which it is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// All are fresh.
    Fresh,
    /// Some are stale.
    Stale,
    /// Some wait for what is above.
    Pending,
    /// Some cannot run.
    Blocked,
}

impl Drawn {
    /// The nodes whose steps are in a plan.
    pub fn of(graph: &Graph, plan: &Plan) -> Self {
        let mut boxes: Vec<Node> = Vec::new();
        let mut places = BTreeMap::new();
        for planned in &plan.steps {
            let id = format!("{}.{}", planned.step.kind, planned.step.node);
            let at = *places.entry(id.clone()).or_insert_with(|| {
                boxes.push(Node { id, upstreams: Vec::new(), depth: 0, counts: [0; 4], rows: Some(0) });
                boxes.len() - 1
            });
            boxes[at].add(&planned.state, &planned.rows);
        }
        let node = |index: usize| format!("{}.{}", graph.steps[index].id.kind, graph.steps[index].id.node);
        for (index, step) in graph.steps.iter().enumerate() {
            let Some(&at) = places.get(&node(index)) else { continue };
            let above = step.upstreams.iter().filter_map(|upstream| places.get(&node(*upstream)).copied());
            let above: Vec<usize> = above.collect();
            let node = &mut boxes[at];
            node.upstreams.extend(above);
            node.upstreams.sort_unstable();
            node.upstreams.dedup();
        }
        for at in 0..boxes.len() {
            boxes[at].depth = boxes[at].upstreams.iter().map(|above| boxes[*above].depth + 1).max().unwrap_or(0);
        }
        Self { name: plan.workflow.clone(), boxes }
    }
}

impl Node {
    fn add(&mut self, state: &State, rows: &Rows) {
        self.counts[match state {
            State::Fresh => 0,
            State::Stale(_) => 1,
            State::Pending(_) => 2,
            State::Blocked(_) => 3,
        }] += 1;
        self.rows = match (self.rows, rows) {
            (Some(sum), Rows::Exact(rows)) => Some(sum + rows),
            _ => None,
        };
    }

    /// By what it is coloured.
    pub fn look(&self) -> Look {
        match self.counts {
            [_, _, _, blocked] if blocked > 0 => Look::Blocked,
            [_, stale, _, _] if stale > 0 => Look::Stale,
            [_, _, pending, _] if pending > 0 => Look::Pending,
            _ => Look::Fresh,
        }
    }

    /// The states of its instances in words.
    pub fn states(&self) -> String {
        let words = ["fresh", "stale", "pending", "blocked"];
        let some: Vec<(usize, &str)> = self.counts.into_iter().zip(words).filter(|(count, _)| *count > 0).collect();
        match &some[..] {
            [(1, word)] => (*word).to_owned(),
            [(count, word)] => format!("{count} {word}"),
            some => some.iter().map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", "),
        }
    }

    /// Its rows in words; empty where they are not known.
    pub fn row_words(&self) -> String {
        self.rows.map_or_else(String::new, |rows| format!("{rows} rows"))
    }
}
