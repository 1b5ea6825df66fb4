//! What leaves a session: which record is sealed next, and what a new epoch is needed for.

use super::{Carried, Life, Session, payload_max};
use crate::credit::cost;
use crate::crypto::Crypto;
use crate::frame::{DATA_OVERHEAD_BYTES, Frame, HEADER_BYTES};
use crate::key_schedule::Mode;
use crate::limit::{CONTROL_RESERVE, HANDSHAKE_RESERVE};
use crate::reason::Reason;
use crate::rekey::Rekey;

impl<C: Crypto> Session<C> {
    /// Seals the next record that is due: what ends a round first, then what begins one, then the
    /// other control frames, and data last, so that control never waits behind data.
    pub(super) fn seal_next(&mut self, out: &mut Vec<u8>) -> Result<bool, Reason> {
        let wants_round = self.is_round_wanted();
        let now = self.now;
        let Some(rekey) = &mut self.rekey else { return Ok(false) };
        match self.life {
            Life::Open => {}
            Life::Closing => {
                let code = self.close_code;
                rekey.send.seal(out, |out| Frame::Close { code, reason: &[] }.encode(out));
                if self.peer_code.is_some() {
                    self.end(Life::Closed);
                } else {
                    self.life = Life::CloseSent;
                }
                return Ok(true);
            }
            Life::CloseSent | Life::Closed | Life::Dead(_) => return Ok(false),
        }
        if rekey.seal_switch(now, out) {
            if rekey.is_idle() {
                // It was a FIN: both directions of the initiator are in the new epoch.
                self.epoch_began();
            }
            return Ok(true);
        }
        if wants_round {
            if rekey.chain.epoch >= self.limits.epoch_max {
                return Err(Reason::EpochExhausted);
            }
            rekey.propose(&mut self.crypto, now, out)?;
            return Ok(true);
        }
        let control_max = self.limits.records_hard + CONTROL_RESERVE - HANDSHAKE_RESERVE;
        let control = if let Some(number) = self.pong_due.take() {
            Frame::Pong(number)
        } else if std::mem::take(&mut self.ping_due) {
            self.pings += 1;
            Frame::Ping(self.pings)
        } else if self.window.is_window_due() {
            Frame::Window(self.window.window())
        } else {
            return Ok(self.seal_data(out));
        };
        if rekey.send.seq >= control_max {
            return Err(Reason::KeyTooOld);
        }
        rekey.send.seal(out, |out| control.encode(out));
        Ok(true)
    }

    /// Seals the next piece of the first message, if credit, limits and mode allow it.
    fn seal_data(&mut self, out: &mut Vec<u8>) -> bool {
        if self.is_stalled() || self.waits_for_fresh_epoch() {
            return false;
        }
        let Some(rekey) = &mut self.rekey else { return false };
        let Some(message) = self.queue.messages.front() else { return false };
        let rest = message.get(self.queue.sealed..).unwrap_or_default();
        let (piece, _) = rest.split_at(rest.len().min(payload_max(&self.agreed)));
        if !self.credit.allows(cost(piece.len())) {
            return false;
        }
        let end = piece.len() == rest.len();
        out.reserve(HEADER_BYTES + DATA_OVERHEAD_BYTES + piece.len() + C::TAG_BYTES);
        self.credit.spend(cost(piece.len()));
        self.queue.bytes -= piece.len();
        self.queue.sealed += piece.len();
        self.carried_out = Carried { epoch: Some(rekey.send.epoch), unfinished: !end };
        rekey.send.seal(out, |out| Frame::Data { end, payload: piece }.encode(out));
        if end {
            self.queue.messages.pop_front();
            self.queue.sealed = 0;
        }
        true
    }

    /// Row 1's guard: nothing under way, and a newer epoch is asked for or due.
    pub(super) fn is_round_wanted(&self) -> bool {
        let Some(rekey) = &self.rekey else { return false };
        #[cfg(test)]
        if let Some(answer) = rekey.mutate_want(self.wanted) {
            return answer && self.life == Life::Open;
        }
        if self.life != Life::Open || !rekey.is_idle() {
            return false;
        }
        let (limits, newest) = (&self.limits, rekey.chain.epoch);
        let used = |seq, bytes| seq >= limits.records_soft || bytes >= limits.bytes_soft;
        // Only of the newest epoch: a FIN that is not sealed yet renews the old key anyway.
        let worn = (rekey.send.epoch == newest && used(rekey.send.seq, rekey.send.bytes))
            || used(rekey.recv.seq, rekey.recv.bytes);
        self.wanted > newest
            || worn
            || self.overdue_since.is_some()
            || (rekey.send.epoch == newest && self.waits_for_fresh_epoch())
    }

    /// Returns whether the next message may not be sent in this epoch.
    pub(super) fn waits_for_fresh_epoch(&self) -> bool {
        self.agreed.mode == Mode::FreshEpoch
            && !self.queue.messages.is_empty()
            && self.rekey.as_ref().is_some_and(|rekey| self.carried_out.is_second(rekey.send.epoch))
    }

    /// Returns whether data waits because the key must not seal more of it.
    pub(super) fn is_stalled(&self) -> bool {
        let limits = &self.limits;
        let is_full = |rekey: &Rekey<C>| {
            rekey.send.seq >= limits.records_hard || rekey.send.bytes >= limits.bytes_hard
        };
        !self.queue.messages.is_empty() && self.rekey.as_ref().is_some_and(is_full)
    }
}
