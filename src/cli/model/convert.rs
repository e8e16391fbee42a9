//! `sciembed model convert`: a model's own graph as files that any ONNX Runtime opens.

use std::path::PathBuf;

use super::{Chosen, DoorError, Failure, Onnx, Runner};
use crate::cli::print::say;
use crate::convert::{GRAPH_FILE, WEIGHTS_FILE};
use crate::error::Exit;
use crate::model::Graph;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
    /// The folder to write, which must not exist yet
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let (resolved, _) = arguments.chosen.resolve()?;
    let own = match &resolved.runner {
        Runner::Onnx(onnx) => own(onnx),
        Runner::Fake(_) => None,
    };
    let Some(own) = own else {
        let help = "leave --graph out, and name a model with safetensors weights: see `sciembed model inspect`";
        return Err(refused(arguments, "it runs no graph of sciembed's own", help).into());
    };
    if arguments.out.exists() {
        let reason = format!("{} exists already", arguments.out.display());
        return Err(refused(arguments, &reason, "name a folder that does not exist yet").into());
    }
    own.planned.write(&arguments.out)?;
    say(format!("wrote {GRAPH_FILE} and {WEIGHTS_FILE} to {}", arguments.out.display()))?;
    Ok(Exit::Done)
}

fn refused(arguments: &Arguments, reason: &str, help: &'static str) -> DoorError {
    DoorError::Convert { model: arguments.chosen.model.clone(), reason: reason.to_owned(), help }
}

fn own(onnx: &Onnx) -> Option<&crate::model::OwnGraph> {
    match &onnx.package.graph {
        Graph::Own(own) => Some(own),
        Graph::Bundled(_) => None,
    }
}
