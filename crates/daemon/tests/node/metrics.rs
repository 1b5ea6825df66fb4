//! What Prometheus gets: after known calls, known numbers; and nothing that a caller made up.

use std::net::SocketAddr;

use proctor_daemon::{listener, metrics};
use proctor_rpc::v1::eliminations_client::EliminationsClient;
use proctor_rpc::v1::node_client::NodeClient;
use proctor_rpc::v1::{
    GetEliminationsRequest, SetAccountSizeRequest, SetRosterRequest, TraderRequest,
    WatchWatermarkRequest,
};
use proctor_services::Role;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::common::{Node, PATIENCE};

/// A port with the metrics of a node, until it is dropped.
struct Port {
    address: SocketAddr,
    _closing: watch::Sender<bool>,
}

impl Port {
    async fn of(node: &Node) -> Self {
        let host = "127.0.0.1".parse().expect("an address");
        let bound = listener::bind(host, 0, "metrics").await.expect("a free port");
        let (closing, closed) = watch::channel(false);
        let serving = metrics::serve(bound, node.metrics.clone(), closed);
        Self { address: serving.address, _closing: closing }
    }

    /// Sends `request` and returns everything that comes back, until the other side closes.
    async fn ask(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("the port is open");
        // Who is refused early may find that nobody reads any more.
        drop(stream.write_all(request).await);
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        drop(read.expect("an answer, or the end, in time"));
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn get(&self, path: &str) -> String {
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        self.ask(head.as_bytes()).await
    }
}

/// Returns the value of the series that begins with `name`.
fn value(text: &str, name: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
    let line = line.unwrap_or_else(|| panic!("{name} is missing in\n{text}"));
    line.rsplit(' ').next().expect("a value").parse().expect("a number")
}

#[tokio::test]
async fn after_known_calls_the_numbers_are_known() {
    let node = Node::start(&["node.tick_ms=86400000"]).await;
    let port = Port::of(&node).await;
    let before = port.get("/metrics").await;
    assert!(before.starts_with("HTTP/1.1 200"), "{before}");
    assert!(before.contains("content-type: application/openmetrics-text"), "{before}");
    let mut client = NodeClient::new(node.channel("node").await);
    let roster = SetRosterRequest { traders: vec!["alice".into()] };
    client.set_roster(node.with_token(Role::Operator, roster)).await.expect("a roster");
    let size = || SetAccountSizeRequest { trader: "alice".into(), size_usd: 5_000.0 };
    client.set_account_size(node.with_token(Role::Operator, size())).await.expect("a size");
    client.set_account_size(size()).await.expect_err("no token");
    let mut watermark =
        client.watch_watermark(WatchWatermarkRequest {}).await.expect("a stream").into_inner();
    watermark.message().await.expect("no error").expect("the state of now");
    let text = port.get("/metrics").await;
    let rose = |name: &str| value(&text, name) - value(&before, name);
    assert_eq!(rose("proctor_commits_total"), 2.0);
    assert_eq!(rose("proctor_inputs_total"), 2.0);
    assert_eq!(rose("proctor_commit "), 2.0);
    assert_eq!(rose("proctor_submissions_per_commit_count"), 2.0);
    assert_eq!(rose("proctor_log_write_seconds_count"), 2.0);
    assert_eq!(rose("proctor_apply_seconds_count"), 2.0);
    assert_eq!(rose("proctor_publish_seconds_count"), 2.0);
    let calls = |method: &str, code: &str| {
        let labels = format!(r#"service="proctor.v1.Node",method="{method}",code="{code}""#);
        value(&text, &format!("proctor_rpc_duration_seconds_count{{{labels}}}"))
    };
    assert_eq!(calls("SetRoster", "ok"), 1.0);
    assert_eq!(calls("SetAccountSize", "ok"), 1.0);
    assert_eq!(calls("SetAccountSize", "permission_denied"), 1.0);
    assert_eq!(calls("WatchWatermark", "ok"), 1.0);
    let refused = r#"proctor_rpc_refusals_total{service="proctor.v1.Node",reason="FORBIDDEN"}"#;
    assert_eq!(value(&text, refused), 1.0);
    assert_eq!(value(&text, r#"proctor_watchers{service="node"}"#), 1.0);
    assert_eq!(value(&text, r#"proctor_watchers{service="orders"}"#), 0.0);
    assert_eq!(value(&text, r#"proctor_watchers_too_slow_total{service="node"}"#), 0.0);
    assert_eq!(value(&text, "proctor_queue_capacity"), 4_096.0);
    assert_eq!(value(&text, "proctor_queue_depth"), 0.0);
    assert_eq!(value(&text, "proctor_log_stopped"), 0.0);
    assert!(value(&text, "proctor_commit_time_seconds") > 1.6e9);
    assert!(value(&text, "proctor_view_age_seconds") < 60.0);
    assert!(value(&text, "proctor_resident_memory_bytes") > 1e6);
    assert!(value(&text, "proctor_build_info{version=") >= 1.0);
    assert!(text.trim_end().ends_with("# EOF"));
    drop(watermark);
    node.end().await;
}

#[tokio::test]
async fn what_the_rules_refuse_is_counted_by_code_and_restarts_by_service() {
    let node = Node::start(&[]).await;
    let port = Port::of(&node).await;
    let mut client = NodeClient::new(node.channel("node").await);
    let roster = || SetRosterRequest { traders: vec!["alice".into()] };
    client.set_roster(node.with_token(Role::Operator, roster())).await.expect("a roster");
    for _ in 0..3 {
        let class = proctor_rpc::v1::ChooseAssetClassRequest {
            trader: "bob".into(),
            asset_class: "crypto".into(),
        };
        let refused = client.choose_asset_class(node.with_token(Role::Operator, class)).await;
        refused.expect_err("bob is not registered");
    }
    node.metrics.set_restarts("orders", 7);
    node.metrics.feed_skipped();
    let text = port.get("/metrics").await;
    assert_eq!(value(&text, r#"proctor_rejections_total{code="not_registered"}"#), 3.0);
    assert_eq!(value(&text, r#"proctor_service_restarts{service="orders"}"#), 7.0);
    assert_eq!(value(&text, "proctor_feed_skips_total"), 1.0);
    node.end().await;
}

#[tokio::test]
async fn nothing_that_a_caller_sends_becomes_a_label() {
    let node = Node::start(&[]).await;
    let mut client = EliminationsClient::new(node.channel("eliminations").await);
    let ask = |number: u32| TraderRequest { trader: format!("madeup{number}") };
    client.is_hotkey_eliminated(ask(0)).await.map(drop).unwrap_or_default();
    let series = node.metrics.text().lines().count();
    for number in 1..200 {
        client.is_hotkey_eliminated(ask(number)).await.map(drop).unwrap_or_default();
    }
    client.get_eliminations_from_memory(GetEliminationsRequest::default()).await.expect("read");
    let text = node.metrics.text();
    assert!(!text.contains("madeup"), "{text}");
    // One more method is some tens of buckets, 200 more traders are nothing.
    assert!(text.lines().count() < series + 50, "{text}");
    node.end().await;
}

#[tokio::test]
async fn the_port_knows_one_path_and_takes_no_more_than_a_small_request() {
    let node = Node::start(&[]).await;
    let port = Port::of(&node).await;
    for path in ["/", "/metrics/", "/metricsx", "/../metrics", "/debug"] {
        let answer = port.get(path).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
    let post =
        b"POST /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    assert!(port.ask(post).await.starts_with("HTTP/1.1 404"));
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(100_000));
    assert!(!port.ask(long.as_bytes()).await.contains(" 200 "));
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    assert!(!port.ask(many.as_bytes()).await.contains(" 200 "));
    assert!(port.get("/metrics?x=1").await.starts_with("HTTP/1.1 200"), "it still answers");
    node.end().await;
}

#[tokio::test]
async fn connections_that_say_nothing_are_few_and_do_not_last() {
    let node = Node::start(&[]).await;
    let port = Port::of(&node).await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(port.address).await.expect("the system accepts"));
    }
    // Those beyond the bound are closed at once, the others after their deadline.
    for mut stream in silent {
        let mut nothing = [0; 1];
        let end = tokio::time::timeout(PATIENCE, stream.read(&mut nothing)).await;
        assert!(matches!(end.expect("closed in time"), Ok(0) | Err(_)));
    }
    assert!(port.get("/metrics").await.starts_with("HTTP/1.1 200"), "there is room again");
    node.end().await;
}

#[tokio::test]
async fn every_metric_is_explained_under_its_name_in_the_docs() {
    let docs = include_str!("../../../../docs/operating.md");
    let node = Node::start(&[]).await;
    node.metrics.set_restarts("orders", 0);
    let text = node.metrics.text();
    let families: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert!(families.len() > 20, "{families:?}");
    for family in families {
        let (name, kind) = family.split_once(' ').expect("a name and a type");
        let name = match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        };
        // Followed by the end of the name, or by its labels.
        let explained = [format!("`{name}`"), format!("`{name}{{")];
        assert!(explained.iter().any(|form| docs.contains(form)), "{name} is not explained");
    }
    node.end().await;
}
