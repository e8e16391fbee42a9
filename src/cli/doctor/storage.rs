//! The file system that a store is on, the store itself, and the clock that both go by.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use super::Finding;
use crate::cli::print::{shortest, size};
use crate::store::{Store, durable};

/// Bytes that are written to measure the disk.
const TRIAL_BYTES: usize = 64 << 20;
/// Free space below which a year may not fit.
const ROOMY_BYTES: u64 = 5 << 30;
/// Megabytes a second below which writing is what a run waits for.
const SLOW: f64 = 50.0;
/// Seconds that the clocks of this machine and of the file system may differ: digests are remembered by times.
const CLOCK_SECONDS: f64 = 2.0;

/// What is to be said of a store's place, and of the store if one is `wanted`.
pub fn findings(root: &Path, wanted: bool) -> Vec<Finding> {
    let place = existing(root);
    let mut findings = vec![space(&place)];
    findings.extend(disk(&place));
    if wanted {
        findings.extend(store(root));
    }
    findings
}

/// The nearest folder above that is there.
fn existing(path: &Path) -> PathBuf {
    let there = path.ancestors().find(|path| path.is_dir());
    there.filter(|path| !path.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_owned)
}

fn space(place: &Path) -> Finding {
    let told = rustix::fs::statvfs(place).map(|it| it.f_bavail * it.f_frsize);
    match told {
        Ok(free) if free >= ROOMY_BYTES => {
            Finding::good("space", format!("{} free at {}", size(free), shortest(place).display()))
        }
        Ok(free) => Finding::fair(
            "space",
            format!("{} free at {}", size(free), shortest(place).display()),
            "a million papers take some 2.5 GB in store and published sets: free space, or run `sciembed gc`",
        ),
        Err(error) => Finding::fair("space", format!("unknown: {error}"), "look with df"),
    }
}

/// Writes a file and removes it: whether that may be done, how fast it is, and what time the file gets.
fn disk(place: &Path) -> Vec<Finding> {
    let path = place.join(format!(".{}", durable::unique_name()));
    let (begun, now) = (Instant::now(), SystemTime::now());
    let tried = trial(&path);
    let seconds = begun.elapsed().as_secs_f64();
    let written = fs::metadata(&path).and_then(|it| it.modified());
    // What was not written is not there.
    let _ = fs::remove_file(&path);
    if let Err(error) = tried {
        let told = format!("{} cannot be written to: {error}", shortest(place).display());
        return vec![Finding::bad("disk", told, "make the folder writable, or set `store` to another")];
    }
    let rate = TRIAL_BYTES as f64 / 1e6 / seconds;
    let told = format!("{rate:.0} MB/s, written and synced");
    let disk = match rate {
        SLOW.. => Finding::good("disk", told),
        _ => Finding::fair("disk", told, "keep the store on a local disk, and publish to the slow one"),
    };
    vec![disk, clock(now, written)]
}

fn trial(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    // Not zeros, which some file systems do not write.
    let block: Vec<u8> = (0u32..1 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for _ in 0..TRIAL_BYTES / block.len() {
        file.write_all(&block)?;
    }
    file.sync_all()
}

fn clock(now: SystemTime, written: io::Result<SystemTime>) -> Finding {
    let Ok(written) = written else {
        return Finding::fair("clock", "the file system tells no times", "nothing: files are read again instead");
    };
    let off = match written.duration_since(now) {
        Ok(ahead) => ahead.as_secs_f64(),
        Err(behind) => -behind.duration().as_secs_f64(),
    };
    let time = chrono::DateTime::<chrono::Utc>::from(now).format("%Y-%m-%d %H:%M:%S UTC");
    // Writing takes a moment itself.
    if off > -CLOCK_SECONDS && off < 60.0 {
        return Finding::good("clock", format!("{time}; the file system goes by it"));
    }
    let told = format!("{time}; the file system's is {off:.1} s away");
    Finding::fair("clock", told, "let both machines keep time by NTP: locks and remembered digests go by it")
}

fn store(root: &Path) -> Vec<Finding> {
    if !["VERSION", "records", "blobs"].iter().any(|part| root.join(part).exists()) {
        return vec![Finding::good(
            "store",
            format!("{} is not there yet; an apply makes it", shortest(root).display()),
        )];
    }
    let opened = Store::open(root);
    let store = match opened {
        Ok(store) => store,
        Err(error) => {
            let told = format!("failed to {error}");
            return vec![Finding::bad(
                "store",
                told,
                "set `store` to another folder, or use the program that wrote it",
            )];
        }
    };
    let mut findings = Vec::new();
    findings.push(match store.records() {
        Ok(records) => Finding::good("store", format!("{}, {} records", shortest(root).display(), records.len())),
        Err(error) => Finding::bad(
            "store",
            format!("failed to {error}"),
            "`sciembed verify WORKFLOW --repair` says what is lost and mends it",
        ),
    });
    findings.extend(store.check_digest_cache().err().map(|error| {
        Finding::fair("store", format!("failed to {error}"), "delete that file: digests are then taken anew")
    }));
    let live = store.live_runs().unwrap_or_default();
    findings.extend(
        live.iter()
            .map(|it| Finding::good("runs", format!("{} is at work, process {} on {}", it.run, it.pid, it.host))),
    );
    findings.extend(
        store.gc_holder().map(|it| Finding::good("runs", format!("gc is at work, process {} on {}", it.pid, it.host))),
    );
    findings
}
