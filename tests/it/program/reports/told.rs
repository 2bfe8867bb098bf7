//! What is told of reports: in metrics, by `ctl status`, in `/api/status` and on the page.

use super::*;

use crate::support::within_deadline;

/// What a URL of a receiver keeps to itself.
/// None of them is hexadecimal: the names of sessions are.
const SECRETS: [&str; 3] = ["lovelace", "s3cret", "t0ken"];

/// What is asked over the admin address and the control socket.
struct Told<'a> {
    setting: &'a Setting,
    program: Program,
    admin: SocketAddr,
}

impl<'a> Told<'a> {
    /// With these lines in `[reports]`.
    async fn start(setting: &'a Setting, reports: &str) -> Self {
        let admin = "[admin]\naddress = \"127.0.0.1:0\"\nsocket = \"control.sock\"\n";
        let program = setting.run(&format!("{reports}\n{admin}")).await;
        let url = value(&program.greeting, "admin");
        let admin = url.split("://").nth(1).expect("a URL").parse().expect("an address");
        Self { setting, program, admin }
    }

    async fn get(&self, path: &str) -> String {
        let mut client = RawClient::connect(self.admin).await.expect("the admin address listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.admin);
        client.send(request.as_bytes()).await.expect("it takes the request");
        let reply = client.read_reply().await.expect("a reply");
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        reply.text()
    }

    async fn status(&self) -> Value {
        serde_json::from_str(&self.get("/api/status").await).expect("JSON")
    }

    /// Waits until this holds of what is told of reports, and gives that.
    async fn until(&self, what: impl Fn(&Value) -> bool) -> Value {
        let asked = async {
            loop {
                let reports = self.status().await["reports"].clone();
                if what(&reports) {
                    return reports;
                }
            }
        };
        match within_deadline(asked).await {
            Some(reports) => reports,
            None => panic!("{:#}", self.status().await),
        }
    }

    /// A scrape that is none of a moment ago, line by line: what is told of reports and traces.
    async fn scrape(&self, part: &str) -> Vec<String> {
        let asked = async {
            loop {
                let text = self.get("/metrics").await;
                if text.lines().any(|line| line == part) {
                    return text;
                }
            }
        };
        let Some(text) = within_deadline(asked).await else {
            panic!("{part} is missing in {}", self.get("/metrics").await);
        };
        let ours = ["pinproxy_report", "pinproxy_trace"];
        let lines = text.lines().filter(|line| ours.iter().any(|name| line.starts_with(name)));
        lines.map(str::to_owned).collect()
    }

    async fn ctl(&self) -> String {
        let socket = self.setting.user.folder().join("control.sock");
        let run = self.setting.user.pinproxy(["ctl", "--socket"]).arg(socket).arg("status").run();
        run.await.with_code(0).out
    }

    /// Everything that is told, in one text.
    async fn all(&self) -> String {
        let texts = [self.get("/metrics").await, self.get("/api/status").await, self.get("/").await, self.ctl().await];
        texts.concat()
    }
}

fn assert_lines(lines: &[String], expected: &[String]) {
    for line in expected {
        assert!(lines.contains(line), "{line} is missing in {lines:#?}");
    }
}

#[tokio::test]
async fn a_receiver_that_fails_and_comes_back() {
    let setting = Setting::start(2).await;
    let mut receiver = Receiver::start().await;
    receiver.usually(Reaction::Status(503));
    let name = receiver.addr.to_string();
    // Two paths of one host: two receivers.
    let urls = format!("\"http://lovelace:s3cret@{name}/v1?key=t0ken\", \"http://{name}/t0ken\"");
    let told = Told::start(&setting, &format!("urls = [{urls}]\nper_minute = 6000")).await;
    let before = told.until(|reports| reports["spooled"] == 0).await;
    assert_eq!((&before["oldest"], &before["spool-trouble"]), (&Value::Null, &Value::Null));
    assert_eq!(before["receivers"][1]["trouble"], Value::Null);
    let page = told.get("/").await;
    assert!(page.contains("nothing is wrong with the proxy itself"), "{page}");
    assert!(page.contains("<dt>Reports</dt><dd>0 waiting; 0 lost</dd>"), "{page}");
    assert!(told.ctl().await.contains("\n  reports     0 waiting; 0 lost\n"));

    setting.violate_all(&told.program).await;
    let failing = told
        .until(|reports| {
            let fails = |number: usize| reports["receivers"][number]["failed"].as_u64() > Some(0);
            (&reports["spooled"], &reports["unspooled"]) == (&2.into(), &0.into()) && fails(0) && fails(1)
        })
        .await;
    let names = [name.clone(), format!("{name} (2)")];
    for (to, name) in failing["receivers"].as_array().unwrap().iter().zip(&names) {
        assert_eq!((&to["receiver"], &to["waiting"], &to["taken"]), (&name.as_str().into(), &2.into(), &0.into()));
        assert_eq!(to["trouble"]["why"], "status 503");
        assert!(to["trouble"]["since"].as_str() >= failing["oldest"].as_str(), "{failing:#}");
    }
    assert!(failing["spooled-bytes"].as_u64() > Some(500), "{failing:#}");
    let lines = told.scrape("pinproxy_reports_spooled 2").await;
    let waiting = names.iter().map(|name| format!("pinproxy_reports_waiting{{receiver=\"{name}\"}} 2"));
    assert_lines(&lines, &waiting.collect::<Vec<_>>());
    assert_lines(&lines, &["pinproxy_reports_spool_usable 1".to_owned()]);
    let attempts = format!("pinproxy_report_attempts_total{{receiver=\"{name}\",outcome=\"failed\"}} ");
    assert!(lines.iter().any(|line| line.starts_with(&attempts) && !line.ends_with(" 0")), "{lines:#?}");
    let oldest = lines.iter().find_map(|line| line.strip_prefix("pinproxy_reports_oldest_seconds ")).unwrap();
    assert!((0.0..60.0).contains(&oldest.parse::<f64>().unwrap()), "{oldest}");
    let ctl = told.ctl().await;
    assert!(ctl.contains("\n  reports     2 waiting, the oldest since "), "{ctl}");
    assert!(ctl.contains(&format!("{name} (2) has taken none since ")), "{ctl}");
    assert!(ctl.contains(", 2 waiting for it: status 503\n"), "{ctl}");
    let page = told.get("/").await;
    assert!(page.contains("Running; 2 things to look at"), "{page}");
    assert!(page.contains(&format!("{name} has taken no report since ")), "{page}");
    assert!(page.contains(">status 503</pre>"), "{page}");
    let all = told.all().await;
    assert!(SECRETS.iter().all(|secret| !all.contains(secret)), "{all}");

    // One report of the four is refused; the others are taken.
    receiver.react([Reaction::Status(422)]);
    receiver.usually(Reaction::Status(200));
    receiver.until_taken(3).await;
    let taken = told.until(|reports| reports["spooled"] == 0).await;
    let sum = |what: &str| taken["receivers"].as_array().unwrap().iter().map(|to| to[what].as_u64().unwrap()).sum();
    let sums: [u64; 4] = ["waiting", "taken", "refused", "expired"].map(sum);
    assert_eq!(sums, [0, 3, 1, 0], "{taken:#}");
    assert_eq!((&taken["oldest"], &taken["spooled-bytes"]), (&Value::Null, &0.into()));
    let lines = told.scrape("pinproxy_reports_spooled 0").await;
    let refused = |line: &&String| line.contains("outcome=\"refused\"") && line.ends_with(" 1");
    assert_eq!(lines.iter().filter(refused).count(), 1, "{lines:#?}");
    assert_lines(&lines, &["pinproxy_reports_oldest_seconds 0.0".to_owned()]);
    told.program.stop().await;
}

/// It starts without its spool, where another process has that, and goes on when it gets it.
#[tokio::test]
async fn a_spool_that_somebody_else_has() {
    let setting = Setting::start(1).await;
    let mut receiver = Receiver::start().await;
    let lock = std::fs::File::open(setting.user.file("spool/lock", "")).unwrap();
    lock.try_lock().expect("nobody has it");
    let told = Told::start(&setting, &urls(&[&receiver])).await;
    setting.violate(&told.program, 0).await;
    let held = told.until(|reports| reports["unspooled"] == 1).await;
    let why = held["spool-trouble"]["why"].as_str().unwrap_or_default();
    assert!(why.contains("belongs to another process. At a rolling restart"), "{held:#}");
    assert_eq!((&held["spooled"], &held["receivers"][0]["trouble"]), (&0.into(), &Value::Null));
    let lines = told.scrape("pinproxy_reports_spool_usable 0").await;
    assert_lines(&lines, &["pinproxy_reports_unspooled 1".to_owned(), "pinproxy_reports_spooled 0".to_owned()]);
    let ctl = told.ctl().await;
    assert!(ctl.contains("\n  reports     1 waiting; 0 lost\n"), "{ctl}");
    assert!(ctl.contains("the spool cannot be used since ") && ctl.contains("belongs to another process"), "{ctl}");
    let page = told.get("/").await;
    assert!(page.contains("The spool of reports cannot be used since "), "{page}");

    drop(lock);
    receiver.until_taken(1).await;
    let usable = told.until(|reports| reports["receivers"][0]["taken"] == 1).await;
    assert_eq!(usable["spool-trouble"], Value::Null);
    told.scrape("pinproxy_reports_spool_usable 1").await;
    told.program.stop().await;
}

/// The first reports are in the spool; the next one finds no place.
#[tokio::test]
async fn reports_that_are_lost() {
    let setting = Setting::start(3).await;
    let told = Told::start(&setting, "urls = [\"http://127.0.0.1:9/\"]\nspool_max = 2").await;
    setting.violate_all(&told.program).await;
    let lost = told.until(|reports| reports["lost-over-spool-max"] == 1).await;
    assert_eq!((&lost["spooled"], &lost["lost-before-spool"]), (&2.into(), &0.into()));
    let lines = told.scrape("pinproxy_reports_lost_total{reason=\"spool-max\"} 1").await;
    assert_lines(&lines, &["pinproxy_reports_lost_total{reason=\"before-spool\"} 0".to_owned()]);
    assert!(told.ctl().await.contains("; 1 lost\n"));
    let page = told.get("/").await;
    assert!(page.contains("Events were lost: 1 of the spool of reports."), "{page}");
    told.program.stop().await;
}

#[tokio::test]
async fn where_nothing_is_sent_nothing_is_told_of_it() {
    let setting = Setting::start(1).await;
    let told = Told::start(&setting, "file = \"violations.jsonl\"").await;
    setting.violate(&told.program, 0).await;
    assert_eq!(told.status().await.get("reports"), Some(&Value::Null));
    let lines = told.scrape("pinproxy_draining 0").await;
    assert_eq!(lines, Vec::<String>::new());
    let metrics = told.get("/metrics").await;
    assert!(!metrics.contains("pinproxy_report") && !metrics.contains("pinproxy_trace"), "{metrics}");
    let (ctl, page) = (told.ctl().await, told.get("/").await);
    assert!(!ctl.contains("reports  ") && !page.contains("<dt>Reports</dt>"), "{ctl}{page}");
    told.program.stop().await;
}
