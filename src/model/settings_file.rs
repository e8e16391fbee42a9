//! One JSON settings file of a model folder, read so that every complaint names the file, the field and the value.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::ModelError;

/// Numbers from here on mean "no limit": transformers writes `model_max_length` as 10^30.
const NO_LIMIT: f64 = 1e9;

/// A settings file that exists and holds a JSON object.
pub(super) struct SettingsFile {
    /// Where it is.
    pub path: PathBuf,
    /// Where in the file the fields are: nothing, or the names of the objects around them, each with a dot behind.
    within: String,
    fields: Map<String, Value>,
}

/// More than any settings file has: the tokenizer is none of them.
const MAX_BYTES: u64 = 16 << 20;

/// Reads a file that may be absent.
pub(super) fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>, ModelError> {
    // A pipe would be waited for, and a device may never end.
    let refused = |reason: &str| Err(std::io::Error::other(reason.to_owned()));
    let read = fs::metadata(path).and_then(|meta| match meta.is_file() {
        true if meta.len() <= MAX_BYTES => fs::read(path),
        true => refused("it is larger than any settings file"),
        false => refused("it is no regular file"),
    });
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ModelError::Unreadable { file: path.into(), source }),
    }
}

impl SettingsFile {
    /// Reads `path`, if there is such a file.
    pub fn read(path: PathBuf) -> Result<Option<Self>, ModelError> {
        let Some(bytes) = read_if_present(&path)? else { return Ok(None) };
        match serde_json::from_slice(&bytes) {
            Ok(fields) => Ok(Some(Self { path, within: String::new(), fields })),
            Err(source) => Err(ModelError::BadJson { file: path, expected: "object", source }),
        }
    }

    /// The fields whose name starts with `prefix`, in alphabetical order, with their values.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let mut fields: Vec<_> = self.fields.iter().filter(|(name, _)| name.starts_with(prefix)).collect();
        fields.sort_by_key(|(name, _)| name.as_str());
        fields.into_iter().map(|(name, value)| (name.as_str(), value))
    }

    /// A whole number above zero; `None` when absent, null, or so large that it means "no limit".
    pub fn count(&self, field: &str) -> Result<Option<usize>, ModelError> {
        let Some(value) = self.present(field) else { return Ok(None) };
        if value.as_f64().is_some_and(|number| number >= NO_LIMIT) {
            return Ok(None);
        }
        let count = value.as_u64().and_then(|number| usize::try_from(number).ok()).filter(|&number| number > 0);
        count.map(Some).ok_or_else(|| self.bad(field, value, "a whole number above zero"))
    }

    /// As [`Self::count`], for a field that must be there.
    pub fn required_count(&self, field: &str) -> Result<usize, ModelError> {
        self.count(field)?.ok_or_else(|| match self.present(field) {
            Some(value) => self.bad(field, value, "a whole number above zero and below 10^9"),
            None => self.missing(field),
        })
    }

    /// A whole number from zero on, for a field that must be there.
    pub fn required_index(&self, field: &str) -> Result<usize, ModelError> {
        let value = self.present(field).ok_or_else(|| self.missing(field))?;
        let index = value.as_u64().and_then(|number| usize::try_from(number).ok());
        index.filter(|&index| (index as f64) < NO_LIMIT).ok_or_else(|| self.bad(field, value, "a whole number"))
    }

    /// A number above zero; `None` when absent or null.
    pub fn number(&self, field: &str) -> Result<Option<f32>, ModelError> {
        let Some(value) = self.present(field) else { return Ok(None) };
        let number = value.as_f64().map(|number| number as f32).filter(|number| number.is_finite() && *number > 0.0);
        number.map(Some).ok_or_else(|| self.bad(field, value, "a number above zero"))
    }

    /// As [`Self::number`], for a field that must be there.
    pub fn required_number(&self, field: &str) -> Result<f32, ModelError> {
        self.number(field)?.ok_or_else(|| self.missing(field))
    }

    /// A list of strings; `None` when absent or null.
    pub fn texts(&self, field: &str) -> Result<Option<Vec<&str>>, ModelError> {
        let Some(value) = self.present(field) else { return Ok(None) };
        let texts = value.as_array().and_then(|values| values.iter().map(Value::as_str).collect());
        texts.map(Some).ok_or_else(|| self.bad(field, value, "a list of strings"))
    }

    /// An object inside, with the name of its field before those of its own; `None` when absent or null.
    pub fn section(&self, field: &str) -> Result<Option<Self>, ModelError> {
        let Some(value) = self.present(field) else { return Ok(None) };
        let fields = value.as_object().ok_or_else(|| self.bad(field, value, "an object"))?.clone();
        Ok(Some(Self { path: self.path.clone(), within: self.named(field) + ".", fields }))
    }

    /// The fields of an object that are strings, by name.
    pub fn strings(&self) -> Result<BTreeMap<String, String>, ModelError> {
        let strings = self.fields.iter().map(|(name, value)| match value.as_str() {
            Some(text) => Ok((name.clone(), text.to_owned())),
            None => Err(self.bad(name, value, "a string")),
        });
        strings.collect()
    }

    /// True or false; `None` when absent or null.
    pub fn flag(&self, field: &str) -> Result<Option<bool>, ModelError> {
        let Some(value) = self.present(field) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.bad(field, value, "true or false"))
    }

    /// A string; `None` when absent or null.
    pub fn text(&self, field: &str) -> Result<Option<&str>, ModelError> {
        let Some(value) = self.present(field) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.bad(field, value, "a string"))
    }

    /// The complaint that `field` cannot hold `value`.
    pub fn bad(&self, field: &str, value: &Value, expected: &'static str) -> ModelError {
        let value = value.to_string();
        ModelError::BadField { file: self.path.clone(), field: self.named(field), value, expected }
    }

    /// The complaint that `field` is not there.
    pub fn missing(&self, field: &str) -> ModelError {
        ModelError::MissingField { file: self.path.clone(), field: self.named(field) }
    }

    /// The complaint that this version does not support what `field` says.
    pub fn unsupported(&self, field: &str, value: impl ToString, help: &'static str) -> ModelError {
        ModelError::Unsupported { file: self.path.clone(), field: self.named(field), value: value.to_string(), help }
    }

    fn named(&self, field: &str) -> String {
        format!("{}{field}", self.within)
    }

    fn present(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }
}
