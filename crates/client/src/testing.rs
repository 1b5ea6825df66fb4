//! A scripted server for the tests: the real transport over pipes in memory, in virtual time.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use hyper_util::rt::TokioIo;
use proctor_rpc::v1::eliminations_server::{Eliminations, EliminationsServer};
use proctor_rpc::v1::orders_server::{Orders, OrdersServer};
use proctor_rpc::v1::*;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::{Endpoint, Server, Uri};
use tonic::{Request, Response, Status};

use crate::backoff::Random;
use crate::connection::{Connection, Settings};

/// A stream of messages from the script.
pub(crate) type Messages<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

/// What the server does with a call.
pub(crate) enum Reply<A> {
    /// Answers.
    Ok(A),
    /// Fails.
    Fail(Status),
    /// Breaks every connection instead of answering.
    Break,
    /// Never answers.
    Hang,
}

type Script<Q, A> = Box<dyn Fn(Q) -> Reply<A> + Send + Sync>;

/// What the server does with each kind of call that the tests make.
pub(crate) struct Scripts {
    pub(crate) watch: Script<u64, Messages<WatchEliminationsResponse>>,
    pub(crate) is_eliminated: Script<String, IsHotkeyEliminatedResponse>,
    pub(crate) add: Script<AddEliminationRequest, AddEliminationResponse>,
    pub(crate) submit: Script<SignedOrder, OrderOutcome>,
    pub(crate) submit_many: Script<SubmitManyRequest, SubmitManyResponse>,
    pub(crate) get_order: Script<GetOrderRequest, GetOrderResponse>,
}

impl Default for Scripts {
    fn default() -> Self {
        fn none<Q, A>() -> Script<Q, A> {
            Box::new(|_| Reply::Fail(Status::unimplemented("not in the script")))
        }
        Self {
            watch: none(),
            is_eliminated: none(),
            add: none(),
            submit: none(),
            submit_many: none(),
            get_order: none(),
        }
    }
}

/// The way between clients and the server, which can be cut.
#[derive(Clone, Default)]
pub(crate) struct Network(Arc<Mutex<Wires>>);

#[derive(Default)]
struct Wires {
    listener: Option<mpsc::Sender<DuplexStream>>,
    pipes: Vec<AbortHandle>,
    attempts: u32,
}

impl Network {
    fn wires(&self) -> std::sync::MutexGuard<'_, Wires> {
        self.0.lock().expect("no test panics while it holds this")
    }

    fn dial(&self) -> std::io::Result<DuplexStream> {
        let mut wires = self.wires();
        wires.attempts += 1;
        let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let listener = wires.listener.clone().ok_or_else(refused)?;
        let (near, mut near_end) = tokio::io::duplex(64 * 1024);
        let (far, mut far_end) = tokio::io::duplex(64 * 1024);
        listener.try_send(far).map_err(|_| refused())?;
        let pipe = tokio::spawn(async move {
            drop(tokio::io::copy_bidirectional(&mut near_end, &mut far_end).await);
        });
        wires.pipes.push(pipe.abort_handle());
        Ok(near)
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        for pipe in self.wires().pipes.drain(..) {
            pipe.abort();
        }
    }

    /// Ends the server: connections break, and new ones are refused.
    pub(crate) fn end(&self) {
        self.wires().listener = None;
        self.cut();
    }

    /// Returns how often a connection was tried.
    pub(crate) fn attempts(&self) -> u32 {
        self.wires().attempts
    }

    /// Starts a server in the place of any before.
    pub(crate) fn serve(&self, scripts: Scripts) {
        self.end();
        let (listener, incoming) = mpsc::channel(16);
        self.wires().listener = Some(listener);
        let mock = Mock { network: self.clone(), scripts: Arc::new(scripts) };
        let serving = Server::builder()
            .add_service(EliminationsServer::new(mock.clone()))
            .add_service(OrdersServer::new(mock))
            .serve_with_incoming(ReceiverStream::new(incoming).map(Ok::<_, std::io::Error>));
        tokio::spawn(serving);
    }

    /// Returns a client's connection.
    pub(crate) fn connect(&self, settings: Settings) -> Connection {
        let network = self.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let dialled = network.dial().map(TokioIo::new);
            async move { dialled }
        });
        let channel = Endpoint::from_static("http://node").connect_with_connector_lazy(connector);
        let random = Random::new(|| 1 << 63);
        Connection::over(channel, "node", Some("s3cret"), settings, random).expect("a token")
    }
}

#[derive(Clone)]
struct Mock {
    network: Network,
    scripts: Arc<Scripts>,
}

impl Mock {
    async fn reply<A>(&self, reply: Reply<A>) -> Result<Response<A>, Status> {
        match reply {
            Reply::Ok(answer) => return Ok(Response::new(answer)),
            Reply::Fail(status) => return Err(status),
            Reply::Break => self.network.cut(),
            Reply::Hang => {}
        }
        std::future::pending().await
    }
}

/// Methods that no test calls.
macro_rules! not_in_the_script {
    ($($method:ident: $request:ident => $answer:ident,)*) => {
        $(
            // What `async_trait` makes of an `async fn`: the macro itself runs before this one.
            fn $method<'a, 'b>(
                &'a self,
                _: Request<$request>,
            ) -> Pin<Box<dyn Future<Output = Result<Response<$answer>, Status>> + Send + 'b>>
            where
                'a: 'b,
                Self: 'b,
            {
                Box::pin(async { Err(Status::unimplemented("not in the script")) })
            }
        )*
    };
}

#[tonic::async_trait]
impl Eliminations for Mock {
    type WatchEliminationsStream = Messages<WatchEliminationsResponse>;

    async fn watch_eliminations(
        &self,
        request: Request<WatchEliminationsRequest>,
    ) -> Result<Response<Self::WatchEliminationsStream>, Status> {
        let token = request.metadata().get("authorization").map(|value| value.as_bytes().to_vec());
        assert_eq!(token.as_deref(), Some(b"Bearer s3cret".as_slice()), "each call has the token");
        self.reply((self.scripts.watch)(request.into_inner().from_commit)).await
    }

    async fn is_hotkey_eliminated(
        &self,
        request: Request<TraderRequest>,
    ) -> Result<Response<IsHotkeyEliminatedResponse>, Status> {
        self.reply((self.scripts.is_eliminated)(request.into_inner().trader)).await
    }

    async fn add_elimination(
        &self,
        request: Request<AddEliminationRequest>,
    ) -> Result<Response<AddEliminationResponse>, Status> {
        let token = request.metadata().get("authorization").map(|value| value.as_bytes().to_vec());
        assert_eq!(token.as_deref(), Some(b"Bearer s3cret".as_slice()), "each call has the token");
        self.reply((self.scripts.add)(request.into_inner())).await
    }

    not_in_the_script! {
        health_check: HealthCheckRequest => HealthCheckResponse,
        are_hotkeys_eliminated: TradersRequest => TradersResponse,
        get_elimination: TraderRequest => GetEliminationResponse,
        hotkey_in_eliminations: TraderRequest => GetEliminationResponse,
        get_eliminated_hotkeys: GetEliminatedHotkeysRequest => TradersResponse,
        get_eliminations_from_memory: GetEliminationsRequest => GetEliminationsResponse,
        get_eliminations_dict: GetEliminationsRequest => GetEliminationsDictResponse,
        is_hotkey_re_registered: TraderRequest => IsHotkeyReRegisteredResponse,
        get_departed_hotkeys: GetDepartedHotkeysRequest => GetDepartedHotkeysResponse,
        get_departed_hotkey_info: TraderRequest => GetDepartedHotkeyInfoResponse,
        get_cached_elimination_data: GetEliminationsRequest => GetCachedEliminationDataResponse,
        is_zombie_hotkey: TraderRequest => IsZombieHotkeyResponse,
        append_elimination_row: AddEliminationRequest => AddEliminationResponse,
        add_eliminations: AddEliminationsRequest => WriteResponse,
        remove_elimination: RemoveEliminationRequest => RemoveEliminationResponse,
        delete_eliminations: DeleteEliminationsRequest => RemoveEliminationResponse,
        clear_eliminations: ClearEliminationsRequest => RemoveEliminationResponse,
        sync_eliminations: SyncEliminationsRequest => SyncEliminationsResponse,
        reinstate: ReinstateRequest => WriteResponse,
        settle_slash: SettleSlashRequest => WriteResponse,
        process_eliminations: ProcessEliminationsRequest => WriteResponse,
    }
}

#[tonic::async_trait]
impl Orders for Mock {
    type WatchStream = Messages<WatchOrdersResponse>;

    async fn submit(
        &self,
        request: Request<SignedOrder>,
    ) -> Result<Response<OrderOutcome>, Status> {
        self.reply((self.scripts.submit)(request.into_inner())).await
    }

    async fn submit_many(
        &self,
        request: Request<SubmitManyRequest>,
    ) -> Result<Response<SubmitManyResponse>, Status> {
        self.reply((self.scripts.submit_many)(request.into_inner())).await
    }

    async fn get_order(
        &self,
        request: Request<GetOrderRequest>,
    ) -> Result<Response<GetOrderResponse>, Status> {
        self.reply((self.scripts.get_order)(request.into_inner())).await
    }

    async fn watch(
        &self,
        _: Request<WatchOrdersRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    not_in_the_script! {
        health_check: HealthCheckRequest => HealthCheckResponse,
        cancel: SignedOrder => OrderOutcome,
        bracket: SignedOrder => OrderOutcome,
        list_resting: ListRestingRequest => ListRestingResponse,
    }
}
