//! A picture: columns from left to right by how many nodes are above, light and dark as the reader has it.

use super::drawn::{Drawn, Look, Node};

const BOX_WIDTH: usize = 190;
const BOX_HEIGHT: usize = 62;
const COLUMN_GAP: usize = 60;
const ROW_GAP: usize = 22;
const MARGIN: usize = 20;

const STYLE: &str = "
  text { font: 13px system-ui, sans-serif; fill: #1b1f24 }
  .states { font-size: 12px; fill: #57606a }
  rect { stroke-width: 1.5 }
  .fresh { fill: #d7f0dd; stroke: #1f7a3d } .stale { fill: #fdecc8; stroke: #9a6700 }
  .pending { fill: #eceff3; stroke: #57606a } .blocked { fill: #fbdcdc; stroke: #b42318 }
  path { fill: none; stroke: #8c959f; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .states { fill: #b6c0cc }
    .fresh { fill: #12361f; stroke: #46c46e } .stale { fill: #3d2e06; stroke: #d9a521 }
    .pending { fill: #23292f; stroke: #8c959f } .blocked { fill: #47191a; stroke: #f0675c }
  }
";

/// The drawing.
pub fn draw(drawn: &Drawn) -> String {
    let places = places(drawn);
    let (width, height) = places.iter().fold((0, 0), |(width, height), (x, y)| {
        (width.max(x + BOX_WIDTH + MARGIN), height.max(y + BOX_HEIGHT + MARGIN))
    });
    let mut told = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\" aria-label=\"The nodes of {}\">\n<style>{STYLE}</style>\n",
        drawn.name
    );
    for (node, (x, y)) in drawn.boxes.iter().zip(&places) {
        for above in &node.upstreams {
            let (from_x, from_y) = (places[*above].0 + BOX_WIDTH, places[*above].1 + BOX_HEIGHT / 2);
            let (to_y, bend) = (y + BOX_HEIGHT / 2, COLUMN_GAP / 2);
            let (out, into) = (from_x + bend, x - bend);
            told.push_str(&format!("<path d=\"M{from_x} {from_y} C{out} {from_y} {into} {to_y} {x} {to_y}\"/>\n"));
        }
    }
    for (node, (x, y)) in drawn.boxes.iter().zip(&places) {
        told.push_str(&drawn_box(node, *x, *y));
    }
    told + "</svg>\n"
}

/// The upper left corners of the boxes: a column for each depth.
fn places(drawn: &Drawn) -> Vec<(usize, usize)> {
    let mut filled: Vec<usize> = Vec::new();
    let place = |node: &Node| {
        filled.resize(filled.len().max(node.depth + 1), 0);
        let row = filled[node.depth];
        filled[node.depth] += 1;
        (MARGIN + node.depth * (BOX_WIDTH + COLUMN_GAP), MARGIN + row * (BOX_HEIGHT + ROW_GAP))
    };
    drawn.boxes.iter().map(place).collect()
}

fn drawn_box(node: &Node, x: usize, y: usize) -> String {
    let class = match node.look() {
        Look::Fresh => "fresh",
        Look::Stale => "stale",
        Look::Pending => "pending",
        Look::Blocked => "blocked",
    };
    let (left, first, second, third) = (x + 12, y + 22, y + 39, y + 54);
    format!(
        "<g><rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"8\"/>\
         <text x=\"{left}\" y=\"{first}\">{}</text><text class=\"states\" x=\"{left}\" y=\"{second}\">{}</text>\
         <text class=\"states\" x=\"{left}\" y=\"{third}\">{}</text></g>\n",
        node.id,
        node.states(),
        node.row_words()
    )
}
