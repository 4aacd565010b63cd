//! A headless Chromium, driven as a person would: keys and clicks at what is on the screen.
//!
//! It speaks the DevTools protocol over two pipes (`--remote-debugging-pipe`: messages end in a NUL), which a shell opens for it as the
//! descriptors 3 and 4. Nothing here sleeps: what a page is waited for, it waits for itself.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use serde_json::{Value, json};

use super::said::say;

/// Longer than anything a page does on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Names that the browser has on one system or another.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// Which browser to use; `None` where `EMSYNC_BROWSER` says to go without, which is said aloud.
pub(crate) fn browser() -> Option<PathBuf> {
    match std::env::var_os("EMSYNC_BROWSER") {
        Some(skip) if skip == "skip" => {
            say("SKIPPED: EMSYNC_BROWSER=skip, no browser has seen the page");
            None
        }
        Some(path) => Some(path.into()),
        None => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let found = std::env::split_paths(&path)
                .flat_map(|dir| NAMES.map(|name| dir.join(name)))
                .find(|path| path.is_file());
            Some(found.expect("install chromium, or name a browser with EMSYNC_BROWSER=/path, or say EMSYNC_BROWSER=skip"))
        }
    }
}

/// A browser with one page.
pub(crate) struct Chromium {
    child: Child,
    to: File,
    from: Receiver<Value>,
    /// Events that nobody has looked at yet.
    events: VecDeque<Value>,
    /// What went wrong on the page since the last look.
    errors: Vec<String>,
    last: u64,
    session: String,
    _home: tempfile::TempDir,
}

impl Chromium {
    /// Starts one.
    pub(crate) fn start(program: &Path) -> Self {
        let home = tempfile::tempdir().unwrap();
        let [to, from] = ["to", "from"].map(|name| {
            let path = home.path().join(name);
            rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
            path
        });
        let log = File::create(home.path().join("log")).unwrap();
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(
                "program=$1 to=$2 from=$3; shift 3; exec \"$program\" \"$@\" 3<\"$to\" 4>\"$from\"",
            )
            .arg("sh")
            .arg(program)
            .args([&to, &from])
            .args([
                "--headless=new",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--no-first-run",
                "--no-default-browser-check",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-extensions",
                "--hide-scrollbars",
                "--force-color-profile=srgb",
            ])
            .arg(format!(
                "--user-data-dir={}",
                home.path().join("profile").display()
            ))
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        // Each waits for its other end, in the order of the shell.
        let opened = OpenOptions::new().write(true).open(&to).unwrap();
        let mut read = BufReader::new(File::open(&from).unwrap());
        let (send, received) = mpsc::channel();
        std::thread::spawn(move || {
            loop {
                let mut message = Vec::new();
                match read.read_until(0, &mut message) {
                    Ok(bytes) if bytes > 0 => {}
                    _ => return,
                }
                message.pop();
                let message = serde_json::from_slice(&message).unwrap();
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        if let Some(status) = child.try_wait().unwrap() {
            let log = fs::read_to_string(home.path().join("log")).unwrap();
            panic!("{} ended with {status}:\n{log}", program.display());
        }
        let mut chromium = Self {
            child,
            to: opened,
            from: received,
            events: VecDeque::new(),
            errors: Vec::new(),
            last: 0,
            session: String::new(),
            _home: home,
        };
        let target = chromium.ask("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = chromium.ask("Target.attachToTarget", attach);
        attached["sessionId"]
            .as_str()
            .unwrap()
            .clone_into(&mut chromium.session);
        for domain in ["Page", "Runtime", "Log"] {
            chromium.ask(&format!("{domain}.enable"), json!({}));
        }
        chromium.size(1280, 900);
        chromium
    }

    /// Sends a command and waits for its answer.
    #[track_caller]
    fn ask(&mut self, method: &str, params: Value) -> Value {
        match self.try_ask(method, params) {
            Ok(result) => result,
            Err(error) => panic!("{method}: {error}"),
        }
    }

    fn try_ask(&mut self, method: &str, params: Value) -> Result<Value, String> {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        let mut bytes = serde_json::to_vec(&message).unwrap();
        bytes.push(0);
        self.to.write_all(&bytes).unwrap();
        loop {
            let message = self.from.recv_timeout(PATIENCE);
            let mut message = message.unwrap_or_else(|_| panic!("no answer to {method}"));
            if message["id"] == self.last {
                if let Some(error) = message.get("error") {
                    return Err(error.to_string());
                }
                return Ok(message["result"].take());
            }
            self.note(message);
        }
    }

    /// Keeps an event, and what it says went wrong.
    fn note(&mut self, event: Value) {
        let params = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => self.errors.push(params["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled" if params["type"] == "error" => {
                self.errors.push(params["args"].to_string());
            }
            "Log.entryAdded" if params["entry"]["level"] == "error" => {
                let entry = &params["entry"];
                self.errors
                    .push(format!("{} {}", entry["text"], entry["url"]));
            }
            _ => self.events.push_back(event),
        }
    }

    /// What went wrong on the page since the last look: exceptions, errors on the console, refusals of the policy.
    pub(crate) fn errors(&mut self) -> Vec<String> {
        self.run("1");
        std::mem::take(&mut self.errors)
    }

    /// Goes to an address.
    #[track_caller]
    pub(crate) fn open(&mut self, url: &str) {
        self.events.clear();
        let went = self.ask("Page.navigate", json!({"url": url}));
        assert!(went.get("errorText").is_none(), "{url}: {went}");
        self.loaded();
    }

    /// Waits until a page is there, which was asked for after [`Self::events`] were cleared.
    #[track_caller]
    fn loaded(&mut self) {
        loop {
            while let Some(event) = self.events.pop_front() {
                if event["method"] == "Page.loadEventFired" {
                    return;
                }
            }
            let event = self
                .from
                .recv_timeout(PATIENCE)
                .expect("the page is there in time");
            self.note(event);
        }
    }

    fn try_run(&mut self, script: &str) -> Result<Value, String> {
        let params = json!({"expression": script, "awaitPromise": true, "returnByValue": true});
        let mut done = self.try_ask("Runtime.evaluate", params)?;
        match done.get("exceptionDetails") {
            Some(thrown) => Err(format!("{script}: {thrown}")),
            None => Ok(done["result"]["value"].take()),
        }
    }

    /// Runs a script on the page.
    #[track_caller]
    pub(crate) fn run(&mut self, script: &str) -> Value {
        self.try_run(script)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Waits until this holds on the page, or on the one that comes after it.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, condition: &str) {
        let script = format!(
            "new Promise((done, fail) => {{ const until = Date.now() + {};
             const holds = () => {{ try {{ return {condition}; }} catch {{ return false; }} }};
             const look = () => {{ if (holds()) done(true); else if (Date.now() > until) fail(document.body?.innerText);
             else setTimeout(look, 20); }}; look(); }})",
            PATIENCE.as_millis() / 2
        );
        loop {
            match self.try_run(&script) {
                Ok(_) => return,
                // The page went on to another one meanwhile; that one is asked.
                Err(error) if error.contains("context") || error.contains("navigated") => {}
                Err(error) => panic!("never: {condition}\n{error}"),
            }
        }
    }

    /// Waits until the page shows a text.
    #[track_caller]
    pub(crate) fn sees(&mut self, text: &str) {
        self.wait_for(&format!(
            "document.body.innerText.includes({})",
            json!(text)
        ));
    }

    /// Where the middle of an element is, once it is on the screen.
    #[track_caller]
    fn middle(&mut self, selector: &str) -> (f64, f64) {
        let chosen = json!(selector);
        self.wait_for(&format!("document.querySelector({chosen})"));
        let script = format!(
            "(() => {{ const e = document.querySelector({chosen}); e.scrollIntoView({{block: 'center', behavior: 'instant'}});
             const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; }})()"
        );
        let at = self.run(&script);
        (at[0].as_f64().unwrap(), at[1].as_f64().unwrap())
    }

    fn mouse(&mut self, kind: &str, (x, y): (f64, f64), buttons: u32) {
        let button = if kind == "mouseMoved" && buttons == 0 {
            "none"
        } else {
            "left"
        };
        self.ask(
            "Input.dispatchMouseEvent",
            json!({"type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1}),
        );
    }

    /// Clicks at an element.
    #[track_caller]
    pub(crate) fn click(&mut self, selector: &str) {
        let at = self.middle(selector);
        self.mouse("mousePressed", at, 1);
        self.mouse("mouseReleased", at, 0);
    }

    /// Clicks at an element that leads to another page, and waits for that.
    #[track_caller]
    pub(crate) fn follow(&mut self, selector: &str) {
        let at = self.middle(selector);
        self.events.clear();
        self.mouse("mousePressed", at, 1);
        self.mouse("mouseReleased", at, 0);
        self.loaded();
    }

    /// Drags from the middle of an element, by a part of the size of another one.
    #[track_caller]
    pub(crate) fn drag(&mut self, selector: &str, within: &str, (across, down): (f64, f64)) {
        let (x, y) = self.middle(selector);
        let script = format!(
            "(() => {{ const b = document.querySelector({}).getBoundingClientRect(); return [b.width, b.height]; }})()",
            json!(within)
        );
        let size = self.run(&script);
        let by = (
            size[0].as_f64().unwrap() * across,
            size[1].as_f64().unwrap() * down,
        );
        self.mouse("mousePressed", (x, y), 1);
        for part in 1..=4 {
            let part = f64::from(part) / 4.0;
            self.mouse("mouseMoved", (x + by.0 * part, y + by.1 * part), 1);
        }
        self.mouse("mouseReleased", (x + by.0, y + by.1), 0);
    }

    /// Types into a field, in place of what it has.
    #[track_caller]
    pub(crate) fn fill(&mut self, selector: &str, text: &str) {
        self.click(selector);
        self.run(&format!(
            "document.querySelector({}).select()",
            json!(selector)
        ));
        self.ask("Input.insertText", json!({"text": text}));
    }

    /// Chooses in a list.
    #[track_caller]
    pub(crate) fn choose(&mut self, selector: &str, value: &str) {
        let chosen = json!(selector);
        self.run(&format!(
            "(() => {{ const e = document.querySelector({chosen}); e.value = {}; e.dispatchEvent(new Event('change', {{bubbles: true}})); }})()",
            json!(value)
        ));
    }

    /// Presses a key, with or without Shift.
    pub(crate) fn press(&mut self, key: &str, with_shift: bool) {
        let modifiers = if with_shift { 8 } else { 0 };
        for kind in ["rawKeyDown", "keyUp"] {
            let params = json!({"type": kind, "key": key, "code": key, "modifiers": modifiers, "windowsVirtualKeyCode": match key {
                "Tab" => 9, "ArrowLeft" => 37, "ArrowUp" => 38, "ArrowRight" => 39, "ArrowDown" => 40, _ => 0,
            }});
            self.ask("Input.dispatchKeyEvent", params);
        }
    }

    /// Gives the page this size.
    pub(crate) fn size(&mut self, width: u32, height: u32) {
        let params = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.ask("Emulation.setDeviceMetricsOverride", params);
    }

    /// Shows the page as to somebody who likes it dark, or light.
    pub(crate) fn scheme(&mut self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.ask("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Runs scripts of pages, or not.
    pub(crate) fn scripts(&mut self, run: bool) {
        self.ask(
            "Emulation.setScriptExecutionDisabled",
            json!({"value": !run}),
        );
    }

    /// Keeps a picture of the page in the directory that `EMSYNC_SCREENSHOTS` names, if any.
    pub(crate) fn picture(&mut self, name: &str) {
        let Some(dir) = std::env::var_os("EMSYNC_SCREENSHOTS") else {
            return;
        };
        let shot = self.ask(
            "Page.captureScreenshot",
            json!({"format": "png", "captureBeyondViewport": true}),
        );
        let bytes = data_encoding::BASE64.decode(shot["data"].as_str().unwrap().as_bytes());
        fs::create_dir_all(&dir).unwrap();
        fs::write(Path::new(&dir).join(format!("{name}.png")), bytes.unwrap()).unwrap();
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // A browser that does not answer any more is ended all the same, with the processes that it started: they end with it.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
