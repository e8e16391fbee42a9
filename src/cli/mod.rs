//! The command line: one file per command; parse, call the library, print.
//!
//! Only this room touches the terminal, the environment and the home directory, and only it words errors: everything
//! else returns values. Results go to standard output, progress and errors to standard error.

mod apply;
mod catalog;
mod check;
mod color;
mod datasets;
mod derived;
mod doctor;
mod environment;
mod error;
mod explain;
mod export;
mod former;
mod gc;
mod get;
mod graph;
mod help;
mod hub;
mod ingest;
mod init;
mod inputs;
mod log;
mod logging;
mod metrics;
mod model;
#[cfg(feature = "otlp")]
mod otlp;
mod peek;
mod plan;
mod print;
mod progress;
mod report;
mod saved;
mod schema;
mod search;
mod shell;
mod standard_input;
mod status;
mod store;
mod summary;
mod verify;
mod watch;
mod workflow;

use std::fmt;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use miette::Diagnostic;

use crate::error::{Error, Exit};
use crate::observe::ObserveError;
use crate::run::RunError;
use error::DoorError;
use print::{remark, remark_drawn};

/// Turns yearly dumps of bibliographic metadata into embeddings that can be trusted and reused.
#[derive(Parser)]
#[command(version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    color: color::ColorArguments,
    #[command(flatten)]
    logging: logging::LoggingArguments,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Arguments),
    Ingest(ingest::Arguments),
    /// Check a workflow and show every fault at once.
    Check(check::Arguments),
    /// Show what an apply would do, and why; exits with 0 if nothing, 2 if something, 1 on an error.
    Plan(plan::Arguments),
    /// Do what the plan says: compute what is missing and publish it.
    Apply(apply::Arguments),
    Graph(graph::Arguments),
    Status(status::Arguments),
    Log(log::Arguments),
    Watch(watch::Arguments),
    Report(report::Arguments),
    /// Look up papers by bibcode in a published directory.
    Get(get::Arguments),
    // The help of these stands with their arguments as well.
    Search(search::SearchArguments),
    Similar(search::SimilarArguments),
    Export(export::Arguments),
    /// Trace a published paper back to the line of its source file, or show what a step's key is made of and what changed.
    Explain(explain::Arguments),
    /// Ask in SQL what a directory shows, who made it, where each paper came from and what was set aside.
    Catalog(catalog::Arguments),
    /// Follow one record through the steps, from its line to the model's tokens; or print the rows of a step's table.
    Peek(peek::Arguments),
    // The help of these two is long: it stands with their arguments.
    Gc(gc::Arguments),
    Verify(verify::Arguments),
    /// Look at a model and try it: what it is, which graph runs, what it makes of a text.
    #[command(subcommand)]
    Model(model::Arguments),
    /// Print the JSON schema of workflows, for editors.
    Schema,
    Doctor(doctor::Arguments),
    /// Print a shell's completions of commands and options, as in `sciembed completions bash`.
    Completions(shell::CompletionsArguments),
    /// Write man pages, one for each command.
    Man(shell::ManArguments),
    /// Print the help of a command, or explain the code of an error, as in `sciembed help sciembed::dataset::none`.
    Help(help::Arguments),
}

/// What a command can fail with.
enum Failure {
    /// An error of the library.
    Library(Box<Error>),
    /// An error of this room.
    Door(Box<DoorError>),
    /// One that was already told, in full.
    Told(Exit),
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Library(Box::new(error.into()))
    }
}

impl From<DoorError> for Failure {
    fn from(error: DoorError) -> Self {
        Self::Door(Box::new(error))
    }
}

/// Parses the command line, runs the command and gives the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap would exit with 2 on a usage error, which means "something to do" here.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Exit::Error.code() } else { Exit::Done.code() });
        }
    };
    #[cfg(debug_assertions)]
    environment::arm_failpoints();
    cli.color.settle();
    let log = match cli.logging.start() {
        Ok(log) => log,
        Err(error) => return ExitCode::from(Failure::from(error).tell().code()),
    };
    let exit = match cli.command {
        Command::Init(arguments) => init::run(&arguments),
        Command::Ingest(arguments) => ingest::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Apply(arguments) => apply::run(&arguments),
        Command::Graph(arguments) => graph::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Watch(arguments) => watch::run(&arguments),
        Command::Log(arguments) => log::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Get(arguments) => get::run(&arguments),
        Command::Search(arguments) => search::search(&arguments),
        Command::Similar(arguments) => search::similar(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Catalog(arguments) => catalog::run(&arguments),
        Command::Peek(arguments) => peek::run(&arguments),
        Command::Gc(arguments) => gc::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Model(arguments) => model::run(&arguments),
        Command::Schema => schema::run(),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Completions(arguments) => shell::completions(&arguments),
        Command::Man(arguments) => shell::man(&arguments),
        Command::Help(arguments) => help::run(&arguments),
    };
    let exit = exit.unwrap_or_else(Failure::tell);
    log.end();
    #[cfg(debug_assertions)]
    environment::tell_failpoints();
    ExitCode::from(exit.code())
}

impl Failure {
    /// Words the error for people, and gives the exit that it means.
    fn tell(self) -> Exit {
        match self {
            // Whoever reads the output has seen enough: `sciembed peek … | head`.
            Self::Door(error) if matches!(&*error, DoorError::Output(error) if is_broken_pipe(error)) => Exit::Done,
            Self::Door(error) => {
                tell(*error);
                Exit::Error
            }
            Self::Library(error) => {
                let exit = error.exit();
                match *error {
                    Error::Manifest(faults) => tell_faults(faults),
                    Error::Select(error) => render(error),
                    Error::Run(RunError::Observe { errors }) => tell_alike(errors),
                    other => tell(other),
                }
                exit
            }
            Self::Told(exit) => exit,
        }
    }
}

fn is_broken_pipe(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::BrokenPipe
}

/// Prints an error to standard error. The library words errors as fragments of what it tried: `read x.json`.
fn tell(error: impl Diagnostic + Send + Sync + 'static) {
    render(Failed(Box::new(error)));
}

/// Prints a diagnostic to standard error as it is worded.
fn render(error: impl Diagnostic + Send + Sync + 'static) {
    remark_drawn(format!("{:?}", miette::Report::new(error)));
}

/// An error of the library, worded as a sentence; all else is the error's own.
#[derive(Debug)]
struct Failed(Box<dyn Diagnostic + Send + Sync>);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {}", self.0)
    }
}

impl std::error::Error for Failed {
    /// The cause, unless the message ends with it already: nothing is read twice.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let told = self.0.to_string();
        self.0.source().filter(|cause| !told.ends_with(&cause.to_string()))
    }
}

impl Diagnostic for Failed {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.0.code()
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.0.help()
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        self.0.related()
    }

    fn diagnostic_source(&self) -> Option<&dyn Diagnostic> {
        self.0.diagnostic_source()
    }
}

/// Prints what keeps steps from being planned: of faults of one kind the first in full, and which steps share it.
fn tell_alike(errors: Vec<ObserveError>) {
    let code = |error: &ObserveError| {
        let code = error.diagnostic_source().and_then(Diagnostic::code).map(|code| code.to_string());
        (error.step().map(|step| (step.kind, step.node.clone())), code)
    };
    let mut kinds: Vec<(_, ObserveError, Vec<String>)> = Vec::new();
    for error in errors {
        let (kind, step) = (code(&error), error.step().map(ToString::to_string));
        match kinds.iter_mut().find(|(told, ..)| *told == kind) {
            Some((.., steps)) => steps.extend(step),
            None => kinds.push((kind, error, Vec::new())),
        }
    }
    for (_, first, others) in kinds {
        tell(first);
        if !others.is_empty() {
            remark(format!("the same keeps {} from being planned\n", others.join(", ")));
        }
    }
}

/// Prints each fault of a manifest to standard error, and how many there are.
fn tell_faults(faults: crate::manifest::Faults) {
    let faults = faults.into_diagnostics();
    let count = faults.len();
    faults.into_iter().for_each(render);
    remark(format!("{count} fault{} in the workflow", if count == 1 { "" } else { "s" }));
}
