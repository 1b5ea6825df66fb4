//! Real processes under the supervisor: killed, stopped, misconfigured, orphaned.
//!
//! The children are this very test program, started again with a variable in its environment.

use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proctor_commit_log::storage::files::FileStorage;
use proctor_daemon::child::{EXIT_FAILED, EXIT_MISCONFIGURED, health, run_service};
use proctor_daemon::generation::Generations;
use proctor_daemon::metrics::{Counted, Metrics};
use proctor_daemon::supervisor::plan::{Cause, Desired, Fault, Policy};
use proctor_daemon::supervisor::{
    Journal, Launch, Note, Phase, Service, Setup, Status, Supervisor,
};
use proctor_engine::Input;
use proctor_sequencer::{Sequencer, Since, SystemClock, Writer, WriterConfig};
use proctor_services::Backend;
use proctor_services::backend::direct::{AlwaysFresh, Direct};
use proctor_services::link::{Children, Link};
use proctor_types::UtcMs;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// What this program is, when it is not the test.
const ROLE: &str = "PROCTOR_TEST_ROLE";
/// Longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Not a test: the entry of the children.
#[test]
fn role() {
    match std::env::var(ROLE).as_deref() {
        Ok("service") => {
            std::process::exit(i32::from(run_service("prices", |_, _, _| Ok(healthy()))))
        }
        Ok("deaf") => std::process::exit(i32::from(run_service("prices", |_, _, _| Ok(deaf())))),
        Ok("writer") => std::process::exit(i32::from(run_service("prices", |_, backend, _| {
            tokio::spawn(write(backend));
            Ok(healthy())
        }))),
        Ok("parent") => parent(),
        Ok(_) | Err(_) => {}
    }
}

/// A server with the standard health service alone.
fn healthy() -> Routes {
    let (_, service) = tonic_health::server::health_reporter();
    Routes::new(service)
}

/// A server that answers nothing.
fn deaf() -> Routes {
    Routes::default()
}

/// Tells the process that has started this one.
fn tell(line: &str) {
    writeln!(std::io::stderr().lock(), "{line}").expect("somebody reads");
}

/// Writes without end, and tells each commit that was acknowledged.
async fn write(backend: Backend) {
    loop {
        tell(&match backend.submit(vec![Input::Tick]).await {
            Ok(receipt) => format!("acknowledged {} {}", receipt.stamp.commit, receipt.digest),
            Err(problem) => format!("not acknowledged: {problem}"),
        });
    }
}

/// A node with a supervisor that tells its child's process id and then does nothing.
fn parent() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let node = Node::start().await;
        let (_supervisor, mut status, _) = node.supervise(service("service", loopback()));
        let ready = until(&mut status, |status| status.phase == Phase::Ready).await;
        tell(&format!("child {}", ready.pid.expect("a process")));
        std::future::pending::<()>().await;
    });
}

fn launch(role: &str) -> Launch {
    let arguments = ["role", "--exact", "--nocapture"].map(OsString::from).to_vec();
    let environment = vec![(ROLE.into(), role.into())];
    let executable = std::env::current_exe().expect("this program has a file");
    Launch { executable, arguments, environment }
}

fn service(role: &str, listen: SocketAddr) -> Service {
    let settings = serde_json::Value::Null;
    Service { name: "prices".into(), launch: launch(role), listen, settings }
}

/// Keeps every note, and what was told of calls.
#[derive(Debug)]
struct Notes(Mutex<Vec<Note>>, Metrics);

impl Journal for Notes {
    fn note(&self, _: &str, note: &Note) {
        self.0.lock().expect("no panic").push(note.clone());
    }

    fn calls(&self, _: &str, counted: &Counted) {
        self.1.add("prices", counted);
    }
}

impl Notes {
    fn all(&self) -> Vec<Note> {
        self.0.lock().expect("no panic").clone()
    }

    fn count(&self, of_this_kind: impl Fn(&Note) -> bool) -> usize {
        self.all().iter().filter(|note| of_this_kind(note)).count()
    }
}

/// A node on a log in a directory of its own.
struct Node {
    directory: tempfile::TempDir,
    address: SocketAddr,
    backend: Backend,
    children: Children,
    _sequencer: Sequencer,
    _closing: watch::Sender<bool>,
}

impl Node {
    async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let storage = FileStorage::create(directory.path()).expect("a log");
        let opened = Writer::open(Arc::new(storage), WriterConfig::default()).expect("a log");
        let sequencer = Sequencer::start(opened.writer, SystemClock, 64);
        let (closing, closed) = watch::channel(false);
        let handle = sequencer.handle();
        let backend = Backend::new(
            handle.views().clone(),
            Arc::new(Direct(handle)),
            Arc::new(AlwaysFresh),
            Arc::new(SystemClock),
            1,
            closed,
        );
        let children = Children::default();
        let link = Link::service(backend.clone(), children.clone());
        let listener = TcpListener::bind(loopback()).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Server::builder().add_service(link);
        tokio::spawn(router.serve_with_incoming(TcpIncoming::from(listener)));
        Self { directory, address, backend, children, _sequencer: sequencer, _closing: closing }
    }

    fn supervise(&self, service: Service) -> (Supervisor, watch::Receiver<Status>, Arc<Notes>) {
        self.supervise_on(service, self.directory.path())
    }

    fn supervise_on(
        &self,
        service: Service,
        log: &Path,
    ) -> (Supervisor, watch::Receiver<Status>, Arc<Notes>) {
        let mut setup = Setup::new(self.address, log.to_owned());
        setup.beat_every = Duration::from_millis(100);
        setup.policy = Policy {
            hang_limit: Duration::from_secs(4),
            stop_grace: Duration::from_secs(30),
            back_off_first: Duration::from_millis(10),
            restarts_max: 3,
            ..Policy::default()
        };
        let notes = Arc::new(Notes(Mutex::default(), Metrics::new(UtcMs(1), None)));
        let journal: Arc<dyn Journal> = notes.clone();
        let generations = Arc::new(Generations::new(UtcMs(1), std::process::id(), [0; 16]));
        let name = service.name.clone();
        let supervisor =
            Supervisor::start(setup, vec![service], &self.children, &generations, &journal);
        let status = supervisor.watch(&name).expect("a child");
        (supervisor, status, notes)
    }

    async fn commit(&self, count: u64) -> u64 {
        let mut last = 0;
        for _ in 0..count {
            last = self.backend.submit(vec![Input::Tick]).await.expect("a receipt").stamp.commit;
        }
        last
    }
}

/// Returns the commits that the child said were acknowledged, with the digests it gave.
fn acknowledged(notes: &Notes) -> Vec<(u64, String)> {
    let of = |note: &Note| match note {
        Note::Line(line) => {
            let (commit, digest) = line.strip_prefix("acknowledged ")?.split_once(' ')?;
            Some((commit.parse().ok()?, digest.to_owned()))
        }
        Note::Started { .. }
        | Note::Ready { .. }
        | Note::Killed(_)
        | Note::Ended { .. }
        | Note::Held { .. } => None,
    };
    notes.all().iter().filter_map(of).collect()
}

/// Waits for a state of the child.
async fn until(status: &mut watch::Receiver<Status>, reached: impl Fn(&Status) -> bool) -> Status {
    let found = tokio::time::timeout(LIMIT, status.wait_for(|status| reached(status))).await;
    let found = found.map(|found| found.expect("its keeper lives").clone());
    found.unwrap_or_else(|_| panic!("never reached: {:?}", *status.borrow()))
}

#[tokio::test(flavor = "multi_thread")]
async fn x_18_x_19_a_killed_child_comes_back_with_a_new_generation_and_everything_it_knew() {
    let node = Node::start().await;
    let last = node.commit(3).await;
    let (supervisor, mut status, notes) = node.supervise(service("service", loopback()));
    let mut before =
        until(&mut status, |status| status.phase == Phase::Ready && status.commit >= last).await;
    for kills in 2..=3 {
        assert!(supervisor.kill("prices").await);
        let last = node.commit(2).await;
        let after = until(&mut status, |status| {
            status.phase == Phase::Ready && status.starts == kills && status.commit >= last
        })
        .await;
        assert_ne!(after.generation, before.generation);
        assert_ne!(after.pid, before.pid);
        assert_eq!(after.desired, Desired::Running);
        health::call(after.address.expect("it listens"), LIMIT).await.expect("it answers");
        before = after;
    }
    let signal = |note: &Note| matches!(note, Note::Ended { how, failure: true } if how.contains("signal: 9"));
    assert_eq!(notes.count(signal), 2, "{:?}", notes.all());
    supervisor.stop().await;
    let quiet = |note: &Note| matches!(note, Note::Ended { how, failure: false } if how == "exit status: 0");
    assert_eq!(notes.count(quiet), 1, "told to end, it ends by itself: {:?}", notes.all());
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_to_a_child_are_counted_by_the_node_and_none_is_missing_when_it_was_told_to_end() {
    let node = Node::start().await;
    let (supervisor, mut status, notes) = node.supervise(service("service", loopback()));
    let ready = until(&mut status, |status| status.phase == Phase::Ready).await;
    let address = ready.address.expect("it listens");
    for _ in 0..40 {
        health::call(address, LIMIT).await.expect("it answers");
    }
    supervisor.stop().await;
    let text = notes.1.text();
    let begin = "proctor_rpc_duration_seconds_count\
                 {service=\"grpc.health.v1.Health\",method=\"Check\",code=\"ok\"} ";
    let counted = text.lines().find_map(|line| line.strip_prefix(begin));
    // And its own, and those of the supervisor.
    let counted: u64 = counted.unwrap_or_else(|| panic!("{text}")).parse().expect("a number");
    assert!(counted > 40, "{counted}");
    assert!(text.contains("proctor_watchers{service=\"prices\"} 0"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_killed_child_acknowledged_is_lost_or_different_in_the_node() {
    let node = Node::start().await;
    let (supervisor, mut status, notes) = node.supervise(service("writer", loopback()));
    for start in 1..=3 {
        let known = acknowledged(&notes).len();
        until(&mut status, |status| status.phase == Phase::Ready && status.starts == start).await;
        // Killed in the midst of writing, wherever it stands.
        let since = Instant::now();
        while acknowledged(&notes).len() < known + 20 {
            assert!(since.elapsed() < LIMIT, "the child writes nothing: {:?}", notes.all());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(supervisor.kill("prices").await);
        until(&mut status, |status| status.starts == start + 1).await;
    }
    supervisor.stop().await;
    let Since::Commits(commits) = node.backend.views().since(0, usize::MAX) else {
        panic!("the node keeps more commits than this")
    };
    let told = acknowledged(&notes);
    assert!(told.len() >= 60);
    for (commit, digest) in told {
        let place = usize::try_from(commit - 1).expect("a small number");
        assert_eq!(commits[place].stamp.commit, commit);
        assert_eq!(commits[place].digest.to_string(), digest, "commit {commit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_is_stopped_and_not_dead_is_replaced() {
    let node = Node::start().await;
    let (supervisor, mut status, notes) = node.supervise(service("service", loopback()));
    let hung = until(&mut status, |status| status.phase == Phase::Ready).await;
    let pid = i32::try_from(hung.pid.expect("a process")).expect("a process id");
    let pid = rustix::process::Pid::from_raw(pid).expect("not 0");
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("it is there");
    let after = until(&mut status, |status| {
        status.phase == Phase::Ready && status.generation != hung.generation
    })
    .await;
    assert_ne!(after.pid, hung.pid);
    let silent = |note: &Note| matches!(note, Note::Killed(Fault::Silent(_) | Fault::Deaf(_)));
    assert!(notes.count(silent) >= 1, "{:?}", notes.all());
    supervisor.stop().await;
}

/// Returns the notes of holds, after the child with `service` is held.
async fn held(node: &Node, service: Service, log: &Path) -> (Vec<Note>, Status) {
    let (supervisor, mut status, notes) = node.supervise_on(service, log);
    let status = until(&mut status, |status| status.phase == Phase::Held).await;
    let holds = notes.all().into_iter().filter(|note| matches!(note, Note::Held { .. })).collect();
    assert_eq!(notes.count(|note| matches!(note, Note::Ready { .. })), 0);
    supervisor.stop().await;
    (holds, status)
}

#[tokio::test(flavor = "multi_thread")]
async fn x_29_a_child_that_cannot_start_says_why_is_held_and_kills_nobody() {
    let node = Node::start().await;
    // A port that somebody else uses: here, this process.
    let taken = std::net::TcpListener::bind(loopback()).expect("a port");
    let address = taken.local_addr().expect("an address");
    let (supervisor, mut status, notes) = node.supervise(service("service", address));
    let found = until(&mut status, |status| status.phase == Phase::Held).await;
    let reason = found.last_end.expect("it has ended");
    let expected = format!("cannot listen on {address} for the service prices: ");
    assert!(reason.starts_with(&expected), "{reason}");
    assert!(reason.contains("stop what uses the port, or configure another"), "{reason}");
    assert_eq!((found.starts, found.failures), (1, 1), "it is not tried again and again");
    let held = |note: &Note| matches!(note, Note::Held { cause: Cause::Misconfigured, .. });
    assert_eq!(notes.count(held), 1);
    assert!(notes.all().iter().filter(|note| held(note)).all(Note::is_alert));
    // Who has the port still has it; once it is free and the child released, it starts.
    drop(taken);
    assert!(supervisor.release("prices").await);
    let ready = until(&mut status, |status| status.phase == Phase::Ready).await;
    assert_eq!(ready.address, Some(address));
    supervisor.stop().await;
}

/// A node that is killed and started again at once meets the children that it left behind, which
/// hold their ports until they have drained. To be held for that was ten minutes without a service.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_waits_for_the_port_that_the_one_before_it_still_drains() {
    let node = Node::start().await;
    node.backend.submit(vec![Input::Tick]).await.expect("a commit to fold");
    let taken = std::net::TcpListener::bind(loopback()).expect("a port");
    let address = taken.local_addr().expect("an address");
    let (supervisor, mut status, notes) = node.supervise(service("service", address));
    // It has folded the log, and nothing but the port is in its way.
    until(&mut status, |status| status.commit > 0).await;
    drop(taken);
    let ready = until(&mut status, |status| status.phase == Phase::Ready).await;
    assert_eq!((ready.address, ready.starts), (Some(address), 1));
    assert_eq!(notes.count(|note| matches!(note, Note::Ended { .. } | Note::Held { .. })), 0);
    supervisor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_directory_or_program_is_told_at_once() {
    let node = Node::start().await;
    let nowhere = node.directory.path().join("nowhere");
    let (holds, status) = held(&node, service("service", loopback()), &nowhere).await;
    assert_eq!((holds.len(), status.starts), (1, 1));
    let reason = status.last_end.expect("it has ended");
    assert!(
        reason.starts_with(&format!("cannot open the log in {}", nowhere.display())),
        "{reason}"
    );
    let mut missing = service("service", loopback());
    missing.launch.executable.clone_from(&nowhere);
    let (holds, status) = held(&node, missing, node.directory.path()).await;
    assert_eq!((holds.len(), status.starts), (1, 1));
    let reason = status.last_end.expect("it was tried");
    assert!(reason.starts_with(&format!("cannot start {}", nowhere.display())), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn x_30_a_child_that_does_not_answer_itself_is_never_called_ready() {
    let node = Node::start().await;
    let (holds, status) = held(&node, service("deaf", loopback()), node.directory.path()).await;
    assert!(matches!(holds[..], [Note::Held { cause: Cause::Flapping(4), .. }]), "{holds:?}");
    assert_eq!(status.starts, 4, "three restarts are allowed here");
    let reason = status.last_end.expect("it has ended");
    assert!(reason.contains("does not answer its own call"), "{reason}");
    assert!(reason.contains(&format!("exit status: {EXIT_FAILED}")), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn x_28_two_nodes_on_one_host_do_not_stop_each_other() {
    let (one, other) = (Node::start().await, Node::start().await);
    let (first, mut first_status, _) = one.supervise(service("service", loopback()));
    let (second, mut second_status, notes) = other.supervise(service("service", loopback()));
    until(&mut first_status, |status| status.phase == Phase::Ready).await;
    let before = until(&mut second_status, |status| status.phase == Phase::Ready).await;
    first.stop().await;
    drop(one);
    let last = other.commit(2).await;
    let after = until(&mut second_status, |status| status.commit >= last).await;
    assert_eq!((after.pid, after.starts, after.phase), (before.pid, 1, Phase::Ready));
    health::call(after.address.expect("it listens"), LIMIT).await.expect("it answers");
    assert_eq!(notes.count(|note| matches!(note, Note::Ended { .. })), 0);
    second.stop().await;
}

/// Whether the process still runs; one that nobody has collected yet does not.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

#[test]
#[cfg(target_os = "linux")]
fn a_child_whose_supervisor_was_killed_ends_by_itself() {
    let launch = launch("parent");
    let mut parent = Command::new(&launch.executable)
        .args(&launch.arguments)
        .envs(launch.environment)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = std::io::BufReader::new(parent.stderr.take().expect("a pipe")).lines();
    let pid: u32 = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("child ").and_then(|pid| pid.parse().ok()))
        .expect("it tells its child's process id");
    assert!(runs(pid));
    parent.kill().expect("it runs");
    parent.wait().expect("it was killed");
    let since = Instant::now();
    while runs(pid) {
        assert!(since.elapsed() < LIMIT, "the orphan {pid} still runs");
        // Between two looks; nothing depends on how long it is.
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_service_that_is_started_by_hand_says_what_to_do_instead() {
    let launch = launch("service");
    let output = Command::new(&launch.executable)
        .args(&launch.arguments)
        .envs(launch.environment)
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(i32::from(EXIT_MISCONFIGURED)));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("is started by `proctor run --isolated`, not by hand"), "{told}");
}
