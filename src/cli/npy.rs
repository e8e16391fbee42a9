//! NumPy's array format, version 1.0: `n x dim` float32, row-major, little-endian.
//!
//! Source: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::io::{self, Write};

/// The header's length, with everything before it, is a multiple of this.
const ALIGNMENT: usize = 64;

/// Writes `rows` vectors of `dim` components as one array.
///
/// # Errors
/// Whatever writing gives.
pub fn write(sink: &mut impl Write, rows: &[Vec<f32>], dim: usize) -> io::Result<()> {
    let description = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {dim}), }}", rows.len());
    // Magic, version and the length itself are 10 bytes, the newline is one.
    let total = (10 + description.len() + 1).next_multiple_of(ALIGNMENT);
    let length = u16::try_from(total - 10).expect("a header is a few hundred bytes");
    sink.write_all(b"\x93NUMPY\x01\x00")?;
    sink.write_all(&length.to_le_bytes())?;
    writeln!(sink, "{description:<width$}", width = total - 11)?;
    rows.iter().flatten().try_for_each(|component| sink.write_all(&component.to_le_bytes()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_header_is_aligned_and_tells_the_shape() {
        let mut bytes = Vec::new();
        super::write(&mut bytes, &[vec![1.0, 2.0]], 2).unwrap();
        let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert_eq!((10 + header) % 64, 0);
        assert!(String::from_utf8_lossy(&bytes).contains("'shape': (1, 2)"));
        assert_eq!(&bytes[10 + header..], [0, 0, 128, 63, 0, 0, 0, 64]);
    }
}
