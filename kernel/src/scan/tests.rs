//! Search against sums in f64 and a full sort, every level against every other bit by bit, and splits that must not show.

use proptest::prelude::*;

use super::{Best, Hit, Queries, Rows, search};
use crate::Level;

fn levels() -> impl Iterator<Item = Level> {
    Level::ALL.into_iter().filter(|level| level.is_here())
}

/// Rows of each type, by what is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    F32,
    F16,
    Bf16,
    I8,
    Bits,
}

const KINDS: [Kind; 5] = [Kind::F32, Kind::F16, Kind::Bf16, Kind::I8, Kind::Bits];

/// Stored vectors, their values, and queries.
struct Made {
    kind: Kind,
    dim: usize,
    floats: Vec<f32>,
    halves: Vec<u16>,
    codes: Vec<i8>,
    scales: Vec<f32>,
    bits: Vec<u8>,
    queries: Vec<f32>,
}

impl Made {
    /// Few different values, where `coarse`, so that scores are equal often.
    fn new(kind: Kind, dim: usize, rows: usize, queries: usize, seed: u64, coarse: bool) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut float = || if coarse { f32::from(random.i8(-1..=1)) } else { random.f32() * 2.0 - 1.0 };
        let floats: Vec<f32> = (0..rows * dim).map(|_| float()).collect();
        let queries = (0..queries * dim).map(|_| float()).collect();
        let halves =
            floats.iter().map(|&value| if kind == Kind::F16 { half(value) } else { (value.to_bits() >> 16) as u16 });
        Self {
            kind,
            dim,
            halves: halves.collect(),
            codes: floats.iter().map(|value| (value * 127.0) as i8).collect(),
            scales: (0..rows).map(|row| if coarse { 0.5 } else { 0.001 * (row % 7 + 1) as f32 }).collect(),
            bits: floats.chunks(dim).flat_map(packed).collect(),
            queries,
            floats,
        }
    }

    fn len(&self) -> usize {
        self.scales.len()
    }

    fn rows(&self, from: usize, to: usize) -> Rows<'_> {
        let (of, width) = (from * self.dim..to * self.dim, self.dim.div_ceil(8));
        match self.kind {
            Kind::F32 => Rows::F32(&self.floats[of]),
            Kind::F16 => Rows::F16(&self.halves[of]),
            Kind::Bf16 => Rows::Bf16(&self.halves[of]),
            Kind::I8 => Rows::I8 { codes: &self.codes[of], scales: &self.scales[from..to] },
            Kind::Bits => Rows::Bits(&self.bits[from * width..to * width]),
        }
    }

    /// The value of a component, found another way than the kernels find it.
    fn value(&self, row: usize, component: usize) -> f64 {
        let at = row * self.dim + component;
        match self.kind {
            Kind::F32 => f64::from(self.floats[at]),
            Kind::F16 => slow_half(self.halves[at]),
            Kind::Bf16 => f64::from(f32::from_bits(u32::from(self.halves[at]) << 16)),
            Kind::I8 => f64::from(self.codes[at]) * f64::from(self.scales[row]),
            Kind::Bits => sign(self.floats[at]),
        }
    }

    fn score(&self, query: usize, row: usize) -> f64 {
        let query = &self.queries[query * self.dim..][..self.dim];
        let of = |value: f32| if self.kind == Kind::Bits { sign(value) } else { f64::from(value) };
        query.iter().enumerate().map(|(component, value)| of(*value) * self.value(row, component)).sum()
    }

    fn prepared(&self) -> Queries {
        Queries::new(&self.queries, self.dim)
    }

    /// Hits of all rows in one call.
    fn find(&self, level: Level, k: usize, allowed: Option<&[u64]>) -> Vec<Vec<Hit>> {
        let queries = self.prepared();
        let mut best = vec![Best::new(k); queries.count()];
        search(level, &self.rows(0, self.len()), &queries, 0, allowed, &mut best);
        best.into_iter().map(Best::into_hits).collect()
    }
}

fn sign(value: f32) -> f64 {
    if value > 0.0 { 1.0 } else { -1.0 }
}

/// The signs of a vector, the first at the highest bit.
fn packed(vector: &[f32]) -> Vec<u8> {
    let byte = |eight: &[f32]| eight.iter().enumerate().map(|(at, value)| u8::from(*value > 0.0) << (7 - at)).sum();
    vector.chunks(8).map(byte).collect()
}

/// The bits of a number of at most 1 in binary16, rounded towards zero.
fn half(value: f32) -> u16 {
    let (mut below, mut above) = (0, 0x3c01);
    while above - below > 1 {
        let middle = u16::midpoint(below, above);
        let half = if slow_half(middle) <= f64::from(value.abs()) { &mut below } else { &mut above };
        *half = middle;
    }
    below | if value < 0.0 { 0x8000 } else { 0 }
}

/// What binary16 is defined to mean.
fn slow_half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let value = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    if bits & 0x8000 == 0 { value } else { -value }
}

/// A hit's place in the order, and the bits of its score.
fn bits(hits: &[Vec<Hit>]) -> Vec<Vec<(u64, u32)>> {
    hits.iter().map(|hits| hits.iter().map(|hit| (hit.row, hit.score.to_bits())).collect()).collect()
}

fn is_allowed(allowed: Option<&[u64]>, row: u64) -> bool {
    allowed.is_none_or(|allowed| allowed[(row / 64) as usize] >> (row % 64) & 1 == 1)
}

fn some_rows(seed: u64, rows: usize, density: u8) -> Vec<u64> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..rows.div_ceil(64)).map(|_| (0..64).map(|bit| u64::from(random.u8(0..8) < density) << bit).sum()).collect()
}

#[test]
fn every_half_has_its_value_on_every_level() {
    let halves: Vec<u16> = (0..=u16::MAX).collect();
    let queries = Queries::new(&[1.0], 1);
    for level in levels() {
        let mut best = [Best::new(halves.len())];
        search(level, &Rows::F16(&halves), &queries, 0, None, &mut best);
        let [best] = best;
        let hits = best.into_hits();
        assert_eq!(hits.len(), halves.len() - 2 * 1023, "all but what is no number, {level}");
        for hit in hits {
            assert_eq!(f64::from(hit.score), slow_half(hit.row as u16), "{:#x}, {level}", hit.row);
        }
    }
}

#[test]
fn signs_that_differ_are_counted() {
    let bits = [0b1010_0000, 0b1000_0000, 0b0101_0000, 0b1110_1000];
    let mut best = [Best::new(2)];
    search(Level::best(), &Rows::Bits(&bits[1..]), &Queries::new(&[0.5, 0.0, 0.1, -2.0], 4), 5, None, &mut best);
    let [best] = best;
    let hits = best.into_hits();
    // The third row has a bit past the four signs, which does not count.
    assert_eq!(hits, [Hit { row: 5, score: 2.0 }, Hit { row: 7, score: 2.0 }]);
    let mut best = [Best::new(1)];
    search(Level::best(), &Rows::Bits(&bits[..1]), &Queries::new(&[0.5, 0.0, 0.1, -2.0], 4), 0, None, &mut best);
    assert_eq!(best[0].clone().into_hits(), [Hit { row: 0, score: 4.0 }]);
}

#[test]
fn what_is_no_number_never_wins() {
    for queries in [1, 3] {
        let rows = [f32::NAN, 1.0, f32::NEG_INFINITY, f32::INFINITY, -1.0];
        let prepared = Queries::new(&vec![1.0; queries], 1);
        for level in levels() {
            let mut best = vec![Best::new(9); queries];
            search(level, &Rows::F32(&rows), &prepared, 0, None, &mut best);
            for best in best {
                let order: Vec<u64> = best.into_hits().iter().map(|hit| hit.row).collect();
                assert_eq!(order, [3, 1, 4, 2]);
            }
        }
        let mut best = vec![Best::new(9); queries];
        search(Level::best(), &Rows::F32(&rows), &Queries::new(&vec![f32::NAN; queries], 1), 0, None, &mut best);
        assert!(best.into_iter().all(|best| best.into_hits().is_empty()));
    }
}

#[test]
fn the_lower_of_equal_rows_wins_whatever_comes_first() {
    let queries = Queries::new(&[1.0], 1);
    for score in [f32::NEG_INFINITY, f32::MIN, -0.0, 0.0, f32::INFINITY] {
        for level in levels() {
            let mut best = [Best::new(2)];
            for first in [7, 3, 5] {
                search(level, &Rows::F32(&[score]), &queries, first, None, &mut best);
            }
            let [best] = best;
            assert_eq!(best.into_hits(), [Hit { row: 3, score }, Hit { row: 5, score }], "{level}");
        }
    }
}

/// What fills up a row's last byte may be anything.
#[test]
fn bits_past_the_last_component_never_count() {
    for dim in [1, 7, 9, 60, 63, 65, 100, 1029] {
        let made = Made::new(Kind::Bits, dim, 70, 3, 1, false);
        let clean = made.find(Level::best(), 70, None);
        let mut filled = made;
        let last = u8::MAX >> (dim - dim / 8 * 8);
        filled.bits.chunks_exact_mut(dim.div_ceil(8)).for_each(|row| row[dim / 8] |= last);
        assert_eq!(filled.find(Level::best(), 70, None), clean, "{dim}");
    }
}

#[test]
fn nothing_is_found_among_no_rows_for_no_query_or_no_place() {
    for kind in KINDS {
        let made = Made::new(kind, 5, 0, 1, 1, false);
        assert_eq!(made.find(Level::best(), 3, None), [[]]);
        assert_eq!(Made::new(kind, 5, 9, 2, 1, false).find(Level::best(), 0, None), [[], []]);
        assert_eq!(Made::new(kind, 5, 9, 0, 1, false).find(Level::best(), 4, None).len(), 0);
        assert_eq!(Made::new(kind, 5, 9, 2, 1, false).find(Level::best(), 4, Some(&[0])), [[], []]);
    }
}

#[test]
#[should_panic(expected = "rows of 4 components")]
fn a_part_of_a_row_is_refused() {
    search(Level::best(), &Rows::F32(&[0.0; 7]), &Queries::new(&[0.0; 4], 4), 0, None, &mut [Best::new(1)]);
}

#[test]
#[should_panic(expected = "a scale for each row")]
fn a_missing_scale_is_refused() {
    let rows = Rows::I8 { codes: &[0; 8], scales: &[1.0] };
    search(Level::best(), &rows, &Queries::new(&[0.0; 4], 4), 0, None, &mut [Best::new(1)]);
}

#[test]
#[should_panic(expected = "64 rows allowed or not, 2 to search from 63 on")]
fn rows_past_the_allowed_ones_are_refused() {
    search(Level::best(), &Rows::F32(&[0.0; 8]), &Queries::new(&[0.0; 4], 4), 63, Some(&[!0]), &mut [Best::new(1)]);
}

/// The rows lie in a sum's order of its own, so an odd address, a tail and a fold that went wrong all show here.
#[test]
fn every_length_of_vectors_is_summed_whole() {
    for kind in KINDS {
        for dim in (1..=70).chain([127, 384, 1030]) {
            let made = Made::new(kind, dim, 6, 2, dim as u64, false);
            for level in levels() {
                for (query, hits) in made.find(level, 6, None).iter().enumerate() {
                    assert_eq!(hits.len(), 6);
                    for hit in hits {
                        let expected = made.score(query, hit.row as usize);
                        let error = (f64::from(hit.score) - expected).abs();
                        assert!(error <= 1e-6 * dim as f64, "{kind:?} {dim} {level}: {hit:?} is not {expected}");
                    }
                }
            }
        }
    }
}

/// A digest (FNV-1a) of all scores, so that another kind of processor is held to the same bits.
#[test]
fn scores_have_the_same_bits_everywhere() {
    let digests = KINDS.map(|kind| {
        let found = Made::new(kind, 387, 50, 5, 4, false).find(Level::best(), 50, None);
        let bytes = found.iter().flatten().flat_map(|hit| hit.score.to_le_bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    });
    assert_eq!(
        digests.map(|digest| format!("{digest:x}")),
        ["688f2eec9e34f5f2", "9c62c81253ef8751", "63a818daeeb4e781", "97160bbe051deb7", "a05c3f95e0747bc9"]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// All levels, and a query alone or among others, give the same bits; and they are what a sort of all scores gives.
    #[test]
    fn hits_are_the_best_of_all_on_every_level(
        kind in prop::sample::select(KINDS.to_vec()),
        dim in prop_oneof![1..=40usize, 1..=1030usize],
        rows in 0..150usize,
        queries in 1..10usize,
        k in prop_oneof![0..5usize, 0..200usize],
        seed: u64,
        coarse: bool,
        density in prop::option::of(0..8u8),
    ) {
        let made = Made::new(kind, dim, rows, queries, seed, coarse);
        let allowed = density.map(|density| some_rows(seed, rows, density));
        let allowed = allowed.as_deref();
        let found = made.find(Level::best(), k, allowed);
        for level in levels() {
            prop_assert_eq!(bits(&made.find(level, k, allowed)), bits(&found), "{}", level);
        }
        let scores = made.find(Level::Portable, rows, None);
        for (query, found) in found.iter().enumerate() {
            let mut expected = scores[query].clone();
            prop_assert_eq!(expected.len(), rows);
            expected.retain(|hit| is_allowed(allowed, hit.row));
            expected.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap().then(a.row.cmp(&b.row)));
            expected.truncate(k);
            prop_assert_eq!(found, &expected);
            let one = Made { queries: made.queries[query * dim..][..dim].to_vec(), ..Made::new(kind, dim, rows, 1, seed, coarse) };
            prop_assert_eq!(bits(&one.find(Level::best(), k, allowed)), bits(std::slice::from_ref(found)));
            if coarse && kind != Kind::I8 {
                // Small whole numbers: every sum is exact.
                prop_assert!(found.iter().all(|hit| f64::from(hit.score) == made.score(query, hit.row as usize)));
            }
        }
    }

    /// However rows are split over calls, and in whatever order the calls come, on one list or on many that are merged.
    #[test]
    fn splits_do_not_show(
        kind in prop::sample::select(KINDS.to_vec()),
        dim in 1..=50usize,
        rows in 1..400usize,
        queries in 1..6usize,
        k in 1..20usize,
        seed: u64,
        coarse: bool,
        cuts in prop::collection::vec(0..400usize, 0..6),
        density in prop::option::of(1..8u8),
    ) {
        let made = Made::new(kind, dim, rows, queries, seed, coarse);
        let allowed = density.map(|density| some_rows(seed, rows, density));
        let allowed = allowed.as_deref();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(rows)).chain([0, rows]).collect();
        cuts.sort_unstable();
        let mut parts: Vec<(usize, usize)> = cuts.windows(2).map(|cut| (cut[0], cut[1])).collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut parts);
        let prepared = made.prepared();
        let mut one = vec![Best::new(k); queries];
        let mut merged = one.clone();
        for (from, to) in parts {
            search(Level::best(), &made.rows(from, to), &prepared, from as u64, allowed, &mut one);
            let mut own = vec![Best::new(k); queries];
            search(Level::best(), &made.rows(from, to), &prepared, from as u64, allowed, &mut own);
            merged.iter_mut().zip(own).for_each(|(merged, own)| merged.merge(own));
        }
        let expected = bits(&made.find(Level::best(), k, allowed));
        prop_assert_eq!(bits(&one.into_iter().map(Best::into_hits).collect::<Vec<_>>()), expected.clone());
        prop_assert_eq!(bits(&merged.into_iter().map(Best::into_hits).collect::<Vec<_>>()), expected);
    }
}
