//! From token vectors to one: what sentence-transformers' `Pooling`, `Dense` and `Normalize` do, in the order of
//! modules.json, then the truncation that a person asked for.

use std::path::Path;

use serde_json::Value;

use super::numbers::{activated, dot, linear};
use super::weights::Weights;
use super::{Overrides, Rows, json};

pub fn vector(folder: &Path, states: Rows, prompt: usize, overrides: &Overrides) -> Vec<f64> {
    let modules = json(&folder.join("modules.json"));
    let mut vector = Vec::new();
    let mut scaled = false;
    for module in modules.as_array().unwrap().iter().skip(1) {
        let path = folder.join(module["path"].as_str().unwrap());
        let kind = module["type"].as_str().unwrap().rsplit('.').next().unwrap();
        match kind {
            "Pooling" => vector = pooled(&json(&path.join("config.json")), &states, prompt, overrides.pooling),
            "Dense" => vector = dense(&path, &vector),
            "Normalize" if overrides.normalize != Some(false) => normalize(&mut vector),
            _ => {}
        }
        scaled = kind == "Normalize";
    }
    vector.truncate(overrides.dim.unwrap_or(vector.len()));
    if overrides.normalize.unwrap_or(scaled) {
        normalize(&mut vector);
    }
    vector
}

fn pooled(settings: &Value, states: &Rows, prompt: usize, asked: Option<&str>) -> Vec<f64> {
    let modes = settings.as_object().unwrap().iter().filter(|(name, _)| name.starts_with("pooling_mode_"));
    let stated = modes.into_iter().find(|(_, on)| *on == &Value::Bool(true));
    let stated = settings["pooling_mode"].as_str().or(stated.map(|(name, _)| name.as_str()));
    let mode =
        asked.or(stated).unwrap().trim_start_matches("pooling_mode_").replace("_tokens", "").replace("_token", "");
    let skipped = if settings["include_prompt"] == Value::Bool(false) { prompt } else { 0 };
    let kept = &states[skipped..];
    // Sums of the states, each times the number that its place gives.
    let weighted = |weight: &dyn Fn(usize) -> f64, divisor: f64| -> Vec<f64> {
        let component = |n: usize| kept.iter().enumerate().map(|(place, row)| weight(place) * row[n]).sum::<f64>();
        (0..states[0].len()).map(|n| component(n) / divisor).collect()
    };
    let count = kept.len() as f64;
    match mode.as_str() {
        "cls" => kept[0].clone(),
        "lasttoken" => kept[kept.len() - 1].clone(),
        "mean" => weighted(&|_| 1.0, count),
        "mean_sqrt_len" => weighted(&|_| 1.0, count.sqrt()),
        "weightedmean" => {
            // Places are counted in the whole text.
            let weight = |place: usize| (skipped + place + 1) as f64;
            weighted(&weight, (0..kept.len()).map(weight).sum())
        }
        "max" => {
            let highest = |n: usize| kept.iter().map(|row| row[n]).fold(f64::NEG_INFINITY, f64::max);
            (0..states[0].len()).map(highest).collect()
        }
        other => panic!("{other}"),
    }
}

fn dense(folder: &Path, vector: &[f64]) -> Vec<f64> {
    let settings = json(&folder.join("config.json"));
    let function = settings["activation_function"].as_str().unwrap_or("Tanh").rsplit('.').next().unwrap();
    activated(function, linear(&Weights::open(folder), "linear", &[vector.to_vec()])).remove(0)
}

fn normalize(vector: &mut [f64]) {
    let length = dot(vector, vector).sqrt().max(1e-12);
    vector.iter_mut().for_each(|value| *value /= length);
}
