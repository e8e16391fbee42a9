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
    let node = |(kind, name, from): (NodeKind, &'w String, Option<&'w String>)| Node {
        kind,
        name,
        head: head(places, kind, name),
        from: from.and_then(|from| Some((from.as_str(), places.value(&[kind.section(), name, "from"])?))),
        upstream: None,
        sound: !reading.damaged(&[kind.section(), name]),
    };
    load.chain(prepare).chain(embed).chain(persist).map(node).collect()
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
            Ok(upstream) => node.upstream = upstream,
            Err(fault) if !cyclic.contains(&index) && !hidden(node, fault.code, reading) => faults.push(fault),
            Err(_) => {}
        }
        let rooted = node.kind == NodeKind::Load || node.upstream.is_some();
        node.sound &= rooted;
        // Upstreams come first, so theirs is settled.
        nodes[index].sound &= nodes[index].upstream.is_none_or(|upstream| nodes[upstream].sound);
    }
}

/// Whether the node that is meant may be one that could not be read.
fn hidden(node: &Node<'_>, code: Code, reading: &Reading) -> bool {
    let section = node.kind.reads_from().map(NodeKind::section);
    let lost = |path: &Path| path.len() <= 2 && path.first().map(String::as_str) == section;
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
    let fits = |index: &&usize| Some(nodes[**index].kind) == node.kind.reads_from();
    same.iter().find(fits).or(same.first()).copied()
}

fn judge(nodes: &[Node<'_>], index: usize, meant: Option<usize>) -> Result<Option<usize>, Fault> {
    let node = &nodes[index];
    let (Some((from, span)), Some(needed)) = (node.from, node.kind.reads_from()) else { return Ok(None) };
    let candidates: Vec<&str> = nodes.iter().filter(|other| other.kind == needed).map(|other| other.name).collect();
    let there = |candidates: &[&str]| match candidates {
        [] => format!("the manifest has no {needed} node"),
        _ => format!("the manifest's {needed} nodes: {}", listed(candidates.iter().copied())),
    };
    let Some(meant) = meant else {
        return Err(Fault::new(Code::UnknownNode, format!("no node is named `{from}`"))
            .at(span, "not a node")
            .help(hint(from, &candidates, there)));
    };
    let found = nodes[meant].kind;
    if found == needed {
        return Ok(Some(meant));
    }
    let near = nearest(from, candidates.iter().copied());
    Err(Fault::new(Code::WrongUpstream, format!("`{}` cannot read from a {found} node", node.id()))
        .at(span, format!("`{from}` is a {found} node"))
        .help(match near {
            Some(near) => format!("{} reads from {needed}: did you mean `{near}`?", node.kind),
            None => format!("{} reads from {needed}; {}", node.kind, there(&candidates)),
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
    fault.help("the data must come from a load node: load -> prepare -> embed -> persist")
}
