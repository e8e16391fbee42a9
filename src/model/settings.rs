//! What a sentence-transformers folder says about its model, and what the manifest overrides.
//!
//! Nothing here is guessed: a setting that decides vectors and is stated nowhere is an error that says where to write
//! it. Everything unknown that could change a vector is refused by name. The layout is that of sentence-transformers
//! 6.2. Read next: `modules.rs` for the order of the modules, `prompt.rs`, `architecture.rs` for config.json.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::modules::{Modules, Tail};
use super::settings_file::{SettingsFile, read_if_present};
use super::{ModelError, architecture, prompt};
use crate::convert::{Activation, Dense, Stage};
use crate::manifest::config::{EmbedConfig, Long, Pooling};

/// What the model does to a text besides its encoder. All of it decides vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How token vectors become one vector.
    pub pooling: Pooling,
    /// Whether the prompt's tokens are pooled too.
    pub include_prompt: bool,
    /// Components of a pooled vector, before what follows.
    pub pooled: usize,
    /// What follows the pooling.
    pub stages: Vec<Stage>,
    /// Tokens per text at most, prompt and special tokens included.
    pub max_length: usize,
    /// What happens to a text that has more.
    pub long: Long,
    /// Tokens that a window of such a text shares with the one before it.
    pub overlap: usize,
    /// Components of a vector.
    pub dim: usize,
    /// Whether the text is lowercased before the tokenizer (not what the tokenizer itself does).
    pub lowercase: bool,
    /// Text put before every text; empty for none.
    pub prompt: String,
    /// The model's own prompts, by name; they decide nothing until one is chosen.
    pub prompts: BTreeMap<String, String>,
}

impl Settings {
    /// Whether vectors have length 1.
    pub fn normalize(&self) -> bool {
        self.stages.last() == Some(&Stage::Normalize)
    }
}

/// The settings, with the files that they were read from.
pub(super) struct Found {
    pub settings: Settings,
    /// config.json, where there is one.
    pub config: Option<SettingsFile>,
    /// The folder that holds graph, weights and tokenizer.
    pub base: PathBuf,
    /// The folders of the dense layers, in order.
    pub dense: Vec<PathBuf>,
    /// Paths relative to the model folder; their digests enter the key.
    pub files: Vec<PathBuf>,
}

/// What states the maximal length and lowercasing: sentence-transformers names it by the architecture in old models.
pub(super) const SENTENCE_SETTINGS: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// The longest text that anybody may ask for, in tokens: a lie must not be believed as far as memory goes.
const MAX_LENGTH: usize = 131_072;

/// Tokens that two windows share, where the manifest says nothing: about the last sentence.
const DEFAULT_OVERLAP: usize = 32;

/// Reads the settings of the model in `folder`, as overridden by `config`.
pub(super) fn read(folder: &Path, config: &EmbedConfig) -> Result<Found, ModelError> {
    let mut reader = Reader { folder, config, files: Vec::new() };
    let modules = reader.modules()?;
    let (tail, transformer) = (modules.as_ref().map(|modules| modules.tail.as_slice()), reader.transformer(&modules));
    let pooling_file = match modules.as_ref().and_then(|modules| modules.pooling.as_ref()) {
        Some(path) => Some(reader.required(path.join("config.json"), "the pooling settings")?),
        None => None,
    };
    let architecture = reader.optional(transformer.join("config.json"))?;
    let (prompts, prompt) = reader.prompt()?;
    let (stated_length, lowercase) = reader.sentence_settings(&transformer)?;
    let max_length = reader.max_length(stated_length, architecture.as_ref(), &transformer)?;
    let overlap = reader.overlap(max_length)?;
    let pooling = reader.pooling(pooling_file.as_ref())?;
    let pooled = reader.dim(pooling_file.as_ref(), architecture.as_ref())?;
    let (stages, dim) = reader.stages(tail, pooled)?;
    let include_prompt = pooling_file.as_ref().map_or(Ok(None), |file| file.flag("include_prompt"))?.unwrap_or(true);
    let settings = Settings {
        pooling,
        // Without a prompt, or where it cannot show, nothing is left out.
        include_prompt: include_prompt || prompt.is_empty() || !pooling.sees_prompt(),
        pooled,
        stages,
        max_length,
        long: config.long,
        overlap,
        dim,
        lowercase,
        prompt,
        prompts,
    };
    let dense = tail.into_iter().flatten().filter_map(|module| match module {
        Tail::Dense(path) => Some(folder.join(path)),
        Tail::Normalize => None,
    });
    let dense = dense.collect();
    Ok(Found { settings, config: architecture, base: folder.join(&transformer), dense, files: reader.files })
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

    fn modules(&mut self) -> Result<Option<Modules>, ModelError> {
        let file = self.folder.join("modules.json");
        let Some(bytes) = read_if_present(&file)? else { return Ok(None) };
        self.files.push("modules.json".into());
        Modules::parse(&file, &bytes).map(Some)
    }

    fn transformer(&self, modules: &Option<Modules>) -> PathBuf {
        modules.as_ref().map_or_else(PathBuf::new, |modules| modules.transformer.clone())
    }

    /// The model's prompts, and the one that is put before every text.
    fn prompt(&mut self) -> Result<(BTreeMap<String, String>, String), ModelError> {
        let file = self.optional("config_sentence_transformers.json".into())?;
        let prompts = prompt::known(file.as_ref())?;
        let prompt = prompt::settle(file.as_ref(), &prompts, self.config)?;
        Ok((prompts, prompt))
    }

    /// The stated maximal length, if any, and whether text is lowercased first.
    fn sentence_settings(&mut self, transformer: &Path) -> Result<(Option<usize>, bool), ModelError> {
        for name in SENTENCE_SETTINGS {
            let Some(file) = self.optional(transformer.join(name))? else { continue };
            if let Some(task) = file.text("transformer_task")?.filter(|task| *task != "feature-extraction") {
                let help = "only models that give a vector for each token can be run";
                return Err(file.unsupported("transformer_task", format!("{task:?}"), help));
            }
            return Ok((file.count("max_seq_length")?, file.flag("do_lower_case")?.unwrap_or(false)));
        }
        Ok((None, false))
    }

    fn pooling(&self, file: Option<&SettingsFile>) -> Result<Pooling, ModelError> {
        match (self.config.pooling, file) {
            (Some(pooling), _) => Ok(pooling),
            (None, Some(file)) => stated_pooling(file),
            (None, None) => Err(self.unstated("pooling", "pooling = \"mean\" (or cls, max, lasttoken)")),
        }
    }

    /// What follows the pooling, as overridden, and the components of a vector behind it.
    fn stages(&mut self, tail: Option<&[Tail]>, pooled: usize) -> Result<(Vec<Stage>, usize), ModelError> {
        let mut dim = pooled;
        let mut stages = Vec::new();
        for module in tail.into_iter().flatten() {
            match module {
                Tail::Dense(path) => {
                    let file = self.required(path.join("config.json"), "the dense layer's settings")?;
                    let dense = dense(&file, slashed(&path.join("config.json")), dim)?;
                    dim = dense.to;
                    stages.push(Stage::Dense(dense));
                }
                Tail::Normalize => stages.push(Stage::Normalize),
            }
        }
        let stated = tail.map(|_| stages.last() == Some(&Stage::Normalize));
        let normalize = self.config.normalize.or(stated);
        let normalize = normalize.ok_or_else(|| self.unstated("normalize", "normalize = true (or false)"))?;
        if self.config.normalize == Some(false) {
            stages.retain(|stage| *stage != Stage::Normalize);
        }
        // Scaling before a truncation that is scaled again changes nothing.
        if stages.last() == Some(&Stage::Normalize) {
            stages.pop();
        }
        if let Some(kept) = self.config.dim.filter(|&kept| kept != dim) {
            dim = self.kept(kept, dim)?;
            stages.push(Stage::Truncate(kept));
        }
        stages.extend(normalize.then_some(Stage::Normalize));
        Ok((stages, dim))
    }

    /// The tokens that two windows share: a text must get on.
    fn overlap(&self, max_length: usize) -> Result<usize, ModelError> {
        let longest = max_length / 2;
        match self.config.overlap {
            Some(overlap) if overlap > longest => Err(ModelError::BadOverride {
                field: "overlap",
                value: overlap.to_string(),
                reference: self.config.model.clone(),
                reason: format!("it is at most {longest}, half of the {max_length} tokens of a window"),
            }),
            Some(overlap) => Ok(overlap),
            None => Ok(DEFAULT_OVERLAP.min(max_length / 4)),
        }
    }

    fn kept(&self, kept: usize, dim: usize) -> Result<usize, ModelError> {
        match kept < dim {
            true => Ok(kept),
            false => Err(ModelError::BadOverride {
                field: "dim",
                value: kept.to_string(),
                reference: self.config.model.clone(),
                reason: format!("its vectors have {dim} components"),
            }),
        }
    }

    /// The manifest's limit, else sentence_bert_config's, else the smaller of what tokenizer and positions allow.
    fn max_length(
        &mut self,
        stated: Option<usize>,
        config: Option<&SettingsFile>,
        transformer: &Path,
    ) -> Result<usize, ModelError> {
        let positions = config.map_or(Ok(None), architecture::longest)?;
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
        match positions.unwrap_or(MAX_LENGTH).min(MAX_LENGTH) {
            longest if length > longest => Err(ModelError::Contradiction {
                folder: self.folder.into(),
                first: format!("max_length is {length}"),
                second: match positions {
                    Some(positions) if positions == longest => {
                        format!("config.json has positions for {positions} tokens (max_position_embeddings)")
                    }
                    _ => format!("no text may have more than {MAX_LENGTH} tokens"),
                },
            }),
            _ => Ok(length),
        }
    }

    /// Components of a pooled vector.
    fn dim(&self, pooling: Option<&SettingsFile>, config: Option<&SettingsFile>) -> Result<usize, ModelError> {
        let pooled = match pooling.map_or(Ok(None), |file| file.count("word_embedding_dimension"))? {
            // The name since sentence-transformers 5.
            None => pooling.map_or(Ok(None), |file| file.count("embedding_dimension"))?,
            stated => stated,
        };
        let hidden = config.map_or(Ok(None), hidden_size)?;
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

/// A dense layer over vectors of `dim` components. What its file leaves out is as in sentence-transformers' `Dense`.
fn dense(file: &SettingsFile, settings: String, dim: usize) -> Result<Dense, ModelError> {
    for field in ["module_input_name", "module_output_name"] {
        if let Some(other) = file.text(field)?.filter(|name| *name != "sentence_embedding") {
            return Err(file.unsupported(field, format!("{other:?}"), "only layers over the text's vector can be run"));
        }
    }
    if file.flag("use_residual")? == Some(true) {
        return Err(file.unsupported("use_residual", "true", "only plain dense layers can be run"));
    }
    let from = file.required_count("in_features")?;
    if from != dim {
        return Err(ModelError::Contradiction {
            folder: file.path.parent().unwrap_or(Path::new("")).into(),
            first: format!("its config.json has in_features = {from}"),
            second: format!("the vectors before it have {dim} components"),
        });
    }
    let activation = match file.text("activation_function")? {
        None | Some("torch.nn.modules.activation.Tanh") => Activation::Tanh,
        Some("torch.nn.modules.linear.Identity") => Activation::Identity,
        Some("torch.nn.modules.activation.ReLU") => Activation::Relu,
        Some("torch.nn.modules.activation.GELU") => Activation::Gelu,
        Some("torch.nn.modules.activation.SiLU") => Activation::Silu,
        Some("torch.nn.modules.activation.Sigmoid") => Activation::Sigmoid,
        Some(other) => {
            let help = "known are Tanh, Identity, ReLU, GELU, SiLU and Sigmoid of torch.nn";
            return Err(file.unsupported("activation_function", format!("{other:?}"), help));
        }
    };
    let (to, bias) = (file.required_count("out_features")?, file.flag("bias")?.unwrap_or(true));
    Ok(Dense { settings, from, to, bias, activation })
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
        ["mean_sqrt_len_tokens" | "pooling_mode_mean_sqrt_len_tokens"] => Ok(Pooling::MeanSqrtLen),
        ["weightedmean" | "pooling_mode_weightedmean_tokens"] => Ok(Pooling::WeightedMean),
        _ => {
            let help = "exactly one of mean, cls, max, lasttoken, mean_sqrt_len and weightedmean can be run";
            Err(file.unsupported("pooling modes", format!("{modes:?}"), help))
        }
    }
}

/// A path as it is written in keys and messages, the same on every system.
pub(super) fn slashed(path: &Path) -> String {
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
