//! How a faulty reply leaves the server: bodies that stop, wait or drip, and the sockets that break where they should.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use futures_util::stream::{self, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::{Gate, Meter};

/// No answer at all: the connection is gone before its head.
pub(super) fn reset(link: &Link) -> Body {
    link.set(DEAD);
    Body::empty()
}

pub(super) fn chunks(pieces: Vec<Bytes>) -> Body {
    Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, io::Error>)))
}

/// `bytes`, then the end of the connection.
pub(super) fn cut(bytes: Bytes, link: Link) -> Body {
    let ending = stream::poll_fn(move |cx| {
        link.set(CUT_WHEN_FLUSHED);
        cx.waker().wake_by_ref();
        Poll::Pending::<Option<Result<Bytes, io::Error>>>
    });
    let first = (!bytes.is_empty()).then_some(Ok(bytes));
    Body::from_stream(stream::iter(first).chain(ending))
}

pub(super) fn stall(body: Bytes, at: usize, gate: Gate) -> Body {
    let at = at.min(body.len());
    let (first, rest) = (body.slice(..at), body.slice(at..));
    let held = stream::once(async move {
        gate.reached.cancel();
        gate.open.cancelled().await;
        Ok::<_, io::Error>(rest)
    });
    let first = (!first.is_empty()).then_some(Ok(first));
    Body::from_stream(stream::iter(first).chain(held))
}

/// The body one byte at a time.
pub(super) fn trickle(body: Bytes, pause: Duration) -> Body {
    let drops = stream::unfold(body, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let drop = rest.split_to(1);
        Some((Ok::<_, io::Error>(drop), rest))
    });
    Body::from_stream(drops)
}

/// A piece, over and over; each is counted when the connection takes it.
pub(super) fn flood(piece: Bytes, times: u64, meter: Meter) -> Body {
    let pieces = stream::iter(0..times).map(move |_| {
        meter.add(piece.len() as u64);
        Ok::<_, io::Error>(piece.clone())
    });
    Body::from_stream(pieces)
}

/// `bytes`, then the end of this direction only; the reply itself never ends.
pub(super) fn half_close(bytes: Bytes, link: Link) -> Body {
    let mut set = false;
    let ending = stream::poll_fn(move |cx| {
        if !std::mem::replace(&mut set, true) {
            link.set(HALF_CLOSED_WHEN_FLUSHED);
            cx.waker().wake_by_ref();
        }
        Poll::Pending::<Option<Result<Bytes, io::Error>>>
    });
    let first = (!bytes.is_empty()).then_some(Ok(bytes));
    Body::from_stream(stream::iter(first).chain(ending))
}

const ALIVE: u8 = 0;
const HALF_CLOSED_WHEN_FLUSHED: u8 = 1;
const CUT_WHEN_FLUSHED: u8 = 2;
const DEAD: u8 = 3;

/// A handler's hold on the connection it answers on.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    state: Arc<AtomicU8>,
    /// Where the client's end of it is: no two connections at a time have the same.
    pub(crate) from: SocketAddr,
}

impl Link {
    fn set(&self, state: u8) {
        self.state.store(state, Ordering::SeqCst);
    }

    fn broken(&self, state: u8) -> bool {
        self.state.load(Ordering::SeqCst) >= state
    }
}

impl Connected<IncomingStream<'_, Taps>> for Link {
    fn connect_info(stream: IncomingStream<'_, Taps>) -> Self {
        stream.io().link.clone()
    }
}

/// A listener whose connections can be broken by their handler.
#[derive(Debug)]
pub(crate) struct Taps(pub(crate) TcpListener);

impl Listener for Taps {
    type Io = Tap;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Tap, SocketAddr) {
        let (stream, from) = Listener::accept(&mut self.0).await;
        let link = Link {
            state: Arc::new(AtomicU8::new(ALIVE)),
            from,
        };
        (Tap { stream, link }, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// One such connection.
#[derive(Debug)]
pub(crate) struct Tap {
    stream: TcpStream,
    link: Link,
}

impl Tap {
    fn check(&self, state: u8) -> io::Result<()> {
        match self.link.broken(state) {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(DEAD)?;
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    /// Only called once everything before was written, so an end here ends exactly after the last byte.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(CUT_WHEN_FLUSHED)?;
        let tap = self.get_mut();
        ready!(Pin::new(&mut tap.stream).poll_flush(cx))?;
        if tap.link.broken(HALF_CLOSED_WHEN_FLUSHED) {
            return Pin::new(&mut tap.stream).poll_shutdown(cx);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
