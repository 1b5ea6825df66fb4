//! The server alone: what it refuses before anything is read, and how answers are cut.

use proctor_p2p::message::{BodyId, Outcome, PART_BYTES_MAX, Submission};
use proctor_p2p::server::{ANSWER_BYTES_MAX, OPEN_MAX, Ticket};
use proctor_p2p::server::{Available, Loaded, OPEN_PER_PEER_MAX, Read, ServerAction, ServerEvent};
use proctor_p2p::sync::Offence;
use proctor_p2p::{Answer, Failure, Moment, NodeId, Request, Server};
use proctor_types::Digest;

fn server() -> Server {
    let available = Available { tip: 100, lowest_body: 50, lowest_header: 10, latest_snapshot: 64 };
    let mut server = Server::default();
    server.on_event(Moment(0), ServerEvent::Available(available), &mut Vec::new());
    server
}

fn tell(server: &mut Server, at: u64, event: ServerEvent) -> Vec<ServerAction> {
    let mut actions = Vec::new();
    server.on_event(Moment(at), event, &mut actions);
    actions
}

fn submission(input: Vec<u8>) -> Request {
    Request::SubmitInput(Submission { hops: 1, within_ms: 1_000, input })
}

fn ask(server: &mut Server, peer: u8, id: u64, request: Request) -> Vec<ServerAction> {
    tell(server, 0, ServerEvent::Request { peer: NodeId([peer; 32]), id, request })
}

fn failure(actions: &[ServerAction]) -> Option<Failure> {
    match actions.last() {
        Some(ServerAction::Answer { answer: Answer::Failed(failure), last: true, .. }) => {
            Some(*failure)
        }
        _ => None,
    }
}

fn bodies(heights: &[u64]) -> Request {
    let body = |height: &u64| BodyId { height: *height, digest: Digest([1; 32]) };
    Request::GetBodies(heights.iter().map(body).collect())
}

#[test]
fn what_cannot_be_here_is_refused_before_anything_is_read() {
    let not_here = [
        Request::GetHeaders { from: 0, max: 5 },
        Request::GetHeaders { from: 9, max: 5 },
        Request::GetHeaders { from: 101, max: 5 },
        Request::GetHeaders { from: u64::MAX, max: 256 },
        bodies(&[49]),
        bodies(&[101, u64::MAX, 0]),
        Request::GetCommit(0),
        Request::GetCommit(101),
    ];
    for request in not_here {
        let actions = ask(&mut server(), 1, 1, request.clone());
        assert_eq!((actions.len(), failure(&actions)), (1, Some(Failure::NotHere)), "{request:?}");
    }
    let mut nothing = Server::default();
    let snapshot = ask(&mut nothing, 1, 1, Request::GetSnapshot(5));
    assert_eq!(failure(&snapshot), Some(Failure::NotHere));
    let headers = ask(&mut server(), 1, 1, Request::GetHeaders { from: 90, max: 256 });
    let read = Read::Headers { from: 90, to: 100 };
    assert_eq!(headers, [ServerAction::Read(Ticket(1), read)]);
}

#[test]
fn f8_sixteen_requests_of_a_peer_and_256_of_all_are_open_and_then_it_is_busy() {
    let mut server = server();
    let mut open = 0;
    for peer in 0..20 {
        for id in 0..40 {
            let actions = ask(&mut server, peer, id, Request::GetCommit(60));
            match failure(&actions) {
                None => open += 1,
                Some(refused) => assert_eq!(refused, Failure::Busy(250)),
            }
        }
        assert_eq!(server.held().0, open);
        assert_eq!(open, OPEN_MAX.min((usize::from(peer) + 1) * OPEN_PER_PEER_MAX));
    }
    // Who leaves makes room, and what was read for him is for nobody.
    let left = tell(&mut server, 0, ServerEvent::PeerLeft(NodeId([0; 32])));
    assert_eq!((left.len(), server.held().0), (0, OPEN_MAX - OPEN_PER_PEER_MAX));
    let late = tell(&mut server, 0, ServerEvent::Loaded(Ticket(1), Loaded::Missing));
    assert_eq!(late, []);
}

#[test]
fn f8_who_goes_on_asking_while_it_is_busy_is_charged() {
    let mut server = server();
    let charged = (0..2_000).flat_map(|id| ask(&mut server, 1, id, Request::GetCommit(60)));
    let charged = charged.filter(|action| matches!(action, ServerAction::Penalise { .. }));
    let charged: Vec<_> = charged.collect();
    let flood = ServerAction::Penalise { peer: NodeId([1; 32]), offence: Offence::Flood };
    assert!(charged.len() > 1_000 && charged.iter().all(|one| *one == flood));
}

/// B10: contents above the message limit of the reference could never be fetched.
#[test]
fn b10_bodies_are_cut_into_parts_and_the_last_part_is_marked() {
    let mut server = server();
    let actions = ask(&mut server, 1, 7, bodies(&[60, 61, 62]));
    let expected = ServerAction::Read(
        Ticket(1),
        Read::Bodies {
            bodies: [60, 61, 62].map(|height| BodyId { height, digest: Digest([1; 32]) }).to_vec(),
            bytes_max: ANSWER_BYTES_MAX,
        },
    );
    assert_eq!(actions, [expected]);
    let long = vec![3; 2 * PART_BYTES_MAX + 1];
    let loaded = Loaded::Bodies(vec![Some(long.clone()), None, Some(vec![])]);
    let actions = tell(&mut server, 0, ServerEvent::Loaded(Ticket(1), loaded));
    let mut seen = Vec::new();
    let mut whole = Vec::new();
    for action in actions {
        let ServerAction::Answer { id: 7, answer, last, .. } = action else { panic!("{action:?}") };
        match answer {
            Answer::Body(part) => {
                seen.push((part.index, part.offset as usize, last));
                whole.extend(part.bytes);
            }
            Answer::NoBody(index) => seen.push((index, usize::MAX, last)),
            other => panic!("{other:?}"),
        }
    }
    let (part, none) = (PART_BYTES_MAX, usize::MAX);
    let expected =
        [(0, 0, false), (0, part, false), (0, 2 * part, false), (1, none, false), (2, 0, true)];
    assert_eq!((seen.as_slice(), whole), (&expected[..], long));
}

#[test]
fn bytes_that_were_sent_are_charged_and_the_next_request_waits() {
    let mut server = server();
    ask(&mut server, 1, 1, bodies(&[60]));
    let loaded = Loaded::Bodies(vec![Some(vec![0; 16 << 20])]);
    tell(&mut server, 0, ServerEvent::Loaded(Ticket(1), loaded));
    assert_eq!(failure(&ask(&mut server, 1, 2, bodies(&[60]))), Some(Failure::Busy(250)));
    assert_eq!(failure(&ask(&mut server, 2, 2, bodies(&[60]))), None, "others are served");
    let peer = NodeId([1; 32]);
    let later = ServerEvent::Request { peer, id: 3, request: bodies(&[60]) };
    assert_eq!(failure(&tell(&mut server, 250, later)), None);
}

#[test]
fn an_input_is_handed_on_and_answered_with_its_outcome() {
    let mut server = server();
    let actions = ask(&mut server, 1, 5, submission(vec![1, 2]));
    let passed = Submission { hops: 1, within_ms: 1_000, input: vec![1, 2] };
    assert_eq!(actions, [ServerAction::Submit(Ticket(1), NodeId([1; 32]), passed)]);
    let outcome = Outcome::Committed { height: 9, ordinal: 1 };
    let event = ServerEvent::Submitted(Ticket(1), Ok(outcome.clone()));
    let answer = ServerAction::Answer {
        peer: NodeId([1; 32]),
        id: 5,
        answer: Answer::Outcome(outcome),
        last: true,
    };
    assert_eq!(tell(&mut server, 0, event.clone()), [answer]);
    assert_eq!(tell(&mut server, 0, event), [], "answered once");
    let many = (0..300).map(|id| {
        let actions = ask(&mut server, 1, id, submission(vec![]));
        if let Some(ServerAction::Submit(ticket, ..)) = actions.first() {
            tell(&mut server, 0, ServerEvent::Submitted(*ticket, Err(Failure::Busy(1))));
        }
        failure(&actions)
    });
    assert_eq!(many.filter(Option::is_none).count(), 199, "two hundred at once, with the first");
    assert_eq!(server.limited().inputs, 101, "the others are counted");
}

/// R17: a server that stops answers what comes with a reason.
#[test]
fn r17_after_stop_every_request_is_answered_with_shutdown() {
    let mut server = server();
    tell(&mut server, 0, ServerEvent::Stop);
    assert_eq!(failure(&ask(&mut server, 1, 1, bodies(&[60]))), Some(Failure::Shutdown));
}
