//! Every call at a port: counted, timed, and told in the log without anything that a caller sent.
//!
//! Labels come from the contract: a path that is not in it counts as "other", so nobody can make up
//! new series. A log line holds names, codes and times only: no message, since a message may quote
//! the request, and no metadata, since that holds the token.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http_body::{Frame, SizeHint};
use proctor_rpc::methods::{self, Method};
use proctor_rpc::{Problem, Reason};
use prometheus_client::registry::Registry;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::{Code, Status};
use tower_layer::Layer;

use crate::listener::Origin;

use super::table::{Counted, EndLabels, MethodLabels, Names, RefusalLabels, Table, ToldSoFar};

/// A refusal of one kind is told in the log once in so long; the line says how many were not told.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// Methods beside the contract's own, and whether they stream.
const STANDARD: [(&str, &str, bool); 4] = [
    ("grpc.health.v1.Health", "Check", false),
    ("grpc.health.v1.Health", "Watch", true),
    ("grpc.reflection.v1.ServerReflection", "ServerReflectionInfo", true),
    ("grpc.reflection.v1alpha.ServerReflection", "ServerReflectionInfo", true),
];

/// What is known of a path.
#[derive(Debug)]
struct Known {
    service: Arc<str>,
    method: Arc<str>,
    streams: bool,
    writes: bool,
}

/// The calls of all ports of a process; cheap to clone.
#[derive(Clone, Debug)]
pub struct Calls(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    known: BTreeMap<String, Arc<Known>>,
    other: Arc<Known>,
    table: Table,
    told: Told,
}

impl Calls {
    /// Returns the calls, none so far; they are seen in `registry`.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let table = Table::default();
        registry.register_collector(Box::new(table.clone()));
        let mut known = BTreeMap::new();
        let standard = STANDARD.map(|(service, name, streams)| Method {
            service: service.into(),
            name: name.into(),
            streams,
        });
        for method in methods::all().into_iter().chain(standard) {
            known.insert(method.path(), Arc::new(Known::of(&method)));
        }
        let other = Arc::new(Known {
            service: "other".into(),
            method: "other".into(),
            streams: false,
            writes: false,
        });
        let told = Told::default();
        Self(Arc::new(Counts { known, other, table, told }))
    }

    /// Returns what was counted since `told`, which is up to now from here on.
    pub(super) fn since(&self, told: &mut ToldSoFar) -> Counted {
        self.0.table.since(told)
    }

    /// Adds what `child` has counted.
    pub(super) fn add(&self, child: &'static str, counted: &Counted) {
        self.0.table.add(child, counted, &*self.0);
    }

    /// Forgets what `child` had under way: it has ended.
    pub(super) fn gone(&self, child: &str) {
        self.0.table.gone(child);
    }

    fn begin(&self, path: &str, peer: Option<SocketAddr>) -> Call {
        let method = Arc::clone(self.0.known.get(path).unwrap_or(&self.0.other));
        self.0.table.began(method.labels());
        let counts = Arc::clone(&self.0);
        Call { counts, method, peer, began: Instant::now(), answered: false, ended: false }
    }
}

impl Names for Counts {
    fn method(&self, service: &str, method: &str) -> MethodLabels {
        if let Some(known) = self.known.get(&format!("/{service}/{method}")) {
            return known.labels();
        }
        // Refusals are told of a service.
        let of_service = self.known.values().find(|known| &*known.service == service);
        let MethodLabels { method, .. } = self.other.labels();
        let service = &of_service.unwrap_or(&self.other).service;
        MethodLabels { service: Arc::clone(service), method }
    }

    fn code(&self, code: &str) -> &'static str {
        let codes = (0..17).map(|number| name(Code::from_i32(number)));
        codes.into_iter().find(|known| *known == code).unwrap_or("unknown")
    }

    fn reason(&self, reason: &str) -> &'static str {
        let reasons = Reason::ALL.into_iter().map(Reason::name);
        reasons.into_iter().find(|known| *known == reason).unwrap_or("other")
    }
}

impl Known {
    fn of(method: &Method) -> Self {
        Self {
            service: method.service.as_str().into(),
            method: method.name.as_str().into(),
            streams: method.streams,
            writes: method.writes() && method.service.starts_with("proctor."),
        }
    }

    fn labels(&self) -> MethodLabels {
        MethodLabels { service: Arc::clone(&self.service), method: Arc::clone(&self.method) }
    }
}

/// A call from its first to its last byte.
#[derive(Debug)]
struct Call {
    counts: Arc<Counts>,
    method: Arc<Known>,
    peer: Option<SocketAddr>,
    began: Instant,
    /// Whether its time was taken.
    answered: bool,
    ended: bool,
}

impl Call {
    /// Notes what is known once the head of the answer is there.
    fn head(&mut self, headers: &http::HeaderMap) {
        if let Some(status) = Status::from_header_map(headers) {
            self.end(Some(&status));
        } else if self.method.streams {
            // Its time would be that of the watcher's interest.
            self.answer("ok");
        }
    }

    fn answer(&mut self, code: &'static str) {
        if std::mem::replace(&mut self.answered, true) {
            return;
        }
        let MethodLabels { service, method } = self.method.labels();
        let labels = EndLabels { service, method, code };
        self.counts.table.answered(labels, self.began.elapsed());
    }

    /// Notes the end; without a status the caller has left, or its deadline has passed.
    fn end(&mut self, status: Option<&Status>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let code = name(status.map_or(Code::Cancelled, Status::code));
        self.answer(code);
        let problem = status.and_then(Problem::of);
        if let Some(problem) = &problem {
            let service = Arc::clone(&self.method.service);
            let labels = RefusalLabels { service, reason: problem.reason.name() };
            self.counts.table.refused(labels);
        }
        self.tell(code, problem.as_ref());
    }

    fn tell(&self, code: &'static str, problem: Option<&Problem>) {
        let Known { service, method, writes, .. } = &*self.method;
        let latency_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let reason = problem.map(|problem| problem.reason.name());
        let peer = self.peer.map(tracing::field::display);
        let loud = problem.and_then(|problem| Told::place(problem.reason));
        if let Some(untold) = loud.and_then(|place| self.counts.told.now(place)) {
            tracing::warn!(%service, %method, code, reason, peer, latency_us, untold, "call refused");
        } else if *writes {
            tracing::debug!(%service, %method, code, reason, peer, latency_us, "call");
        } else {
            tracing::trace!(%service, %method, code, reason, peer, latency_us, "call");
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(None);
    }
}

/// When a refusal of each kind was last told: a flood of calls is no flood of lines.
#[derive(Debug)]
struct Told {
    began: Instant,
    /// The time of the last line in ms since `began`, from 1 on, and how many were not told since.
    kinds: [(AtomicU64, AtomicU64); 8],
}

impl Default for Told {
    fn default() -> Self {
        Self { began: Instant::now(), kinds: Default::default() }
    }
}

impl Told {
    /// Returns the place of the refusals that a person should see: those of load, of authentication
    /// and of this software's own making.
    fn place(reason: Reason) -> Option<usize> {
        match reason {
            Reason::Busy => Some(0),
            Reason::Throttled => Some(1),
            Reason::Stale => Some(2),
            Reason::Unavailable => Some(3),
            Reason::TooSlow => Some(4),
            Reason::Unauthenticated => Some(5),
            Reason::Forbidden => Some(6),
            Reason::Internal => Some(7),
            Reason::InvalidArgument
            | Reason::UnknownTrader
            | Reason::NotFound
            | Reason::Refused => None,
        }
    }

    /// Returns how many were not told since the last one, when it is time to tell another.
    fn now(&self, place: usize) -> Option<u64> {
        self.at(place, self.began.elapsed())
    }

    fn at(&self, place: usize, elapsed: Duration) -> Option<u64> {
        let (last, untold) = self.kinds.get(place)?;
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (now, before) = (ms(elapsed) + 1, last.load(Ordering::Relaxed));
        let due = before == 0 || now.saturating_sub(before) >= ms(TOLD_EVERY);
        // Of several at once one tells.
        if due && last.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return Some(untold.swap(0, Ordering::Relaxed));
        }
        untold.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// Returns the label of a status code.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

impl<S> Layer<S> for Calls {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { calls: self.clone(), inner }
    }
}

/// A service whose calls are observed.
#[derive(Clone, Debug)]
pub struct Observed<S> {
    calls: Calls,
    inner: S,
}

impl<S> Service<http::Request<Body>> for Observed<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = http::Response<ObservedBody>;
    type Error = S::Error;
    type Future = BoxFuture<Self::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let peer = request.extensions().get::<Origin>().and_then(|origin| origin.tcp.remote_addr());
        let mut call = self.calls.begin(request.uri().path(), peer);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            call.head(response.headers());
            Ok(response.map(|inner| ObservedBody { inner, call }))
        })
    }
}

/// An answer on its way; its end is that of the call.
#[derive(Debug)]
pub struct ObservedBody {
    inner: Body,
    call: Call,
}

impl http_body::Body for ObservedBody {
    type Data = <Body as http_body::Body>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(status) = frame.trailers_ref().and_then(Status::from_header_map) {
                    self.call.end(Some(&status));
                }
            }
            Some(Err(status)) => self.call.end(Some(status)),
            None => self.call.end(Some(&Status::unknown("it ended without a status"))),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_one_line_a_second_that_says_how_many() {
        let told = Told::default();
        let at = |ms| told.at(0, Duration::from_millis(ms));
        assert_eq!(at(0), Some(0));
        assert_eq!([at(1), at(500), at(999)], [None, None, None]);
        assert_eq!(at(1_000), Some(3));
        assert_eq!(told.at(1, Duration::from_millis(1_000)), Some(0), "each kind by itself");
    }

    #[test]
    fn a_path_that_is_not_in_the_contract_makes_no_series_of_its_own() {
        let mut registry = Registry::default();
        let calls = Calls::new(&mut registry);
        for number in 0..1_000 {
            calls.begin(&format!("/proctor.v1.Orders/Made{number}Up"), None).end(None);
        }
        calls.begin("/proctor.v1.Orders/Submit", None).end(Some(&Status::ok("")));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
        assert!(!text.contains("Made"), "{text}");
        let counted = r#"count{service="other",method="other",code="cancelled"} 1000"#;
        assert!(text.contains(counted), "{text}");
        assert!(text.contains(r#"{service="proctor.v1.Orders",method="Submit",code="ok"} 1"#));
    }

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).expect("text");
        text
    }

    #[test]
    fn what_a_child_has_counted_is_added_once_and_its_end_takes_back_only_what_was_under_way() {
        let (mut here, mut there) = (Registry::default(), Registry::default());
        let (node, child) = (Calls::new(&mut here), Calls::new(&mut there));
        let mut told = ToldSoFar::default();
        let get = "/proctor.v1.Prices/GetLatest";
        let busy = || Status::from(Problem::new(Reason::Busy, "full"));
        for _ in 0..3 {
            child.begin(get, None).end(Some(&Status::ok("")));
        }
        child.begin(get, None).end(Some(&busy()));
        let under_way = child.begin(get, None);
        node.add("prices", &child.since(&mut told));
        node.add("prices", &child.since(&mut told));
        let labels = r#"{service="proctor.v1.Prices",method="GetLatest""#;
        let ended = |code: &str, count| format!("count{labels},code=\"{code}\"}} {count}");
        let refused = r#"refusals_total{service="proctor.v1.Prices",reason="BUSY"} 1"#;
        let in_flight = |count| format!("rpc_in_flight{labels}}} {count}");
        let now = text(&here);
        for expected in
            [&ended("ok", 3), &ended(name(Reason::Busy.code()), 1), refused, &in_flight(1)]
        {
            assert!(now.contains(expected), "{expected} is missing in\n{now}");
        }
        // A new process counts from nothing, and what the old one counted stays.
        node.gone("prices");
        drop(under_way);
        let next = Calls::new(&mut Registry::default());
        next.begin(get, None).end(Some(&Status::ok("")));
        node.add("prices", &next.since(&mut ToldSoFar::default()));
        let now = text(&here);
        assert!(now.contains(&ended("ok", 4)) && !now.contains(&in_flight(1)), "{now}");
        // Both are well-formed, and what the node got is what the child has.
        let buckets = |text: &str| -> Vec<String> {
            let lines =
                text.lines().filter(|line| line.contains("bucket") && line.contains("+Inf"));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(buckets(&text(&there)).len(), 3, "ok, refused, cancelled");
        assert_eq!(buckets(&now).len(), 2);
    }

    #[test]
    fn a_child_cannot_make_up_series_either() {
        let mut registry = Registry::default();
        let calls = Calls::new(&mut registry);
        let report = r#"{"ended":[{"service":"made","method":"up","code":"odd",
            "times":{"buckets":[1,0,0,0,0,0,0,0,0,0,0,0,0,0],"sum_us":7}}],
            "refused":[{"service":"made","reason":"UP","count":2}],
            "in_flight":[{"service":"made","method":"up","calls":-3}],
            "watchers":0,"too_slow":0}"#;
        calls.add("prices", &serde_json::from_str(report).expect("a report"));
        let text = text(&registry);
        assert!(!text.contains("made") && !text.contains("odd") && !text.contains("UP"), "{text}");
        assert!(text.contains(r#"{service="other",method="other",code="unknown"} 1"#), "{text}");
    }
}
