//! Indexes over datasets. So far the key index: bibcode -> row.

pub mod keys;
