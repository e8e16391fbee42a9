//! Disks of a test's own: small ones, or ones that cannot be written to.
//!
//! Only root may mount, but in a user namespace of its own every process is root. Only a program with one thread can
//! enter one, so the test program is started again inside, for one test that is marked `ignore`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::env::say;

const UNSHARE: [&str; 3] = ["--user", "--map-root-user", "--mount"];

/// Runs an ignored test of this program, named with its module, where it may mount. Says so where that is not permitted.
pub fn run(test: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mount = ["mount", "-t", "tmpfs", "none"];
    if let Err(reason) = output(Command::new("unshare").args(UNSHARE).args(mount).arg(folder.path())) {
        say(format!("SKIPPED: {test}: this machine does not let a test mount: {reason}"));
        return;
    }
    let program = std::env::current_exe().unwrap();
    let arguments = [test, "--exact", "--ignored", "--nocapture"];
    match output(Command::new("unshare").args(UNSHARE).arg(program).args(arguments)) {
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(told.contains("1 passed"), "there is no test {test}: {told}");
            std::io::stderr().write_all(&output.stderr).unwrap();
        }
        Err(told) => panic!("{told}"),
    }
}

/// What a command gave, or what it said when it failed.
fn output(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let told = || [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat().trim().to_owned();
    if output.status.success() { Ok(output) } else { Err(told()) }
}

/// A file system in memory. It goes away with the namespace.
pub struct Disk(TempDir);

impl Disk {
    /// A new one with these mount options, such as `size=64k`.
    pub fn mount(options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        output(Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(folder.path())).unwrap();
        Self(folder)
    }

    /// Changes its options.
    pub fn remount(&self, options: &str) {
        // Named with what is mounted: otherwise mount adds the options that stand, with owners that have no name here.
        output(Command::new("mount").args(["-o", &format!("remount,{options}"), "none"]).arg(self.path())).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A test that failed may still hold it.
        let _ = Command::new("umount").arg(self.path()).status();
    }
}
