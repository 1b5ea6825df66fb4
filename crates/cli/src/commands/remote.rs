//! A running node: its arguments, how it is reached, and a runtime to wait for it in.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use proctor_client::v1::{AsOf, GetStatusResponse};
use proctor_client::{Addresses, Client, Connection, Random, Settings};
use proctor_daemon::tokens;
use proctor_services::Role;
use serde_json::{Value, json};

/// Name of the token file in a data directory.
const TOKENS: &str = "tokens.toml";

/// Which node is asked, and how.
#[derive(clap::Args)]
pub(crate) struct Remote {
    /// Address of the node's own service; the other services are where it says.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:50000", global = true)]
    node: String,
    /// File that holds a token, for a node that demands one.
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// How long to wait for an answer, in ms.
    #[arg(long, value_name = "MS", default_value_t = 5_000, global = true)]
    timeout_ms: u64,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// A node that answers.
pub(crate) struct Node {
    pub(crate) client: Client,
    pub(crate) status: GetStatusResponse,
}

impl Remote {
    /// Runs `work` with the node.
    pub(crate) fn run<F, T>(&self, work: impl FnOnce(Node) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { work(self.connect().await?).await })
    }

    /// Runs `work` with a client of the node whose status is not asked for; the service Orders is at
    /// `orders`, else at its standard port.
    pub(crate) fn run_unasked<F, T>(
        &self,
        orders: Option<&str>,
        work: impl FnOnce(Client) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut addresses = self.addresses(&GetStatusResponse::default());
        if let Some(orders) = orders {
            orders.clone_into(&mut addresses.orders);
        }
        let deadline = Duration::from_millis(self.timeout_ms);
        let settings = Settings { deadline, ..Settings::default() };
        let token = self.token()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let client = Client::new(&addresses, token.as_deref(), settings, &random()?)?;
            work(client).await
        })
    }

    /// Runs `work` with the node, as somebody who has `role`: by the token of --token-file, else by
    /// one of the token file of the node whose data directory is `data`.
    pub(crate) fn run_as<F, T>(
        &self,
        role: Role,
        data: &Path,
        work: impl FnOnce(Node) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let token = match self.token()? {
            Some(token) => token,
            None => {
                let file = data.join(TOKENS);
                let advice = "give the node's --data directory, or a token with --token-file";
                let found = tokens::secret_for(&file, role).context(advice)?;
                found.with_context(|| format!("{} has no token of role {role}", file.display()))?
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { work(self.connect_with(Some(token)).await?).await })
    }

    async fn connect(&self) -> Result<Node> {
        self.connect_with(self.token()?).await
    }

    /// Returns the token of --token-file.
    fn token(&self) -> Result<Option<String>> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the token in {}", path.display()))?;
        Ok(Some(text.trim().to_owned()))
    }

    async fn connect_with(&self, token: Option<String>) -> Result<Node> {
        let deadline = Duration::from_millis(self.timeout_ms);
        let settings = Settings { deadline, ..Settings::default() };
        let random = random()?;
        let own = Connection::new(&self.node, token.as_deref(), settings, random.clone())?;
        let status = Client::over(&own).status().await.context("is a node running there?")?;
        let addresses = self.addresses(&status);
        let client = Client::new(&addresses, token.as_deref(), settings, &random)?;
        Ok(Node { client, status })
    }

    /// Returns where the services are: as the node says, else at the standard ports of its host.
    fn addresses(&self, status: &GetStatusResponse) -> Addresses {
        let host = self.node.rsplit_once(':').map_or(self.node.as_str(), |(host, _)| host);
        let standard = Addresses::on(host);
        let at = |name: &str, standard: String| {
            let told = status.services.iter().find(|service| service.name == name);
            told.map(|service| service.address.clone())
                .filter(|address| !address.is_empty())
                .unwrap_or(standard)
        };
        Addresses {
            node: self.node.clone(),
            prices: at("prices", standard.prices),
            positions: at("positions", standard.positions),
            orders: at("orders", standard.orders),
            eliminations: at("eliminations", standard.eliminations),
            challenge_period: at("challenge_period", standard.challenge_period),
        }
    }
}

/// Returns jitter for back-offs: a sequence from a seed that the system gives.
fn random() -> Result<Random> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).context("the system gives no entropy")?;
    let state = std::sync::atomic::AtomicU64::new(u64::from_le_bytes(seed));
    Ok(Random::new(move || {
        // SplitMix64: a counter, well mixed.
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut word = state.fetch_add(STEP, std::sync::atomic::Ordering::Relaxed);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }))
}

/// Returns as of what an answer is, for JSON.
pub(crate) fn as_of(as_of: Option<AsOf>) -> Value {
    match as_of {
        Some(AsOf { commit, as_of_ms, generation }) => {
            json!({ "commit": commit, "as_of_ms": as_of_ms, "generation": generation })
        }
        None => Value::Null,
    }
}

/// Returns as of what an answer is, for people.
pub(crate) fn as_of_line(as_of: Option<AsOf>) -> String {
    match as_of {
        Some(as_of) => {
            format!("as of commit {} ({})", as_of.commit, proctor_types::UtcMs(as_of.as_of_ms))
        }
        None => "the node does not say as of what".into(),
    }
}

/// Returns the name of a side.
pub(crate) fn side(side: i32) -> &'static str {
    use proctor_client::v1::Side;
    match Side::try_from(side) {
        Ok(Side::Long) => "LONG",
        Ok(Side::Short) => "SHORT",
        Ok(Side::Flat) => "FLAT",
        Ok(Side::Unspecified) | Err(_) => "-",
    }
}
