//! Rules of concurrency that are checked on the source itself (p2p 1.16).

use std::fs;
use std::path::Path;

fn sources() -> Vec<(String, String)> {
    let root = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("src");
    let mut found = Vec::new();
    for folder in [root.clone(), root.join("node")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                let text = fs::read_to_string(&path).unwrap();
                // The code alone: no comments, no tests.
                let code = text.split("#[cfg(test)]").next().unwrap().lines();
                let code = code.filter(|line| !line.trim_start().starts_with("//"));
                found.push((name, code.collect::<Vec<_>>().join("\n")));
            }
        }
    }
    assert!(found.len() > 15, "the sources were not found");
    found
}

/// Lists the files other than `allowed` whose code has `word` in it.
fn users(word: &str, allowed: &[&str]) -> Vec<String> {
    let users = sources().into_iter().filter(|(_, code)| code.contains(word));
    users.map(|(name, _)| name).filter(|name| !allowed.contains(&name.as_str())).collect()
}

#[test]
fn r1_the_loop_has_one_await_and_no_handler_can_wait() {
    for (name, code) in sources() {
        let awaits = code.matches(".await").count();
        if name == "net_loop.rs" {
            assert_eq!(awaits, 1, "{name}");
        } else if name.starts_with("node") {
            assert!(!code.contains("async fn"), "{name}: a handler is not async");
            // In tasks that are spawned, not in handlers.
            let allowed = ["node/conns.rs", "node/jobs.rs"].contains(&name.as_str());
            assert!(allowed || awaits == 0, "{name}");
        }
    }
    assert_eq!(users("select!", &["sources.rs"]), Vec::<String>::new());
}

#[test]
fn r2_r3_locks_are_in_two_places_and_never_asynchronous() {
    assert_eq!(users("Mutex<", &["chain.rs", "outbox.rs"]), Vec::<String>::new());
    for word in ["RwLock", "tokio::sync::Mutex", "sync::{Mutex, mpsc"] {
        assert_eq!(users(word, &[]), Vec::<String>::new(), "{word}");
    }
}

#[test]
fn r7_no_queue_is_unbounded_and_r10_no_task_is_in_no_set() {
    for word in ["unbounded", "broadcast::channel", "thread::spawn"] {
        assert_eq!(users(word, &[]), Vec::<String>::new(), "{word}");
    }
    assert_eq!(users("tokio::spawn(", &["handle.rs"]), Vec::<String>::new());
    assert_eq!(users("tokio::task::spawn_blocking(", &["start.rs"]), Vec::<String>::new());
}

#[test]
fn r15_time_and_randomness_are_read_in_one_place() {
    for word in ["Instant::now", "SystemTime", "getrandom::u64", "time::sleep"] {
        assert_eq!(users(word, &["clock.rs"]), Vec::<String>::new(), "{word}");
    }
}
