//! The page in a browser: what it shows when it is loaded, and what it comes to show by itself.
//!
//! Between the browser and the admin address stands a relay, so that things happen just when the page asks for news. Its
//! pictures are kept in the folder that cargo gives to tests (`target/tmp/page-*.png`), for people to look at.

use super::*;
use crate::support::client::http;
use crate::support::process::Finished;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The time that the browser believes has passed when it tells what it shows: two updates, and a bit.
const VIRTUAL_MILLISECONDS: u32 = 12_000;

/// A page of 360 pixels in one of the test, which does what a reader would do and tells what came of it; one that is as high
/// as all that it holds is only looked at. A browser without a screen has no window as narrow as that.
const READER: &str = r#"<!DOCTYPE html><body style="margin:0"><iframe src="/" style="border:0" width="360" height="HEIGHT"></iframe>
<p id="told"></p><script>
onload = () => {
  const page = document.querySelector("iframe").contentDocument, of = (id) => page.getElementById(id);
  const tell = (text) => document.getElementById("told").append(text + "; ");
  tell("wide " + page.documentElement.scrollWidth + " of " + page.documentElement.clientWidth);
  tell("at first v1 " + of("v1").open + " v2 " + of("v2").open + " v3 " + (of("v3") !== null));
  if (HEIGHT > 1000) return;
  of("v1").querySelector("summary").click();
  of("v2").querySelector("summary").click();
  of("v1").querySelector("summary").focus();
  of("v1").scrollIntoView();
  const top = of("v1").getBoundingClientRect().top;
  setTimeout(() => {
    tell("then v1 " + of("v1").open + " v2 " + of("v2").open + " v3 " + (of("v3") !== null));
    tell("in place " + (Math.abs(of("v1").getBoundingClientRect().top - top) <= 1));
    tell("focus " + (page.activeElement.parentElement || page.body).id);
    tell("still wide " + page.documentElement.scrollWidth);
  }, 11000);
};
</script>"#;

/// What happens when the page asks for news.
#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    /// A session has just been refused; once.
    Violation,
    /// Nobody answers any more.
    Silence,
}

/// Between a browser and the admin address.
struct Relay {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Relay {
    async fn before(shown: &Arc<Shown>, news: News) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (shown, log) = (Arc::clone(shown), Arc::clone(&asked));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shown, log) = (Arc::clone(&shown), Arc::clone(&log));
                // A browser that leaves in the middle is judged by what it has told.
                tokio::spawn(async move { relay(stream, &shown, news, &log).await.ok() });
            }
        });
        Self { address, asked, serving }
    }

    /// How often this was asked for.
    fn count(&self, line: &str) -> usize {
        self.asked.lock().expect("the list").iter().filter(|asked| asked.starts_with(line)).count()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// One request; the connection ends with its reply.
async fn relay(mut browser: TcpStream, shown: &Shown, news: News, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while http::head_length(&head).is_none() {
        if browser.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).replace("Connection: keep-alive", "Connection: close");
    let is_first = {
        let mut log = log.lock().expect("the list");
        log.push(head.lines().next().unwrap_or_default().to_owned());
        log.iter().filter(|line| line.starts_with("GET /main ")).count() == 1
    };
    if let Some(height) = head.strip_prefix("GET /reader?") {
        let page = READER.replace("HEIGHT", height.split(' ').next().unwrap_or_default());
        let fields = format!("Content-Type: text/html\r\nConnection: close\r\nContent-Length: {}", page.len());
        return browser.write_all(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{page}").as_bytes()).await;
    }
    if head.starts_with("GET /main ") {
        match news {
            News::Silence => return Ok(()),
            News::Violation if is_first => {
                let total = shown.json("/api/violations").await["total"].as_u64().expect("a number");
                shown.session().await;
                shown.violations(total + 1).await;
            }
            News::Violation => {}
        }
    }
    let mut admin = TcpStream::connect(shown.admin).await?;
    admin.write_all(head.as_bytes()).await?;
    let mut reply = Vec::new();
    admin.read_to_end(&mut reply).await?;
    // The page may be framed by that of the test, and by nothing else: it says so itself.
    let reply = String::from_utf8_lossy(&reply).replacen("frame-ancestors 'none'", "frame-ancestors 'self'", 1);
    browser.write_all(reply.as_bytes()).await
}

/// The browser with this page; what it shows is kept as a picture of this name and size, and told as HTML.
async fn browse(chromium: &Path, shown: &Shown, url: &str, name: &str, size: (u32, u32), dark: bool) -> Finished {
    let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("page-{name}.png"));
    std::fs::remove_file(&picture).ok();
    let (width, height) = size;
    // 0 is dark, 1 is light.
    let scheme = u8::from(!dark);
    let done = process::command(chromium, shown.user.folder())
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"])
        .arg(format!("--user-data-dir={}", shown.user.folder().join(format!("browser-{name}")).display()))
        .arg(format!("--window-size={width},{height}"))
        .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
        .arg(format!("--virtual-time-budget={VIRTUAL_MILLISECONDS}"))
        .arg(format!("--screenshot={}", picture.display()))
        .args(["--dump-dom", url])
        .run()
        .await
        .with_code(0);
    let png = std::fs::read(&picture).unwrap_or_else(|error| panic!("{error}: {done}"));
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four octets"));
    assert_eq!((&png[1..4], number(16), number(20)), (&b"PNG"[..], width, height));
    done
}

/// A proxy with something of everything to look at, and two violations.
async fn furnished() -> Arc<Shown> {
    let pins = |_: &Site| {
        let (pin, soon) = (Key::p256().pin(), crate::support::pki::ahead(std::time::Duration::from_secs(20 * 86_400)));
        format!(
            "{}[pinset.expiry]\nat = {}T00:00:00Z\nthen = \"fail-closed\"\n\
             [[pinset]]\nname = \"partner-api\"\nhosts = [\"**.partner.example\", \"api.partner.example:8443\", \
             \"a-rather-long-name-of-a-host.with.many.labels.partner-of-a-partner.example\"]\nca_pins = [\"{pin}\"]\nmode = \"report-only\"\n",
            pinset(&Key::p256().pin()),
            soon.date()
        )
    };
    let shown = Shown::before(site_named("A certificate that nobody has announced").await, "", pins).await;
    assert_eq!(shown.session().await, 502);
    shown.violations(1).await;
    shown.override_site("CHG-4711: the partner has changed its keys over night", "ann@example.org").await;
    assert_eq!(shown.session().await, 200);
    shown.violations(2).await;
    std::fs::write(&shown.path, "[[pinset]]\nname = \"site\"\nhost = [\"localhost\"]\n").expect("it is written");
    shown.ctl(&["reload"]).await.with_code(1);
    Arc::new(shown)
}

#[tokio::test]
async fn a_violation_appears_on_a_page_that_is_open() {
    let Some(chromium) = process::find("chromium") else { return };
    let shown = furnished().await;
    for (name, dark, known) in [("light", false, 2), ("dark", true, 3)] {
        let relay = Relay::before(&shown, News::Violation).await;
        let url = format!("http://{}/", relay.address);
        let done = browse(&chromium, &shown, &url, name, (1100, 1900), dark).await;
        assert_eq!(
            (relay.count("GET / "), relay.count("GET /main ") >= 2),
            (1, true),
            "it was not loaded anew: {done}"
        );
        for number in 1..=known + 1 {
            assert!(done.out.contains(&format!("id=\"v{number}\"")), "violation {number} is missing in {done}");
        }
        assert!(
            done.out.contains(" s ago</p>") && done.out.contains("<p id=\"trouble\" role=\"status\"></p>"),
            "{done}"
        );
        assert!(!done.out.contains("class=\"stale\""), "{done}");
    }
}

#[tokio::test]
async fn a_page_as_wide_as_a_phone_keeps_what_its_reader_has_opened() {
    let Some(chromium) = process::find("chromium") else { return };
    let shown = furnished().await;
    let relay = Relay::before(&shown, News::Violation).await;
    let url = format!("http://{}/reader?800", relay.address);
    let done = browse(&chromium, &shown, &url, "reader", (500, 900), false).await;
    let expected = "wide 360 of 360; at first v1 false v2 true v3 false; then v1 true v2 false v3 true; in place true; focus v1; \
                    still wide 360; ";
    assert!(done.out.contains(expected), "{done}");
    let url = format!("http://{}/reader?3400", relay.address);
    for (name, dark) in [("phone-light", false), ("phone-dark", true)] {
        browse(&chromium, &shown, &url, name, (360, 3400), dark).await;
    }
}

#[tokio::test]
async fn a_page_without_answers_says_so() {
    let Some(chromium) = process::find("chromium") else { return };
    let shown = furnished().await;
    let relay = Relay::before(&shown, News::Silence).await;
    let done = browse(&chromium, &shown, &format!("http://{}/", relay.address), "silence", (1100, 900), false).await;
    assert!(done.out.contains("role=\"status\">The proxy does not answer: what is shown is as of "), "{done}");
    assert!(done.out.contains("<body class=\"stale\">") && done.out.contains("id=\"v2\""), "{done}");
}
