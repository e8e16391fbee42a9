//! Writes reports of three runs that never were, to see what a report looks like: `sample FOLDER`.
//!
//! `quickstart.html` is three years that went well, `years.html` thirty of which two failed, `interrupted.html` one that
//! was stopped. All numbers in them are made up.

#[path = "sample/runs.rs"]
mod runs;

use std::{env, fs, io, path::Path, process::ExitCode};

use runs::{interrupted, quickstart, years};

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1) else {
        eprintln!("usage: sample FOLDER");
        return ExitCode::from(2);
    };
    match write(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("write reports into {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, report) in [("quickstart", quickstart()), ("years", years()), ("interrupted", interrupted())] {
        let path = folder.join(format!("{name}.html"));
        fs::write(&path, report.html())?;
        println!("{}", path.display());
    }
    Ok(())
}
