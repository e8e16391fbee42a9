//! Asking a server that takes an export: JSON there and back, tried again where that may help.

use std::thread;
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::Method;
use ureq::http::header::{CONTENT_TYPE, RETRY_AFTER};

use super::ExportError;

/// How often a request is sent, at most.
const TRIES: u32 = 6;
/// What is waited for before the second try; twice as long before each one after.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest wait, whatever the server asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Longest silence of the server.
const SILENCE: Duration = Duration::from_secs(120);
/// Characters of a refusal that are shown.
const SHOWN_CHARACTERS: usize = 500;

/// A server.
pub struct Server {
    agent: Agent,
    url: String,
    /// The header that holds the key.
    key: Option<(&'static str, String)>,
    /// Rows that it has: an error tells them.
    pub done: u64,
    /// Bytes of the requests so far.
    pub sent: u64,
}

impl Server {
    /// At this address; the key goes into that header.
    pub fn new(url: &str, key: Option<(&'static str, String)>) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("sciembed/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(SILENCE))
            .timeout_send_request(Some(SILENCE))
            .timeout_send_body(Some(SILENCE))
            .timeout_recv_response(Some(SILENCE))
            .timeout_recv_body(Some(SILENCE))
            .build();
        Self { agent: agent.into(), url: url.trim_end_matches('/').to_owned(), key, done: 0, sent: 0 }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The answer to a request; none if there is no such thing (404).
    ///
    /// # Errors
    /// [`ExportError::Server`] if it cannot be reached or fails after all tries, [`ExportError::Refused`] if it refuses.
    pub fn ask(&mut self, method: &Method, path: &str, body: Option<&Value>) -> Result<Option<Value>, ExportError> {
        let address = format!("{}{path}", self.url);
        let text = body.map(Value::to_string).unwrap_or_default();
        let mut wait = FIRST_WAIT;
        for left in (0..TRIES).rev() {
            self.sent += text.len() as u64;
            let (reason, asked) = match self.send(method, &address, body.map(|_| text.as_str())) {
                Ok((200..=299, answer, _)) => return Ok(Some(answer)),
                Ok((404, ..)) => return Ok(None),
                Ok((status @ (408 | 429 | 500..=599), answer, asked)) => {
                    (format!("{status}: {}", self.short(&answer)), asked)
                }
                Ok((status, answer, _)) => {
                    return Err(ExportError::Refused {
                        url: address,
                        status,
                        answer: self.short(&answer),
                        done: self.done,
                    });
                }
                Err(error) => (error.to_string(), None),
            };
            if left == 0 {
                return Err(ExportError::Server { url: address, reason, done: self.done });
            }
            thread::sleep(asked.unwrap_or(wait).min(LONGEST_WAIT));
            wait *= 2;
        }
        unreachable!("the last try returns")
    }

    /// The beginning of an answer, for people; a server that repeats its key is not repeated.
    pub fn short(&self, answer: &Value) -> String {
        let text = answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
        let text = match &self.key {
            Some((_, key)) => text.replace(key.trim_start_matches("Bearer "), "(the key)"),
            None => text,
        };
        let text = text.trim();
        if text.is_empty() { "it says no more".to_owned() } else { text.chars().take(SHOWN_CHARACTERS).collect() }
    }

    fn send(
        &self,
        method: &Method,
        address: &str,
        body: Option<&str>,
    ) -> Result<(u16, Value, Option<Duration>), ureq::Error> {
        let mut request = ureq::http::Request::builder().method(method.clone()).uri(address);
        if let Some((header, key)) = &self.key {
            request = request.header(*header, key);
        }
        let mut answer = match body {
            Some(body) => self.agent.run(request.header(CONTENT_TYPE, "application/json").body(body)?)?,
            None => self.agent.run(request.body(())?)?,
        };
        let wait = answer.headers().get(RETRY_AFTER).and_then(|it| it.to_str().ok()?.trim().parse().ok());
        let status = answer.status().as_u16();
        let text = answer.body_mut().read_to_string()?;
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok((status, value, wait.map(Duration::from_secs)))
    }
}

/// A part of an address: a name may hold anything.
pub fn escaped(part: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    part.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
