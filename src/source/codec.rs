//! Decompression by content: the name of a file says nothing.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BZIP2: &[u8] = b"BZh";
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
/// Compressed bytes read at once.
const BUFFER_BYTES: usize = 1 << 18;
/// Largest zstd window accepted, as a power of two: 2 GB, what `zstd --long=31` makes.
const ZSTD_WINDOW_LOG_MAX: u32 = 31;

/// Decompresses `inner` if its first bytes are those of gzip (any number of members), zstd (any number of frames), bzip2 or
/// xz (any number of streams).
///
/// # Errors
/// Whatever reading the first bytes gives.
pub fn decompress<R: Read + Send + 'static>(inner: R) -> io::Result<Box<dyn Read + Send>> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, inner);
    let head = reader.fill_buf()?;
    if head.starts_with(GZIP) {
        Ok(Box::new(MultiGzDecoder::new(reader)))
    } else if head.starts_with(ZSTD) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
        Ok(Box::new(decoder))
    } else if head.starts_with(BZIP2) {
        Ok(Box::new(bzip2::bufread::MultiBzDecoder::new(reader)))
    } else if head.starts_with(XZ) {
        Ok(Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(reader)))
    } else {
        Ok(Box::new(reader))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn bzip2(text: &str) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(text: &str) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: Vec<u8>) -> io::Result<String> {
        let mut text = String::new();
        decompress(io::Cursor::new(bytes))?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn plain_many_members_and_many_frames_read_alike() {
        assert_eq!(read(b"ab".to_vec()).unwrap(), "ab");
        assert_eq!(read([gzip("a"), gzip("b")].concat()).unwrap(), "ab");
        let frame = |text: &str| zstd::encode_all(text.as_bytes(), 1).unwrap();
        assert_eq!(read([frame("a"), frame("b")].concat()).unwrap(), "ab");
        assert_eq!(read([bzip2("a"), bzip2("b")].concat()).unwrap(), "ab");
        assert_eq!(read([xz("a"), xz("b")].concat()).unwrap(), "ab");
        assert_eq!(read(Vec::new()).unwrap(), "");
    }

    /// A download that broke off must never count as a short year.
    #[test]
    fn a_file_cut_short_is_an_error() {
        let whole = gzip(&"line\n".repeat(10_000));
        assert!(read(whole[..whole.len() - 9].to_vec()).is_err());
        let whole = zstd::encode_all("line\n".repeat(10_000).as_bytes(), 1).unwrap();
        assert!(read(whole[..whole.len() - 3].to_vec()).is_err());
        for whole in [bzip2(&"line\n".repeat(10_000)), xz(&"line\n".repeat(10_000))] {
            assert!(read(whole[..whole.len() - 5].to_vec()).is_err());
        }
    }
}
