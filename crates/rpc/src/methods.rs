//! Every method of the contract: to which service it belongs, whether it streams, whether it writes.
//!
//! Labels of metrics and log lines come from here, so whatever path a caller makes up, their number
//! stays that of the contract.

use prost::Message as _;
use prost_types::FileDescriptorSet;

use crate::DESCRIPTORS;

/// How the names of methods begin that change nothing; any other method counts as a write.
const READS: [&str; 12] = [
    "Are",
    "Get",
    "Has",
    "HealthCheck",
    "HotkeyIn",
    "Is",
    "List",
    "MeetsTimeCriteria",
    "ServerReflection",
    "Snapshot",
    "Stream",
    "Watch",
];

/// A method of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    /// Full name of the service, such as "proctor.v1.Orders".
    pub service: String,
    /// Name of the method, such as "Submit".
    pub name: String,
    /// Whether its answer is a stream.
    pub streams: bool,
}

impl Method {
    /// Returns the path of a call.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/{}/{}", self.service, self.name)
    }

    /// Returns whether it may change something.
    #[must_use]
    pub fn writes(&self) -> bool {
        !READS.iter().any(|prefix| self.name.starts_with(prefix))
    }
}

/// Returns every method of the public services.
///
/// # Panics
/// Never: the descriptors are part of this crate, and a test reads them.
#[must_use]
pub fn all() -> Vec<Method> {
    let set = FileDescriptorSet::decode(DESCRIPTORS);
    let files = set.expect("generated with the code").file;
    let mut methods = Vec::new();
    for file in files {
        for service in &file.service {
            methods.extend(service.method.iter().map(|method| Method {
                service: format!("{}.{}", file.package(), service.name()),
                name: method.name().into(),
                streams: method.server_streaming(),
            }));
        }
    }
    methods
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_stands_once_with_its_service() {
        let methods = all();
        let paths: std::collections::BTreeSet<String> = methods.iter().map(Method::path).collect();
        assert_eq!(paths.len(), methods.len());
        assert!(paths.contains("/proctor.v1.Orders/Submit"), "{paths:?}");
        let streams = |path: &str| methods.iter().any(|m| m.path() == path && m.streams);
        assert!(streams("/proctor.v1.Orders/Watch"));
        assert!(!streams("/proctor.v1.Orders/Submit"));
    }

    #[test]
    fn what_writes_is_all_that_a_name_does_not_show_to_be_a_read() {
        let writes = |service: &str| -> Vec<String> {
            let of = |m: &Method| m.service == service && m.writes();
            all().into_iter().filter(of).map(|m| m.name).collect()
        };
        assert_eq!(writes("proctor.v1.Orders"), ["Submit", "SubmitMany", "Cancel", "Bracket"]);
        assert_eq!(writes("proctor.v1.Prices"), ["Publish"]);
        assert!(writes("proctor.v1.Positions").is_empty());
        assert!(writes("proctor.v1.Node").contains(&"Shutdown".to_owned()));
        assert!(writes("proctor.v1.ChallengePeriod").contains(&"UpdateMiners".to_owned()));
        assert!(writes("proctor.v1.Eliminations").contains(&"Reinstate".to_owned()));
    }
}
