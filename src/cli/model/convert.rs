//! `sciembed model convert`: a model's own graph as files that any ONNX Runtime opens.

use std::path::PathBuf;

use super::{Chosen, DoorError, Failure, Runner};
use crate::cli::print::say;
use crate::convert::{GRAPH_FILE, Operators, WEIGHTS_FILE};
use crate::digest::Digest;
use crate::error::Exit;
use crate::manifest::config::{EmbedConfig, Precision};
use crate::model::{Graph, ModelPackage};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
    /// The folder to write, which must not exist yet
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    // In f32, which runs anywhere: what a file is made for need not run on this machine.
    let anywhere = EmbedConfig { precision: Precision::F32, ..arguments.chosen.config() };
    let (resolved, _) = arguments.chosen.resolve_as(&anywhere)?;
    let folder = match &resolved.runner {
        Runner::Onnx(onnx) if matches!(onnx.package.graph, Graph::Own(_)) => &onnx.package.folder,
        _ => return Err(runs_none(arguments)),
    };
    // What runs here has kernels that other programs lack.
    let config = arguments.chosen.config();
    if config.precision == Precision::Int8 {
        let reason = "int8 is computed by kernels of sciembed, which other programs do not have";
        return Err(refused(
            arguments,
            reason,
            "leave --precision out, or write --precision f16: such files have standard operators",
        )
        .into());
    }
    let package = ModelPackage::open(folder, &config, Operators::Standard, &mut |path| Digest::of_file(path))?;
    let Graph::Own(own) = &package.graph else { return Err(runs_none(arguments)) };
    if arguments.out.exists() {
        let reason = format!("{} exists already", arguments.out.display());
        return Err(refused(arguments, &reason, "name a folder that does not exist yet").into());
    }
    own.planned.write(&arguments.out)?;
    say(format!("wrote {GRAPH_FILE} and {WEIGHTS_FILE} to {}", arguments.out.display()))?;
    Ok(Exit::Done)
}

fn runs_none(arguments: &Arguments) -> Failure {
    let help = "leave --graph out, and name a model with safetensors weights: see `sciembed model inspect`";
    refused(arguments, "it runs no graph of sciembed's own", help).into()
}
fn refused(arguments: &Arguments, reason: &str, help: &'static str) -> DoorError {
    DoorError::Convert { model: arguments.chosen.model.clone(), reason: reason.to_owned(), help }
}
