//! A run's events as `tracing` sees them: what a log at night is read for. Progress is left to bars and metrics.

use tracing::{debug, error, info, warn};

use crate::event::{Detail, Event};

/// Tells of an event.
pub fn trace(event: &Event) {
    match event {
        Event::RunStarted { run, workflow, version, steps, .. } => {
            info!(run, workflow, version, steps, "run started");
        }
        Event::StepStarted { step, reason } => info!(%step, reason = reason.describe(step), "step started"),
        Event::StepProgress { .. } => {}
        Event::StepNote { step, note } => warn!(%step, note, "note"),
        Event::StepDetail { step, detail: Detail::Sealed { vectors, done, total } } => {
            debug!(%step, vectors, done, total, "vectors sealed");
        }
        Event::StepDetail { step, detail: Detail::Asked { requests, failed, tokens, micro_usd } } => {
            info!(%step, requests, failed, tokens, micro_usd, "API asked");
        }
        Event::StepDetail { step, detail: Detail::Failed { rows } } => warn!(%step, rows = rows.len(), "texts failed"),
        Event::StepDetail { step, detail: Detail::Removed { rows } } => {
            info!(%step, rows = rows.len(), "papers removed");
        }
        // A batch is told where it happens, within its span.
        Event::StepDetail { detail: Detail::Batch { .. }, .. } => {}
        // Progress as well; what comes of it is told when the step has ended.
        Event::StepDetail { detail: Detail::Read { .. } | Detail::Reused { .. } | Detail::Rejected { .. }, .. } => {}
        Event::StepFinished { step, counts, run_counts, seconds, .. } => {
            info!(%step, seconds, counts = ?counts, run_counts = ?run_counts, "step finished");
        }
        Event::StepFailed { step, error } => error!(%step, error, "step failed"),
        Event::RunInterrupted => warn!("run interrupted"),
        Event::RunFinished { outcome, seconds, .. } => info!(outcome = ?outcome, seconds, "run finished"),
    }
}
