//! `sciembed help`: a command's help, or an error's code explained at length, from the page that the documentation has of them.

use clap::CommandFactory;

use super::print::{remark, show, width};
use super::{Cli, DoorError, Failure};
use crate::error::Exit;

/// The page: a section for each code, under a heading that is the code.
const ERRORS: &str = include_str!("../../docs/src/errors.md");
/// What all codes begin with; people leave it out.
const PREFIX: &str = "sciembed::";
/// How alike a code must be to be proposed: 1 is equal.
const ALIKE: f64 = 0.7;

#[derive(clap::Args)]
pub struct Arguments {
    /// A command, as in `help apply`, or the code of an error, as in `help sciembed::dataset::none`
    topic: Vec<String>,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let mut command = Cli::command();
    command.build();
    let mut found = Some(&mut command);
    for word in &arguments.topic {
        found = found.and_then(|command| command.find_subcommand_mut(word));
    }
    if let Some(command) = found {
        command.print_long_help().map_err(DoorError::Output)?;
        return Ok(Exit::Done);
    }
    let code = arguments.topic.join(" ");
    match section(&code) {
        Some(text) => show(reflowed(&text))?,
        None => {
            let near = near(&code).map_or_else(String::new, |near| format!("; near it: {near}"));
            remark(format!("{code} is neither a command nor the code of an error{near}"));
            return Ok(Exit::Error);
        }
    }
    Ok(Exit::Done)
}

/// The codes that are explained.
fn codes() -> impl Iterator<Item = &'static str> {
    ERRORS.lines().filter_map(|line| line.strip_prefix("## ")).map(str::trim)
}

/// What is said of a code, with or without what all begin with.
fn section(code: &str) -> Option<String> {
    let whole = if code.starts_with(PREFIX) { code.to_owned() } else { format!("{PREFIX}{code}") };
    let (_, rest) = ERRORS.split_once(&format!("\n## {whole}\n"))?;
    let text = rest.split("\n## ").next().unwrap_or_default();
    Some(format!("{whole}\n\n{}", text.trim()))
}

/// Text whose paragraphs are one line each, for a terminal to break where it ends; examples, which are indented, stay.
/// Elsewhere its lines are as they were written.
fn reflowed(text: &str) -> String {
    if width().is_none() {
        return text.to_owned();
    }
    let is_prose = |paragraph: &str| {
        paragraph.lines().all(|line| line.starts_with(|first: char| first.is_alphabetic() || "`(*".contains(first)))
    };
    let paragraph = |paragraph: &str| {
        if is_prose(paragraph) { paragraph.lines().collect::<Vec<_>>().join(" ") } else { paragraph.to_owned() }
    };
    text.split("\n\n").map(paragraph).collect::<Vec<_>>().join("\n\n")
}

fn near(code: &str) -> Option<&'static str> {
    let alike = |known: &&str| strsim::jaro_winkler(known.trim_start_matches(PREFIX), code.trim_start_matches(PREFIX));
    codes().max_by(|a, b| alike(a).total_cmp(&alike(b))).filter(|known| alike(known) >= ALIKE)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn sources(folder: &Path, codes: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                sources(&path, codes);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let found = text.split("code(sciembed::").skip(1).filter_map(|rest| rest.split_once(')'));
                codes.extend(found.map(|(code, _)| format!("{PREFIX}{code}")).filter(|code| !code.contains('"')));
                let faults = text.split("=> \"sciembed::").skip(1).filter_map(|rest| rest.split_once('"'));
                codes.extend(faults.map(|(code, _)| format!("{PREFIX}{code}")));
            }
        }
    }

    /// Every code is explained, and no other.
    #[test]
    fn every_code_is_explained() {
        let mut known = BTreeSet::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut known);
        assert!(known.len() > 150, "{}", known.len());
        let explained: BTreeSet<String> = codes().map(str::to_owned).collect();
        assert_eq!(known.difference(&explained).collect::<Vec<_>>(), Vec::<&String>::new(), "not explained");
        assert_eq!(explained.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "explained, and not there");
        for code in explained {
            assert!(section(&code).unwrap().len() > code.len() + 80, "{code} is hardly explained");
        }
    }
}
