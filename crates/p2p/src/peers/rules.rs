//! Who may connect by decision of the operator: the mode of the node, its required and known peers, its
//! deny list.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::address::{Endpoint, Subnet};
use super::bytes::{Reader, put_subnet};
use super::stored::{StoredError, open, seal};
use crate::NodeId;

/// Keys, and as many subnets, on the deny list.
pub const DENIED_MAX: usize = 4096;
const KIND: &str = "proctor deny list";
const VERSION: u8 = 1;

/// Whom a node has to do with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// With anybody.
    #[default]
    Open,
    /// With peers that the configuration names, and the committee.
    Known,
    /// With the committee, and peers that the configuration wants dialled.
    CommitteeOnly,
}

/// How a peer stands to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// The committee, and peers that the configuration wants dialled: dialled for ever, never capped.
    Required,
    /// Named by the configuration.
    Known,
    /// Anybody else.
    Unknown,
}

/// Keys and subnets that this node has nothing to do with, by decision of its operator. It stands above
/// everything else, required peers included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DenyList {
    keys: BTreeSet<NodeId>,
    subnets: BTreeSet<Subnet>,
}

/// The deny list is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deny list holds {DENIED_MAX} entries of a kind: remove some, or deny a whole subnet")]
pub struct DenyListFull;

impl DenyList {
    /// Denies a node.
    ///
    /// # Errors
    /// [`DenyListFull`] if there is no room.
    pub fn deny_key(&mut self, key: NodeId) -> Result<(), DenyListFull> {
        if self.keys.len() >= DENIED_MAX && !self.keys.contains(&key) {
            return Err(DenyListFull);
        }
        self.keys.insert(key);
        Ok(())
    }

    /// Denies a subnet; one address is the subnet with the longest prefix.
    ///
    /// # Errors
    /// [`DenyListFull`] if there is no room.
    pub fn deny_subnet(&mut self, subnet: Subnet) -> Result<(), DenyListFull> {
        if self.subnets.len() >= DENIED_MAX && !self.subnets.contains(&subnet) {
            return Err(DenyListFull);
        }
        self.subnets.insert(subnet);
        Ok(())
    }

    /// Allows a node again; returns whether it was denied.
    pub fn allow_key(&mut self, key: &NodeId) -> bool {
        self.keys.remove(key)
    }

    /// Allows a subnet again; returns whether it was denied.
    pub fn allow_subnet(&mut self, subnet: &Subnet) -> bool {
        self.subnets.remove(subnet)
    }

    /// Returns whether the node is denied.
    #[must_use]
    pub fn denies_key(&self, key: &NodeId) -> bool {
        self.keys.contains(key)
    }

    /// Returns whether the address lies in a subnet that is denied.
    #[must_use]
    pub fn denies_ip(&self, ip: IpAddr) -> bool {
        self.subnets.iter().any(|subnet| subnet.contains(ip))
    }

    /// Returns the denied nodes and subnets.
    #[must_use]
    pub fn entries(&self) -> (&BTreeSet<NodeId>, &BTreeSet<Subnet>) {
        (&self.keys, &self.subnets)
    }

    /// Returns the list as bytes: number of keys 4, the keys, number of subnets 4, the subnets.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        let mut content = count(self.keys.len()).to_vec();
        self.keys.iter().for_each(|key| content.extend_from_slice(&key.0));
        content.extend_from_slice(&count(self.subnets.len()));
        self.subnets.iter().for_each(|subnet| put_subnet(&mut content, subnet));
        seal(KIND, VERSION, &content)
    }

    /// Reads what [`DenyList::to_bytes`] returned.
    ///
    /// # Errors
    /// [`StoredError`] if the bytes are not such a list.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StoredError> {
        let mut reader = Reader(open(KIND, VERSION, bytes)?);
        let list = Self::read(&mut reader).ok_or_else(|| StoredError::Entry {
            kind: KIND,
            entry: 0,
            why: "the list is cut short or too long".to_owned(),
        })?;
        match reader.0.len() {
            0 => Ok(list),
            bytes => Err(StoredError::Trailing { kind: KIND, bytes }),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let mut list = Self::default();
        for _ in 0..reader.u32()? {
            list.deny_key(NodeId(reader.array()?)).ok()?;
        }
        for _ in 0..reader.u32()? {
            list.deny_subnet(reader.subnet()?).ok()?;
        }
        Some(list)
    }
}

/// What the operator and the chain decide of peers. A new one replaces the old one as a whole.
#[derive(Clone, Debug, Default)]
pub struct PeerRules {
    /// Whom the node has to do with.
    pub mode: Mode,
    /// The keys of this and the next committee.
    pub committee: BTreeSet<NodeId>,
    /// Peers of the configuration that are dialled for ever, and where. A committee member may stand
    /// here too.
    pub fixed: BTreeMap<NodeId, Vec<Endpoint>>,
    /// Peers of the configuration that may connect.
    pub known: BTreeSet<NodeId>,
    /// Whom the node has nothing to do with.
    pub deny: DenyList,
}

impl PeerRules {
    /// Returns how `peer` stands to this node.
    #[must_use]
    pub fn standing(&self, peer: &NodeId) -> Standing {
        if self.fixed.contains_key(peer) || self.committee.contains(peer) {
            Standing::Required
        } else if self.known.contains(peer) {
            Standing::Known
        } else {
            Standing::Unknown
        }
    }

    /// Returns the peers that are dialled for ever: at most [`super::book::REQUIRED_MAX`], those of the
    /// configuration first. The configuration is checked against the limit when it is read.
    #[must_use]
    pub fn required(&self) -> BTreeSet<NodeId> {
        let all = self.fixed.keys().chain(&self.committee);
        let mut required = BTreeSet::new();
        for key in all {
            if required.len() < super::book::REQUIRED_MAX && !self.deny.denies_key(key) {
                required.insert(*key);
            }
        }
        required
    }

    /// Returns whether the mode lets `peer` connect or be dialled.
    #[must_use]
    pub fn allows(&self, peer: &NodeId) -> bool {
        let standing = self.standing(peer);
        match self.mode {
            Mode::Open => true,
            Mode::Known => standing <= Standing::Known,
            Mode::CommitteeOnly => standing == Standing::Required,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_says_who_may_connect() {
        let key = |byte| NodeId([byte; 32]);
        let mut rules = PeerRules { known: [key(3)].into(), ..PeerRules::default() };
        rules.committee.insert(key(1));
        rules.fixed.insert(key(2), Vec::new());
        for (mode, allowed) in [
            (Mode::Open, [true, true, true, true]),
            (Mode::Known, [true, true, true, false]),
            (Mode::CommitteeOnly, [true, true, false, false]),
        ] {
            rules.mode = mode;
            assert_eq!([1, 2, 3, 4].map(|byte| rules.allows(&key(byte))), allowed, "{mode:?}");
        }
        assert_eq!(rules.required(), [key(1), key(2)].into());
        rules.deny.deny_key(key(1)).unwrap();
        assert_eq!(rules.required(), [key(2)].into());
    }

    #[test]
    fn a_deny_list_is_stored_whole_or_not_read() {
        let mut list = DenyList::default();
        list.deny_key(NodeId([7; 32])).unwrap();
        list.deny_subnet(Subnet::around([10, 1, 2, 3].into(), 8)).unwrap();
        list.deny_subnet(Subnet::host([1, 2, 3, 4].into())).unwrap();
        let stored = list.to_bytes();
        assert_eq!(DenyList::from_bytes(&stored), Ok(list.clone()));
        for cut in 0..stored.len() {
            assert!(DenyList::from_bytes(&stored[..cut]).is_err());
        }
        assert!(list.denies_key(&NodeId([7; 32])) && !list.denies_key(&NodeId([8; 32])));
        assert!(list.denies_ip([10, 9, 9, 9].into()) && list.denies_ip([1, 2, 3, 4].into()));
        assert!(!list.denies_ip([1, 2, 3, 5].into()) && !list.denies_ip([11, 0, 0, 1].into()));
        assert!(list.allow_subnet(&Subnet::around([10, 0, 0, 0].into(), 8)));
        assert!(!list.denies_ip([10, 9, 9, 9].into()));
        for index in 0..DENIED_MAX + 5 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&index.to_be_bytes());
            assert_eq!(list.deny_key(NodeId(key)).is_err(), index >= DENIED_MAX - 1, "{index}");
        }
    }
}
