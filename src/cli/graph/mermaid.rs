//! The language of Mermaid.

use super::drawn::{Drawn, Look};

/// The drawing.
pub fn draw(drawn: &Drawn) -> String {
    let mut told = String::from("flowchart LR\n");
    for (at, node) in drawn.boxes.iter().enumerate() {
        let class = match node.look() {
            Look::Fresh => "fresh",
            Look::Stale => "stale",
            Look::Pending => "pending",
            Look::Blocked => "blocked",
        };
        let rows = node.row_words();
        let rows = if rows.is_empty() { rows } else { format!("<br>{rows}") };
        told.push_str(&format!("  n{at}[\"{}<br>{}{rows}\"]:::{class}\n", node.id, node.states()));
    }
    for (at, node) in drawn.boxes.iter().enumerate() {
        for above in &node.upstreams {
            told.push_str(&format!("  n{above} --> n{at}\n"));
        }
    }
    told + "  classDef fresh fill:#d7f0dd,stroke:#1f7a3d,color:#123\n  classDef stale fill:#fdecc8,stroke:#9a6700,color:#123\n  \
            classDef pending fill:#eceff3,stroke:#57606a,color:#123\n  classDef blocked fill:#fbdcdc,stroke:#b42318,color:#123\n"
}
