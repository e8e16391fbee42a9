//! `sciembed graph`: the nodes of a workflow and what flows between them, coloured by whether they are fresh.
//!
//! Instances of a node are one box: thirty years are read as one. `drawn.rs` is what is drawn, as plain data; `text.rs`,
//! `dot.rs`, `mermaid.rs` and `svg.rs` draw it.

mod dot;
mod drawn;
mod mermaid;
mod svg;
mod text;

use super::environment::Machine;
use super::plan::count_and_remember;
use super::print::say;
use super::workflow::{SelectionArguments, WorkflowArguments};
use super::{Failure, standard_input};
use crate::error::Exit;
use crate::plan::plan;
use drawn::Drawn;

/// Draw the nodes of a workflow, with what is fresh and what an apply would do.
///
/// A node that cannot be planned, such as a load whose file is missing, is drawn as blocked.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  sciembed graph workflows/quickstart.toml
  sciembed graph workflows/quickstart.toml --format svg > graph.svg
  sciembed graph workflows/quickstart.toml --format dot | dot -Tpdf > graph.pdf")]
pub struct Arguments {
    #[command(flatten)]
    workflow: WorkflowArguments,
    #[command(flatten)]
    selection: SelectionArguments,
    #[command(flatten)]
    machine: Machine,
    /// How it is drawn
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// Lines for a terminal
    Text,
    /// The language of Graphviz
    Dot,
    /// The language of Mermaid, which forges show in Markdown
    Mermaid,
    /// A picture
    Svg,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let workflow = arguments.workflow.read()?;
    let scope = arguments.selection.select(&workflow.graph)?;
    let mut observer = workflow.observer(&arguments.machine)?;
    standard_input::read(&mut observer, &scope, standard_input::Use::Plan)?;
    let (mut observed, _) = observer.observe_what_can_be(&scope);
    count_and_remember(&mut observer, &scope, &mut observed)?;
    let drawn = Drawn::of(&workflow.graph, &plan(&workflow.graph, &scope, &observed));
    say(match arguments.format {
        Format::Text => text::draw(&drawn),
        Format::Dot => dot::draw(&drawn),
        Format::Mermaid => mermaid::draw(&drawn),
        Format::Svg => svg::draw(&drawn),
    }
    .trim_end())?;
    Ok(Exit::Done)
}
