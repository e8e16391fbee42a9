//! How a matrix of weights lies in memory for the tiles: in panels of 64 columns, one behind the other, each with its rows
//! in order, so that a product reads it from the first byte to the last. The last panel is filled up.
//!
//! Bytes lie in groups of four rows, as one instruction multiplies them.

/// Columns of a panel.
pub const PANEL: usize = 64;
/// Rows whose bytes of one column lie together.
pub const GROUP: usize = 4;
/// What is added to a weight from -64 to 63 to make it an unsigned byte; also the byte that stands for no weight.
pub const OFFSET: i32 = 64;

/// Numbers of a packed matrix of f32.
pub const fn floats(rows: usize, columns: usize) -> usize {
    columns.next_multiple_of(PANEL) * rows
}

/// Bytes of a packed matrix of int8.
pub const fn bytes(rows: usize, columns: usize) -> usize {
    columns.next_multiple_of(PANEL) * rows.next_multiple_of(GROUP)
}

/// Packs a matrix of `rows x columns`, row-major.
pub fn pack_floats(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut packed = vec![0.0; floats(rows, columns)];
    for (row, values) in matrix.chunks_exact(columns.max(1)).enumerate() {
        for (column, &value) in values.iter().enumerate() {
            packed[(column / PANEL * rows + row) * PANEL + column % PANEL] = value;
        }
    }
    packed
}

/// Packs a matrix of `rows x columns`, row-major, of weights from -64 to 63.
pub fn pack_bytes(matrix: &[i8], rows: usize, columns: usize) -> Vec<u8> {
    let mut packed = vec![OFFSET as u8; bytes(rows, columns)];
    let groups = rows.div_ceil(GROUP);
    for (row, values) in matrix.chunks_exact(columns.max(1)).enumerate() {
        for (column, &value) in values.iter().enumerate() {
            let group = column / PANEL * groups + row / GROUP;
            packed[(group * PANEL + column % PANEL) * GROUP + row % GROUP] = (i32::from(value) + OFFSET) as u8;
        }
    }
    packed
}

/// The sum of each column, `rows x columns`, row-major. Exact: 24 bits hold the sum of 262,144 such weights.
pub fn column_sums(matrix: &[i8], columns: usize) -> Vec<f32> {
    let mut sums = vec![0i32; columns];
    for row in matrix.chunks_exact(columns.max(1)) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += i32::from(value));
    }
    sums.into_iter().map(|sum| sum as f32).collect()
}
