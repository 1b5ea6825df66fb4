//! Whom to dial next: half the time one that we know, half the time one that we only heard of.

use std::collections::BTreeMap;

use super::{Entry, PeerBook, Table};
use crate::NodeId;
use crate::moment::Moment;
use crate::peers::address::Subnet;

/// Every tried record can be chosen, however bad its node was.
const WEIGHT_MIN: f64 = 0.05;

impl PeerBook {
    /// Returns a node to dial: in half the cases a tried one, by weight (its quality, 0 to 1), else a new
    /// one, each provider being equally likely, so that many records of one provider do not make it
    /// likelier. Nodes that `skip` names are left out; connected ones as well (B15).
    pub fn pick(
        &mut self,
        now: Moment,
        skip: impl Fn(&NodeId, &[Subnet]) -> bool,
        weight: impl Fn(&NodeId) -> f64,
    ) -> Option<NodeId> {
        let mut tried: Vec<(NodeId, f64)> = Vec::new();
        let mut new: BTreeMap<Subnet, Vec<NodeId>> = BTreeMap::new();
        for (key, entry) in &self.entries {
            if !entry.is_usable(now)
                || self.connected.contains_key(key)
                || skip(key, &entry.providers)
            {
                continue;
            }
            match entry.table {
                Table::Tried => tried.push((*key, weight(key).max(WEIGHT_MIN))),
                Table::New => {
                    let provider = home(entry);
                    provider.into_iter().for_each(|provider| {
                        new.entry(provider).or_default().push(*key);
                    });
                }
            }
        }
        let providers: Vec<_> = new.into_values().collect();
        let prefer_tried = self.dice.percent(50);
        if tried.is_empty() || !prefer_tried && !providers.is_empty() {
            let keys = providers.get(self.dice.index(providers.len()))?;
            return keys.get(self.dice.index(keys.len())).copied();
        }
        let total: f64 = tried.iter().map(|(_, weight)| weight).sum();
        let mut left = self.dice.unit() * total;
        for (key, weight) in &tried {
            left -= weight;
            if left < 0.0 {
                return Some(*key);
            }
        }
        // The sum of the parts may be rounded to less than the whole.
        tried.last().map(|(key, _)| *key)
    }
}

/// The provider of the best address, under which a new record is found.
fn home(entry: &Entry) -> Option<Subnet> {
    entry.record.record().addresses().first().map(|address| Subnet::provider(address.ip))
}
