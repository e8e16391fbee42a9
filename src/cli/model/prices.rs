//! `sciembed model prices`: the built-in table of what APIs cost, as a file that one can keep and change.

use super::Failure;
use crate::api::Prices;
use crate::cli::print::say;
use crate::error::Exit;

/// Print the built-in table of prices, in the form that `prices` in an `api` table takes.
#[derive(clap::Args)]
pub struct Arguments {}

pub fn run(_: &Arguments) -> Result<Exit, Failure> {
    say(Prices::BUILT_IN.trim_end())?;
    Ok(Exit::Done)
}
