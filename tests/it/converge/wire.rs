//! A wire to a node that may be cut: after so many bytes of replies every connection over it breaks, and none is made before it
//! is mended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// Bytes sent on at a time.
const PIECE: usize = 16 << 10;

/// The wire, until it is dropped.
#[derive(Debug)]
pub(super) struct Wire {
    left: Arc<AtomicI64>,
    accepting: AbortHandle,
}

impl Wire {
    /// Begins to carry what comes to `listener` to `server`.
    pub(super) fn new(listener: TcpListener, server: SocketAddr) -> Self {
        let left = Arc::new(AtomicI64::new(i64::MAX));
        let budget = Arc::clone(&left);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A connection that breaks is what this is about.
                tokio::spawn(carry(client, server, Arc::clone(&budget)));
            }
        });
        Self {
            left,
            accepting: accepting.abort_handle(),
        }
    }

    /// Breaks after so many bytes of replies, heads included.
    pub(super) fn cut_after(&self, bytes: i64) {
        self.left.store(bytes, Ordering::SeqCst);
    }

    /// Carries everything again.
    pub(super) fn mend(&self) {
        self.left.store(i64::MAX, Ordering::SeqCst);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(client: TcpStream, server: SocketAddr, left: Arc<AtomicI64>) -> std::io::Result<()> {
    if left.load(Ordering::SeqCst) <= 0 {
        return Ok(());
    }
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let replies = async {
        let mut piece = vec![0; PIECE];
        loop {
            let read = from_server.read(&mut piece).await?;
            let may = left.fetch_sub(read as i64, Ordering::SeqCst);
            let carried = usize::try_from(may).unwrap_or(0).min(read);
            to_client.write_all(&piece[..carried]).await?;
            if read == 0 || carried < read {
                return std::io::Result::Ok(());
            }
        }
    };
    tokio::select! {
        ended = replies => ended,
        ended = tokio::io::copy(&mut from_client, &mut to_server) => ended.map(drop),
    }
}
