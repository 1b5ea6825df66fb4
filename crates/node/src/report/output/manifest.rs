//! What an output directory says about itself: `MANIFEST.json` when complete, else a marker.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{INCOMPLETE, MANIFEST, OutputError, io_error, is_file_name};

/// The most bytes of a manifest that are read.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A file of a complete set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedFile {
    /// Its name in the directory.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// BLAKE3 hash of its bytes, in hexadecimal.
    pub blake3: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Format {
    #[serde(rename = "proctor-output-1")]
    V1,
}

/// The contents of `MANIFEST.json`: every file of the set, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: Format,
    /// The files, sorted by name.
    pub files: Vec<ListedFile>,
}

impl Manifest {
    pub(super) fn new(mut files: Vec<ListedFile>) -> Self {
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Self { format: Format::V1, files }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum MarkerFormat {
    #[serde(rename = "proctor-output-1-incomplete")]
    V1,
}

/// The contents of `INCOMPLETE.json`: the names that may be there while files are moved.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Marker {
    format: MarkerFormat,
    names: BTreeSet<String>,
}

impl Marker {
    pub(super) fn new(names: BTreeSet<String>) -> Self {
        Self { format: MarkerFormat::V1, names }
    }
}

fn read_value<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, OutputError> {
    let file = match File::open(path) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io_error(path, "reading"))?,
    };
    let mut text = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut text).map_err(io_error(path, "reading"))?;
    let manifest_error = |source| OutputError::Manifest { path: path.to_owned(), source };
    serde_json::from_slice(&text).map(Some).map_err(manifest_error)
}

/// Returns the names of the files of earlier output in `target`, if it holds nothing else.
pub(super) fn names_of_ours(target: &Path) -> Result<BTreeSet<String>, OutputError> {
    let entries = match fs::read_dir(target) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(source) if source.kind() == io::ErrorKind::NotADirectory => {
            return Err(OutputError::NotADirectory { path: target.to_owned() });
        }
        entries => entries.map_err(io_error(target, "listing"))?,
    };
    let mut names = BTreeSet::new();
    if let Some(manifest) = read_value::<Manifest>(&target.join(MANIFEST))? {
        names.extend(manifest.files.into_iter().map(|file| file.name));
    }
    if let Some(marker) = read_value::<Marker>(&target.join(INCOMPLETE))? {
        names.extend(marker.names);
    }
    // These names will be removed: one that leads out of the directory must not be believed.
    if let Some(name) = names.iter().find(|name| !is_file_name(name)) {
        return Err(OutputError::Foreign { path: target.to_owned(), found: name.clone() });
    }
    for entry in entries {
        let entry = entry.map_err(io_error(target, "listing"))?;
        let found = entry.file_name().to_string_lossy().into_owned();
        let is_ours = names.contains(&found) || [MANIFEST, INCOMPLETE].contains(&found.as_str());
        let kind = entry.file_type().map_err(io_error(target, "listing"))?;
        if !is_ours || !kind.is_file() {
            return Err(OutputError::Foreign { path: target.to_owned(), found });
        }
    }
    Ok(names)
}

/// Returns the manifest of a complete directory whose files are all as listed.
///
/// # Errors
/// [`OutputError`] names the first file that is missing, changed or not listed.
pub fn verify_output(target: &Path) -> Result<Manifest, OutputError> {
    let Some(manifest) = read_value::<Manifest>(&target.join(MANIFEST))? else {
        return Err(OutputError::Incomplete { path: target.to_owned() });
    };
    names_of_ours(target)?;
    for listed in &manifest.files {
        let path = target.join(&listed.name);
        let mut hasher = blake3::Hasher::new();
        let bytes = File::open(&path)
            .and_then(|mut file| io::copy(&mut file, &mut hasher))
            .map_err(io_error(&path, "reading"))?;
        if bytes != listed.bytes || hasher.finalize().to_hex().as_str() != listed.blake3 {
            return Err(OutputError::Changed { path });
        }
    }
    Ok(manifest)
}
