//! The caps of the book: who must go so that a record may come, and what may never be pushed out.
//!
//! A connected or a required node is never pushed out. Counts are taken by going over the book,
//! which is bounded, and only for a record whose signature was checked: that costs more.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Entry, NEW_MAX, PER_PROVIDER_MAX, PER_SOURCE_MAX, PER_SOURCE_PROVIDER_MAX, PeerBook, Source,
    TRIED_MAX, Table,
};
use crate::NodeId;
use crate::peers::address::Subnet;

impl PeerBook {
    /// Makes room for `entry` of `key`, which is not in the book at this moment, and returns whether
    /// there is. Required nodes stand outside of the caps per source and provider.
    pub(super) fn make_room(&mut self, key: &NodeId, entry: &Entry) -> bool {
        // All checks come before the first eviction: a record that is refused pushes nobody out.
        let mut leave = BTreeSet::new();
        if !self.required.contains(key) {
            for provider in &entry.providers {
                let in_provider = |other: &Entry| other.providers.contains(provider);
                if !self.spare(&mut leave, PER_PROVIDER_MAX, in_provider) {
                    return false;
                }
            }
            if entry.table == Table::New
                && let Source::Peer { key: teller, provider } = entry.source
            {
                let by_teller = |other: &Entry| {
                    other.table == Table::New
                        && matches!(other.source, Source::Peer { key, .. } if key == teller)
                };
                let by_provider = |other: &Entry| {
                    other.table == Table::New
                        && matches!(other.source, Source::Peer { provider: from, .. } if from == provider)
                };
                if !self.spare(&mut leave, PER_SOURCE_MAX, by_teller)
                    || !self.spare(&mut leave, PER_SOURCE_PROVIDER_MAX, by_provider)
                {
                    return false;
                }
            }
        }
        match entry.table {
            Table::New => {
                let Some(victim) = self.crowded_out_of(Table::New, NEW_MAX, &leave) else {
                    return false;
                };
                leave.extend(victim);
                leave.iter().for_each(|victim| drop(self.entries.remove(victim)));
                true
            }
            Table::Tried => {
                let Some(victim) = self.crowded_out_of(Table::Tried, TRIED_MAX, &leave) else {
                    return false;
                };
                leave.iter().for_each(|victim| drop(self.entries.remove(victim)));
                if let Some(victim) = victim {
                    self.demote(&victim);
                }
                true
            }
        }
    }

    /// Makes sure that one more entry of `kind` may come: if `max` of them are there, one new one of
    /// them is added to `leave`. Returns false when none can go.
    fn spare(
        &mut self,
        leave: &mut BTreeSet<NodeId>,
        max: usize,
        kind: impl Fn(&Entry) -> bool,
    ) -> bool {
        let of_kind: Vec<_> = (self.entries.iter())
            .filter(|(key, entry)| {
                kind(entry) && !self.required.contains(key) && !leave.contains(key)
            })
            .map(|(key, entry)| (*key, entry.table))
            .collect();
        if of_kind.len() < max {
            return true;
        }
        let candidates: Vec<_> = (of_kind.into_iter())
            .filter(|(key, table)| *table == Table::New && self.may_leave(key))
            .collect();
        match candidates.get(self.dice.index(candidates.len())) {
            Some((victim, _)) => leave.insert(*victim),
            None => false,
        }
    }

    /// Returns who leaves `table` so that one more fits: `Some(None)` when there is room, `None` when
    /// nobody may leave. It is a random one of the provider with the most records.
    fn crowded_out_of(
        &mut self,
        table: Table,
        max: usize,
        leave: &BTreeSet<NodeId>,
    ) -> Option<Option<NodeId>> {
        let staying: Vec<_> = (self.entries.iter())
            .filter(|(key, entry)| entry.table == table && !leave.contains(key))
            .collect();
        if staying.len() < max {
            return Some(None);
        }
        let mut crowds: BTreeMap<Subnet, Vec<NodeId>> = BTreeMap::new();
        for (key, entry) in staying {
            if self.may_leave(key) {
                for provider in &entry.providers {
                    crowds.entry(*provider).or_default().push(*key);
                }
            }
        }
        // Of equally full ones the first: `max_by_key` alone would take the last.
        let crowd = crowds.into_values().rev().max_by_key(Vec::len)?;
        crowd.get(self.dice.index(crowd.len())).copied().map(Some)
    }

    fn may_leave(&self, key: &NodeId) -> bool {
        !self.connected.contains_key(key)
            && !self.required.contains(key)
            && !self.anchors.contains(key)
    }

    /// Moves a tried record to the new ones, or out of the book if none of them can go for it.
    fn demote(&mut self, key: &NodeId) {
        if let Some(mut entry) = self.entries.remove(key) {
            (entry.table, entry.failures) = (Table::New, 0);
            if self.make_room(key, &entry) {
                self.entries.insert(*key, entry);
            }
        }
    }
}
