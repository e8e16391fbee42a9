//! What can go wrong between this machine and an API. The message fits behind "failed to"; none holds a key.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::cost::HandedOver;
use crate::manifest::config::Dollars;

/// An error of this room.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ApiError {
    /// The variable that should hold a key holds none.
    #[error("find an API key: the environment variable {variable} is not set")]
    #[diagnostic(
        code(sciembed::api::missing_key),
        help("set {variable}, or name another variable: `api_key_env` in the embed node's `api` table")
    )]
    MissingKey { variable: String },

    /// What a variable holds can be no key.
    #[error("use the API key in {variable}: it has a space, a line break or a character that no header can carry")]
    #[diagnostic(code(sciembed::api::bad_key), help("set {variable} to the key alone"))]
    BadKey { variable: String },

    /// No key is left that the server takes.
    #[error("ask {host}: it refuses {keys}: {why}")]
    #[diagnostic(
        code(sciembed::api::keys_refused),
        help("check the key and its account; what was answered before is kept, and the next apply goes on from there")
    )]
    KeysRefused { host: String, keys: String, why: String },

    /// The server does not know what it is asked for, or will not do it for any text.
    #[error("ask {host} for vectors of {model}: it answers {status}: {told}")]
    #[diagnostic(
        code(sciembed::api::refused),
        help(
            "check `model` and `base_url` (it ends with /v1 for most servers), and the `extra` fields of the `api` table"
        )
    )]
    Refused { host: String, model: String, status: u16, told: String },

    /// The server sends its callers elsewhere.
    #[error("ask {host}: it redirects to {to}, where no key is sent")]
    #[diagnostic(code(sciembed::api::redirect), help("if that is meant, write it as `base_url`"))]
    Redirect { host: String, to: String },

    /// Every try failed, and nothing was answered meanwhile.
    #[error("ask {host}: {why}, {tries} tries in a row")]
    #[diagnostic(
        code(sciembed::api::unreachable),
        help(
            "check that the server runs and can be reached; what was answered before is kept, and the next apply goes on from there"
        )
    )]
    Unreachable { host: String, why: String, tries: u32 },

    /// The server wants to be left alone for longer than a run should wait.
    #[error("ask {host}: it asks to wait for {} minutes", wait.as_secs().div_ceil(60))]
    #[diagnostic(code(sciembed::api::wait), help("apply again after that; what was answered before is kept"))]
    Wait { host: String, wait: Duration },

    /// What may be spent is spent.
    #[error("go on: {spent} of {limit} are spent, and the next request may take {next}")]
    #[diagnostic(
        code(sciembed::api::budget),
        help(
            "everything answered is kept. To go on, raise `{key}` in the embed node's `api` table: it counts all runs of this workflow together"
        )
    )]
    Budget { key: &'static str, spent: String, limit: String, next: String },

    /// Batches are at the server, and are not waited for.
    #[error("wait for {texts} at {host}, as --no-wait says")]
    #[diagnostic(
        code(sciembed::api::handed_over),
        help("apply again, today or tomorrow: it collects what is answered")
    )]
    HandedOver { host: String, texts: HandedOver },

    /// Texts are in batches that would be asked for again.
    #[error("ask {host} text by text: {texts} are there, and paid for")]
    #[diagnostic(
        code(sciembed::api::batches_open),
        help(
            "collect them with `mode = \"batch\"` first. To leave them there and pay again, remove {}",
            folder.display()
        )
    )]
    BatchesOpen { host: String, texts: HandedOver, folder: PathBuf },

    /// The server refuses a batch.
    #[error("use batch {batch} of {host}: it failed: {why}")]
    #[diagnostic(
        code(sciembed::api::batch_failed),
        help("where too much is waiting there already, apply again later: it is handed over again")
    )]
    BatchFailed { host: String, batch: String, why: String },

    /// Something about the model is not what it was.
    #[error("use the answers of {host}: {what} is {now}, and {was} was expected")]
    #[diagnostic(
        code(sciembed::api::changed),
        help(
            "the server runs another model than before, or than is declared: vectors of two models must not be mixed. Check `model` and `dim`; where it is another model and shall be, declare another `identity` in the `api` table, and its vectors are stored apart"
        )
    )]
    Changed { host: String, what: &'static str, was: String, now: String },

    /// The server answers, but never what an embeddings API answers.
    #[error("understand {host}: {detail}")]
    #[diagnostic(
        code(sciembed::api::bad_answer),
        help("check that `base_url` is that of an OpenAI-compatible server; it ends with /v1 for most")
    )]
    BadAnswer { host: String, detail: String },

    /// The ledger cannot be read or written.
    #[error("keep the ledger {}", file.display())]
    #[diagnostic(
        code(sciembed::api::ledger),
        help("what was spent is noted there before it is spent: free space, and see that this user may write it")
    )]
    Ledger { file: PathBuf, source: io::Error },

    /// Another process spends from the same budget.
    #[error("spend from {}: another process does", file.display())]
    #[diagnostic(
        code(sciembed::api::ledger_busy),
        help("two processes cannot keep one budget: apply again when the other is done")
    )]
    LedgerBusy { file: PathBuf },

    /// A line of the ledger says nothing.
    #[error("read the ledger {}: line {line} is no entry", file.display())]
    #[diagnostic(
        code(sciembed::api::bad_ledger),
        help("mend the line if you know what was spent, or remove it; what it stood for is then not counted")
    )]
    BadLedger { file: PathBuf, line: usize },

    /// A tokenizer cannot be used.
    #[error("use the tokenizer {}: {reason}", file.display())]
    #[diagnostic(
        code(sciembed::api::tokenizer),
        help("`tokenizer` of the `api` table is the path of a tokenizer.json")
    )]
    Tokenizer { file: PathBuf, reason: String },

    /// A table of prices cannot be used.
    #[error("read the prices in {}: {reason}", file.display())]
    #[diagnostic(
        code(sciembed::api::prices),
        help("write `date = \"2026-11-01\"`, and for each model [models.\"NAME\"] with usd_per_million_tokens")
    )]
    Prices { file: PathBuf, reason: String },

    /// The HTTP client does not start.
    #[error("start an HTTP client: {reason}")]
    #[diagnostic(
        code(sciembed::api::client),
        help("see that the system's certificates are installed (ca-certificates)")
    )]
    Client { reason: String },

    /// A limit in dollars on a model whose price nobody knows.
    #[error("keep below {limit}: the price of {model} is not known")]
    #[diagnostic(
        code(sciembed::api::no_price),
        help("name a table with its price: `prices` in the embed node's `api` table; or limit `max_tokens` instead")
    )]
    NoPrice { limit: Dollars, model: String },
}
