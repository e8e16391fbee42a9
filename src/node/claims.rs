//! Which rows give way to a row that lists their bibcode as an alias.
//!
//! A claim says "that row is this paper too". Whoever is claimed by a claimed row is the same paper still, so claims are
//! followed to their ends. Rows that claim each other, in pairs or in longer rings, are one group, and claims between groups
//! make no ring:
//!
//! ```text
//! a <- b        b stays
//! a <- b <- c   c stays, for both
//! a <-> b       the later one stays
//! a <-> b <- c  c stays
//! a <- b, c     b and c stay, and the later one stands for a
//! ```
//!
//! Of each group that no other group claims the latest row stays, and every other row is reached from one that does:
//! nothing is lost. And no row that stays is claimed by another that does. Memory is that of the claims.

use std::collections::BTreeMap;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::Dfs;

use crate::index::keys::Holder;

/// A row that lists the bibcode of another as an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The row whose bibcode it is.
    pub claimed: Holder,
    /// The row that lists it.
    pub by: Holder,
}

/// The rows that give way, each with the row that stands for it: the latest of those that stay and claim it, if need be
/// through others.
pub fn settle(claims: &[Claim]) -> BTreeMap<Holder, Holder> {
    let mut rows: Vec<Holder> = claims.iter().flat_map(|claim| [claim.claimed, claim.by]).collect();
    rows.sort_unstable();
    rows.dedup();
    let node = |row: &Holder| NodeIndex::new(rows.binary_search(row).expect("every row of a claim is there"));
    let graph: DiGraph<(), ()> =
        DiGraph::from_edges(claims.iter().map(|claim| (node(&claim.by), node(&claim.claimed))));
    let mut staying = staying(&graph);
    staying.sort_unstable_by(|a, b| b.cmp(a));
    let mut gave_way = BTreeMap::new();
    let mut walk = Dfs::empty(&graph);
    for stays in staying {
        walk.move_to(stays);
        // Rows that a later one was reached from are not visited again.
        while let Some(reached) = walk.next(&graph) {
            if reached != stays {
                gave_way.insert(rows[reached.index()], rows[stays.index()]);
            }
        }
    }
    gave_way
}

/// The latest row of each group that no other group claims. Nodes are in the order of the rows.
fn staying(graph: &DiGraph<(), ()>) -> Vec<NodeIndex> {
    let groups = kosaraju_scc(graph);
    let mut group_of = vec![0; graph.node_count()];
    for (group, nodes) in groups.iter().enumerate() {
        nodes.iter().for_each(|node| group_of[node.index()] = group);
    }
    let mut is_claimed = vec![false; groups.len()];
    for edge in graph.raw_edges() {
        let (by, claimed) = (group_of[edge.source().index()], group_of[edge.target().index()]);
        is_claimed[claimed] |= by != claimed;
    }
    let unclaimed = groups.iter().zip(is_claimed).filter(|(_, is_claimed)| !is_claimed);
    unclaimed.filter_map(|(nodes, _)| nodes.iter().max().copied()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holder(row: u64) -> Holder {
        Holder { index: 0, row }
    }

    /// From pairs: who claims whom.
    fn settled(claims: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let claims: Vec<Claim> =
            claims.iter().map(|(by, claimed)| Claim { by: holder(*by), claimed: holder(*claimed) }).collect();
        settle(&claims).into_iter().map(|(row, stands)| (row.row, stands.row)).collect()
    }

    #[test]
    fn claims_are_followed_to_their_ends() {
        assert_eq!(settled(&[]), []);
        assert_eq!(settled(&[(2, 1)]), [(1, 2)]);
        assert_eq!(settled(&[(1, 2)]), [(2, 1)], "an earlier row may claim a later one");
        assert_eq!(settled(&[(3, 2), (2, 1)]), [(1, 3), (2, 3)]);
        assert_eq!(settled(&[(1, 2), (2, 1)]), [(1, 2)]);
        assert_eq!(settled(&[(1, 2), (2, 1), (0, 1)]), [(1, 0), (2, 0)]);
        assert_eq!(settled(&[(1, 2), (2, 3), (3, 1)]), [(1, 3), (2, 3)]);
        assert_eq!(settled(&[(2, 1), (3, 1)]), [(1, 3)]);
        assert_eq!(settled(&[(2, 1), (2, 1), (9, 8)]), [(1, 2), (8, 9)]);
    }

    /// A chain as long as a corpus would be, if somebody made one, is walked without recursion.
    #[test]
    fn a_long_chain() {
        let chain: Vec<(u64, u64)> = (0..200_000).map(|row| (row + 1, row)).collect();
        let settled = settled(&chain);
        assert_eq!(settled.len(), 200_000);
        assert!(settled.iter().all(|(_, stands)| *stands == 200_000));
    }

    /// Which rows each row reaches by claims, itself included, found by going on until nothing is new.
    fn reached(claims: &[(u64, u64)], from: u64) -> Vec<u64> {
        let mut reached = vec![from];
        loop {
            let is_new = |(by, claimed): &&(u64, u64)| reached.contains(by) && !reached.contains(claimed);
            match claims.iter().find(is_new).copied() {
                Some((_, claimed)) => reached.push(claimed),
                None => return reached,
            }
        }
    }

    proptest! {
        /// A row stays where every row that reaches it is reached from it and not later. All others lead to the latest
        /// row that stays and reaches them. So nothing is lost, and no row that stays is claimed by another.
        #[test]
        fn as_a_naive_search_says(pairs in prop::collection::vec((0u64..12, 0u64..12), 0..24)) {
            let claims: Vec<(u64, u64)> = pairs.into_iter().filter(|(by, claimed)| by != claimed).collect();
            let reaches: Vec<Vec<u64>> = (0..12).map(|row| reached(&claims, row)).collect();
            let reaching = |row: u64| (0..12).filter(|other| reaches[*other as usize].contains(&row)).collect::<Vec<u64>>();
            let stays = |row: u64| reaching(row).iter().all(|other| reaches[row as usize].contains(other) && *other <= row);
            let settled: BTreeMap<u64, u64> = settled(&claims).into_iter().collect();
            for row in 0..12 {
                let expected = reaching(row).into_iter().filter(|other| stays(*other)).max();
                prop_assert!(expected.is_some(), "{row} is lost");
                prop_assert_eq!(settled.get(&row).copied().or(Some(row)), expected);
                prop_assert_eq!(settled.contains_key(&row), !stays(row));
            }
            for (by, claimed) in &claims {
                prop_assert!(settled.contains_key(by) || settled.contains_key(claimed));
            }
        }
    }
}
