//! `sciembed doctor`: whether this machine has what a run needs, with a remedy for each thing that it lacks.

mod machine;
mod storage;

use std::fs;
use std::path::{Path, PathBuf};

use console::style;
use serde_json::json;

use super::environment::{Machine, cache_home, variable};
use super::print::{say, show, size};
use super::workflow::{Workflow, WorkflowArguments};
use super::{Failure, hub};
use crate::embedder;
use crate::error::Exit;
use crate::graph::Config;
use crate::manifest::config::KeyVariables;

/// The variable of the key that OpenAI's own server is asked with, where a workflow names none.
const OPENAI_KEY: &str = "OPENAI_API_KEY";

/// Look at this machine, and at a workflow's store, models and keys: what is there, what is missing, and what to do about it.
///
/// Exits with 1 if something that a run needs is missing.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  sciembed doctor\n  sciembed doctor workflows/quickstart.toml")]
pub struct Arguments {
    /// A workflow, whose store, models and keys are looked at as well
    #[arg(value_name = "WORKFLOW")]
    path: Option<PathBuf>,
    #[command(flatten)]
    machine: Machine,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Something that was looked at.
pub struct Finding {
    what: &'static str,
    state: State,
    /// What is there.
    told: String,
    /// What to do about it, where something is to be done.
    remedy: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    /// A run works, with less.
    Fair,
    /// A run that needs it fails.
    Bad,
}

impl Finding {
    fn good(what: &'static str, told: impl Into<String>) -> Self {
        Self { what, state: State::Good, told: told.into(), remedy: None }
    }

    fn fair(what: &'static str, told: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what, state: State::Fair, told: told.into(), remedy: Some(remedy.into()) }
    }

    fn bad(what: &'static str, told: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what, state: State::Bad, told: told.into(), remedy: Some(remedy.into()) }
    }
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let workflow = arguments.path.as_ref().map(|path| WorkflowArguments::new(path.clone(), Vec::new()).read());
    let workflow = workflow.transpose()?;
    let mut findings = vec![Finding::good("program", format!("sciembed {}", env!("CARGO_PKG_VERSION")))];
    findings.extend(machine::findings());
    findings.push(runtime(&arguments.machine));
    findings.extend(gpus(&arguments.machine));
    findings.push(model_cache());
    let folder = workflow.as_ref().map_or_else(|| PathBuf::from("."), |it| it.base.join(&it.graph.store));
    findings.extend(storage::findings(&folder, workflow.is_some()));
    if let Some(workflow) = &workflow {
        findings.extend(models(workflow));
        findings.extend(keys(workflow));
    }
    tell(&findings, arguments.json)?;
    Ok(if findings.iter().any(|finding| finding.state == State::Bad) { Exit::Error } else { Exit::Done })
}

fn tell(findings: &[Finding], as_json: bool) -> Result<(), Failure> {
    let word = |state| match state {
        State::Good => "good",
        State::Fair => "fair",
        State::Bad => "bad",
    };
    if as_json {
        let told =
            |it: &Finding| json!({ "what": it.what, "state": word(it.state), "told": it.told, "remedy": it.remedy });
        return Ok(say(format!("{:#}", json!(findings.iter().map(told).collect::<Vec<_>>())))?);
    }
    for Finding { what, state, told, remedy } in findings {
        let mark = match state {
            State::Good => style("good").green(),
            State::Fair => style("fair").yellow(),
            State::Bad => style("bad ").red(),
        };
        show(format!("{mark}  {what:10}  {told}"))?;
        if let Some(remedy) = remedy {
            show(format!("                  -> {remedy}"))?;
        }
    }
    Ok(())
}

/// ONNX Runtime, which is loaded to be sure.
fn runtime(machine: &Machine) -> Finding {
    let env = machine.environment();
    match embedder::runtime_name(&env) {
        Ok(name) => {
            let path = env.runtime().map_or_else(String::new, |path| format!(", {}", path.display()));
            Finding::good("runtime", format!("{name}{path}"))
        }
        Err(error) => Finding::bad(
            "runtime",
            format!("failed to {error}"),
            "run ./setup.sh, which fetches it, or name it with --onnxruntime; API embedders need none",
        ),
    }
}

/// Whether the runtime has what drives GPUs beside it, and whether there are any.
fn gpus(machine: &Machine) -> Option<Finding> {
    let env = machine.environment();
    let library = env.runtime()?.canonicalize().ok()?;
    let provider = library.with_file_name("libonnxruntime_providers_cuda.so");
    let has_gpu = Path::new("/dev/nvidia0").exists();
    Some(match (has_gpu, provider.is_file()) {
        (false, _) => Finding::good("GPU", "none; models run on the processor"),
        (true, true) => Finding::good("GPU", "NVIDIA, and the runtime has its CUDA provider"),
        (true, false) => Finding::fair(
            "GPU",
            "NVIDIA, but the runtime has no CUDA provider",
            "name a build of ONNX Runtime with CUDA by --onnxruntime, such as that of the package onnxruntime-gpu",
        ),
    })
}

/// What was fetched and converted before.
fn model_cache() -> Finding {
    let hub = hub::settings(false).map(|settings| settings.cache).unwrap_or_default();
    let graphs = cache_home().join("sciembed/graphs");
    let told = |what: &str, folder: &Path| {
        let count = fs::read_dir(folder).map_or(0, |entries| entries.flatten().count());
        format!("{count} {what} in {}", folder.display())
    };
    Finding::good("models", format!("{}; {}", told("of the hub", &hub), told("converted graphs", &graphs)))
}

/// Folders of models that a workflow names.
fn models(workflow: &Workflow) -> Vec<Finding> {
    let mut named: Vec<&str> = workflow.graph.steps.iter().filter_map(|step| model(&step.config)).collect();
    named.sort_unstable();
    named.dedup();
    let folders = named.into_iter().filter(|model| !model.contains("://"));
    let look = |model: &str| {
        let folder = workflow.base.join(model);
        let bytes: u64 = fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|it| it.metadata().ok())
            .map(|it| it.len())
            .sum();
        if folder.join("config.json").is_file() {
            return Finding::good("model", format!("{model}, {}", size(bytes)));
        }
        let told = format!("{model} is no folder with a model");
        Finding::bad(
            "model",
            told,
            "run ./setup.sh for the model of the examples, or name a model of the hub: hf://organisation/name",
        )
    };
    folders.map(look).collect()
}

fn model(config: &Config) -> Option<&str> {
    match config {
        Config::Embed(embed) => Some(&embed.model),
        _ => None,
    }
}

/// The variables that hold keys: whether they are set, never what they hold.
fn keys(workflow: &Workflow) -> Vec<Finding> {
    let mut names = Vec::new();
    for step in &workflow.graph.steps {
        if let Config::Embed(embed) = &step.config {
            let api = embed.api.as_ref();
            match api.and_then(|api| api.api_key_env.as_ref()) {
                Some(KeyVariables(named)) => names.extend(named.iter().cloned()),
                None if embed.model.starts_with("openai://") && api.is_none_or(|api| api.base_url.is_none()) => {
                    names.push(OPENAI_KEY.to_owned());
                }
                None => {}
            }
        }
        if let Some(dataset) = step.dataset() {
            names.extend(dataset.derived.export.each().iter().filter_map(|it| it.server()?.api_key_env.clone()));
        }
    }
    names.sort();
    names.dedup();
    let look = |name: String| match variable(&name) {
        Some(_) => Finding::good("key", format!("{name} is set")),
        None => Finding::bad(
            "key",
            format!("{name} is not set"),
            format!("export {name}=…, as its provider gave it to you"),
        ),
    };
    names.into_iter().map(look).collect()
}
