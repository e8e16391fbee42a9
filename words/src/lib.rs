//! Full-text search over titles and abstracts: rows of a dataset, best first, by the words that a question shares with them.
//!
//! [`Builder`] reads each text once and leaves a folder behind; [`Index`] maps that folder and answers. Texts themselves lie
//! elsewhere: the index knows words, how often each text has them, and how long texts are, in about 150 bytes a row.
//! - Scores are BM25 (Robertson and Zaragoza, 2009) with k1 = 1.2 and b = 0.75, as Tantivy and Lucene reckon it: the length
//!   of a text is rounded to one of 256 values, exact up to 40 words.
//! - A question is words and nothing else: no character of it is an operator.
//! - The same texts give the same bytes, hits and scores, however they were split while building. (Tantivy draws a random
//!   name for its files; it is not kept.)
//! - What is read is checked against sums that were taken at building, block by block when it is first read: opening is
//!   quick, and a damaged file makes an error, never a wrong answer or a panic. Who wants to know of all damage at once
//!   compares digests of the files.
//!
//! All blocking, and on the calling thread alone. See `words.rs` for what is a word.

mod analyzer;
mod atoms;
mod best;
mod builder;
mod error;
mod head;
mod index;
mod layout;
mod sealed;
mod words;

pub use best::Hit;
pub use builder::Builder;
pub use error::WordsError;
pub use index::Index;

/// Raised when indexes that older code wrote must be made anew: other words, another layout, other scores.
pub const VERSION: u32 = 1;
