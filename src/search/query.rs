//! Embedding a question as the papers were embedded, but for the prompt: models that know two kinds of text want theirs.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::SearchError;
use crate::dataset::Description;
use crate::embedder::{Embedder, Environment, Told, resolve};
use crate::manifest::config::{Device, EmbedConfig, Precision};
use crate::model::{DigestOf, Library, ResolvedModel, Runner};

/// The name that sentence-transformers gives to the prompt of questions.
const QUERY_PROMPT: &str = "query";
/// What may differ between the embedder of the papers and that of a question: a GPU's vectors are near enough to a CPU's.
const MAY_DIFFER: [&str; 4] = ["numerics", "precision", "graph", "model.graph"];

/// A question, as its embedder read it.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Its vector.
    pub vector: Vec<f32>,
    /// Its tokens beyond what the model reads.
    pub tokens_dropped: u32,
}

/// Embeds questions.
pub struct Querier {
    embedder: Box<dyn Embedder>,
}

impl Querier {
    /// Starts the embedder that a dataset's papers were embedded by, for questions. It runs on the CPU.
    ///
    /// # Errors
    /// [`SearchError::OtherModel`] if it is not the same any more, and whatever keeps it from starting.
    pub fn start(
        config: &EmbedConfig,
        dataset: &Description,
        library: &mut Library,
        env: &Environment,
        digest_of: DigestOf,
    ) -> Result<Self, SearchError> {
        let mut config = config.clone();
        config.onnx.device = Device::Cpu;
        config.onnx.provider = None;
        config.onnx.sessions = Some(1);
        if config.precision == Precision::F16 {
            config.precision = Precision::F32;
        }
        let of_papers = resolve(&config, library, env, digest_of)?;
        same_model(dataset, &of_papers.ingredients)?;
        let mut of_questions = match query_prompt(&config, &of_papers) {
            Some(prompt) => resolve(&EmbedConfig { prompt: Some(prompt), ..config }, library, env, digest_of)?,
            None => of_papers,
        };
        if let Runner::Api(settings) = &mut of_questions.runner {
            // A question is asked at once, and costs next to nothing: it is no node's to pay for.
            settings.mode = crate::manifest::config::Mode::Live;
            (settings.max_cost, settings.max_tokens) = (None, None);
        }
        Ok(Self { embedder: of_questions.start(env)? })
    }

    /// The vectors of questions.
    ///
    /// # Errors
    /// What keeps one from being embedded.
    pub fn ask(&mut self, questions: &[&str]) -> Result<Vec<Asked>, SearchError> {
        let mut asked = vec![None; questions.len()];
        let mut unfit = None;
        self.embedder.embed(questions, &mut |told| {
            match told {
                Told::Embedded(nth, embedding) => {
                    asked[nth] = Some(Asked { vector: embedding.vector, tokens_dropped: embedding.tokens_dropped });
                }
                Told::Unfit(_, why) => unfit = Some(why),
                Told::Note(_) | Told::Waiting => {}
            }
            ControlFlow::Continue(())
        })?;
        let missing = || SearchError::Unfit { why: unfit.unwrap_or_else(|| "it got no vector".to_owned()) };
        asked.into_iter().collect::<Option<_>>().ok_or_else(missing)
    }
}

/// The prompt that questions get, if it is another than that of papers: what the node says, or else the model's own.
fn query_prompt(config: &EmbedConfig, model: &ResolvedModel) -> Option<String> {
    if let Some(prompt) = &config.query_prompt {
        return Some(prompt.clone());
    }
    match &model.runner {
        Runner::Onnx(onnx) if onnx.package.settings.prompts.contains_key(QUERY_PROMPT) => Some(QUERY_PROMPT.to_owned()),
        _ => None,
    }
}

fn same_model(dataset: &Description, now: &BTreeMap<String, String>) -> Result<(), SearchError> {
    let was = &dataset.embedder_ingredients;
    let names = was.keys().chain(now.keys());
    let differs = |name: &&String| {
        let may = MAY_DIFFER.iter().any(|may| name == may || name.starts_with(&format!("{may}_")));
        !may && was.get(*name) != now.get(*name)
    };
    let Some(what) = names.into_iter().find(differs) else { return Ok(()) };
    let value = |of: &BTreeMap<String, String>| of.get(what).cloned().unwrap_or_else(|| "not there".to_owned());
    Err(SearchError::OtherModel {
        dataset: dataset.dataset.clone(),
        what: what.clone(),
        was: value(was),
        now: value(now),
    })
}
