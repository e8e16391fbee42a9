//! Indexes over datasets: bibcode -> row (`keys.rs`), and vector -> nearest rows by looking at all of them (`flat.rs`).

pub mod flat;
pub mod keys;
