//! `Contiguous`: Protocol Buffers in gRPC, from and to memory in one piece.
//!
//! What tonic hands over is always in one piece, but behind a type that has to ask for it again with
//! each field. Messages of a hundred records have a thousand fields.

use std::marker::PhantomData;

use prost::Message;
use prost::bytes::Buf as _;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// The codec of every method: sends `T`, receives `U`.
#[derive(Debug)]
pub struct Contiguous<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Contiguous<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for Contiguous<T, U>
where
    T: Message + 'static,
    U: Message + Default + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Sends<T>;
    type Decoder = Receives<U>;

    fn encoder(&mut self) -> Sends<T> {
        Sends(PhantomData)
    }

    fn decoder(&mut self) -> Receives<U> {
        Receives(PhantomData)
    }
}

/// Encodes messages.
#[derive(Debug)]
pub struct Sends<T>(PhantomData<T>);

impl<T: Message> Encoder for Sends<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let length = message.encoded_len();
        buf.reserve(length);
        message.encode_raw(buf);
        Ok(())
    }
}

/// Decodes messages.
#[derive(Debug)]
pub struct Receives<U>(PhantomData<U>);

impl<U: Message + Default> Decoder for Receives<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let whole = buf.remaining();
        let message = match buf.chunk() {
            bytes if bytes.len() == whole => {
                let message = U::decode(bytes);
                buf.advance(whole);
                message
            }
            _ => U::decode(buf),
        };
        // A message that cannot be read is the sender's fault; a server says so with this code too.
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
