//! sciembed turns yearly dumps of bibliographic metadata into embeddings that can be trusted, reused and searched.
//!
//! A TOML workflow declares a graph of load, prepare, embed, persist and merge nodes. Every output is named by the BLAKE3 of
//! its bytes and found again by a key over everything that made it, so what was computed once is never computed again.
//!
//! # The map of the house
//!
//! The modules are rooms, in the order data flows through them. A room uses only rooms above it; a test reads every
//! `use crate::` line and says so when one does not. `ARCHITECTURE.md` has a chapter on each.
//!
//! ```text
//! GROUND FLOOR: pure and synchronous
//!   digest       names by content: Digest, NodeKey, EmbedderKey, RowKey
//!   clean        what markup, LaTeX and stand-ins become, step by step
//!   condition    which records a load takes: the language of `where`, the draw of `sample`
//!   encoding     how the components of a vector are written
//!   manifest     what the user wrote, with spans; every fault at once
//!   cost         what tokens cost, as plain data
//!   table        the Arrow schemas that pass between nodes
//!   graph        names resolved into a typed, acyclic graph of steps
//!   fingerprint  what makes a step stale, and the story of what changed
//!   record       what a key produced, and who last used it, as plain data
//!   plan         pure: graph + what was observed -> fresh, stale (why), pending, blocked (on what)
//! CELLAR: storage, synchronous I/O
//!   pool         the door to the CPU pool: parallel work back in order
//!   store        blobs, records, references, segments, locks, journal
//!   reuse        which vectors stand already, under the keys of their texts
//!   source       input files: codec by magic bytes, lines, fields, refusals
//!   api          asking an embeddings API: requests, their pace, and what they cost
//!   hub          from a model on a hub to whole files on this disk; the lock file
//!   convert      from safetensors weights to the ONNX graph that is run
//!   model        from a model reference to a package and an embedder key
//!   published    what a dataset directory shows: one set behind one link
//!   observe      all the I/O that a plan needs
//! ENGINE ROOM
//!   embedder     texts to vectors: ONNX Runtime, and a deterministic one for tests
//!   index        bibcode -> row, and vector -> nearest rows
//!   event        what a run tells the world
//!   history      what happened in earlier runs
//!   metrics      what a run has done so far, as counters that Prometheus reads
//!   node         one file per node kind
//!   run          the dispatcher: sole owner of a run's state; the only async room
//!   stages       what becomes of one record, step by step, without applying anything
//!   dataset      reading what persist and merge published
//!   ann          an approximate index of a dataset, built and asked
//!   lineage      from a published row back to the line of a source file
//!   words        which papers hold these words: an index of texts, built and asked
//!   search       which papers are like a text, or like another paper
//!   export       what a dataset is handed on as: files for others, points on servers
//!   report       how a run went, as one page
//!   verify       whether every bit is what it was when it was written, and what to do where it is not
//!   catalog      all of that as tables, to be asked in SQL
//! DOORS
//!   error        the sum of the rooms' errors; exit codes
//!   cli          one file per command: parse, call the library, print
//! ```
//!
//! The library never prints, never exits and reads neither environment nor home directory: `cli` does, and passes on
//! what it found. To run a workflow from Rust: [`graph::resolve`] a manifest, make an [`observe::Observer`], and
//! [`run::apply`] the steps that [`graph::Graph::select`] gives. To read what came of it: [`dataset::Dataset::open`].

pub mod clean;
pub mod digest;

pub mod condition;
pub mod encoding;

pub mod manifest;

pub mod cost;
pub mod table;

pub mod graph;

pub mod fingerprint;
pub mod record;

pub mod plan;

pub mod pool;
pub mod store;

pub mod reuse;

pub mod source;

pub mod api;

pub mod hub;

pub mod convert;

pub mod model;
pub mod published;

pub mod observe;

pub mod embedder;
pub mod index;

pub mod event;
pub mod history;
pub mod metrics;

pub mod node;

pub mod run;

pub mod stages;

pub mod dataset;

pub mod ann;

pub mod lineage;

pub mod words;

pub mod search;

pub mod export;

pub mod report;

pub mod verify;

pub mod catalog;

pub mod error;

pub mod cli;
