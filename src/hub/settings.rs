//! Where the hub is and how it is asked. Whoever fills this in has read the environment; this room reads none.

use std::path::PathBuf;
use std::time::Duration;

use super::Token;

/// Where the hub is and how it is asked.
#[derive(Clone, Debug)]
pub struct HubSettings {
    /// Its address, such as `https://huggingface.co`.
    pub endpoint: String,
    /// The cache: the folder that holds `models--organisation--name`.
    pub cache: PathBuf,
    /// Who asks. It is sent to the endpoint and to no other host.
    pub token: Option<Token>,
    /// Whether the network is left alone.
    pub offline: bool,
    /// The proxy, as `Proxy::try_from_env` finds it.
    pub proxy: Option<super::Proxy>,
    /// How long it is tried.
    pub patience: Patience,
}

/// How long a request is tried.
#[derive(Clone, Debug)]
pub struct Patience {
    /// Tries in a row that bring nothing.
    pub tries: u32,
    /// The wait after the first of them; it doubles with each.
    pub first_wait: Duration,
    /// The longest wait that a hub may ask for.
    pub longest_wait: Duration,
    /// How long a server may be silent.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            tries: 5,
            first_wait: Duration::from_secs(1),
            // The hub counts requests over five minutes.
            longest_wait: Duration::from_secs(300),
            silence: Duration::from_secs(30),
        }
    }
}
