//! `Scorer`: how well a peer serves (quality) and whether it cheats (trust), which are kept apart.
//!
//! *Quality* decides whom to ask; it never bans. It is raised by verified answers alone (B19). *Trust* is
//! lost by what no honest node does, and a peer without any is banned. A required peer is not banned for
//! its faults: it is no longer asked for data, so that a ban cannot cost a quorum.
//!
//! What an honest peer may do to us, however slow, overloaded, pruned or restarted it is, costs no trust
//! that lasts (V11): see [`Limit`] for messages that arrive late, and [`Fault::BrokenPromise`].

mod limits;
mod quality;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use limits::Limits;
pub use limits::{Admission, Limit};
pub use quality::QUALITY_LOW;
use quality::Quality;

use super::address::Subnet;
use super::ban::{BanList, BannedBy};
use super::dice::Dice;
use crate::NodeId;
use crate::moment::{DAY_MS, MINUTE_MS, Moment};

/// Trust of a peer without faults, in points.
pub const TRUST_MAX: u64 = 100;
/// Peers whose score is remembered.
pub const SCORES_MAX: usize = 1024;
/// Length of a ban that the ordering engine asks for.
pub const BLOCK_MS: u64 = DAY_MS;
/// Parts of a point: trust heals one part in a millisecond, which is a point in a minute.
const POINT: u64 = MINUTE_MS;

/// What a peer did that no honest node does. Two valid certificates for one height are none of these:
/// they are evidence against a committee, and who shows them to us is not to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Headers that do not follow each other, or from elsewhere than asked, or a certificate that is not
    /// one.
    Headers,
    /// A body with another digest or length than its header says.
    Body,
    /// A status whose certificate is not one, or that contradicts what is final.
    Status,
    /// Bytes that are no message, or too many.
    Malformed,
    /// An answer nobody asked for, or more than the credit allowed.
    Unsolicited,
    /// A peer record with a false signature; charged to who passed it on.
    ForgedRecord,
    /// More than four times as many messages as allowed, whatever the delay.
    RateExceeded,
    /// Its status promised what it then did not have. Charged once for each status: a peer that pruned
    /// in between breaks one promise, not one for every request that was on its way.
    BrokenPromise {
        /// The number of the status.
        status_seq: u64,
    },
}

impl Fault {
    /// Returns how many points of trust it costs.
    #[must_use]
    pub fn cost(self) -> u64 {
        match self {
            Self::Headers | Self::Body | Self::Status => 100,
            Self::Malformed => 50,
            Self::Unsolicited => 25,
            Self::ForgedRecord => 20,
            Self::RateExceeded => 10,
            Self::BrokenPromise { .. } => 5,
        }
    }
}

/// What the scorer is told.
#[derive(Clone, Debug)]
pub enum ScoreEvent {
    /// These peers keep their connection whatever they do; and they listen on these hosts, which are not
    /// banned for what others do there.
    Required {
        /// The peers.
        peers: BTreeSet<NodeId>,
        /// Their hosts.
        hosts: BTreeSet<Subnet>,
    },
    /// A connection to `peer` begins.
    Up {
        /// The peer.
        peer: NodeId,
        /// From where it speaks.
        ip: Option<IpAddr>,
    },
    /// The last connection to `peer` has ended.
    Down {
        /// The peer.
        peer: NodeId,
    },
    /// An answer arrived and was verified.
    Verified {
        /// The peer.
        peer: NodeId,
        /// From request to the end of the answer.
        took_ms: u64,
        /// The length of the answer.
        bytes: u64,
    },
    /// No answer came in time.
    TimedOut {
        /// The peer.
        peer: NodeId,
    },
    /// It asked to be left alone for a while.
    Busy {
        /// The peer.
        peer: NodeId,
        /// For how long; at most a minute is granted.
        retry_ms: u64,
    },
    /// It did not have what was asked for, and had not promised it.
    NotHere {
        /// The peer.
        peer: NodeId,
    },
    /// It did what no honest node does.
    Fault {
        /// The peer.
        peer: NodeId,
        /// What.
        fault: Fault,
    },
    /// The ordering engine does not want to hear it.
    Blocked {
        /// The peer.
        peer: NodeId,
    },
    /// An operator bans a key; this holds for required peers too.
    OperatorBans {
        /// The peer.
        peer: NodeId,
        /// For how long.
        ms: u64,
        /// Why.
        why: String,
    },
    /// An operator lifts a ban, and with it what is remembered of faults.
    OperatorLifts {
        /// The peer.
        peer: NodeId,
    },
    /// Time has passed; once a minute is often enough.
    Tick,
}

/// What the scorer decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreAction {
    /// Say so and close its connections; it is turned away for `ms`.
    Ban {
        /// The peer.
        peer: NodeId,
        /// For how long.
        ms: u64,
    },
    /// Close all connections of this host but those of required peers; it is turned away for `ms`.
    BanHost {
        /// The host.
        host: Subnet,
        /// For how long.
        ms: u64,
    },
    /// Ask this required peer for nothing for `ms`; an operator should look at it.
    SyncOff {
        /// The peer.
        peer: NodeId,
        /// For how long.
        ms: u64,
    },
}

#[derive(Clone, Debug)]
struct Score {
    /// In parts of a point.
    trust: u64,
    trust_at: Moment,
    quality: Quality,
    busy_until: Moment,
    sync_off_until: Moment,
    promise_broken: Option<u64>,
    host: Option<Subnet>,
    /// While connected.
    limits: Option<Limits>,
}

impl Score {
    fn new(now: Moment) -> Self {
        Self {
            trust: TRUST_MAX * POINT,
            trust_at: now,
            quality: Quality::default(),
            busy_until: Moment(0),
            sync_off_until: Moment(0),
            promise_broken: None,
            host: None,
            limits: None,
        }
    }

    fn heal(&mut self, now: Moment, parts: u64) {
        let healed = now.since(self.trust_at).saturating_add(parts);
        self.trust = self.trust.saturating_add(healed).min(TRUST_MAX * POINT);
        self.trust_at = self.trust_at.max(now);
    }
}

/// Scores and bans. All of it is a function of its events and the seed of its dice.
#[derive(Clone, Debug)]
pub struct Scorer {
    required: BTreeSet<NodeId>,
    required_hosts: BTreeSet<Subnet>,
    scores: BTreeMap<NodeId, Score>,
    bans: BanList,
    dice: Dice,
}

impl Scorer {
    /// Returns a scorer that knows no peer, with the bans of an earlier run.
    #[must_use]
    pub fn new(bans: BanList, dice: Dice) -> Self {
        Self {
            required: BTreeSet::new(),
            required_hosts: BTreeSet::new(),
            scores: BTreeMap::new(),
            bans,
            dice,
        }
    }

    /// Takes note of `event`.
    pub fn on_event(&mut self, now: Moment, event: ScoreEvent, actions: &mut Vec<ScoreAction>) {
        match event {
            ScoreEvent::Required { peers, hosts } => {
                (self.required, self.required_hosts) = (peers, hosts);
            }
            ScoreEvent::Up { peer, ip } => {
                let score = self.score(now, peer);
                score.limits = Some(Limits::full(now));
                score.host = ip.map(Subnet::host);
            }
            ScoreEvent::Down { peer } => {
                if let Some(score) = self.scores.get_mut(&peer) {
                    score.limits = None;
                }
            }
            ScoreEvent::Verified { peer, took_ms, bytes } => {
                let score = self.score(now, peer);
                score.quality.on_verified(took_ms, bytes);
                score.heal(now, (bytes.saturating_mul(POINT)) >> 20);
            }
            ScoreEvent::TimedOut { peer } => self.score(now, peer).quality.on_timeout(),
            ScoreEvent::Busy { peer, retry_ms } => {
                self.score(now, peer).busy_until = now.after(retry_ms.min(MINUTE_MS));
            }
            ScoreEvent::NotHere { peer } => self.score(now, peer).quality.on_not_here(),
            ScoreEvent::Fault { peer, fault } => self.on_fault(now, peer, fault, actions),
            ScoreEvent::Blocked { peer } => self.on_blocked(now, peer, actions),
            ScoreEvent::OperatorBans { peer, ms, why } => {
                self.bans.ban(now, peer, ms, BannedBy::Operator, why);
                actions.push(ScoreAction::Ban { peer, ms });
            }
            ScoreEvent::OperatorLifts { peer } => {
                self.bans.lift(now, &peer);
                let score = self.score(now, peer);
                (score.trust, score.sync_off_until) = (TRUST_MAX * POINT, now);
            }
            ScoreEvent::Tick => self.bans.forget(now),
        }
    }

    fn on_fault(
        &mut self,
        now: Moment,
        peer: NodeId,
        fault: Fault,
        actions: &mut Vec<ScoreAction>,
    ) {
        let score = self.score(now, peer);
        if let Fault::BrokenPromise { status_seq } = fault {
            score.quality.on_not_here();
            if score.promise_broken == Some(status_seq) {
                return;
            }
            score.promise_broken = Some(status_seq);
        }
        // What is found out of who pays already is of the connection that it pays for.
        let pays = score.sync_off_until > now;
        if pays || (!self.required.contains(&peer) && self.bans.find(now, &peer).is_some()) {
            return;
        }
        let score = self.score(now, peer);
        score.heal(now, 0);
        score.trust = score.trust.saturating_sub(fault.cost() * POINT);
        if score.trust > 0 {
            return;
        }
        // What is lost is paid for by the ban; the repetition is remembered there.
        score.trust = TRUST_MAX * POINT;
        let host = score.host;
        let ms = self.bans.ban_for_faults(now, peer, host);
        if self.required.contains(&peer) {
            self.score(now, peer).sync_off_until = now.after(ms);
            actions.push(ScoreAction::SyncOff { peer, ms });
            return;
        }
        actions.push(ScoreAction::Ban { peer, ms });
        if let Some(host) = host
            && !self.required_hosts.contains(&host)
            && self.bans.ban_crowded_host(now, host)
        {
            actions.push(ScoreAction::BanHost { host, ms: super::ban::BAN_MS });
        }
    }

    fn on_blocked(&mut self, now: Moment, peer: NodeId, actions: &mut Vec<ScoreAction>) {
        if self.required.contains(&peer) {
            self.score(now, peer).sync_off_until = now.after(BLOCK_MS);
            actions.push(ScoreAction::SyncOff { peer, ms: BLOCK_MS });
        } else {
            self.bans.ban(now, peer, BLOCK_MS, BannedBy::Faults, String::new());
            actions.push(ScoreAction::Ban { peer, ms: BLOCK_MS });
        }
    }

    /// Returns the score of `peer`, a new one if there is none. Connected peers are always kept; of the
    /// others those with the most trust are forgotten first, since a new score says the same.
    fn score(&mut self, now: Moment, peer: NodeId) -> &mut Score {
        if !self.scores.contains_key(&peer) && self.scores.len() >= SCORES_MAX {
            let idle = self.scores.iter().filter(|(_, score)| score.limits.is_none());
            let dullest = idle.max_by_key(|(key, score)| {
                (score.trust.saturating_add(now.since(score.trust_at)), **key)
            });
            if let Some(dullest) = dullest.map(|(key, _)| *key) {
                self.scores.remove(&dullest);
            }
        }
        self.scores.entry(peer).or_insert_with(|| Score::new(now))
    }

    /// Lets a message of a limited kind pass, or says that it is to be ignored. One that comes far too
    /// often is charged.
    pub fn admit(
        &mut self,
        now: Moment,
        peer: NodeId,
        limit: Limit,
        actions: &mut Vec<ScoreAction>,
    ) -> Admission {
        let limits = self.scores.get_mut(&peer).and_then(|score| score.limits.as_mut());
        let Some(limits) = limits else {
            return Admission::Ignore;
        };
        let (admission, abused) = limits.take(now, limit);
        if abused {
            self.on_fault(now, peer, Fault::RateExceeded, actions);
        }
        admission
    }

    /// Counts `bytes` read from `peer`; returns for how many milliseconds nothing more shall be read.
    pub fn read(&mut self, now: Moment, peer: &NodeId, bytes: u64) -> u64 {
        let limits = self.scores.get_mut(peer).and_then(|score| score.limits.as_mut());
        limits.map_or(0, |limits| limits.read(now, bytes))
    }

    /// Counts `bytes` written to `peer`; returns for how many milliseconds nothing more shall be written.
    pub fn written(&mut self, now: Moment, peer: &NodeId, bytes: u64) -> u64 {
        let limits = self.scores.get_mut(peer).and_then(|score| score.limits.as_mut());
        limits.map_or(0, |limits| limits.written(now, bytes))
    }

    /// Chooses one of `candidates` to ask for data: by quality times speed, in 5 of 100 cases one that was
    /// never measured; bad ones only when there is nobody else, busy ones and those not to be asked never.
    pub fn choose(&mut self, now: Moment, candidates: &[NodeId]) -> Option<NodeId> {
        let unknown = Score::new(now);
        let ready: Vec<_> = (candidates.iter())
            .map(|peer| (*peer, self.scores.get(peer).unwrap_or(&unknown)))
            .filter(|(_, score)| score.busy_until <= now && score.sync_off_until <= now)
            .map(|(peer, score)| (peer, score.quality))
            .collect();
        quality::choose(&ready, &mut self.dice)
    }

    /// Returns how well `peer` serves, from 0 to 1.
    #[must_use]
    pub fn quality(&self, peer: &NodeId) -> f64 {
        self.scores.get(peer).map_or_else(Quality::default, |score| score.quality).value()
    }

    /// Returns the trust in `peer` in whole points, from 0 to [`TRUST_MAX`].
    #[must_use]
    pub fn trust(&self, now: Moment, peer: &NodeId) -> u64 {
        let Some(score) = self.scores.get(peer) else {
            return TRUST_MAX;
        };
        let mut score = score.clone();
        score.heal(now, 0);
        score.trust / POINT
    }

    /// Returns for how many milliseconds `peer` is still turned away. A required peer is, only if an
    /// operator banned it.
    #[must_use]
    pub fn banned_ms(&self, now: Moment, peer: &NodeId) -> Option<u64> {
        let ban = self.bans.find(now, peer)?;
        let holds = ban.by == BannedBy::Operator || !self.required.contains(peer);
        holds.then(|| ban.until.since(now))
    }

    /// Returns for how many milliseconds connections from `ip` are still turned away.
    #[must_use]
    pub fn host_banned_ms(&self, now: Moment, ip: IpAddr) -> Option<u64> {
        let ms = self.bans.find_host(now, ip)?;
        (!self.required_hosts.contains(&Subnet::host(ip))).then_some(ms)
    }

    /// Returns the bans, to be stored and shown.
    #[must_use]
    pub fn bans(&self) -> &BanList {
        &self.bans
    }

    /// Returns of how many peers a score is remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.scores.len()
    }

    /// Returns whether no peer is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }
}

#[cfg(test)]
mod tests;
