//! Many readers that each ask for a file now and then over one connection, and how long each answer took.
//!
//! All ask at a fixed rate, spread evenly, so the answers are timed and not what the machine can give at most. An answer is timed
//! from the moment its request was due if its reader still waited for the one before, else from when it was sent: neither does a
//! slow server slow down who measures it, nor does the timer of the reader count.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::node::port;

/// Who reads what.
#[derive(Debug, Clone)]
pub(crate) struct Readers {
    /// Base URL of the node.
    pub(crate) url: String,
    /// What is read, below it; every file has `size` bytes.
    pub(crate) paths: Vec<String>,
    pub(crate) size: usize,
    pub(crate) key: String,
    /// How many there are.
    pub(crate) number: u32,
    /// How long each waits from one request to the next.
    pub(crate) every: Duration,
}

/// How long the answers took.
#[derive(Debug)]
pub(crate) struct Heard {
    sorted: Vec<Duration>,
    /// Bytes of files.
    pub(crate) bytes: u64,
}

impl Heard {
    /// The time that so many of a hundred answers took at most.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        self.sorted[(self.sorted.len() - 1) * percent / 100]
    }
}

impl Readers {
    /// Reads while `work` is done.
    pub(crate) fn during<T>(&self, work: impl FnOnce() -> T) -> (T, Heard) {
        let is_over = Arc::<AtomicBool>::default();
        let (readers, until) = (Arc::new(self.clone()), Arc::clone(&is_over));
        let reading = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(read(readers, until))
        });
        let done = work();
        is_over.store(true, Ordering::Relaxed);
        (done, reading.join().unwrap())
    }

    fn request(&self, n: usize) -> Vec<u8> {
        let site = self.url.rsplit('/').next().unwrap();
        let (path, key) = (&self.paths[n % self.paths.len()], &self.key);
        format!("GET /{site}/{path} HTTP/1.1\r\nHost: bench\r\nX-token: {key}\r\nX-tokentype: entermedia\r\n\r\n").into_bytes()
    }
}

async fn read(readers: Arc<Readers>, is_over: Arc<AtomicBool>) -> Heard {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..readers.number {
        tasks.spawn(read_one(Arc::clone(&readers), n, Arc::clone(&is_over)));
    }
    let mut sorted = tasks.join_all().await.concat();
    sorted.sort_unstable();
    assert!(!sorted.is_empty(), "nobody read anything");
    Heard {
        bytes: (sorted.len() * readers.size) as u64,
        sorted,
    }
}

async fn read_one(readers: Arc<Readers>, n: u32, is_over: Arc<AtomicBool>) -> Vec<Duration> {
    let mut due = Instant::now() + readers.every * n / readers.number;
    let mut stream = TcpStream::connect(("127.0.0.1", port(&readers.url)))
        .await
        .unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut took, mut reply) = (Vec::new(), vec![0; readers.size + 4_096]);
    while !is_over.load(Ordering::Relaxed) {
        tokio::time::sleep_until(due.into()).await;
        // 31 is prime to any number of files of ours, so that readers do not follow each other.
        let request = readers.request(n as usize * 31 + took.len());
        let asked = if took.last().is_some_and(|last| *last > readers.every) {
            due
        } else {
            Instant::now()
        };
        stream.write_all(&request).await.unwrap();
        answer(&mut stream, &mut reply, readers.size).await;
        took.push(asked.elapsed());
        due += readers.every;
    }
    took
}

/// Reads one answer to its end, and makes sure that it is a good one of so many bytes.
async fn answer(stream: &mut TcpStream, reply: &mut [u8], size: usize) {
    let mut had = 0;
    loop {
        let read = stream.read(&mut reply[had..]).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&reply[..had]));
        had += read;
        let head = reply[..had].windows(4).position(|four| four == b"\r\n\r\n");
        if head.is_some_and(|head| had == head + 4 + size) {
            break;
        }
    }
    let good = reply.starts_with(b"HTTP/1.1 200 ");
    assert!(good, "{}", String::from_utf8_lossy(&reply[..had]));
}
