//! The integration tests: one binary, a module per theme. They run the program as people do, over small projects.
//!
//! `env.rs` makes the projects; what a single file promises is tested at that file's foot.

mod catalog;
mod damage;
mod env;
mod errors;
mod explain;
mod get;
mod load;
mod merge;
mod plans;
mod publish;
mod resume;
mod rooms;
mod same_bytes;
mod two_runs;
