//! `sciembed model inspect`: what a model is, and what would run.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Chosen, Failure, Onnx, ResolvedModel, Runner};
use crate::api::Settings;
use crate::cli::print::{say, show};
use crate::convert::Stage;
use crate::digest::Digest;
use crate::error::Exit;
use crate::model::Graph;
use crate::store::pretty_json;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let (resolved, _) = arguments.chosen.resolve()?;
    let facts = facts(&arguments.chosen.model, &resolved);
    if arguments.json {
        say(String::from_utf8_lossy(&pretty_json(&Value::from_iter(facts))).trim_end())?;
        return Ok(Exit::Done);
    }
    for (name, value) in facts {
        let mut name = name.as_str();
        for line in lines(&value) {
            show(format!("{name:<12} {line}"))?;
            name = "";
        }
    }
    Ok(Exit::Done)
}

/// A value as people read it: of a digest its beginning, and a line for each of what has names.
fn lines(value: &Value) -> Vec<String> {
    let line = |value: &Value| match value {
        Value::String(text) => text.parse::<Digest>().map_or_else(|_| text.clone(), |digest| digest.short()),
        other => other.to_string(),
    };
    let lines: Vec<String> = match value {
        Value::Object(named) => named.iter().map(|(name, value)| format!("{name}: {}", line(value))).collect(),
        Value::Array(values) if !values.is_empty() => vec![values.iter().map(line).collect::<Vec<_>>().join(", ")],
        Value::String(text) if !text.is_empty() => vec![text.clone()],
        Value::Array(_) | Value::String(_) => Vec::new(),
        other => vec![other.to_string()],
    };
    if lines.is_empty() { vec!["none".to_owned()] } else { lines }
}

/// What there is to say, in the order in which people look for it.
fn facts(model: &str, resolved: &ResolvedModel) -> Vec<(String, Value)> {
    let mut facts: Vec<(&str, Value)> = vec![("model", model.into())];
    match &resolved.runner {
        Runner::Onnx(onnx) => facts.extend(of_package(onnx)),
        Runner::Api(settings) => facts.extend(of_api(settings)),
        Runner::Fake(_) => facts.push(("kind", "the deterministic embedder for tests".into())),
    }
    facts.push(("dim", resolved.dim.into()));
    facts.push(("numerics", resolved.numerics.into()));
    facts.push(("bit_stable", resolved.bit_stable.into()));
    facts.push(("embedder", resolved.key.to_string().into()));
    facts.extend((!resolved.notes.is_empty()).then(|| ("notes", json!(resolved.notes))));
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn of_api(settings: &Settings) -> Vec<(&'static str, Value)> {
    let price = settings.price.as_ref().map_or("not known".to_owned(), |price| {
        format!("${} per million tokens, as of {}", price.usd_per_million_tokens, price.date)
    });
    vec![
        ("server", settings.base_url.as_str().into()),
        ("keys", json!(settings.key_variables)),
        ("tokens", format!("{:?}", settings.cutting.counter).into()),
        ("max_length", json!(settings.cutting.max_length)),
        ("prompt", settings.cutting.prompt.as_str().into()),
        ("price", price.into()),
    ]
}

fn of_package(onnx: &Onnx) -> Vec<(&'static str, Value)> {
    let package = &onnx.package;
    let settings = &package.settings;
    let stages = settings.stages.iter().map(|stage| match stage {
        Stage::Dense(dense) => format!("dense {} -> {}", dense.from, dense.to),
        Stage::Normalize => "normalize".to_owned(),
        Stage::Truncate(dim) => format!("truncate to {dim}"),
    });
    let stages: Vec<String> = stages.collect();
    let mut facts = vec![("folder", package.folder.display().to_string().into())];
    if let Graph::Own(own) = &package.graph {
        facts.push(("architecture", own.architecture.into()));
        facts.push(("vocabulary", own.vocab.into()));
    }
    facts.extend([
        ("graph", format!("{}: {}", package.graph.choice(), package.why).into()),
        ("precision", package.graph.precision().to_string().into()),
        ("max_length", settings.max_length.into()),
        ("long", settings.long.to_string().into()),
        ("pooling", settings.pooling.to_string().into()),
        ("then", json!(stages)),
        ("prompt", settings.prompt.as_str().into()),
        ("prompts", json!(package.settings.prompts)),
        ("lowercase", settings.lowercase.into()),
    ]);
    let files: BTreeMap<String, String> =
        package.files.iter().map(|(role, file)| (role.ingredient(), file.digest.to_string())).collect();
    facts.push(("files", json!(files)));
    facts
}
