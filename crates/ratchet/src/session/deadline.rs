//! Time in a session: what is due when, and what it does.
//!
//! Nothing here changes the meaning of a message. What is due is a level: calling too often, too
//! late or with a clock that jumped does what is due once.

use super::{Life, Session};
use crate::crypto::Crypto;
use crate::limit::Moment;
use crate::reason::Reason;
use crate::rekey::{Rekey, Side};

impl<C: Crypto> Session<C> {
    /// Returns when to call [`Self::on_deadline`], at the latest; `None` when the session is over.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Moment> {
        let rekey = self.rekey.as_ref()?;
        let limits = &self.limits;
        if self.life != Life::Open {
            return Some(self.closing_since.after(limits.linger_ms));
        }
        let mut next = self.heard.after(limits.ping_ms);
        let age = match self.overdue_since {
            Some(since) => since.after(limits.age_grace_ms),
            None => self.due_by_age(rekey),
        };
        next = next.min(age);
        if let Some(switch) = &rekey.switch
            && switch.not_before > self.now
        {
            next = next.min(switch.not_before);
        }
        if let Some(wait) = rekey.wait() {
            next = next.min(match wait.slow {
                None => wait.since.after(limits.round_slow_ms),
                Some(slow) => slow.after(limits.round_grace_ms),
            });
        }
        Some(next)
    }

    /// Does what is due at `now`. May be called at any time, any number of times.
    pub fn on_deadline(&mut self, now: Moment) {
        self.set_clock(now);
        let now = self.now;
        let Some(rekey) = &mut self.rekey else { return };
        let limits = &self.limits;
        if self.life != Life::Open {
            if self.closing_since.after(limits.linger_ms) <= now {
                self.die(Reason::CloseTimeout);
            }
            return;
        }
        let target = rekey.target();
        if let Some(wait) = rekey.wait_mut() {
            match wait.slow {
                None if wait.since.after(limits.round_slow_ms) <= now => wait.slow = Some(now),
                Some(slow) if slow.after(limits.round_grace_ms) <= now => {
                    return self.die(Reason::RekeyTimeout(target));
                }
                None | Some(_) => {}
            }
        }
        if self.heard.after(limits.ping_ms) <= now {
            self.heard = now;
            if self.unanswered >= limits.pings_max {
                return self.die(Reason::PeerSilent);
            }
            self.unanswered += 1;
            self.ping_due = true;
        }
        match self.overdue_since {
            None => {
                let due = self.rekey.as_ref().map(|rekey| self.due_by_age(rekey));
                if due.is_some_and(|due| due <= now) {
                    self.overdue_since = Some(now);
                }
            }
            Some(since) if since.after(limits.age_grace_ms) <= now => self.die(Reason::KeyTooOld),
            Some(_) => {}
        }
    }

    /// Returns when a round is due by age. The higher side waits an eighth longer, so that rounds
    /// by age do not cross; nothing depends on it.
    fn due_by_age(&self, rekey: &Rekey<C>) -> Moment {
        let epoch = rekey.confirmed();
        let was_used =
            self.carried_out.epoch >= Some(epoch) || self.carried_in.epoch >= Some(epoch);
        let age = if was_used { self.limits.age_active_ms } else { self.limits.age_idle_ms };
        let patience = if self.side == Side::High { age / 8 } else { 0 };
        self.epoch_since.after(age).after(patience)
    }
}
