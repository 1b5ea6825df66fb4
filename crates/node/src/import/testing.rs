//! Files for the tests of the readers: made ones, broken ones, and recorded ones where present.

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

/// A folder of made files, removed at the end of the test.
pub(super) struct Files(TempDir);

impl Files {
    pub(super) fn new() -> Self {
        Self(TempDir::new().expect("a temporary folder can be made"))
    }

    pub(super) fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, contents).expect("the folder can be written to");
        path
    }
}

pub(super) fn gzip(contents: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(contents.as_ref()).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

/// Returns the recorded file `name`, or says loudly that the test is skipped.
pub(super) fn recorded(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("PROCTOR_SHARED").map_or_else(beside, PathBuf::from);
    let path = shared.join("data").join(name);
    if path.exists() {
        return Some(path);
    }
    println!("SKIPPED: {} is absent; set PROCTOR_SHARED to its folder", path.display());
    None
}
