//! What arrives in a session: one record, its frame, and the data in it.

use super::{Carried, Data, Life, Session, payload_max};
use crate::credit::cost;
use crate::crypto::Crypto;
use crate::frame::{Frame, HEADER_BYTES, Header};
use crate::key_schedule::Mode;
use crate::limit::RECORDS_PER_EPOCH_MAX;
use crate::reason::{Reason, Violation};

impl<C: Crypto> Session<C> {
    /// Handles the first record of `header` and `rest` and returns how long its frame was, `None`
    /// when it is not complete.
    pub(super) fn record(
        &mut self,
        header: &[u8; HEADER_BYTES],
        rest: &mut [u8],
    ) -> Result<Option<usize>, Reason> {
        let Some(rekey) = &mut self.rekey else { return Ok(None) };
        let min = 1 + C::TAG_BYTES;
        let max = Frame::bytes_max::<C>(payload_max(&self.agreed)) + C::TAG_BYTES;
        let Header { length, epoch } = Header::decode(header, min, max)?;
        let expected = rekey.recv.wire_epoch();
        if epoch != expected {
            return Err(Violation::RecordEpoch { found: epoch, expected }.into());
        }
        let Some(sealed) = rest.get_mut(..length) else { return Ok(None) };
        if self.peer_code.is_some() {
            return Err(Violation::AfterClose.into());
        }
        if rekey.recv.seq >= RECORDS_PER_EPOCH_MAX {
            return Err(Violation::KeyOverused.into());
        }
        let (epoch, seq) = (rekey.recv.epoch, rekey.recv.seq);
        let opened = rekey.recv.open(header, sealed).ok_or(Reason::OpenFailed { epoch, seq })?;
        self.heard = self.now;
        self.unanswered = 0;
        let frame = Frame::decode::<C>(opened)?;
        self.frame(frame, opened, epoch)?;
        Ok(Some(length))
    }

    /// Handles one frame; `bytes` are its own and `epoch` is the one it came in.
    fn frame(&mut self, frame: Frame<'_>, bytes: &[u8], epoch: u64) -> Result<(), Reason> {
        let open = self.life == Life::Open;
        let Some(rekey) = &mut self.rekey else { return Ok(()) };
        match frame {
            Frame::Data { end, payload } => self.on_data(end, payload, epoch)?,
            Frame::Init(init) => {
                let (rounds, limits, now) = (&mut self.rounds, &self.limits, self.now);
                let not_before = || {
                    let at = rounds.take(limits, now);
                    let too_late = at > now.after(limits.defer_max_ms);
                    if too_late { Err(Reason::RateAbuse) } else { Ok(at) }
                };
                rekey.on_init(&mut self.crypto, open, &init, bytes, not_before)?;
            }
            Frame::Resp(resp) => rekey.on_resp(&self.crypto, open, &resp)?,
            Frame::Fin { epoch, confirm } => {
                rekey.on_fin(epoch, &confirm)?;
                self.epoch_began();
            }
            Frame::Window(bytes) => self.credit.add(bytes)?,
            Frame::Close { code, .. } => {
                self.peer_code = Some(code);
                match self.life {
                    Life::Open => self.start_closing(0),
                    Life::CloseSent => self.end(Life::Closed),
                    Life::Closing | Life::Closed | Life::Dead(_) => {}
                }
            }
            Frame::Ping(number) => self.pong_due = Some(number),
            Frame::Pong(number) if number == 0 || number > self.pings => {
                return Err(Violation::Pong.into());
            }
            Frame::Pong(_) => {}
        }
        Ok(())
    }

    fn on_data(&mut self, end: bool, payload: &[u8], epoch: u64) -> Result<(), Violation> {
        if payload.len() > payload_max(&self.agreed) {
            return Err(Violation::Payload(payload.len()));
        }
        if self.agreed.mode == Mode::FreshEpoch && self.carried_in.is_second(epoch) {
            return Err(Violation::SecondMessage);
        }
        self.window.receive(cost(payload.len()))?;
        self.carried_in = Carried { epoch: Some(epoch), unfinished: !end };
        let joined = self.received.back_mut().is_some_and(|last| last.join(payload, end));
        if !joined {
            self.received.push_back(Data::of_record(payload, end));
        }
        Ok(())
    }
}
