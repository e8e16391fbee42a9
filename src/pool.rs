//! The one door to the CPU pool: work spread over rayon's threads, results back in the order of their inputs.
//!
//! Bytes are hashed, so order is part of every result; one thread runs the same code as eight.

use std::sync::mpsc::{Receiver, sync_channel};

/// Pieces of work under way at once. Twice the threads keeps all of them busy while the consumer writes; each piece is
/// about a megabyte, so this bounds memory to some tens of megabytes per node.
fn pieces_in_flight() -> usize {
    2 * rayon::current_num_threads() + 2
}

/// A piece of work panicked: a bug, reported as an error so that the run can end in order.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("finish a piece of work: it panicked")]
#[diagnostic(code(sciembed::bug), help("this is a fault of sciembed: please report it with the lines printed above"))]
pub struct Panicked;

/// Feeds what `produce` gives to `work` on the pool, and what comes out to `consume`, in order, on this thread.
///
/// `produce` runs on a thread of its own and gives `None` at the end. The first error of either side ends everything.
///
/// # Errors
/// The first error of `produce` or `consume`, or [`Panicked`].
pub fn map_ordered<I, O, E>(
    produce: impl FnMut() -> Result<Option<I>, E> + Send,
    work: impl Fn(I) -> O + Send + Sync,
    mut consume: impl FnMut(O) -> Result<(), E>,
) -> Result<(), E>
where
    I: Send,
    O: Send,
    E: Send + From<Panicked>,
{
    let (queue, results) = sync_channel::<Result<Receiver<O>, E>>(pieces_in_flight());
    let work = &work;
    std::thread::scope(|threads| {
        threads.spawn(move || {
            let mut produce = produce;
            // In-place scope: pieces may borrow, and all of them end before this thread does.
            rayon::in_place_scope(|pool| {
                loop {
                    let item = match produce() {
                        Ok(Some(item)) => item,
                        Ok(None) => return,
                        Err(error) => {
                            let _ = queue.send(Err(error));
                            return;
                        }
                    };
                    let (answer, result) = sync_channel(1);
                    // The queue is full while the consumer is behind; it is closed when the consumer gave up.
                    if queue.send(Ok(result)).is_err() {
                        return;
                    }
                    pool.spawn(move |_| {
                        if let Ok(output) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(item))) {
                            let _ = answer.send(output);
                        }
                    });
                }
            });
        });
        for result in results {
            consume(result?.recv().map_err(|_| Panicked)?)?;
        }
        Ok(())
    })
}

/// Starts one piece of work on the pool. The answer never comes if it panics.
pub fn start<O: Send + 'static>(work: impl FnOnce() -> O + Send + 'static) -> Receiver<O> {
    let (answer, result) = sync_channel(1);
    rayon::spawn(move || {
        if let Ok(output) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
            let _ = answer.send(output);
        }
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_errors_end_it() {
        let mut next = 0u64;
        let mut seen = Vec::new();
        let produce = || {
            next += 1;
            Ok::<_, Panicked>((next <= 500).then_some(next))
        };
        let work = |n: u64| {
            std::thread::sleep(std::time::Duration::from_micros((n * 37) % 200));
            n * 2
        };
        map_ordered(produce, work, |n| {
            seen.push(n);
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, (1..=500).map(|n| n * 2).collect::<Vec<_>>());

        let endless = || Ok::<_, Panicked>(Some(1));
        assert!(map_ordered(endless, |n| n, |_| Err(Panicked)).is_err());
        assert!(map_ordered(endless, |_| -> u8 { panic!("on purpose") }, |_| Ok(())).is_err());
    }
}
