//! A link with latency, or with none: every piece of a client's waits a while before it goes on, and all bytes are counted.
//!
//! A client that speaks HTTP/1.1 sends a request in one piece and waits for its answer, so each answer comes that much later.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A link that lives as long as the process.
#[derive(Debug)]
pub(crate) struct Link {
    /// Where it begins.
    pub(crate) address: SocketAddr,
    passed: Arc<AtomicU64>,
}

impl Link {
    /// Starts a link to `target` on a thread of its own.
    pub(crate) fn to(target: SocketAddr, delay: Duration) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let passed = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&passed);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(join(client, target, delay, Arc::clone(&counted)));
                }
            });
        });
        Self { address, passed }
    }

    /// Bytes that passed since it was last asked, both ways together.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.swap(0, Ordering::Relaxed)
    }
}

async fn join(
    client: TcpStream,
    target: SocketAddr,
    delay: Duration,
    passed: Arc<AtomicU64>,
) -> std::io::Result<()> {
    let server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = pass(from_client, to_server, delay, &passed);
    let down = pass(from_server, to_client, Duration::ZERO, &passed);
    tokio::try_join!(up, down).map(drop)
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
    passed: &AtomicU64,
) -> std::io::Result<()> {
    let mut piece = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut piece).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        passed.fetch_add(read as u64, Ordering::Relaxed);
        to.write_all(&piece[..read]).await?;
    }
}
