//! Signed messages: each is judged once, whoever sends it how often.

use std::sync::Arc;

use crate::input::SignedOrder;
use crate::orders::judged::{Judgement, MessageKey};
use crate::rejection::Rejection;

use super::{Engine, Step};

impl Engine {
    /// Judges a message that was not judged before, and remembers what came of it, be it a refusal.
    ///
    /// # Errors
    /// [`Rejection::WindowNotOpen`], [`Rejection::WindowOver`], [`Rejection::SignedBeforeEnrolment`],
    /// [`Rejection::AlreadyJudged`] and [`Rejection::JudgedFull`] when it is not judged now; else what
    /// the rules say of the order.
    pub(super) fn place_signed(
        &mut self,
        step: &mut Step,
        signed: &SignedOrder,
    ) -> Result<(), Rejection> {
        let SignedOrder { request, validity, payload, .. } = signed;
        let at = step.stamp.at;
        // The intake has looked at the window, too, but by an earlier time: a copy that waits in the
        // queue until the window is over must not meet a memory that has forgotten the first one.
        if at < validity.from {
            return Err(Rejection::WindowNotOpen(validity.from));
        }
        if at >= validity.until {
            return Err(Rejection::WindowOver(validity.until));
        }
        let Some(place) = self.state.accounts.place(&request.trader) else {
            // There is nowhere to remember it: keys cost nothing, so strangers can be any number.
            return self.place(step, request, None);
        };
        let account = &self.state.accounts[place];
        // What a stranger sent may have been refused, and is not taken after he has registered.
        if validity.from <= account.enrolled_at {
            return Err(Rejection::SignedBeforeEnrolment(account.enrolled_at));
        }
        let most = self.rulebook_of(account).rules.orders.ids_remembered.value;
        let key = MessageKey::of(payload);
        let judged = Arc::make_mut(&mut self.state.judged[place]);
        judged.forget(at);
        if let Some(judgement) = judged.of(validity.until, key) {
            return Err(Rejection::AlreadyJudged(judgement.clone()));
        }
        if u32::try_from(judged.len()).map_or(true, |remembered| remembered >= most) {
            return Err(Rejection::JudgedFull(most));
        }
        let reply = self.place(step, request, None);
        let refused = reply.as_ref().err().map(|rejection| rejection.code().into());
        let judgement = Judgement { stamp: step.stamp, refused };
        Arc::make_mut(&mut self.state.judged[place]).insert(validity.until, key, judgement);
        reply
    }
}
