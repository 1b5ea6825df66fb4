//! `proctor key`: make a trader's key, show whose it is, check who signed a message.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use proctor_keys::key_file::{self, KeyFile};
use proctor_keys::{Address, Prefix, PublicKey, Seed, Signature, Wrapping};
use zeroize::Zeroizing;

use crate::Verdict;

/// The largest message that is read from a file, in bytes.
const MESSAGE_LEN_MAX: usize = 16 * 1024 * 1024;

/// What `proctor key` is asked for.
#[derive(Subcommand)]
pub(crate) enum Args {
    /// Make a new key and write it to a file that only its owner can read; prints the address.
    New {
        /// The file to write; one that exists is never overwritten.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Show the address and the public key of a key file; never the secret.
    Show {
        /// The key file.
        file: PathBuf,
    },
    /// Did this address sign this message? Both plain and `<Bytes>`-wrapped signatures count.
    Verify {
        /// SS58 address, or public key in hexadecimal, of who is said to have signed.
        #[arg(long, value_name = "ADDRESS")]
        address: String,
        /// The signature in hexadecimal, with or without 0x.
        #[arg(long, value_name = "HEX")]
        signature: String,
        /// The message, as text.
        #[arg(
            long,
            value_name = "TEXT",
            required_unless_present = "file",
            conflicts_with = "file"
        )]
        message: Option<String>,
        /// The file whose bytes are the message.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

pub(crate) fn run(args: &Args) -> Result<Verdict> {
    match args {
        Args::New { out } => new(out),
        Args::Show { file } => show(file),
        Args::Verify { address, signature, message, file } => {
            let message = match (message, file) {
                (Some(text), _) => text.as_bytes().to_vec(),
                (None, Some(file)) => read(file, MESSAGE_LEN_MAX)?.to_vec(),
                (None, None) => bail!("give the message: --message TEXT or --file FILE"),
            };
            verify(address, signature, &message)
        }
    }
}

fn new(path: &Path) -> Result<Verdict> {
    let mut entropy = Zeroizing::new([0; 32]);
    getrandom::fill(entropy.as_mut_slice()).context("the system gives no entropy")?;
    let key = KeyFile::new(Seed::new(entropy), Prefix::GENERIC);
    let mut file = create(path)?;
    let written = file.write_all(key.to_text().as_bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| sync_folder(path)).with_context(|| {
        format!("cannot write {}: remove what is there and try again", path.display())
    })?;
    say!("{}", key.address());
    Ok(Verdict::Good)
}

/// Creates a file that nobody else can read, not even for a moment.
fn create(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| {
        if error.kind() == ErrorKind::AlreadyExists {
            anyhow::anyhow!(
                "{} exists, and a key that is overwritten is lost: choose another name",
                path.display()
            )
        } else {
            anyhow::Error::new(error).context(format!("cannot create {}", path.display()))
        }
    })
}

/// Makes the name of a new file as durable as its content.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if cfg!(unix) { File::open(folder.unwrap_or(Path::new(".")))?.sync_all() } else { Ok(()) }
}

fn show(path: &Path) -> Result<Verdict> {
    let text = read(path, key_file::TEXT_LEN_MAX)?;
    let key = KeyFile::parse(&text)
        .with_context(|| format!("{} is not a key file that can be used", path.display()))?;
    say!("address    {}", key.address());
    say!("public key 0x{}", proctor_keys::hex::encode(&key.address().account));
    say!("network    {}", key.address().prefix.number());
    if others_can_read(path) {
        note!(
            "warning: others than the owner can read {}: chmod 600 it, and make a new key if they \
             may have",
            path.display()
        );
    }
    Ok(Verdict::Good)
}

#[cfg(unix)]
fn others_can_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn others_can_read(_: &Path) -> bool {
    false
}

/// Returns what is in a file of at most `most` bytes.
fn read(path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>> {
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    // All of it at once: a buffer that grows leaves copies of a secret behind.
    let length = file.metadata().with_context(cannot)?.len();
    let room = usize::try_from(length).map_or(most, |length| length.min(most)) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).with_context(cannot)?;
    if bytes.len() > most {
        bail!("{} has more than {most} bytes", path.display());
    }
    Ok(bytes)
}

fn verify(address: &str, signature: &str, message: &[u8]) -> Result<Verdict> {
    let key = public_key(address)?;
    let signature = Signature::from_hex(signature)?;
    match key.verify(message, &signature) {
        Ok(Wrapping::Plain) => say!("good: signed by this key"),
        Ok(Wrapping::Bytes) => say!("good: signed by this key, in <Bytes>"),
        Err(error) => {
            say!("NOT good: {error}");
            return Ok(Verdict::Bad);
        }
    }
    Ok(Verdict::Good)
}

/// Returns the key that is meant: 64 digits are one in hexadecimal, everything else an address.
fn public_key(text: &str) -> Result<PublicKey> {
    let is_hex = text.starts_with("0x") || text.len() == 64;
    if is_hex {
        return Ok(PublicKey::from_hex(text)?);
    }
    let address: Address = text.parse().with_context(|| format!("{text:?} is not an address"))?;
    PublicKey::new(&address.account).with_context(|| format!("{text} cannot sign"))
}
