//! Papers on the plane on which their vectors lie most apart, coloured by group. Each is a link to ADS.
//!
//! Which group stands out is chosen by radio buttons and CSS; the script only adds what a pointer and keys do.

use super::Section;
use crate::data::{Map, Point, Report};
use crate::escape::{Escaped, ads_address};
use crate::palette::colours;
use crate::words::{count, counted, finite, percent};

/// The drawing's width; its height follows the points, within a half and two thirds of it.
const WIDTH: f64 = 1000.0;
/// Around the points.
const MARGIN: f64 = 24.0;

pub fn section(report: &Report) -> Option<Section> {
    let map = report.map.as_ref().filter(|map| !map.points.is_empty())?;
    let groups = groups(map);
    let frame = Frame::around(&map.points);
    let dots: String = map.points.iter().map(|point| dot(point, &groups, &frame)).collect();
    let body = format!(
        "<style>{}</style><p>{} on the two axes along which their vectors differ most: {} of the variance from left to right, {} upwards. \
         Papers that lie close together are alike on these axes. Each point is a link to its paper at ADS.</p>\
         <div id=\"map-plot\" class=\"map\"><svg viewBox=\"0 0 {WIDTH} {:.0}\" aria-hidden=\"true\"><g class=\"dots\">{dots}</g></svg>\
         <div id=\"map-tip\" role=\"status\" hidden></div></div>{}",
        style(&groups),
        counted(map.points.len() as u64, "paper", "papers"),
        percent(map.explained[0]),
        percent(map.explained[1]),
        frame.height,
        legend(map, &groups),
    );
    Section::wide("map", "Map", body)
}

/// The groups, each once: by number where all are numbers, else by name.
fn groups(map: &Map) -> Vec<&str> {
    let mut groups: Vec<&str> = map.points.iter().map(|point| point.group.as_str()).collect();
    groups.sort_unstable();
    groups.dedup();
    if groups.iter().all(|group| group.parse::<i64>().is_ok()) {
        groups.sort_by_key(|group| group.parse::<i64>().unwrap_or(0));
    }
    groups
}

/// Where the points lie, and how they come into the drawing: both axes by the same measure.
struct Frame {
    middle: [f64; 2],
    scale: f64,
    height: f64,
}

impl Frame {
    fn around(points: &[Point]) -> Self {
        let mut low = [f64::INFINITY; 2];
        let mut high = [f64::NEG_INFINITY; 2];
        for point in points {
            for (axis, at) in place(point).into_iter().enumerate() {
                low[axis] = low[axis].min(at);
                high[axis] = high[axis].max(at);
            }
        }
        let [wide, tall] = [high[0] - low[0], high[1] - low[1]];
        let room = WIDTH - 2.0 * MARGIN;
        let height =
            if wide > 0.0 { (tall / wide * room + 2.0 * MARGIN).clamp(WIDTH * 0.5, WIDTH * 0.66) } else { WIDTH * 0.5 };
        let fit = |room: f64, extent: f64| if extent > 0.0 { room / extent } else { f64::INFINITY };
        let scale = fit(room, wide).min(fit(height - 2.0 * MARGIN, tall));
        let middle = [(low[0] + high[0]) / 2.0, (low[1] + high[1]) / 2.0];
        Self { middle, scale: if scale.is_finite() { scale } else { 1.0 }, height }
    }

    /// From above on the left, as SVG counts.
    fn at(&self, point: &Point) -> [f64; 2] {
        let [x, y] = place(point);
        [WIDTH / 2.0 + (x - self.middle[0]) * self.scale, self.height / 2.0 - (y - self.middle[1]) * self.scale]
    }
}

fn place(point: &Point) -> [f64; 2] {
    [finite(point.x.into()), finite(point.y.into())]
}

/// A line of no length with round ends is a dot whose size does not depend on the window's.
fn dot(point: &Point, groups: &[&str], frame: &Frame) -> String {
    let [x, y] = frame.at(point);
    let group = groups.iter().position(|group| *group == point.group).unwrap_or(0);
    format!(
        "<a class=\"g{group}\" href=\"{}\" target=\"_blank\" tabindex=\"-1\"><path d=\"M{x:.1} {y:.1}h0\"/></a>",
        Escaped(&ads_address(&point.bibcode))
    )
}

/// The colours of the groups, and that the others step back when one is chosen.
fn style(groups: &[&str]) -> String {
    let colours: Vec<[String; 2]> = (0..groups.len()).map(|index| colours(index, groups.len())).collect();
    let of = |theme: usize| {
        colours
            .iter()
            .enumerate()
            .map(move |(index, both)| format!(".g{index}{{--g:{}}}", both[theme]))
            .collect::<String>()
    };
    let chosen: String = (0..groups.len())
        .map(|index| format!("#map:has(#g{index}:checked) .dots a:not(.g{index}){{opacity:.09;pointer-events:none}}"))
        .collect();
    format!("{}@media screen and (prefers-color-scheme:dark){{{}}}{chosen}", of(0), of(1))
}

fn legend(map: &Map, groups: &[&str]) -> String {
    if groups.len() < 2 {
        return String::new();
    }
    let choice = |(index, group): (usize, &&str)| {
        let papers = map.points.iter().filter(|point| point.group == **group).count() as u64;
        format!(
            "<label class=\"g{index}\"><input type=\"radio\" name=\"group\" id=\"g{index}\"><span class=\"swatch dot\"></span>{} <small>{}</small></label>",
            Escaped(group),
            count(papers)
        )
    };
    let choices: String = groups.iter().enumerate().map(choice).collect();
    format!(
        "<fieldset class=\"groups\"><legend class=\"unseen\">Show one group</legend><label><input type=\"radio\" name=\"group\" id=\"g-all\" checked>all</label>{choices}</fieldset>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(x: f32, y: f32, group: &str) -> Point {
        Point { x, y, group: group.to_owned(), bibcode: "2010A&A".to_owned(), title: None }
    }

    fn map(points: Vec<Point>) -> Map {
        Map { points, explained: [0.1, 0.05] }
    }

    #[test]
    fn years_are_in_order_and_so_are_names() {
        let years = map(["2010", "999", "2009", "2010"].map(|year| point(0.0, 0.0, year)).into());
        assert_eq!(groups(&years), ["999", "2009", "2010"]);
        let names = map(["b", "10", "a"].map(|name| point(0.0, 0.0, name)).into());
        assert_eq!(groups(&names), ["10", "a", "b"]);
    }

    #[test]
    fn all_points_are_in_the_drawing_and_both_axes_have_one_scale() {
        for points in [
            vec![point(-3.0, 2.0, ""), point(5.0, 1.0, ""), point(0.0, -7.0, "")],
            vec![point(1.0, 1.0, ""), point(1.0, 9.0, "")],
            vec![point(4.0, 4.0, "")],
            vec![point(f32::NAN, 4.0, ""), point(f32::MAX, f32::MIN, "")],
        ] {
            let frame = Frame::around(&points);
            for point in &points {
                let [x, y] = frame.at(point);
                assert!((0.0..=WIDTH).contains(&x) && (0.0..=frame.height).contains(&y), "{x} {y}");
            }
        }
        let frame = Frame::around(&[point(0.0, 0.0, ""), point(2.0, 1.0, "")]);
        let ([x, y], [right, up]) = (frame.at(&point(0.0, 0.0, "")), frame.at(&point(1.0, 1.0, "")));
        assert!((right - x - (y - up)).abs() < 1e-9 && up < y);
    }

    #[test]
    fn a_paper_links_to_ads() {
        let report = Report { map: Some(map(vec![point(0.0, 0.0, "x")])), ..Report::default() };
        let body = section(&report).unwrap().body;
        assert!(body.contains("href=\"https://ui.adsabs.harvard.edu/abs/2010A%26A\""));
        assert!(!body.contains("type=\"radio\""));
        assert!(section(&Report { map: Some(Map::default()), ..Report::default() }).is_none());
    }
}
