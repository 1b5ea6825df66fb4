//! Bodies: fetched by digest from anyone, checked, stored in order.

use std::collections::{BTreeMap, BTreeSet};

use proctor_types::Digest;

use crate::message::{BodyId, Part, Request};
use crate::moment::Moment;
use crate::node_id::NodeId;
use crate::sync::event::{Action, Ending, Offence, RequestId, StoreJob};
use crate::sync::requests::Purpose;
use crate::sync::verify::{Arrived, Job};
use crate::sync::{SyncCore, Waiting};

/// Bodies that came with a push and wait for their headers.
pub(crate) const INLINE_MAX: usize = 16;
/// Bytes that one request for bodies asks for, beyond its first body.
const REQUEST_BYTES_MAX: u64 = 1 << 20;

/// One body of a request.
#[derive(Clone, Copy, Debug)]
struct Item {
    height: u64,
    digest: Digest,
    len: u32,
}

/// What a request for bodies has brought so far.
#[derive(Debug)]
pub(crate) struct Fetch {
    items: Vec<Item>,
    /// Items before this one are done with.
    next: usize,
    /// Bytes of item `next`.
    bytes: Vec<u8>,
    arrived: Vec<Arrived>,
}

impl Fetch {
    /// Takes a part, which must continue the current item or begin a later one.
    pub(crate) fn take(&mut self, part: &Part) -> Result<(), ()> {
        let index = usize::try_from(part.index).map_err(|_| ())?;
        if index < self.next || (index > self.next && !self.bytes.is_empty()) {
            return Err(());
        }
        self.next = index;
        let item = self.items.get(index).ok_or(())?;
        let end = (self.bytes.len() as u64).saturating_add(part.bytes.len() as u64);
        let len = u64::from(item.len);
        if u64::from(part.offset) != self.bytes.len() as u64 || end > len {
            return Err(());
        }
        if part.bytes.is_empty() && len > 0 {
            return Err(());
        }
        self.bytes.extend_from_slice(&part.bytes);
        if end == len {
            let bytes = std::mem::take(&mut self.bytes);
            self.arrived.push(Arrived { height: item.height, digest: item.digest, bytes });
            self.next += 1;
        }
        Ok(())
    }

    /// Notes that an item will not come.
    pub(crate) fn skip(&mut self, index: u32) -> Result<(), ()> {
        let index = usize::try_from(index).map_err(|_| ())?;
        if index < self.next || index >= self.items.len() || !self.bytes.is_empty() {
            return Err(());
        }
        self.next = index + 1;
        Ok(())
    }

    /// Whether it ends within a body.
    pub(crate) fn is_cut(&self) -> bool {
        !self.bytes.is_empty()
    }

    pub(crate) fn delivered(&self) -> usize {
        self.arrived.len()
    }

    /// Returns the heights that have not arrived.
    pub(crate) fn missing(&self) -> Vec<u64> {
        let here: BTreeSet<u64> = self.arrived.iter().map(|body| body.height).collect();
        self.items.iter().map(|item| item.height).filter(|height| !here.contains(height)).collect()
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Missing,
    Checking,
    Here(Vec<u8>),
    Storing,
}

/// A body that is wanted.
#[derive(Debug)]
struct Wanted {
    digest: Digest,
    len: u32,
    state: State,
    asked: BTreeSet<RequestId>,
    asked_at: Moment,
    tried: BTreeSet<NodeId>,
    attempts: u32,
    retry_at: Moment,
}

impl Wanted {
    /// It stays so: what is checked is stored next.
    fn is_here(&self) -> bool {
        matches!(self.state, State::Here(_) | State::Storing)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Bodies {
    slots: BTreeMap<u64, Wanted>,
    /// All up to this height are here: what is planned anew after every event begins behind it.
    here_to: u64,
    bytes: u64,
    inline: BTreeMap<u64, (NodeId, Vec<u8>)>,
    head_missing: bool,
    head_false: bool,
}

impl Bodies {
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns how many have not come yet, or are not checked yet.
    pub(crate) fn fetched(&self) -> usize {
        self.not_here().count()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns those that have not come yet, or are not checked yet.
    fn not_here(&self) -> impl Iterator<Item = (&u64, &Wanted)> {
        let behind = self.slots.range(self.here_to.saturating_add(1)..);
        behind.filter(|(_, wanted)| !wanted.is_here())
    }

    /// Takes note that some have come.
    fn arrived(&mut self) {
        let mut next = self.here_to.saturating_add(1);
        while self.slots.get(&next).is_some_and(Wanted::is_here) {
            self.here_to = next;
            next = next.saturating_add(1);
        }
    }

    pub(crate) fn inline_len(&self) -> usize {
        self.inline.len()
    }

    pub(crate) fn head_missing(&self) -> bool {
        self.head_missing
    }

    pub(crate) fn last_was_false(&self) -> bool {
        self.head_false
    }

    /// Keeps a body that came with a push, if its header may be verified soon. Never an answer: it is
    /// checked like any other, and its source charged if it is false (B6).
    pub(crate) fn offer(&mut self, verified: u64, height: u64, peer: NodeId, body: Vec<u8>) {
        let soon = verified.saturating_add(INLINE_MAX as u64);
        if height > verified && height <= soon && self.inline.len() < INLINE_MAX {
            self.inline.entry(height).or_insert((peer, body));
        }
    }

    pub(crate) fn tried(&mut self, heights: Vec<u64>, peer: NodeId) {
        for height in heights {
            if let Some(wanted) = self.slots.get_mut(&height) {
                wanted.tried.insert(peer);
            }
        }
    }

    pub(crate) fn stored_to(&mut self, last: u64) {
        let above = self.slots.split_off(&last.saturating_add(1));
        self.slots = above;
        self.here_to = self.here_to.max(last);
        self.arrived();
        self.bytes = self.slots.values().map(|wanted| u64::from(wanted.len)).sum();
        self.inline = self.inline.split_off(&last.saturating_add(1));
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl SyncCore {
    pub(crate) fn plan_bodies(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if self.stored.saturating_sub(self.applied) >= self.config.unapplied {
            return;
        }
        self.want_bodies(now, actions);
        self.ask_for_bodies(now, actions);
        self.hedge_head_body(now, actions);
    }

    /// Wants the next bodies, while there is room; at least one, however long (B11).
    fn want_bodies(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let last = self.bodies.slots.last_key_value().map_or(self.stored, |(height, _)| *height);
        let mut next = last.saturating_add(1);
        let mut fetched = self.bodies.fetched();
        while let Some(ahead) = self.ahead.get(&next) {
            let (digest, len) = (ahead.header.facts.body, ahead.header.facts.body_len);
            let bytes = self.bodies.bytes.saturating_add(u64::from(len));
            let full = fetched >= self.config.bodies
                || self.bodies.slots.len() >= self.config.bodies_held
                || bytes > self.config.body_bytes;
            if full && !self.bodies.slots.is_empty() {
                break;
            }
            fetched += 1;
            self.bodies.bytes = bytes;
            let mut wanted = Wanted {
                digest,
                len,
                state: State::Missing,
                asked: BTreeSet::new(),
                asked_at: now,
                tried: BTreeSet::new(),
                attempts: 0,
                retry_at: now,
            };
            let inline = self.bodies.inline.remove(&next);
            if let Some((peer, bytes)) =
                inline.filter(|(_, bytes)| bytes.len() as u64 == u64::from(len))
            {
                wanted.state = State::Checking;
                let arrived = Arrived { height: next, digest, bytes };
                self.verify(Waiting::Bodies(peer), Job::Bodies(vec![arrived]), actions);
            }
            self.bodies.slots.insert(next, wanted);
            next = next.saturating_add(1);
        }
    }

    fn ask_for_bodies(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let idle = |wanted: &Wanted| {
            wanted.state == State::Missing && wanted.asked.is_empty() && wanted.retry_at <= now
        };
        let heights = self.bodies.not_here().filter(|(_, wanted)| idle(wanted));
        let mut heights: Vec<u64> = heights.map(|(height, _)| *height).collect();
        heights.reverse();
        while let Some(first) = heights.pop() {
            let Some(wanted) = self.bodies.slots.get(&first) else { continue };
            let (tried, mut bytes) = (wanted.tried.clone(), u64::from(wanted.len));
            let draw = self.draw();
            let Some(peer) = self.sources.pick(now, draw, &tried, |source| source.has_body(first))
            else {
                self.body_is_nowhere(now, first, &tried);
                continue;
            };
            let mut group = vec![first];
            while let Some(height) = heights.last().copied()
                && group.len() < self.config.bodies_per_request.max(1)
                && let Some(wanted) = self.bodies.slots.get(&height)
                && !wanted.tried.contains(&peer)
                && self.sources.get(&peer).is_some_and(|source| source.has_body(height))
                && bytes.saturating_add(u64::from(wanted.len)) <= REQUEST_BYTES_MAX
            {
                bytes = bytes.saturating_add(u64::from(wanted.len));
                group.push(height);
                heights.pop();
            }
            if !self.ask_bodies(now, peer, &group, bytes, actions) {
                return;
            }
        }
    }

    fn ask_bodies(
        &mut self,
        now: Moment,
        peer: NodeId,
        group: &[u64],
        bytes: u64,
        actions: &mut Vec<Action>,
    ) -> bool {
        let slots = &self.bodies.slots;
        let item = |height: &u64| {
            let wanted = slots.get(height)?;
            Some(Item { height: *height, digest: wanted.digest, len: wanted.len })
        };
        let items: Vec<Item> = group.iter().filter_map(item).collect();
        let ids = items.iter().map(|item| BodyId { height: item.height, digest: item.digest });
        let request = Request::GetBodies(ids.collect());
        let fetch = Fetch { items, next: 0, bytes: Vec::new(), arrived: Vec::new() };
        let purpose = Purpose::Bodies(fetch);
        let Some(id) = self.ask(now, peer, (request, purpose), bytes, actions) else {
            return false;
        };
        for height in group {
            if let Some(wanted) = self.bodies.slots.get_mut(height) {
                if wanted.asked.is_empty() {
                    wanted.asked_at = now;
                }
                wanted.asked.insert(id);
            }
        }
        true
    }

    fn body_is_nowhere(&mut self, now: Moment, height: u64, tried: &BTreeSet<NodeId>) {
        let waiting = self.sources.iter().any(|(peer, source)| {
            !source.shunned && !tried.contains(peer) && source.has_body(height)
        });
        if waiting {
            return;
        }
        let Some(wanted) = self.bodies.slots.get_mut(&height) else { return };
        wanted.tried.clear();
        wanted.attempts = wanted.attempts.saturating_add(1);
        let attempts = wanted.attempts;
        self.bodies.head_missing |= height == self.stored.saturating_add(1);
        let wait = self.backoff_ms(attempts);
        if let Some(wanted) = self.bodies.slots.get_mut(&height) {
            wanted.retry_at = now.after(wait);
        }
    }

    /// The body that everything waits for is asked of a second peer when the first is late, and with it
    /// those behind it that are late as well (B20).
    fn hedge_head_body(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let patience = self.hedge_after_ms();
        let late =
            |wanted: &Wanted| wanted.asked.len() == 1 && now.since(wanted.asked_at) >= patience;
        let missing = self.bodies.not_here().filter(|(_, one)| one.state == State::Missing);
        let late = missing.take_while(|(_, wanted)| late(wanted));
        let late: Vec<(u64, &Wanted)> = (late.map(|(height, wanted)| (*height, wanted)))
            .take(self.config.bodies_per_request.max(1))
            .collect();
        let Some((first, _)) = late.first().copied() else { return };
        let (mut tried, mut bytes, mut group) = (BTreeSet::new(), 0_u64, Vec::new());
        for (height, wanted) in late {
            bytes = bytes.saturating_add(u64::from(wanted.len));
            if bytes > REQUEST_BYTES_MAX && !group.is_empty() {
                break;
            }
            tried.extend(wanted.tried.iter().copied());
            let asked = wanted.asked.iter().filter_map(|id| self.requests.get(*id));
            tried.extend(asked.map(|open| open.peer));
            group.push(height);
        }
        let last = group.last().copied().unwrap_or(first);
        let draw = self.draw();
        let has = |source: &super::source::Source| source.has_body(first) && source.has_body(last);
        if let Some(peer) = self.sources.pick(now, draw, &tried, has) {
            self.ask_bodies(now, peer, &group, bytes, actions);
        }
    }

    /// A request for bodies ended: what arrived is checked, what did not is asked for again.
    pub(crate) fn on_fetch_ended(
        &mut self,
        id: RequestId,
        peer: NodeId,
        fetch: Fetch,
        actions: &mut Vec<Action>,
    ) {
        for item in &fetch.items {
            if let Some(wanted) = self.bodies.slots.get_mut(&item.height) {
                wanted.asked.remove(&id);
            }
        }
        let mut arrived = fetch.arrived;
        arrived.retain(|body| {
            let wanted = self.bodies.slots.get_mut(&body.height);
            let wanted = wanted.filter(|wanted| wanted.state == State::Missing);
            wanted.is_some_and(|wanted| {
                wanted.state = State::Checking;
                true
            })
        });
        if !arrived.is_empty() {
            self.verify(Waiting::Bodies(peer), Job::Bodies(arrived), actions);
        }
    }

    pub(crate) fn on_bodies_checked(
        &mut self,
        now: Moment,
        peer: NodeId,
        bodies: Vec<(Arrived, bool)>,
        actions: &mut Vec<Action>,
    ) {
        let (mut good, mut bad) = (0_u64, false);
        let mut asked = BTreeSet::new();
        for (body, right) in bodies {
            let Some(wanted) = self.bodies.slots.get_mut(&body.height) else { continue };
            if wanted.digest != body.digest || wanted.state != State::Checking {
                continue;
            }
            if right {
                good = good.saturating_add(body.bytes.len() as u64);
                wanted.state = State::Here(body.bytes);
                asked.extend(wanted.asked.iter().copied());
            } else {
                bad = true;
                wanted.state = State::Missing;
                wanted.tried.insert(peer);
            }
        }
        self.bodies.arrived();
        if good > 0 {
            self.bodies.head_missing = false;
            actions.push(Action::Credit { peer, bytes: good });
        }
        // Who is slower than another need not go on.
        for id in asked.into_iter().filter(|id| self.is_needless(*id)).collect::<Vec<_>>() {
            self.end_request(now, id, Ending::Cancelled, actions);
        }
        self.bodies.head_false = bad;
        if bad {
            self.penalise(peer, Offence::BadBody, actions);
        }
    }

    /// Whether a request asks for nothing that is missing.
    fn is_needless(&self, id: RequestId) -> bool {
        let Some(Purpose::Bodies(fetch)) = self.requests.get(id).map(|open| &open.purpose) else {
            return false;
        };
        let is_missing = |height: &u64| {
            self.bodies.slots.get(height).is_some_and(|wanted| wanted.state == State::Missing)
        };
        !fetch.missing().iter().any(is_missing)
    }

    /// Stores what is next, as one group, unless a group is under way.
    pub(crate) fn plan_store(&mut self, actions: &mut Vec<Action>) {
        if self.jobs.values().any(|waiting| matches!(waiting, Waiting::Commits(_))) {
            return;
        }
        let (mut commits, mut bytes) = (Vec::new(), 0_u64);
        let mut last = self.stored;
        while let Some(wanted) = self.bodies.slots.get_mut(&last.saturating_add(1))
            && let State::Here(_) = wanted.state
            && let Some(ahead) = self.ahead.get(&last.saturating_add(1))
        {
            bytes = bytes.saturating_add(u64::from(wanted.len));
            if bytes > self.config.store_bytes && !commits.is_empty() {
                break;
            }
            let State::Here(body) = std::mem::replace(&mut wanted.state, State::Storing) else {
                break;
            };
            debug_assert!(
                ahead.tip.height == last.saturating_add(1),
                "headers lie at their height"
            );
            commits.push((ahead.header.clone(), body));
            last = last.saturating_add(1);
        }
        if commits.is_empty() {
            return;
        }
        let certificates = self.certificates.range(..=last).map(|(_, one)| one.clone()).collect();
        let id = self.job(Waiting::Commits(last));
        actions.push(Action::Store(id, StoreJob::Commits { commits, certificates }));
    }
}
