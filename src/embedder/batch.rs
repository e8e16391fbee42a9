//! Which rows run together: rows of equal length, so that no row is ever padded.
//!
//! On a CPU a batch should be about as large as the cache likes (200-500 tokens); padding costs as much as text, and
//! a padded run need not give the same bits. The largest rows go first, so that the last thing to finish is small.
//! Pure functions; read next `onnx.rs`.

/// Tokens per run where the manifest does not say; measured as the fastest on CPUs.
pub(super) const DEFAULT_MAX_BATCH_TOKENS: usize = 512;

/// Groups rows, given by their `lengths` in tokens, into batches of at most `max_batch_tokens`, longest first.
///
/// A row longer than the limit runs alone, as does every row when `alone`, and every row of one token: the product of
/// a single row with a matrix has a kernel of its own, which need not round like the one for several rows. Rows of
/// length 0 are in no batch: there is nothing to run. The result depends on the arguments only.
pub(super) fn batches(lengths: &[usize], max_batch_tokens: usize, alone: bool) -> Vec<Vec<usize>> {
    let mut rows: Vec<usize> = (0..lengths.len()).filter(|&row| lengths[row] > 0).collect();
    rows.sort_by_key(|&row| (std::cmp::Reverse(lengths[row]), row));
    let of_one_length = rows.chunk_by(|&a, &b| lengths[a] == lengths[b]);
    let size = |length: usize| if alone || length == 1 { 1 } else { (max_batch_tokens / length).max(1) };
    of_one_length.flat_map(|rows| rows.chunks(size(lengths[rows[0]])).map(<[usize]>::to_vec)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_lengths_share_a_batch_and_long_rows_run_alone() {
        let lengths = [3, 900, 3, 5, 3, 0];
        assert_eq!(batches(&lengths, 8, false), [vec![1], vec![3], vec![0, 2], vec![4]]);
        assert_eq!(batches(&lengths, 8, true), [vec![1], vec![3], vec![0], vec![2], vec![4]]);
        assert_eq!(batches(&[1, 1], 8, false), [[0], [1]]);
        assert!(batches(&[], 8, false).is_empty());
    }

    proptest! {
        /// Every row with tokens is in exactly one batch; batches have one length and keep to the limit.
        #[test]
        fn batches_partition_the_rows(lengths in prop::collection::vec(0usize..40, 0..60), limit in 1usize..100) {
            let batches = batches(&lengths, limit, false);
            let mut seen: Vec<usize> = batches.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).filter(|&row| lengths[row] > 0).collect::<Vec<_>>());
            for batch in &batches {
                let length = lengths[batch[0]];
                prop_assert!(batch.iter().all(|&row| lengths[row] == length));
                prop_assert!(batch.len() == 1 || batch.len() * length <= limit);
            }
        }
    }
}
