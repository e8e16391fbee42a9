//! NumPy's array format, version 1.0: row-major, little-endian.
//!
//! An export is `embeddings.npy`, and `bibcodes.txt` with the bibcode of row n in line n. Signs (`binary`) are packed as NumPy's
//! `packbits` packs them; everything else is floats.
//!
//! Source: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::io::{self, Write};
use std::path::Path;

use super::part::{RowWriter, Sink};
use super::{Document, Part};
use crate::dataset::Description;
use crate::encoding::{Dtype, SetDtype, encode};

/// The header's length, with everything before it, is a multiple of this.
const ALIGNMENT: usize = 64;

/// Writes the header of an array of `rows x columns` elements of this type, such as `<f4`. The elements follow.
///
/// # Errors
/// Whatever writing gives.
pub fn write_header(sink: &mut impl Write, element: &str, rows: usize, columns: usize) -> io::Result<()> {
    let description = format!("{{'descr': '{element}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    // Magic, version and the length itself are 10 bytes, the newline is one.
    let total = (10 + description.len() + 1).next_multiple_of(ALIGNMENT);
    let length = u16::try_from(total - 10).expect("a header is a few hundred bytes");
    sink.write_all(b"\x93NUMPY\x01\x00")?;
    sink.write_all(&length.to_le_bytes())?;
    writeln!(sink, "{description:<width$}", width = total - 11)
}

/// An array under way.
pub struct Array {
    vectors: Sink,
    bibcodes: Sink,
    dtype: SetDtype,
    buffer: Vec<u8>,
}

impl Array {
    /// New files in a folder.
    ///
    /// # Errors
    /// Whatever opening and writing give.
    pub fn create(folder: &Path, dataset: &Description, dtype: Option<Dtype>) -> io::Result<Self> {
        let dtype = dtype.map_or_else(|| as_published(dataset.dtype), SetDtype::of);
        let element = match dtype {
            SetDtype::F16 => "<f2",
            SetDtype::Binary => "|u1",
            _ => "<f4",
        };
        let mut vectors = Sink::create(folder.join("embeddings.npy"))?;
        write_header(&mut vectors, element, dataset.rows, dtype.elements(dataset.dim))?;
        Ok(Self { vectors, bibcodes: Sink::create(folder.join("bibcodes.txt"))?, dtype, buffer: Vec::new() })
    }
}

/// The element type that NumPy has for a published one.
fn as_published(dtype: SetDtype) -> SetDtype {
    match dtype {
        SetDtype::F16 | SetDtype::Binary => dtype,
        SetDtype::F32 | SetDtype::Bf16 | SetDtype::I8 => SetDtype::F32,
    }
}

impl RowWriter for Array {
    fn add(&mut self, document: &Document) -> io::Result<()> {
        self.buffer.clear();
        encode(document.vector, self.dtype, &mut self.buffer);
        self.vectors.write_all(&self.buffer)?;
        writeln!(self.bibcodes, "{}", document.bibcode)
    }

    fn finish(self: Box<Self>) -> io::Result<Vec<Part>> {
        Ok(vec![self.vectors.finish()?, self.bibcodes.finish()?])
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_header_is_aligned_and_tells_the_shape() {
        let mut bytes = Vec::new();
        super::write_header(&mut bytes, "<f4", 1, 2).unwrap();
        assert_eq!(bytes.len() % 64, 0);
        assert_eq!(usize::from(u16::from_le_bytes([bytes[8], bytes[9]])), bytes.len() - 10);
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("'shape': (1, 2)") && text.contains("'descr': '<f4'") && text.ends_with('\n'));
    }
}
