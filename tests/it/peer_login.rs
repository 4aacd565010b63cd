//! `emsync peer add --user`: the key comes from EMDB's getkey, in exchange for a password that is kept nowhere. The server answers
//! with the bytes of a stock EnterMediaDB (`assets-fixtures/feed`).

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::support::process::{Place, text};

const KEY: &str = "syncuser-planted-key";
const PASSWORD: &str = "pass word+&%ö";

/// A server that knows one user.
struct Server {
    address: SocketAddr,
    /// Request lines and bodies, in their order.
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        // Ends with the process of the tests.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &noted);
            }
        });
        Self { address, asked }
    }

    fn url(&self) -> String {
        format!("http://{}/finder", self.address)
    }
}

fn answer(mut stream: TcpStream, noted: &Mutex<Vec<(String, String)>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let (mut length, mut header) = (0, String::new());
    while reader.read_line(&mut header).unwrap() > 2 {
        let lower = header.to_ascii_lowercase();
        assert!(!lower.starts_with("x-token"), "no key is shown to a login");
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        header.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    let is_login = line.starts_with("POST /finder/mediadb/services/authentication/getkey.json ");
    let reply = match (is_login, body.as_str()) {
        (false, _) if line.starts_with("POST /moved/") => {
            let to = "https://dam.example.org/finder/mediadb/services/authentication/getkey.json";
            format!(
                "HTTP/1.1 301 \r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
        }
        (false, _) => "HTTP/1.1 404 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
        (true, "id=sync&password=pass+word%2B%26%25%C3%B6") => captured("s001-getkey", KEY),
        (true, _) => captured("s002-getkey-wrong-password", KEY),
    };
    noted.lock().unwrap().push((line, body));
    stream.write_all(reply.as_bytes()).unwrap();
}

/// The reply as it was recorded, its body in chunks again.
fn captured(name: &str, key: &str) -> String {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("assets-fixtures/feed/{name}.txt"));
    let exchange = text(&file);
    let (_, reply) = exchange.split_once("\nHTTP/1.1 ").unwrap();
    let (head, body) = reply.split_once("\n\n").unwrap();
    let body = body.replace("KEY", key);
    assert!(head.contains("Transfer-Encoding: chunked"), "{head}");
    let head = head.replace('\n', "\r\n");
    format!(
        "HTTP/1.1 {head}\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    )
}

fn add<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = [
        "-C",
        "r",
        "peer",
        "add",
        "emdb",
        "--url",
        url,
        "--cluster-id",
        "emdb-main",
    ];
    [&fixed[..], &["--user", "sync"], more].concat()
}

#[test]
fn a_password_becomes_a_key_that_only_the_owner_can_read() {
    let (place, server) = (Place::new(), Server::start());
    place.run(&["init", "r", "--name", "R"]).ok();
    let url = server.url();
    fs::write(place.path("pass"), format!("{PASSWORD}\nmore\n")).unwrap();
    let said = place.run(&add(&url, &["--password-file", "../pass"])).ok();
    let file = place.path("r/keys/emdb");
    assert!(said.contains("keys/emdb"), "{said}");
    assert_eq!(text(&file), format!("{KEY}\n"));
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let settings = text(&place.path("r/emsync.toml"));
    assert!(settings.contains("key_file = \"keys/emdb\""), "{settings}");
    assert!(!settings.contains(KEY) && !settings.contains("pass word"));
    // As a log shows it, at its most talkative, and from standard input.
    place.run(&["-C", "r", "peer", "remove", "emdb"]).ok();
    let talkative = [&["-vv"], &add(&url, &["--key-file", "other"])[..]].concat();
    place.run_told(&talkative, &format!("{PASSWORD}\n")).ok();
    assert_eq!(text(&place.path("r/other")), format!("{KEY}\n"));
    assert_eq!(
        server.asked.lock().unwrap().len(),
        2,
        "one request for each"
    );
    place.nobody_said(PASSWORD, "nowhere");
    place.nobody_said("pass+word", "nowhere");
    place.nobody_said(KEY, "nowhere");
}

#[test]
fn who_is_not_let_in_changes_nothing() {
    let (place, server) = (Place::new(), Server::start());
    place.run(&["init", "r", "--name", "R"]).ok();
    let before = text(&place.path("r/emsync.toml"));
    let url = server.url();
    let refused = place.run_told(&add(&url, &[]), "wrong-password\n").ends(12);
    assert!(
        refused.stderr.contains("does not let"),
        "{}",
        refused.stderr
    );
    // Another path of the same server.
    let elsewhere = url.replace("/finder", "/other");
    let lost = place
        .run_told(&add(&elsewhere, &[]), "wrong-password\n")
        .ends(2);
    assert!(lost.stderr.contains("base_url"), "{}", lost.stderr);
    // A proxy in front that insists on https, or a server that went to another host.
    let moved = url.replace("/finder", "/moved");
    let moved = place
        .run_told(&add(&moved, &[]), "wrong-password\n")
        .ends(2);
    let base = "base_url = \"https://dam.example.org/finder\"";
    assert!(moved.stderr.contains(base), "{}", moved.stderr);
    // Nobody is asked for a password that is of no use.
    let asked = server.asked.lock().unwrap().len();
    place
        .run_told(&add("http://127.0.0.1/", &[]), "wrong-password\n")
        .ends(2);
    place.run(&add(&url, &["--dry-run"])).ok();
    place.run_told(&add(&url, &[]), "").ends(2);
    assert_eq!(server.asked.lock().unwrap().len(), asked);
    assert_eq!(text(&place.path("r/emsync.toml")), before);
    assert!(!place.path("r/keys").exists());
    place.nobody_said("wrong-password", "nowhere");
}

#[test]
fn a_node_of_ours_says_where_its_keys_come_from() {
    let place = Place::new();
    place.run(&["init", "m", "--name", "M"]).ok();
    place.run(&["init", "r", "--name", "R"]).ok();
    let serving = place.serve("m");
    let base = serving.base.clone();
    let refused = place.run_told(&add(&base, &[]), "any\n").ends(12);
    assert!(
        refused.stderr.contains("emsync key add"),
        "{}",
        refused.stderr
    );
}
