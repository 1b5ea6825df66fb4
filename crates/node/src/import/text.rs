//! `TextFile`: the lines of one file, gzip or plain, hashed and with bounded memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use proctor_types::Digest;

/// The longest line that is read, in bytes without its line feed; a longer one is refused.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Why a file cannot be read as text, whatever it was meant to hold.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is no such file.
    #[error("{}: no such file; check the path", .file.display())]
    Missing {
        /// The file.
        file: PathBuf,
    },
    /// The path names a directory.
    #[error("{}: is a directory; name one file in it", .file.display())]
    Directory {
        /// The path.
        file: PathBuf,
    },
    /// The path names a pipe, a socket or a device.
    #[error("{}: is not a regular file; save its contents to a file first", .file.display())]
    NotRegular {
        /// The path.
        file: PathBuf,
    },
    /// The operating system refuses to read.
    #[error("{}: cannot be read: {source}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The name ends in `.gz` but the contents are something else.
    #[error("{}: is named .gz but is not gzip; remove .gz from its name or fetch it again", .file.display())]
    NotGzip {
        /// The file.
        file: PathBuf,
    },
    /// The gzip data ends early or fails its own checks.
    #[error("{}, after line {line}: the gzip data is damaged or cut off ({source}); fetch the file again", .file.display())]
    DamagedGzip {
        /// The file.
        file: PathBuf,
        /// How many lines were whole.
        line: u64,
        /// What the decoder says.
        source: io::Error,
    },
    /// The file has no bytes, or nothing but blank lines.
    #[error("{}: is empty; a header line and rows are needed", .file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// There is a header line and nothing after it.
    #[error("{}: has a header but no rows; leave the file out", .file.display())]
    NoRows {
        /// The file.
        file: PathBuf,
    },
    /// The header line is not text.
    #[error("{}, line {line}: is not text; a CSV header line is needed", .file.display())]
    NotText {
        /// The file.
        file: PathBuf,
        /// The line.
        line: u64,
    },
    /// A line is longer than [`LINE_BYTES_MAX`].
    #[error("{}, line {line}: is longer than {LINE_BYTES_MAX} bytes; this is not a table of short rows", .file.display())]
    LineTooLong {
        /// The file.
        file: PathBuf,
        /// The line.
        line: u64,
    },
    /// The decompressed contents are larger than the reader's limit.
    #[error("{}: holds more than {limit} bytes when decompressed; split the file", .file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// The header lacks a column that the reader needs.
    #[error("{}, line {line}: there is no column {column:?}; the columns are {found}", .file.display())]
    MissingColumn {
        /// The file.
        file: PathBuf,
        /// The header's line.
        line: u64,
        /// The column that is needed.
        column: &'static str,
        /// The columns that are there.
        found: String,
    },
    /// The header names a needed column twice, so a row has no one value.
    #[error("{}, line {line}: column {column:?} occurs twice; remove one", .file.display())]
    RepeatedColumn {
        /// The file.
        file: PathBuf,
        /// The header's line.
        line: u64,
        /// The column.
        column: &'static str,
    },
}

/// How far a reader is, in bytes of the file as it lies on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read so far; runs ahead of the rows by what is buffered.
    pub read: u64,
    /// Bytes of the whole file.
    pub total: u64,
}

impl std::ops::Add for Progress {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            read: self.read.saturating_add(other.read),
            total: self.total.saturating_add(other.total),
        }
    }
}

struct Counted {
    file: File,
    read: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read(buffer)?;
        self.read = self.read.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        Ok(len)
    }
}

enum Contents {
    Plain(BufReader<Counted>),
    Gzip(Box<BufReader<MultiGzDecoder<BufReader<Counted>>>>),
}

impl Contents {
    fn as_buf_read(&mut self) -> &mut dyn BufRead {
        match self {
            Self::Plain(reader) => reader,
            Self::Gzip(reader) => reader,
        }
    }

    fn bytes_read(&self) -> u64 {
        match self {
            Self::Plain(reader) => reader.get_ref().read,
            Self::Gzip(reader) => reader.get_ref().get_ref().get_ref().read,
        }
    }
}

/// One open file, read forward once.
pub(super) struct TextFile {
    path: PathBuf,
    contents: Contents,
    hasher: blake3::Hasher,
    total: u64,
    line: u64,
    buffer: Vec<u8>,
    /// How many decompressed bytes may still be read, and the limit it started from.
    budget: u64,
    limit: u64,
}

impl TextFile {
    /// Opens `path`, which may hold at most `limit` decompressed bytes.
    pub(super) fn open(path: &Path, limit: u64) -> Result<Self, FileError> {
        let file = || path.to_owned();
        let unreadable = |source: io::Error| {
            if source.kind() == io::ErrorKind::NotFound {
                FileError::Missing { file: file() }
            } else {
                FileError::Unreadable { file: file(), source }
            }
        };
        // Asked before opening: to open a pipe that nobody writes to would wait for ever.
        let metadata = std::fs::metadata(path).map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(FileError::Directory { file: file() });
        }
        if !metadata.is_file() {
            return Err(FileError::NotRegular { file: file() });
        }
        let counted = Counted { file: File::open(path).map_err(unreadable)?, read: 0 };
        let mut raw = BufReader::with_capacity(64 * 1024, counted);
        let is_gzip = raw.fill_buf().map_err(unreadable)?.starts_with(&GZIP_MAGIC);
        let is_named_gzip = path.extension().is_some_and(|name| name.eq_ignore_ascii_case("gz"));
        if metadata.len() == 0 {
            return Err(FileError::Empty { file: file() });
        }
        if is_named_gzip && !is_gzip {
            return Err(FileError::NotGzip { file: file() });
        }
        let contents = if is_gzip {
            Contents::Gzip(Box::new(BufReader::new(MultiGzDecoder::new(raw))))
        } else {
            Contents::Plain(raw)
        };
        Ok(Self {
            path: file(),
            contents,
            hasher: blake3::Hasher::new(),
            total: metadata.len(),
            line: 0,
            buffer: Vec::new(),
            budget: limit,
            limit,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the number of the line that was read last, counted from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    pub(super) fn progress(&self) -> Progress {
        Progress { read: self.contents.bytes_read().min(self.total), total: self.total }
    }

    /// Returns the hash of the decompressed bytes that were read so far.
    pub(super) fn digest(&self) -> Digest {
        Digest(*self.hasher.finalize().as_bytes())
    }

    /// Returns the next line without its line end, or `None` at the end of the file.
    pub(super) fn next_line(&mut self) -> Result<Option<&[u8]>, FileError> {
        self.buffer.clear();
        // One byte more than the longest line and its line feed tells a longest line from a longer.
        let most = u64::try_from(LINE_BYTES_MAX + 1).unwrap_or(u64::MAX);
        let read = self.contents.as_buf_read().take(most).read_until(b'\n', &mut self.buffer);
        if let Err(source) = read {
            return Err(self.failure(source));
        }
        if self.buffer.is_empty() {
            return Ok(None);
        }
        self.line = self.line.saturating_add(1);
        self.hasher.update(&self.buffer);
        let len = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        let Some(budget) = self.budget.checked_sub(len) else {
            return Err(FileError::TooLarge { file: self.path.clone(), limit: self.limit });
        };
        self.budget = budget;
        let line = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        if line.len() > LINE_BYTES_MAX {
            return Err(FileError::LineTooLong { file: self.path.clone(), line: self.line });
        }
        Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// Returns the first byte that is not white space, without reading past it.
    ///
    /// Looks only into the first buffer: of one that is all blanks, it returns a blank.
    pub(super) fn first_byte(&mut self) -> Result<Option<u8>, FileError> {
        let first = match self.contents.as_buf_read().fill_buf() {
            Ok(bytes) => {
                let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
                let solid = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
                solid.or(bytes.first()).copied()
            }
            Err(source) => return Err(self.failure(source)),
        };
        Ok(first)
    }

    /// Reads what is left, for its hash.
    pub(super) fn drain(&mut self) -> Result<(), FileError> {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.failure(source)),
            }
        }
    }

    /// Returns what a failed read of this file means.
    pub(super) fn failure(&self, source: io::Error) -> FileError {
        let file = self.path.clone();
        if self.budget == 0 && source.kind() == io::ErrorKind::FileTooLarge {
            return FileError::TooLarge { file, limit: self.limit };
        }
        // An error of the operating system carries its number; what has none is the decoder's.
        match self.contents {
            Contents::Gzip(_) if source.raw_os_error().is_none() => {
                FileError::DamagedGzip { file, line: self.line, source }
            }
            Contents::Gzip(_) | Contents::Plain(_) => FileError::Unreadable { file, source },
        }
    }
}

/// Reads the decompressed bytes, for formats without lines.
impl Read for TextFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.contents.as_buf_read().read(buffer)?;
        let bytes = buffer.get(..len).unwrap_or_default();
        self.hasher.update(bytes);
        let Some(budget) = self.budget.checked_sub(u64::try_from(len).unwrap_or(u64::MAX)) else {
            self.budget = 0;
            return Err(io::ErrorKind::FileTooLarge.into());
        };
        self.budget = budget;
        Ok(len)
    }
}
