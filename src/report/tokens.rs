//! How long the texts are that a run's embed steps read, by the token counts of their vectors tables.

use arrow::array::AsArray;
use arrow::datatypes::UInt32Type;
use sciembed_report::TokenHistogram;

use crate::record::Record;
use crate::store::Store;

/// Bins of a histogram, about.
const BINS: u64 = 48;

/// The histogram over all rows of these embed steps; none where there are none, or a table cannot be read. `limit` is what the
/// workflow says that the model reads; otherwise the longest text that was cut tells it.
pub fn histogram(store: &Store, embedded: &[&Record], limit: Option<u64>) -> Option<TokenHistogram> {
    let mut lengths = Vec::new();
    let mut histogram = TokenHistogram::default();
    let mut read = 0;
    for record in embedded {
        let vectors = record.outputs.get("vectors")?;
        for batch in store.read_ipc_batches(&vectors.digest).ok()? {
            let batch = batch.ok()?;
            let column =
                |name: &str| Some(batch.column_by_name(name)?.as_primitive_opt::<UInt32Type>()?.values().to_vec());
            for (tokens, dropped) in column("tokens")?.into_iter().zip(column("tokens_dropped")?) {
                if dropped > 0 {
                    histogram.longer += 1;
                    histogram.dropped += u64::from(dropped);
                    read = read.max(u64::from(tokens));
                }
                lengths.push(u64::from(tokens) + u64::from(dropped));
            }
        }
    }
    let longest = *lengths.iter().max()?;
    histogram.limit = limit.unwrap_or(if read > 0 { read } else { longest });
    histogram.bin_width = longest.div_ceil(BINS).max(1);
    histogram.counts = vec![0; usize::try_from(longest / histogram.bin_width).ok()? + 1];
    for length in lengths {
        histogram.counts[usize::try_from(length / histogram.bin_width).ok()?] += 1;
    }
    Some(histogram)
}
