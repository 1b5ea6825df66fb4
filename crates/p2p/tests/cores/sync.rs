//! The sync core alone: what it believes, what it ignores, when it stops.

use proctor_p2p::message::BodyId;
use proctor_p2p::sync::verify::Job;
use proctor_p2p::sync::{
    Action, Config, Ending, Event, Halt, JobId, Marks, Offence, RequestId, StoreJob, Stored,
};
use proctor_p2p::{
    Answer, Certified, Failure, Header, Moment, NodeId, Request, SignedStatus, Status, SyncCore,
    Tip,
};
use proctor_types::{Digest, UtcMs};

use crate::chain::{CHAIN, certify, headers, key, node, sign, trust};

const BINDING: Digest = Digest([5; 32]);

/// A core with peers of the keys 10, 11, ..., who do what the test says.
struct Bench {
    core: SyncCore,
    now: Moment,
    actions: Vec<Action>,
    sequence: u64,
}

impl Bench {
    fn new(peers: u8) -> Self {
        let core =
            SyncCore::new(Config::default(), trust(0, &key(1)), Tip::GENESIS, 0, Moment(1_000));
        let mut bench = Self { core, now: Moment(1_000), actions: Vec::new(), sequence: 0 };
        for peer in 0..peers {
            bench.tell(Event::PeerJoined { peer: bench.peer(peer), binding: BINDING });
        }
        bench
    }

    fn peer(&self, nth: u8) -> NodeId {
        node(&key(10 + nth))
    }

    fn tell(&mut self, event: Event) {
        self.core.on_event(self.now, event, &mut self.actions);
    }

    fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Runs the verify jobs that were given out, and those that follow from them.
    fn verify(&mut self) {
        loop {
            let (jobs, others): (Vec<_>, Vec<_>) =
                self.take().into_iter().partition(|one| matches!(one, Action::Verify(..)));
            self.actions = others;
            if jobs.is_empty() {
                return;
            }
            for job in jobs {
                if let Action::Verify(id, job) = job {
                    self.tell(Event::Verified(id, job.run()));
                }
            }
        }
    }

    fn status(&mut self, nth: u8, tip: &Header) {
        self.sequence += 1;
        let certificate = certify(&key(1), 0, tip);
        let status = Status {
            tip: Some(Certified { header: tip.clone(), certificate }),
            lowest_body: 1,
            lowest_header: 1,
            latest_snapshot: 0,
            sequence: self.sequence,
            load_permille: 0,
        };
        let signature = sign(&key(10 + nth), &status.signed_bytes(&CHAIN, &BINDING));
        let status = SignedStatus { status, signature };
        self.tell(Event::Status { peer: self.peer(nth), status });
        self.verify();
    }

    fn asked(&self) -> Vec<(NodeId, RequestId, Request)> {
        let request = |action: &Action| match action {
            Action::Request { peer, id, request } => Some((*peer, *id, request.clone())),
            _ => None,
        };
        self.actions.iter().filter_map(request).collect()
    }

    fn store(&self) -> Option<(JobId, StoreJob)> {
        self.actions.iter().find_map(|action| match action {
            Action::Store(id, job) => Some((*id, job.clone())),
            _ => None,
        })
    }

    fn answer_headers(&mut self, all: &[Header]) {
        let (peer, id, request) = self.asked().pop().unwrap();
        let Request::GetHeaders { from, max } = request else { panic!("{request:?}") };
        let range = all.iter().filter(|one| one.height >= from).take(max as usize);
        let headers: Vec<Header> = range.cloned().collect();
        let certificate = certify(&key(1), 0, headers.last().unwrap());
        let answer = Answer::Headers { headers, certificate };
        self.take();
        self.tell(Event::Answer { peer, id, answer, last: true });
        self.verify();
    }

    fn answer_bodies(&mut self) {
        for (peer, id, request) in self.asked() {
            let Request::GetBodies(bodies) = request else { panic!("{request:?}") };
            let count = bodies.len();
            for (BodyId { height, .. }, nth) in bodies.into_iter().zip(0..) {
                let bytes = height.to_be_bytes().to_vec();
                let part = proctor_p2p::message::Part { index: nth, offset: 0, bytes };
                let last = nth as usize + 1 == count;
                self.tell(Event::Answer { peer, id, answer: Answer::Body(part), last });
            }
        }
        self.verify();
    }

    fn penalties(&self) -> Vec<(NodeId, Offence)> {
        let offence = |action: &Action| match action {
            Action::Penalise { peer, offence } => Some((*peer, *offence)),
            _ => None,
        };
        self.actions.iter().filter_map(offence).collect()
    }

    fn halted(&self) -> Option<Halt> {
        self.actions.iter().find_map(|action| match action {
            Action::Halt(halt) => Some(halt.clone()),
            _ => None,
        })
    }
}

/// The same chain up to `height`, and then another by the same sequencer.
fn fork(height: u64, to: u64) -> Vec<Header> {
    let mut chain = headers(&Tip::GENESIS, height);
    let tip = chain[usize::try_from(height).unwrap() - 1].tip(&CHAIN);
    let mut more = headers(&tip, to);
    more[0].facts.time = UtcMs(more[0].facts.time.0 + 1);
    let tip = more[0].tip(&CHAIN);
    more.truncate(1);
    more.extend(headers(&tip, to));
    chain.extend(more);
    chain
}

#[test]
fn a_node_fetches_verifies_stores_and_applies_what_a_peer_has() {
    let chain = headers(&Tip::GENESIS, 5);
    let mut bench = Bench::new(1);
    bench.status(0, &chain[4]);
    bench.answer_headers(&chain);
    let marks = Marks { verified: 5, stored: 0, applied: 0, target: 5 };
    assert_eq!(bench.core.marks(), marks);
    bench.answer_bodies();
    let (id, job) = bench.store().unwrap();
    let StoreJob::Commits { commits, certificates } = job else { panic!("{job:?}") };
    assert_eq!((commits.len(), certificates.len()), (5, 1));
    assert_eq!(bench.core.marks().stored, 0, "nothing is stored before the store says so");
    bench.take();
    bench.tell(Event::Stored(id, Ok(Stored::Done)));
    let told = bench.actions.iter().any(|one| matches!(one, Action::Advanced(5)));
    assert!(told && bench.actions.iter().any(|one| matches!(one, Action::Announce(_))));
    bench.tell(Event::Applied { height: 5, state: Digest([1; 32]) });
    assert_eq!(bench.core.marks(), Marks { verified: 5, stored: 5, applied: 5, target: 5 });
}

/// F6, V1: two headers, certified at one height. Evidence, and nothing more is done.
#[test]
fn f6_v1_two_certified_headers_at_one_height_stop_the_node() {
    let (ours, other) = (headers(&Tip::GENESIS, 9), fork(3, 9));
    // The other tip is seen before the range: the range shows the fork, or the range after it.
    let mut before = Bench::new(2);
    before.status(0, &other[6]);
    before.status(1, &ours[8]);
    before.answer_headers(&ours);
    // The other tip is seen after: the status shows it.
    let mut after = Bench::new(2);
    after.status(0, &ours[8]);
    after.answer_headers(&ours);
    after.take();
    after.status(1, &other[6]);
    for mut bench in [before, after] {
        let Some(Halt::Fork { ours: kept, theirs }) = bench.halted() else {
            panic!("no halt: {:?}", bench.actions);
        };
        assert_eq!((kept, theirs.header), (ours[6].tip(&CHAIN), other[6].clone()));
        assert!(bench.core.is_halted() && bench.penalties().is_empty());
        bench.take();
        bench.tell(Event::Tick);
        bench.status(1, &ours[8]);
        assert!(bench.actions.is_empty(), "a halted core does nothing");
    }
}

/// V5: the engine's state after a commit is compared with the one that the next header certifies.
#[test]
fn v5_a_state_that_is_not_the_certified_one_stops_the_node() {
    let chain = headers(&Tip::GENESIS, 5);
    let certified = chain[3].facts.state_before;
    for (state, halts) in [(certified, false), (Digest([1; 32]), true)] {
        let mut bench = Bench::new(1);
        bench.status(0, &chain[4]);
        bench.answer_headers(&chain);
        bench.answer_bodies();
        let (id, _) = bench.store().unwrap();
        bench.tell(Event::Stored(id, Ok(Stored::Done)));
        bench.tell(Event::Applied { height: 3, state });
        let expected = Halt::Diverged { height: 3, ours: state, certified };
        assert_eq!(bench.halted(), halts.then_some(expected));
    }
}

/// R5: a job that is not waited for changes nothing: of another life, or done already.
#[test]
fn r5_what_comes_back_for_a_job_of_another_life_or_twice_is_ignored() {
    let chain = headers(&Tip::GENESIS, 5);
    let mut bench = Bench::new(1);
    bench.status(0, &chain[4]);
    bench.answer_headers(&chain);
    bench.answer_bodies();
    let (id, _) = bench.store().unwrap();
    let stale = JobId { generation: id.generation + 1, ..id };
    bench.tell(Event::Stored(stale, Ok(Stored::Done)));
    assert_eq!(bench.core.marks().stored, 0);
    bench.tell(Event::Stored(id, Ok(Stored::Done)));
    let marks = bench.core.marks();
    bench.take();
    bench.tell(Event::Stored(id, Ok(Stored::Done)));
    let job = Job::Bodies(Vec::new());
    bench.tell(Event::Verified(id, job.run()));
    assert_eq!((bench.core.marks(), bench.actions.len()), (marks, 0));
}

#[test]
fn a_request_ends_once_whether_answered_expired_cancelled_or_left_alone() {
    let chain = headers(&Tip::GENESIS, 5);
    let endings = |bench: &Bench, id: RequestId| -> Vec<Ending> {
        let ending = |action: &Action| match action {
            Action::Ended { id: ended, ending, .. } if *ended == id => Some(*ending),
            _ => None,
        };
        bench.actions.iter().filter_map(ending).collect()
    };
    for wanted in [Ending::Answered, Ending::Expired, Ending::PeerGone] {
        let mut bench = Bench::new(1);
        bench.status(0, &chain[4]);
        let (peer, id, _) = bench.asked().pop().unwrap();
        let answer = Answer::Failed(Failure::Busy(100));
        for _ in 0..2 {
            match wanted {
                Ending::Answered => {
                    let answer = answer.clone();
                    bench.tell(Event::Answer { peer, id, answer, last: true });
                }
                Ending::PeerGone => bench.tell(Event::PeerLeft(peer)),
                Ending::Expired | Ending::Cancelled => {
                    bench.now = bench.now.after(30_000);
                    bench.tell(Event::Tick);
                }
            }
        }
        // Whatever comes afterwards is too late, and no offence: it may have crossed.
        bench.tell(Event::Answer { peer, id, answer, last: true });
        assert_eq!(endings(&bench, id), [wanted]);
        assert_eq!(bench.penalties(), []);
    }
}

/// R14, B7: what the only peer failed to deliver is asked for again, after a while and not at once.
#[test]
fn r14_b7_headers_and_bodies_that_nobody_delivered_are_asked_for_again_after_a_while() {
    let chain = headers(&Tip::GENESIS, 5);
    for bodies in [false, true] {
        let mut bench = Bench::new(1);
        bench.status(0, &chain[4]);
        if bodies {
            bench.answer_headers(&chain);
        }
        for _ in 0..4 {
            assert_eq!(bench.asked().len(), 1, "asked once, bodies: {bodies}");
            bench.take();
            bench.now = bench.now.after(30_000);
            bench.tell(Event::Tick);
            assert_eq!(bench.asked().len(), 0, "not at once");
            bench.now = bench.now.after(15_000);
            bench.tell(Event::Tick);
        }
    }
}

#[test]
fn an_answer_to_nothing_or_of_another_kind_is_an_offence() {
    let chain = headers(&Tip::GENESIS, 5);
    let mut bench = Bench::new(2);
    bench.status(0, &chain[4]);
    let (peer, id, _) = bench.asked().pop().unwrap();
    let answer = Answer::NoBody(0);
    let never = RequestId(id.0 + 1);
    bench.tell(Event::Answer { peer, id: never, answer: answer.clone(), last: true });
    bench.tell(Event::Answer { peer, id, answer, last: true });
    assert_eq!(bench.penalties(), [(peer, Offence::Unsolicited); 2]);
    // Somebody else's answer to the request of this peer is none.
    let mut bench = Bench::new(2);
    bench.status(0, &chain[4]);
    let (_, id, _) = bench.asked().pop().unwrap();
    let answer = Answer::Headers {
        headers: chain.clone(),
        certificate: certify(&key(1), 0, chain.last().unwrap()),
    };
    let other = bench.peer(1);
    bench.tell(Event::Answer { peer: other, id, answer, last: true });
    bench.verify();
    assert_eq!(bench.core.marks().verified, 0);
}

/// R22: nothing that a peer says of others, and no number without a certificate, moves anything. A
/// status of another session, or an old one, is not its.
#[test]
fn r22_a_status_of_another_session_is_a_lie_and_an_old_one_is_old() {
    let chain = headers(&Tip::GENESIS, 5);
    let mut bench = Bench::new(2);
    let old = {
        bench.status(1, &chain[1]);
        bench.sequence
    };
    bench.status(1, &chain[4]);
    assert_eq!(bench.core.marks().target, 5);
    bench.sequence = old - 1;
    bench.status(1, &chain[1]);
    assert_eq!((bench.core.marks().target, bench.penalties().len()), (5, 0));
    let status = Status {
        tip: None,
        lowest_body: 0,
        lowest_header: 0,
        latest_snapshot: u64::MAX,
        sequence: 9,
        load_permille: 0,
    };
    let signature = sign(&key(10), &status.signed_bytes(&CHAIN, &Digest([6; 32])));
    let status = SignedStatus { status, signature };
    bench.tell(Event::Status { peer: bench.peer(0), status });
    bench.verify();
    assert_eq!(bench.penalties(), [(bench.peer(0), Offence::BadStatus)]);
}

/// B21: height 0 and 2^64-1 in everything that a peer may send.
#[test]
fn b21_the_first_and_the_last_height_there_are_break_nothing() {
    let chain = headers(&Tip::GENESIS, 5);
    for height in [0, u64::MAX] {
        let mut header = chain[4].clone();
        header.height = height;
        let mut bench = Bench::new(2);
        bench.status(0, &chain[4]);
        bench.status(1, &header);
        let certificate = certify(&key(1), 0, &header);
        let commit = Certified { header: header.clone(), certificate: certificate.clone() };
        let body = Some(vec![1]);
        bench.tell(Event::Pushed { peer: bench.peer(1), commit, body });
        bench.verify();
        let (peer, id, _) = bench.asked().remove(0);
        let answer = Answer::Headers { headers: vec![header], certificate };
        bench.tell(Event::Answer { peer, id, answer, last: true });
        bench.now = bench.now.after(u64::MAX);
        bench.tell(Event::Tick);
        assert_eq!(bench.core.marks().verified, 0);
    }
}

/// B27: a producer pushed every commit to every peer. Here: to four, who seem not to have it.
#[test]
fn b27_a_commit_is_pushed_to_few_and_not_to_who_has_it() {
    let chain = headers(&Tip::GENESIS, 5);
    let mut bench = Bench::new(6);
    bench.status(0, &chain[0]);
    bench.take();
    let commit =
        Certified { certificate: certify(&key(1), 0, &chain[0]), header: chain[0].clone() };
    bench.tell(Event::Produced { commit });
    let pushed = |action: &Action| match action {
        Action::Push { peer, .. } => Some(*peer),
        _ => None,
    };
    let pushed: Vec<NodeId> = bench.actions.iter().filter_map(pushed).collect();
    assert_eq!(pushed.len(), 4);
    assert!(!pushed.contains(&bench.peer(0)));
}

/// V11: a sequencer that orders more commits a second than may be pushed was taken for an attacker.
#[test]
fn v11_a_sequencer_in_a_hurry_pushes_no_more_than_its_peers_listen_to() {
    let chain = headers(&Tip::GENESIS, 2_000);
    let mut producer = Bench::new(1);
    let mut follower = Bench::new(1);
    let mut newest = 0;
    let mut pass_on = |producer: &mut Bench, follower: &mut Bench| {
        for action in producer.take() {
            let Action::Push { commit, .. } = action else { continue };
            newest = commit.header.height;
            follower.now = producer.now;
            let peer = follower.peer(0);
            follower.tell(Event::Pushed { peer, commit, body: None });
            follower.verify();
            assert_eq!(follower.penalties(), [], "after {newest}");
            follower.take();
            assert_eq!(follower.core.marks().target, newest, "none is sent to be ignored");
        }
        newest
    };
    for header in &chain {
        let certificate = certify(&key(1), 0, header);
        let commit = Certified { header: header.clone(), certificate };
        producer.tell(Event::Produced { commit });
        let told = pass_on(&mut producer, &mut follower);
        // Twenty in a second, after a beginning of forty.
        assert!(header.height - told <= 30, "{told} of {}", header.height);
        producer.now = producer.now.after(5);
        if header.height.is_multiple_of(20) {
            producer.tell(Event::Tick);
        }
    }
    // What found no room is made up for, and once.
    for _ in 0..2 {
        producer.now = producer.now.after(100);
        producer.tell(Event::Tick);
        assert_eq!(pass_on(&mut producer, &mut follower), 2_000);
    }
}

/// V11: a connection that stood still for half a minute delivers everything at once.
#[test]
fn v11_what_was_held_back_on_its_way_is_no_flood() {
    let honest = 40 + 30 * 20;
    let chain = headers(&Tip::GENESIS, 4_000);
    let mut bench = Bench::new(1);
    for header in &chain {
        let commit = Certified { certificate: certify(&key(1), 0, header), header: header.clone() };
        bench.tell(Event::Pushed { peer: bench.peer(0), commit, body: None });
        let offences = bench.penalties();
        assert!(offences.is_empty() || header.height > honest, "{offences:?} at {}", header.height);
    }
    assert_eq!(bench.penalties().first(), Some(&(bench.peer(0), Offence::Flood)), "others are");
}
