//! The node's service through its own trait: what is allowed, what is written, what is told.

use std::sync::atomic::{AtomicBool, Ordering};

use node_server::Node as _;
use proctor_types::OperatorId;

use super::*;
use crate::auth::Caller;
use crate::testing::{World, trader};

#[derive(Debug, Default)]
struct Fake(AtomicBool);

impl Process for Fake {
    fn facts(&self) -> Facts {
        Facts { chain_id: "test".into(), alerts: vec!["look".into()], ..Facts::default() }
    }

    fn stop(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn by<T>(role: Role, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let name = OperatorId::new("ops").expect("a name");
    request.extensions_mut().insert(Caller { name, role });
    request
}

fn problem<T: fmt::Debug>(answer: Result<T, Status>) -> Problem {
    Problem::of(&answer.expect_err("refused")).expect("a problem")
}

#[tokio::test]
async fn a_roster_is_set_changed_and_guarded() {
    let world = World::empty().await;
    let service = NodeService::new(world.backend.clone(), Arc::new(Fake::default()), 1);
    let set = |traders: &[&str]| v1::SetRosterRequest {
        traders: traders.iter().map(|name| (*name).to_owned()).collect(),
    };
    let answer = service.set_roster(by(Role::Operator, set(&["a", "b"]))).await;
    assert_eq!(answer.expect("taken").into_inner().version, 1);
    let change = v1::ChangeRosterRequest { add: vec!["c".into()], remove: vec!["a".into()] };
    let answer = service.change_roster(by(Role::Operator, change)).await.expect("taken");
    assert_eq!((answer.get_ref().version, answer.get_ref().registered), (2, 2));
    let view = world.backend.views().latest();
    assert_eq!(view.roster.traders(), Some(&[trader("b"), trader("c")].into()));
    let feed = problem(service.set_roster(by(Role::Feed, set(&[]))).await);
    assert_eq!(feed.reason, Reason::Forbidden);
    let wrong = problem(service.set_roster(by(Role::Admin, set(&["ok", "not ok"]))).await);
    assert_eq!(wrong.field.as_deref(), Some("traders[1]"));
    // Sixteen traders, all gone at once: held, and the message says so.
    let many: Vec<String> = (0..16).map(|n| format!("t{n}")).collect();
    let names: Vec<&str> = many.iter().map(String::as_str).collect();
    service.set_roster(by(Role::Operator, set(&names))).await.expect("taken");
    let held = problem(service.set_roster(by(Role::Operator, set(&["b"]))).await);
    assert_eq!((held.reason, held.code.as_deref()), (Reason::Refused, Some("anomalous_roster")));
}

#[tokio::test]
async fn commands_need_their_role_and_name_what_is_wrong() {
    let world = World::with_traders(&["alice"]).await;
    let process = Arc::new(Fake::default());
    let service = NodeService::new(world.backend.clone(), Arc::clone(&process) as _, 1);
    let size = |usd: f64| v1::SetAccountSizeRequest { trader: "alice".into(), size_usd: usd };
    service.set_account_size(by(Role::Operator, size(50_000.0))).await.expect("taken");
    let nan = problem(service.set_account_size(by(Role::Operator, size(f64::NAN))).await);
    assert_eq!((nan.reason, nan.field.as_deref()), (Reason::InvalidArgument, Some("size_usd")));
    let zero = problem(service.set_account_size(by(Role::Operator, size(0.0))).await);
    assert_eq!((zero.reason, zero.code.as_deref()), (Reason::Refused, Some("account_size")));
    let class = |name: &str| v1::ChooseAssetClassRequest {
        trader: "alice".into(),
        asset_class: name.into(),
    };
    let unknown = problem(service.choose_asset_class(by(Role::Operator, class("gold"))).await);
    assert!(unknown.message.contains("known are"), "{unknown}");
    let again = class(&AssetClass::Forex.to_string());
    let again = problem(service.choose_asset_class(by(Role::Operator, again)).await);
    assert_eq!(again.code.as_deref(), Some("asset_class_chosen"));
    let rulebook = v1::AdoptRulebookRequest { toml: "name = 1".into() };
    let rulebook = problem(service.adopt_rulebook(by(Role::Operator, rulebook)).await);
    assert_eq!(rulebook.code.as_deref(), Some("invalid_rulebook"));
    let shutdown = problem(service.shutdown(by(Role::Operator, v1::ShutdownRequest {})).await);
    assert_eq!(shutdown.reason, Reason::Forbidden);
    assert!(!process.0.load(Ordering::SeqCst));
    service.shutdown(by(Role::Admin, v1::ShutdownRequest {})).await.expect("taken");
    assert!(process.0.load(Ordering::SeqCst));
}

#[tokio::test]
async fn the_status_tells_the_state_and_what_to_look_at() {
    let world = World::with_traders(&["alice", "bob"]).await;
    let service = NodeService::new(world.backend.clone(), Arc::new(Fake::default()), 1);
    world.clock.advance(2_500);
    let status = service.get_status(Request::new(v1::GetStatusRequest {})).await.expect("told");
    let status = status.into_inner();
    let view = world.backend.views().latest();
    assert_eq!(status.as_of.map(|as_of| as_of.commit), Some(view.stamp.commit));
    assert_eq!((status.accounts, status.accounts_alive, status.eliminated), (2, 2, 0));
    assert_eq!(status.digest, view.digest.to_string());
    assert_eq!((status.age_ms, status.alerts.last().map(String::as_str)), (2_500, Some("look")));
}
