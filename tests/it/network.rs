//! The way to a peer: a private authority, and a forward proxy that the settings or the environment name.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown as Half, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::Signal;

use crate::support::pair::{key, master, mirror};
use crate::support::process::{Place, hears, text, until};

/// A forward proxy: tunnels for `CONNECT`, and requests with a whole address handed on to whom they name. Every name leads to
/// this machine, so that a peer can have one that is no loopback address.
struct Forward {
    address: SocketAddr,
    /// The first lines it was sent.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Forward {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, noted) = (client.unwrap(), Arc::clone(&noted));
                thread::spawn(move || hand_on(client, &noted));
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn hand_on(mut client: TcpStream, noted: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if client.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let (line, rest) = head.split_once("\r\n").unwrap();
    noted.lock().unwrap().push(line.to_owned());
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let (host, path) = match target.strip_prefix("http://") {
        Some(target) => target.split_once('/').unwrap(),
        None => (target, ""),
    };
    let (_, port) = host.rsplit_once(':').unwrap();
    let mut server = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap();
    if method == "CONNECT" {
        client
            .write_all(b"HTTP/1.1 200 established\r\n\r\n")
            .unwrap();
    } else {
        // One request a connection keeps this simple.
        let request = format!("{method} /{path} HTTP/1.1\r\nConnection: close\r\n{rest}");
        server.write_all(request.as_bytes()).unwrap();
    }
    let (mut from_client, mut to_server) =
        (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        let _end = std::io::copy(&mut from_client, &mut to_server);
        let _closed = to_server.shutdown(Half::Write);
    });
    let _end = std::io::copy(&mut server, &mut client);
    let _closed = client.shutdown(Half::Both);
}

/// A master with a certificate of an authority of its own, whose PEM is in `ca.pem`, for `dam.intern` and loopback.
fn with_authority(place: &Place) {
    certify(place);
    let tls = "[serve]\ntls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n";
    change(place, "m", "[serve]\n", tls);
}

/// A new authority, and a certificate of it for the master.
fn certify(place: &Place) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().unwrap();
    let names = ["127.0.0.1", "dam.intern"].map(str::to_owned).to_vec();
    let certificate = CertificateParams::new(names)
        .unwrap()
        .signed_by(&own, &issuer)
        .unwrap();
    fs::write(place.path("ca.pem"), pem).unwrap();
    fs::write(place.path("m/cert.pem"), certificate.pem()).unwrap();
    fs::write(place.path("m/key.pem"), own.serialize_pem()).unwrap();
}

fn change(place: &Place, node: &str, from: &str, to: &str) {
    let file = place.path(&format!("{node}/emsync.toml"));
    let settings = text(&file);
    assert!(settings.contains(from), "{from} in {settings}");
    fs::write(file, settings.replacen(from, to, 1)).unwrap();
}

const TEST: [&str; 5] = ["-C", "r", "peer", "test", "master"];

#[test]
fn a_private_authority_is_trusted_where_it_is_named_and_nowhere_else() {
    let place = Place::new();
    master(&place, &[("a.txt", b"one")]).stop().ends(0);
    with_authority(&place);
    let serving = place.serve("m");
    assert!(serving.base.starts_with("https://"));
    mirror(&place, &serving.base, &key(&place));
    place.run(&TEST).ends(5);
    // For all peers.
    change(
        &place,
        "r",
        "[network]\n",
        "[network]\nca_file = \"../ca.pem\"\n",
    );
    place.run(&TEST).ends(0);
    place.run(&["-C", "r", "sync", "master"]).ends(0);
    // A pair that does not fit takes no other's place; a new one does, without a restart.
    fs::write(
        place.path("m/key.pem"),
        KeyPair::generate().unwrap().serialize_pem(),
    )
    .unwrap();
    serving.running().signal(Signal::HUP);
    hears(&serving, &["key.pem", "the certificate stays as it was"]);
    place.run(&TEST).ends(0);
    let former = text(&place.path("ca.pem"));
    certify(&place);
    place.run(&TEST).ends(5);
    serving.running().signal(Signal::HUP);
    until("the new certificate is shown", || {
        place.run(&TEST).code == Some(0)
    });
    assert_ne!(former, text(&place.path("ca.pem")));
    // Another one for this peer counts instead.
    let other = rcgen::generate_simple_self_signed(vec!["x".to_owned()]).unwrap();
    fs::write(place.path("r/other.pem"), other.cert.pem()).unwrap();
    change(
        &place,
        "r",
        "key_file = \"key.txt\"\n",
        "key_file = \"key.txt\"\nca_file = \"other.pem\"\n",
    );
    place.run(&TEST).ends(5);
    change(&place, "r", "\"other.pem\"", "\"none.pem\"");
    let refused = place.run(&TEST).ends(2);
    assert!(
        refused.stderr.contains("peer.ca_file") && refused.stderr.contains("PEM"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_proxy_is_asked_for_what_is_far_and_never_for_this_machine() {
    let mut place = Place::new();
    master(&place, &[("a.txt", b"one")]).stop().ends(0);
    with_authority(&place);
    let serving = place.serve("m");
    let (proxy, unused) = (Forward::start(), Forward::start());
    mirror(&place, &serving.base, &key(&place));
    change(
        &place,
        "r",
        "[network]\n",
        "[network]\nca_file = \"../ca.pem\"\n",
    );
    // This machine needs none, whatever the environment says.
    for variable in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        place.set(variable, &format!("http://{}", proxy.address));
    }
    place.run(&TEST).ends(0);
    assert_eq!(proxy.asked(), Vec::<String>::new());
    // A name that only the proxy knows.
    change(&place, "r", "https://127.0.0.1", "https://dam.intern");
    place.run(&TEST).ends(0);
    let asked = proxy.asked();
    assert!(
        !asked.is_empty()
            && asked
                .iter()
                .all(|line| line.starts_with("CONNECT dam.intern:")),
        "{asked:?}"
    );
    place.run(&["-C", "r", "sync", "master"]).ends(0);
    // The settings come before the environment: another, none at all; and NO_PROXY before both.
    let named = format!("[network]\nproxy = \"http://{}\"\n", unused.address);
    change(&place, "r", "[network]\n", &named);
    place.run(&TEST).ends(0);
    assert!(!unused.asked().is_empty());
    let before = (proxy.asked().len(), unused.asked().len());
    place.set("NO_PROXY", "intern");
    place.run(&TEST).ends(5);
    place.set("NO_PROXY", "");
    change(&place, "r", &named, "[network]\nproxy = \"none\"\n");
    place.run(&TEST).ends(5);
    assert_eq!((proxy.asked().len(), unused.asked().len()), before);
    change(&place, "r", "proxy = \"none\"\n", "");
    place.set("HTTPS_PROXY", "socks5://u:planted@h");
    let wrong = place.run(&TEST).ends(2);
    assert!(wrong.stderr.contains("HTTPS_PROXY"), "{}", wrong.stderr);
    place.nobody_said("planted", "nowhere");
}

#[test]
fn plain_http_goes_to_a_proxy_as_whole_addresses() {
    let mut place = Place::new();
    let serving = master(&place, &[("a.txt", b"one"), ("b.txt", b"two")]);
    let proxy = Forward::start();
    let far = serving.base.replace("127.0.0.1", "dam.intern");
    mirror(&place, &far, &key(&place));
    place.set("http_proxy", &proxy.address.to_string());
    let seeded = place
        .run(&["-C", "r", "seed", "master", "--json"])
        .ends(0)
        .json();
    assert_eq!(seeded["files_written"].as_u64(), Some(2), "{seeded}");
    let asked = proxy.asked();
    assert!(
        asked
            .iter()
            .any(|line| line.starts_with("GET http://dam.intern:")
                || line.starts_with("POST http://dam.intern:")),
        "{asked:?}"
    );
}
