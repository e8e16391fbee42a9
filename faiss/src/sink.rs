//! Where Faiss writes an index: into any writer, whose failures stay what they are. Faiss' own files tell of a full disk on
//! standard error, and nobody else.

use std::cell::Cell;
use std::ffi::c_void;
use std::io::{self, Write};
use std::ptr::{self, NonNull};
use std::slice;

use faiss_sys as sys;

use crate::Error;
use crate::raw::checked;

struct Sink<'a> {
    into: &'a mut dyn Write,
    failure: Option<io::Error>,
}

thread_local! {
    /// The sink of the write that goes on on this thread: Faiss hands its function nothing to know it by.
    static SINK: Cell<*mut Sink<'static>> = const { Cell::new(ptr::null_mut()) };
}

/// Writes an index. Not from within a writer.
///
/// # Errors
/// The writer's first failure, or an exception of Faiss.
pub(crate) fn write(index: NonNull<sys::FaissIndex>, into: &mut dyn Write) -> Result<(), Failure> {
    let mut sink = Sink { into, failure: None };
    let mut writer = ptr::null_mut();
    // SAFETY: the index lives; the writer is made, used and freed here; the sink outlives the call in which it is used.
    let written = unsafe {
        checked("make a writer", sys::faiss_CustomIOWriter_new(&raw mut writer, Some(take)))?;
        SINK.set((&raw mut sink).cast());
        let code = sys::faiss_write_index_custom(index.as_ptr(), writer.cast(), 0);
        SINK.set(ptr::null_mut());
        let written = checked("write an index", code);
        sys::faiss_CustomIOWriter_free(writer);
        written
    };
    match sink.failure {
        Some(failure) => Err(Failure::Io(failure)),
        None => Ok(written?),
    }
}

/// Why an index could not be written into a writer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The writer failed.
    #[error(transparent)]
    Io(io::Error),
    /// Faiss did.
    #[error(transparent)]
    Faiss(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Faiss(error)
    }
}

/// Takes `items` of `size` bytes; says how many it took, all or none.
unsafe extern "C" fn take(items_at: *const c_void, size: usize, items: usize) -> usize {
    if size * items == 0 {
        return items;
    }
    // SAFETY: `write` has set the sink on this thread, and Faiss passes that many bytes.
    let (sink, bytes) = unsafe { (&mut *SINK.get(), slice::from_raw_parts(items_at.cast(), size * items)) };
    match sink.into.write_all(bytes) {
        Ok(()) => items,
        Err(failure) => {
            sink.failure = Some(failure);
            0
        }
    }
}
