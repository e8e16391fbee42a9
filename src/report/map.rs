//! A sample of a dataset's papers on a plane: the two directions in which their vectors differ most.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::{Array, AsArray};
use sciembed_report::{Map, Point, pca};

use crate::dataset::Dataset;
use crate::lineage::{Beside, Lineage, LineageError};

/// Papers on the map: enough to show its shape, few enough to be looked up in a moment.
const POINTS: usize = 400;
/// Papers that the plane is made of.
const SAMPLE: usize = 4_000;
/// Rows of a dataset up to which titles are looked up, in one pass over them: a second or so.
const TITLED_ROWS: usize = 300_000;
/// Digits of a year, with which bibcodes begin.
const YEAR_DIGITS: usize = 4;

/// The map of a dataset that a directory shows; none where it cannot be read or its vectors do not differ.
pub fn of(dir: &Path, name: &str, lineage: &Lineage) -> Option<Map> {
    let dataset = Dataset::open(dir, name).ok()?;
    let vectors = dataset.vectors().ok()?;
    let step = dataset.rows().div_ceil(SAMPLE).max(1);
    let sampled: Vec<(usize, &str)> =
        (0..dataset.rows()).step_by(step).filter_map(|row| Some((row, dataset.bibcode(row).ok()??))).collect();
    let components: Vec<f32> = sampled.iter().flat_map(|(row, _)| vectors.floats(*row..row + 1)).collect();
    let plane = pca::project(&components, dataset.description().dim)?;
    let every = sampled.len().div_ceil(POINTS).max(1);
    let shown: Vec<(&(usize, &str), &[f32; 2])> = sampled.iter().zip(&plane.points).step_by(every).collect();
    let mut titles = titles(&dataset, lineage, shown.iter().map(|((row, _), _)| *row).collect()).unwrap_or_default();
    let points = shown.into_iter().map(|((row, bibcode), [x, y])| Point {
        x: *x,
        y: *y,
        bibcode: (*bibcode).to_owned(),
        title: titles.remove(row),
        group: year(bibcode).unwrap_or("other").to_owned(),
    });
    Some(Map { points: points.collect(), explained: plane.explained })
}

/// The titles of some rows, ascending; of a large dataset none.
fn titles(dataset: &Dataset, lineage: &Lineage, rows: Vec<usize>) -> Option<BTreeMap<usize, String>> {
    if dataset.rows() > TITLED_ROWS {
        return None;
    }
    let mut titles = BTreeMap::new();
    let beside = Beside { records: &["title"], text: false };
    let walked = lineage.walk::<LineageError>(&dataset.description().set, beside, &mut |walked| {
        let Some(lists) = walked.batch.column_by_name("title").and_then(|it| it.as_list_opt::<i32>()) else {
            return Ok(());
        };
        for (at, row) in walked.numbers.values().iter().enumerate() {
            let row = *row as usize;
            if rows.binary_search(&row).is_ok() && lists.is_valid(at) {
                let texts = lists.value(at);
                let first = texts.as_string_opt::<i32>().and_then(|texts| texts.iter().flatten().next());
                titles.extend(first.map(|title| (row, title.to_owned())));
            }
        }
        Ok(())
    });
    walked.ok().map(|()| titles)
}

/// The year that a bibcode begins with.
fn year(bibcode: &str) -> Option<&str> {
    bibcode.get(..YEAR_DIGITS).filter(|year| year.bytes().all(|digit| digit.is_ascii_digit()))
}
