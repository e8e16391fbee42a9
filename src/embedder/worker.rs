//! The owner thread of one session: takes batches from a bounded channel, answers each with its vectors.
//!
//! Every job is answered, also when the run fails or our own code panics, so that whoever waits can never hang. The
//! thread ends when its embedder is dropped.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use super::EmbedderError;
use super::error::panic_message;
use super::session::{Batch, Model};

/// Batches given to a session at a time: one that runs, and one that waits so that the session never does. More would
/// only be thrown away when a run is cancelled.
pub(super) const DEPTH: usize = 2;

/// A batch and where its answer goes.
pub(super) struct Job {
    pub batch: Batch,
    pub answer: Sender<Answer>,
}

/// What became of a batch.
pub(super) struct Answer {
    /// The session that is free for the next batch.
    pub session: usize,
    pub batch: Batch,
    /// One vector per row of the batch.
    pub vectors: Result<Vec<Vec<f32>>, EmbedderError>,
}

/// A session on its own thread.
pub(super) struct Worker {
    session: usize,
    jobs: Option<SyncSender<Job>>,
    ready: Receiver<Result<bool, EmbedderError>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread, which makes its session with `open`; several workers open theirs side by side.
    pub fn spawn<F>(session: usize, open: F) -> Result<Self, EmbedderError>
    where
        F: FnOnce() -> Result<Model, EmbedderError> + Send + 'static,
    {
        let (jobs, inbox) = sync_channel(DEPTH);
        let (opened, ready) = channel();
        let body = move || match caught("make a session", open) {
            Ok(model) => {
                // Nobody waits for this any more if another session failed to open; then the inbox is closed, too.
                let _ = opened.send(Ok(model.mixes_rows()));
                work(session, model, &inbox);
            }
            Err(error) => drop(opened.send(Err(error))),
        };
        let thread = thread::Builder::new().name(format!("session-{session}")).spawn(body);
        let thread = thread.map_err(|source| EmbedderError::Thread { session, source })?;
        Ok(Self { session, jobs: Some(jobs), ready, thread: Some(thread) })
    }

    /// Waits until the session is open; says whether its graph may mix the rows of a batch.
    pub fn opened(&self) -> Result<bool, EmbedderError> {
        self.ready.recv().unwrap_or(Err(EmbedderError::Ended { session: self.session }))
    }

    /// Hands over a batch. Blocks only while the batches of a cancelled call are still in the way.
    pub fn send(&self, job: Job) -> Result<(), EmbedderError> {
        let sent = self.jobs.as_ref().and_then(|jobs| jobs.send(job).ok());
        sent.ok_or(EmbedderError::Ended { session: self.session })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.jobs.take());
        // A panic was answered as an error already; there is nobody left to tell.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn work(session: usize, mut model: Model, inbox: &Receiver<Job>) {
    while let Ok(Job { batch, answer }) = inbox.recv() {
        let vectors = caught("embed a batch", || model.run(&batch));
        // A cancelled call listens no more.
        let _ = answer.send(Answer { session, batch, vectors });
    }
}

/// Runs `step`, and makes an error of a panic.
pub(super) fn caught<T>(
    doing: &'static str,
    step: impl FnOnce() -> Result<T, EmbedderError>,
) -> Result<T, EmbedderError> {
    let panicked = |payload: Box<dyn Any + Send>| EmbedderError::Panicked { doing, message: panic_message(&*payload) };
    // Whatever state a panic leaves behind is dropped with the call or overwritten by the next batch.
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|payload| Err(panicked(payload)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        let panicking = || -> Result<Model, EmbedderError> { panic!("no more {}", "tea") };
        let worker = Worker::spawn(3, panicking).unwrap();
        let error = worker.opened().unwrap_err().to_string();
        assert!(error.contains("no more tea"), "{error}");
        assert!(matches!(worker.opened(), Err(EmbedderError::Ended { session: 3 })));
    }
}
