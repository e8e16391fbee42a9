//! `sciembed model pull`: a hub's model onto this disk.

use super::{Chosen, Failure, Runner};
use crate::cli::print::say;
use crate::error::Exit;

#[derive(clap::Args)]
#[command(
    after_help = "The files go to the cache that Python's huggingface_hub uses. HF_ENDPOINT, HF_HOME, HF_TOKEN and \
                        HF_HUB_OFFLINE mean what they mean there."
)]
pub struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    // Resolving is fetching whatever is not here; what comes of it was checked as a workflow would.
    let (resolved, _) = arguments.chosen.resolve()?;
    let folder = match &resolved.runner {
        Runner::Onnx(onnx) => onnx.package.folder.display().to_string(),
        Runner::Api(_) | Runner::Fake(_) => "nowhere: it needs no files".to_owned(),
    };
    say(format!("{} is in {folder}", arguments.chosen.model))?;
    Ok(Exit::Done)
}
