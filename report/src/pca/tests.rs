//! Planes against cases worked out by hand, and against what a plane has to be.

use super::*;

/// Rows `mean +- length * axis` for each axis: their scatter is the sum of `2 length^2` times each axis with itself.
fn crossed(mean: &[f64], axes: &[(f64, Vec<f64>)]) -> Vec<f32> {
    let at =
        |length: f64, axis: &[f64]| mean.iter().zip(axis).map(|(m, a)| (m + length * a) as f32).collect::<Vec<_>>();
    axes.iter().flat_map(|(length, axis)| [at(*length, axis), at(-length, axis)].concat()).collect()
}

/// Unit vector `index` in `dim` dimensions, mirrored at a plane that no axis lies in.
fn mirrored(index: usize, dim: usize) -> Vec<f64> {
    let normal: Vec<f64> = (0..dim).map(|at| (at + 1) as f64).collect();
    let square = dot(&normal, &normal);
    (0..dim).map(|at| f64::from(at == index) - 2.0 * normal[at] * normal[index] / square).collect()
}

fn close(one: f64, other: f64, within: f64) {
    assert!((one - other).abs() <= within, "{one} is not {other}");
}

fn random(rows: usize, dim: usize) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(11);
    let normal = |random: &mut fastrand::Rng| (0..12).map(|_| random.f32()).sum::<f32>() - 6.0;
    (0..rows * dim).map(|at| normal(&mut random) * 3.0 / (1.0 + (at % dim) as f32) + 5.0).collect()
}

#[test]
fn the_plane_of_a_known_covariance_is_found() {
    let axes = [(1.0, vec![0.0, 0.0, 1.0]), (4.0, vec![0.6, 0.8, 0.0]), (2.0, vec![-0.8, 0.6, 0.0])];
    let Projection { points, explained } = project(&crossed(&[10.0, -20.0, 5.0], &axes), 3).unwrap();
    // Variances 16, 4 and 1 of 21.
    close(explained[0], 16.0 / 21.0, 1e-6);
    close(explained[1], 4.0 / 21.0, 1e-6);
    // The second axis is turned: of (-0.8, 0.6) the larger is to be positive.
    let expected = [[0.0, 0.0], [0.0, 0.0], [4.0, 0.0], [-4.0, 0.0], [0.0, -2.0], [0.0, 2.0]];
    for (point, expected) in points.iter().zip(expected) {
        (0..2).for_each(|axis| close(f64::from(point[axis]), expected[axis], 1e-5));
    }
}

#[test]
fn the_plane_is_found_among_many_dimensions() {
    let dim = 40;
    let lengths = (0..dim).map(|index| 8.0 * 0.8f64.powi(index as i32));
    let axes: Vec<_> = lengths.clone().enumerate().map(|(index, length)| (length, mirrored(index, dim))).collect();
    let found = project(&crossed(&vec![100.0; dim], &axes), dim).unwrap();
    let whole: f64 = lengths.map(|length| length * length).sum();
    close(found.explained[0], 64.0 / whole, 1e-5);
    close(found.explained[1], 64.0 * 0.64 / whole, 1e-5);
    close(f64::from(found.points[0][0].abs()), 8.0, 1e-3);
    close(f64::from(found.points[2][1].abs()), 6.4, 1e-3);
}

#[test]
fn what_is_explained_is_the_variance_of_the_points() {
    let vectors = random(500, 24);
    let found = project(&vectors, 24).unwrap();
    let spread = Rows::new(&vectors, 24).unwrap().spread;
    for axis in 0..2 {
        let coordinates = || found.points.iter().map(|point| f64::from(point[axis]));
        close(coordinates().sum::<f64>() / 500.0, 0.0, 1e-5);
        close(coordinates().map(|x| x * x).sum::<f64>() / spread, found.explained[axis], 1e-6);
    }
    let along = found.points.iter().map(|point| f64::from(point[0]) * f64::from(point[1])).sum::<f64>();
    close(along / spread, 0.0, 1e-6);
}

#[test]
fn no_other_axis_has_more_variance() {
    let vectors = random(300, 12);
    let rows = Rows::new(&vectors, 12).unwrap();
    let (axes, explained) = rows.principal();
    for index in 0..50 {
        let other = outside(&[], start(index + 99, 12)).unwrap();
        let variance = |axis: &Vec<f64>| dot(axis, &rows.scatter(std::slice::from_ref(axis))[0]) / rows.spread;
        assert!(variance(&other) <= explained[0] + 1e-12);
        let beside = outside(&axes[..1], other).unwrap();
        assert!(variance(&beside) <= explained[1] + 1e-12);
    }
}

#[test]
fn the_same_rows_give_the_same_bits() {
    let vectors = random(200, 33);
    assert_eq!(project(&vectors, 33), project(&vectors, 33));
}

#[test]
fn the_order_of_rows_decides_nothing_that_is_seen() {
    let vectors = random(64, 8);
    let backwards: Vec<f32> = vectors.chunks_exact(8).rev().flatten().copied().collect();
    let (one, other) = (project(&vectors, 8).unwrap(), project(&backwards, 8).unwrap());
    for (one, other) in one.points.iter().zip(other.points.iter().rev()) {
        (0..2).for_each(|axis| close(f64::from(one[axis]), f64::from(other[axis]), 1e-4));
    }
}

#[test]
fn rows_along_one_line_have_one_axis() {
    let line: Vec<f32> = (0..10).flat_map(|at| [at as f32, 2.0 * at as f32, -at as f32]).collect();
    let found = project(&line, 3).unwrap();
    close(found.explained[0], 1.0, 1e-12);
    close(found.explained[1], 0.0, 1e-12);
    assert!(found.points.iter().all(|point| point[1].abs() < 1e-5));
    let numbers = project(&[1.0, 2.0, 6.0], 1).unwrap();
    assert_eq!((numbers.points, numbers.explained), (vec![[-2.0, 0.0], [-1.0, 0.0], [3.0, 0.0]], [1.0, 0.0]));
}

#[test]
fn variances_that_are_alike_come_to_an_end() {
    let axes: Vec<_> = (0..30).map(|index| (1.0, mirrored(index, 30))).collect();
    let found = project(&crossed(&[0.0; 30], &axes), 30).unwrap();
    close(found.explained[0], 1.0 / 30.0, 1e-6);
}

#[test]
fn without_variance_there_is_no_plane() {
    assert_eq!(project(&[], 3), None);
    assert_eq!(project(&[1.0, 2.0, 3.0, 4.0], 2), None);
    assert_eq!(project(&[0.1; 300], 3), None);
    assert_eq!(project(&[0.0; 30], 3), None);
    assert_eq!(project(&[1.0; 10], 3), None);
    assert_eq!(project(&[1.0; 10], 0), None);
    assert_eq!(project(&[1.0, 2.0, f32::NAN, 4.0], 1), None);
}
