//! The HTTP node: EMDB nodes and emsync nodes list our records and fetch our files from here (wire spec 11.1).
//!
//! Owns the endpoints below `/<site>/mediadb/services/`, `/healthz` and `/readyz`; the page for people, when it is handed one, gets `/` and
//! what is below `/ui/`, as far as that is no endpoint. Reads the catalogue and the store, and writes neither but
//! what its own listing amounts to (`digests`), and what other nodes hand in, through [`Inbox`](crate::receive::Inbox). Rows are read anew as soon as anybody commits anything (`known`); the page bounds
//! of a listing are kept (`listings`), in bounded number. Answers are EMDB's, with the exceptions that keep EMDB's own client from losing data: a refused or failed
//! listing is a 200 that says `error` (H-1), a refused or missing file an empty body (H-9), nothing is ever a redirect
//! (H-8), and no file is served whose size is not the recorded one.
//!
//! [`run`] starts one task for each connection, never more than [`CONNECTIONS`]. Each task ends with its connection: when the
//! client closes it, is silent or takes nothing for too long, or [`Shutdown`] asks; then requests under way get [`DRAIN`] to
//! finish. `run` waits for all of them. A panic in a handler ends in a reply of its own and in no other task.

mod auth;
mod digests;
mod error;
mod feed;
mod files;
mod found;
mod fresh;
mod in_force;
mod known;
mod listings;
mod node;
mod path;
mod postponed;
mod range;
mod ready;
mod receive;
mod request;
mod search;
mod status;
mod tls;
mod uploads;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

pub use auth::{key_holder, make_key};
pub use error::Error;
pub use in_force::InForce;
pub use node::{Node, Settings, Sharing, router};
pub use tls::{Certificate, TlsError};

use crate::shutdown::Shutdown;

/// Most connections at a time; further ones wait in the system's queue.
pub const CONNECTIONS: usize = 512;
/// How long requests under way may go on after the end was asked for: less than a process may take to end
/// ([`PATIENCE`](crate::shutdown::PATIENCE)).
pub const DRAIN: Duration = Duration::from_secs(20);
/// Longest wait for the head of a request, also of the next one on the same connection.
const HEAD: Duration = Duration::from_secs(30);
/// Longest head of a request. A path can take 3 × 3,500 bytes escaped, and its last element comes twice.
const HEAD_BYTES: usize = 64 * 1024;
/// Most bytes that hyper buffers for a connection, each way, beyond the piece of a body that is being sent.
const BUFFER_BYTES: usize = 128 * 1024;
/// Longest time a client may take nothing of what we send.
#[cfg(target_os = "linux")]
const STALL: Duration = Duration::from_secs(300);
/// Pause after a connection could not be taken, for want of file handles mostly: the next try would fail at once too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The connection that a request came by; every request has it among its extensions.
#[derive(Debug, Clone, Copy)]
pub struct Connection {
    /// Its other end.
    pub address: SocketAddr,
    /// Whether it is encrypted.
    pub is_secure: bool,
}

/// Serves until `shutdown` is asked for, then stops taking connections and lets requests under way finish, for at most
/// [`DRAIN`].
///
/// # Errors
/// [`Error::Listen`] when the listener has no address. Trouble with one connection ends that connection only.
pub async fn run(listener: TcpListener, mut node: Node, shutdown: Shutdown) -> Result<(), Error> {
    let address = listener
        .local_addr()
        .map_err(|source| Error::Listen { source })?;
    tracing::info!(%address, "serving");
    node.ending = shutdown.clone();
    let node = Arc::new(node);
    let service = router(Arc::clone(&node));
    let (tasks, abort) = (TaskTracker::new(), CancellationToken::new());
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    while let Some((stream, address, permit)) = next(&listener, &permits, &shutdown).await {
        let connection = serve_one(
            (stream, address),
            Arc::clone(&node),
            service.clone(),
            shutdown.clone(),
        );
        let abort = abort.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = connection => {}
                () = abort.cancelled() => {}
            }
            drop(permit);
        });
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "cut off: took too long to end");
        abort.cancel();
        tasks.wait().await;
    }
    if let Some(inbox) = &node.inbox {
        inbox.close().await;
    }
    if let Some(edge) = &node.edge {
        edge.close().await;
    }
    Ok(())
}

/// The next connection once there is room for one; `None` when the end was asked for.
async fn next(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    shutdown: &Shutdown,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let accepted = async {
        let permit = Arc::clone(permits).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        loop {
            match listener.accept().await {
                Ok((stream, address)) => break (stream, address, permit),
                Err(error) => {
                    tracing::warn!(%error, "no connection taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.wait() => None,
        accepted = accepted => Some(accepted),
    }
}

/// Serves one connection to its end, after the handshake where there is a certificate.
async fn serve_one(
    (stream, address): (TcpStream, SocketAddr),
    node: Arc<Node>,
    service: axum::Router,
    shutdown: Shutdown,
) {
    if let Err(error) = tune(&stream) {
        tracing::debug!(%error, "connection not tuned");
    }
    let mut connection = Connection {
        address,
        is_secure: false,
    };
    let Some(certificate) = &node.certificate else {
        return answer(stream, connection, service, shutdown).await;
    };
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(HEAD, certificate.accept(stream)) => shaken,
        () = shutdown.wait() => return,
    };
    match shaken {
        Ok(Ok(stream)) => {
            connection.is_secure = true;
            answer(stream, connection, service, shutdown).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, %address, "no handshake"),
        Err(_) => tracing::debug!(%address, "no handshake in time"),
    }
}

/// Answers the requests that come by one connection.
async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    from: Connection,
    service: axum::Router,
    shutdown: Shutdown,
) {
    let service = service.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(from);
        request
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_header_size(HEAD_BYTES)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.wait() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection broke");
    }
}

fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    {
        let stall = u32::try_from(STALL.as_millis()).expect("five minutes are few milliseconds");
        rustix::net::sockopt::set_tcp_user_timeout(stream, stall)?;
    }
    Ok(())
}
