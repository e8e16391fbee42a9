//! An index of Faiss, and every call that is made of it. All that is unsafe is here, in `sink.rs`, and
//! where Faiss calls back for sums, in `blas.rs` and `lapack.rs`.
//!
//! Exceptions of C++ are caught by Faiss' C interface and come back as [`Error::Faiss`].

use std::ffi::{CStr, CString, c_int};
use std::io::Write;
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};

use faiss_sys as sys;

use crate::Error;
use crate::factory::{Factory, Search};
use crate::sink::{self, Failure};

unsafe extern "C" {
    fn omp_set_num_threads(threads: c_int);
}

/// Maps lists where they lie in the file ("ilod", and the bit that skips them while reading).
const MAP_LISTS: c_int = 0x646f_0008;
/// Maps codes and links where they lie in the file. `MEM_MAP` of Faiss' Rust wrapper is another flag by now.
const MAP_CODES: c_int = 0x200;
/// Reads everything into memory.
const READ: c_int = 0;

/// Owns an index. It can move between threads, and is used by one at a time: a search counts what it does in places
/// that all searches share.
pub(crate) struct Raw {
    index: NonNull<sys::FaissIndex>,
    not_sync: PhantomData<*mut ()>,
}

// SAFETY: Faiss ties nothing of an index to the thread that made it.
unsafe impl Send for Raw {}

impl Raw {
    pub fn new(factory: &Factory, dim: usize) -> Result<Self, Error> {
        supported()?;
        let text = CString::new(factory.to_string()).expect("a factory string has no zeros");
        let dim = c_int::try_from(dim).expect("a length was checked");
        let metric = sys::FaissMetricType_METRIC_INNER_PRODUCT;
        // SAFETY: the string lives through the call, which writes the pointer or throws.
        Self::made("make an index", |index| unsafe { sys::faiss_index_factory(index, dim, text.as_ptr(), metric) })
    }

    /// Reads a file that `file::describe` has found whole.
    pub fn read(path: &Path, kind: Factory, mapped: bool) -> Result<Self, Error> {
        supported()?;
        let flags = match (mapped, kind.search) {
            (false, _) => READ,
            (true, Search::Ivf { .. }) => MAP_LISTS,
            (true, _) => MAP_CODES,
        };
        let name = c_path(path)?;
        // SAFETY: the string lives through the call, which writes the pointer or throws.
        Self::made("read an index", |index| unsafe { sys::faiss_read_index_fname(name.as_ptr(), flags, index) })
    }

    fn made(doing: &'static str, make: impl FnOnce(*mut *mut sys::FaissIndex) -> c_int) -> Result<Self, Error> {
        let mut index = ptr::null_mut();
        checked(doing, make(&raw mut index))?;
        let index = NonNull::new(index).ok_or_else(|| Error::Faiss { doing, message: "nothing".into() })?;
        Ok(Self { index, not_sync: PhantomData })
    }

    pub fn train(&mut self, vectors: &[f32], dim: usize, threads: usize) -> Result<(), Error> {
        set_threads(threads);
        let rows = count(vectors.len() / dim);
        // SAFETY: the slice holds that many vectors of the index' length.
        checked("train", unsafe { sys::faiss_Index_train(self.index.as_ptr(), rows, vectors.as_ptr()) })
    }

    pub fn add(&mut self, vectors: &[f32], dim: usize, threads: usize) -> Result<(), Error> {
        set_threads(threads);
        let rows = count(vectors.len() / dim);
        // SAFETY: the slice holds that many vectors of the index' length.
        checked("add vectors", unsafe { sys::faiss_Index_add(self.index.as_ptr(), rows, vectors.as_ptr()) })
    }

    /// Writes, for each query, the rows of its `k` best into `rows`, -1 where there are no more, and their scores.
    pub fn search(
        &self,
        queries: &[f32],
        dim: usize,
        k: usize,
        threads: usize,
        rows: &mut [i64],
        scores: &mut [f32],
    ) -> Result<(), Error> {
        set_threads(threads);
        let queries_given = queries.len() / dim;
        assert!(rows.len() == queries_given * k && scores.len() == rows.len(), "room for {k} hits of each query");
        // SAFETY: the slices hold that many queries and hits.
        checked("search", unsafe {
            sys::faiss_Index_search(
                self.index.as_ptr(),
                count(queries_given),
                queries.as_ptr(),
                count(k),
                scores.as_mut_ptr(),
                rows.as_mut_ptr(),
            )
        })
    }

    /// Sets one of the parameters that Faiss knows by name.
    pub fn set(&mut self, name: &CStr, value: usize) -> Result<(), Error> {
        let mut space = ptr::null_mut();
        // SAFETY: what is made here is used and freed here.
        unsafe {
            checked("make a space of parameters", sys::faiss_ParameterSpace_new(&raw mut space))?;
            let code =
                sys::faiss_ParameterSpace_set_index_parameter(space, self.index.as_ptr(), name.as_ptr(), value as f64);
            let set = checked("set a parameter", code);
            sys::faiss_ParameterSpace_free(space);
            set
        }
    }

    pub fn write(&self, into: &mut dyn Write) -> Result<(), Failure> {
        sink::write(self.index, into)
    }

    pub fn rows(&self) -> usize {
        // SAFETY: reads a number of a live index.
        usize::try_from(unsafe { sys::faiss_Index_ntotal(self.index.as_ptr()) }).unwrap_or(0)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: made by Faiss, freed once.
        unsafe { sys::faiss_Index_free(self.index.as_ptr()) }
    }
}

/// The number of threads belongs to the calling thread, so it is set before every call.
fn set_threads(threads: usize) {
    let threads = c_int::try_from(threads.max(1)).unwrap_or(c_int::MAX);
    // SAFETY: changes a number of this thread.
    unsafe { omp_set_num_threads(threads) }
}

fn count(number: usize) -> sys::idx_t {
    sys::idx_t::try_from(number).expect("no slice is that long")
}

pub(crate) fn checked(doing: &'static str, code: c_int) -> Result<(), Error> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: the words belong to this thread until its next call, and are copied here.
    let message = unsafe {
        let words = sys::faiss_get_last_error();
        if words.is_null() {
            "an error without words".into()
        } else {
            CStr::from_ptr(words).to_string_lossy().into_owned()
        }
    };
    Err(Error::Faiss { doing, message })
}

fn c_path(path: &Path) -> Result<CString, Error> {
    CString::new(path.as_os_str().as_bytes()).map_err(|error| Error::file(path, error.into()))
}

/// Faiss is compiled for x86-64-v3; without this, older processors would end the program.
#[cfg(target_arch = "x86_64")]
fn supported() -> Result<(), Error> {
    let has = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("bmi2");
    if has { Ok(()) } else { Err(Error::Processor) }
}

#[cfg(not(target_arch = "x86_64"))]
fn supported() -> Result<(), Error> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_of_c_plus_plus_is_an_error() {
        let mut raw = Raw::new(&"Flat".parse().unwrap(), 4).unwrap();
        let told = raw.set(c"nprobe", 3).unwrap_err().to_string();
        assert!(
            told.starts_with("set a parameter: Faiss says: ") && told.contains("could not set parameter"),
            "{told}"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("foreign");
        std::fs::write(&path, "IxFI and so on").unwrap();
        let told = Raw::read(&path, "Flat".parse().unwrap(), false).err().unwrap().to_string();
        assert!(told.starts_with("read an index: Faiss says: ") && told.contains("read error"), "{told}");
    }
}
