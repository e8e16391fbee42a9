//! The integration tests: one binary, a module per theme. They run the program as people do, over small projects.
//!
//! `env.rs` makes the projects; what a single file promises is tested at that file's foot.

mod aliases;
mod api;
mod api_batches;
mod api_server;
mod bad_input;
mod catalog;
mod converted;
mod crash;
mod damage;
mod disk_full;
mod documents;
mod dtypes;
mod edge_cases;
mod env;
mod errors;
mod explain;
mod export;
mod failures;
mod first_minutes;
mod gc;
mod get;
mod history;
mod hub;
mod hub_models;
mod hub_server;
mod indexes;
mod load;
mod made_model;
mod merge;
mod model_faults;
mod model_fuzz;
mod models;
mod namespace;
mod oracle;
#[cfg(feature = "otlp")]
mod otlp;
mod peek;
mod plans;
mod publish;
mod resume;
mod reuse;
mod rooms;
mod same_bytes;
mod screens;
mod search;
mod selection;
mod two_runs;
mod vector_server;
mod verify;
mod watching;
mod words;
