//! `OutputDir`: a set of files that appears whole or is seen not to be.
//!
//! Files are written into a hidden folder beside the target, flushed to the disk and only then moved
//! in; `MANIFEST.json` goes last. While files are being moved, the target holds `INCOMPLETE.json`
//! and no manifest. So: a directory with a manifest is complete, one without is not.

mod manifest;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use proctor_types::Digest;
use serde::Serialize;

pub use manifest::{ListedFile, Manifest, verify_output};
use manifest::{Marker, names_of_ours};

const MANIFEST: &str = "MANIFEST.json";
const INCOMPLETE: &str = "INCOMPLETE.json";

/// Why a set of files cannot be written, or is not whole.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The path has no last part, or its parent folder does not exist.
    #[error("{}: cannot be made; name a new folder inside one that exists", .path.display())]
    NoParent {
        /// The path.
        path: PathBuf,
    },
    /// The path names a file.
    #[error("{}: is not a directory; name another", .path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The directory holds something that was not written here.
    #[error(
        "{}: holds {found:?}, which is not output of an earlier run; name a new or empty directory",
        .path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// An entry of it.
        found: String,
    },
    /// The name cannot be a file of the set.
    #[error("{name:?} cannot name an output file; use A-Z a-z 0-9 _ - . and no dot in front")]
    Name {
        /// The name.
        name: String,
    },
    /// The name was used already.
    #[error("output file {name:?} is written twice")]
    Repeated {
        /// The name.
        name: String,
    },
    /// A value cannot be written as JSON.
    #[error("{name}: {source}")]
    Json {
        /// The file.
        name: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The manifest or marker is not one of ours.
    #[error("{}: cannot be understood: {source}; name a new or empty directory", .path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The directory has no manifest: a run was cut off.
    #[error("{}: has no {MANIFEST}, so the output is not complete; run again", .path.display())]
    Incomplete {
        /// The directory.
        path: PathBuf,
    },
    /// A file is not what the manifest says.
    #[error("{}: is not the file that {MANIFEST} lists; run again", .path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refuses.
    #[error("{}: {doing}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the operating system says.
        source: io::Error,
    },
}

fn io_error(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> OutputError {
    move |source| OutputError::Io { path: path.to_owned(), doing, source }
}

/// A set of files on its way into a directory; dropped unfinished, it leaves nothing behind.
#[derive(Debug)]
pub struct OutputDir {
    target: PathBuf,
    staging: PathBuf,
    files: Vec<ListedFile>,
}

impl OutputDir {
    /// Begins a set of files for `target`: a new or empty directory, or one with output of before.
    ///
    /// Nothing in `target` changes before [`OutputDir::finish`].
    ///
    /// # Errors
    /// [`OutputError`] when the directory cannot be made or holds anything else.
    pub fn begin(target: &Path) -> Result<Self, OutputError> {
        names_of_ours(target)?;
        let no_parent = || OutputError::NoParent { path: target.to_owned() };
        let name = target.file_name().ok_or_else(no_parent)?.to_string_lossy();
        let parent = match target.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return Err(no_parent()),
        };
        if !parent.is_dir() {
            return Err(no_parent());
        }
        // The number keeps two sets of one process apart.
        static BEGUN: AtomicU64 = AtomicU64::new(0);
        let (process, number) = (std::process::id(), BEGUN.fetch_add(1, Ordering::Relaxed));
        let staging = parent.join(format!(".{name}.partial-{process}-{number}"));
        // What is there is left from a killed process whose number came round again.
        match fs::remove_dir_all(&staging) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(io_error(&staging, "removing what an earlier run left")(source));
            }
            Ok(()) | Err(_) => {}
        }
        fs::create_dir(&staging).map_err(io_error(&staging, "making a temporary directory"))?;
        Ok(Self { target: target.to_owned(), staging, files: Vec::new() })
    }

    /// Adds the file `name`, written by `write`.
    ///
    /// # Errors
    /// [`OutputError`] when the name is bad or used, or writing fails.
    pub fn file(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), OutputError> {
        if !is_file_name(name) {
            return Err(OutputError::Name { name: name.to_owned() });
        }
        if self.files.iter().any(|file| file.name.eq_ignore_ascii_case(name)) {
            return Err(OutputError::Repeated { name: name.to_owned() });
        }
        let listed = write_synced(&self.staging, name, write)?;
        self.files.push(listed);
        Ok(())
    }

    /// Adds the file `name` with `value` as JSON, indented, with a line feed at its end.
    ///
    /// # Errors
    /// [`OutputError`] when the name is bad or used, or writing fails.
    pub fn json(&mut self, name: &str, value: &impl Serialize) -> Result<(), OutputError> {
        let text = json_text(name, value)?;
        self.file(name, |writer| writer.write_all(text.as_bytes()))
    }

    /// Adds the file `name` with `rows` as CSV below a line of column names.
    ///
    /// # Errors
    /// [`OutputError`] when the name is bad or used, or writing fails.
    pub fn csv<const N: usize>(
        &mut self,
        name: &str,
        columns: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Result<(), OutputError> {
        self.file(name, |writer| {
            let mut writer = csv::Writer::from_writer(writer);
            writer.write_record(columns)?;
            rows.into_iter().try_for_each(|row| writer.write_record(row))?;
            writer.flush()
        })
    }

    /// Moves the files into the directory, and a manifest of them last.
    ///
    /// Files of the output that was there before are removed.
    ///
    /// # Errors
    /// [`OutputError`] when something foreign came into the directory meanwhile, or moving fails;
    /// the directory then has no manifest, and the next run may write into it.
    pub fn finish(self) -> Result<Manifest, OutputError> {
        let (steps, manifest) = self.steps()?;
        steps.iter().try_for_each(|step| self.take(step))?;
        Ok(manifest)
    }

    /// Returns what is to be done, in order, and the manifest that will then be there.
    ///
    /// However many steps are taken, the directory holds the old set, the new one, or no manifest.
    fn steps(&self) -> Result<(Vec<Step>, Manifest), OutputError> {
        let old = names_of_ours(&self.target)?;
        let new: BTreeSet<_> = self.files.iter().map(|file| file.name.clone()).collect();
        let manifest = Manifest::new(self.files.clone());
        let marker = Marker::new(old.union(&new).cloned().collect());
        write_value(&self.staging, INCOMPLETE, &marker)?;
        write_value(&self.staging, MANIFEST, &manifest)?;
        let mut steps = vec![Step::MakeDirectory, Step::MoveIn(INCOMPLETE.into()), Step::Sync];
        steps.extend([Step::Remove(MANIFEST.into()), Step::Sync]);
        steps.extend(old.difference(&new).cloned().map(Step::Remove));
        steps.extend(new.into_iter().map(Step::MoveIn));
        steps.extend([Step::Sync, Step::MoveIn(MANIFEST.into()), Step::Sync]);
        steps.extend([Step::Remove(INCOMPLETE.into()), Step::Sync]);
        Ok((steps, manifest))
    }

    fn take(&self, step: &Step) -> Result<(), OutputError> {
        let target = &self.target;
        match step {
            Step::MakeDirectory => match fs::create_dir(target) {
                Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                    Err(io_error(target, "making the directory")(source))
                }
                Ok(()) | Err(_) => Ok(()),
            },
            Step::MoveIn(name) => fs::rename(self.staging.join(name), target.join(name))
                .map_err(io_error(&target.join(name), "moving into place")),
            Step::Remove(name) => match fs::remove_file(target.join(name)) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    Err(io_error(&target.join(name), "removing")(source))
                }
                Ok(()) | Err(_) => Ok(()),
            },
            // The directory's own name lies in its parent, which also holds the temporary one.
            Step::Sync => {
                sync(target)?;
                sync(self.staging.parent().unwrap_or(Path::new(".")))
            }
        }
    }
}

/// A step of moving a set of files into its directory.
#[derive(Debug)]
enum Step {
    MakeDirectory,
    MoveIn(String),
    Remove(String),
    /// Wait until the names are on the disk: what follows must not get there first.
    Sync,
}

impl Drop for OutputDir {
    fn drop(&mut self) {
        // A folder that cannot be removed is hidden, and named as what it is.
        let _ = fs::remove_dir_all(&self.staging);
    }
}

fn is_file_name(name: &str) -> bool {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_reserved = [MANIFEST, INCOMPLETE].iter().any(|own| own.eq_ignore_ascii_case(name));
    !name.is_empty()
        && name.len() <= 128
        && !name.starts_with('.')
        && name.chars().all(is_safe)
        && !is_reserved
}

fn json_text(name: &str, value: &impl Serialize) -> Result<String, OutputError> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|source| OutputError::Json { name: name.to_owned(), source })?;
    text.push('\n');
    Ok(text)
}

fn write_value(folder: &Path, name: &str, value: &impl Serialize) -> Result<(), OutputError> {
    let text = json_text(name, value)?;
    write_synced(folder, name, |writer| writer.write_all(text.as_bytes())).map(|_| ())
}

/// Counts and hashes what goes through.
struct Hashed<W> {
    writer: W,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let len = self.writer.write(buffer)?;
        self.hasher.update(buffer.get(..len).unwrap_or_default());
        self.bytes += u64::try_from(len).unwrap_or(u64::MAX);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn write_synced(
    folder: &Path,
    name: &str,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<ListedFile, OutputError> {
    let path = folder.join(name);
    let failed = || io_error(&path, "writing");
    let file = File::create(&path).map_err(failed())?;
    let mut writer =
        Hashed { writer: BufWriter::new(file), hasher: blake3::Hasher::new(), bytes: 0 };
    write(&mut writer).and_then(|()| writer.flush()).map_err(failed())?;
    writer.writer.get_ref().sync_all().map_err(failed())?;
    let digest = Digest(*writer.hasher.finalize().as_bytes());
    Ok(ListedFile { name: name.to_owned(), bytes: writer.bytes, blake3: digest.to_string() })
}

/// Makes the names in a directory durable.
fn sync(folder: &Path) -> Result<(), OutputError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io_error(folder, "flushing to disk"))
}
