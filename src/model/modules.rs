//! modules.json: the modules of a sentence-transformers model, in order.

use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::ModelError;

/// One entry of modules.json.
#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

/// What follows the pooling.
pub(super) enum Tail {
    /// A dense layer, in a folder of its own.
    Dense(PathBuf),
    /// Scaling to length 1.
    Normalize,
}

/// What modules.json says; paths are relative to the model's folder.
#[derive(Default)]
pub(super) struct Modules {
    /// The folder of the encoder.
    pub transformer: PathBuf,
    /// The folder of the pooling's settings.
    pub pooling: Option<PathBuf>,
    /// What follows.
    pub tail: Vec<Tail>,
}

impl Modules {
    /// Reads the content of modules.json: a Transformer, a Pooling, then Dense and Normalize in any number.
    pub fn parse(file: &Path, bytes: &[u8]) -> Result<Self, ModelError> {
        let listed: Vec<Module> = serde_json::from_slice(bytes).map_err(|source| ModelError::BadJson {
            file: file.into(),
            expected: "list of modules",
            source,
        })?;
        let mut modules = Self::default();
        for (position, module) in listed.iter().enumerate() {
            let path = inside(file, &module.path)?;
            let kind = module.kind.strip_prefix("sentence_transformers.").and_then(|kind| kind.rsplit('.').next());
            match (kind, position) {
                (Some("Transformer"), 0) => modules.transformer = path,
                (Some("Pooling"), 1) => modules.pooling = Some(path),
                (Some("Dense"), 2..) => modules.tail.push(Tail::Dense(path)),
                (Some("Normalize"), 2..) => modules.tail.push(Tail::Normalize),
                (Some("Transformer" | "Pooling" | "Dense" | "Normalize"), _) => {
                    let help = "modules run in the order Transformer, Pooling, then Dense and Normalize";
                    return Err(refused(file, module, help));
                }
                _ => return Err(refused(file, module, "only Transformer, Pooling, Dense and Normalize can be run")),
            }
        }
        Ok(modules)
    }
}

fn refused(file: &Path, module: &Module, help: &'static str) -> ModelError {
    ModelError::Unsupported { file: file.into(), field: "type".into(), value: format!("{:?}", module.kind), help }
}

/// A module's path, if it stays inside the folder: a package must not reach for files that its digest does not name.
fn inside(file: &Path, path: &str) -> Result<PathBuf, ModelError> {
    let relative = PathBuf::from(path);
    match relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        true => Ok(relative),
        false => Err(ModelError::Outside { file: file.into(), path: path.into() }),
    }
}
