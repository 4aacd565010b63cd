//! A TCP proxy between two nodes: it slows what the server sends to a set rate, and counts what reaches the client.
//!
//! ```text
//! client ── request ──▶ proxy ──▶ server       the request line says what the reply will be: media or anything else
//! client ◀── pieces ─── proxy ◀── reply        each piece waits for its share of the rate, then counts once it is sent
//! ```
//!
//! It knows just enough HTTP/1.1 for that: one request at a time on a connection, and where the head of a reply ends. The
//! send buffer towards the client is kept small, so that "sent" is close to "received" when the client dies.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

/// Bytes sent on at a time.
const PIECE: usize = 16 << 10;
/// What the kernel may hold for a client that does not read.
const SEND_BUFFER: u32 = 64 << 10;
/// How much slower everything but media is, so that listings last long enough to be hit.
const SLOWER: usize = 4;
/// Shares this close to their time are sent at once, since a timer is no finer.
const GRAIN: Duration = Duration::from_millis(2);

/// What went from the server to clients so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sent {
    /// Requests for a media file.
    pub(crate) media_requests: u64,
    /// Bytes in the bodies of their replies.
    pub(crate) media: u64,
    /// All other bytes: listings, logins, heads.
    pub(crate) other: u64,
}

impl Sent {
    /// What came on top of an earlier count.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            media_requests: self.media_requests - earlier.media_requests,
            media: self.media - earlier.media,
            other: self.other - earlier.other,
        }
    }
}

/// The proxy, until it is dropped.
pub(crate) struct Proxy {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

struct Shared {
    server: SocketAddr,
    bytes_per_second: u64,
    /// When the next share of the rate is free.
    free_at: tokio::sync::Mutex<Instant>,
    sent: watch::Sender<Sent>,
    open: watch::Sender<usize>,
}

impl Proxy {
    /// Begins to accept for `server`.
    pub(crate) fn start(server: SocketAddr, bytes_per_second: u64) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // Accepted sockets inherit it.
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(128)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            server,
            bytes_per_second,
            free_at: tokio::sync::Mutex::new(Instant::now()),
            sent: watch::Sender::default(),
            open: watch::Sender::new(0),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self {
            address,
            shared,
            accepting,
        })
    }

    /// What was sent so far.
    pub(crate) fn sent(&self) -> Sent {
        *self.shared.sent.borrow()
    }

    /// Waits until that much was sent.
    pub(crate) async fn until(&self, enough: impl Fn(&Sent) -> bool) {
        let mut sent = self.shared.sent.subscribe();
        sent.wait_for(enough).await.unwrap();
    }

    /// Waits until no client is connected, so that the count stands still.
    pub(crate) async fn quiet(&self) {
        let mut open = self.shared.open.subscribe();
        open.wait_for(|open| *open == 0).await.unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        shared.open.send_modify(|open| *open += 1);
        let shared = shared.clone();
        tokio::spawn(async move {
            // A connection that breaks is what these tests are about; what was sent on it is counted.
            let _ = carry(&shared, client).await;
            shared.open.send_modify(|open| *open -= 1);
        });
    }
}

async fn carry(shared: &Shared, client: TcpStream) -> io::Result<()> {
    let server = TcpStream::connect(shared.server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let reply = Mutex::new(Reply::default());
    tokio::select! {
        ended = requests(shared, &reply, from_client, to_server) => ended,
        ended = replies(shared, &reply, from_server, to_client) => ended,
    }
}

/// What the reply under way is.
#[derive(Debug, Default)]
struct Reply {
    media: bool,
    /// How much of the empty line that ends the head was seen; 4 is all of it.
    head_end: usize,
}

impl Reply {
    /// How many bytes of a piece belong to the head.
    fn head_of(&mut self, piece: &[u8]) -> usize {
        const END: &[u8; 4] = b"\r\n\r\n";
        let mut at = 0;
        while at < piece.len() && self.head_end < END.len() {
            self.head_end = match piece[at] {
                byte if byte == END[self.head_end] => self.head_end + 1,
                b'\r' => 1,
                _ => 0,
            };
            at += 1;
        }
        at
    }
}

async fn requests(
    shared: &Shared,
    reply: &Mutex<Reply>,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        if let Some(media) = request_for_media(&buffer[..read]) {
            *reply.lock().unwrap() = Reply { media, head_end: 0 };
            let count = |sent: &mut Sent| sent.media_requests += u64::from(media);
            shared.sent.send_modify(count);
        }
        to.write_all(&buffer[..read]).await?;
    }
}

/// Whether a request begins here, and if so, whether it is for a media file.
fn request_for_media(piece: &[u8]) -> Option<bool> {
    let get = piece.starts_with(b"GET ");
    let line = piece.split(|byte| *byte == b'\r').next()?;
    let downloads = b"/asset/downloads/";
    let media = get
        && line
            .windows(downloads.len())
            .any(|window| window == downloads);
    (get || piece.starts_with(b"POST ")).then_some(media)
}

async fn replies(
    shared: &Shared,
    reply: &Mutex<Reply>,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let (media, head) = {
            let mut reply = reply.lock().unwrap();
            (reply.media, reply.head_of(&buffer[..read]))
        };
        shared.turn(if media { read } else { read * SLOWER }).await;
        to.write_all(&buffer[..read]).await?;
        let body = if media { read - head } else { 0 };
        shared.sent.send_modify(|sent| {
            sent.media += body as u64;
            sent.other += (read - body) as u64;
        });
    }
}

impl Shared {
    /// Waits for the turn of the next `bytes`: all connections together keep to the rate.
    async fn turn(&self, bytes: usize) {
        let mut free_at = self.free_at.lock().await;
        let now = Instant::now();
        let at = (*free_at).max(now);
        let nanos = bytes as u64 * 1_000_000_000 / self.bytes_per_second;
        *free_at = at + Duration::from_nanos(nanos);
        if at > now + GRAIN {
            tokio::time::sleep_until(at).await;
        }
    }
}
