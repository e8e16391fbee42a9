//! The processor, memory and DuckDB.

use std::fs;

use sciembed_kernel::Level;

use super::Finding;
use crate::cli::environment::cores;
use crate::cli::print::size;

/// Memory that a run with a small model needs, and some for the rest of the machine.
const ROOMY_BYTES: u64 = 2 << 30;

/// What there is.
pub fn findings() -> Vec<Finding> {
    vec![processor(), memory()]
}

fn processor() -> Finding {
    let cores = cores();
    let plural = if cores == 1 { "" } else { "s" };
    let told = |with: &str| format!("{cores} core{plural}, {with}");
    match Level::best() {
        Level::Avx512 => Finding::good("processor", told("AVX-512 with VNNI")),
        Level::AvxVnni => Finding::good("processor", told("AVX2 with AVX-VNNI")),
        Level::Avx2 => Finding::good("processor", told("AVX2")),
        Level::Portable if cfg!(target_arch = "x86_64") => Finding::bad(
            "processor",
            told("without AVX2"),
            "Faiss and the kernels for x86-64 need AVX2 and FMA: take a machine of 2013 or later",
        ),
        Level::Portable => Finding::good("processor", told("what every processor of this kind has")),
    }
}

fn memory() -> Finding {
    let told = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let bytes = |name: &str| -> Option<u64> {
        let line = told.lines().find(|line| line.starts_with(name))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    };
    match (bytes("MemTotal:"), bytes("MemAvailable:")) {
        (Some(total), Some(free)) if free >= ROOMY_BYTES => {
            Finding::good("memory", format!("{} of {} available", size(free), size(total)))
        }
        (Some(total), Some(free)) => Finding::fair(
            "memory",
            format!("{} of {} available", size(free), size(total)),
            "end other programs, or set `[embed.NAME.onnx] sessions = 1`",
        ),
        _ => Finding::fair("memory", "this system does not tell", "nothing: a run tells if there is not enough"),
    }
}
