//! Faults that the core can be given on purpose, so that the model checker is tested too.
//!
//! Each is a mistake that was made somewhere; the hooks exist in tests only.

use crate::crypto::Crypto;
use crate::rekey::{Rekey, Side, State};

/// A fault. The numbers are those of `docs/ratchet.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mutant {
    /// M1: both sides think that their INIT stands.
    BothStand,
    /// M2: both sides yield when two INITs cross.
    BothYield,
    /// M3: the responder switches before its RESP.
    SwitchBeforeResp,
    /// M4: the initiator does not switch after its FIN.
    NoSwitchAfterFin,
    /// M5: the INIT is made from a snapshot of the time of the request, and the peer skips what it
    /// takes for stale.
    TornSnapshot,
    /// M6: the ephemeral secret of an INIT that yielded is used for the next one.
    ReusedEphemeral,
    /// M7: a ticket waits for the event after the one it asked for.
    LateTicket,
    /// M8: the responder reads under the new key before the initiator has switched to it.
    EarlyReceiveKey,
    /// M9: a round begins while another is under way.
    Overlap,
    /// M10: a closing end ignores a RESP.
    CloseIgnoresResp,
    /// M11: no credit, so that reading waits for the application. Played by the model.
    NoCredit,
}

/// The fault of one end, and what it keeps for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mutation<C: Crypto> {
    pub(crate) mutant: Option<Mutant>,
    pub(crate) superseded: Option<(C::Ephemeral, Vec<u8>)>,
    pub(crate) torn: Option<u64>,
}

impl<C: Crypto> Default for Mutation<C> {
    fn default() -> Self {
        Self { mutant: None, superseded: None, torn: None }
    }
}

impl<C: Crypto> Mutation<C> {
    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub(crate) fn skips_stale(&self) -> bool {
        self.is(Mutant::TornSnapshot)
    }

    pub(crate) fn stands(&self, side: Side) -> bool {
        (side == Side::Low || self.is(Mutant::BothStand)) && !self.is(Mutant::BothYield)
    }

    pub(crate) fn keep_superseded(&mut self, state: &State<C>) {
        if let State::AwaitResp { ephemeral, init, .. } = state
            && self.is(Mutant::ReusedEphemeral)
        {
            self.superseded = Some((ephemeral.clone(), init.clone()));
        }
    }

    pub(crate) fn close_ignores_resp(&self, open: bool) -> bool {
        !open && self.is(Mutant::CloseIgnoresResp)
    }

    pub(crate) fn forgets_to_switch(&self, state: &State<C>) -> bool {
        self.is(Mutant::NoSwitchAfterFin) && matches!(state, State::Idle)
    }
}

impl<C: Crypto> Rekey<C> {
    pub(crate) fn mutate_answer(&mut self) {
        if self.mutation.is(Mutant::SwitchBeforeResp)
            && let Some(switch) = &self.switch
        {
            self.send = switch.next.clone();
        }
        if self.mutation.is(Mutant::EarlyReceiveKey)
            && let State::AwaitFin { recv_next, .. } = &self.state
        {
            self.recv = recv_next.clone();
        }
    }

    /// Returns the epoch of the ticket, when a mutant answers the request.
    pub(crate) fn mutate_request(&mut self, epoch: u64, wanted: &mut u64) -> Option<u64> {
        if self.mutation.is(Mutant::TornSnapshot) {
            self.mutation.torn = self.mutation.torn.or(Some(epoch));
            return Some(epoch);
        }
        *wanted = epoch.max(*wanted);
        self.mutation.is(Mutant::LateTicket).then_some(epoch + 1)
    }

    /// Returns whether a round is wanted, when a mutant decides it.
    pub(crate) fn mutate_want(&self, wanted: u64) -> Option<bool> {
        match self.mutation.mutant {
            Some(Mutant::TornSnapshot) => Some(self.mutation.torn.is_some() && self.is_idle()),
            Some(Mutant::Overlap) => Some(wanted > self.chain.epoch),
            _ => None,
        }
    }
}
