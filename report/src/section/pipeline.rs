//! The graph of the run. Where a layer would have too many boxes, the steps of a node share one, with a cell for each.

use super::Section;
use crate::data::{Kind, Report, State, Step};
use crate::escape::Escaped;
use crate::groups::{self, Group, by_node, kind_word, state_words};
use crate::layers::{Area, Direction, lay_out, layers};
use crate::words::{count, counted, duration, shortened};

/// A box's width: five layers of them fit the page.
const WIDTH: f64 = 188.0;
/// Boxes of a layer that a wide and a narrow window show one by one.
const MOST: [usize; 2] = [6, 2];
/// Characters of a name, in the box's font, that fit its width.
const NAME: usize = 22;
/// Characters of what else is said that fit it.
const LINE: usize = 25;
/// Steps that a box has a cell for each; of more, a cell stands for several.
const CELLS: usize = 40;
/// A drawing that is wider than the window becomes that much smaller before it has to be scrolled.
const LEAST_SCALE: f64 = 0.85;
/// Around the drawing, for the width of its lines.
const MARGIN: f64 = 2.0;

pub fn section(report: &Report) -> Option<Section> {
    if report.steps.is_empty() {
        return None;
    }
    let body = format!(
        "<div class=\"scroll on-wide\" tabindex=\"0\" role=\"group\" aria-label=\"Graph of the workflow\">{}</div>\
         <div class=\"scroll on-narrow\" tabindex=\"0\" role=\"group\" aria-label=\"Graph of the workflow, from the top down\">{}</div>{}",
        drawing(report, Direction::Right, MOST[0]),
        drawing(report, Direction::Down, MOST[1]),
        legend(report)
    );
    Section::wide("pipeline", "Pipeline", body)
}

fn drawing(report: &Report, direction: Direction, most: usize) -> String {
    let steps = &report.steps;
    let edges = edges(steps);
    let grouped = breadth(&layers(steps.len(), &edges)) > most;
    let (nodes, edges) = if grouped { gathered(steps, &edges) } else { (singles(steps), edges) };
    let boxes: Vec<Content> = nodes.iter().map(|node| content(report, node)).collect();
    let heights: Vec<f64> = boxes.iter().map(Content::height).collect();
    // Boxes of one height stand in rows: a year's line then runs straight.
    let tallest = heights.iter().copied().fold(0.0, f64::max);
    let sizes: Vec<[f64; 2]> = heights.into_iter().map(|own| [WIDTH, if grouped { own } else { tallest }]).collect();
    let layout = lay_out(&sizes, &edges, direction);
    let lines: String = layout.lines.iter().map(|line| curve(line, direction)).collect();
    let boxes: String = boxes.iter().zip(&layout.boxes).map(|(content, area)| content.svg(area)).collect();
    let (width, height) = (layout.width + 2.0 * MARGIN, layout.height + 2.0 * MARGIN);
    format!(
        "<svg class=\"graph\" role=\"img\" aria-label=\"{}\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"{start} {start} {width:.0} {height:.0}\" style=\"min-width:{:.0}px\"><g class=\"lines\">{lines}</g>{boxes}</svg>",
        Escaped(&spoken(&nodes)),
        width * LEAST_SCALE,
        start = -MARGIN,
    )
}

/// The lines of the graph, each once, without those that point nowhere.
fn edges(steps: &[Step]) -> Vec<(usize, usize)> {
    let of = |(to, step): (usize, &Step)| step.upstreams.iter().map(move |from| (*from, to)).collect::<Vec<_>>();
    let all = steps.iter().enumerate().flat_map(of).filter(|(from, to)| *from < steps.len() && from != to);
    unique(all.collect())
}

fn unique(mut edges: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// How many boxes the fullest layer has.
fn breadth(layers: &[usize]) -> usize {
    let mut counts = vec![0; layers.iter().max().map_or(0, |last| last + 1)];
    layers.iter().for_each(|layer| counts[*layer] += 1);
    counts.into_iter().max().unwrap_or(0)
}

fn singles(steps: &[Step]) -> Vec<Group<'_>> {
    let single = |(index, step): (usize, &'_ Step)| (index, step.kind);
    let group = |(index, kind): (usize, Kind)| Group { node: &steps[index].id, kind, members: vec![index] };
    steps.iter().enumerate().map(single).map(group).collect()
}

fn gathered<'a>(steps: &'a [Step], edges: &[(usize, usize)]) -> (Vec<Group<'a>>, Vec<(usize, usize)>) {
    let nodes = by_node(steps);
    let mut node_of = vec![0; steps.len()];
    for (node, group) in nodes.iter().enumerate() {
        group.members.iter().for_each(|member| node_of[*member] = node);
    }
    let between = edges.iter().map(|(from, to)| (node_of[*from], node_of[*to])).filter(|(from, to)| from != to);
    let edges = unique(between.collect());
    (nodes, edges)
}

fn spoken(nodes: &[Group<'_>]) -> String {
    let names: Vec<&str> = nodes.iter().map(|node| node.node).collect();
    format!("{}: {}", counted(nodes.len() as u64, "box", "boxes"), names.join(", "))
}

/// What a box says.
struct Content {
    kind: Kind,
    state: State,
    name: String,
    lines: Vec<String>,
    /// How the node's steps ended, where there are several and not all ran.
    states: Vec<String>,
    cells: Vec<State>,
}

fn content(report: &Report, node: &Group<'_>) -> Content {
    let members: Vec<&Step> = node.members.iter().map(|member| &report.steps[*member]).collect();
    let state = groups::state(&report.steps, &node.members);
    let rows = members.iter().filter_map(|step| step.rows).reduce(u64::saturating_add);
    let rows = rows.map(|rows| counted(rows, "row", "rows"));
    let spans = members.iter().filter_map(|step| groups::span(step, report.seconds));
    let seconds = spans.map(|(begin, end)| end - begin).reduce(|sum, span| sum + span).map(duration);
    let name = node.node.to_owned();
    if members.len() == 1 {
        let word = (state != State::Ran).then(|| state_words(state).1.to_owned());
        let (lines, states) = match word {
            None => (packed([rows, seconds]), Vec::new()),
            word => (Vec::new(), packed([word, rows, seconds])),
        };
        return Content { kind: node.kind, state, name, lines, states, cells: Vec::new() };
    }
    let instances = groups::instances(&report.steps, &node.members);
    let lines = packed([Some(instances), rows, seconds.map(|seconds| format!("{seconds} in all"))]);
    let tally = groups::tally(members.iter().copied());
    let words = tally.iter().map(|(state, steps)| Some(format!("{} {}", count(*steps), state_words(*state).1)));
    let states = if tally.iter().all(|(state, _)| *state == State::Ran) { Vec::new() } else { packed(words) };
    Content { kind: node.kind, state, name, lines, states, cells: cells(&members) }
}

/// Puts as many parts into a line as it holds.
fn packed(parts: impl IntoIterator<Item = Option<String>>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts.into_iter().flatten() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + part.chars().count() + 3 <= LINE => {
                line.push_str(&format!(" · {part}"))
            }
            _ => lines.push(part),
        }
    }
    lines
}

/// A state for each step; of very many, the worst of some that stand together.
fn cells(members: &[&Step]) -> Vec<State> {
    let together = members.len().div_ceil(CELLS);
    let order = [State::Failed, State::Interrupted, State::NotReached, State::Ran];
    let worst = |some: &[&Step]| order.into_iter().find(|state| some.iter().any(|step| step.state == *state));
    members.chunks(together).map(|some| worst(some).unwrap_or(State::Fresh)).collect()
}

impl Content {
    fn said(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let lines = self.lines.iter().map(|line| ("said", line));
        lines.chain(self.states.iter().map(|line| ("said states", line)))
    }

    fn height(&self) -> f64 {
        let cells = if self.cells.is_empty() { 0.0 } else { 18.0 };
        38.0 + self.said().count() as f64 * 17.0 + cells
    }

    fn svg(&self, area: &Area) -> String {
        let Area { width, height, .. } = *area;
        let mut text =
            format!("<text class=\"name\" x=\"16\" y=\"24\">{}</text>", Escaped(&shortened(&self.name, NAME)));
        for (index, (class, line)) in self.said().enumerate() {
            let y = 42 + 17 * index;
            text.push_str(&format!("<text class=\"{class}\" x=\"16\" y=\"{y}\">{}</text>", Escaped(line)));
        }
        format!(
            "<g class=\"box {} {}\" transform=\"translate({:.1} {:.1})\"><title>{}</title>\
             <rect class=\"body\" width=\"{width}\" height=\"{height}\" rx=\"7\"/>\
             <path class=\"kind\" d=\"M7 0a7 7 0 0 0 -7 7v{:.1}a7 7 0 0 0 7 7z\"/>{text}{}</g>",
            kind_word(self.kind),
            state_words(self.state).0,
            area.x,
            area.y,
            Escaped(&self.spoken()),
            height - 14.0,
            self.cell_marks(width, height),
        )
    }

    fn spoken(&self) -> String {
        let said: Vec<&str> = self.said().map(|(_, line)| line.as_str()).collect();
        format!("{}: {}", self.name, said.join(", "))
    }

    fn cell_marks(&self, width: f64, height: f64) -> String {
        let step = (width - 30.0) / self.cells.len().max(12) as f64;
        let cell = |(index, state): (usize, &State)| {
            let x = 16.0 + index as f64 * step;
            let (y, width) = (height - 18.0, (step - 1.5).max(1.0));
            format!(
                "<rect class=\"cell {}\" x=\"{x:.2}\" y=\"{y:.1}\" width=\"{width:.2}\" height=\"8\"/>",
                state_words(*state).0
            )
        };
        self.cells.iter().enumerate().map(cell).collect()
    }
}

/// A line that curves between layers and is straight where it passes one, with a head at its end.
fn curve(points: &[[f64; 2]], direction: Direction) -> String {
    let mut path = format!("M{:.1} {:.1}", points[0][0], points[0][1]);
    for (index, pair) in points.windows(2).enumerate() {
        let [from, to] = [pair[0], pair[1]];
        if index % 2 == 1 {
            path.push_str(&format!("L{:.1} {:.1}", to[0], to[1]));
            continue;
        }
        let (near, far) = match direction {
            Direction::Right => ([(from[0] + to[0]) / 2.0, from[1]], [(from[0] + to[0]) / 2.0, to[1]]),
            Direction::Down => ([from[0], (from[1] + to[1]) / 2.0], [to[0], (from[1] + to[1]) / 2.0]),
        };
        path.push_str(&format!("C{:.1} {:.1} {:.1} {:.1} {:.1} {:.1}", near[0], near[1], far[0], far[1], to[0], to[1]));
    }
    let [x, y] = points[points.len() - 1];
    let head = match direction {
        Direction::Right => format!("M{:.1} {:.1}l7 3.5l-7 3.5z", x - 7.0, y - 3.5),
        Direction::Down => format!("M{:.1} {:.1}l3.5 7l3.5 -7z", x - 3.5, y - 7.0),
    };
    format!("<path class=\"line\" d=\"{path}\"/><path class=\"head\" d=\"{head}\"/>")
}

fn legend(report: &Report) -> String {
    let tally = groups::tally(report.steps.iter());
    let item = |(state, count): &(State, u64)| {
        let (class, words) = state_words(*state);
        format!("<li><span class=\"swatch {class}\"></span>{words} <b>{count}</b></li>")
    };
    let mut kinds: Vec<Kind> = report.steps.iter().map(|step| step.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let kind = |kind: &Kind| format!("<li><span class=\"swatch {0}\"></span>{0}</li>", kind_word(*kind));
    let (kinds, states): (String, String) = (kinds.iter().map(kind).collect(), tally.iter().map(item).collect());
    format!(
        "<ul class=\"legend\" aria-label=\"Kinds of nodes\">{kinds}</ul><ul class=\"legend\" aria-label=\"States of steps\">{states}</ul>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Step;

    fn report(years: usize) -> Report {
        let mut report = Report { seconds: 10.0, ..Report::default() };
        for year in 2000..2000 + years {
            for (at, node) in
                ["load.records", "prepare.texts", "embed.minilm", "persist.yearly"].into_iter().enumerate()
            {
                let upstreams = if at == 0 { vec![] } else { vec![report.steps.len() - 1] };
                let id = format!("{node}[{year}]");
                report.steps.push(Step { id, node: node.to_owned(), upstreams, state: State::Ran, ..Step::default() });
            }
        }
        report
    }

    fn boxes(drawing: &str) -> usize {
        drawing.matches("class=\"body\"").count()
    }

    #[test]
    fn a_step_is_a_box() {
        assert_eq!(boxes(&drawing(&report(1), Direction::Right, 6)), 4);
        let one = Report { steps: vec![Step { id: "load.a".into(), ..Step::default() }], ..Report::default() };
        assert_eq!(boxes(&drawing(&one, Direction::Down, 2)), 1);
        assert!(section(&Report::default()).is_none());
    }

    #[test]
    fn thirty_years_share_the_boxes_of_their_nodes() {
        let mut report = report(30);
        report.steps[6].state = State::Failed;
        let drawing = drawing(&report, Direction::Right, 6);
        assert_eq!(boxes(&drawing), 4);
        assert_eq!(drawing.matches("class=\"line\"").count(), 3);
        assert_eq!(drawing.matches("30 years").count(), 8);
        assert_eq!(drawing.matches("class=\"cell failed\"").count(), 1);
        assert!(drawing.contains("29 ran · 1 failed"));
    }

    #[test]
    fn of_many_steps_a_cell_tells_the_worst() {
        let steps: Vec<Step> = report(30).steps.into_iter().collect();
        let mut members: Vec<&Step> = steps.iter().collect();
        let failed = Step { state: State::Failed, ..Step::default() };
        members[50] = &failed;
        let cells = cells(&members);
        assert_eq!((cells.len(), cells.iter().position(|state| *state == State::Failed)), (40, Some(16)));
    }

    #[test]
    fn what_points_nowhere_is_not_drawn() {
        let step = |upstreams: Vec<usize>| Step { upstreams, ..Step::default() };
        assert_eq!(edges(&[step(vec![0, 7]), step(vec![0, 0])]), [(0, 1)]);
    }
}
