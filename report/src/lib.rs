//! How a run went, as one HTML file: a [`Report`] of plain data goes in, a page comes out, and nothing else is touched.
//!
//! - The page stands alone: no network, no fonts, no files beside it. Its policy forbids it to fetch anything.
//! - The same report gives the same bytes. Nothing is measured or looked up here, the clock neither.
//! - What is not there is not shown: a section without data is left out.
//! - Text from the data is escaped wherever it stands; a title may be any Unicode and any markup.
//! - It is whole without JavaScript; the one small script only makes the map answer to a pointer and to keys.
//!
//! The whole report is also in the page as JSON, in `<script type="application/json" id="data">`, and parses back to the
//! same [`Report`]. The numbers at the top carry ids and their exact values, for tests and for other programs: `outcome`
//! (in `data-value`: done, failed, interrupted), `embedded`, `reused`, `removed`, `rejected`, `seconds`,
//! `papers-per-second` and `micro-usd`, each where it is shown.
//!
//! `page` puts the sections of `section/` in order; `layers` lays out the graph; [`pca`] makes the plane of the map.

mod data;
mod escape;
mod groups;
mod layers;
mod page;
mod palette;
pub mod pca;
mod plot;
mod scale;
mod section;
mod words;

pub use data::{
    Cost, Fact, IndexLine, Kind, Map, Note, Outcome, Pace, Point, Progress, Reject, Report, Reuse, State, Step,
    TokenHistogram,
};
