//! The standard health call: how a child asks itself, and a supervisor its child.

use std::net::SocketAddr;
use std::time::Duration;

use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Calls the server at `address`; an answer other than "serving" is none.
///
/// # Errors
/// What came instead, as text.
pub async fn call(address: SocketAddr, within: Duration) -> Result<(), String> {
    tokio::time::timeout(within, ask(address))
        .await
        .unwrap_or_else(|_| Err(format!("nothing within {} ms", within.as_millis())))
}

async fn ask(address: SocketAddr) -> Result<(), String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    let channel = endpoint.map_err(|error| error.to_string())?.connect().await;
    let mut client = HealthClient::new(channel.map_err(|error| error.to_string())?);
    // The empty name asks for the server as a whole.
    let request = HealthCheckRequest { service: String::new() };
    let answer = client.check(request).await.map_err(|status| status.to_string())?;
    let status = answer.into_inner().status;
    match status == i32::from(ServingStatus::Serving) {
        true => Ok(()),
        false => Err(format!("the status is {status}, not serving")),
    }
}
