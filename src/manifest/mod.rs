//! What the user wrote, and what it means.
//!
//! A manifest comes in as text and leaves as the structs of `spec.rs` with the place of every word, or as faults; all of
//! them are found in one reading. Begin with `spec.rs` (what may be written), then `parse.rs` (how it is read),
//! `overrides.rs`, `matrix.rs`, `template.rs` and `record_template.rs`. What the names refer to is settled in `graph/`, whose `resolve` is
//! the way in. This room reads no files and prints nothing.

mod api;
mod check;
pub mod config;
mod derived;
mod device;
mod fault;
mod matrix;
mod overrides;
mod parse;
mod record_template;
pub mod spec;
mod suggestion;
mod template;
mod text;
mod tree;
mod wording;
mod written;

pub use fault::{Code, Diagnosis, Faults};
pub use record_template::{Piece, Placeholder, RecordTemplate};
pub use spec::json_schema;
pub use text::Source;

pub(crate) use check::{NAME_FORM, bad_label, check, is_name};
pub(crate) use fault::Fault;
pub(crate) use matrix::{Matrix, Values, read as read_matrix};
pub(crate) use parse::{Reading, read};
pub(crate) use suggestion::{hint, listed, nearest};
pub(crate) use template::Template;
pub(crate) use text::{Span, Text};
pub(crate) use tree::{Path, Places};
pub(crate) use written::Written;
