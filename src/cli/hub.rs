//! The hub as the environment describes it, and how a download is shown.
//!
//! The variables are those of Python's huggingface_hub, so that what is set up for one serves the other.

use std::env;
use std::fs;
use std::io::{IsTerminal, stderr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::environment::cache_home;
use super::print::remark;
use crate::hub::{HubError, HubSettings, Patience, Progress, Proxy, Token};
use crate::model::Listener;

/// The hub that is asked where HF_ENDPOINT names no other.
const ENDPOINT: &str = "https://huggingface.co";

/// Time between lines of one download where nobody watches.
const TELL_EVERY: Duration = Duration::from_secs(15);

/// The hub of this environment. Its token is read only if a model of it is `wanted`: a bad one must not stop a workflow
/// that has no use for it.
///
/// # Errors
/// A token that cannot be sent.
pub fn settings(wanted: bool) -> Result<HubSettings, HubError> {
    let home = path(&["HF_HOME"]).unwrap_or_else(|| cache_home().join("huggingface"));
    let cache = path(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]).unwrap_or_else(|| home.join("hub"));
    let file = path(&["HF_TOKEN_PATH"]).unwrap_or_else(|| home.join("token"));
    let token = text(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]).or_else(|| fs::read_to_string(file).ok());
    let token = token.filter(|token| wanted && !token.trim().is_empty());
    Ok(HubSettings {
        endpoint: text(&["HF_ENDPOINT"]).unwrap_or_else(|| ENDPOINT.to_owned()),
        cache,
        token: token.as_deref().map(Token::new).transpose()?,
        offline: is_set("HF_HUB_OFFLINE") || is_set("TRANSFORMERS_OFFLINE"),
        proxy: Proxy::try_from_env(),
        patience: Patience::default(),
    })
}

/// The first of these variables that holds something.
fn text(names: &[&str]) -> Option<String> {
    names.iter().filter_map(|name| env::var(name).ok()).find(|value| !value.trim().is_empty())
}

fn path(names: &[&str]) -> Option<PathBuf> {
    text(names).map(PathBuf::from)
}

fn is_set(name: &str) -> bool {
    text(&[name]).is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.trim().to_uppercase().as_str()))
}

/// Shows downloads: a bar on a terminal, lines otherwise.
pub fn listener() -> Listener {
    let mut download: Option<Download> = None;
    Box::new(move |progress| {
        if download.as_ref().is_none_or(|download| download.file != progress.file) {
            download = Some(Download::new(&progress));
        }
        download.as_mut().expect("it was just set").show(&progress);
    })
}

/// A file under way.
struct Download {
    file: String,
    bar: Option<ProgressBar>,
    told: Instant,
    is_done: bool,
}

impl Download {
    fn new(progress: &Progress) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(progress.total, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{prefix}  {bytes}/{total_bytes}  {bytes_per_sec}  {eta}");
            bar.set_style(style.expect("the template is sound"));
            bar.set_prefix(format!("fetching {}", progress.file));
            bar
        });
        Self { file: progress.file.to_owned(), bar, told: Instant::now(), is_done: false }
    }

    fn show(&mut self, progress: &Progress) {
        if let Some(note) = progress.note {
            self.line(&format!("{}: {note}", self.file));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(progress.done);
        }
        let is_whole = progress.total == Some(progress.done);
        if is_whole && !self.is_done {
            self.is_done = true;
            self.bar.iter().for_each(ProgressBar::finish_and_clear);
            self.line(&format!("fetched {}, {}", self.file, size(progress.done)));
        } else if self.bar.is_none() && !is_whole && self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            let total = progress.total.map_or(String::new(), |total| format!(" of {}", size(total)));
            self.line(&format!("fetching {}: {}{total}", self.file, size(progress.done)));
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| remark(text)),
            None => remark(text),
        }
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} KB", bytes.div_ceil(1000)),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}
