//! The page of the built program: users made at the command line, real connections, TLS.

use std::fs;

use reqwest::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, RequestBuilder, Response};

use crate::support::node::use_one_tls_provider;
use crate::support::process::Place;

/// A browser that follows nothing and keeps nothing.
fn browser() -> reqwest::ClientBuilder {
    use_one_tls_provider();
    Client::builder().redirect(Policy::none()).no_proxy()
}

/// The address of a node without its site.
fn root(base: &str) -> &str {
    base.rsplit_once('/').unwrap().0
}

/// As the form sends it.
fn log_in(browser: &Client, root: &str, name: &str, password: &str) -> RequestBuilder {
    browser
        .post(format!("{root}/ui/login"))
        .header(ORIGIN, root)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("name={name}&password={password}"))
}

fn cookie(reply: &Response) -> String {
    let text = reply.headers()[SET_COOKIE].to_str().unwrap();
    text.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn the_first_user_gets_in_until_the_password_changes_and_nobody_after_that() {
    let place = Place::new();
    let said = place
        .run(&["init", "m", "--name", "M", "--user", "ann"])
        .ok();
    let password = said.lines().last().unwrap().to_owned();
    assert_eq!(password.len(), 24, "{said}");
    let serving = place.serve("m");
    let (root, browser) = (root(&serving.base), browser().build().unwrap());

    let reply = log_in(&browser, root, "ann", "guessed-it")
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), 401);
    let reply = log_in(&browser, root, "ann", &password)
        .send()
        .await
        .unwrap();
    assert_eq!(
        (reply.status().as_u16(), &reply.headers()[LOCATION]),
        (303, &"/ui/".parse().unwrap())
    );
    let cookie = cookie(&reply);
    let status = async || {
        let page = browser.get(format!("{root}/ui/")).header(COOKIE, &cookie);
        page.send().await.unwrap().status().as_u16()
    };
    assert_eq!(status().await, 200);

    // Beside the running node.
    fs::write(place.path("password"), "a better one\n").unwrap();
    let file = place.path("password");
    let file = file.to_str().unwrap();
    place
        .run(&[
            "-C",
            "m",
            "user",
            "password",
            "ann",
            "--password-file",
            file,
        ])
        .ok();
    assert_eq!(status().await, 303, "the session is over");
    let reply = log_in(&browser, root, "ann", "a+better+one")
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), 303);

    let listed = place.run(&["-C", "m", "user", "list", "--json"]).json();
    assert_eq!(listed["name"], "ann");
    assert_eq!(listed.get("password"), None);
    place
        .run(&["-C", "m", "user", "add", "ann", "--generate"])
        .ends(1);
    place
        .run(&["-C", "m", "user", "add", "a b", "--generate"])
        .ends(2);
    place.run(&["-C", "m", "user", "add", "bob"]).ends(2);
    place.run(&["-C", "m", "user", "remove", "ann"]).ok();
    place.run(&["-C", "m", "user", "remove", "ann"]).ends(1);
    let reply = log_in(&browser, root, "ann", "a+better+one")
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), 401);
    serving.stop().ends(0);
    place.nobody_said(&password, "init");
    place.nobody_said("a better one", "nowhere");
}

#[tokio::test]
async fn with_a_certificate_everything_is_https_and_the_cookie_is_secure() {
    let place = Place::new();
    let said = place
        .run(&["init", "m", "--name", "M", "--user", "ann"])
        .ok();
    let password = said.lines().last().unwrap().to_owned();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    fs::write(place.path("m/cert.pem"), made.cert.pem()).unwrap();
    fs::write(place.path("m/key.pem"), made.signing_key.serialize_pem()).unwrap();
    let file = place.path("m/emsync.toml");
    let settings = fs::read_to_string(&file).unwrap();
    let tls = "[serve]\ntls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n";
    fs::write(&file, settings.replacen("[serve]\n", tls, 1)).unwrap();

    let serving = place.serve("m");
    let root = root(&serving.base);
    assert!(root.starts_with("https://"), "{root}");
    let trusted = Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let browser = browser().tls_certs_only([trusted]).build().unwrap();
    let health = browser.get(format!("{}/healthz", serving.base));
    assert_eq!(health.send().await.unwrap().text().await.unwrap(), "ok");
    let reply = log_in(&browser, root, "ann", &password)
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), 303);
    let set = reply.headers()[SET_COOKIE].to_str().unwrap();
    assert!(set.ends_with("; Secure"), "{set}");
    assert!(reply.headers().contains_key("strict-transport-security"));
    let plain = root.replacen("https", "http", 1);
    browser
        .get(format!("{plain}/healthz"))
        .send()
        .await
        .unwrap_err();
    serving.stop().ends(0);

    fs::write(place.path("m/key.pem"), "no key").unwrap();
    let refused = place
        .run(&["-C", "m", "serve", "--listen", "127.0.0.1:0"])
        .ends(2);
    assert!(refused.stderr.contains("key.pem"), "{}", refused.stderr);
}

#[tokio::test]
async fn endpoints_of_the_wire_are_never_the_pages_even_where_the_site_is_called_ui() {
    let place = Place::new();
    place
        .run(&["init", "m", "--name", "M", "--catalog", "ui/catalog"])
        .ok();
    let serving = place.serve("m");
    let (base, browser) = (&serving.base, browser().build().unwrap());
    assert!(base.ends_with("/ui"), "{base}");
    for (path, says) in [
        ("mediadb/services/system/systemstatus.json", "{"),
        ("mediadb/services/cluster/listalldocs.json", "{"),
        ("healthz", "ok"),
    ] {
        let reply = browser.get(format!("{base}/{path}")).send().await.unwrap();
        assert_eq!(reply.status(), 200, "{path}");
        assert!(!reply.headers().contains_key("content-security-policy"));
        let text = reply.text().await.unwrap();
        assert!(text.starts_with(says), "{path}: {text}");
    }
    let page = browser.get(format!("{base}/login")).send().await.unwrap();
    assert!(page.text().await.unwrap().contains("emsync user add"));
    // What belongs to nobody is no page, so that no node of EMDB is led to one.
    for path in ["/other/", "/uix", "//ui/"] {
        let reply = browser
            .get(format!("{}{path}", root(base)))
            .send()
            .await
            .unwrap();
        assert_eq!(reply.status(), 404, "{path}");
        assert!(!reply.headers().contains_key("content-security-policy"));
    }
    serving.stop().ends(0);
}

#[test]
fn a_node_that_others_can_listen_in_on_says_so() {
    let place = Place::new();
    place.run(&["init", "m", "--name", "M"]).ok();
    let said = |address: &str| {
        let mut running = place.start(&["-C", "m", "serve", "--listen", address]);
        running.next_line().unwrap();
        running.signal(rustix::process::Signal::TERM);
        running.wait().ends(0).stderr
    };
    assert!(said("0.0.0.0:0").contains("without encryption"));
    assert!(!said("127.0.0.1:0").contains("without encryption"));
}
