//! From a manifest to a graph: the way in, and the checks that need two nodes.

use super::names::Node;
use super::{Graph, NodeKind, expand, names};
use crate::encoding::Dtype;
use crate::manifest::spec::Workflow;
use crate::manifest::{self, Code, Fault, Faults, Reading, Source, Span, Text, hint, listed};

/// Reads a manifest, with overrides of the form `section.node.key=value`, and resolves it into a graph.
///
/// # Errors
///
/// Everything that is wrong with the manifest and the overrides, at once.
pub fn resolve(source: &Source, overrides: &[String]) -> Result<Graph, Faults> {
    let text = Text::new(source, overrides);
    let mut reading = manifest::read(&text);
    let mut faults = std::mem::take(&mut reading.faults);
    let workflow = reading.workflow.take();
    let graph = workflow.map(|workflow| build(&workflow, &reading, &text, &mut faults));
    match graph {
        Some(graph) if faults.is_empty() => Ok(Graph { overrides: overrides.to_vec(), ..graph }),
        _ => Err(Faults::new(&text, faults)),
    }
}

fn build(workflow: &Workflow, reading: &Reading, text: &Text, faults: &mut Vec<Fault>) -> Graph {
    manifest::check(workflow, reading, text, faults);
    let mut nodes = names::nodes(workflow, reading);
    if nodes.is_empty() && reading.removed.is_empty() {
        faults.push(no_nodes(reading));
    }
    names::link(&mut nodes, reading, faults);
    for node in &nodes {
        check_fields(workflow, reading, &nodes, node, faults);
        check_width(workflow, reading, &nodes, node, faults);
        check_view(workflow, reading, &nodes, node, faults);
        check_exported_fields(workflow, reading, &nodes, node, faults);
    }
    let steps = expand::expand(workflow, reading, text, nodes, faults);
    Graph { name: workflow.name.clone(), store: workflow.store.clone(), steps, overrides: Vec::new() }
}

fn no_nodes(reading: &Reading) -> Fault {
    let span = reading.places.value(&["name"]).unwrap_or(Span::new(0, 0));
    Fault::new(Code::NoNodes, "the workflow has no nodes")
        .at(span, "nothing to do")
        .help("add `[load.NAME]`, `[prepare.NAME]`, `[embed.NAME]` and `[persist.NAME]`")
}

/// Fields that make a text must have been kept by the load upstream.
fn check_fields(workflow: &Workflow, reading: &Reading, nodes: &[Node<'_>], node: &Node<'_>, faults: &mut Vec<Fault>) {
    let (NodeKind::Prepare, Some(upstream)) = (node.kind, node.upstream) else { return };
    for (n, field) in workflow.prepare[node.name].fields.iter().flatten().enumerate() {
        let Some(span) = reading.places.value(&["prepare", node.name, "fields", &n.to_string()]) else { continue };
        faults.extend(not_kept(workflow, reading, nodes[upstream].name, field, span));
    }
}

/// Fields that are exported too.
fn check_exported_fields(
    workflow: &Workflow,
    reading: &Reading,
    nodes: &[Node<'_>],
    node: &Node<'_>,
    faults: &mut Vec<Fault>,
) {
    let exports = match node.kind {
        NodeKind::Persist => &workflow.persist[node.name].export,
        NodeKind::Merge => &workflow.merge[node.name].export,
        _ => return,
    };
    // A circle of merges has no load, and is reported elsewhere.
    let chain = std::iter::successors(Some(node), |node| Some(&nodes[node.upstream?]));
    let Some(load) = chain.take(nodes.len()).find(|node| node.kind == NodeKind::Load) else { return };
    for export in exports.each() {
        for (n, field) in export.fields().iter().enumerate() {
            let path = [node.kind.section(), node.name, "export", export.format(), "fields", &n.to_string()];
            let Some(span) = reading.places.value(&path) else { continue };
            faults.extend(not_kept(workflow, reading, load.name, field, span));
        }
    }
}

/// The fault of a field, named at `span`, that a load node does not keep; none where it does, or where that cannot be told.
pub(super) fn not_kept(workflow: &Workflow, reading: &Reading, load: &str, field: &str, span: Span) -> Option<Fault> {
    let kept_at = reading.places.value(&["load", load, "fields"])?;
    let kept: Vec<&str> = workflow.load[load].fields.iter().map(String::as_str).collect();
    if kept.contains(&field) || field.trim().is_empty() || reading.damaged(&["load", load, "fields"]) {
        return None;
    }
    let fault = Fault::new(Code::UnknownField, format!("`load.{load}` does not keep the field `{field}`"))
        .at(span, "not kept")
        .at(kept_at, "the fields that are kept");
    // What is inside a field is a field of its own, which the field does not bring along.
    if let Some((whole, _)) = field.split_once('.').filter(|(whole, _)| kept.contains(whole)) {
        return Some(fault.help(format!(
            "`{whole}` is kept as a whole: to have a part of it, add `\"{field}\"` to the `fields` of `load.{load}`"
        )));
    }
    Some(fault.help(hint(field, &kept, |kept| match workflow.matrix.contains_key(field) {
        true => format!("`{field}` is an axis: it may stand in `prefix` and `suffix`"),
        false => format!("`load.{load}` keeps {}", listed(kept.iter().copied())),
    })))
}

/// Publishing may narrow vectors. Widening would print digits that the store never had.
fn check_width(workflow: &Workflow, reading: &Reading, nodes: &[Node<'_>], node: &Node<'_>, faults: &mut Vec<Fault>) {
    let (NodeKind::Persist, Some(upstream)) = (node.kind, node.upstream) else { return };
    let embed = &nodes[upstream];
    let (published, stored) = (workflow.persist[node.name].dtype, workflow.embed[embed.name].store_dtype);
    let Some(span) = reading.places.value(&["persist", node.name, "dtype"]) else { return };
    if !published.widens(stored) || reading.damaged(&["embed", embed.name, "store_dtype"]) {
        return;
    }
    let (stored_at, label) = match reading.places.value(&["embed", embed.name, "store_dtype"]) {
        Some(span) => (span, format!("kept as {stored}")),
        None => (embed.head, format!("keeps {stored}, the default")),
    };
    faults.push(
        Fault::new(Code::Widened, format!("{stored} vectors cannot be published as {published}"))
            .at(span, format!("wider than what `{}` keeps", embed.id()))
            .at(stored_at, label)
            .help(format!("to keep the digits, set `embed.{}.store_dtype = \"{}\"`", embed.name, Dtype::F32)),
    );
}

/// A view has no vectors of its own to merge.
fn check_view(workflow: &Workflow, reading: &Reading, nodes: &[Node<'_>], node: &Node<'_>, faults: &mut Vec<Fault>) {
    let (NodeKind::Merge, Some(upstream), Some((_, span))) = (node.kind, node.upstream, node.from) else { return };
    let view = &nodes[upstream];
    let Some(merge) = workflow.merge.get(view.name).filter(|merge| view.kind == NodeKind::Merge && merge.view) else {
        return;
    };
    let made_at = reading.places.value(&["merge", view.name, "view"]).unwrap_or(view.head);
    faults.push(
        Fault::new(Code::WrongUpstream, format!("`{}` cannot merge a view", node.id()))
            .at(span, format!("`{}` is a view", view.name))
            .at(made_at, "made a view here")
            .help(format!("merge its parts, `from = \"{}\"`, or drop `view` of `{}`", merge.from, view.id())),
    );
}
