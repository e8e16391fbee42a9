use proptest::prelude::*;

use super::dots::widened;
use super::*;
use crate::Level;

fn levels() -> impl Iterator<Item = Level> {
    Level::ALL.into_iter().filter(|level| level.is_here())
}

/// Numbers that are different, and the same for one seed.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| random.f32() * 2.0 - 1.0).collect()
}

/// The rows in each of the forms, with what they stand for.
fn forms(values: &[f32], dim: usize) -> [(Owned, Vec<f32>); 5] {
    let halves: Vec<u16> = values.iter().map(|value| narrowed(*value)).collect();
    let upper: Vec<u16> = values.iter().map(|value| (value.to_bits() >> 16) as u16).collect();
    let codes: Vec<i8> = values.iter().map(|value| (value * 127.0) as i8).collect();
    let scales: Vec<f32> = (0..values.len() / dim).map(|row| 0.5 + row as f32 % 3.0).collect();
    let bit = |(at, value): (usize, &f32)| u8::from(*value > 0.0) << (7 - at);
    let bits = values.chunks(dim).flat_map(|row| row.chunks(8).map(|eight| eight.iter().enumerate().map(bit).sum()));
    let is_code = |(at, code): (usize, &i8)| f32::from(*code) * scales[at / dim];
    [
        (Owned::F32(values.to_vec()), values.to_vec()),
        (Owned::F16(halves.clone()), halves.iter().map(|half| widened(*half)).collect()),
        (Owned::Bf16(upper.clone()), upper.iter().map(|half| f32::from_bits(u32::from(*half) << 16)).collect()),
        (Owned::I8(codes.clone(), scales.clone()), codes.iter().enumerate().map(is_code).collect()),
        (Owned::Bits(bits.collect()), values.iter().map(|value| if *value > 0.0 { 1.0 } else { -1.0 }).collect()),
    ]
}

enum Owned {
    F32(Vec<f32>),
    F16(Vec<u16>),
    Bf16(Vec<u16>),
    I8(Vec<i8>, Vec<f32>),
    Bits(Vec<u8>),
}

impl Owned {
    /// Rows `start..end`.
    fn rows(&self, dim: usize, start: usize, end: usize) -> Rows<'_> {
        let of = start * dim..end * dim;
        match self {
            Self::F32(values) => Rows::F32(&values[of]),
            Self::F16(values) => Rows::F16(&values[of]),
            Self::Bf16(values) => Rows::Bf16(&values[of]),
            Self::I8(codes, scales) => Rows::I8 { codes: &codes[of], scales: &scales[start..end] },
            Self::Bits(bytes) => Rows::Bits(&bytes[start * dim.div_ceil(8)..end * dim.div_ceil(8)]),
        }
    }
}

/// The nearest number of half precision below in magnitude: enough for tests.
fn narrowed(value: f32) -> u16 {
    let sign = if value < 0.0 { 0x8000 } else { 0 };
    sign | (0..0x7c00u16).collect::<Vec<_>>().partition_point(|half| widened(*half) <= value.abs()).saturating_sub(1)
        as u16
}

fn found(level: Level, rows: &Rows, queries: &Queries, k: usize, allowed: Option<&[u64]>) -> Vec<Vec<Hit>> {
    let mut best = vec![Best::new(k); queries.count()];
    search(level, rows, queries, 0, allowed, &mut best);
    best.into_iter().map(Best::into_hits).collect()
}

#[test]
fn half_precision_is_widened_exactly() {
    for (half, value) in [
        (0x0000, 0.0),
        (0x3c00, 1.0),
        (0xc000, -2.0),
        (0x7bff, 65504.0),
        (0x0001, 2f32.powi(-24)),
        (0x83ff, -1023.0 * 2f32.powi(-24)),
        (0x7c00, f32::INFINITY),
    ] {
        assert_eq!(widened(half).to_bits(), f32::to_bits(value), "{half:#x}");
    }
    let halves: Vec<u16> = (0..=u16::MAX).collect();
    let mut expected = vec![0.0; halves.len()];
    widen_halves(Level::Portable, &halves, &mut expected);
    for level in levels() {
        let mut values = vec![0.0; halves.len()];
        widen_halves(level, &halves, &mut values);
        assert!(values.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()), "{level}");
    }
}

#[test]
fn no_number_is_never_among_the_best() {
    let rows = [f32::NAN, 1.0, 2.0, f32::NAN, -0.0, 0.0];
    let queries = Queries::new(&[1.0], 1);
    for level in levels() {
        let hits = &found(level, &Rows::F32(&rows), &queries, 9, None)[0];
        let told: Vec<(u64, f32)> = hits.iter().map(|hit| (hit.row, hit.score)).collect();
        assert_eq!(told, [(2, 2.0), (1, 1.0), (4, 0.0), (5, 0.0)], "{level}");
    }
    assert!(found(Level::best(), &Rows::F32(&rows), &queries, 0, None)[0].is_empty());
    assert!(found(Level::best(), &Rows::F32(&[]), &queries, 3, None)[0].is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// In each form: what is found is what a plain search in double precision finds, on every level in the same bits, and
    /// however rows are split and queries come together.
    #[test]
    fn the_best_are_found(
        seed: u64,
        dim in prop_oneof![1usize..70, Just(384), 1000usize..1030],
        count in 0usize..50,
        asked in 1usize..7,
        k in 0usize..20,
        split in 0usize..50,
        filter: Option<u64>,
    ) {
        let values = numbers(seed, dim * count);
        let queries = numbers(seed ^ 1, dim * asked);
        let allowed = filter.map(|word| vec![word]);
        let may = |row: usize| filter.is_none_or(|word| word >> row & 1 == 1);
        for (rows, meant) in forms(&values, dim) {
            let together = Queries::new(&queries, dim);
            let all = rows.rows(dim, 0, count);
            let expected = found(Level::Portable, &all, &together, k, allowed.as_deref());
            for (nth, hits) in expected.iter().enumerate() {
                let query: Vec<f32> = match all {
                    Rows::Bits(_) => together.query(nth).iter().map(|it| if *it > 0.0 { 1.0 } else { -1.0 }).collect(),
                    _ => together.query(nth).to_vec(),
                };
                let exact = |row: usize| -> f64 { (0..dim).map(|at| f64::from(meant[row * dim + at]) * f64::from(query[at])).sum() };
                let mut scores: Vec<f64> = (0..count).filter(|row| may(*row)).map(exact).collect();
                scores.sort_by(|a, b| b.total_cmp(a));
                prop_assert_eq!(hits.len(), k.min(scores.len()));
                let near = |a: f64, b: f32| (a - f64::from(b)).abs() <= 1e-5 * dim as f64;
                for (hit, score) in hits.iter().zip(&scores) {
                    prop_assert!(may(hit.row as usize) && near(*score, hit.score) && near(exact(hit.row as usize), hit.score));
                }
                prop_assert!(hits.is_sorted_by(|a, b| a.score > b.score || (a.score == b.score && a.row < b.row)));
            }
            for level in levels() {
                prop_assert_eq!(&found(level, &all, &together, k, allowed.as_deref()), &expected, "{}", level);
            }
            for (nth, hits) in expected.iter().enumerate() {
                let alone = Queries::new(together.query(nth), dim);
                let split = split.min(count);
                let mut best = [Best::new(k)];
                let mut rest = [Best::new(k)];
                search(Level::best(), &rows.rows(dim, split, count), &alone, split as u64, allowed.as_deref(), &mut best);
                search(Level::best(), &rows.rows(dim, 0, split), &alone, 0, allowed.as_deref(), &mut rest);
                let [mut best] = best;
                let [rest] = rest;
                best.merge(rest);
                prop_assert_eq!(&best.into_hits(), hits);
            }
        }
    }
}
