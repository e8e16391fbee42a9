//! What can go wrong at the door: arguments, standard input and output, and files that commands write for people.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use miette::Diagnostic;

/// What can go wrong at the door.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum DoorError {
    /// The workflow's file.
    #[error("read {path}: {reason}")]
    #[diagnostic(code(sciembed::cli::workflow), help("name a workflow file, such as workflows/quickstart.toml"))]
    Workflow { path: String, reason: String },
    /// A store.
    #[error("find a store at {path}")]
    #[diagnostic(
        code(sciembed::cli::no_store),
        help("name a folder that an apply has written as its store, or apply the workflow first")
    )]
    NoStore { path: String },
    /// A run.
    #[error("find run {run}")]
    #[diagnostic(code(sciembed::cli::no_run), help("`sciembed log WORKFLOW` lists the runs; the newest are: {known}"))]
    NoRun { run: String, known: String },
    /// The beginning of several runs' ids.
    #[error("tell which run is meant by {run}: {count} begin so")]
    #[diagnostic(
        code(sciembed::cli::several_runs),
        help("name one by more of its id, or `latest`; the newest of these are: {newest}")
    )]
    SeveralRuns { run: String, count: usize, newest: String },
    /// A workflow without a node of it.
    #[error("explain {workflow}: no node of it was named")]
    #[diagnostic(
        code(sciembed::cli::no_node),
        help("name a node behind it, as in `sciembed explain {workflow} {example}`; its nodes are {nodes}")
    )]
    NoNode { workflow: String, example: String, nodes: String },
    /// Output.
    #[error("write the output: {0}")]
    #[diagnostic(code(sciembed::cli::output), help("free space where the output goes, or send it elsewhere"))]
    Output(io::Error),
    /// A value of an answer.
    #[error("show a value of the answer: {0}")]
    #[diagnostic(code(sciembed::cli::unprintable), help("make it text in the query, as in `CAST(column AS VARCHAR)`"))]
    Unprintable(arrow::error::ArrowError),
    /// Input.
    #[error("read bibcodes from standard input: {0}")]
    #[diagnostic(code(sciembed::cli::input), help("give one bibcode a line, as UTF-8"))]
    Input(io::Error),
    /// Records, of which none come.
    #[error("read records from standard input: it is a terminal")]
    #[diagnostic(
        code(sciembed::cli::terminal),
        help(
            "a load node has `input = \"-\"`: pipe the records in, as in `zcat 2010.json.gz | sciembed apply WORKFLOW`"
        )
    )]
    Terminal,
    /// Records.
    #[error("read records from standard input: {0}")]
    #[diagnostic(code(sciembed::cli::pipe), help("whoever writes them failed: run it again; nothing was used"))]
    Pipe(io::Error),
    /// Texts.
    #[error("read texts from standard input: {0}")]
    #[diagnostic(code(sciembed::cli::texts), help("give one text a line"))]
    Texts(io::Error),
    /// One text.
    #[error("read line {line} of standard input: {reason}")]
    #[diagnostic(
        code(sciembed::cli::text),
        help("give one JSON object a line, as in {{\"text\": \"dark energy\"}}, or plain lines with --lines")
    )]
    Text { line: u64, reason: String },
    /// A text that a server gives no vector for.
    #[error("embed a text: {reason}")]
    #[diagnostic(code(sciembed::cli::unfit), help("leave this text out, or make it what the server takes"))]
    Unfit { reason: String },
    /// A model that is not converted.
    #[error("convert {model}: {reason}")]
    #[diagnostic(code(sciembed::cli::convert), help("{help}"))]
    Convert { model: String, reason: String, help: &'static str },
    /// The runtime.
    #[error("start the run's event loop: {0}")]
    #[diagnostic(
        code(sciembed::cli::runtime),
        help("the system is out of threads or file descriptors: raise its limits (ulimit)")
    )]
    Runtime(io::Error),
    /// A folder of dumps.
    #[error("look into {}: {reason}", path.display())]
    #[diagnostic(
        code(sciembed::cli::data),
        help("name the folder that holds a file of records a year, such as 2010.json.gz, by --input")
    )]
    Data { path: PathBuf, reason: String },
    /// A workflow that is to be written.
    #[error("write the workflow {}: {reason}", path.display())]
    #[diagnostic(code(sciembed::cli::init), help("name another file by --to: what is there is never replaced"))]
    Init { path: PathBuf, reason: String },
    /// What an ingest needs.
    #[error("ingest: {what} is missing")]
    #[diagnostic(code(sciembed::cli::ingest), help("give it, here or in the file of --config"))]
    Ingest { what: &'static str },
    /// Its workflow.
    #[error("write the workflow of the ingest, {}: {reason}", path.display())]
    #[diagnostic(code(sciembed::cli::ingest_workflow), help("make that folder writable, or name another by --out"))]
    IngestWorkflow { path: PathBuf, reason: String },
    /// Its workflow, which is somebody's own by now.
    #[error("ingest over {}: it was edited since an ingest wrote it", path.display())]
    #[diagnostic(code(sciembed::cli::ingest_edited), help("apply it as it is: sciembed apply {}; or name another folder by --out", path.display()))]
    IngestEdited { path: PathBuf },
    /// Its file.
    #[error("read the options of an ingest from {}: {reason}", path.display())]
    #[diagnostic(
        code(sciembed::cli::ingest_config),
        help("write input, years, fields, prefix, model, batch and out into it, as YAML, JSON or TOML")
    )]
    IngestConfig { path: PathBuf, reason: String },
    /// A saved plan.
    #[error("{what} the plan {}: {reason}", path.display())]
    #[diagnostic(code(sciembed::cli::saved_plan), help("save one with `sciembed plan WORKFLOW --out FILE`"))]
    SavedPlan { what: &'static str, path: PathBuf, reason: String },
    /// A report.
    #[error("write the report to {}: {reason}", path.display())]
    #[diagnostic(code(sciembed::cli::report), help("name another file by --to"))]
    Report { path: PathBuf, reason: String },
    /// Man pages.
    #[error("write man pages into {}: {reason}", dir.display())]
    #[diagnostic(code(sciembed::cli::man), help("name another folder by --to"))]
    ManPages { dir: PathBuf, reason: String },
    /// The log's filter.
    #[error("read the log filter {filter}: {reason}")]
    #[diagnostic(
        code(sciembed::cli::log_filter),
        help("name a level, such as info, or levels by module, such as sciembed=debug,ureq=warn")
    )]
    LogFilter { filter: String, reason: String },
    /// A collector of spans.
    #[error("send spans to {endpoint}: {reason}")]
    #[diagnostic(
        code(sciembed::cli::otlp),
        help("give the address of a collector that takes OTLP over HTTP, as in --otlp http://localhost:4318")
    )]
    #[cfg(feature = "otlp")]
    Otlp { endpoint: String, reason: String },
    /// Metrics.
    #[error("tell metrics at {address}: {reason}")]
    #[diagnostic(
        code(sciembed::cli::metrics),
        help("choose another address by --metrics-addr: this one is taken, or not of this machine")
    )]
    Metrics { address: SocketAddr, reason: String },
    /// A question about a step.
    #[error("peek at {step}: {reason}")]
    #[diagnostic(code(sciembed::cli::peek), help("{help}"))]
    Peek { step: String, reason: String, help: String },
}
