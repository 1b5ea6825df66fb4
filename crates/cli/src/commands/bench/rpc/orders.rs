//! Orders: signed, sent, durable, applied, answered; one after the other and many at once.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use proctor_client::v1::{self, submit_result::Result as Became};
use proctor_client::{Client, SignedBytes, Submitted};
use proctor_commit_log::probe::{Probe, batch_bytes};
use proctor_keys::sr25519::Signature;
use proctor_keys::{SignedOrder, Terms, Window};
use proctor_sequencer::Clock as _;
use proctor_types::{Leverage, OrderId, OrderRequest, PairName, Side, SizeFields, TraderId, UtcMs};
use serde_json::json;
use tokio::task::JoinSet;

use super::cpu::Used;
use super::server::BenchNode;
use super::{Scale, machine, report, spread};

/// Length of the file that the bare disk is measured with.
const PROBE_BYTES: u64 = 16 << 20;
/// About what a commit of one order takes in the log.
const ORDER_BYTES: usize = 560;
/// A price is told again after so many orders: it must not grow stale.
const ORDERS_PER_PRICE: usize = 50;
/// Calls with many orders under way: one is checked while another becomes durable.
const BATCHES_AT_ONCE: usize = 2;

pub(super) async fn measure(node: &BenchNode, scale: Scale, directory: &Path) -> Result<()> {
    // Each trader sends one order: the rules want a pause between two of one trader on a pair.
    let orders: Vec<SignedBytes> =
        (0..scale.orders()).map(|number| signed(node, number)).collect::<Result<_>>()?;
    let (serial, many) = orders.split_at(scale.serial);
    let (concurrent, batched) = many.split_at(scale.submitters * scale.each);
    signatures(node, serial)?;
    let rate = one_by_one(node, serial, directory).await?;
    at_once(node, scale, concurrent, rate).await?;
    in_batches(node, scale, batched, rate).await
}

fn signed(node: &BenchNode, number: usize) -> Result<SignedBytes> {
    let key = &node.keys[number];
    let request = OrderRequest::market(
        TraderId::new(&key.address().to_string())?,
        OrderId::new(&format!("bench-{number}"))?,
        PairName::new("BTCUSD")?,
        Side::Long,
        SizeFields { leverage: Some(Leverage::new(0.1)?), ..SizeFields::default() },
    );
    let now = node.clock.now();
    let window = Window { from: now, until: UtcMs(now.0 + 1_800_000) };
    let terms = Terms { chain_id: node.chain_id.clone(), window };
    // The signature's own randomness; a bench keeps no secret.
    Ok(SignedBytes::sign(&key.keypair(), &terms, &request, &[7; 32])?)
}

async fn accepted(client: &Client, order: &SignedBytes) -> Result<()> {
    match client.submit(order).await? {
        Submitted::Judged { outcome, .. } => {
            ensure!(outcome.accepted, "the workload is broken: {}", outcome.message);
        }
        Submitted::Found(_) | Submitted::TakenBefore(_) => {}
    }
    Ok(())
}

/// Sends one order after the other, in turns with a bare fdatasync; returns orders per second.
async fn one_by_one(node: &BenchNode, orders: &[SignedBytes], directory: &Path) -> Result<f64> {
    let folder = directory.join("bare");
    std::fs::create_dir(&folder)?;
    let mut probe = Probe::create(&folder, PROBE_BYTES, PROBE_BYTES)?;
    let (mut answered, mut synced) = (Vec::new(), Vec::new());
    for (number, order) in orders.iter().enumerate() {
        if number % ORDERS_PER_PRICE == 0 {
            node.price().await?;
        }
        let begun = Instant::now();
        accepted(&node.client, order).await?;
        answered.push(begun.elapsed().as_secs_f64() * 1e3);
        synced.push(probe.run(batch_bytes(1, ORDER_BYTES), 1)?.as_secs_f64() * 1e3);
    }
    let rate = orders.len() as f64 / (answered.iter().sum::<f64>() / 1e3);
    let (p50, range) = spread(&answered);
    let (bare, bare_range) = spread(&synced);
    report(&json!({
        "bench": "rpc", "figure": "order, submit to answer", "way": "grpc", "submitters": 1,
        "value": p50, "unit": "ms at p50", "range": range, "orders": orders.len(),
        "per_second": rate, "bare_fdatasync_ms_p50": bare, "bare_fdatasync_range": bare_range,
        "above_bare_ms": p50 - bare, "ratio_to_bare": p50 / bare,
        "aim": "at most one fdatasync and 1 ms", "machine": machine(),
    }));
    Ok(rate)
}

/// Sends orders from many submitters at once, each of whom waits for every answer.
async fn at_once(
    node: &BenchNode,
    scale: Scale,
    orders: &[SignedBytes],
    serial_rate: f64,
) -> Result<()> {
    node.price().await?;
    let orders: Arc<[SignedBytes]> = orders.into();
    let (begun, before) = (Instant::now(), Used::now());
    let mut submitters = JoinSet::new();
    for submitter in 0..scale.submitters {
        let (client, orders) = (node.client.clone(), Arc::clone(&orders));
        let own = submitter * scale.each..(submitter + 1) * scale.each;
        submitters.spawn(async move {
            let mut answered = Vec::new();
            for order in &orders[own] {
                let begun = Instant::now();
                accepted(&client, order).await?;
                answered.push(begun.elapsed().as_secs_f64() * 1e3);
            }
            anyhow::Ok(answered)
        });
    }
    let mut answered = Vec::new();
    while let Some(submitter) = submitters.join_next().await {
        answered.extend(submitter??);
    }
    let many = Many { way: "Submit", submitters: scale.submitters, orders: orders.len() };
    many.report(begun.elapsed(), Used::now().zip(before), &answered, serial_rate);
    Ok(())
}

/// Sends as many orders at a time as there are submitters, in one call each time, two calls at once.
async fn in_batches(
    node: &BenchNode,
    scale: Scale,
    orders: &[SignedBytes],
    serial_rate: f64,
) -> Result<()> {
    node.price().await?;
    let batches: Vec<Vec<SignedBytes>> =
        orders.chunks(scale.submitters).map(<[SignedBytes]>::to_vec).collect();
    let (begun, before) = (Instant::now(), Used::now());
    let mut calls = JoinSet::new();
    let mut answered = Vec::new();
    for batch in batches {
        if calls.len() == BATCHES_AT_ONCE {
            answered.extend(calls.join_next().await.transpose()?.transpose()?);
        }
        let client = node.client.clone();
        calls.spawn(async move {
            let begun = Instant::now();
            all_accepted(&client.submit_many(&batch).await?)?;
            anyhow::Ok(begun.elapsed().as_secs_f64() * 1e3)
        });
    }
    while let Some(call) = calls.join_next().await {
        answered.push(call??);
    }
    let many = Many { way: "SubmitMany", submitters: scale.submitters, orders: orders.len() };
    many.report(begun.elapsed(), Used::now().zip(before), &answered, serial_rate);
    Ok(())
}

fn all_accepted(answer: &v1::SubmitManyResponse) -> Result<()> {
    for result in &answer.results {
        let accepted = matches!(&result.result, Some(Became::Outcome(told)) if told.accepted);
        ensure!(accepted, "the workload is broken: {result:?}");
    }
    Ok(())
}

/// Many orders at once, as they are reported.
struct Many {
    way: &'static str,
    submitters: usize,
    orders: usize,
}

impl Many {
    /// Prints how it went, beside what the processors of this machine could do at most.
    fn report(
        &self,
        took: Duration,
        used: Option<(Used, Used)>,
        answered: &[f64],
        serial_rate: f64,
    ) {
        let orders = self.orders as f64;
        let rate = orders / took.as_secs_f64();
        let (p50, range) = spread(answered);
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let each = |nanoseconds: u64| nanoseconds as f64 / 1e3 / orders;
        let used = used.map(|(after, before)| after.since(before)).filter(|used| used.total() > 0);
        // Client and node share these processors: more than this they cannot do, whatever the disk.
        let limit = used.map(|used| cores / (each(used.total()) / 1e6));
        report(&json!({
            "bench": "rpc", "figure": "orders at once, submit to answer", "way": self.way,
            "submitters": self.submitters, "value": p50, "unit": "ms at p50 of a call",
            "range": range, "orders": self.orders, "per_second": rate,
            "times_the_serial_rate": rate / serial_rate,
            "processor_us_per_order": used.map(|used| json!({
                "client": each(used.client), "services": each(used.services),
                "sequencer": each(used.sequencer),
            })),
            "limit_of_processors_per_second": limit,
            "limit_times_the_serial_rate": limit.map(|limit| limit / serial_rate),
            "aim": "at least 20 times the serial rate", "machine": machine(),
        }));
    }
}

/// Prints what a signature takes by itself: to make one, which is the submitter's, and to check one.
fn signatures(node: &BenchNode, orders: &[SignedBytes]) -> Result<()> {
    let rules = node.rules();
    let begun = Instant::now();
    for order in orders {
        let signature = order.signature.as_slice().try_into()?;
        let payload = order.payload.clone();
        SignedOrder { payload, signature: Signature(signature) }
            .claim(&rules, node.clock.now())?
            .prove()?;
    }
    let each = begun.elapsed().as_secs_f64() * 1e6 / orders.len() as f64;
    report(&json!({
        "bench": "rpc", "figure": "order read and its signature checked", "way": "direct",
        "value": each, "unit": "us", "orders": orders.len(), "machine": machine(),
    }));
    Ok(())
}
