//! A request for embeddings as it was meant, or why it is refused: the form and the limits of the API.

use std::sync::OnceLock;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tiktoken_rs::CoreBPE;

use super::script::Script;

/// What was asked.
pub struct Asked {
    /// Token lists are read as the text they stand for.
    pub texts: Vec<String>,
    /// Of all texts.
    pub tokens: u64,
    pub dim: usize,
    pub base64: bool,
}

/// An error as the API words it.
#[derive(Debug)]
pub struct Refusal {
    pub status: u16,
    pub code: Option<&'static str>,
    pub param: Option<&'static str>,
    pub message: String,
}

impl Refusal {
    /// A 400 about `param`.
    pub fn bad(param: &'static str, message: impl Into<String>) -> Self {
        Self { status: 400, code: None, param: Some(param), message: message.into() }
    }

    /// The error object.
    pub fn body(&self) -> Value {
        let kind = match self.status {
            429 => "requests",
            500.. => "server_error",
            _ => "invalid_request_error",
        };
        json!({ "error": { "message": self.message, "type": kind, "param": self.param, "code": self.code } })
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (StatusCode::from_u16(self.status).unwrap(), Json(self.body())).into_response()
    }
}

impl Asked {
    /// # Errors
    ///
    /// Whatever the API would refuse.
    pub fn read(body: &Value, script: &Script) -> Result<Self, Refusal> {
        match body["model"].as_str() {
            None => return Err(Refusal::bad("model", "you must provide a model parameter")),
            Some(model) if model != script.model => {
                let message = format!("The model `{model}` does not exist or you do not have access to it.");
                return Err(Refusal { status: 404, code: Some("model_not_found"), param: None, message });
            }
            Some(_) => {}
        }
        let (texts, tokens) = read_inputs(&body["input"], script)?;
        let base64 = match body["encoding_format"].as_str() {
            Some("base64") if !script.supports_base64 => {
                return Err(Refusal::bad("encoding_format", "encoding_format 'base64' is not supported"));
            }
            Some("base64") => !script.ignores_base64,
            None | Some("float") => false,
            Some(other) => return Err(Refusal::bad("encoding_format", format!("'{other}' is no encoding_format"))),
        };
        let dim = match &body["dimensions"] {
            Value::Null => script.dim,
            told => told.as_u64().filter(|dim| *dim > 0).map(|dim| dim as usize).ok_or_else(|| {
                Refusal::bad("dimensions", format!("{told} is not of type 'integer' or less than 1 - 'dimensions'"))
            })?,
        };
        Ok(Self { texts, tokens, dim, base64 })
    }
}

/// The inputs as texts, and their tokens in all.
fn read_inputs(input: &Value, script: &Script) -> Result<(Vec<String>, u64), Refusal> {
    let listed = match input {
        Value::Array(items) if !items.first().is_some_and(Value::is_number) => items.iter().collect(),
        one => vec![one],
    };
    if listed.is_empty() || listed.len() > script.max_inputs {
        let message = format!("'$.input' is invalid: {} inputs, where 1 to {} may be", listed.len(), script.max_inputs);
        return Err(Refusal::bad("input", message));
    }
    let (mut texts, mut total) = (Vec::with_capacity(listed.len()), 0);
    for item in listed {
        let (text, tokens) = read_input(item)?;
        if tokens == 0 || tokens > script.max_input_tokens {
            let message = format!("an input has {tokens} tokens, where 1 to {} may be in one", script.max_input_tokens);
            return Err(Refusal::bad("input", message));
        }
        total += tokens;
        texts.push(text);
    }
    if total > script.max_request_tokens {
        let limit = script.max_request_tokens;
        let message = format!("Requested {total} tokens, max {limit} tokens per request");
        return Err(Refusal { code: Some("max_tokens_per_request"), ..Refusal::bad("input", message) });
    }
    Ok((texts, total))
}

fn read_input(item: &Value) -> Result<(String, u64), Refusal> {
    let wrong = || Refusal::bad("input", "'$.input' is invalid. Please check the API reference.");
    if let Some(text) = item.as_str() {
        return Ok((text.to_owned(), count_tokens(text)));
    }
    let tokens = item.as_array().ok_or_else(wrong)?;
    let ids: Option<Vec<u32>> = tokens.iter().map(|token| u32::try_from(token.as_u64()?).ok()).collect();
    let bytes = encoder().decode_bytes(&ids.ok_or_else(wrong)?).map_err(|_| wrong())?;
    // A list cut inside a character is the text with a replacement character there.
    Ok((String::from_utf8_lossy(&bytes).into_owned(), tokens.len() as u64))
}

/// Tokens of a text, in the encoding of the API's embedding models.
pub fn count_tokens(text: &str) -> u64 {
    encoder().encode_ordinary(text).len() as u64
}

/// The tokens themselves.
pub fn tokens(text: &str) -> Vec<u32> {
    encoder().encode_ordinary(text)
}

fn encoder() -> &'static CoreBPE {
    static ENCODER: OnceLock<CoreBPE> = OnceLock::new();
    ENCODER.get_or_init(|| tiktoken_rs::cl100k_base().unwrap())
}
