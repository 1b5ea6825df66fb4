//! The node's key: a file with a seed, made at the first start, by which other nodes know this one.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proctor_p2p::NodeId;
use proctor_ratchet_crypto::Identity;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("cannot {action} the node's key {}: {error}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file holds something else.
    #[error("{} is no node key: it is to hold 64 hexadecimal digits", .0.display())]
    Malformed(PathBuf),
    /// The library or the system refused.
    #[error("a node key cannot be made: {0}")]
    Refused(String),
}

/// The key of a node.
#[derive(Debug)]
pub struct NodeKey(Arc<Identity>);

impl NodeKey {
    /// Reads the key at `path`.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let text = fs::read_to_string(path).map_err(|error| KeyError::Io {
            action: "read",
            path: path.to_owned(),
            error,
        })?;
        let seed = seed(text.trim()).ok_or_else(|| KeyError::Malformed(path.to_owned()))?;
        Self::of(&seed)
    }

    /// Reads the key at `path`, or makes one there that only its owner can read.
    ///
    /// # Errors
    /// [`KeyError`]; a file that is there is never replaced.
    pub fn load_or_make(path: &Path) -> Result<Self, KeyError> {
        match Self::load(path) {
            Err(KeyError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| KeyError::Refused(error.to_string()))?;
        let key = Self::of(&seed)?;
        let failed = |error| KeyError::Io { action: "write", path: path.to_owned(), error };
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(path);
        let mut file = file.map_err(failed)?;
        let text: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(file, "{text}").and_then(|()| file.sync_all()).map_err(failed)?;
        Ok(key)
    }

    fn of(seed: &[u8; 32]) -> Result<Self, KeyError> {
        let identity = Identity::from_seed(seed);
        let identity = identity.map_err(|error| KeyError::Refused(error.to_string()))?;
        Ok(Self(Arc::new(identity)))
    }

    /// Returns what other nodes know this one by.
    #[must_use]
    pub fn id(&self) -> NodeId {
        NodeId(self.0.public())
    }

    /// Returns the key for handshakes and certificates.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.0)
    }
}

fn seed(text: &str) -> Option<[u8; 32]> {
    let mut seed = [0; 32];
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in seed.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let value = digit(*pair.first()?)? * 16 + digit(*pair.get(1)?)?;
        *byte = u8::try_from(value).ok()?;
    }
    Some(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        let made = NodeKey::load_or_make(&path).unwrap().id();
        assert_eq!(NodeKey::load_or_make(&path).unwrap().id(), made);
        assert_eq!(NodeKey::load(&path).unwrap().id(), made);
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_no_key_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        for text in ["", "abc", &"g".repeat(64), &"a".repeat(66)] {
            fs::write(&path, text).unwrap();
            assert!(matches!(NodeKey::load_or_make(&path), Err(KeyError::Malformed(_))), "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
