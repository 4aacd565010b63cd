//! The page in a real browser, against the real program: what an operator does in the first hour.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::chromium::{Chromium, browser};
use crate::support::process::{Place, Serving};

/// Two nodes that serve: a master with pictures, and a new one whose page is looked at.
struct World {
    _master: Serving,
    mirror: Serving,
    /// The last to go: it holds what the others say.
    place: Place,
    password: String,
    key: String,
    master_base: String,
}

/// The original that takes a while.
const SLOW: &str = "slow.bin";

impl World {
    fn new() -> Self {
        let place = Place::new();
        let pictures = place.path("pictures");
        fs::create_dir(&pictures).unwrap();
        for picture in ["Animals/chelsea.jpg", "Cafe/coffee.jpg", "Space/rocket.jpg"] {
            let from = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("assets-fixtures/originals")
                .join(picture);
            fs::copy(&from, pictures.join(from.file_name().unwrap())).unwrap();
        }
        fs::write(pictures.join(SLOW), vec![7; 1 << 20]).unwrap();
        place.run(&["init", "m", "--name", "Studio"]).ok();
        place
            .run(&["-C", "m", "import", pictures.to_str().unwrap()])
            .ok();
        let key = place
            .run(&["-C", "m", "key", "add", "mirror"])
            .ok()
            .trim()
            .to_owned();
        // Slow enough for a run to be watched, and one try for what fails.
        set(&place, "m", "[limits]\n", "[limits]\nbwlimit = \"512k\"\n");
        let said = place
            .run(&["init", "r", "--name", "Archive", "--user", "ann"])
            .ok();
        let password = said.lines().last().unwrap().to_owned();
        set(&place, "r", "[limits]\n", "[limits]\nattempts = 1\n");
        let master = place.serve("m");
        Self {
            master_base: master.base.clone(),
            _master: master,
            mirror: place.serve("r"),
            place,
            password,
            key,
        }
    }

    fn url(&self, path: &str) -> String {
        let (root, _) = self.mirror.base.rsplit_once('/').unwrap();
        format!("{root}{path}")
    }

    fn original(&self, name: &str) -> PathBuf {
        self.place
            .path("m/media/assets/catalog/originals")
            .join(name)
    }

    fn log_in(&self, chromium: &mut Chromium) {
        chromium.open(&self.url("/ui/"));
        chromium.fill("[name=name]", "ann");
        chromium.fill("[name=password]", &self.password);
        chromium.follow("form button");
        chromium.sees("Overview");
    }

    /// Adds the master with the form.
    fn add_peer(&self, chromium: &mut Chromium) {
        chromium.open(&self.url("/ui/peers"));
        chromium.follow("a[href='/ui/new-peer']");
        chromium.fill("[name=name]", "studio");
        chromium.fill("[name=key]", &self.key);
        chromium.fill("[name=base_url]", &self.master_base);
        chromium.choose("[name=generated]", "rebuild");
        chromium.picture("peer-form");
        chromium.follow("main form button.first");
        chromium.sees("studio is added");
    }

    /// Runs EMDB's first event to its end, and says how it ended.
    fn run_now(&self, chromium: &mut Chromium) -> String {
        chromium.open(&self.url("/ui/schedule"));
        chromium.follow("[aria-label='Run Pull data changes now']");
        chromium.wait_for("document.querySelector('#log').innerText.includes('ended: ')");
        chromium.wait_for("document.querySelector('#outcome').innerText != 'goes on'");
        let outcome = chromium.run("document.querySelector('#outcome').innerText");
        outcome.as_str().unwrap().to_owned()
    }
}

fn set(place: &Place, node: &str, from: &str, to: &str) {
    let file = place.path(node).join("emsync.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from));
    fs::write(&file, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn an_operator_logs_in_adds_a_peer_runs_a_pull_mends_what_failed_and_crops() {
    let Some(program) = browser() else { return };
    let world = World::new();
    let mut chromium = Chromium::start(&program);

    chromium.open(&world.url("/"));
    chromium.fill("[name=name]", "ann");
    chromium.fill("[name=password]", "not this one");
    chromium.picture("login");
    chromium.follow("form button");
    chromium.sees("The name or the password is wrong.");
    let refused = chromium.errors();
    assert!(
        refused.len() == 1 && refused[0].contains("401"),
        "{refused:?}"
    );
    world.log_in(&mut chromium);
    chromium.sees("This node exchanges with nobody yet");

    world.add_peer(&mut chromium);
    chromium.follow("form[action$='/test'] button");
    chromium.sees("It works");
    chromium.sees("cluster id studio-");
    chromium.picture("peer");

    // One original is not what its master says, so it is set aside.
    let coffee = world.original("coffee.jpg");
    let whole = fs::read(&coffee).unwrap();
    let dated = fs::metadata(&coffee).unwrap().modified().unwrap();
    fs::write(&coffee, b"broken").unwrap();
    chromium.open(&world.url("/ui/schedule"));
    chromium.picture("schedule-before");
    chromium.follow("[aria-label='Run Pull data changes now']");
    // The page came while the run went on, and lines come after it.
    let from = chromium.run("Number(new URL(document.querySelector('#log').dataset.follow, location).searchParams.get('from'))");
    chromium.picture("run-live");
    chromium.wait_for("document.querySelector('#log').innerText.includes('ended: partial')");
    let lines = chromium.run("document.querySelector('#log').innerText.trim().split('\\n').length");
    assert!(
        lines.as_u64() > from.as_u64(),
        "{lines} lines, {from} when the page came"
    );
    chromium.wait_for("document.querySelector('#outcome').innerText == 'partial'");
    chromium.picture("run");
    chromium.open(&world.url("/ui/schedule"));
    chromium.wait_for("document.querySelector('#history').innerText.includes('partial')");
    chromium.picture("schedule");

    chromium.follow("a[href='/ui/quarantine']");
    chromium.sees("originals/coffee.jpg");
    chromium.picture("quarantine");
    fs::write(&coffee, &whole).unwrap();
    File::options()
        .write(true)
        .open(&coffee)
        .unwrap()
        .set_modified(dated)
        .unwrap();
    chromium.follow("[aria-label='Retry originals/coffee.jpg']");
    chromium.sees("originals/coffee.jpg: ready now");
    assert_eq!(world.run_now(&mut chromium), "ok");
    chromium.open(&world.url("/ui/quarantine"));
    chromium.wait_for("document.querySelector('#aside').innerText.trim() == 'Nothing.'");

    crop(&world, &mut chromium);
    world.place.run(&["-C", "r", "verify", "studio"]).ok();
    chromium.open(&world.url("/ui/"));
    chromium.sees("Equal as of");
    chromium.picture("overview");
    assert_eq!(chromium.errors(), Vec::<String>::new());
    drop(chromium);
    world.mirror.stop().ends(0);
}

/// Draws a rectangle over a picture, with the mouse and with keys, and sees its rendition change.
fn crop(world: &World, chromium: &mut Chromium) {
    chromium.open(&world.url("/ui/assets?q=chelsea"));
    chromium.wait_for(
        "[...document.querySelectorAll('.grid img')].every(i => i.complete && i.naturalWidth > 0)",
    );
    assert_eq!(
        chromium.run("document.querySelectorAll('.grid li').length"),
        1
    );
    chromium.follow(".grid a");
    chromium.sees("Nothing is wrong with it here");
    chromium.wait_for("[...document.querySelectorAll('.shots img')].every(i => i.complete)");
    chromium.picture("asset");
    chromium.follow("a[href$='/crop']");
    chromium.wait_for(
        "document.querySelector('.sel') && document.querySelector('.canvas img').naturalWidth > 0",
    );
    let field = |chromium: &mut Chromium, name: &str| {
        let value = chromium.run(&format!(
            "Number(document.querySelector('[name={name}]').value)"
        ));
        value.as_f64().unwrap()
    };
    let before = chromium.run("document.querySelector('#rendition').src");
    let (width, height) = (field(chromium, "width"), field(chromium, "height"));

    chromium.drag(".grip", ".canvas", (-0.5, -0.4));
    let drawn = (
        field(chromium, "width") / width,
        field(chromium, "height") / height,
    );
    assert!(
        (drawn.0 - 0.5).abs() < 0.03 && (drawn.1 - 0.6).abs() < 0.03,
        "{drawn:?}"
    );
    chromium.drag(".sel", ".canvas", (0.25, 0.2));
    let at = (field(chromium, "x") / width, field(chromium, "y") / height);
    assert!(
        (at.0 - 0.25).abs() < 0.03 && (at.1 - 0.2).abs() < 0.03,
        "{at:?}"
    );
    let (x, wide) = (field(chromium, "x"), field(chromium, "width"));
    chromium.press("ArrowLeft", false);
    chromium.press("ArrowLeft", true);
    assert!(field(chromium, "x") < x && field(chromium, "width") < wide);
    chromium.picture("crop");
    chromium.follow("#rectangle button.first");
    chromium.sees("made");
    chromium.wait_for("document.querySelector('#rendition').complete");
    let after = chromium.run("document.querySelector('#rendition').src");
    assert_ne!(after, before, "the rendition is another one");
    chromium.picture("crop-saved");
}

/// Every page that needs nothing but a login, and what it shows in any case.
const PAGES: [(&str, &str); 11] = [
    ("/ui/", "Overview"),
    ("/ui/peers", "studio"),
    ("/ui/peers/studio", "Last Pull Date"),
    ("/ui/new-peer", "Pull All Original Media"),
    ("/ui/schedule", "Pull recent uploads"),
    (
        "/ui/schedule/event?name=Pull%20data%20changes",
        "Part of the day",
    ),
    ("/ui/work", "Queue"),
    ("/ui/limits", "Bandwidth by the hour"),
    ("/ui/quarantine", "Set aside"),
    ("/ui/conflicts", "Conflicts"),
    ("/ui/assets", "rocket.jpg"),
];

#[test]
fn every_page_is_usable_small_dark_with_a_keyboard_and_without_scripts() {
    let Some(program) = browser() else { return };
    let world = World::new();
    let mut chromium = Chromium::start(&program);
    world.log_in(&mut chromium);
    world.add_peer(&mut chromium);
    assert_eq!(world.run_now(&mut chromium), "ok");

    chromium.open(&world.url("/ui/plan/studio"));
    chromium.follow("main form button");
    chromium.sees("nothing was changed");
    chromium.picture("plan");
    chromium.open(&world.url("/ui/work"));
    chromium.wait_for("document.querySelector('.live.on')");
    chromium.picture("work");

    week(&world, &mut chromium);
    for (scheme, width) in [("light", 1280), ("dark", 1280), ("dark", 390)] {
        chromium.scheme(scheme);
        chromium.size(width, 844);
        for (path, says) in PAGES {
            chromium.open(&world.url(path));
            chromium.sees(says);
            sound(&mut chromium, path);
            let name = path.trim_matches('/').replace(['/', '?', '=', '%'], "-");
            chromium.picture(&format!("{scheme}-{width}-{name}"));
        }
    }
    // The first key leads past what every page begins with.
    chromium.press("Tab", false);
    let first = chromium.run("document.activeElement.getAttribute('href')");
    assert_eq!(first, "#main");
    assert_eq!(chromium.errors(), Vec::<String>::new());

    chromium.scripts(false);
    for (path, says) in PAGES {
        chromium.open(&world.url(path));
        let text = chromium.run("document.body.innerText");
        assert!(text.as_str().unwrap().contains(says), "{path}: {text}");
    }
    // A form without scripts does what it says.
    chromium.open(&world.url("/ui/peers/studio"));
    chromium.follow("form[action$='/enabled'] button");
    let text = chromium.run("document.body.innerText");
    assert!(
        text.as_str().unwrap().contains("studio is disabled."),
        "{text}"
    );
    let says = |chromium: &mut Chromium, what: &str| {
        let text = chromium.run("document.body.innerText");
        assert!(text.as_str().unwrap().contains(what), "{text}");
    };
    chromium.follow("form[action$='/paused'] button");
    says(&mut chromium, "studio is paused");
    chromium.follow("form[action$='/paused'] button");
    says(&mut chromium, "studio is resumed");
    // What a filter leaves out is shown, and goes only when that is said.
    let rocket = (world.place).path("r/media/assets/catalog/originals/rocket.jpg");
    chromium.fill("[name=exclude]", "rocket.*");
    chromium.follow("form[action$='/filter'] button");
    says(&mut chromium, "Nothing is saved yet");
    chromium.picture("narrow");
    assert!(rocket.exists());
    chromium.follow("button[value=prune]");
    says(&mut chromium, "went to the trash");
    assert!(!rocket.exists());
    chromium.open(&world.url("/ui/limits"));
    chromium.fill("[name=rate]", "2M");
    chromium.follow("#hours button");
    says(&mut chromium, "The timetable is changed.");
}

/// Paints hours of the week with the mouse, then with the keyboard.
fn week(world: &World, chromium: &mut Chromium) {
    let form = |chromium: &mut Chromium| {
        let said = chromium.run(
            "[...document.querySelectorAll('#hours input:checked')].map((e) => e.name).join(' ') + ' ' \
             + document.querySelector('[name=from]').value + ' ' + document.querySelector('[name=to]').value",
        );
        said.as_str().unwrap().to_owned()
    };
    chromium.open(&world.url("/ui/limits"));
    let tuesday = "[data-day='1'][data-hour='8']";
    chromium.drag(tuesday, tuesday, (9.0, 2.0));
    assert_eq!(form(chromium), "tue wed thu 8 18");
    assert_eq!(
        chromium.run("document.querySelectorAll('#week .chosen').length"),
        30
    );
    chromium.fill("[name=rate]", "512k");
    chromium.follow("#hours button");
    chromium.sees("The timetable is changed.");
    chromium.click("[data-day='5'][data-hour='22']");
    chromium.press("ArrowRight", false);
    chromium.press("ArrowDown", true);
    assert_eq!(form(chromium), "sat sun 23 24");
    chromium.fill("[name=rate]", "1M:4M");
    chromium.follow("#hours button");
    chromium.sees("The timetable is changed.");
    let settings = fs::read_to_string(world.place.path("r/emsync.toml")).unwrap();
    assert!(
        settings.contains("Tue-08:00,512KiB Tue-18:00,off"),
        "{settings}"
    );
    assert!(
        settings.contains("Sat-23:00,1MiB:4MiB Sun-00:00,off Sun-23:00,1MiB:4MiB"),
        "{settings}"
    );
    chromium.picture("week");
}

/// What a screen reader, a keyboard and a narrow screen need of a page.
#[track_caller]
fn sound(chromium: &mut Chromium, path: &str) {
    let wrong = chromium.run(
        "(() => { const wrong = [];
          const say = (what, list) => { for (const e of list) wrong.push(what + ': ' + e.outerHTML.slice(0, 120)); };
          const all = (selector) => [...document.querySelectorAll(selector)];
          say('no label', all('input:not([type=hidden]), select, textarea').filter((e) => !e.labels.length && !e.ariaLabel));
          say('no name', all('button, a').filter((e) => !(e.textContent || e.ariaLabel || '').trim() && !e.querySelector('img[alt]:not([alt=\"\"])')));
          say('no alt', all('img:not([alt])'));
          say('inline', all('[style]:not(.sel), [onclick], script:not([src])'));
          if (all('main').length != 1 || all('h1').length != 1) wrong.push('not one main and one h1');
          if (!all('nav[aria-label]').length) wrong.push('no way to the other pages');
          const ids = all('[id]').map((e) => e.id);
          if (new Set(ids).size != ids.length) wrong.push('an id twice');
          if (document.documentElement.scrollWidth > window.innerWidth) wrong.push('wider than the screen: ' + document.documentElement.scrollWidth);
          return wrong; })()",
    );
    assert_eq!(wrong, Value::Array(Vec::new()), "{path}");
}
