//! A file of checked records of one chain: what is damaged is cut off, for all of it can be had again.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use proctor_p2p::ChainId;

const MAGIC_BYTES: usize = 8;
/// Bytes before the first record: the magic number and the chain.
pub(crate) const PREFIX_BYTES: u64 = (MAGIC_BYTES + 32) as u64;

/// A file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {error}", .path.display())]
pub struct FileFailure {
    /// What was tried.
    pub action: &'static str,
    /// With what.
    pub path: PathBuf,
    /// What the system said.
    pub error: io::Error,
}

/// An open file with a prefix that names its kind and its chain.
#[derive(Debug)]
pub(crate) struct ChainFile {
    file: File,
    path: PathBuf,
}

impl ChainFile {
    /// Opens the file at `path`; begins it anew when it is of another chain or kind.
    pub(crate) fn open(
        path: &Path,
        magic: [u8; MAGIC_BYTES],
        chain: &ChainId,
    ) -> Result<Self, FileFailure> {
        let failed = |action, error| FileFailure { action, path: path.to_owned(), error };
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let file =
            Self { file: file.map_err(|error| failed("open", error))?, path: path.to_owned() };
        let mut prefix = magic.to_vec();
        prefix.extend_from_slice(&chain.0.0);
        let mut found = vec![0; prefix.len()];
        let whole = file.read(&mut found, 0)?;
        if !whole || found != prefix {
            file.cut(0)?;
            file.write(&prefix, 0)?;
        }
        Ok(file)
    }

    /// Returns how many bytes follow the prefix.
    pub(crate) fn len(&self) -> Result<u64, FileFailure> {
        let len = self.file.metadata().map_err(|error| self.failed("measure", error))?.len();
        Ok(len.saturating_sub(PREFIX_BYTES))
    }

    /// Fills `bytes` from `offset` of the file; `false` when it ends before.
    pub(crate) fn read(&self, bytes: &mut [u8], offset: u64) -> Result<bool, FileFailure> {
        match self.file.read_exact_at(bytes, offset) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(self.failed("read", error)),
        }
    }

    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> Result<(), FileFailure> {
        self.file.write_all_at(bytes, offset).map_err(|error| self.failed("write", error))
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&self) -> Result<(), FileFailure> {
        self.file.sync_data().map_err(|error| self.failed("sync", error))
    }

    /// Ends the file at `offset`.
    pub(crate) fn cut(&self, offset: u64) -> Result<(), FileFailure> {
        self.file.set_len(offset).map_err(|error| self.failed("shorten", error))
    }

    fn failed(&self, action: &'static str, error: io::Error) -> FileFailure {
        FileFailure { action, path: self.path.clone(), error }
    }
}
