//! Names: which node each `from` means.
//!
//! All nodes share one namespace, so that a name says which node is meant without its section. Every fault is found
//! in one pass; a node in a cycle is reported for the cycle alone, whatever else is wrong with its `from`.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;

use super::NodeKind;
use crate::manifest::spec::Workflow;
use crate::manifest::{Code, Fault, Path, Places, Reading, Span, hint, listed, nearest};

/// One node of the manifest, before it is multiplied by the matrix.
#[derive(Clone, Debug)]
pub(super) struct Node<'w> {
    pub kind: NodeKind,
    pub name: &'w str,
    /// Where its name stands.
    pub head: Span,
    /// What `from` says, where it says anything readable.
    pub from: Option<(&'w str, Span)>,
    /// The node it reads from, of the right kind.
    pub upstream: Option<usize>,
    /// Whether all of it, and all upstream, could be read: only such nodes become steps.
    pub sound: bool,
}

impl Node<'_> {
    /// `embed.minilm`.
    pub fn id(&self) -> String {
        format!("{}.{}", self.kind, self.name)
    }
}

/// The nodes by kind and name, which puts upstreams first.
pub(super) fn nodes<'w>(workflow: &'w Workflow, reading: &Reading) -> Vec<Node<'w>> {
    let places = &reading.places;
    let load = workflow.load.keys().map(|name| (NodeKind::Load, name, None));
    let prepare = workflow.prepare.iter().map(|(name, node)| (NodeKind::Prepare, name, Some(&node.from)));
    let embed = workflow.embed.iter().map(|(name, node)| (NodeKind::Embed, name, Some(&node.from)));
    let persist = workflow.persist.iter().map(|(name, node)| (NodeKind::Persist, name, Some(&node.from)));
    let merge = merges(workflow).into_iter().map(|name| (NodeKind::Merge, name, Some(&workflow.merge[name].from)));
    let node = |(kind, name, from): (NodeKind, &'w String, Option<&'w String>)| Node {
        kind,
        name,
        head: head(places, kind, name),
        from: from.and_then(|from| Some((from.as_str(), places.value(&[kind.section(), name, "from"])?))),
        upstream: None,
        sound: !reading.damaged(&[kind.section(), name]),
    };
    load.chain(prepare).chain(embed).chain(persist).chain(merge).map(node).collect()
}

/// The merge nodes by name, save that one which merges another comes after it.
fn merges(workflow: &Workflow) -> Vec<&String> {
    let depth = |name: &String| {
        let mut at = &workflow.merge[name].from;
        // Merges in a circle would be followed for ever; they are reported elsewhere.
        let chain = std::iter::from_fn(|| {
            at = &workflow.merge.get(at)?.from;
            Some(())
        });
        chain.take(workflow.merge.len()).count()
    };
    let mut names: Vec<&String> = workflow.merge.keys().collect();
    names.sort_by_key(|name| depth(name));
    names
}

fn head(places: &Places, kind: NodeKind, name: &str) -> Span {
    places.key(&[kind.section(), name]).expect("a node that was read has a place")
}

/// Sets every `upstream`, and reports names that are used twice, mean nothing, or mean the wrong node.
pub(super) fn link(nodes: &mut [Node<'_>], reading: &Reading, faults: &mut Vec<Fault>) {
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, node) in nodes.iter().enumerate() {
        by_name.entry(node.name).or_default().push(index);
    }
    faults.extend(by_name.values().filter_map(|same| duplicate(nodes, same)));

    let meant: Vec<Option<usize>> = nodes.iter().map(|node| meant(nodes, node, &by_name)).collect();
    let cyclic = cycles(nodes, &meant, faults);
    for index in 0..nodes.len() {
        let verdict = judge(nodes, index, meant[index]);
        let node = &mut nodes[index];
        match verdict {
            Ok(upstream) => node.upstream = upstream.filter(|_| !cyclic.contains(&index)),
            Err(fault) if !cyclic.contains(&index) && !hidden(node, fault.code, reading) => faults.push(fault),
            Err(_) => {}
        }
        let rooted = node.kind == NodeKind::Load || node.upstream.is_some();
        node.sound &= rooted;
        // Upstreams come first, so theirs is settled; only merges below a circle can stand before what they read from.
        nodes[index].sound &= nodes[index].upstream.is_none_or(|upstream| upstream < index && nodes[upstream].sound);
    }
}

/// Whether the node that is meant may be one that could not be read.
fn hidden(node: &Node<'_>, code: Code, reading: &Reading) -> bool {
    let sections: Vec<&str> = node.kind.reads_from().iter().map(|kind| kind.section()).collect();
    let lost =
        |path: &Path| path.len() <= 2 && path.first().is_some_and(|section| sections.contains(&section.as_str()));
    code == Code::UnknownNode && reading.removed.iter().any(lost)
}

fn duplicate(nodes: &[Node<'_>], same: &[usize]) -> Option<Fault> {
    let mut heads: Vec<(Span, String)> = same.iter().map(|index| (nodes[*index].head, nodes[*index].id())).collect();
    heads.sort();
    let ((last, id), others) = heads.split_last().filter(|(_, others)| !others.is_empty())?;
    let name = nodes[same[0]].name;
    let fault = Fault::new(Code::DuplicateName, format!("two nodes are named `{name}`")).at(*last, format!("`{id}`"));
    let fault = others.iter().fold(fault, |fault, (span, id)| fault.at(*span, format!("`{id}`")));
    Some(fault.help("a name stands for one node, whatever its section: rename one of them"))
}

/// The node that `from` names; of several with one name the one that fits, because the name is already reported.
fn meant(nodes: &[Node<'_>], node: &Node<'_>, by_name: &BTreeMap<&str, Vec<usize>>) -> Option<usize> {
    let same = by_name.get(node.from?.0)?;
    let fits = |index: &&usize| node.kind.reads_from().contains(&nodes[**index].kind);
    same.iter().find(fits).or(same.first()).copied()
}

fn judge(nodes: &[Node<'_>], index: usize, meant: Option<usize>) -> Result<Option<usize>, Fault> {
    let node = &nodes[index];
    let needed = node.kind.reads_from();
    let (Some((from, span)), false) = (node.from, needed.is_empty()) else { return Ok(None) };
    let fitting = nodes.iter().enumerate().filter(|(at, other)| *at != index && needed.contains(&other.kind));
    let candidates: Vec<&str> = fitting.map(|(_, other)| other.name).collect();
    let kinds = needed.iter().map(NodeKind::to_string).collect::<Vec<_>>().join(" or ");
    let there = |candidates: &[&str]| match candidates {
        [] => format!("the manifest has no {kinds} node"),
        _ => format!("the manifest's {kinds} nodes: {}", listed(candidates.iter().copied())),
    };
    let Some(meant) = meant else {
        return Err(Fault::new(Code::UnknownNode, format!("no node is named `{from}`"))
            .at(span, "not a node")
            .help(hint(from, &candidates, there)));
    };
    let found = nodes[meant].kind;
    if needed.contains(&found) {
        return Ok(Some(meant));
    }
    let near = nearest(from, candidates.iter().copied());
    let found = if found == NodeKind::Embed { format!("an {found} node") } else { format!("a {found} node") };
    Err(Fault::new(Code::WrongUpstream, format!("`{}` cannot read from {found}", node.id()))
        .at(span, format!("`{from}` is {found}"))
        .help(match near {
            Some(near) => format!("{} reads from {kinds}: did you mean `{near}`?", node.kind),
            None => format!("{} reads from {kinds}; {}", node.kind, there(&candidates)),
        }))
}

/// Reports every cycle, and returns the nodes in one.
fn cycles(nodes: &[Node<'_>], meant: &[Option<usize>], faults: &mut Vec<Fault>) -> BTreeSet<usize> {
    let mut graph = DiGraph::<(), ()>::new();
    let vertices: Vec<_> = nodes.iter().map(|_| graph.add_node(())).collect();
    for (index, upstream) in meant.iter().enumerate() {
        if let Some(upstream) = upstream {
            graph.add_edge(vertices[*upstream], vertices[index], ());
        }
    }
    let mut cyclic = BTreeSet::new();
    for component in tarjan_scc(&graph) {
        let members: BTreeSet<usize> = component.iter().map(|vertex| vertex.index()).collect();
        let first = members.first().copied().expect("a component has a node");
        if members.len() > 1 || meant[first] == Some(first) {
            faults.push(cycle(nodes, meant, first));
            cyclic.extend(members);
        }
    }
    cyclic
}

/// The fault for the cycle through `first`. Every node has one upstream, so a component is one ring.
fn cycle(nodes: &[Node<'_>], meant: &[Option<usize>], first: usize) -> Fault {
    let mut ring = vec![first];
    let mut at = first;
    while let Some(upstream) = meant[at].filter(|upstream| *upstream != first) {
        ring.push(upstream);
        at = upstream;
    }
    let chain: Vec<&str> = std::iter::once(&first).chain(ring.iter().rev()).map(|index| nodes[*index].name).collect();
    let fault = Fault::new(Code::Cycle, format!("nodes read from each other in a circle: {}", chain.join(" -> ")));
    let fault = ring
        .iter()
        .filter_map(|index| nodes[*index].from)
        .fold(fault, |fault, (from, span)| fault.at(span, format!("reads from `{from}`")));
    fault.help("the data must come from a load node: load -> prepare -> embed -> persist -> merge")
}
