//! Model references: the one place that reads `model = ".."`.
//!
//! A reference without a scheme is a path. It is resolved against the manifest's folder, so a workflow can be run from
//! anywhere. Read next: `package.rs`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ModelError;
use crate::hub::RepoRef;

/// More dimensions than any embedding model has; a larger number is a typing error, not a wish for gigabytes.
const MAX_FAKE_DIM: usize = 65_536;

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelRef {
    /// A folder in the sentence-transformers layout.
    Folder(PathBuf),
    /// A model of a hub.
    Hub(RepoRef),
    /// A model behind an API that speaks like OpenAI's.
    Api {
        /// Its name there.
        model: String,
    },
    /// The deterministic test embedder.
    Fake {
        /// Components of its vectors.
        dim: usize,
        /// How long each row takes; never part of a key.
        delay: Duration,
    },
}

impl ModelRef {
    /// Reads a reference; relative paths are taken from `manifest_dir`.
    ///
    /// # Errors
    /// [`ModelError::UnsupportedScheme`] for a scheme of a later version, [`ModelError::BadReference`] otherwise.
    pub fn parse(reference: &str, manifest_dir: &Path) -> Result<Self, ModelError> {
        let bad = |reason: &str| ModelError::BadReference { reference: reference.into(), reason: reason.into() };
        let (scheme, rest) = reference.split_once("://").unwrap_or(("file", reference));
        match scheme {
            "file" if rest.trim().is_empty() => Err(bad("it is empty")),
            "file" => Ok(Self::Folder(manifest_dir.join(rest))),
            "hf" => Ok(Self::Hub(rest.parse()?)),
            "openai" if rest.trim().is_empty() => Err(bad("it names no model")),
            "openai" => Ok(Self::Api { model: rest.to_owned() }),
            "fake" => parse_fake(rest).map_err(|reason| bad(&reason)),
            _ => Err(ModelError::UnsupportedScheme { reference: reference.into(), scheme: scheme.into() }),
        }
    }
}

/// Reads `<dim>` or `<dim>?delay_us=<n>`.
fn parse_fake(rest: &str) -> Result<ModelRef, String> {
    let (dim, query) = rest.split_once('?').map_or((rest, None), |(dim, query)| (dim, Some(query)));
    let dim = dim.parse().ok().filter(|dim| (1..=MAX_FAKE_DIM).contains(dim));
    let dim = dim.ok_or(format!("fake:// needs a dimension from 1 to {MAX_FAKE_DIM}, as in fake://16"))?;
    let delay = query.map_or(Some(0), |query| query.strip_prefix("delay_us=")?.parse().ok());
    let delay = delay.ok_or("the only option of fake:// is ?delay_us=<microseconds per row>")?;
    Ok(ModelRef::Fake { dim, delay: Duration::from_micros(delay) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(reference: &str) -> Result<ModelRef, ModelError> {
        ModelRef::parse(reference, Path::new("/flows"))
    }

    #[test]
    fn paths_are_relative_to_the_manifest() {
        let folder = |path: &str| ModelRef::Folder(PathBuf::from(path));
        assert_eq!(parse("../models/minilm").unwrap(), folder("/flows/../models/minilm"));
        assert_eq!(parse("file://models/minilm").unwrap(), folder("/flows/models/minilm"));
        assert_eq!(parse("/opt/minilm").unwrap(), folder("/opt/minilm"));
    }

    #[test]
    fn the_fake_has_a_dimension_and_perhaps_a_delay() {
        assert_eq!(parse("fake://16").unwrap(), ModelRef::Fake { dim: 16, delay: Duration::ZERO });
        let slow = ModelRef::Fake { dim: 8, delay: Duration::from_micros(250) };
        assert_eq!(parse("fake://8?delay_us=250").unwrap(), slow);
        for bad in ["fake://", "fake://0", "fake://x", "fake://9999999", "fake://8?delay=1", "fake://8?delay_us="] {
            assert!(matches!(parse(bad), Err(ModelError::BadReference { .. })), "{bad}");
        }
    }

    #[test]
    fn a_hub_has_repositories_with_revisions() {
        let repo = |text: &str| ModelRef::Hub(text.parse().unwrap());
        assert_eq!(
            parse("hf://sentence-transformers/all-MiniLM-L6-v2@v1").unwrap(),
            repo("sentence-transformers/all-MiniLM-L6-v2@v1")
        );
        assert!(matches!(parse("hf://a/../b"), Err(ModelError::Hub(_))));
    }

    #[test]
    fn a_server_has_models_by_name() {
        let name = "text-embedding-3-small";
        assert_eq!(parse(&format!("openai://{name}")).unwrap(), ModelRef::Api { model: name.into() });
        assert!(matches!(parse("openai://"), Err(ModelError::BadReference { .. })));
    }

    #[test]
    fn other_schemes_are_refused_by_name() {
        let error = parse("s3://x").unwrap_err().to_string();
        assert!(error.contains("s3://x") && error.contains("s3:// is not supported"), "{error}");
        assert!(matches!(parse(""), Err(ModelError::BadReference { .. })));
    }
}
