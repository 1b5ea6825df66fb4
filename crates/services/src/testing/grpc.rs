//! A real gRPC connection over the loopback for the tests of the services.

use std::convert::Infallible;
use std::sync::Arc;

use proctor_rpc::{Problem, Reason};
use proctor_types::OperatorId;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::metadata::MetadataValue;
use tonic::server::NamedService;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Status};

use crate::auth::{Authenticate, Caller, Role, Tokens};

/// Returns the interceptor of a node where readers need no token and `secret` is an operator's.
pub(crate) fn authenticate() -> Authenticate {
    let caller = |name: &str, role| Caller { name: OperatorId::new(name).expect("a name"), role };
    let mut tokens = Tokens::default();
    tokens.add("secret", caller("ops", Role::Operator));
    Authenticate(Arc::new(tokens.with_anonymous(caller("anybody", Role::Reader))))
}

/// Serves `service` on a free port of the loopback; returns a connection to it.
pub(crate) async fn connect<S>(service: InterceptedService<S, Authenticate>) -> Channel
where
    S: tonic::codegen::Service<
            http::Request<Body>,
            Response = http::Response<Body>,
            Error = Infallible,
        > + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let server = Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    endpoint.connect().await.expect("the port is bound already")
}

/// Returns `message` with the operator's token.
pub(crate) fn with_token<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let token = MetadataValue::from_static("Bearer secret");
    request.metadata_mut().insert("authorization", token);
    request
}

/// Returns the kind of problem and the field that `status` names.
pub(crate) fn fault(status: &Status) -> (Reason, Option<String>) {
    let problem = Problem::of(status).expect("a problem of this contract");
    (problem.reason, problem.field)
}
