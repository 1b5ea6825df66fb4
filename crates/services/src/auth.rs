//! Tokens and roles: who may do what besides reading. Orders are signed instead.

use std::collections::BTreeMap;
use std::fmt;
use std::task::{Context, Poll};

use proctor_rpc::{Problem, Reason};
use proctor_types::OperatorId;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::NamedService;
use tonic::service::Interceptor;
use tonic::{Extensions, Request, Status};

/// The metadata that carries a token, as `Bearer TOKEN`.
const HEADER: &str = "authorization";

/// What a caller may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Read.
    Reader,
    /// Publish prices.
    Feed,
    /// Write records, stages, rosters, sizes and rulebooks.
    Operator,
    /// Stop the node.
    Admin,
}

impl Role {
    /// Every role, least first.
    pub const ALL: [Self; 4] = [Self::Reader, Self::Feed, Self::Operator, Self::Admin];

    /// Returns the role's name in configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Feed => "feed",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// Returns the role called `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name of the token; it stands in the log as who gave a command.
    pub name: OperatorId,
    /// What the token allows.
    pub role: Role,
}

/// The tokens of a node. Only their hashes are kept, so a dump of memory or a log line of this
/// gives nobody a token.
#[derive(Clone, Default)]
pub struct Tokens {
    by_hash: BTreeMap<[u8; 32], Caller>,
    anonymous: Option<Caller>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.by_hash.values()).finish()
    }
}

impl Tokens {
    /// Adds a token.
    pub fn add(&mut self, token: &str, caller: Caller) {
        self.by_hash.insert(hash(token), caller);
    }

    /// Lets callers without a token be `caller`.
    #[must_use]
    pub fn with_anonymous(self, caller: Caller) -> Self {
        Self { anonymous: Some(caller), ..self }
    }

    /// Returns who calls with `header`, the value of the authorization metadata.
    ///
    /// # Errors
    /// [`Reason::Unauthenticated`] for an unknown token, and for none where one is needed.
    pub fn caller(&self, header: Option<&str>) -> Result<&Caller, Problem> {
        let Some(header) = header else {
            return self.anonymous.as_ref().ok_or_else(|| {
                Problem::new(Reason::Unauthenticated, "send a token: authorization: Bearer TOKEN")
            });
        };
        // Tokens are compared by hash, so how long it takes tells nothing about them.
        let token = header.strip_prefix("Bearer ").map(str::trim);
        token.and_then(|token| self.by_hash.get(&hash(token))).ok_or_else(|| {
            Problem::new(Reason::Unauthenticated, "the token is not known to this node")
        })
    }
}

fn hash(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}

/// Puts the [`Caller`] into each request's extensions; refuses who is nobody.
#[derive(Clone, Debug)]
pub struct Authenticate(pub std::sync::Arc<Tokens>);

impl Authenticate {
    /// Returns who calls with these headers.
    fn caller(&self, headers: &http::HeaderMap) -> Result<Caller, Problem> {
        let header = headers.get(HEADER).map(http::HeaderValue::to_str);
        let header = header.transpose().map_err(|_| {
            Problem::new(Reason::Unauthenticated, "the authorization metadata is not text")
        })?;
        Ok(self.0.caller(header)?.clone())
    }
}

impl Interceptor for Authenticate {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let caller = self.caller(request.metadata().as_ref())?;
        request.extensions_mut().insert(caller);
        Ok(request)
    }
}

/// A service whose callers are authenticated, but for some methods, whose messages prove themselves.
#[derive(Clone, Debug)]
pub struct AuthenticateBut<S> {
    inner: S,
    authenticate: Authenticate,
    /// Paths, with the slash at their beginning.
    free: &'static [&'static str],
}

impl<S> AuthenticateBut<S> {
    /// Returns `inner` with a token needed for every path but those in `free`. There no token is looked
    /// at, not even a wrong one, and there is no [`Caller`].
    #[must_use]
    pub fn new(inner: S, authenticate: Authenticate, free: &'static [&'static str]) -> Self {
        Self { inner, authenticate, free }
    }
}

impl<S: NamedService> NamedService for AuthenticateBut<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for AuthenticateBut<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<Self::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        if !self.free.contains(&request.uri().path()) {
            match self.authenticate.caller(request.headers()) {
                Ok(caller) => drop(request.extensions_mut().insert(caller)),
                Err(problem) => {
                    let refused = Status::from(problem).into_http();
                    return Box::pin(std::future::ready(Ok(refused)));
                }
            }
        }
        Box::pin(self.inner.call(request))
    }
}

/// Returns who calls, when the role suffices.
///
/// # Errors
/// [`Reason::Forbidden`], or [`Reason::Unauthenticated`] when the caller is not known at all.
pub fn require(extensions: &Extensions, role: Role) -> Result<Caller, Problem> {
    let caller = extensions.get::<Caller>().ok_or_else(|| {
        Problem::new(Reason::Unauthenticated, "this call came without an authenticated caller")
    })?;
    if caller.role < role {
        let text = format!("{} has the role {}, this needs {role}", caller.name, caller.role);
        return Err(Problem::new(Reason::Forbidden, text));
    }
    Ok(caller.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(name: &str, role: Role) -> Caller {
        Caller { name: OperatorId::new(name).expect("a name"), role }
    }

    #[test]
    fn a_token_gives_its_role_and_nothing_else_does() {
        let mut tokens = Tokens::default();
        tokens.add("s3cret", caller("ops", Role::Operator));
        assert_eq!(tokens.caller(Some("Bearer s3cret")), Ok(&caller("ops", Role::Operator)));
        for header in [None, Some(""), Some("s3cret"), Some("Bearer "), Some("Bearer s3cre")] {
            let problem = tokens.caller(header).expect_err("not a token");
            assert_eq!(problem.reason, Reason::Unauthenticated, "{header:?}");
        }
        let open = tokens.with_anonymous(caller("anybody", Role::Reader));
        assert_eq!(open.caller(None), Ok(&caller("anybody", Role::Reader)));
        assert!(open.caller(Some("Bearer wrong")).is_err(), "a wrong token is not no token");
        assert!(!format!("{open:?}").contains("s3cret"));
    }

    #[test]
    fn a_role_may_do_what_the_lesser_ones_may_and_no_more() {
        for (place, role) in Role::ALL.into_iter().enumerate() {
            let mut extensions = Extensions::new();
            extensions.insert(caller("x", role));
            for (needed_place, needed) in Role::ALL.into_iter().enumerate() {
                let allowed = require(&extensions, needed);
                assert_eq!(allowed.is_ok(), place >= needed_place, "{role} for {needed}");
            }
            assert_eq!(Role::parse(role.name()), Some(role));
        }
        assert_eq!(
            require(&Extensions::new(), Role::Reader).expect_err("nobody").reason,
            Reason::Unauthenticated
        );
    }
}
