//! Certificates that a follower was shown: those that end a range for good, the newest for a while.

use std::collections::BTreeMap;
use std::path::Path;

use proctor_p2p::certificate::RANGE_MAX;
use proctor_p2p::codec::{Canonical as _, Reader as Decoder};
use proctor_p2p::{Certificate, ChainId};

use crate::file::{ChainFile, FileFailure, PREFIX_BYTES};

const MAGIC: [u8; 8] = *b"PRCERTS1";
/// Of the heights that end no range, the certificates of so many are kept.
const RECENT_MAX: usize = 1_024;
/// Length and checksum before a certificate.
const FRAME_BYTES: usize = 8;
/// The longest certificate that is read back.
const CERTIFICATE_BYTES_MAX: usize = 16 << 10;

/// Certificates by height.
#[derive(Debug)]
pub(crate) struct Certificates {
    file: ChainFile,
    end: u64,
    by_height: BTreeMap<u64, Certificate>,
    /// How many of them end no range.
    recent: usize,
}

impl Certificates {
    /// Opens the file at `path`; what is damaged in it and behind that is forgotten.
    pub(crate) fn open(path: &Path, chain: &ChainId) -> Result<Self, FileFailure> {
        let file = ChainFile::open(path, MAGIC, chain)?;
        let mut own = Self { file, end: PREFIX_BYTES, by_height: BTreeMap::new(), recent: 0 };
        while let Some((certificate, bytes)) = own.next()? {
            own.end += bytes;
            own.keep(certificate);
        }
        own.file.cut(own.end)?;
        Ok(own)
    }

    fn next(&self) -> Result<Option<(Certificate, u64)>, FileFailure> {
        let mut frame = [0; FRAME_BYTES];
        if !self.file.read(&mut frame, self.end)? {
            return Ok(None);
        }
        let [a, b, c, d, rest @ ..] = frame;
        let (len, checksum) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes(rest));
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > CERTIFICATE_BYTES_MAX {
            return Ok(None);
        }
        let mut bytes = vec![0; len];
        if !self.file.read(&mut bytes, self.end + FRAME_BYTES as u64)?
            || crc32c::crc32c(&bytes) != checksum
        {
            return Ok(None);
        }
        let mut decoder = Decoder::new(&bytes);
        let certificate = Certificate::read(&mut decoder).ok();
        Ok(certificate.map(|certificate| (certificate, (FRAME_BYTES + len) as u64)))
    }

    /// Keeps certificates, all of them checked.
    pub(crate) fn add(&mut self, certificates: &[Certificate]) -> Result<(), FileFailure> {
        if certificates.is_empty() {
            // A sync costs as much when there is nothing to be written.
            return Ok(());
        }
        let mut bytes = Vec::new();
        for certificate in certificates {
            let mut one = Vec::new();
            certificate.write(&mut one);
            let len = u32::try_from(one.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&len.to_le_bytes());
            bytes.extend_from_slice(&crc32c::crc32c(&one).to_le_bytes());
            bytes.extend_from_slice(&one);
        }
        self.file.write(&bytes, self.end)?;
        self.file.sync()?;
        self.end += bytes.len() as u64;
        certificates.iter().for_each(|certificate| self.keep(certificate.clone()));
        Ok(())
    }

    fn keep(&mut self, certificate: Certificate) {
        let height = certificate.height;
        if self.by_height.insert(height, certificate).is_none() && !ends_range(height) {
            self.recent += 1;
        }
        if self.recent > RECENT_MAX {
            let oldest = self.by_height.keys().copied().find(|height| !ends_range(*height));
            self.recent -=
                usize::from(oldest.and_then(|old| self.by_height.remove(&old)).is_some());
        }
    }

    /// Returns the certificate of the highest height in `from..=to` that has one.
    pub(crate) fn last_within(&self, from: u64, to: u64) -> Option<&Certificate> {
        if from > to {
            return None;
        }
        self.by_height.range(from..=to).next_back().map(|(_, certificate)| certificate)
    }
}

fn ends_range(height: u64) -> bool {
    height.is_multiple_of(RANGE_MAX as u64)
}
