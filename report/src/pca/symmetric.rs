//! Eigenvalues and eigenvectors of a small symmetric matrix, by Jacobi's rotations.

/// Sweeps at most; six or seven are usual for ten rows.
const SWEEPS: usize = 60;

/// Eigenvalues, largest first, and with each its eigenvector of length 1.
pub fn eigen(matrix: &[Vec<f64>]) -> (Vec<f64>, Vec<Vec<f64>>) {
    let size = matrix.len();
    let mut matrix = matrix.to_vec();
    // Row `j` becomes the eigenvector of the j-th value on the diagonal.
    let mut vectors: Vec<Vec<f64>> = (0..size).map(|i| (0..size).map(|j| f64::from(i == j)).collect()).collect();
    for _ in 0..SWEEPS {
        if is_diagonal(&matrix) {
            break;
        }
        for p in 0..size {
            for q in p + 1..size {
                rotate(&mut matrix, &mut vectors, p, q);
            }
        }
    }
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|a, b| matrix[*b][*b].total_cmp(&matrix[*a][*a]));
    (order.iter().map(|i| matrix[*i][*i]).collect(), order.iter().map(|i| vectors[*i].clone()).collect())
}

fn is_diagonal(matrix: &[Vec<f64>]) -> bool {
    let square = |keep: fn(usize, usize) -> bool| -> f64 {
        let cells = matrix.iter().enumerate().flat_map(|(i, row)| row.iter().enumerate().map(move |(j, x)| (i, j, x)));
        cells.filter(|(i, j, _)| keep(*i, *j)).map(|(_, _, x)| x * x).sum()
    };
    square(|i, j| i != j) <= 1e-30 * square(|i, j| i == j)
}

/// Turns the plane of `p` and `q` so that their element off the diagonal becomes 0 (Golub and Van Loan, 8.5.2).
fn rotate(matrix: &mut [Vec<f64>], vectors: &mut [Vec<f64>], p: usize, q: usize) {
    if matrix[p][q] == 0.0 {
        return;
    }
    let tau = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
    let tangent = if tau >= 0.0 { 1.0 } else { -1.0 } / (tau.abs() + (1.0 + tau * tau).sqrt());
    let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
    let sine = tangent * cosine;
    for row in matrix.iter_mut() {
        (row[p], row[q]) = (cosine * row[p] - sine * row[q], sine * row[p] + cosine * row[q]);
    }
    turn_rows(matrix, p, q, cosine, sine);
    turn_rows(vectors, p, q, cosine, sine);
}

fn turn_rows(rows: &mut [Vec<f64>], p: usize, q: usize, cosine: f64, sine: f64) {
    let (before, from_q) = rows.split_at_mut(q);
    for (x, y) in before[p].iter_mut().zip(&mut from_q[0]) {
        (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_vectors_are_those_worked_out_by_hand() {
        // Eigenvalues 4, 2 and 2 - 1 of a block (3 1; 1 3) beside a 1.
        let (values, vectors) = eigen(&[vec![3.0, 1.0, 0.0], vec![1.0, 3.0, 0.0], vec![0.0, 0.0, 1.0]]);
        for (value, expected) in values.iter().zip([4.0, 2.0, 1.0]) {
            assert!((value - expected).abs() < 1e-14);
        }
        let half = 0.5f64.sqrt();
        assert!((vectors[0][0] * vectors[0][1] - half * half).abs() < 1e-14);
        assert!((vectors[2][2].abs() - 1.0).abs() < 1e-14);
    }

    #[test]
    fn any_symmetric_matrix_is_put_together_again_from_them() {
        let mut random = fastrand::Rng::with_seed(5);
        let half: Vec<f64> = (0..100).map(|_| random.f64() - 0.5).collect();
        let cell = |i: usize, j: usize| half[i.min(j) * 10 + i.max(j)];
        let matrix: Vec<Vec<f64>> = (0..10).map(|i| (0..10).map(|j| cell(i, j)).collect()).collect();
        let (values, vectors) = eigen(&matrix);
        assert!(values.is_sorted_by(|a, b| a >= b));
        for (i, row) in matrix.iter().enumerate() {
            for (j, cell) in row.iter().enumerate() {
                let again: f64 = values.iter().zip(&vectors).map(|(value, vector)| value * vector[i] * vector[j]).sum();
                assert!((again - cell).abs() < 1e-13);
            }
        }
    }

    #[test]
    fn a_matrix_of_nothing_has_nothing() {
        assert_eq!(eigen(&[vec![0.0; 2], vec![0.0; 2]]).0, [0.0, 0.0]);
    }
}
