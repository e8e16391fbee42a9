//! Which rows run together: rows of equal length, so that no row is ever padded.
//!
//! On a CPU a batch should be about as large as the cache likes (200-500 tokens); padding costs as much as text, and
//! a padded run need not give the same bits. A GPU wants many more tokens. The largest rows go first, so that the last thing to finish is small.
//! Pure functions; read next `onnx.rs`.

/// Tokens per run where the manifest does not say; measured as the fastest on CPUs.
pub(super) const DEFAULT_MAX_BATCH_TOKENS: usize = 512;

/// How large a batch may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Tokens.
    pub tokens: usize,
    /// Rows.
    pub rows: usize,
}

/// Groups rows, given by their `lengths` in tokens, into batches within `limits`, longest first.
///
/// A row longer than the limit runs alone, as does every row of one token: the product of
/// a single row with a matrix has a kernel of its own, which need not round like the one for several rows. Rows of
/// length 0 are in no batch: there is nothing to run. The result depends on the arguments only.
pub(super) fn batches(lengths: &[usize], limits: Limits) -> Vec<Vec<usize>> {
    let mut rows: Vec<usize> = (0..lengths.len()).filter(|&row| lengths[row] > 0).collect();
    rows.sort_by_key(|&row| (std::cmp::Reverse(lengths[row]), row));
    let of_one_length = rows.chunk_by(|&a, &b| lengths[a] == lengths[b]);
    let most = limits.rows.max(1);
    let size = |length: usize| if length == 1 { 1 } else { (limits.tokens / length).clamp(1, most) };
    of_one_length.flat_map(|rows| rows.chunks(size(lengths[rows[0]])).map(<[usize]>::to_vec)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_lengths_share_a_batch_and_long_rows_run_alone() {
        let lengths = [3, 900, 3, 5, 3, 0];
        let within = |rows| Limits { tokens: 8, rows };
        assert_eq!(batches(&lengths, within(usize::MAX)), [vec![1], vec![3], vec![0, 2], vec![4]]);
        assert_eq!(batches(&lengths, within(1)), [vec![1], vec![3], vec![0], vec![2], vec![4]]);
        assert_eq!(batches(&[1, 1], within(8)), [[0], [1]]);
        assert_eq!(batches(&[2; 7], within(3)), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
        assert!(batches(&[], within(8)).is_empty());
    }

    /// A GPU's batch holds a thousand titles, or all abstracts of a length that a call has.
    #[test]
    fn batches_for_a_gpu_are_large() {
        let lengths: Vec<usize> = (0..3000).map(|row| if row % 3 == 0 { 256 } else { 16 }).collect();
        let batches = batches(&lengths, Limits { tokens: 16_384, rows: usize::MAX });
        let sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
        let abstracts = [vec![64; 15], vec![40]].concat();
        assert_eq!(sizes, [abstracts, vec![1024, 976]].concat());
        assert!(batches.iter().all(|batch| batch.is_sorted()));
    }

    proptest! {
        /// Every row with tokens is in exactly one batch; batches have one length and keep to the limit.
        #[test]
        fn batches_partition_the_rows(lengths in prop::collection::vec(0usize..40, 0..60), limit in 1usize..100, most in 1usize..9) {
            let batches = batches(&lengths, Limits { tokens: limit, rows: most });
            let mut seen: Vec<usize> = batches.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).filter(|&row| lengths[row] > 0).collect::<Vec<_>>());
            for batch in &batches {
                let length = lengths[batch[0]];
                prop_assert!(batch.iter().all(|&row| lengths[row] == length));
                prop_assert!(batch.len() <= most);
                prop_assert!(batch.len() == 1 || batch.len() * length <= limit);
            }
        }
    }
}
