//! Where the boxes of a graph stand and how its lines run: in layers, after Sugiyama, Tagawa and Toda (1981).
//!
//! A box stands in the layer after the last of those that it reads from. A line that passes layers gets a place of its own
//! in each, so that it runs between the boxes. What is no graph without cycles is drawn as far as it is one.

/// Between two layers.
const BETWEEN_LAYERS: f64 = 44.0;
/// Between two boxes of a layer.
const BETWEEN_BOXES: f64 = 14.0;
/// What a line that passes a layer takes of it.
const LINE: f64 = 8.0;
/// Times that the layers are put in order, forth and back.
const SWEEPS: usize = 4;

/// Which way layers follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From left to right.
    Right,
    /// From the top down.
    Down,
}

/// A box: its upper left corner and its extent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Area {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// Where all is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    /// The boxes, in the order of their sizes.
    pub boxes: Vec<Area>,
    /// For each line that is drawn, where it leaves and enters layers: an even number of points.
    pub lines: Vec<Vec<[f64; 2]>>,
    pub width: f64,
    pub height: f64,
}

/// Lays out boxes of so much width and height, and lines from one box to another.
pub fn lay_out(sizes: &[[f64; 2]], edges: &[(usize, usize)], direction: Direction) -> Layout {
    let (along, across) = match direction {
        Direction::Right => (0, 1),
        Direction::Down => (1, 0),
    };
    let mut graph = Layered::new(sizes, edges, across);
    graph.reduce_crossings();
    let layout = graph.place(sizes, along);
    if direction == Direction::Right { layout } else { layout.turned() }
}

/// The layer of each of `count` boxes. Boxes on a cycle, and those after one, stay in the first.
pub fn layers(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut layer = vec![0; count];
    let mut open = vec![0usize; count];
    edges.iter().for_each(|(_, to)| open[*to] += 1);
    let mut ready: Vec<usize> = (0..count).filter(|vertex| open[*vertex] == 0).collect();
    let mut next = 0;
    while let Some(&from) = ready.get(next) {
        next += 1;
        for (_, to) in edges.iter().filter(|(source, _)| *source == from) {
            layer[*to] = layer[*to].max(layer[from] + 1);
            open[*to] -= 1;
            if open[*to] == 0 {
                ready.push(*to);
            }
        }
    }
    (0..count).filter(|vertex| open[*vertex] > 0).for_each(|vertex| layer[vertex] = 0);
    layer
}

/// A graph whose every line goes from one layer to the next.
struct Layered {
    /// The boxes' and then the passing places' extents across.
    across: Vec<f64>,
    /// What each layer holds, in order.
    rows: Vec<Vec<usize>>,
    /// The places through which each line goes, its ends included.
    chains: Vec<Vec<usize>>,
}

impl Layered {
    fn new(sizes: &[[f64; 2]], edges: &[(usize, usize)], across: usize) -> Self {
        let known: Vec<_> = edges.iter().copied().filter(|(a, b)| a != b && *a.max(b) < sizes.len()).collect();
        let layer = layers(sizes.len(), &known);
        let mut rows = vec![Vec::new(); layer.iter().max().map_or(0, |last| last + 1)];
        layer.iter().enumerate().for_each(|(vertex, layer)| rows[*layer].push(vertex));
        let mut graph = Self { across: sizes.iter().map(|size| size[across]).collect(), rows, chains: Vec::new() };
        for (from, to) in known.into_iter().filter(|(from, to)| layer[*from] < layer[*to]) {
            let between = layer[from] + 1..layer[to];
            let passed: Vec<usize> = between.map(|layer| graph.passing_place(layer)).collect();
            graph.chains.push([&[from], passed.as_slice(), &[to]].concat());
        }
        graph
    }

    fn passing_place(&mut self, layer: usize) -> usize {
        let place = self.across.len();
        self.across.push(LINE);
        self.rows[layer].push(place);
        place
    }

    /// Orders each layer by the middle of what its boxes hang together with, in the layer before it and after it in turn.
    fn reduce_crossings(&mut self) {
        let mut neighbours = [vec![Vec::new(); self.across.len()], vec![Vec::new(); self.across.len()]];
        for pair in self.chains.iter().flat_map(|chain| chain.windows(2)) {
            neighbours[0][pair[1]].push(pair[0]);
            neighbours[1][pair[0]].push(pair[1]);
        }
        for sweep in 0..SWEEPS {
            let forth = sweep % 2 == 0;
            for at in 1..self.rows.len() {
                let layer = if forth { at } else { self.rows.len() - 1 - at };
                self.order(layer, &neighbours[usize::from(!forth)]);
            }
        }
    }

    fn order(&mut self, layer: usize, neighbours: &[Vec<usize>]) {
        let middles = self.middles();
        let middle = |vertex: &usize| match neighbours[*vertex].as_slice() {
            [] => middles[*vertex],
            known => known.iter().map(|neighbour| middles[*neighbour]).sum::<f64>() / known.len() as f64,
        };
        self.rows[layer].sort_by(|a, b| middle(a).total_cmp(&middle(b)));
    }

    /// How far each box is from the middle of its layer.
    fn middles(&self) -> Vec<f64> {
        let mut middles = vec![0.0; self.across.len()];
        for row in &self.rows {
            let mut at = -self.extent(row) / 2.0;
            for vertex in row {
                middles[*vertex] = at + self.across[*vertex] / 2.0;
                at += self.across[*vertex] + BETWEEN_BOXES;
            }
        }
        middles
    }

    fn extent(&self, row: &[usize]) -> f64 {
        let boxes: f64 = row.iter().map(|vertex| self.across[*vertex]).sum();
        boxes + row.len().saturating_sub(1) as f64 * BETWEEN_BOXES
    }

    /// Gives everything its place; x goes along the layers.
    fn place(&self, sizes: &[[f64; 2]], along: usize) -> Layout {
        let height = self.rows.iter().map(|row| self.extent(row)).fold(0.0, f64::max);
        let middles: Vec<f64> = self.middles().into_iter().map(|middle| middle + height / 2.0).collect();
        let mut layout = Layout { boxes: vec![Area::default(); sizes.len()], height, ..Layout::default() };
        let mut bounds = vec![[0.0; 2]; self.across.len()];
        for row in &self.rows {
            let extent = row.iter().filter_map(|vertex| sizes.get(*vertex)).map(|size| size[along]).fold(0.0, f64::max);
            let x = if layout.width > 0.0 { layout.width + BETWEEN_LAYERS } else { 0.0 };
            for vertex in row {
                let width = sizes.get(*vertex).map_or(extent, |size| size[along]);
                bounds[*vertex] = [x, x + width];
                if let Some(area) = layout.boxes.get_mut(*vertex) {
                    let height = self.across[*vertex];
                    *area = Area { x, y: middles[*vertex] - height / 2.0, width, height };
                }
            }
            layout.width = x + extent;
        }
        let ends = |vertex: &usize| bounds[*vertex].map(|x| [x, middles[*vertex]]);
        let line = |chain: &Vec<usize>| {
            let points: Vec<[f64; 2]> = chain.iter().flat_map(ends).collect();
            points[1..points.len() - 1].to_vec()
        };
        layout.lines = self.chains.iter().map(line).collect();
        layout
    }
}

impl Layout {
    fn turned(self) -> Self {
        let turn = |area: Area| Area { x: area.y, y: area.x, width: area.height, height: area.width };
        Self {
            boxes: self.boxes.into_iter().map(turn).collect(),
            lines: self.lines.into_iter().map(|line| line.into_iter().map(|[x, y]| [y, x]).collect()).collect(),
            width: self.height,
            height: self.width,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: [f64; 2] = [172.0, 52.0];

    fn apart(layout: &Layout) {
        for (index, one) in layout.boxes.iter().enumerate() {
            assert!(one.x >= 0.0 && one.y >= 0.0);
            assert!(one.x + one.width <= layout.width + 1e-9 && one.y + one.height <= layout.height + 1e-9);
            for other in &layout.boxes[index + 1..] {
                let beside = one.x + one.width <= other.x || other.x + other.width <= one.x;
                let above = one.y + one.height <= other.y || other.y + other.height <= one.y;
                assert!(beside || above, "{one:?} is on {other:?}");
            }
        }
    }

    /// `years` chains of four, and a merge of them all.
    fn pipeline(years: usize) -> (usize, Vec<(usize, usize)>) {
        let chain = |year: usize| (0..3).map(move |at| (year * 4 + at, year * 4 + at + 1));
        let merged = (0..years).map(|year| (year * 4 + 3, years * 4));
        (years * 4 + 1, (0..years).flat_map(chain).chain(merged).collect())
    }

    #[test]
    fn one_box_stands_alone() {
        let layout = lay_out(&[SIZE], &[], Direction::Right);
        assert_eq!((layout.width, layout.height, layout.lines.len()), (172.0, 52.0, 0));
        assert_eq!(lay_out(&[], &[], Direction::Down), Layout::default());
    }

    #[test]
    fn five_boxes_in_a_row_are_five_layers() {
        let (count, edges) = pipeline(1);
        let layout = lay_out(&vec![SIZE; count], &edges, Direction::Right);
        apart(&layout);
        assert!(layout.boxes.is_sorted_by(|a, b| a.x + a.width < b.x && a.y == b.y));
        assert_eq!(layout.lines.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2, 2]);
    }

    #[test]
    fn a_hundred_and_twenty_boxes_do_not_touch_and_lines_go_forwards() {
        let (count, edges) = pipeline(30);
        for direction in [Direction::Right, Direction::Down] {
            let layout = lay_out(&vec![SIZE; count], &edges, direction);
            apart(&layout);
            assert_eq!(layout.lines.len(), edges.len());
            let along = usize::from(direction == Direction::Down);
            assert!(layout.lines.iter().all(|line| line.is_sorted_by(|a, b| a[along] < b[along])));
        }
    }

    #[test]
    fn years_stay_in_their_row() {
        let (count, edges) = pipeline(3);
        let layout = lay_out(&vec![SIZE; count], &edges, Direction::Right);
        for year in layout.boxes[..12].chunks(4) {
            assert!(year.iter().all(|area| area.y == year[0].y));
        }
        assert_eq!(layout.boxes[12].y, layout.boxes[4].y);
    }

    #[test]
    fn a_line_that_passes_a_layer_passes_beside_its_boxes() {
        let layout = lay_out(&[SIZE; 3], &[(0, 1), (1, 2), (0, 2)], Direction::Right);
        let passing = &layout.lines[2];
        assert_eq!(passing.len(), 4);
        let passed = layout.boxes[1];
        assert!(passing[1][1] < passed.y || passing[1][1] > passed.y + passed.height);
    }

    #[test]
    fn crossed_lines_are_uncrossed() {
        let layout = lay_out(&[SIZE; 4], &[(0, 3), (1, 2)], Direction::Right);
        assert!(layout.boxes[3].y < layout.boxes[2].y);
    }

    #[test]
    fn what_is_no_graph_is_drawn_all_the_same() {
        let layout = lay_out(&[SIZE; 3], &[(0, 1), (1, 0), (1, 1), (7, 2), (0, 9), (1, 2)], Direction::Right);
        apart(&layout);
        assert_eq!(layout.boxes.len(), 3);
    }
}
