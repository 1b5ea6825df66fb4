//! `BanList`: which keys and hosts are turned away, for how long, and how often they were before.
//!
//! A ban lasts ten minutes, and twice as long with each repetition within seven days. What is stored
//! is the time that is left: a node that was down for an hour still has the ban's rest before it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::address::Subnet;
use super::bytes::{Reader, put_subnet};
use super::stored::{StoredError, open, seal};
use crate::NodeId;
use crate::moment::{DAY_MS, MINUTE_MS, Moment};

/// Keys on the list at most.
pub const BANNED_KEYS_MAX: usize = 4096;
/// Hosts on the list at most.
pub const BANNED_HOSTS_MAX: usize = 4096;
/// The first ban of a key, and any of a host.
pub const BAN_MS: u64 = 10 * MINUTE_MS;
/// The longest ban that a fault brings, and how long a ban is remembered for the next one.
pub const BAN_MAX_MS: u64 = 7 * DAY_MS;
/// Banned keys of one host after which the host is banned.
pub const KEYS_PER_HOST: usize = 2;

const KIND: &str = "proctor ban list";
const VERSION: u8 = 2;
/// The longest reason for a ban, in bytes; of a longer one the beginning is kept.
pub const WHY_BYTES_MAX: usize = 256;

/// Who decided a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BannedBy {
    /// Its faults.
    Faults,
    /// The operator; such a ban holds for required peers as well.
    Operator,
}

/// One ban of a key. It stays on the list for seven days after it began, ended or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// When it ends.
    pub until: Moment,
    /// How many came before it, each within seven days of the next.
    pub repeats: u32,
    /// From where the key spoke.
    pub host: Option<Subnet>,
    /// Who decided it.
    pub by: BannedBy,
    /// Why, in the operator's words; empty for faults.
    pub why: String,
    /// Until when it counts for the next one.
    remembered_until: Moment,
}

/// The list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BanList {
    keys: BTreeMap<NodeId, Ban>,
    hosts: BTreeMap<Subnet, Moment>,
}

impl BanList {
    /// Bans `key` for its faults and returns for how many milliseconds.
    pub fn ban_for_faults(&mut self, now: Moment, key: NodeId, host: Option<Subnet>) -> u64 {
        let before = self.keys.get(&key).filter(|ban| now < ban.remembered_until);
        let repeats = before.map_or(0, |ban| ban.repeats.saturating_add(1));
        let doubled = BAN_MS.checked_shl(repeats.min(16)).unwrap_or(BAN_MAX_MS);
        let ms = doubled.min(BAN_MAX_MS);
        // A longer ban that already stands is not shortened.
        let standing = before.map_or(now, |ban| ban.until);
        let (by, why) = match before {
            Some(ban) if now < ban.until => (ban.by, ban.why.clone()),
            Some(_) | None => (BannedBy::Faults, String::new()),
        };
        let until = standing.max(now.after(ms));
        self.put(
            now,
            key,
            Ban { until, repeats, host, by, why, remembered_until: now.after(BAN_MAX_MS) },
        );
        until.since(now)
    }

    /// Bans `key` for `ms` milliseconds by decision of an operator or of the engine, and notes why.
    pub fn ban(&mut self, now: Moment, key: NodeId, ms: u64, by: BannedBy, mut why: String) {
        let end = (0..=WHY_BYTES_MAX.min(why.len())).rev().find(|end| why.is_char_boundary(*end));
        why.truncate(end.unwrap_or(0));
        let repeats = self.keys.get(&key).map_or(0, |ban| ban.repeats);
        let host = self.keys.get(&key).and_then(|ban| ban.host);
        let until = now.after(ms);
        let remembered_until = until.max(now.after(BAN_MAX_MS));
        self.put(now, key, Ban { until, repeats, host, by, why, remembered_until });
    }

    fn put(&mut self, now: Moment, key: NodeId, ban: Ban) {
        self.keys.insert(key, ban);
        if self.keys.len() > BANNED_KEYS_MAX {
            self.forget(now);
        }
        while self.keys.len() > BANNED_KEYS_MAX {
            let others = self.keys.iter().filter(|(other, _)| **other != key);
            let first = others.min_by_key(|(other, ban)| (ban.until, **other));
            let Some(first) = first.map(|(other, _)| *other) else {
                break;
            };
            self.keys.remove(&first);
        }
    }

    /// Bans `host` if enough keys that are banned at this moment spoke from it. Returns whether it did.
    pub fn ban_crowded_host(&mut self, now: Moment, host: Subnet) -> bool {
        let banned = |ban: &&Ban| ban.host == Some(host) && now < ban.until;
        if self.keys.values().filter(banned).count() < KEYS_PER_HOST {
            return false;
        }
        self.ban_host(now, host, BAN_MS);
        true
    }

    /// Bans `host` for `ms` milliseconds.
    pub fn ban_host(&mut self, now: Moment, host: Subnet, ms: u64) {
        self.hosts.insert(host, now.after(ms));
        if self.hosts.len() > BANNED_HOSTS_MAX {
            self.forget(now);
        }
        while self.hosts.len() > BANNED_HOSTS_MAX {
            let others = self.hosts.iter().filter(|(other, _)| **other != host);
            let first = others.min_by_key(|(other, until)| (**until, **other));
            let Some(first) = first.map(|(other, _)| *other) else {
                break;
            };
            self.hosts.remove(&first);
        }
    }

    /// Lifts the ban of `key` and forgets its past; returns whether there was one.
    pub fn lift(&mut self, now: Moment, key: &NodeId) -> bool {
        self.keys.remove(key).is_some_and(|ban| now < ban.until)
    }

    /// Lifts the ban of `host`; returns whether there was one.
    pub fn lift_host(&mut self, now: Moment, host: &Subnet) -> bool {
        self.hosts.remove(host).is_some_and(|until| now < until)
    }

    /// Drops what no longer matters.
    pub fn forget(&mut self, now: Moment) {
        self.keys.retain(|_, ban| now < ban.remembered_until);
        self.hosts.retain(|_, until| now < *until);
    }

    /// Returns the ban of `key` if it holds now.
    #[must_use]
    pub fn find(&self, now: Moment, key: &NodeId) -> Option<&Ban> {
        self.keys.get(key).filter(|ban| now < ban.until)
    }

    /// Returns for how many milliseconds `ip` is still banned.
    #[must_use]
    pub fn find_host(&self, now: Moment, ip: IpAddr) -> Option<u64> {
        let until = self.hosts.get(&Subnet::host(ip))?;
        (now < *until).then(|| until.since(now))
    }

    /// Returns the bans that hold now, by key.
    pub fn iter(&self, now: Moment) -> impl Iterator<Item = (&NodeId, &Ban)> {
        self.keys.iter().filter(move |(_, ban)| now < ban.until)
    }

    /// Returns how many keys and hosts are on the list.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.keys.len(), self.hosts.len())
    }

    /// Returns the list as bytes: number of keys 4, each as key 32, rest of the ban 8, rest of its memory 8,
    /// repeats 4, by 1, why (length 4, text), host (0, or the subnet); number of hosts 4, each as subnet, rest 8.
    #[must_use]
    pub fn to_bytes(&self, now: Moment) -> Vec<u8> {
        let mut content = Vec::new();
        put_count(&mut content, self.keys.len());
        for (key, ban) in &self.keys {
            content.extend_from_slice(&key.0);
            content.extend_from_slice(&ban.until.since(now).to_be_bytes());
            content.extend_from_slice(&ban.remembered_until.since(now).to_be_bytes());
            content.extend_from_slice(&ban.repeats.to_be_bytes());
            content.push(match ban.by {
                BannedBy::Faults => 0,
                BannedBy::Operator => 1,
            });
            put_count(&mut content, ban.why.len());
            content.extend_from_slice(ban.why.as_bytes());
            match &ban.host {
                Some(host) => put_subnet(&mut content, host),
                None => content.push(0),
            }
        }
        put_count(&mut content, self.hosts.len());
        for (host, until) in &self.hosts {
            put_subnet(&mut content, host);
            content.extend_from_slice(&until.since(now).to_be_bytes());
        }
        seal(KIND, VERSION, &content)
    }

    /// Reads what [`BanList::to_bytes`] returned.
    ///
    /// # Errors
    /// [`StoredError`] if the bytes are not such a list.
    pub fn from_bytes(now: Moment, bytes: &[u8]) -> Result<Self, StoredError> {
        let mut reader = Reader(open(KIND, VERSION, bytes)?);
        let mut list = Self::default();
        let keys = read_count(&mut reader, BANNED_KEYS_MAX)?;
        for entry in 0..keys {
            let (key, ban) = read_ban(now, &mut reader).ok_or_else(|| bad(entry))?;
            list.keys.insert(key, ban);
        }
        let hosts = read_count(&mut reader, BANNED_HOSTS_MAX)?;
        for entry in keys..keys + hosts {
            let host = reader.subnet().zip(reader.u64());
            let (host, rest_ms) = host.ok_or_else(|| bad(entry))?;
            list.hosts.insert(host, now.after(rest_ms));
        }
        match reader.0.len() {
            0 => Ok(list),
            bytes => Err(StoredError::Trailing { kind: KIND, bytes }),
        }
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

fn read_count(reader: &mut Reader<'_>, max: usize) -> Result<usize, StoredError> {
    let count = reader.u32().and_then(|count| usize::try_from(count).ok());
    count.filter(|count| *count <= max).ok_or_else(|| bad(0))
}

fn read_ban(now: Moment, reader: &mut Reader<'_>) -> Option<(NodeId, Ban)> {
    let key = NodeId(reader.array()?);
    let (until, remembered_until) = (now.after(reader.u64()?), now.after(reader.u64()?));
    let repeats = reader.u32()?;
    let by = match reader.byte()? {
        0 => BannedBy::Faults,
        1 => BannedBy::Operator,
        _ => return None,
    };
    let length = usize::try_from(reader.u32()?).ok().filter(|length| *length <= WHY_BYTES_MAX)?;
    let (why, rest) = reader.0.split_at_checked(length)?;
    reader.0 = rest;
    let why = std::str::from_utf8(why).ok()?.to_owned();
    let host = if reader.0.first() == Some(&0) {
        reader.byte()?;
        None
    } else {
        Some(reader.subnet()?)
    };
    Some((key, Ban { until, repeats, host, by, why, remembered_until }))
}

fn bad(entry: usize) -> StoredError {
    StoredError::Entry { kind: KIND, entry, why: "it is cut short or out of range".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: usize) -> NodeId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&index.to_be_bytes());
        NodeId(bytes)
    }

    fn host(last: u8) -> Subnet {
        Subnet::host([1, 2, 3, last].into())
    }

    #[test]
    fn a_ban_doubles_with_each_repetition_within_seven_days_up_to_seven_days() {
        let (mut list, mut now) = (BanList::default(), Moment(0));
        let mut lengths = Vec::new();
        for _ in 0..13 {
            let ms = list.ban_for_faults(now, key(1), None);
            lengths.push(ms / MINUTE_MS);
            assert!(list.find(now.after(ms - 1), &key(1)).is_some());
            now = now.after(ms);
            assert!(list.find(now, &key(1)).is_none());
        }
        let expected = [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_080, 10, 20];
        // The longest ban outlives the memory of it, so the next begins anew.
        assert_eq!(lengths, expected);
        assert_eq!(list.ban_for_faults(now.after(BAN_MAX_MS), key(1), None), BAN_MS);
    }

    #[test]
    fn two_banned_keys_ban_their_host_for_ten_minutes_and_one_does_not() {
        let mut list = BanList::default();
        list.ban_for_faults(Moment(0), key(1), Some(host(1)));
        list.ban_for_faults(Moment(0), key(1), Some(host(1)));
        assert!(!list.ban_crowded_host(Moment(0), host(1)), "one key, however often");
        list.ban_for_faults(Moment(0), key(2), Some(host(2)));
        assert!(!list.ban_crowded_host(Moment(0), host(1)));
        list.ban_for_faults(Moment(0), key(3), Some(host(1)));
        assert!(list.ban_crowded_host(Moment(0), host(1)));
        assert_eq!(list.find_host(Moment(1), [1, 2, 3, 1].into()), Some(BAN_MS - 1));
        assert_eq!(list.find_host(Moment(BAN_MS), [1, 2, 3, 1].into()), None);
        assert!(list.lift_host(Moment(1), &host(1)) && !list.lift_host(Moment(1), &host(1)));
    }

    #[test]
    fn r8_the_list_is_bounded_and_the_ban_that_ends_first_gives_way() {
        let mut list = BanList::default();
        list.ban(Moment(0), key(0), BAN_MAX_MS, BannedBy::Operator, String::new());
        for index in 1..=BANNED_KEYS_MAX + 10 {
            list.ban_for_faults(Moment(0), key(index), None);
            let last = u32::try_from(index).unwrap();
            list.ban_host(Moment(0), Subnet::host(std::net::Ipv4Addr::from_bits(last).into()), 5);
        }
        assert_eq!(list.size(), (BANNED_KEYS_MAX, BANNED_HOSTS_MAX));
        assert!(list.find(Moment(1), &key(0)).is_some(), "the longest ban stays");
        assert!(list.find(Moment(1), &key(BANNED_KEYS_MAX + 10)).is_some(), "and the youngest");
    }

    #[test]
    fn bans_survive_a_restart_with_their_rest_and_their_past() {
        let mut list = BanList::default();
        list.ban_for_faults(Moment(5_000), key(1), Some(host(1)));
        list.ban_for_faults(Moment(6_000), key(1), Some(host(1)));
        list.ban(Moment(6_000), key(2), 1_000, BannedBy::Operator, "ö".repeat(WHY_BYTES_MAX));
        list.ban_host(Moment(6_000), host(3), 500);
        let stored = list.to_bytes(Moment(6_100));
        // The clock of the next process begins at zero.
        let mut again = BanList::from_bytes(Moment(0), &stored).unwrap();
        assert_eq!(again.to_bytes(Moment(0)), stored);
        assert_eq!(again.find(Moment(0), &key(1)).unwrap().until, Moment(2 * BAN_MS - 100));
        let decided = again.find(Moment(0), &key(2)).unwrap();
        assert_eq!(
            (decided.by, &decided.why),
            (BannedBy::Operator, &"ö".repeat(WHY_BYTES_MAX / 2))
        );
        assert_eq!(again.find_host(Moment(0), [1, 2, 3, 3].into()), Some(400));
        assert_eq!(again.ban_for_faults(Moment(0), key(1), None), 4 * BAN_MS);
        for cut in 0..stored.len() {
            assert!(BanList::from_bytes(Moment(0), &stored[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_fault_does_not_shorten_what_the_operator_decided() {
        let mut list = BanList::default();
        list.ban(Moment(0), key(1), DAY_MS, BannedBy::Operator, String::new());
        assert_eq!(list.ban_for_faults(Moment(0), key(1), None), DAY_MS);
        assert_eq!(list.find(Moment(0), &key(1)).unwrap().by, BannedBy::Operator);
        assert!(list.lift(Moment(0), &key(1)));
        assert!(list.find(Moment(0), &key(1)).is_none() && !list.lift(Moment(0), &key(1)));
    }
}
