//! Nodes times matrix: which axes each node has, and how many steps that makes.
//!
//! A node's axes are those in its own strings and those of its upstream, so every step finds exactly one upstream step;
//! a merge loses those of its `across`, and finds a step for each of their values.
//! Steps are counted here before any is made; they are made in `steps.rs`.

use std::collections::{BTreeMap, BTreeSet};

use super::names::Node;
use super::resolve::not_kept;
use super::{NodeKind, Step, steps};
use crate::manifest::spec::Workflow;
use crate::manifest::{
    self, Code, Fault, Matrix, Reading, RecordTemplate, Span, Template, Text, Values, Written, hint, listed, nearest,
};

/// Steps that one node may have. Far above any matrix of years; a slip in a range is far above this.
const MAX_STEPS_PER_NODE: u128 = 10_000;

/// Steps that a workflow may have. A plan observes every one of them.
const MAX_STEPS: u128 = 50_000;

/// The strings in which `{axis}` is filled in.
const TEMPLATED: [&str; 6] = ["input", "prefix", "suffix", "model", "dir", "label"];

/// A node with its strings read and its axes known.
pub(super) struct Spread<'w> {
    pub node: Node<'w>,
    pub templates: BTreeMap<&'static str, Template>,
    /// Of a prepare node, the template that fields are put into, if it has one.
    pub record_template: Option<RecordTemplate>,
    pub axes: BTreeSet<String>,
}

/// Makes the steps of every sound node, upstreams first, and reports what keeps steps from being made.
pub(super) fn expand<'w>(
    workflow: &'w Workflow,
    reading: &Reading,
    text: &Text,
    nodes: Vec<Node<'w>>,
    faults: &mut Vec<Fault>,
) -> Vec<Step> {
    let matrix = manifest::read_matrix(&workflow.matrix, reading, faults);
    let reader = Reader { workflow, reading, text, matrix: &matrix };
    let mut spreads: Vec<Spread<'w>> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let spread = reader.spread(node, &spreads, faults);
        spreads.push(spread);
    }
    reader.unused_axes(&spreads, faults);
    if reader.count(&spreads, faults) {
        return steps::make(workflow, reading, &matrix, &spreads, faults);
    }
    Vec::new()
}

/// Reads templates and counts.
struct Reader<'a, 'w> {
    workflow: &'w Workflow,
    reading: &'a Reading,
    text: &'a Text,
    matrix: &'a Matrix,
}

impl<'w> Reader<'_, 'w> {
    fn spread(&self, mut node: Node<'w>, before: &[Spread<'w>], faults: &mut Vec<Fault>) -> Spread<'w> {
        let found = faults.len();
        let names: Vec<&str> = self.matrix.keys().map(String::as_str).collect();
        let mut templates = BTreeMap::new();
        for (key, value) in self.strings(&node) {
            let place = self.reading.places.value(&[node.kind.section(), node.name, key]);
            let template = place.map(|span| Template::read(value, span, self.text, &names, faults));
            templates.insert(key, template.unwrap_or_default());
        }
        let upstream = node.upstream.and_then(|upstream| before.get(upstream));
        let record_template = self.record_template(&node, upstream, faults);
        let mut axes: BTreeSet<String> = templates.values().flat_map(Template::axes).map(str::to_owned).collect();
        axes.extend(upstream.iter().flat_map(|upstream| upstream.axes.iter().cloned()));
        if node.kind == NodeKind::Merge {
            for axis in self.across(&node, upstream, faults) {
                faults.extend(self.merged_away(&node, &templates, axis));
                axes.remove(axis);
            }
        }
        node.sound &= faults.len() == found
            && upstream.is_none_or(|upstream| upstream.node.sound)
            && axes.iter().all(|axis| self.matrix[axis].is_some());
        Spread { node, templates, record_template, axes }
    }

    /// Reads the template of a prepare node. Its fields must have been kept by the load upstream.
    fn record_template(
        &self,
        node: &Node<'w>,
        upstream: Option<&Spread<'w>>,
        faults: &mut Vec<Fault>,
    ) -> Option<RecordTemplate> {
        if node.kind != NodeKind::Prepare {
            return None;
        }
        let value = self.workflow.prepare[node.name].template.as_deref()?;
        let span = self.reading.places.value(&["prepare", node.name, "template"])?;
        let written = Written::of(value, span, self.text);
        let template = RecordTemplate::read(value, &written, faults);
        for placeholder in upstream.iter().flat_map(|_| template.placeholders()) {
            let (load, at) = (upstream?.node.name, written.at(placeholder.at().clone()));
            faults.extend(not_kept(self.workflow, self.reading, load, &placeholder.field, at));
        }
        Some(template)
    }

    /// The axes that a merge is across, as far as what it merges has them; the others are reported.
    fn across(&self, node: &Node<'w>, upstream: Option<&Spread<'w>>, faults: &mut Vec<Fault>) -> Vec<&'w str> {
        let names: Vec<&str> = self.matrix.keys().map(String::as_str).collect();
        let there = |names: &[&str]| match names {
            [] => "the manifest has no matrix".to_owned(),
            _ => format!("the matrix has {}", listed(names.iter().copied())),
        };
        let mut across = Vec::new();
        for (n, axis) in self.workflow.merge[node.name].across.iter().enumerate() {
            let place = self.reading.places.value(&["merge", node.name, "across", &n.to_string()]);
            let Some(span) = place.filter(|_| !axis.trim().is_empty()) else { continue };
            if !names.contains(&axis.as_str()) {
                let fault = Fault::new(Code::UnknownAxis, format!("`{axis}` is no axis of the matrix"));
                faults.push(fault.at(span, "not an axis").help(hint(axis, &names, there)));
            } else if let Some(upstream) = upstream.filter(|upstream| upstream.node.sound) {
                if upstream.axes.contains(axis) {
                    across.push(axis.as_str());
                } else {
                    faults.push(not_across(axis, span, upstream));
                }
            }
        }
        across
    }

    /// The fault of a string that wants one value of an axis whose values are merged.
    fn merged_away(&self, node: &Node<'_>, templates: &BTreeMap<&'static str, Template>, axis: &str) -> Option<Fault> {
        let (key, _) = templates.iter().find(|(_, template)| template.axes().any(|used| used == axis))?;
        let span = self.reading.places.value(&["merge", node.name, key])?;
        let message = format!("`{}` is across `{axis}`, so its `{key}` cannot contain one value of it", node.id());
        let help = format!("all values of `{axis}` become one dataset: name it without");
        Some(Fault::new(Code::Across, message).at(span, format!("contains `{{{axis}}}`")).help(help))
    }

    /// The strings of a node that may mention axes.
    fn strings(&self, node: &Node<'w>) -> Vec<(&'static str, &'w str)> {
        match node.kind {
            NodeKind::Load => vec![("input", &self.workflow.load[node.name].input)],
            NodeKind::Prepare => {
                let prepare = &self.workflow.prepare[node.name];
                vec![("prefix", &prepare.prefix), ("suffix", &prepare.suffix)]
            }
            NodeKind::Embed => vec![("model", &self.workflow.embed[node.name].model)],
            NodeKind::Persist => {
                let persist = &self.workflow.persist[node.name];
                let label = persist.label.as_deref().map(|label| ("label", label));
                [("dir", persist.dir.as_str())].into_iter().chain(label).collect()
            }
            NodeKind::Merge => {
                let merge = &self.workflow.merge[node.name];
                let label = merge.label.as_deref().map(|label| ("label", label));
                [("dir", merge.dir.as_str())].into_iter().chain(label).collect()
            }
        }
    }

    /// Reports axes that no node uses, unless a fault may hide the use.
    fn unused_axes(&self, spreads: &[Spread<'_>], faults: &mut Vec<Fault>) {
        let hidden = |path: &manifest::Path| path.get(2).is_none_or(|key| TEMPLATED.contains(&key.as_str()));
        if self.reading.removed.iter().any(hidden) {
            return;
        }
        let used: BTreeSet<&str> = spreads.iter().flat_map(|spread| spread.axes.iter().map(String::as_str)).collect();
        let misspelt: Vec<&str> = faults
            .iter()
            .filter(|fault| fault.code == Code::UnknownAxis)
            .map(|fault| self.text.slice(fault.span()))
            .collect();
        let unused = self.matrix.keys().filter(|axis| {
            !used.contains(axis.as_str()) && !misspelt.iter().any(|word| nearest(word, [axis.as_str()]).is_some())
        });
        let unused: Vec<Fault> = unused.filter_map(|axis| self.unused(axis)).collect();
        faults.extend(unused);
    }

    fn unused(&self, axis: &str) -> Option<Fault> {
        let span = self.reading.places.key(&["matrix", axis])?;
        Some(
            Fault::new(Code::UnusedAxis, format!("no node uses the axis `{axis}`")).at(span, "not used").help(format!(
                "write `{{{axis}}}` where its value belongs, as in `load.NAME.input`, or remove the axis"
            )),
        )
    }

    /// Whether the sound nodes make no more steps than a run may have.
    fn count(&self, spreads: &[Spread<'_>], faults: &mut Vec<Fault>) -> bool {
        let counts: Vec<u128> = spreads.iter().map(|spread| self.steps(spread)).collect();
        let over = |index: usize| counts[index] > MAX_STEPS_PER_NODE;
        let before = faults.len();
        for (index, spread) in spreads.iter().enumerate() {
            // Below a node with too many steps every node has too many: one fault says it.
            if over(index) && !spread.node.upstream.is_some_and(over) {
                faults.push(self.too_many(spread, counts[index]));
            }
        }
        let total = counts.iter().fold(0, |total: u128, count| total.saturating_add(*count));
        if faults.len() == before && total > MAX_STEPS {
            let span = self.reading.places.key(&["matrix"]).unwrap_or(Span::new(0, 0));
            faults.push(
                Fault::new(Code::TooManySteps, format!("the workflow has {} steps", grouped(total)))
                    .at(span, format!("at most {} are allowed", grouped(MAX_STEPS)))
                    .help("shorten the ranges, or split the workflow: several may share one store"),
            );
        }
        faults.len() == before
    }

    fn steps(&self, spread: &Spread<'_>) -> u128 {
        if !spread.node.sound {
            return 0;
        }
        let lengths = spread.axes.iter().filter_map(|axis| self.matrix[axis].as_ref()).map(Values::len);
        lengths.fold(1, |product: u128, length| product.saturating_mul(length.into()))
    }

    fn too_many(&self, spread: &Spread<'_>, count: u128) -> Fault {
        let message = format!("`{}` has {} steps", spread.node.id(), grouped(count));
        let fault = Fault::new(Code::TooManySteps, message)
            .at(spread.node.head, format!("at most {} are allowed", grouped(MAX_STEPS_PER_NODE)));
        let counted = spread.axes.iter().filter_map(|axis| {
            let span = self.reading.places.value(&["matrix", axis])?;
            Some((span, self.matrix[axis].as_ref()?.len()))
        });
        counted
            .fold(fault, |fault, (span, len)| fault.at(span, format!("{} values", grouped(len.into()))))
            .help("shorten the ranges, or split the workflow: several may share one store")
    }
}

fn not_across(axis: &str, span: Span, upstream: &Spread<'_>) -> Fault {
    let axes: Vec<&str> = upstream.axes.iter().map(String::as_str).collect();
    let id = upstream.node.id();
    Fault::new(Code::Across, format!("`{id}` does not differ in `{axis}`"))
        .at(span, "nothing to merge across")
        .at(upstream.node.head, "what is merged")
        .help(match axes.as_slice() {
            [] => format!("`{id}` is one dataset: there is nothing to merge"),
            axes => format!("it differs in {}", listed(axes.iter().copied())),
        })
}

/// 1234567 as 1,234,567.
fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(50_000), "50,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
