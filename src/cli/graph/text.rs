//! Lines for a terminal: each node below the one that it reads from, indented.

use console::style;

use super::drawn::{Drawn, Look, Node};

/// The drawing.
pub fn draw(drawn: &Drawn) -> String {
    let mut lines = Vec::new();
    for (at, root) in drawn.boxes.iter().enumerate() {
        if root.upstreams.is_empty() {
            branch(drawn, at, "", "", &mut lines);
        }
    }
    let width = lines.iter().map(|(text, _)| text.chars().count()).max().unwrap_or(0);
    let line = |(text, node): &(String, &Node)| {
        let states = node.states();
        let states = match node.look() {
            Look::Fresh => style(states).green(),
            Look::Stale => style(states).yellow(),
            Look::Pending => style(states).dim(),
            Look::Blocked => style(states).red(),
        };
        let rows = node.row_words();
        let rows = if rows.is_empty() { rows } else { format!("  {rows}") };
        format!("{text:width$}  {states}{rows}\n")
    };
    lines.iter().map(line).collect()
}

/// A node and what reads from it. Every node reads from one, so each is told once.
fn branch<'a>(drawn: &'a Drawn, at: usize, head: &str, below: &str, lines: &mut Vec<(String, &'a Node)>) {
    let node = &drawn.boxes[at];
    lines.push((format!("{head}{}", node.id), node));
    let readers: Vec<usize> =
        (0..drawn.boxes.len()).filter(|other| drawn.boxes[*other].upstreams.contains(&at)).collect();
    for (nth, reader) in readers.iter().enumerate() {
        let (turn, bar) = if nth + 1 == readers.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        branch(drawn, *reader, &format!("{below}{turn}"), &format!("{below}{bar}"), lines);
    }
}
