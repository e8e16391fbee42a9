//! The text that a model wants before every text.

use std::collections::BTreeMap;

use super::ModelError;
use super::settings_file::SettingsFile;
use crate::manifest::config::EmbedConfig;

/// The model's prompts, by name.
pub(super) fn known(file: Option<&SettingsFile>) -> Result<BTreeMap<String, String>, ModelError> {
    let prompts = file.map_or(Ok(None), |file| file.section("prompts"))?;
    prompts.map_or(Ok(BTreeMap::new()), |prompts| prompts.strings())
}

/// The prompt that the manifest asks for, or else the model's default one; empty for none.
///
/// What is asked for is the name of one of the model's prompts, or literal text. A single bare word that is no such name
/// is refused: as text it would run into the text behind it, and as a name it is misspelt.
pub(super) fn settle(
    file: Option<&SettingsFile>,
    prompts: &BTreeMap<String, String>,
    config: &EmbedConfig,
) -> Result<String, ModelError> {
    let Some(asked) = &config.prompt else { return by_default(file, prompts) };
    if let Some(prompt) = prompts.get(asked) {
        return Ok(prompt.clone());
    }
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    if asked.is_empty() || !asked.chars().all(is_word) {
        return Ok(asked.clone());
    }
    let known: Vec<&str> = prompts.keys().map(String::as_str).collect();
    let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
    let reason =
        format!("it is none of the model's prompts ({known}); literal text ends with its separator, as \"{asked}: \"");
    Err(ModelError::BadOverride {
        field: "prompt",
        value: format!("{asked:?}"),
        reference: config.model.clone(),
        reason,
    })
}

fn by_default(file: Option<&SettingsFile>, prompts: &BTreeMap<String, String>) -> Result<String, ModelError> {
    let (Some(file), Some(name)) = (file, file.map_or(Ok(None), |file| file.text("default_prompt_name"))?) else {
        return Ok(String::new());
    };
    let help = "name one of `prompts`, or write `prompt` in the manifest's embed section";
    prompts.get(name).cloned().ok_or_else(|| file.unsupported("default_prompt_name", format!("{name:?}"), help))
}
