//! The INIT/RESP/FIN state machine: one enum that owns the secrets of its state, one owner.
//!
//! A round renews every key of both directions. The initiator sends INIT; the responder answers
//! with RESP, its last record under the old key; the initiator ends with FIN, its last record under
//! the old key. When both start at once, the end with the lower identity stays the initiator. The
//! numbers of the rows are those of the table in `docs/ratchet.md`; what is not in the table ends
//! the session. Nothing is skipped in silence, nothing is tried again, and no clock is asked.

use crate::crypto::Crypto;
use crate::frame::{Frame, Init, Resp};
use crate::key_schedule::{self, Binding, Chain, EpochKeys};
use crate::limit::Moment;
use crate::reason::{Reason, Violation};
use crate::record::Half;

/// Which end this is: a total order, fixed by the authenticated identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    /// The lower identity; its INIT stands when two cross.
    Low,
    /// The higher identity; its INIT yields.
    High,
}

/// Since when an end waits for its peer in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wait {
    pub(crate) since: Moment,
    /// When it was found to be slow.
    pub(crate) slow: Option<Moment>,
}

/// Where a round stands. Leaving a state destroys its secrets.
#[cfg_attr(test, derive(Clone, Debug, PartialEq, Eq, Hash))]
pub(crate) enum State<C: Crypto> {
    Idle,
    /// This end has sent INIT. The proposal is made when it is sealed, never before, so there is
    /// none that would have to be taken back.
    AwaitResp {
        ephemeral: C::Ephemeral,
        /// The INIT frame, for the transcript.
        init: Vec<u8>,
        /// Whether the peer's INIT has crossed it.
        crossed: bool,
        wait: Wait,
    },
    /// This end has answered; the answer may still be unsent, see [`Rekey::switch`].
    AwaitFin {
        recv_next: Box<Half<C>>,
        confirm: [u8; 32],
        wait: Option<Wait>,
    },
}

/// The next sending key, and the frame that is the last one under the present key.
#[cfg_attr(test, derive(Clone, Debug, PartialEq, Eq, Hash))]
pub(crate) struct Switch<C: Crypto> {
    pub(crate) next: Box<Half<C>>,
    pub(crate) frame: Vec<u8>,
    /// When a peer that asks too often gets its answer.
    pub(crate) not_before: Moment,
}

/// The keys of a living session, and the round that renews them.
///
/// Keys are boxed because they change their place: a value that is moved leaves its bytes behind,
/// and nobody wipes those.
#[cfg_attr(test, derive(Clone, Debug, PartialEq, Eq, Hash))]
pub(crate) struct Rekey<C: Crypto> {
    side: Side,
    signed: bool,
    records_per_key: u64,
    binding: Binding,
    /// The newest epoch that this end has derived.
    pub(crate) chain: Chain,
    pub(crate) send: Box<Half<C>>,
    pub(crate) recv: Box<Half<C>>,
    pub(crate) switch: Option<Switch<C>>,
    pub(crate) state: State<C>,
    #[cfg(test)]
    pub(crate) mutation: crate::tests::mutant::Mutation<C>,
}

impl<C: Crypto> Rekey<C> {
    pub(crate) fn new(
        side: Side,
        agreed: &key_schedule::Agreed,
        binding: Binding,
        keys: EpochKeys,
    ) -> Self {
        let records_per_key = agreed.mode.records_per_key();
        let (chain, send, recv) = keys.directions(side);
        Self {
            side,
            signed: agreed.signed,
            records_per_key,
            binding,
            send: Half::new(chain.epoch, &send, records_per_key),
            recv: Half::new(chain.epoch, &recv, records_per_key),
            chain,
            switch: None,
            state: State::Idle,
            #[cfg(test)]
            mutation: crate::tests::mutant::Mutation::default(),
        }
    }

    /// Returns the epoch that both directions of this end have reached.
    pub(crate) fn confirmed(&self) -> u64 {
        self.send.epoch.min(self.recv.epoch)
    }

    /// Returns the epoch that the round under way leads to, or else the present one.
    pub(crate) fn target(&self) -> u64 {
        match self.state {
            State::AwaitResp { .. } => self.chain.epoch + 1,
            State::Idle | State::AwaitFin { .. } => self.chain.epoch,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Rows 1 and 3: proposes the next epoch and seals the INIT. Only when idle, and only after a
    /// FIN of the round before.
    pub(crate) fn propose(
        &mut self,
        crypto: &mut C,
        now: Moment,
        out: &mut Vec<u8>,
    ) -> Result<(), Reason> {
        #[cfg(test)]
        if let Some((ephemeral, init)) = self.mutation.superseded.take() {
            self.send.seal(out, |out| out.extend_from_slice(&init));
            let wait = Wait { since: now, slow: None };
            self.state = State::AwaitResp { ephemeral, init, crossed: false, wait };
            return Ok(());
        }
        let (ephemeral, share) = crypto.generate().map_err(Reason::Crypto)?;
        let epoch = self.chain.epoch + 1;
        #[cfg(test)]
        let epoch = self.mutation.torn.take().unwrap_or(epoch);
        let psk_id = self.binding.psk_id;
        let proposal = Init { epoch, suite: C::SUITE, psk_id, share: &share, signature: &[] };
        let mut init = Vec::new();
        proposal.encode_unsigned(&mut init);
        let signature = self
            .sign(crypto, |rekey| key_schedule::signed_init(&rekey.binding, &rekey.chain, &init))?;
        init.extend_from_slice(&signature);
        self.send.seal(out, |out| out.extend_from_slice(&init));
        let wait = Wait { since: now, slow: None };
        self.state = State::AwaitResp { ephemeral, init, crossed: false, wait };
        Ok(())
    }

    /// Rows 4, 6, 7 and 14: the peer proposes an epoch. `frame` is the whole INIT; `not_before` is
    /// asked only when it is answered.
    pub(crate) fn on_init(
        &mut self,
        crypto: &mut C,
        open: bool,
        init: &Init<'_>,
        frame: &[u8],
        not_before: impl FnOnce() -> Result<Moment, Reason>,
    ) -> Result<(), Reason> {
        let expected = self.chain.epoch + 1;
        let waits_for_fin = matches!(self.state, State::AwaitFin { .. });
        #[cfg(test)]
        if self.mutation.skips_stale() && init.epoch < expected {
            return Ok(());
        }
        if init.epoch != expected || waits_for_fin {
            let found = init.epoch;
            return Err(if waits_for_fin {
                Violation::UnexpectedInit.into()
            } else {
                Violation::InitEpoch { found, expected }.into()
            });
        }
        if !open {
            // Row 14: this direction ends with a CLOSE, which the peer is about to read.
            return Ok(());
        }
        #[cfg(not(test))]
        let stands = self.side == Side::Low;
        #[cfg(test)]
        let stands = self.mutation.stands(self.side);
        if let State::AwaitResp { crossed, .. } = &mut self.state
            && stands
        {
            // Row 6: ours stands, and the peer, which has or will see it, yields. FIFO order
            // lets this happen once.
            if std::mem::replace(crossed, true) {
                return Err(Violation::UnexpectedInit.into());
            }
            return Ok(());
        }
        #[cfg(test)]
        self.mutation.keep_superseded(&self.state);
        // Row 7: ours yields, its ephemeral secret is gone. Row 4: there was none.
        self.state = State::Idle;
        let not_before = not_before()?;
        self.answer(crypto, init, frame, not_before)
    }

    /// Row 4: derives the next epoch and stages the RESP.
    fn answer(
        &mut self,
        crypto: &mut C,
        init: &Init<'_>,
        frame: &[u8],
        not_before: Moment,
    ) -> Result<(), Reason> {
        let epoch = init.epoch;
        if init.suite != C::SUITE {
            return Err(Violation::Suite(init.suite).into());
        }
        if init.psk_id != self.binding.psk_id {
            return Err(Violation::Psk(init.psk_id).into());
        }
        let unsigned = frame.len().saturating_sub(C::SIGNATURE_BYTES);
        self.verify(crypto, epoch, init.signature, |rekey| {
            let proposal = frame.get(..unsigned).unwrap_or_default();
            key_schedule::signed_init(&rekey.binding, &rekey.chain, proposal)
        })?;
        let (shared, answer) = crypto.answer(init.share).map_err(Reason::BadShare)?;
        let transcript = self.transcript(frame, epoch, &answer);
        let keys = key_schedule::next::<C>(&self.binding, &self.chain, &shared, transcript);
        let signature = self
            .sign(crypto, |rekey| key_schedule::signed_resp(&rekey.binding, epoch, &transcript))?;
        let (expected, confirm) = (keys.confirm_init, keys.confirm_resp);
        let mut resp = Vec::new();
        Frame::Resp(Resp { epoch, answer: &answer, confirm, signature: &signature })
            .encode(&mut resp);
        let (chain, send, recv) = keys.directions(self.side);
        let recv_next = Half::new(epoch, &recv, self.records_per_key);
        self.chain = chain;
        self.state = State::AwaitFin { recv_next, confirm: expected, wait: None };
        let next = Half::new(epoch, &send, self.records_per_key);
        self.switch = Some(Switch { next, frame: resp, not_before });
        #[cfg(test)]
        self.mutate_answer();
        Ok(())
    }

    /// Rows 8 and 15: the peer answers. A closing end only follows with its receiving key, to read
    /// the rest of what the peer sends.
    pub(crate) fn on_resp(
        &mut self,
        crypto: &C,
        open: bool,
        resp: &Resp<'_>,
    ) -> Result<(), Reason> {
        #[cfg(test)]
        if self.mutation.close_ignores_resp(open) {
            return Ok(());
        }
        let epoch = self.chain.epoch + 1;
        let (State::AwaitResp { ephemeral, init, .. }, true) =
            (std::mem::replace(&mut self.state, State::Idle), resp.epoch == epoch)
        else {
            return Err(Violation::UnexpectedResp(resp.epoch).into());
        };
        let shared = C::complete(ephemeral, resp.answer).map_err(Reason::BadShare)?;
        let transcript = self.transcript(&init, epoch, resp.answer);
        let keys = key_schedule::next::<C>(&self.binding, &self.chain, &shared, transcript);
        // The confirmation first: without it the keys are not the peer's, and nothing follows.
        if !same(&keys.confirm_resp, &resp.confirm) {
            return Err(Reason::ConfirmFailed(epoch));
        }
        self.verify(crypto, epoch, resp.signature, |rekey| {
            key_schedule::signed_resp(&rekey.binding, epoch, &transcript)
        })?;
        let confirm = keys.confirm_init;
        let (chain, send, recv) = keys.directions(self.side);
        self.chain = chain;
        self.recv = Half::new(epoch, &recv, self.records_per_key);
        if open {
            let mut frame = Vec::new();
            Frame::Fin { epoch, confirm }.encode(&mut frame);
            let next = Half::new(epoch, &send, self.records_per_key);
            self.switch = Some(Switch { next, frame, not_before: Moment::default() });
        }
        Ok(())
    }

    /// Rows 10 and 15: the peer has switched; the round is over.
    pub(crate) fn on_fin(&mut self, epoch: u64, confirm: &[u8; 32]) -> Result<(), Reason> {
        // A FIN before our RESP was sent answers nothing, whatever it says.
        let answered = self.switch.is_none() && epoch == self.chain.epoch;
        match std::mem::replace(&mut self.state, State::Idle) {
            State::AwaitFin { recv_next, confirm: expected, .. } if answered => {
                if !same(&expected, confirm) {
                    return Err(Reason::ConfirmFailed(epoch));
                }
                self.recv = recv_next;
                Ok(())
            }
            State::Idle | State::AwaitResp { .. } | State::AwaitFin { .. } => {
                Err(Violation::UnexpectedFin(epoch).into())
            }
        }
    }

    /// Row 9: seals the RESP or FIN that is due, and switches to the next sending key. Returns
    /// whether there was one.
    pub(crate) fn seal_switch(&mut self, now: Moment, out: &mut Vec<u8>) -> bool {
        let Some(switch) = self.switch.take_if(|switch| switch.not_before <= now) else {
            return false;
        };
        self.send.seal(out, |out| out.extend_from_slice(&switch.frame));
        #[cfg(test)]
        if self.mutation.forgets_to_switch(&self.state) {
            return true;
        }
        self.send = switch.next;
        if let State::AwaitFin { wait, .. } = &mut self.state {
            *wait = Some(Wait { since: now, slow: None });
        }
        true
    }

    /// Row 13: the sending direction ends here. An answer or FIN that was not sent never will be;
    /// a state that the peer can still answer is kept, to read the rest of what it sends.
    pub(crate) fn withdraw(&mut self) {
        self.switch = None;
        if matches!(self.state, State::AwaitFin { wait: None, .. }) {
            self.state = State::Idle;
        }
    }

    /// Returns since when this end waits for the peer.
    pub(crate) fn wait(&self) -> Option<Wait> {
        match &self.state {
            State::AwaitResp { wait, .. } => Some(*wait),
            State::AwaitFin { wait, .. } => *wait,
            State::Idle => None,
        }
    }

    /// The same, to note that it is slow.
    pub(crate) fn wait_mut(&mut self) -> Option<&mut Wait> {
        match &mut self.state {
            State::AwaitResp { wait, .. } => Some(wait),
            State::AwaitFin { wait, .. } => wait.as_mut(),
            State::Idle => None,
        }
    }

    fn transcript(&self, init: &[u8], epoch: u64, answer: &[u8]) -> [u8; 32] {
        let resp = [&epoch.to_le_bytes(), answer].concat();
        key_schedule::transcript::<C>(&self.chain, init, &resp)
    }

    fn sign(
        &self,
        crypto: &mut C,
        message: impl FnOnce(&Self) -> Vec<u8>,
    ) -> Result<Vec<u8>, Reason> {
        if self.signed {
            crypto.sign(&message(self)).map_err(Reason::Crypto)
        } else {
            Ok(vec![0; C::SIGNATURE_BYTES])
        }
    }

    /// An unsigned round has a signature of zeros, so that it has one encoding.
    fn verify(
        &self,
        crypto: &C,
        epoch: u64,
        signature: &[u8],
        message: impl FnOnce(&Self) -> Vec<u8>,
    ) -> Result<(), Reason> {
        let good = if self.signed {
            crypto.verify(&message(self), signature)
        } else {
            signature.iter().all(|byte| *byte == 0)
        };
        if good { Ok(()) } else { Err(Reason::BadSignature(epoch)) }
    }
}

/// Compares in a time that does not depend on where the difference is.
fn same(ours: &[u8; 32], theirs: &[u8; 32]) -> bool {
    ours.iter().zip(theirs).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}
