//! What a sentence-transformers folder says about its model, and what the manifest overrides.
//!
//! Nothing here is guessed: a setting that decides vectors and is stated nowhere is an error that says where to write
//! it. Everything unknown that could change a vector is refused by name. The layout is that of sentence-transformers'
//! `Transformer`, `Pooling` and `Normalize` modules.

use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::ModelError;
use super::settings_file::{SettingsFile, read_if_present};
use crate::manifest::config::{EmbedConfig, Pooling};

/// What the model does to a text besides its graph. All of it decides vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How token vectors become one vector.
    pub pooling: Pooling,
    /// Whether vectors are scaled to length 1.
    pub normalize: bool,
    /// Tokens per text at most, special tokens included.
    pub max_length: usize,
    /// Components of a vector.
    pub dim: usize,
    /// Whether the text is lowercased before the tokenizer (not what the tokenizer itself does).
    pub lowercase: bool,
}

/// The settings, with the files that they were read from and the folder that holds graph and tokenizer.
pub(super) struct Found {
    pub settings: Settings,
    pub base: PathBuf,
    /// Paths relative to the model folder; their digests enter the key.
    pub files: Vec<PathBuf>,
}

/// One entry of modules.json.
#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

/// What modules.json says, where there is one.
#[derive(Default)]
struct Modules {
    listed: bool,
    transformer: PathBuf,
    pooling: Option<PathBuf>,
    normalize: bool,
}

/// Reads the settings of the model in `folder`, as overridden by `config`.
pub(super) fn read(folder: &Path, config: &EmbedConfig) -> Result<Found, ModelError> {
    let mut reader = Reader { folder, config, files: Vec::new() };
    let modules = reader.modules()?;
    let pooling_file = match &modules.pooling {
        Some(path) => Some(reader.required(path.join("config.json"), "the pooling settings")?),
        None => None,
    };
    let architecture = reader.optional(modules.transformer.join("config.json"))?;
    reader.refuse_default_prompt()?;
    let (stated_length, lowercase) = reader.sentence_settings(&modules.transformer)?;
    let settings = Settings {
        pooling: reader.pooling(pooling_file.as_ref())?,
        normalize: reader.normalize(&modules)?,
        max_length: reader.max_length(stated_length, architecture.as_ref(), &modules.transformer)?,
        dim: reader.dim(pooling_file.as_ref(), architecture.as_ref())?,
        lowercase,
    };
    Ok(Found { settings, base: folder.join(&modules.transformer), files: reader.files })
}

/// Reads settings files and remembers which were there.
struct Reader<'a> {
    folder: &'a Path,
    config: &'a EmbedConfig,
    files: Vec<PathBuf>,
}

impl Reader<'_> {
    fn optional(&mut self, relative: PathBuf) -> Result<Option<SettingsFile>, ModelError> {
        let file = SettingsFile::read(self.folder.join(&relative))?;
        self.files.extend(file.is_some().then_some(relative));
        Ok(file)
    }

    fn required(&mut self, relative: PathBuf, what: &'static str) -> Result<SettingsFile, ModelError> {
        let looked_for = vec![relative.display().to_string()];
        self.optional(relative)?.ok_or_else(|| ModelError::MissingFile {
            what,
            folder: self.folder.into(),
            looked_for,
            help: "modules.json names this module; copy its folder beside it",
        })
    }

    fn modules(&mut self) -> Result<Modules, ModelError> {
        let file = self.folder.join("modules.json");
        let Some(bytes) = read_if_present(&file)? else { return Ok(Modules::default()) };
        self.files.push("modules.json".into());
        match serde_json::from_slice::<Vec<Module>>(&bytes) {
            Ok(listed) => arrange(&file, &listed),
            Err(source) => Err(ModelError::BadJson { file, expected: "list of modules", source }),
        }
    }

    /// A prompt that is put before every text changes every vector, so it must not be dropped in silence.
    fn refuse_default_prompt(&mut self) -> Result<(), ModelError> {
        let Some(file) = self.optional("config_sentence_transformers.json".into())? else { return Ok(()) };
        match file.text("default_prompt_name")? {
            None => Ok(()),
            Some(name) => Err(file.unsupported(
                "default_prompt_name",
                format!("{name:?}"),
                "set it to null and write the prompt as `prefix` of the prepare node",
            )),
        }
    }

    /// The stated maximal length, if any, and whether text is lowercased first.
    fn sentence_settings(&mut self, transformer: &Path) -> Result<(Option<usize>, bool), ModelError> {
        let Some(file) = self.optional(transformer.join("sentence_bert_config.json"))? else {
            return Ok((None, false));
        };
        Ok((file.count("max_seq_length")?, file.flag("do_lower_case")?.unwrap_or(false)))
    }

    fn pooling(&self, file: Option<&SettingsFile>) -> Result<Pooling, ModelError> {
        match (self.config.pooling, file) {
            (Some(pooling), _) => Ok(pooling),
            (None, Some(file)) => stated_pooling(file),
            (None, None) => Err(self.unstated("pooling", "pooling = \"mean\" (or cls, max, lasttoken)")),
        }
    }

    fn normalize(&self, modules: &Modules) -> Result<bool, ModelError> {
        let stated = modules.listed.then_some(modules.normalize);
        self.config.normalize.or(stated).ok_or_else(|| self.unstated("normalize", "normalize = true (or false)"))
    }

    /// The manifest's limit, else sentence_bert_config's, else the smaller of what tokenizer and positions allow.
    fn max_length(
        &mut self,
        stated: Option<usize>,
        architecture: Option<&SettingsFile>,
        transformer: &Path,
    ) -> Result<usize, ModelError> {
        let positions = architecture.map_or(Ok(None), |file| file.count("max_position_embeddings"))?;
        let length = match self.config.max_length.or(stated) {
            Some(length) => Some(length),
            None => {
                let tokenizer = self.optional(transformer.join("tokenizer_config.json"))?;
                let tokenizer = tokenizer.map_or(Ok(None), |file| file.count("model_max_length"))?;
                [tokenizer, positions].into_iter().flatten().min()
            }
        };
        let length =
            length.ok_or_else(|| self.unstated("max_length", "max_length = 512 (or what the model allows)"))?;
        match positions {
            Some(positions) if length > positions => Err(ModelError::Contradiction {
                folder: self.folder.into(),
                first: format!("max_length is {length}"),
                second: format!("config.json has max_position_embeddings = {positions}"),
            }),
            _ => Ok(length),
        }
    }

    fn dim(&self, pooling: Option<&SettingsFile>, arch: Option<&SettingsFile>) -> Result<usize, ModelError> {
        let pooled = pooling.map_or(Ok(None), |file| file.count("word_embedding_dimension"))?;
        let hidden = arch.map_or(Ok(None), hidden_size)?;
        match (pooled, hidden) {
            (Some(pooled), Some(hidden)) if pooled != hidden => Err(ModelError::Contradiction {
                folder: self.folder.into(),
                first: format!("its pooling settings have word_embedding_dimension = {pooled}"),
                second: format!("config.json has a hidden size of {hidden}"),
            }),
            _ => pooled.or(hidden).ok_or_else(|| ModelError::Unstated {
                setting: "the dimension",
                folder: self.folder.into(),
                help: "put the model's config.json, which has hidden_size, into the folder".into(),
            }),
        }
    }

    fn unstated(&self, setting: &'static str, example: &str) -> ModelError {
        let help = format!("write {example} in the manifest's embed section: it is not guessed");
        ModelError::Unstated { setting, folder: self.folder.into(), help }
    }
}

/// The hidden size under the names that architectures give it (DistilBERT: `dim`, MPNet and BERT: `hidden_size`).
fn hidden_size(file: &SettingsFile) -> Result<Option<usize>, ModelError> {
    match file.count("hidden_size")? {
        Some(size) => Ok(Some(size)),
        None => file.count("dim"),
    }
}

/// Sorts the listed modules into their places: Transformer, then Pooling, then Normalize, each at most once.
fn arrange(file: &Path, listed: &[Module]) -> Result<Modules, ModelError> {
    let refused = |module: &Module, help| ModelError::Unsupported {
        file: file.into(),
        field: "type".into(),
        value: format!("{:?}", module.kind),
        help,
    };
    let mut modules = Modules { listed: true, ..Modules::default() };
    for (position, module) in listed.iter().enumerate() {
        let path = inside(file, &module.path)?;
        let kind = module.kind.strip_prefix("sentence_transformers.").and_then(|kind| kind.rsplit('.').next());
        match kind {
            Some("Transformer") if position == 0 => modules.transformer = path,
            Some("Pooling") if position == 1 => modules.pooling = Some(path),
            Some("Normalize") if position > 0 && !modules.normalize => modules.normalize = true,
            Some("Transformer" | "Pooling" | "Normalize") => {
                return Err(refused(module, "modules run in the order Transformer, Pooling, Normalize, each once"));
            }
            _ => return Err(refused(module, "only Transformer, Pooling and Normalize modules can be run")),
        }
    }
    Ok(modules)
}

/// A module's path, if it stays inside the folder: a package must not reach for files that its digest does not name.
fn inside(file: &Path, path: &str) -> Result<PathBuf, ModelError> {
    let relative = PathBuf::from(path);
    match relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        true => Ok(relative),
        false => Err(ModelError::Outside { file: file.into(), path: path.into() }),
    }
}

/// The one pooling mode that the file switches on.
fn stated_pooling(file: &SettingsFile) -> Result<Pooling, ModelError> {
    let mut modes: Vec<&str> = file.text("pooling_mode")?.into_iter().collect();
    for (field, value) in file.with_prefix("pooling_mode_") {
        let on = value.as_bool().ok_or_else(|| file.bad(field, value, "true or false"))?;
        modes.extend(on.then_some(field));
    }
    match modes[..] {
        ["mean" | "pooling_mode_mean_tokens"] => Ok(Pooling::Mean),
        ["cls" | "pooling_mode_cls_token"] => Ok(Pooling::Cls),
        ["max" | "pooling_mode_max_tokens"] => Ok(Pooling::Max),
        ["lasttoken" | "pooling_mode_lasttoken"] => Ok(Pooling::LastToken),
        _ => {
            Err(file.unsupported("pooling modes", format!("{modes:?}"), "exactly one of mean, cls, max and lasttoken"))
        }
    }
}
