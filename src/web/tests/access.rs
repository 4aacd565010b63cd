//! Who gets in, who does not, and what the browser is told.

use axum::http::header::{ORIGIN, RETRY_AFTER, SET_COOKIE};

use super::*;
use crate::model::Sha256;

#[tokio::test]
async fn nothing_is_seen_without_a_login_and_a_login_leads_back() {
    let mut site = Site::new().await;
    let to_login = site.get("/ui/").await.is(303);
    assert_eq!(to_login.leads(), "/ui/login");
    assert_eq!(site.get("/").await.is(303).leads(), "/ui/");
    assert_eq!(site.get("/ui").await.is(303).leads(), "/ui/");
    site.post("/ui/logout", &[]).await.is(401);
    site.get("/ui/login").await.is(200).holds("emsync user add");
    site.add_user("ann").await;

    let refused = site.log_in("ann", "correct house").await.is(401);
    assert!(refused.text.contains("wrong"), "{}", refused.text);
    assert!(!refused.text.contains("emsync user add"));
    assert!(site.cookies.is_empty());
    let unknown = site.log_in("bob", PASSWORD).await.is(401);
    assert_eq!(unknown.text.replace("bob", "ann"), refused.text);

    let fields = [
        ("name", "ann"),
        ("password", PASSWORD),
        ("next", "/ui/assets?q=a"),
    ];
    let entered = site.post("/ui/login", &fields).await.is(303);
    assert_eq!(entered.leads(), "/ui/assets?q=a");
    let cookie = entered.headers[SET_COOKIE].to_str().unwrap();
    assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains("Secure"), "plain http: {cookie}");
    site.get("/ui/").await.is(200);
    assert_eq!(site.get("/ui/login").await.is(303).leads(), "/ui/");
}

#[tokio::test]
async fn a_session_ends_with_a_logout_and_with_its_time_and_is_stored_as_a_digest() {
    let mut site = Site::entered("").await;
    let shown = site.cookies["emsync_session"].clone();
    let hash = Sha256::of(shown.as_bytes());
    let now = site.node.seams.clock.now();
    let stored = site.node.catalogue.session(&hash, now).await.unwrap();
    assert_eq!(stored.unwrap().user, "ann");

    site.post("/ui/logout", &[]).await.is(303);
    assert_eq!(site.cookies["emsync_session"], "");
    site.cookies.insert("emsync_session".to_owned(), shown);
    site.get("/ui/").await.is(303);

    site.log_in("ann", PASSWORD).await.is(303);
    site.later(12 * 60 * 60 - 1);
    site.get("/ui/").await.is(200);
    site.later(1);
    site.get("/ui/").await.is(303);
}

#[tokio::test]
async fn what_does_not_come_from_the_page_changes_nothing() {
    let mut site = Site::entered("").await;
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("x-none", "of them"),
    ] {
        let request = Request::post("/ui/logout").header(name, value);
        site.send(filled(request, &[])).await.is(403);
    }
    site.get("/ui/").await.is(200);
}

#[tokio::test]
async fn guessing_is_slowed_down_for_a_name_and_the_right_password_waits_too() {
    let mut site = Site::new().await;
    site.add_user("ann").await;
    for n in 0..10 {
        site.from.address.set_ip([192, 0, 2, n].into());
        site.log_in("ann", "guess").await.is(401);
    }
    let closed = site.log_in("ann", PASSWORD).await.is(429);
    assert_eq!(closed.headers[RETRY_AFTER], "301");
    site.later(300);
    site.log_in("ann", PASSWORD).await.is(303);
}

#[tokio::test]
async fn every_reply_tells_the_browser_to_trust_nothing_else() {
    let mut site = Site::entered("").await;
    for path in ["/ui/", "/ui/login", "/ui/static/page.css", "/ui/none", "/"] {
        let reply = site.get(path).await;
        let header = |name: &str| reply.headers[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"));
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"));
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
        let kept = if path.contains("static") {
            "no-cache"
        } else {
            "no-store"
        };
        assert_eq!(header("cache-control"), kept, "{path}");
        assert!(!reply.headers.contains_key("strict-transport-security"));
    }
    site.from.is_secure = true;
    let reply = site.get("/ui/").await;
    assert!(reply.headers.contains_key("strict-transport-security"));
}

#[tokio::test]
async fn behind_a_proxy_the_cookie_is_secure_and_the_tries_are_the_clients() {
    let mut site = Site::with("[serve]\ntrusted_proxy = \"127.0.0.1\"\n").await;
    site.add_user("ann").await;
    let tries = |from: &str, name: &str, password: &str| {
        let request = Request::post("/ui/login")
            .header(ORIGIN, "http://here:7700")
            .header("x-forwarded-for", from)
            .header("x-forwarded-proto", "https");
        filled(request, &[("name", name), ("password", password)])
    };
    for n in 0..20 {
        let request = tries("203.0.113.1", &format!("user{n}"), "guess");
        site.send(request).await.is(401);
    }
    site.send(tries("203.0.113.1", "ann", PASSWORD))
        .await
        .is(429);
    let entered = site
        .send(tries("203.0.113.2", "ann", PASSWORD))
        .await
        .is(303);
    let cookie = entered.headers[SET_COOKIE].to_str().unwrap();
    assert!(cookie.ends_with("; Secure"), "{cookie}");
}

#[tokio::test]
async fn forms_are_small_and_unknown_ways_are_refused() {
    let mut site = Site::entered("").await;
    let long = "x".repeat(70_000);
    site.log_in("ann", &long).await.is(413);
    let request = Request::put("/ui/login").header("sec-fetch-site", "same-origin");
    let refused = site.send(filled(request, &[])).await.is(405);
    assert_eq!(refused.headers["allow"], "GET, HEAD, POST");
    site.get("/ui/static/none.css").await.is(404);
    let style = site.get("/ui/static/page.css").await.is(200);
    let request =
        Request::get("/ui/static/page.css").header("if-none-match", &style.headers["etag"]);
    site.send(request.body(Body::empty()).unwrap())
        .await
        .is(304);
}
