//! The text of a workflow, with comments that say what may be changed.

use std::env;
use std::fs;
use std::path::{Component, Path, PathBuf};

use toml::Value;

use super::Data;
use super::look::YEAR;
use crate::cli::print::{printable, tidy};

/// What was decided.
pub struct Draft {
    /// The command that writes it.
    pub written_by: &'static str,
    /// The workflow's name.
    pub name: String,
    /// The store, from the working directory.
    pub store: String,
    /// The published directory, from the working directory.
    pub dir: String,
    /// The years; none where there is one file.
    pub years: Vec<u16>,
    /// The fields of a text.
    pub fields: Vec<String>,
    /// Put before every text.
    pub prefix: String,
    /// The model, from the working directory if it is a folder.
    pub model: String,
    /// Texts that the model reads at once, at most.
    pub batch: Option<u32>,
}

/// The workflow, for a file in `folder`.
pub fn text(data: &Data, draft: &Draft, folder: &Path) -> String {
    let quoted = |text: &str| Value::String(text.to_owned()).to_string();
    let list = |items: &[String]| items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", ");
    let path = |path: &str| quoted(&relative(Path::new(path), folder).display().to_string());
    let yearly = !draft.years.is_empty();
    let label = label(&draft.model);
    let mut told = format!(
        "# Written by `sciembed {}` from {}. Every path is relative to this file.\n\
         #\n\
         #     sciembed plan FILE      what would run, and why\n\
         #     sciembed apply FILE     run it; run it again after an interruption, or when a year is added\n\n\
         version = 1\n\
         name = {}\n\
         store = {}              # where every result is kept, under the digest of what made it\n\n",
        draft.written_by,
        printable(&data.files_text()),
        quoted(&draft.name),
        path(&draft.store)
    );
    if yearly {
        told.push_str(&format!("[matrix]\nyear = {}    # to add a year, add it here\n\n", years(&draft.years)));
    }
    told.push_str(&format!("[load.records]\ninput = {}\n", quoted(&input(data, folder))));
    if data.key != "bibcode" {
        told.push_str(&format!("key = {}\n", quoted(&data.key)));
    }
    let others: Vec<&str> = data
        .fields
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| !draft.fields.iter().any(|it| it == name))
        .collect();
    told.push_str(&format!("fields = [{}]    # there are also: {}\n", list(&draft.fields), others.join(", ")));
    if data.aliases {
        told.push_str("aliases = \"identifier\"    # other bibcodes of a paper, under which it is found too\n");
    }
    told.push_str(&format!(
        "# where = \"doctype = 'article'\"    # which records to take; by default all\n\n\
         [prepare.texts]\nfrom = \"records\"\nfields = [{}]    # one after the other, with a blank line between\n\
         prefix = {}    # put before every text, for models that want an instruction there\n\
         clean = [\"html\", \"entities\", \"latex\", \"whitespace\"]    # markup and LaTeX become what a person would read\n\n\
         [embed.vectors]\nfrom = \"texts\"\nmodel = {}    # a folder, hf://organisation/name, or openai://name\n\n",
        list(&draft.fields),
        quoted(&draft.prefix),
        model(&draft.model, folder)
    ));
    if let Some(batch) = draft.batch {
        told.push_str(&format!(
            "[embed.vectors.onnx]\nmax_batch_tokens = {batch}    # tokens in one run of the model: texts of one length go together\n\n"
        ));
    }
    let dir = path(&draft.dir);
    told.push_str(&format!(
        "[persist.yearly]\nfrom = \"vectors\"\ndir = {dir}\nlabel = {}\ndtype = \"f16\"    # 2 bytes a component; \"i8\" takes half of that\n",
        quoted(&label)
    ));
    if yearly {
        told.push_str(&format!(
            "\n[merge.all]\nfrom = \"yearly\"\nacross = [\"year\"]\ndir = {dir}\n\
             # words = true                # for `sciembed search --mode hybrid`\n\
             # [merge.all.index.auto]      # for searches among more than a million papers\n"
        ));
    }
    told
}

/// What a load node reads: folder and names as they are, whatever they hold that globs and templates go by.
fn input(data: &Data, folder: &Path) -> String {
    let literal = |text: &str| glob::Pattern::escape(text).replace('{', "{{").replace('}', "}}");
    let file = match data.pattern.split_once(YEAR).filter(|_| !data.years.is_empty()) {
        Some((before, after)) => format!("{}{YEAR}{}", literal(before), literal(after)),
        None => literal(&data.pattern),
    };
    let folder = relative(&data.folder, folder).display().to_string();
    if folder == "." { file } else { format!("{}/{file}", literal(folder.trim_end_matches('/'))) }
}

fn years(years: &[u16]) -> String {
    let contiguous = years.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    match years {
        [first, .., last] if contiguous => format!("\"{first}..={last}\""),
        _ => format!("[{}]", years.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")),
    }
}

fn model(model: &str, folder: &Path) -> String {
    let named =
        if model.contains("://") { model.to_owned() } else { relative(Path::new(model), folder).display().to_string() };
    Value::String(named).to_string()
}

/// The last part of a model's name, as a label.
fn label(model: &str) -> String {
    let last = model.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let last = last.split('@').next().unwrap_or_default();
    let label: String =
        last.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
    if label.is_empty() { "vectors".to_owned() } else { label }
}

/// A path from the working directory as one from a folder writes it.
fn relative(path: &Path, folder: &Path) -> PathBuf {
    if path.is_absolute() {
        return path.to_owned();
    }
    let here = env::current_dir().unwrap_or_default();
    let absolute = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| tidy(&here.join(path)));
    let (path, folder) = (tidy(&here.join(path)), absolute(folder));
    let common: PathBuf =
        path.components().zip(folder.components()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect();
    let up = folder.strip_prefix(&common).map_or(0, |rest| rest.components().count());
    let down = path.strip_prefix(&common).unwrap_or(&path);
    let way: PathBuf =
        std::iter::repeat_n(Component::ParentDir.as_os_str(), up).map(PathBuf::from).chain([down.to_owned()]).collect();
    if way.as_os_str().is_empty() { PathBuf::from(".") } else { way }
}
