//! What outlives a restart: the book of peers and the bans, each a file that is replaced whole.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::Node;
use crate::tasks::{Done, Name};

/// The file of the book.
pub(crate) const BOOK: &str = "peers";
/// The file of the bans.
pub(crate) const BANS: &str = "bans";

/// What is to be written. Without a directory nothing is.
#[derive(Debug, Default)]
pub(crate) struct Keep {
    directory: Option<PathBuf>,
    pub(super) book_due: bool,
    pub(super) bans_due: bool,
    writing: bool,
}

impl Keep {
    pub(crate) fn new(directory: Option<PathBuf>) -> Self {
        Self { directory, ..Self::default() }
    }

    pub(super) fn mark_all(&mut self) {
        (self.book_due, self.bans_due) = (true, true);
    }

    pub(super) fn done(&mut self) {
        self.writing = false;
    }

    /// Returns whether something is being written, or will be.
    pub(super) fn is_busy(&self) -> bool {
        self.writing || (self.directory.is_some() && (self.book_due || self.bans_due))
    }
}

impl Node {
    /// Writes one file at a time; what becomes due meanwhile is written after it.
    pub(super) fn begin_keep(&mut self) {
        let Some(directory) = self.keep.directory.clone().filter(|_| !self.keep.writing) else {
            return;
        };
        let now = self.now;
        let (name, bytes) = if std::mem::take(&mut self.keep.bans_due) {
            (BANS, self.peers.scorer().bans().to_bytes(now))
        } else if std::mem::take(&mut self.keep.book_due) {
            (BOOK, self.peers.book().to_bytes(now))
        } else {
            return;
        };
        self.keep.writing = true;
        let write = move || Done::Kept(replace(&directory, name, &bytes));
        self.sources.tasks.spawn_blocking(Name::Keep, write);
    }
}

/// Replaces a file whole: after a crash it is the old one or the new one.
fn replace(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let (new, path) = (directory.join(format!("{name}.new")), directory.join(name));
    let mut file = fs::File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    fs::File::open(directory)?.sync_all()
}

/// Returns what a file holds; `None` if there is none.
pub(crate) fn load(directory: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    match fs::read(directory.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts a file that cannot be used aside, so that somebody can look at it.
pub(crate) fn put_aside(directory: &Path, name: &str) -> io::Result<()> {
    fs::rename(directory.join(name), directory.join(format!("{name}.damaged")))
}
