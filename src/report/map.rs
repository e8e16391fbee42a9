//! A sample of a dataset's papers on a plane: the two directions in which their vectors differ most.

use std::path::Path;

use sciembed_report::{Map, Point, pca};

use crate::dataset::Dataset;
use crate::lineage::Lineage;
use crate::search::about;

/// Papers on the map: enough to show its shape, few enough to be looked up in a moment.
const POINTS: usize = 400;
/// Papers that the plane is made of.
const SAMPLE: usize = 4_000;
/// Digits of a year, with which bibcodes begin.
const YEAR_DIGITS: usize = 4;

/// The map of a dataset that a directory shows; none where it cannot be read or its vectors do not differ.
pub fn of(dir: &Path, name: &str, lineage: &Lineage) -> Option<Map> {
    let dataset = Dataset::open(dir, name).ok()?;
    let vectors = dataset.vectors().ok()?;
    let step = dataset.rows().div_ceil(SAMPLE).max(1);
    let sampled: Vec<(usize, &str)> =
        (0..dataset.rows()).step_by(step).filter_map(|row| Some((row, dataset.bibcode(row)?))).collect();
    let components: Vec<f32> = sampled.iter().flat_map(|(row, _)| vectors.floats(*row..row + 1)).collect();
    let plane = pca::project(&components, dataset.description().dim)?;
    let shown = sampled.len().div_ceil(POINTS).max(1);
    let points = sampled.iter().zip(&plane.points).step_by(shown).map(|((_, bibcode), [x, y])| Point {
        x: *x,
        y: *y,
        bibcode: (*bibcode).to_owned(),
        title: about(&dataset, lineage, bibcode).title,
        group: bibcode
            .get(..YEAR_DIGITS)
            .filter(|it| it.bytes().all(|it| it.is_ascii_digit()))
            .unwrap_or("other")
            .to_owned(),
    });
    Some(Map { points: points.collect(), explained: plane.explained })
}
