//! A sequencer and its followers over logs in memory: commits, headers, bodies, and a sync by hand.

use std::path::Path;
use std::sync::Arc;

use ed25519_zebra::SigningKey;
use proctor_chain::{ChainStore, Role, Signer};
use proctor_commit_log::storage::Storage;
use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_engine::Input;
use proctor_engine::input::Roster;
use proctor_engine::rulebook::VANTA;
use proctor_p2p::certificate::check_range;
use proctor_p2p::message::BodyId;
use proctor_p2p::server::{Loaded, Read};
use proctor_p2p::{Certificate, Header, NodeId, Signature, Tip};
use proctor_sequencer::{Batch, Sequencer, SystemClock, Writer, WriterConfig};
use proctor_types::{TraderId, UtcMs};

pub(crate) const T0: i64 = 1_762_178_400_000;

pub(crate) fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

pub(crate) fn node() -> NodeId {
    NodeId(key().verification_key().into())
}

/// A node: its log, its writer and its chain.
pub(crate) struct Node {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) sequencer: Sequencer,
    pub(crate) chain: ChainStore,
}

impl Node {
    pub(crate) fn open(storage: Arc<dyn Storage>, directory: &Path, role: Role) -> Self {
        Self::open_with(storage, directory, role, WriterConfig::default())
    }

    /// Opens a node with a writer of its own configuration.
    pub(crate) fn open_with(
        storage: Arc<dyn Storage>,
        directory: &Path,
        role: Role,
        config: WriterConfig,
    ) -> Self {
        let writer = Writer::open(Arc::clone(&storage), config).unwrap().writer;
        let sequencer = Sequencer::start(writer, SystemClock, 16);
        let chain = ChainStore::open(directory, &storage, sequencer.handle(), node(), role);
        Self { chain: chain.unwrap(), storage, sequencer }
    }

    /// Orders commits `from..to` and follows them.
    pub(crate) fn order(&self, from: u32, to: u32) {
        for number in from..to {
            let Batch { at, inputs } = batch(number);
            self.sequencer.handle().submit_at(at, inputs).unwrap().wait().unwrap();
        }
        let newest = self.chain.follow().unwrap().expect("a sequencer certifies");
        assert_eq!(newest.header.height, u64::from(to));
    }

    pub(crate) fn close(self) -> Arc<dyn Storage> {
        drop(self.chain);
        self.sequencer.stop().close().unwrap();
        self.storage
    }
}

pub(crate) fn sequencer() -> Role {
    Role::Sequencer(Signer::new(|bytes| Signature(key().sign(bytes).into())))
}

pub(crate) fn memory() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::default())
}

pub(crate) fn batch(number: u32) -> Batch {
    let trader = |number: u32| TraderId::new(&format!("trader-{number}")).unwrap();
    let at = UtcMs(T0 + i64::from(number) * 1_000);
    let inputs = if number == 0 {
        vec![Input::Rulebook(VANTA.into())]
    } else {
        vec![Input::Roster(Roster::new(u64::from(number), (0..number % 7).map(trader).collect()))]
    };
    Batch { at, inputs }
}

/// Returns the range that `node` serves from `from` on, checked against `after`.
pub(crate) fn range(node: &Node, after: &Tip, to: u64) -> (Vec<Header>, Certificate) {
    let from = after.height + 1;
    let Loaded::Headers(headers, certificate) =
        node.chain.read(Read::Headers { from, to }).unwrap()
    else {
        panic!("no headers from {from} to {to}")
    };
    let trust = node.chain.stand().trust;
    check_range(&trust, after, &headers, &certificate).expect("a range that proves itself");
    (headers, certificate)
}

pub(crate) fn bodies(node: &Node, headers: &[Header]) -> Vec<Vec<u8>> {
    let Loaded::Bodies(bodies) = node.chain.read(wanted(headers)).unwrap() else {
        panic!("no bodies")
    };
    bodies.into_iter().map(|body| body.expect("it is here")).collect()
}

/// Brings `follower` to the height of `source`, range by range.
pub(crate) fn sync(follower: &Node, source: &Node) {
    let end = source.chain.stand().tip.height;
    loop {
        let tip = follower.chain.stand().tip;
        if tip.height == end {
            return;
        }
        let to = (tip.height / 256 + 1) * 256;
        let (headers, certificate) = range(source, &tip, to.min(end));
        let commits = headers.iter().cloned().zip(bodies(source, &headers)).collect();
        follower.chain.take_over(commits, &[certificate]).expect("it follows");
    }
}

/// Asks for the bodies of `headers`.
pub(crate) fn wanted(headers: &[Header]) -> Read {
    let id = |header: &Header| BodyId { height: header.height, digest: header.facts.body };
    Read::Bodies { bodies: headers.iter().map(id).collect(), bytes_max: u64::MAX }
}
