//! Who stands on the connection, or at its other end with all keys, over simulated TCP (T08, T14, T15).

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use proctor_ratchet::crypto::Crypto;
use proctor_ratchet::{Freshness, Mode, Psk, Reason, Violation};
use proctor_ratchet_crypto::{Hybrid, Identity, generate};
use proctor_transport::handshake::{self, HandshakeError};
use proctor_transport::{Ended, SecureStream, Terms, accept, connect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;
use turmoil::net::{TcpListener, TcpStream};

use crate::by_the_docs::{FirstEpoch, first_epoch};
use crate::lab::{flip_at, found_out, id, node, pattern, small, terms, unhurried};
use crate::simulated_tcp::{PORT, dial_with, world};

const LATENCY_MS: u64 = 3;
const INIT_RECORD: usize = 1322;
const RESP_RECORD: usize = 1249;

/// Where the victim is when the forged frame arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// It has sent INIT(1).
    AwaitResp,
    /// It has answered INIT(1).
    AwaitFin,
}

/// A frame that is sealed as it should be, and is neither signed nor confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forged {
    Init,
    Resp,
    Fin,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    state: State,
    frame: Forged,
    epoch: u64,
}

impl Case {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for state in [State::Idle, State::AwaitResp, State::AwaitFin] {
            for frame in [Forged::Init, Forged::Resp, Forged::Fin] {
                all.extend((0..4).map(|epoch| Self { state, frame, epoch }));
            }
        }
        all
    }

    /// A Low ignores one INIT that crosses its own.
    fn crosses(self) -> bool {
        let is_low = id(&node(1)).0 < id(&node(2)).0;
        is_low && (self.state, self.frame, self.epoch) == (State::AwaitResp, Forged::Init, 1)
    }

    /// The table of the docs, section 3, row 17.
    fn reason(self) -> Reason {
        let epoch = self.epoch;
        match (self.state, self.frame) {
            (State::AwaitFin, Forged::Init) => Violation::UnexpectedInit.into(),
            (_, Forged::Init) if epoch != 1 => {
                Violation::InitEpoch { found: epoch, expected: 1 }.into()
            }
            (_, Forged::Init) if self.crosses() => Violation::UnexpectedInit.into(),
            (_, Forged::Init) => Reason::BadSignature(1),
            (State::AwaitResp, Forged::Resp) | (State::AwaitFin, Forged::Fin) if epoch == 1 => {
                Reason::ConfirmFailed(1)
            }
            (_, Forged::Resp) => Violation::UnexpectedResp(epoch).into(),
            (_, Forged::Fin) => Violation::UnexpectedFin(epoch).into(),
        }
    }
}

/// An end that has all keys of the first epoch, and sends what it likes.
struct Adversary {
    epoch: FirstEpoch,
    sent: usize,
    socket: TcpStream,
}

impl Adversary {
    async fn answer(mut socket: TcpStream, node: &Identity) -> Self {
        let terms = terms(small(Mode::RecordFs));
        let made = handshake::answer(&mut socket, node, |_| true, terms, 5_000).await.unwrap();
        let secrets = (&made.keys.exporter, &made.keys.handshake_hash);
        let epoch = first_epoch(secrets, made.agreed, [made.peer, id(node)], 8, &|_| {});
        Self { epoch, sent: 0, socket }
    }

    async fn send(&mut self, frame: &[u8]) {
        let length = u32::try_from(frame.len() + Hybrid::TAG_BYTES).unwrap().to_le_bytes();
        let header = [length[0], length[1], length[2], 1, 0, 0, 0, 0];
        let mut record = [&header, frame].concat();
        let way = &self.epoch.listener;
        let key = Hybrid::key(&way.keys[self.sent]);
        Hybrid::seal(&key, way.nonce(self.sent), &header, &mut record, header.len());
        self.sent += 1;
        self.socket.write_all(&record).await.unwrap();
    }

    /// Reads as much as a record of this kind has.
    async fn expect(&mut self, length: usize) {
        let mut record = vec![0; length];
        self.socket.read_exact(&mut record).await.unwrap();
        assert_eq!(record[0] as usize | (record[1] as usize) << 8, length - 8, "another record");
    }
}

fn init(epoch: u64, share: &[u8]) -> Vec<u8> {
    [&[1], &epoch.to_le_bytes()[..], &[Hybrid::SUITE], &[0; 8], share].concat()
}

/// An INIT(1) as an honest end would send it.
fn good_init(epoch: &FirstEpoch, node: &Identity) -> Vec<u8> {
    let (_, share) = generate().unwrap();
    let frame = init(1, &share);
    let session_id = Hybrid::digest(&[b"rk1 sid", &epoch.transcript]);
    let signed =
        [b"rk1 init", &session_id[..], &1_u64.to_le_bytes(), &epoch.transcript, &frame].concat();
    [frame, node.sign(&signed).unwrap().to_vec()].concat()
}

fn forged(case: Case) -> Vec<u8> {
    let epoch = case.epoch.to_le_bytes();
    let (confirm, signature) = ([0x5a; 32], [0x5a; 64]);
    match case.frame {
        Forged::Init => [init(case.epoch, &[1; Hybrid::SHARE_BYTES]), signature.to_vec()].concat(),
        Forged::Resp => {
            [&[2], &epoch[..], &[1; Hybrid::ANSWER_BYTES], &confirm, &signature].concat()
        }
        Forged::Fin => [&[3], &epoch[..], &confirm].concat(),
    }
}

/// Plays one case to the end of the connection.
async fn attack(socket: TcpStream, node: Arc<Identity>, case: Case) {
    let mut adversary = Adversary::answer(socket, &node).await;
    match case.state {
        State::Idle => {}
        State::AwaitResp => adversary.expect(INIT_RECORD).await,
        State::AwaitFin => {
            adversary.send(&good_init(&adversary.epoch, &node)).await;
            adversary.expect(RESP_RECORD).await;
        }
    }
    for _ in 0..=usize::from(case.crosses()) {
        adversary.send(&forged(case)).await;
    }
    drop(adversary.socket.read_to_end(&mut Vec::new()).await);
}

#[test]
fn t08_over_tcp_frames_of_one_who_holds_the_keys_are_fatal_in_every_state_and_typed() {
    let mut sim = world(8, LATENCY_MS);
    sim.host("far", || async {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        for case in Case::all() {
            attack(listener.accept().await?.0, node(2), case).await;
        }
        Ok(())
    });
    sim.client("near", async {
        for case in Case::all() {
            let stream = dial_with(Mode::RecordFs, unhurried()).await;
            let request = (case.state == State::AwaitResp)
                .then(|| stream.control().request_rekey(Freshness::Any));
            let ended = Ended::Session(case.reason());
            assert_eq!(stream.control().ended().await, ended, "{case:?}");
            if let Some(request) = request {
                assert_eq!(request.done().await, Err(ended));
            }
        }
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn t08_over_tcp_a_record_that_is_sent_twice_does_not_open() {
    let mut sim = world(8, LATENCY_MS);
    sim.host("far", || async {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        let mut adversary = Adversary::answer(listener.accept().await?.0, &node(2)).await;
        let ping = [&[6], &1_u64.to_le_bytes()[..]].concat();
        adversary.send(&ping).await;
        adversary.sent = 0;
        adversary.send(&ping).await;
        drop(adversary.socket.read_to_end(&mut Vec::new()).await);
        Ok(())
    });
    sim.client("near", async {
        let stream = dial_with(Mode::RecordFs, unhurried()).await;
        let reason = Reason::OpenFailed { epoch: 0, seq: 1 };
        assert_eq!(stream.control().ended().await, Ended::Session(reason));
        Ok(())
    });
    sim.run().unwrap();
}

/// The pre-shared keys of the two ends, by name and list.
type Keys = Option<(u64, &'static [&'static str])>;

fn with(keys: Keys) -> Terms {
    let list = |keys: &[&str]| keys.iter().map(|key| key.as_bytes().to_vec()).collect();
    Terms {
        psk: keys.map(|(name, keys)| Psk::new(name, list(keys)).unwrap()),
        ..terms(small(Mode::RecordFs))
    }
}

#[test]
fn t14_over_tcp_pre_shared_keys_must_be_the_same_list_under_the_same_name() {
    let ours: Keys = Some((5, &["ab", "c"]));
    let theirs: [Keys; 6] = [
        ours,
        Some((5, &["a", "bc"])),
        Some((5, &["ab"])),
        Some((5, &["c", "ab"])),
        Some((6, &["ab", "c"])),
        None,
    ];
    let mut sim = world(14, LATENCY_MS);
    sim.host("far", move || async move {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        for keys in theirs {
            let (socket, _) = listener.accept().await?;
            let made = accept(socket, node(2), |_| true, with(keys), unhurried()).await;
            let named = keys.map(|(name, _)| name) == Some(5);
            assert_eq!(matches!(made, Err(HandshakeError::Psk)), !named);
            if let Ok(mut stream) = made {
                drop(stream.read(&mut [0; 8]).await);
            }
        }
        Ok(())
    });
    sim.client("near", async move {
        for keys in theirs {
            let socket = TcpStream::connect(("far", PORT)).await?;
            let made = connect(socket, node(1), id(&node(2)), with(ours), unhurried()).await;
            match made {
                Ok(stream) => {
                    let differs = Ended::Session(Reason::ConfirmFailed(1));
                    let expected = if keys == ours { Ok(1) } else { Err(differs) };
                    assert_eq!(stream.rekey().await, expected, "{keys:?}");
                    assert!(matches!(keys, Some((5, _))), "{keys:?}");
                }
                Err(_) => assert!(!matches!(keys, Some((5, _))), "{keys:?}"),
            }
        }
        Ok(())
    });
    sim.run().unwrap();
}

thread_local! {
    /// What the far host read and how it ended, in order of its connections.
    static FAR: RefCell<Vec<(Vec<u8>, Ended)>> = const { RefCell::new(Vec::new()) };
}

fn message() -> Vec<u8> {
    [b"first".as_slice(), &pattern(0, 700)].concat()
}

/// Sends all that flows in this test: data, a round, data, and the end.
async fn send_all(stream: &mut SecureStream) {
    // What follows an altered byte can fail at any step.
    drop(stream.write_all(b"first").await);
    drop(stream.flush().await);
    let _ = stream.rekey().await;
    drop(stream.write_all(&pattern(0, 700)).await);
    drop(stream.shutdown().await);
}

#[test]
fn t15_over_tcp_a_byte_that_is_altered_on_the_way_is_fatal_and_typed() {
    // 1,415 bytes of the handshake come before the first record. What is altered: data, INIT, FIN, data and
    // CLOSE, of the end that dials.
    let (before, bytes) = (1271 + 144, 2_170);
    let altered: Vec<usize> = (0..bytes).step_by(11).collect();
    let count = altered.len();
    let mut sim = world(15, LATENCY_MS);
    sim.host("far", || async {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        loop {
            let (socket, _) = listener.accept().await?;
            let terms = terms(small(Mode::RecordFs));
            let made = accept(socket, node(2), |_| true, terms, unhurried()).await;
            let (mut stream, mut found) = (made.unwrap(), Vec::new());
            let read = stream.read_to_end(&mut found).await;
            assert!(read.is_err() || found == message(), "an altered byte was taken");
            drop(stream.shutdown().await);
            let ended = stream.control().ended().await;
            FAR.with_borrow_mut(|far| far.push((found, ended)));
        }
    });
    sim.host("middle", move || {
        let altered = altered.clone();
        async move {
            let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
            for at in altered {
                let (near, _) = listener.accept().await?;
                let (from_near, to_near) = near.into_split();
                let (from_far, to_far) = TcpStream::connect(("far", PORT)).await?.into_split();
                let (flipped, _) = tokio::join!(
                    flip_at(before + at, from_near, to_far),
                    flip_at(usize::MAX, from_far, to_near),
                );
                assert!(flipped, "nothing was altered at {at}");
            }
            Ok(())
        }
    });
    sim.client("near", async move {
        for _ in 0..count {
            let socket = TcpStream::connect(("middle", PORT)).await?;
            let terms = terms(small(Mode::RecordFs));
            let made = connect(socket, node(1), id(&node(2)), terms, unhurried()).await;
            let mut stream = made.unwrap();
            send_all(&mut stream).await;
            stream.control().ended().await;
        }
        // The far host may still have to hear of the last one.
        sleep(Duration::from_secs(60)).await;
        Ok(())
    });
    sim.run().unwrap();
    let far = FAR.take();
    assert_eq!(far.len(), count);
    let mut by_the_seal = 0;
    for (at, (found, ended)) in far.iter().enumerate() {
        assert!(message().starts_with(found), "something wrong was read at {at}");
        assert!(found_out(ended), "byte {at}: {ended:?}");
        by_the_seal += usize::from(matches!(ended, Ended::Session(Reason::OpenFailed { .. })));
    }
    assert!(by_the_seal > count * 8 / 10, "{by_the_seal} of {count} are found by the seal");
}
