//! The embedder that asks a server: the room `api` does it, with the keys that the environment holds.

use std::ops::ControlFlow;

use super::{Description, Embedder, EmbedderError, Embedding, Portions, Sink, Told};
use crate::api::{Asker, Delivery, Secret, Settings, Tally};
use crate::manifest::config::Mode;
use crate::model::Environment;

/// Texts that are handed over at once, and their bytes, at most: between two such portions no request is under way, so
/// there are few; and they are held in memory.
const PORTION_ROWS: usize = 65_536;
const PORTION_BYTES: usize = 64 << 20;
/// The same where they are handed over in batches, which are waited for together.
const BATCH_PORTION_ROWS: usize = 500_000;
const BATCH_PORTION_BYTES: usize = 512 << 20;

/// See the file's head.
pub(super) struct ApiEmbedder {
    asker: Asker,
    description: Description,
}

/// How much is handed over: half of the window is under way, at most, and the other half waits to be sealed.
pub(super) fn portions(settings: &Settings) -> Portions {
    let (rows, bytes) = match settings.mode {
        Mode::Live => (PORTION_ROWS, PORTION_BYTES),
        Mode::Batch => (BATCH_PORTION_ROWS, BATCH_PORTION_BYTES),
    };
    Portions { rows, bytes, seal_rows: (settings.window / 2).max(1) }
}

impl ApiEmbedder {
    /// Reads the keys and makes ready to ask.
    pub fn start(settings: &Settings, env: &Environment, description: Description) -> Result<Self, EmbedderError> {
        let secret = |variable: &String| Secret::new(variable, env.variables.get(variable));
        let secrets = settings.key_variables.iter().map(secret).collect::<Result<Vec<_>, _>>()?;
        let asker = Asker::start(settings.clone(), &secrets, env.proxy.as_deref())?;
        Ok(Self { asker, description })
    }
}

impl Embedder for ApiEmbedder {
    fn description(&self) -> &Description {
        &self.description
    }

    fn embed(&mut self, texts: &[&str], sink: Sink) -> Result<(), EmbedderError> {
        let mut deliver = |delivery: Delivery| -> ControlFlow<()> { sink(told(delivery)) };
        Ok(self.asker.embed(texts, &mut deliver)?)
    }

    fn tally(&self) -> Option<Tally> {
        Some(self.asker.tally())
    }
}

fn told(delivery: Delivery) -> Told {
    match delivery {
        Delivery::Vector { row, vector, tokens, dropped } => {
            let count = |tokens: u64| u32::try_from(tokens).unwrap_or(u32::MAX);
            Told::Embedded(row, Embedding { vector, tokens: count(tokens), tokens_dropped: count(dropped) })
        }
        Delivery::Unfit { row, why } => Told::Unfit(row, why),
        Delivery::Note(note) => Told::Note(note),
        Delivery::Waiting => Told::Waiting,
    }
}
