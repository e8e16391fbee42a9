//! How long the texts are that a run's embed steps read, by the token counts of their vectors tables.

use arrow::array::AsArray;
use arrow::datatypes::UInt32Type;
use sciembed_report::TokenHistogram;

use crate::record::Record;
use crate::store::Store;

/// Bins of a histogram, about.
const BINS: u64 = 48;

/// The histogram over all rows of these embed steps; none where there are none, or a table cannot be read. `limit` is what the
/// workflow says that the model reads; otherwise the longest text that was cut tells it. Tables are read twice, and none is held.
pub fn histogram(store: &Store, embedded: &[&Record], limit: Option<u64>) -> Option<TokenHistogram> {
    let mut histogram = TokenHistogram::default();
    let (mut longest, mut read) = (None, 0);
    each_row(store, embedded, &mut |tokens, dropped| {
        longest = longest.max(Some(tokens + dropped));
        if dropped > 0 {
            histogram.longer += 1;
            histogram.dropped += dropped;
            read = read.max(tokens);
        }
    })?;
    let longest = longest?;
    histogram.limit = limit.unwrap_or(if read > 0 { read } else { longest });
    histogram.bin_width = longest.div_ceil(BINS).max(1);
    histogram.counts = vec![0; usize::try_from(longest / histogram.bin_width).ok()? + 1];
    each_row(store, embedded, &mut |tokens, dropped| {
        let bin = (tokens + dropped) / histogram.bin_width;
        if let Some(count) = usize::try_from(bin).ok().and_then(|bin| histogram.counts.get_mut(bin)) {
            *count += 1;
        }
    })?;
    Some(histogram)
}

/// Gives the tokens that were read of each row, and those that were cut off; none if a table cannot be read.
fn each_row(store: &Store, embedded: &[&Record], each: &mut dyn FnMut(u64, u64)) -> Option<()> {
    for record in embedded {
        let vectors = record.outputs.get("vectors")?;
        for batch in store.read_ipc_batches(&vectors.digest).ok()? {
            let batch = batch.ok()?;
            let column = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<UInt32Type>();
            for (tokens, dropped) in column("tokens")?.values().iter().zip(column("tokens_dropped")?.values()) {
                each(u64::from(*tokens), u64::from(*dropped));
            }
        }
    }
    Some(())
}
