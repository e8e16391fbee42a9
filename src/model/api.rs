//! From an embed node's configuration to the settings of an API, and what of them decides a vector.
//!
//! | ingredient | why it is in |
//! |---|---|
//! | `api_revision` | [`REVISION`]: how our own code cuts, asks and averages |
//! | `api` | the declared identity: two servers' models of one name are two |
//! | `model`, `dim`, `dimensions` | what is asked for |
//! | `extra` | more fields of the request, such as `input_type` |
//! | `prompt`, `normalize` | what is put before a text, and done to its vector |
//! | `max_length`, `long`, `overlap`, `tokenizer` | where a text is cut; only where it is |
//!
//! Out: the address, keys, pace, limits, prices, base64: the same model behind another door gives the same vectors.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use reqwest::Url;
use serde_json::Map;

use super::key::{Ingredients, embedder_key};
use super::resolve::bad_override;
use super::{DigestOf, Environment, ModelError, ResolvedModel, Runner};
use crate::api::{ApiError, Counter, Cutting, Prices, Settings, host};
use crate::manifest::config::{ApiConfig, EmbedConfig, KeyVariables, Long, OnnxConfig, Precision};

/// Raised whenever the same text under the same ingredients would get another vector.
const REVISION: u32 = 1;

/// OpenAI's own server.
const OPENAI: &str = "https://api.openai.com/v1";
/// The variable that holds its key, by everybody's habit.
const OPENAI_KEY: &str = "OPENAI_API_KEY";
/// Tokens that OpenAI's embedding models read, by their documentation.
const OPENAI_MAX_LENGTH: usize = 8191;
/// Inputs per request that OpenAI allows.
const MAX_INPUTS: usize = 2048;

/// Components of a vector, and whether fewer can be asked for, of OpenAI's models by their documentation.
const OPENAI_MODELS: [(&str, usize, bool); 3] = [
    ("text-embedding-3-small", 1536, true),
    ("text-embedding-3-large", 3072, true),
    ("text-embedding-ada-002", 1536, false),
];

/// More components than any embedding model has.
const MAX_DIM: usize = 65_536;
const DEFAULT_INPUTS: usize = 128;
const DEFAULT_REQUEST_TOKENS: usize = 100_000;
const DEFAULT_CONCURRENCY: usize = 16;
const DEFAULT_WINDOW: usize = 8192;
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(2);
const DEFAULT_TRIES: u32 = 8;
/// As for models that run here: a quarter of a short window, and 32 tokens of a long one.
const DEFAULT_OVERLAP: usize = 32;

/// Fields of a request that are settled otherwise.
const RESERVED: [(&str, &str); 4] = [
    ("model", "the model is named by `model`"),
    ("input", "it is the texts"),
    ("encoding_format", "write `base64 = false` for numbers"),
    ("dimensions", "write `dim`, and `dimensions = true`"),
];

/// Resolves a model behind an API.
pub(super) fn resolve(
    config: &EmbedConfig,
    model: &str,
    base: &Path,
    env: &Environment,
    digest_of: DigestOf,
) -> Result<ResolvedModel, ModelError> {
    refuse_what_a_server_decides(config)?;
    let api = config.api.as_deref().cloned().unwrap_or_default();
    let base_url = base_url(config, &api)?;
    let known = OPENAI_MODELS.iter().find(|(name, ..)| *name == model);
    let dim = match (config.dim, known) {
        (Some(dim), None) if dim > MAX_DIM => {
            return Err(bad_override(config, "dim", dim, "no model has so many components"));
        }
        (Some(dim), Some((_, most, _))) if dim > *most => {
            return Err(bad_override(config, "dim", dim, &format!("its vectors have {most} components")));
        }
        (Some(dim), _) => dim,
        (None, Some((_, dim, _))) => *dim,
        (None, None) => {
            let reason = "it must be said how many components its vectors have: `dim`";
            return Err(bad_override(config, "dim", "(none)", reason));
        }
    };
    let dimensions = api.dimensions.unwrap_or(known.is_some_and(|(_, all, can)| *can && dim < *all));
    if let Some((_, all, false)) = known
        && (dimensions || dim < *all)
    {
        return Err(bad_override(config, "dim", dim, &format!("it always answers {all} components")));
    }
    if let Some((name, why)) = RESERVED.iter().find(|(name, _)| api.extra.contains_key(*name)) {
        return Err(bad_override(config, "api.extra", name, why));
    }
    let (cutting, tokenizer) = cutting(config, &api, base, known.is_some(), digest_of)?;
    let identity = api.identity.clone().unwrap_or_else(|| host(&base_url).to_owned());
    let normalize = config.normalize.unwrap_or(false);
    let ingredients = ingredients(&api, model, &identity, dim, dimensions, normalize, &cutting, tokenizer);
    let settings = settings(model, &api, base, base_url, cutting)?;
    let settings = Settings { dim, dimensions, normalize, unit_length: known.is_some(), ..settings };
    Ok(ResolvedModel {
        key: embedder_key(&ingredients),
        ingredients,
        dim,
        numerics: "api",
        // Nobody knows on what a server runs, or when that changes.
        bit_stable: false,
        notes: notes(&settings, env),
        runner: Runner::Api(Box::new(settings)),
    })
}

/// What is not for a user of an API to say.
fn refuse_what_a_server_decides(config: &EmbedConfig) -> Result<(), ModelError> {
    let EmbedConfig { pooling, precision, graph, onnx, .. } = config;
    let why = "the server decides how its model runs";
    match (pooling, precision, graph) {
        (Some(pooling), ..) => Err(bad_override(config, "pooling", pooling, why)),
        (_, Precision::F32, None) if *onnx == OnnxConfig::default() => Ok(()),
        (_, _, Some(graph)) => Err(bad_override(config, "graph", graph, why)),
        (_, Precision::F32, _) => Err(bad_override(config, "onnx", "{ .. }", why)),
        (_, precision, _) => Err(bad_override(config, "precision", precision, why)),
    }
}

/// The address, which must not send keys and texts over a network in clear.
fn base_url(config: &EmbedConfig, api: &ApiConfig) -> Result<String, ModelError> {
    let text = api.base_url.as_deref().unwrap_or(OPENAI).trim().trim_end_matches('/');
    let bad = |shown: &str, reason: &str| Err(bad_override(config, "api.base_url", shown, reason));
    // An address may hold a password, so none is shown that is not sound.
    let Ok(url) = Url::parse(text) else {
        return bad("(hidden)", "it is no address, such as \"https://api.openai.com/v1\"");
    };
    if !url.username().is_empty() || url.password().is_some() {
        return bad("(hidden)", "it holds a name or password: a key belongs in an environment variable, `api_key_env`");
    }
    if url.query().is_some() || url.fragment().is_some() || url.host_str().is_none() {
        return bad(url.host_str().unwrap_or("(hidden)"), "it has more than a path behind the host, or no host");
    }
    match url.scheme() {
        "https" => Ok(text.to_owned()),
        "http" if api.allow_http || is_loopback(&url) => Ok(text.to_owned()),
        "http" => {
            bad(text, "it is not encrypted: write https://, or `allow_http = true` where the network is your own")
        }
        _ => bad("(hidden)", "it begins neither with https:// nor with http://"),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// How texts are cut, and by what.
fn cutting(
    config: &EmbedConfig,
    api: &ApiConfig,
    base: &Path,
    is_openai: bool,
    digest_of: DigestOf,
) -> Result<(Cutting, String), ModelError> {
    let (counter, tokenizer) = match &api.tokenizer {
        Some(file) => {
            let file = base.join(file);
            let digest = digest_of(&file).map_err(|source| ModelError::Unreadable { file: file.clone(), source })?;
            (Counter::read(&file)?, digest.to_string())
        }
        None if is_openai => (Counter::cl100k(), "cl100k_base".to_owned()),
        None => (Counter::Guess, "none".to_owned()),
    };
    if let Some(length) = config.max_length.filter(|length| is_openai && *length > OPENAI_MAX_LENGTH) {
        return Err(bad_override(config, "max_length", length, &format!("it reads {OPENAI_MAX_LENGTH} tokens")));
    }
    let max_length = config.max_length.or(is_openai.then_some(OPENAI_MAX_LENGTH));
    let needs_tokenizer = matches!(counter, Counter::Guess).then(|| match (config.max_length, config.long) {
        (Some(length), _) => Some(("max_length", length.to_string())),
        (None, Long::Truncate) => None,
        (None, long) => Some(("long", long.to_string())),
    });
    if let Some((field, value)) = needs_tokenizer.flatten() {
        let reason = "to cut texts by its tokens, its tokenizer must be known: `tokenizer` in the `api` table";
        return Err(bad_override(config, field, value, reason));
    }
    if config.long != Long::Truncate && max_length.is_none() {
        return Err(bad_override(
            config,
            "long",
            config.long,
            "it must be said how many tokens it reads: `max_length`",
        ));
    }
    let prompt = config.prompt.clone().unwrap_or_default();
    let overlap = config.overlap.unwrap_or_else(|| DEFAULT_OVERLAP.min(max_length.unwrap_or(0) / 4));
    let cutting = Cutting { counter, prompt, max_length, long: config.long, overlap };
    match cutting.room() {
        Some(0) => {
            Err(bad_override(config, "max_length", max_length.unwrap_or(0), "prompt and special tokens fill it"))
        }
        Some(room) if config.long == Long::Mean && overlap >= room => {
            Err(bad_override(config, "overlap", overlap, &format!("a window holds {room} tokens of the text")))
        }
        _ => Ok((cutting, tokenizer)),
    }
}

#[expect(clippy::too_many_arguments, reason = "all that decides a vector, in one place")]
fn ingredients(
    api: &ApiConfig,
    model: &str,
    identity: &str,
    dim: usize,
    dimensions: bool,
    normalize: bool,
    cutting: &Cutting,
    tokenizer: String,
) -> Ingredients {
    let mut ingredients = Ingredients::from([
        ("api_revision".to_owned(), REVISION.to_string()),
        ("api".to_owned(), identity.to_owned()),
        ("model".to_owned(), model.to_owned()),
        ("dim".to_owned(), dim.to_string()),
        ("dimensions".to_owned(), dimensions.to_string()),
        ("prompt".to_owned(), serde_json::Value::from(cutting.prompt.as_str()).to_string()),
        ("normalize".to_owned(), normalize.to_string()),
        ("numerics".to_owned(), "api".to_owned()),
    ]);
    if !api.extra.is_empty() {
        let extra = serde_json::to_string(&api.extra).expect("a map of JSON values is JSON");
        ingredients.insert("extra".to_owned(), extra);
    }
    if let Some(max_length) = cutting.max_length {
        ingredients.insert("max_length".to_owned(), max_length.to_string());
        ingredients.insert("tokenizer".to_owned(), tokenizer);
        ingredients.insert("long".to_owned(), cutting.long.to_string());
    }
    if cutting.long == Long::Mean {
        ingredients.insert("overlap".to_owned(), cutting.overlap.to_string());
    }
    ingredients
}

fn settings(
    model: &str,
    api: &ApiConfig,
    base: &Path,
    base_url: String,
    cutting: Cutting,
) -> Result<Settings, ModelError> {
    // Destructured so that a new field is considered here.
    let ApiConfig {
        base_url: _,
        identity: _,
        api_key_env,
        allow_http: _,
        mode,
        tokenizer: _,
        dimensions: _,
        base64,
        extra,
        max_inputs,
        max_request_tokens,
        concurrency,
        window,
        timeout_seconds,
        tries,
        max_cost_usd,
        max_tokens,
        prices,
    } = api;
    let prices = Prices::read(prices.as_ref().map(|file| base.join(file)).as_deref())?;
    let price = prices.of(model, *mode);
    if let (Some(limit), None) = (*max_cost_usd, &price) {
        return Err(ApiError::NoPrice { limit, model: model.to_owned() }.into());
    }
    let is_openai = base_url == OPENAI;
    let key_variables = match api_key_env {
        Some(KeyVariables(names)) => names.clone(),
        None if is_openai => vec![OPENAI_KEY.to_owned()],
        None => Vec::new(),
    };
    let window = window.map_or(DEFAULT_WINDOW, usize::from);
    // Half of the window may be under way, and one request must fit.
    let max_inputs = max_inputs.map_or(DEFAULT_INPUTS, usize::from).min((window / 2).max(1)).min(MAX_INPUTS);
    Ok(Settings {
        price,
        base_url,
        model: model.to_owned(),
        dim: 0,
        dimensions: false,
        base64: base64.unwrap_or(true),
        extra: extra.clone().into_iter().collect::<Map<_, _>>(),
        key_variables,
        max_inputs,
        max_request_tokens: max_request_tokens.map_or(DEFAULT_REQUEST_TOKENS, usize::from) as u64,
        concurrency: concurrency.map_or(DEFAULT_CONCURRENCY, usize::from),
        window,
        timeout: timeout_seconds.map_or(DEFAULT_TIMEOUT, |seconds| Duration::from_secs(seconds.get())),
        tries: tries.map_or(DEFAULT_TRIES, u32::from),
        unit_length: false,
        normalize: false,
        max_cost: *max_cost_usd,
        max_tokens: *max_tokens,
        cutting,
        ledger: None,
        mode: *mode,
        batches: None,
        no_wait: false,
    })
}

/// What a person should know before the run.
fn notes(settings: &Settings, env: &Environment) -> Vec<String> {
    let unset = settings.key_variables.iter().filter(|name| env.variables.get(name).is_none());
    let mut notes: Vec<String> = unset.map(|name| format!("the environment variable {name} is not set")).collect();
    if matches!(settings.cutting.counter, Counter::Guess) {
        let model = &settings.model;
        notes.push(format!(
            "the tokens of {model} are guessed, and no text is cut: name its `tokenizer` in the `api` table"
        ));
    }
    notes
}
