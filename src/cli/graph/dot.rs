//! The language of Graphviz.

use super::drawn::{Drawn, Look};

/// The drawing.
pub fn draw(drawn: &Drawn) -> String {
    let mut told = format!(
        "digraph {} {{\n  rankdir=LR\n  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\"]\n",
        quoted(&drawn.name)
    );
    for node in &drawn.boxes {
        let (fill, line) = match node.look() {
            Look::Fresh => ("#d7f0dd", "#1f7a3d"),
            Look::Stale => ("#fdecc8", "#9a6700"),
            Look::Pending => ("#eceff3", "#57606a"),
            Look::Blocked => ("#fbdcdc", "#b42318"),
        };
        let rows = node.row_words();
        let rows = if rows.is_empty() { rows } else { format!("\n{rows}") };
        let label = quoted(&format!("{}\n{}{rows}", node.id, node.states()));
        told.push_str(&format!("  {} [label={label}, fillcolor=\"{fill}\", color=\"{line}\"]\n", quoted(&node.id)));
    }
    for node in &drawn.boxes {
        for above in &node.upstreams {
            told.push_str(&format!("  {} -> {}\n", quoted(&drawn.boxes[*above].id), quoted(&node.id)));
        }
    }
    told + "}\n"
}

/// Names hold letters, digits, `_`, `.` and `-`: only the line breaks of labels need care.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\n', "\\n"))
}
