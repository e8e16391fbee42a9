//! `sciembed schema`: the JSON schema of workflows.

use super::Failure;
use crate::error::Exit;

pub fn run() -> Result<Exit, Failure> {
    print!("{}", crate::manifest::json_schema());
    Ok(Exit::Done)
}
