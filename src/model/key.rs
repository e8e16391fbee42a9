//! The table of what decides a vector, and the embedder key made from it.
//!
//! | ingredient | why it is in |
//! |---|---|
//! | `revision` | [`REVISION`]: how our own code tokenises, pools and normalises |
//! | `graph`, `model.graph` | the graph that runs: the folder's, or the bytes of the one made of its weights |
//! | `model.graph_data.*`, `model.weights.*` | the weights of the one or the other |
//! | `precision` | in what numbers a graph of our own computes |
//! | `model.tokenizer` | which tokens a text becomes |
//! | `model.settings.*` | each settings file that was read; they are small, and a new reading of one is a new model |
//! | `prompt`, `prompt_pooled` | the text put before every text, and whether its tokens are pooled |
//! | `pooling`, `normalize`, `max_length`, `dim`, `lowercase` | as settled: the manifest may override the files |
//! | `long`, `overlap` | how a text beyond the maximal length is read, where it is not just cut |
//! | `numerics` | `cpu-f32`, `cpu-i8`, `cuda-f16`, `tensorrt-f32`, ..: the same graph gives other bits on another kind of processor |
//!
//! Out, because they change no vector: paths, sessions, threads, batch sizes, the reference as written.
//! The key is the hash of exactly this map, so a reason for staleness that names ingredients can never disagree with
//! the key.

use std::collections::BTreeMap;

use super::settings::Settings;
use super::{Graph, ModelPackage, PackageFile, Processor, Role};
use crate::convert;
use crate::digest::{Digest, EmbedderKey, KeyHasher};
use crate::manifest::config::{GraphChoice, Long};

/// Raised whenever the same text under the same ingredients would get another vector.
pub const REVISION: u32 = 2;

/// What decides a vector, by name.
pub type Ingredients = BTreeMap<String, String>;

/// The key over all ingredients, in the order of their names.
pub fn embedder_key(ingredients: &Ingredients) -> EmbedderKey {
    let mut hasher = KeyHasher::new("sciembed 2026 embedder key v1");
    hasher.count(ingredients.len() as u64);
    for (name, value) in ingredients {
        hasher.text(name).text(value);
    }
    hasher.embedder_key()
}

/// The folder in which a graph that is made of weights is kept, below that of all such graphs; none if it is another.
pub fn graph_folder(ingredients: &Ingredients) -> Option<String> {
    if ingredients.get("graph") != Some(&GraphChoice::Own.to_string()) {
        return None;
    }
    let graph = ingredients.get(&Role::Graph.ingredient())?.parse().ok()?;
    let prefix = Role::Weights(String::new()).ingredient();
    let weights = ingredients.iter().filter(|(name, _)| name.starts_with(&prefix));
    let weights: Vec<Digest> = weights.map(|(_, digest)| digest.parse().ok()).collect::<Option<_>>()?;
    Some(convert::folder_name(&graph, weights.into_iter()))
}

/// The ingredients of an ONNX package on one kind of processor.
pub(super) fn of_package(package: &ModelPackage, processor: Processor) -> Ingredients {
    // Destructured so that a new field does not compile until somebody has decided. `graph` and `tokenizer` are among
    // `files`; the folder is where the package happens to lie.
    let ModelPackage { folder: _, graph, why: _, tokenizer: _, files, settings } = package;
    let mut ingredients = of_settings(settings);
    ingredients.insert("graph".to_owned(), graph.choice().to_string());
    ingredients.insert("precision".to_owned(), graph.precision().to_string());
    if let Graph::Own(own) = graph {
        ingredients.insert(Role::Graph.ingredient(), own.planned.digest().to_string());
    }
    for (role, PackageFile { path: _, digest }) in files {
        ingredients.insert(role.ingredient(), digest.to_string());
    }
    ingredients.insert("numerics".to_owned(), processor.numerics(graph.precision()).to_owned());
    ingredients
}

fn of_settings(settings: &Settings) -> Ingredients {
    // Dense layers are in the graph, and have settings files of their own.
    let Settings {
        pooling,
        include_prompt,
        pooled: _,
        stages: _,
        max_length,
        long,
        overlap,
        dim,
        lowercase,
        prompt,
        prompts: _,
    } = settings;
    let mut ingredients = named([
        ("revision", REVISION.to_string()),
        ("prompt", serde_json::Value::from(prompt.as_str()).to_string()),
        ("prompt_pooled", include_prompt.to_string()),
        ("pooling", pooling.to_string()),
        ("normalize", settings.normalize().to_string()),
        ("max_length", max_length.to_string()),
        ("dim", dim.to_string()),
        ("lowercase", lowercase.to_string()),
    ]);
    // Cutting is older than the choice: its keys stay what they were.
    if *long != Long::Truncate {
        ingredients.insert("long".to_owned(), long.to_string());
    }
    if *long == Long::Mean {
        ingredients.insert("overlap".to_owned(), overlap.to_string());
    }
    ingredients
}

/// The ingredients of the test embedder.
pub(super) fn of_fake(dim: usize, max_length: Option<usize>) -> Ingredients {
    let mut ingredients =
        named([("revision", REVISION.to_string()), ("fake", "v1".to_owned()), ("dim", dim.to_string())]);
    ingredients.extend(max_length.map(|length| ("max_length".to_owned(), length.to_string())));
    ingredients
}

fn named<const N: usize>(pairs: [(&str, String); N]) -> Ingredients {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A changed encoding would silently re-embed every corpus: it must be seen here first.
    #[test]
    fn one_embedder_key_is_pinned() {
        let key = embedder_key(&of_fake(16, None)).to_string();
        assert_eq!(key, "0a275bdf7757593b929ccc1d2cbcd916bce055dc12c216a9bb4d9ac4daf01339");
    }

    #[test]
    fn the_order_of_insertion_is_not_in_the_key() {
        let forward = named([("a", "1".to_owned()), ("b", "2".to_owned())]);
        let backward = named([("b", "2".to_owned()), ("a", "1".to_owned())]);
        assert_eq!(embedder_key(&forward), embedder_key(&backward));
        assert_ne!(embedder_key(&forward), embedder_key(&named([("a", "12".to_owned()), ("b", String::new())])));
    }
}
