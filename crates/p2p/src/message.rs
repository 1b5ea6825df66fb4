//! Messages: what nodes ask and answer, with the limits of each.
//!
//! A frame of the transport carries one message and the number of its request; a request is
//! answered by one or more answers, the last of which the transport marks. Every message fits into
//! one frame, so its length is bounded before it is read.

use proctor_types::Digest;

use crate::certificate::{Certificate, RANGE_MAX};
use crate::codec::{Canonical, CodecError, Reader, write_bytes, write_len};
use crate::header::{HEADER_BYTES, Header};
use crate::peers::book::ANSWER_MAX;
use crate::peers::record::{PeerRecord, RECORD_BYTES_MIN};
use crate::snapshot::Manifest;
use crate::status::{Certified, Hello, SignedStatus};

/// The longest payload of a frame, in bytes: no message is longer.
pub const FRAME_BYTES_MAX: usize = 64 << 10;
/// Bytes of a body or chunk that one answer carries at most.
pub const PART_BYTES_MAX: usize = 60 << 10;
/// Bodies that one request may ask for.
pub const BODIES_MAX: usize = 16;
/// The longest input that is forwarded, in bytes.
pub const INPUT_BYTES_MAX: usize = 60 << 10;
/// Nodes that may pass an input on before one that orders has it.
pub const HOPS_MAX: u8 = 4;
/// The longest body that travels with a pushed commit, in bytes.
pub const INLINE_BODY_BYTES_MAX: usize = 4 << 10;
/// The longest text of a refusal, in bytes.
pub const REASON_BYTES_MAX: usize = 256;

/// A body to be fetched: by place and by digest, so that the answer needs no index of digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BodyId {
    /// Height of its header.
    pub height: u64,
    /// BLAKE3 of the body.
    pub digest: Digest,
}

/// What one node asks another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Headers from a height on, up to a number of them.
    GetHeaders {
        /// The first height.
        from: u64,
        /// How many at most: 1 to [`RANGE_MAX`].
        max: u32,
    },
    /// Bodies, 1 to [`BODIES_MAX`].
    GetBodies(Vec<BodyId>),
    /// The header at a height with a certificate of exactly that height.
    GetCommit(u64),
    /// The manifest of the newest snapshot at or below a height.
    GetSnapshot(u64),
    /// A chunk of a snapshot.
    GetChunk {
        /// Height of the snapshot.
        height: u64,
        /// Number of the chunk.
        index: u32,
    },
    /// Where other nodes listen.
    GetPeers,
    /// A signed input, to be ordered by the sequencer.
    SubmitInput(Submission),
}

/// A signed input on its way to the sequencer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// How many nodes that do not order may still pass it on: what goes in a circle ends.
    pub hops: u8,
    /// For so many milliseconds whoever passed it on waits for the outcome.
    pub within_ms: u32,
    /// The input.
    pub input: Vec<u8>,
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Not now: ask again after so many milliseconds.
    Busy(u32),
    /// This node does not have it.
    NotHere,
    /// More was asked than a request may ask.
    TooLarge,
    /// The request makes no sense to this node.
    BadRequest,
    /// This node is on another chain.
    WrongChain,
    /// The asking node is banned for so many seconds more.
    Banned(u32),
    /// This node is stopping.
    Shutdown,
    /// It was passed on, and no outcome came in time: it may or may not have been ordered.
    Unknown,
}

/// A run of bytes of a body or chunk. Parts come in order and without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which of the things that were asked for, from 0.
    pub index: u32,
    /// Where the bytes begin.
    pub offset: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What became of a submitted input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable and applied in this commit, at this place. What the rules made of it stands in
    /// the commit's events.
    Committed {
        /// The commit.
        height: u64,
        /// Its place in the commit.
        ordinal: u32,
    },
    /// It was not ordered, and why: for people.
    Refused(String),
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Headers in order and the certificate of the last: 1 to [`RANGE_MAX`].
    Headers {
        /// The headers.
        headers: Vec<Header>,
        /// Certificate of the last one.
        certificate: Certificate,
    },
    /// Part of a body.
    Body(Part),
    /// The body with this number in the request is not here.
    NoBody(u32),
    /// A certified header.
    Commit(Certified),
    /// What a snapshot consists of.
    Manifest(Manifest),
    /// Records of nodes, at most [`ANSWER_MAX`]. Each is still to be verified.
    Peers(Vec<PeerRecord>),
    /// Part of a chunk.
    Chunk(Part),
    /// What became of a submitted input.
    Outcome(Outcome),
    /// There is no answer.
    Failed(Failure),
}

/// What a node tells unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Push {
    /// What it has.
    Status(SignedStatus),
    /// A new commit: a hint, that proves itself.
    Commit {
        /// The header and its certificate.
        commit: Certified,
        /// The body, if it is short.
        body: Option<Vec<u8>>,
    },
}

/// Everything that a frame can carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The first message.
    Hello(Hello),
    /// A question.
    Request(Request),
    /// A piece of an answer.
    Answer(Answer),
    /// News.
    Push(Push),
}

const GET_HEADERS: u8 = 1;
const GET_BODIES: u8 = 2;
const GET_COMMIT: u8 = 3;
const GET_SNAPSHOT: u8 = 4;
const GET_CHUNK: u8 = 5;
const GET_PEERS: u8 = 6;
const SUBMIT_INPUT: u8 = 7;

impl Canonical for Request {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::GetHeaders { from, max } => {
                out.push(GET_HEADERS);
                out.extend_from_slice(&from.to_be_bytes());
                out.extend_from_slice(&max.to_be_bytes());
            }
            Self::GetBodies(bodies) => {
                out.push(GET_BODIES);
                write_len(out, bodies.len());
                for body in bodies {
                    out.extend_from_slice(&body.height.to_be_bytes());
                    out.extend_from_slice(&body.digest.0);
                }
            }
            Self::GetCommit(height) => {
                out.push(GET_COMMIT);
                out.extend_from_slice(&height.to_be_bytes());
            }
            Self::GetSnapshot(at_most) => {
                out.push(GET_SNAPSHOT);
                out.extend_from_slice(&at_most.to_be_bytes());
            }
            Self::GetChunk { height, index } => {
                out.push(GET_CHUNK);
                out.extend_from_slice(&height.to_be_bytes());
                out.extend_from_slice(&index.to_be_bytes());
            }
            Self::GetPeers => out.push(GET_PEERS),
            Self::SubmitInput(Submission { hops, within_ms, input }) => {
                out.extend_from_slice(&[SUBMIT_INPUT, *hops]);
                out.extend_from_slice(&within_ms.to_be_bytes());
                write_bytes(out, input);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(match reader.u8("a request")? {
            GET_HEADERS => {
                let from = reader.u64("a height")?;
                let max = reader.u32("a number of headers")?;
                within("a request for headers", max, RANGE_MAX)?;
                Self::GetHeaders { from, max }
            }
            GET_BODIES => {
                let count = reader.count("a request for bodies", BODIES_MAX, 40)?;
                if count == 0 {
                    return Err(CodecError::NotCanonical("a request asks for at least one body"));
                }
                let body = |_| {
                    let height = reader.u64("a height")?;
                    Ok(BodyId { height, digest: reader.digest("a body's digest")? })
                };
                Self::GetBodies((0..count).map(body).collect::<Result<_, CodecError>>()?)
            }
            GET_COMMIT => Self::GetCommit(reader.u64("a height")?),
            GET_SNAPSHOT => Self::GetSnapshot(reader.u64("a height")?),
            GET_CHUNK => {
                Self::GetChunk { height: reader.u64("a height")?, index: reader.u32("a chunk")? }
            }
            GET_PEERS => Self::GetPeers,
            SUBMIT_INPUT => Self::SubmitInput(Submission {
                hops: reader.u8("hops")?,
                within_ms: reader.u32("a deadline")?,
                input: reader.bytes("an input", INPUT_BYTES_MAX)?.to_vec(),
            }),
            found => return Err(CodecError::Tag { what: "request", found }),
        })
    }
}

fn within(what: &'static str, found: u32, limit: usize) -> Result<(), CodecError> {
    if found == 0 {
        return Err(CodecError::NotCanonical("a request asks for at least one thing"));
    }
    if usize::try_from(found).is_ok_and(|found| found <= limit) {
        return Ok(());
    }
    Err(CodecError::TooLong { what, found: u64::from(found), limit: limit as u64 })
}

impl Canonical for Failure {
    fn write(&self, out: &mut Vec<u8>) {
        let (number, value) = match *self {
            Self::Busy(ms) => (1, Some(ms)),
            Self::NotHere => (2, None),
            Self::TooLarge => (3, None),
            Self::BadRequest => (4, None),
            Self::WrongChain => (5, None),
            Self::Banned(seconds) => (6, Some(seconds)),
            Self::Shutdown => (7, None),
            Self::Unknown => (8, None),
        };
        out.push(number);
        out.extend(value.into_iter().flat_map(u32::to_be_bytes));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(match reader.u8("a failure")? {
            1 => Self::Busy(reader.u32("a wait")?),
            2 => Self::NotHere,
            3 => Self::TooLarge,
            4 => Self::BadRequest,
            5 => Self::WrongChain,
            6 => Self::Banned(reader.u32("a ban")?),
            7 => Self::Shutdown,
            8 => Self::Unknown,
            found => return Err(CodecError::Tag { what: "failure", found }),
        })
    }
}

impl Canonical for Part {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.index.to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
        write_bytes(out, &self.bytes);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            index: reader.u32("an index")?,
            offset: reader.u32("an offset")?,
            bytes: reader.bytes("a part", PART_BYTES_MAX)?.to_vec(),
        })
    }
}

impl Canonical for Outcome {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Committed { height, ordinal } => {
                out.push(1);
                out.extend_from_slice(&height.to_be_bytes());
                out.extend_from_slice(&ordinal.to_be_bytes());
            }
            Self::Refused(why) => {
                out.push(2);
                write_bytes(out, why.as_bytes());
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(match reader.u8("an outcome")? {
            1 => Self::Committed {
                height: reader.u64("a height")?,
                ordinal: reader.u32("an ordinal")?,
            },
            2 => {
                let why = reader.bytes("a reason", REASON_BYTES_MAX)?;
                let why = str::from_utf8(why);
                Self::Refused(
                    why.map_err(|_| CodecError::NotCanonical("text is UTF-8"))?.to_owned(),
                )
            }
            found => return Err(CodecError::Tag { what: "outcome", found }),
        })
    }
}

impl Canonical for Answer {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Headers { headers, certificate } => {
                out.push(17);
                write_len(out, headers.len());
                headers.iter().for_each(|header| header.write(out));
                certificate.write(out);
            }
            Self::Body(part) => {
                out.push(18);
                part.write(out);
            }
            Self::NoBody(index) => {
                out.push(19);
                out.extend_from_slice(&index.to_be_bytes());
            }
            Self::Commit(commit) => {
                out.push(20);
                commit.write(out);
            }
            Self::Manifest(manifest) => {
                out.push(21);
                manifest.write(out);
            }
            Self::Peers(records) => {
                out.push(22);
                write_len(out, records.len());
                records.iter().for_each(|record| record.encode(out));
            }
            Self::Chunk(part) => {
                out.push(23);
                part.write(out);
            }
            Self::Outcome(outcome) => {
                out.push(24);
                outcome.write(out);
            }
            Self::Failed(failure) => {
                out.push(25);
                failure.write(out);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(match reader.u8("an answer")? {
            17 => {
                let count = reader.count("a range of headers", RANGE_MAX, HEADER_BYTES)?;
                let headers = (0..count).map(|_| Header::read(reader)).collect::<Result<_, _>>()?;
                Self::Headers { headers, certificate: Certificate::read(reader)? }
            }
            18 => Self::Body(Part::read(reader)?),
            19 => Self::NoBody(reader.u32("an index")?),
            20 => Self::Commit(Certified::read(reader)?),
            21 => Self::Manifest(Manifest::read(reader)?),
            22 => {
                let count = reader.count("a list of peers", ANSWER_MAX, RECORD_BYTES_MIN)?;
                let records = (0..count).map(|_| reader.record()).collect::<Result<_, _>>()?;
                Self::Peers(records)
            }
            23 => Self::Chunk(Part::read(reader)?),
            24 => Self::Outcome(Outcome::read(reader)?),
            25 => Self::Failed(Failure::read(reader)?),
            found => return Err(CodecError::Tag { what: "answer", found }),
        })
    }
}

impl Canonical for Push {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Status(status) => {
                out.push(33);
                status.write(out);
            }
            Self::Commit { commit, body } => {
                out.push(34);
                commit.write(out);
                out.push(u8::from(body.is_some()));
                if let Some(body) = body {
                    write_bytes(out, body);
                }
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(match reader.u8("a push")? {
            33 => Self::Status(SignedStatus::read(reader)?),
            34 => {
                let commit = Certified::read(reader)?;
                let body = if reader.flag("mark of a body")? {
                    Some(reader.bytes("a pushed body", INLINE_BODY_BYTES_MAX)?.to_vec())
                } else {
                    None
                };
                Self::Commit { commit, body }
            }
            found => return Err(CodecError::Tag { what: "push", found }),
        })
    }
}

impl Canonical for Message {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => {
                out.push(1);
                hello.write(out);
            }
            Self::Request(request) => {
                out.push(2);
                request.write(out);
            }
            Self::Answer(answer) => {
                out.push(3);
                answer.write(out);
            }
            Self::Push(push) => {
                out.push(4);
                push.write(out);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        if reader.left() > FRAME_BYTES_MAX {
            let (found, limit) = (reader.left() as u64, FRAME_BYTES_MAX as u64);
            return Err(CodecError::TooLong { what: "a message", found, limit });
        }
        Ok(match reader.u8("a message")? {
            1 => Self::Hello(Hello::read(reader)?),
            2 => Self::Request(Request::read(reader)?),
            3 => Self::Answer(Answer::read(reader)?),
            4 => Self::Push(Push::read(reader)?),
            found => return Err(CodecError::Tag { what: "message", found }),
        })
    }
}
