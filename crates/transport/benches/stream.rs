//! `cargo bench -p proctor-transport`: the stream over loopback TCP, beside plain TCP and rustls.
//!
//! All of them move the same bytes one way between two tasks of one process, in turns, so that what
//! disturbs one disturbs all. The median of the turns counts. What a busy machine disturbs least is
//! the processor time, of which both ends, both users and the kernel's share of the connection are
//! part. Sealing alone, without a connection, is in `proctor bench ratchet`.
#![allow(clippy::print_stdout, reason = "a bench tells its figures")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proctor_ratchet::{Agreed, Freshness, Limits, Mode};
use proctor_ratchet_crypto::Identity;
use proctor_transport::{Options, PeerId, SecureStream, Terms, accept, connect};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group, sign::any_eddsa_type};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

type Failed = Box<dyn Error + Send + Sync>;

const TURNS: usize = 9;
const PIECE: usize = 64 << 10;
const BYTES: usize = 128 << 20;
/// What one record carries when records are small.
const SMALL: u32 = 256;

async fn loopback() -> Result<(TcpStream, TcpStream), Failed> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (near, (far, _)) = (near?, far?);
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

/// What something took, in seconds.
#[derive(Clone, Copy)]
struct Took {
    wall: f64,
    /// Of all threads; 0 where the system does not tell it.
    processor: f64,
}

/// Returns how long the threads of this process have run, in seconds.
fn processor_time() -> f64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let nanoseconds = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    };
    tasks.flatten().filter_map(nanoseconds).sum::<f64>() / 1e9
}

/// Moves `bytes` from one end to the other.
async fn move_bytes<A, B>(mut from: A, mut to: B, bytes: usize) -> Result<Took, Failed>
where
    A: AsyncWrite + Send + Unpin + 'static,
    B: AsyncRead + Send + Unpin + 'static,
{
    let (begun, used) = (Instant::now(), processor_time());
    let writing = tokio::spawn(async move {
        let piece = vec![7; PIECE];
        for _ in 0..bytes / PIECE {
            from.write_all(&piece).await?;
        }
        from.shutdown().await?;
        Ok::<A, std::io::Error>(from)
    });
    let (mut total, mut buffer) = (0, vec![0; PIECE]);
    loop {
        let count = to.read(&mut buffer).await?;
        if count == 0 {
            break;
        }
        total += count;
    }
    let took = Took { wall: begun.elapsed().as_secs_f64(), processor: processor_time() - used };
    writing.await??;
    if total != bytes {
        return Err("bytes are missing".into());
    }
    Ok(took)
}

async fn streams(mode: Mode, payload: u32) -> Result<(SecureStream, SecureStream), Failed> {
    let (near, far) = loopback().await?;
    let one = Arc::new(Identity::from_seed(&[1; 32])?);
    let other = Arc::new(Identity::from_seed(&[2; 32])?);
    // The flags of a message are part of its payload.
    let agreed = Agreed { mode, payload_max: payload + 1, ..Agreed::default() };
    let terms = || Terms { agreed, ..Terms::of_network([0; 32]) };
    let limits =
        Limits { rounds_burst: u32::MAX, rounds_per_second: u32::MAX, ..Limits::default() };
    let options = Options { limits, ..Options::default() };
    let expected = PeerId(other.public());
    let (dialed, answered) = tokio::join!(
        connect(near, one, expected, terms(), options.clone()),
        accept(far, other, |_| true, terms(), options.clone()),
    );
    Ok((dialed?, answered?))
}

/// Accepts the one key that the bench's server has.
#[derive(Debug)]
struct OneKey(Arc<CryptoProvider>, SubjectPublicKeyInfoDer<'static>);

impl ServerCertVerifier for OneKey {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let same = end.as_ref() == self.1.as_ref();
        let wrong = rustls::CertificateError::UnknownIssuer;
        if same { Ok(ServerCertVerified::assertion()) } else { Err(wrong.into()) }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        end: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = SubjectPublicKeyInfoDer::from(end.as_ref());
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

type Tls = (tokio_rustls::client::TlsStream<TcpStream>, tokio_rustls::server::TlsStream<TcpStream>);

/// TLS 1.3 with the same key exchange, the same cipher and a raw Ed25519 key.
async fn tls() -> Result<Tls, Failed> {
    let mut provider = default_provider();
    provider.kx_groups = vec![kx_group::X25519MLKEM768];
    provider.cipher_suites =
        vec![rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384];
    let provider = Arc::new(provider);
    let head = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    let pkcs8 = [head.as_slice(), &[2; 32]].concat();
    let key = any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8))?;
    let public = key.public_key().ok_or("a key has a public half")?.into_owned();
    let certified = CertifiedKey::new(vec![CertificateDer::from(public.to_vec())], key);
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(certified))));
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OneKey(provider, public)))
        .with_no_client_auth();
    let (near, far) = loopback().await?;
    let name = ServerName::try_from("proctor.example")?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let (client, server) = tokio::join!(connector.connect(name, near), acceptor.accept(far));
    Ok((client?, server?))
}

/// One after the other: how long a round takes until its initiator has it.
async fn rounds(count: u32) -> Result<Duration, Failed> {
    let (one, _other) = streams(Mode::RecordFs, 16 << 10).await?;
    let begun = Instant::now();
    for _ in 0..count {
        one.control().request_rekey(Freshness::Fresh).done().await?;
    }
    Ok(begun.elapsed() / count)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Prints the median rate per second and per second of processor time, of `count` in each turn.
fn tell(name: &str, unit: &str, count: f64, turns: &[Took]) {
    let rate =
        |time: fn(&Took) -> f64| median(turns.iter().map(|took| count / time(took)).collect());
    let (wall, processor) = (rate(|took| took.wall), rate(|took| took.processor));
    println!("  {name:<32} {wall:>10.0} {unit}/s {processor:>10.0} {unit} per processor second");
}

async fn measure() -> Result<(), Failed> {
    // `cargo test --benches` asks for nothing more than that it runs.
    let turns = if std::env::args().any(|argument| argument == "--bench") { TURNS } else { 1 };
    let bytes = if turns == 1 { 1 << 20 } else { BYTES };
    let names = ["plain TCP", "rustls", "stream, Throughput", "stream, RecordFs"];
    let mut figures = vec![Vec::new(); names.len()];
    let (mut small, mut round) = (vec![Vec::new(); 2], Vec::new());
    for _ in 0..turns {
        let (near, far) = loopback().await?;
        let plain = move_bytes(near, far, bytes).await?;
        let (near, far) = tls().await?;
        let tls = move_bytes(near, far, bytes).await?;
        let mut all = vec![plain, tls];
        for (mode, small) in [Mode::Throughput, Mode::RecordFs].into_iter().zip(&mut small) {
            let (near, far) = streams(mode, 16 << 10).await?;
            all.push(move_bytes(near, far, bytes).await?);
            let (near, far) = streams(mode, SMALL).await?;
            small.push(move_bytes(near, far, bytes).await?);
        }
        for (figure, took) in figures.iter_mut().zip(all) {
            figure.push(took);
        }
        round.push(rounds(if turns == 1 { 4 } else { 500 }).await?.as_secs_f64() * 1e6);
    }
    println!("one way over loopback TCP, {} MiB, median of {turns} turns:", bytes >> 20);
    for (name, figure) in names.iter().zip(figures) {
        tell(name, "MB", bytes as f64 / 1e6, &figure);
    }
    for (mode, turns) in ["Throughput", "RecordFs"].iter().zip(small) {
        let name = format!("{SMALL} B records, {mode}");
        tell(&name, "records", bytes as f64 / f64::from(SMALL), &turns);
    }
    println!("  a signed round: {:.0} microseconds", median(round));
    Ok(())
}

fn main() -> Result<(), Failed> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure())
}
