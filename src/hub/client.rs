//! Asking over HTTP: redirects, the token, what may pass and what will not, and trying again.
//!
//! Redirects are followed here and not by ureq: the token goes to the endpoint alone, and what the hub announces of a
//! file stands in the headers of the answer that redirects. Addresses that a redirect leads to are signed, and are not
//! told.

use std::io::Read;
use std::thread;
use std::time::Duration;

use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, LOCATION, RANGE, RETRY_AFTER};
use ureq::http::{Response, Uri};
use ureq::{Agent, Body};

use super::content::ContentId;
use super::listing::RemoteFile;
use super::{HubError, HubSettings, Patience, Token};

/// Redirects that are followed: a renamed repository, its storage, and some.
const MAX_HOPS: usize = 6;
/// The longest listing that is read: two hundred thousand files.
const MAX_LISTING_BYTES: u64 = 64 << 20;

/// Asks the hub.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<Token>,
    patience: Patience,
}

/// What is asked for, in words for people.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    /// `config.json of org/name@main`.
    pub what: String,
    /// `org/name`.
    pub repo: String,
    /// What is missing if the hub says no more than 404.
    pub kind: &'static str,
}

/// Why a try failed.
pub(super) enum Failure {
    /// Another try may succeed, at the earliest after that wait. `gained` if this one brought something.
    Passing { why: String, wait: Option<Duration>, gained: bool },
    /// No other try will.
    Final(HubError),
}

/// An answer with a body.
pub(super) struct Answer {
    pub status: u16,
    /// What the hub says of the file.
    pub announced: RemoteFile,
    /// Where the body begins in the file.
    pub start: Option<u64>,
    /// Bytes of the body.
    pub length: Option<u64>,
    pub body: Body,
}

impl Failure {
    pub fn passing(why: impl ToString) -> Self {
        Self::Passing { why: why.to_string(), wait: None, gained: false }
    }
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self::Final(error)
    }
}

impl Client {
    pub fn new(settings: &HubSettings) -> Self {
        let silence = Some(settings.patience.silence);
        let config = Agent::config_builder()
            // Always said, for otherwise ureq would read it from the environment.
            .proxy(settings.proxy.clone())
            .http_status_as_error(false)
            .max_redirects(0)
            // A range of compressed bytes would be a range of something else.
            .accept_encoding("identity")
            .user_agent(concat!("sciembed/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(silence)
            .timeout_connect(silence)
            .timeout_recv_response(silence)
            .timeout_per_read(silence)
            .build();
        Self {
            agent: config.into(),
            endpoint: settings.endpoint.trim_end_matches('/').to_owned(),
            token: settings.token.clone(),
            patience: settings.patience.clone(),
        }
    }

    pub fn tries(&self) -> u32 {
        self.patience.tries
    }

    /// The address of a path below the endpoint, its parts escaped.
    pub fn address(&self, parts: &[&str], query: &str) -> Result<Uri, HubError> {
        let endpoint = &self.endpoint;
        let bad = |endpoint: &str, reason| HubError::BadEndpoint { endpoint: endpoint.to_owned(), reason };
        if endpoint.contains('@') {
            return Err(bad("(hidden)", "it holds a name or password; a token belongs in HF_TOKEN"));
        }
        let whole = endpoint.strip_prefix("https://").or(endpoint.strip_prefix("http://"));
        if !whole.is_some_and(|rest| !rest.is_empty() && !rest.contains(['?', '#'])) {
            return Err(bad(endpoint, "it does not begin with https:// or has more than a path behind it"));
        }
        let path: String = parts.iter().flat_map(|part| ["/".to_owned(), escaped(part)]).collect();
        format!("{endpoint}{path}{query}").parse().map_err(|_| bad(endpoint, "it is not an address"))
    }

    /// Gets a whole short text, such as a listing.
    pub fn text(&self, address: &Uri, subject: &Subject, tries: u32) -> Result<Vec<u8>, HubError> {
        let attempt = |(): &mut ()| {
            let mut answer = self.get(address, 0, subject)?;
            let mut bytes = Vec::new();
            let read = answer.body.as_reader().take(MAX_LISTING_BYTES).read_to_end(&mut bytes);
            read.map(|_| bytes).map_err(Failure::passing)
        };
        self.persevere(&mut (), subject, tries, attempt, |(), _| {})
    }

    /// Tries until it succeeds, will not, or `tries` tries in a row brought nothing. `tell` hears of every wait.
    pub fn persevere<C, T>(
        &self,
        context: &mut C,
        subject: &Subject,
        tries: u32,
        mut attempt: impl FnMut(&mut C) -> Result<T, Failure>,
        mut tell: impl FnMut(&mut C, &str),
    ) -> Result<T, HubError> {
        let mut failed = 0;
        loop {
            let (why, asked, gained) = match attempt(context) {
                Ok(value) => return Ok(value),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing { why, wait, gained }) => (why, wait, gained),
            };
            failed = if gained { 1 } else { failed + 1 };
            if failed >= tries {
                return Err(HubError::Unreachable { what: subject.what.clone(), why, tries: failed });
            }
            let longest = self.patience.longest_wait;
            if let Some(wait) = asked.filter(|&wait| wait > longest) {
                return Err(HubError::Wait { what: subject.what.clone(), host: self.endpoint.clone(), wait });
            }
            let own = (self.patience.first_wait * 2u32.saturating_pow((failed - 1).min(16))).min(longest);
            let wait = own.max(asked.unwrap_or_default());
            tell(context, &format!("{why}; trying again in {:.0} s", wait.as_secs_f64()));
            thread::sleep(wait);
        }
    }

    /// One try at `address`, from byte `from` on, through all redirects.
    pub fn get(&self, address: &Uri, from: u64, subject: &Subject) -> Result<Answer, Failure> {
        let mut address = address.clone();
        let mut announced = RemoteFile::default();
        for _ in 0..MAX_HOPS {
            let ours = self.is_endpoint(&address);
            let response = self.ask(&address, from, ours)?;
            let (status, headers) = (response.status().as_u16(), response.headers());
            if ours {
                note(&mut announced, headers);
            }
            match status {
                200 | 206 => return Ok(answer(status, announced, response)),
                416 if from > 0 => return Ok(answer(status, announced, response)),
                301 | 302 | 303 | 307 | 308 => address = self.redirected(&address, headers, subject)?,
                _ if ours => return Err(self.refusal(status, headers, subject)),
                // Signed addresses expire: the next try gets a new one.
                _ => return Err(Failure::passing(format!("{} answered {status}", host(&address)))),
            }
        }
        Err(bad_answer(subject, format!("more than {MAX_HOPS} redirects")).into())
    }

    fn ask(&self, address: &Uri, from: u64, ours: bool) -> Result<Response<Body>, Failure> {
        let mut request = self.agent.get(address);
        if let Some(token) = self.token.as_ref().filter(|_| ours) {
            request = request.header(AUTHORIZATION, token.header());
        }
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        request.call().map_err(|error| Failure::passing(format!("{}: {error}", host(address))))
    }

    /// Whether an address is of the endpoint, which may see the token.
    fn is_endpoint(&self, address: &Uri) -> bool {
        let endpoint: Option<Uri> = self.endpoint.parse().ok();
        endpoint.is_some_and(|own| own.scheme() == address.scheme() && own.authority() == address.authority())
    }

    fn redirected(&self, from: &Uri, headers: &HeaderMap, subject: &Subject) -> Result<Uri, HubError> {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (scheme, authority) = (from.scheme_str().unwrap_or("https"), host(from));
        let absolute = if location.starts_with("//") {
            format!("{scheme}:{location}")
        } else if location.starts_with('/') {
            format!("{scheme}://{authority}{location}")
        } else {
            location.to_owned()
        };
        let to: Uri = absolute.parse().map_err(|_| bad_answer(subject, "it redirects to nowhere".into()))?;
        match (scheme, to.scheme_str()) {
            (_, Some("https")) | ("http", Some("http")) if to.host().is_some() => Ok(to),
            _ => Err(bad_answer(subject, format!("it redirects from {scheme} to what is not https"))),
        }
    }

    /// What a status of the endpoint means.
    fn refusal(&self, status: u16, headers: &HeaderMap, subject: &Subject) -> Failure {
        let code = headers.get("x-error-code").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let what = subject.what.clone();
        match status {
            401 | 403 => Failure::Final(self.denied(status, code, subject)),
            404 => Failure::Final(not_found(what, code, subject.kind)),
            408 | 425 | 429 | 500..=599 => Failure::Passing {
                why: format!("the hub answered {status}"),
                wait: headers.get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?)),
                gained: false,
            },
            _ => Failure::Final(HubError::Refused { what, host: self.endpoint.clone(), status }),
        }
    }

    fn denied(&self, status: u16, code: &str, subject: &Subject) -> HubError {
        let page = format!("{}/{}", self.endpoint, subject.repo);
        let (reason, help) = match (&self.token, code) {
            (None, "GatedRepo") => (
                "for its makers ask who uses it",
                format!("ask for access on {page}, then set HF_TOKEN to a token of that account"),
            ),
            (Some(_), "GatedRepo") => (
                "for its makers ask who uses it, and this token's account was not let in",
                format!("ask for access on {page} with the account that HF_TOKEN is of"),
            ),
            (None, _) => (
                "so the model does not exist, or is private or gated",
                format!("check the name; for a private or gated model set HF_TOKEN, and ask for access on {page}"),
            ),
            (Some(_), _) => (
                "so the token is not valid, or its account may not read this",
                format!("check the name and HF_TOKEN, and ask for access on {page}"),
            ),
        };
        HubError::Denied { what: subject.what.clone(), status, reason, help }
    }
}

fn not_found(what: String, code: &str, kind: &'static str) -> HubError {
    let kind = match code {
        "RepoNotFound" => "repository",
        "RevisionNotFound" => "revision",
        "EntryNotFound" => "file",
        _ => kind,
    };
    let help = match kind {
        "file" => "look at the files on the model's page; another revision may have it, written behind an @",
        "revision" => "look at the branches and tags on the model's page, and write one of them behind the @",
        _ => "check the name, organisation/name, on the hub; a private model needs HF_TOKEN",
    };
    HubError::NotFound { what, kind, help }
}

fn answer(status: u16, announced: RemoteFile, response: Response<Body>) -> Answer {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let range = header(CONTENT_RANGE).and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
    let length = header(CONTENT_LENGTH).and_then(|length| length.parse().ok());
    Answer { status, announced, start: range, length, body: response.into_body() }
}

/// Takes what the hub announces of a file; the first answer counts, for what follows speaks of its storage.
fn note(announced: &mut RemoteFile, headers: &HeaderMap) {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let content = header("x-linked-etag").or(header(ETAG.as_str())).and_then(ContentId::read);
    let size = header("x-linked-size").and_then(|size| size.parse().ok());
    announced.content = announced.content.take().or(content);
    announced.size = announced.size.or(size);
}

fn bad_answer(subject: &Subject, detail: String) -> HubError {
    HubError::BadAnswer { what: subject.what.clone(), detail }
}

/// Host and port, which is all of a foreign address that is told.
fn host(address: &Uri) -> &str {
    address.authority().map_or("", |authority| authority.as_str())
}

/// Seconds, or the date at which they are over.
fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = chrono::DateTime::parse_from_rfc2822(text.trim()).ok()?;
    Some(std::time::SystemTime::from(date).duration_since(std::time::SystemTime::now()).unwrap_or_default())
}

/// One part of an address: a slash in a revision is no slash between parts, one in a file's path is.
fn escaped(part: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    part.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert!(retry_after("Wed, 21 Oct 2099 07:28:00 GMT").unwrap() > Duration::from_secs(1 << 30));
        assert_eq!(retry_after("soon"), None);
    }

    #[test]
    fn parts_are_escaped() {
        assert_eq!(escaped("refs/pr/1"), "refs%2Fpr%2F1");
        assert_eq!(escaped("é ?.onnx"), "%C3%A9%20%3F.onnx");
    }
}
