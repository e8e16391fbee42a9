//! A plot that takes any width: what is drawn is stretched, what is written is not.

use crate::words::css;

/// The side of the square that drawings are made in.
pub const SIDE: f64 = 1000.0;

/// A mark of an axis: where, as a share of 0 to 1, and what is written there.
pub type Mark = (f64, String);

/// What a plot shows.
pub struct Plot {
    /// In words, for those who do not see it.
    pub label: String,
    /// What is measured upwards.
    pub up: &'static str,
    /// What is measured to the right.
    pub right: &'static str,
    pub up_marks: Vec<Mark>,
    pub right_marks: Vec<Mark>,
    /// SVG, in a square of [`SIDE`] whose origin is above on the left.
    pub drawing: String,
    /// HTML over the drawing.
    pub over: String,
}

impl Plot {
    /// The plot in HTML.
    pub fn html(&self) -> String {
        let up: String = self
            .up_marks
            .iter()
            .map(|(at, label)| format!("<span class=\"up\" style=\"bottom:{}\"><b>{label}</b></span>", css(*at)))
            .collect();
        let right = |(index, (at, label)): (usize, &Mark)| {
            let odd = if index % 2 == 1 { " odd" } else { "" };
            format!("<span class=\"right{odd}\" style=\"left:{}\">{label}</span>", css(*at))
        };
        let right: String = self.right_marks.iter().enumerate().map(right).collect();
        format!(
            "<div class=\"plot\" role=\"img\" aria-label=\"{}\"><p class=\"axis\">{}</p><div class=\"frame\">{up}{right}\
             <svg viewBox=\"0 0 {SIDE} {SIDE}\" preserveAspectRatio=\"none\">{}</svg>{}</div><p class=\"axis end\">{}</p></div>",
            self.label, self.up, self.drawing, self.over, self.right
        )
    }
}

/// A bar from the ground up, in shares of 0 to 1, with what it says when it is pointed at.
pub fn bar(class: &str, [left, right]: [f64; 2], height: f64, told: &str) -> String {
    format!(
        "<rect class=\"{class}\" x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{:.2}\"><title>{told}</title></rect>",
        left * SIDE,
        (1.0 - height) * SIDE,
        (right - left) * SIDE,
        height * SIDE
    )
}
