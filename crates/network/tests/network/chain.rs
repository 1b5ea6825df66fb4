//! A chain in memory: headers and bodies in vectors, certificates of one sequencer, a state that folds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use proctor_network::chain::Done;
use proctor_network::{Chain, News, NewsSender, Start};
use proctor_p2p::message::{INLINE_BODY_BYTES_MAX, Outcome};
use proctor_p2p::server::{Available, Loaded, Read};
use proctor_p2p::sync::{StoreFailed, StoreJob, Stored};
use proctor_p2p::{
    Certificate, Certified, ChainId, Committee, Facts, Failure, Header, NodeId, Signature, Tip,
    Trust,
};
use proctor_ratchet_crypto::Identity;
use proctor_types::{Digest, UtcMs};

pub(crate) const CHAIN: ChainId = ChainId(Digest([7; 32]));

pub(crate) fn identity(number: u8) -> Arc<Identity> {
    Arc::new(Identity::from_seed(&[number; 32]).unwrap())
}

pub(crate) fn node_id(identity: &Identity) -> NodeId {
    NodeId(identity.public())
}

#[derive(Default)]
struct Log {
    headers: Vec<Header>,
    bodies: Vec<Vec<u8>>,
    certificates: BTreeMap<u64, Certificate>,
    /// After each commit.
    states: Vec<Digest>,
}

impl Log {
    fn tip(&self) -> Tip {
        self.headers.last().map_or(Tip::GENESIS, |header| header.tip(&CHAIN))
    }

    fn state(&self) -> Digest {
        self.states.last().copied().unwrap_or(Digest::of(b"empty"))
    }

    fn height(&self) -> u64 {
        self.headers.len() as u64
    }

    fn push(&mut self, header: Header, body: Vec<u8>) {
        let state = Digest::of(&[&self.state().0[..], &Digest::of(&body).0].concat());
        self.headers.push(header);
        self.bodies.push(body);
        self.states.push(state);
    }

    fn at(&self, height: u64) -> Option<usize> {
        let at = usize::try_from(height.checked_sub(1)?).unwrap();
        (at < self.headers.len()).then_some(at)
    }

    fn certified(&self, height: u64) -> Option<Certified> {
        let header = self.headers[self.at(height)?].clone();
        Some(Certified { header, certificate: self.certificates.get(&height)?.clone() })
    }

    fn read(&self, read: Read) -> Option<Loaded> {
        Some(match read {
            Read::Headers { from, to } => {
                let (last, certificate) = self.certificates.range(from..=to).next_back()?;
                let headers = self.headers[self.at(from)?..=self.at(*last)?].to_vec();
                Loaded::Headers(headers, certificate.clone())
            }
            Read::Bodies { bodies, bytes_max } => {
                let mut bytes = 0;
                let mut found = Vec::new();
                for body in bodies {
                    if bytes > bytes_max {
                        break;
                    }
                    let here = self.at(body.height).map(|at| self.bodies[at].clone());
                    let right = here.filter(|bytes| Digest::of(bytes) == body.digest);
                    bytes += right.as_ref().map_or(0, Vec::len) as u64;
                    found.push(right);
                }
                Loaded::Bodies(found)
            }
            Read::Commit(height) => Loaded::Commit(self.certified(height)?),
            Read::Manifest(_) | Read::Chunk { .. } => return None,
        })
    }
}

/// The chain of one node.
pub(crate) struct MemoryChain {
    sequencer: Arc<Identity>,
    is_sequencer: bool,
    log: Mutex<Log>,
    news: Mutex<Option<NewsSender>>,
    /// What the sequencer was handed.
    pub(crate) inputs: Mutex<Vec<(NodeId, Vec<u8>)>>,
    /// Heights after which a store fails like a disk.
    pub(crate) breaks_after: Mutex<Option<u64>>,
    /// How many reads and how many stores panic from now on.
    pub(crate) panics: Mutex<Panics>,
}

#[derive(Default)]
pub(crate) struct Panics {
    pub(crate) reads: u32,
    pub(crate) stores: u32,
}

/// Tells whether one more of `left` is due; the lock is free again when the panic comes.
fn one_of(left: &mut u32) -> bool {
    let due = *left > 0;
    *left = left.saturating_sub(1);
    due
}

impl MemoryChain {
    pub(crate) fn new(sequencer: &Arc<Identity>, is_sequencer: bool) -> Arc<Self> {
        Arc::new(Self {
            sequencer: Arc::clone(sequencer),
            is_sequencer,
            log: Mutex::default(),
            news: Mutex::default(),
            inputs: Mutex::default(),
            breaks_after: Mutex::default(),
            panics: Mutex::default(),
        })
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }

    pub(crate) fn tell(&self, news: NewsSender) {
        *self.news.lock().unwrap() = Some(news);
    }

    fn send(&self, news: News) {
        if let Some(sender) = &*self.news.lock().unwrap() {
            sender.send(news);
        }
    }

    /// Orders a commit, as the sequencer.
    pub(crate) fn produce(&self, body: Vec<u8>) -> u64 {
        let short = Some(body.clone()).filter(|body| body.len() <= INLINE_BODY_BYTES_MAX);
        let commit = {
            let mut log = self.log();
            self.append(&mut log, body);
            self.certify(&mut log);
            log.certified(log.height()).unwrap()
        };
        let height = commit.header.height;
        self.send(News::Produced { commit, body: short });
        height
    }

    /// Orders many commits before anybody hears of them; every 256th and the last are certified.
    pub(crate) fn grow(&self, commits: u64) {
        let mut log = self.log();
        for number in 0..commits {
            let body = format!("body {number} of a history").into_bytes();
            self.append(&mut log, body);
            if log.height().is_multiple_of(256) || number + 1 == commits {
                self.certify(&mut log);
            }
        }
    }

    fn append(&self, log: &mut Log, body: Vec<u8>) {
        let tip = log.tip();
        let facts = Facts {
            record_before: Digest([9; 32]),
            body: Digest::of(&body),
            body_len: u32::try_from(body.len()).unwrap(),
            time: UtcMs(tip.time.0 + 1),
            state_before: log.state(),
            next_committee: None,
        };
        log.push(Header::after(&tip, facts).unwrap(), body);
    }

    fn certify(&self, log: &mut Log) {
        let tip = log.tip();
        let certificate = Certificate::solo(&CHAIN, 0, &tip, |bytes| {
            Signature(self.sequencer.sign(bytes).unwrap())
        });
        log.certificates.insert(tip.height, certificate);
    }

    pub(crate) fn height(&self) -> u64 {
        self.log().height()
    }

    pub(crate) fn state(&self) -> Digest {
        self.log().state()
    }

    pub(crate) fn certified(&self, height: u64) -> Option<Certified> {
        self.log().certified(height)
    }

    fn take(&self, commits: Vec<(Header, Vec<u8>)>, ends: Vec<Certificate>) -> Option<News> {
        let mut log = self.log();
        for (header, body) in commits {
            assert_eq!(header.follows(&log.tip()), Ok(()), "V3");
            assert_eq!(Digest::of(&body), header.facts.body, "V4");
            assert_eq!(header.facts.state_before, log.state(), "V5");
            log.push(header, body);
        }
        log.certificates.extend(ends.into_iter().map(|end| (end.height, end)));
        let breaks = self.breaks_after.lock().unwrap().is_some_and(|height| log.height() > height);
        (!breaks).then(|| News::Applied { height: log.height(), state: log.state() })
    }
}

impl Chain for MemoryChain {
    fn start(&self) -> Start {
        let log = self.log();
        let committee = Committee::new(0, vec![node_id(&self.sequencer)]).unwrap();
        let trust = Trust { chain: CHAIN, committee };
        Start { trust, stored: log.tip(), applied: log.height() }
    }

    fn read(&self, read: Read) -> Loaded {
        let due = one_of(&mut self.panics.lock().unwrap().reads);
        assert!(!due, "a read that panics, for a test");
        self.log().read(read).unwrap_or(Loaded::Missing)
    }

    fn store(&self, job: StoreJob) -> Result<Stored, StoreFailed> {
        let due = one_of(&mut self.panics.lock().unwrap().stores);
        assert!(!due, "a store that panics, for a test");
        match job {
            StoreJob::Commits { commits, certificates } => {
                let news = self.take(commits, certificates).ok_or(StoreFailed::Disk)?;
                self.send(news);
                Ok(Stored::Done)
            }
            StoreJob::Begin(_)
            | StoreJob::Chunk { .. }
            | StoreJob::Install(_)
            | StoreJob::Attest(_) => Err(StoreFailed::NoRoom),
        }
    }

    fn available(&self) -> Available {
        let log = self.log();
        let tip = log.certificates.last_key_value().map_or(0, |(height, _)| *height);
        Available { tip, lowest_body: 1, lowest_header: 1, latest_snapshot: 0 }
    }

    fn submit(&self, from: NodeId, input: Vec<u8>, done: Done) {
        if !self.is_sequencer {
            return done(Err(Failure::BadRequest));
        }
        if input == b"panic" {
            panic!("a sequencer that panics, for a test");
        }
        if input == b"lose" {
            return;
        }
        self.inputs.lock().unwrap().push((from, input.clone()));
        let height = self.produce(input);
        done(Ok(Outcome::Committed { height, ordinal: 0 }));
    }
}
