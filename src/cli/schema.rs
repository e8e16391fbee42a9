//! `sciembed schema`: the JSON schema of workflows.

use super::Failure;
use super::print::say;
use crate::error::Exit;

pub fn run() -> Result<Exit, Failure> {
    say(crate::manifest::json_schema().trim_end())?;
    Ok(Exit::Done)
}
