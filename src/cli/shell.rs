//! `sciembed completions` and `sciembed man`: what a package installs beside the program, made of its own arguments.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::Shell;

use super::print::say;
use super::{Cli, DoorError, Failure};
use crate::error::Exit;

#[derive(clap::Args)]
pub struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(clap::Args)]
pub struct ManArguments {
    /// The folder that the pages are written into
    #[arg(long, value_name = "DIR", default_value = "man")]
    to: PathBuf,
}

/// Prints what the shell reads to complete commands and options.
pub fn completions(arguments: &CompletionsArguments) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "sciembed", &mut script);
    say(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Done)
}

/// Writes a page for the program and one for each command.
pub fn man(arguments: &ManArguments) -> Result<Exit, Failure> {
    let failed = |error: io::Error| DoorError::ManPages { dir: arguments.to.clone(), reason: error.to_string() };
    let written = write_pages(&arguments.to).map_err(failed)?;
    say(format!("{written} pages in {}", arguments.to.display()))?;
    Ok(Exit::Done)
}

fn write_pages(dir: &Path) -> io::Result<usize> {
    fs::create_dir_all(dir)?;
    clap_mangen::generate_to(Cli::command(), dir)?;
    Ok(fs::read_dir(dir)?.flatten().filter(|entry| entry.path().extension().is_some_and(|it| it == "1")).count())
}
